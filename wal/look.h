/* look.h - what a recovery has found so far, and its single looks at segment files.
 *
 * May include: wal.h, io.h, format.h, report.h, segment.h, verdict.h, walk.h, window.h, scan.h. */

#ifndef WAL_LOOK_H
#define WAL_LOOK_H

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
    uint32_t spare_copies_of_tail; /* Of them, those of T. */
    bool has_temporaries;
    bool has_other_files;
    int read_errno;          /* A read of an identity failed so; 0: none did. */
    uint64_t stranger;       /* T, or a file behind it, whose identity is another segment's: 0 or its name's number, */
    uint64_t stranger_found; /* and that of the identity. */
    bool truncation_hidden;  /* A hole in T hides a truncation: what it removed is not known. */
    struct walk beyond;      /* The walk, gone on behind the damage for readers; block_bytes 0: it did not. */
    struct wal_hole holes[WAL_HOLES_MAX];
    uint32_t hole_count;
    char place[160]; /* Words for rows Y2 to Y5. */
    uint64_t place_segment;
    uint64_t place_offset;
    uint64_t place_expected;
    uint64_t place_found;
    bool place_known;
};

/* --- looks --------------------------------------------------------------------------------------- */

/* Reads the sector at offset into scratch. 0, or the disk's negative errno. */
int look_sector(struct recovery *recovery, struct segment *segment, uint64_t offset);

/* The self-valid head at an offset: FORMAT_OK, or why not. An unreadable sector is FORMAT_BAD_CHECKSUM. */
enum format_verdict look_head(struct recovery *recovery, struct segment *segment, uint64_t offset,
                              struct format_head *head);

/* Does the segment begin? Then it has the fewest blocks of a segment at least, whatever is left of its file. */
bool look_opening_anchor(struct recovery *recovery, struct segment *segment, struct format_head *head);

/* Opens the file and reads its identity. *verdict says what was found; the segment's size and prefill are noted. */
int look_identity(struct recovery *recovery, struct segment *segment, struct format_identity *identity,
                  enum format_verdict *verdict);

/* This directory is none of ours: WAL_ENEWER, WAL_EFOREIGN, told in the report. */
int look_refuse_format(struct recovery *recovery, uint64_t number, enum format_verdict verdict,
                       const struct format_identity *identity);
int look_refuse_foreign(struct recovery *recovery, uint64_t number, const uint8_t uuid[FORMAT_UUID_BYTES]);

/* --- notes --------------------------------------------------------------------------------------- */

/* Where segments do not join, and why; the first place found is told. */
void recovery_note_place(struct recovery *recovery, uint64_t segment, uint64_t offset, uint64_t expected,
                         uint64_t found, const char *words);

/* What the walk through a segment has found goes into the table. */
void recovery_note_walk(struct segment *segment, const struct walk *walk, enum segment_state state);

/* Records are missing behind `before`; after: the first batch that reads again, or NULL. */
void recovery_note_hole(struct recovery *recovery, const struct walk *before, uint64_t segment,
                        const struct format_head *after);

/* Memory for the segment's map. WAL_ENOMEM. */
int recovery_take_map(struct recovery *recovery, struct segment *segment);

/* The fingerprint of `bytes` bytes, piece by piece. */
uint64_t recovery_fingerprint(const struct recovery *recovery, const uint8_t *bytes, uint64_t size, uint64_t so_far);

#endif
