/* walk.h - is this batch the next one? The rule by which a log is read, batch by batch. Pure.
 *
 * May include: format.h. */

#ifndef WAL_WALK_H
#define WAL_WALK_H

#include "wal/format.h"

/* Where the walk stands: what the next batch must look like, and what the batches so far have said. */
struct walk {
    uint64_t segment;
    uint64_t segment_bytes;
    uint32_t block_bytes;

    /* What the next batch must have. */
    uint64_t offset;
    uint64_t number;
    uint64_t chain;
    uint64_t salt;       /* Unless it is an anchor. */
    uint64_t next_index; /* Last index + 1. */

    /* What has been said; the newest statement holds. */
    struct format_start start;
    uint64_t doubt_index;
    uint64_t last_tag;
    uint16_t metadata_bytes; /* Or FORMAT_NO_METADATA. */
    uint8_t metadata[FORMAT_METADATA_BYTES_MAX];

    /* What was seen in this segment. */
    uint64_t opening_index;
    uint64_t low;
    uint64_t record_count;
    uint64_t last_offset;
    uint64_t highest_mark;
    uint64_t last_content_number; /* Last batch with records, a truncation or a start. 0: none. */
    uint8_t last_kind;
    bool reopened_unzeroed;      /* Some reopening anchor does not say that what follows it was zero. */
    struct format_anchor anchor; /* The newest one. */
};

enum walk_reason {
    WALK_FITS = 0,
    WALK_FULL,       /* The segment ends here. */
    WALK_NO_HEAD,    /* No self-valid header at this place. */
    WALK_OTHER_SALT, /* A header of another run: stale. */
    WALK_BAD_NUMBER,
    WALK_BAD_CHAIN,
    WALK_BAD_INDEX,
    WALK_BAD_SIZE,
    WALK_BAD_KIND,
    WALK_BAD_RECORD /* The head fits, a record does not verify. */
};

const char *walk_reason_text(enum walk_reason reason);

/* Starts at a segment's opening anchor, which must be self-valid and an anchor. The anchor itself is walked first, like
 * any batch. */
void walk_begin(struct walk *walk, const struct format_head *opening_anchor, uint64_t segment_bytes,
                uint32_t block_bytes);

/* Judges a self-valid head at walk->offset; the records are the caller's to verify. */
enum walk_reason walk_judge(const struct walk *walk, const struct format_head *head);

/* Steps over a batch that fits and whose records verify. */
void walk_accept(struct walk *walk, const struct format_head *head);

/* After damage: goes on at a self-valid head further on, believing what it says of itself. */
void walk_resume(struct walk *walk, const struct format_head *head);

#endif
