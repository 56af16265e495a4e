/* recover.h - from a directory to a verdict, and the state from which the log goes on.
 *
 * May include: wal.h, io.h, format.h, report.h, segment.h, verdict.h, walk.h, window.h, scan.h. */

#ifndef WAL_RECOVER_H
#define WAL_RECOVER_H

#include "wal/report.h"
#include "wal/scan.h"
#include "wal/segment.h"
#include "wal/verdict.h"
#include "wal/walk.h"
#include "wal/window.h"

struct recovery {
    /* Given. */
    struct wal_io *io;
    const struct wal_options *options;
    struct segment_table *table;
    struct window *window;
    uint8_t *scratch; /* scratch_bytes, at least 2 * FORMAT_BLOCK_BYTES_MAX, aligned. */
    uint32_t scratch_bytes;
    bool for_writing;
    struct report *report;

    /* Found. */
    struct segment_shape shape;
    struct segment *tail;              /* T; its file is open, its map made. */
    struct format_head opening_anchor; /* Of T. */
    struct walk walk;                  /* The end of the readable prefix: where a cut would be made. */
    struct segment *cut_segment;       /* The segment that walk stands in: T, but for Y3 and Y4. */
    bool acceptable;                   /* There is a prefix to cut behind (not after Y2). */
    struct scan_stop stop;
    uint64_t judged_bytes;       /* At the end of the walk: so many bytes, */
    uint64_t judged_fingerprint; /* with this fingerprint, ended it; in pieces of scratch_bytes. */
    bool judged_unreadable;
    struct scan_evidence evidence;
    struct observation seen;
    bool old_content_known;
    uint32_t spare_copies_damaged;
    bool has_temporaries;
    bool has_other_files;
    int read_errno;          /* A read of an identity failed so; 0: none did. */
    uint64_t stranger;       /* A file behind T whose identity is another segment's: 0 or its name's number, */
    uint64_t stranger_found; /* and that of the identity. */
    struct wal_hole holes[WAL_HOLES_MAX];
    uint32_t hole_count;
    char place[160]; /* Words for rows Y2 to Y5. */
    uint64_t place_segment;
    uint64_t place_offset;
    uint64_t place_expected;
    uint64_t place_found;
    bool place_known;
};

/* Lists the segment files into the table (all RETIRED, sizes unknown), in order. WAL_ENOENT: there is none. */
int recover_list(struct recovery *recovery);

/* Finds block size, uuid and T from identities and opening anchors; works before anything was flushed, to learn what to
 * flush. WAL_ENOTLOG, WAL_ENEWER, WAL_EFOREIGN. recovery->tail NULL: no segment has a beginning (Y2). */
int recover_find_tail(struct recovery *recovery);

/* The fingerprint of `bytes` bytes, piece by piece. */
uint64_t recover_fingerprint(const struct recovery *recovery, const uint8_t *bytes, uint64_t size, uint64_t so_far);

/* Walks, looks for evidence, judges. The table's segments have their states and facts; *verdict is complete but for
 * `flushed` and `accepted`. 0 whatever the verdict; an error when no verdict could be reached. Writes nothing. */
int recover_judge(struct recovery *recovery, struct wal_verdict *verdict);

#endif
