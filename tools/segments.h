/* segments.h - the files of a log as they lie on the disk, whatever is in them.
 *
 * Reads only; no lock; believes nothing. For what recovery would deliver, the library is asked (wal.h); this is the
 * other view: every block, every batch, dead or alive. */

#ifndef TOOLS_SEGMENTS_H
#define TOOLS_SEGMENTS_H

#include "tools/batches.h"
#include "wal/format.h"

#include <stdbool.h>
#include <stdint.h>

struct segment_file {
    uint64_t number; /* From the name. */
    uint64_t bytes;  /* Size of the file. */
    uint64_t size; /* What the identity says, or the file's when that does not read; never more than the format has. */
    int directory_fd;
    int fd;                /* -1: it is opened by its name when it is read. Else a caller's own, for a file of his. */
    int error;             /* errno of the first open or read that failed; 0: none did. */
    uint64_t error_offset; /* Where it failed. */
    const char *odd;       /* Why there are no bytes: "a FIFO, not a regular file"; NULL: it is a file that opens. */
    bool gone;             /* Renamed or removed since it was listed: it reads as zeros, and that is no error. */
    bool dead;             /* An accepted cut lies before it: nothing in it counts, until it is recycled. */

    enum format_verdict identity_verdict;
    struct format_identity identity;
    enum format_verdict anchor_verdict; /* FORMAT_OK: a self-valid anchor stands in block 1. */
    struct format_head anchor;
    enum format_verdict seal_verdict; /* FORMAT_OK: a seal of this very segment. */
    struct format_seal seal;

    bool begun_known; /* Of segment_begun. */
    bool begun;
    uint64_t begun_number; /* A batch number that says so. */

    uint64_t token; /* Of the reader (segment_read.c). */
};

struct segments {
    char *directory;
    int directory_fd;
    bool single; /* One segment file was named, not a directory. */
    uint32_t block_bytes;
    uint8_t uuid[FORMAT_UUID_BYTES];
    struct segment_file *list; /* Numbers rising. */
    unsigned count;
};

/* Opens a directory or one segment file and looks at identity, opening anchor and seal of each segment. 0, or an exit
 * code after it has said on stderr what is wrong: EXIT_DISK, EXIT_NEWER. A thing in a directory that is named like a
 * segment and cannot be read as one is told on stderr, and is in the list with `odd`. */
int segments_open(struct segments *segments, const char *path);
void segments_close(struct segments *segments);

struct segment_file *segments_find(const struct segments *segments, uint64_t number);

/* EXIT_NEGATIVE, after it has said so, when there is none of this number. */
int segments_want(const struct segments *segments, uint64_t number);

/* The newest segment of this log with an opening anchor that reads: the one whose chain is the newest. NULL: none. */
struct segment_file *segments_newest_begun(const struct segments *segments);

/* Is it a file of another log, by its identity, or by its anchor when that alone reads? */
bool segment_is_foreign(const struct segments *segments, const struct segment_file *file);

/* Looks again, at a file that may have grown or been renamed. False: it is gone. */
bool segment_refresh(struct segments *segments, struct segment_file *file);

/* Says on stderr with path and offset what file->error is; the caller answers with EXIT_DISK. */
void segments_tell_error(const struct segments *segments, const struct segment_file *file);

/* Bytes [offset, offset + bytes) of the segment, valid until the next read of any segment; behind the end of the file
 * and where the disk does not read they are zero (file->error tells of the latter). NULL: more than the segment has. */
const uint8_t *segment_at(struct segment_file *file, uint64_t offset, uint64_t bytes);

/* Forgets what was read: the file may have changed. */
void segment_forget(struct segment_file *file);

/* Was it ever written to? A valid opening anchor says so, a valid seal of its own, or - only when the identity reads
 * and neither does - any self-valid batch header of this very segment. A prepared file has none of these. The first two
 * are known; the third is looked for once, through the whole file, and not found when the user interrupts (batches.c).
 */
bool segment_begun(struct segment_file *file, uint32_t block_bytes);

/* The third of these alone: any self-valid batch header of this very segment. file->begun_number is the first one's. */
bool segment_holds_own_head(struct segment_file *file, uint32_t block_bytes);

/* Can something of segment file's first block be recognised at all? */
static inline bool segment_reads(const struct segment_file *file)
{
    return file->identity_verdict == FORMAT_OK || file->anchor_verdict == FORMAT_OK;
}

#endif
