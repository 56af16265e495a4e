/* chain.h - the batches of one segment, followed from its opening anchor as recovery would follow them.
 *
 * FORMAT.md section 7: the tool's own reading of it, so that what the library says can be told apart from what stands
 * on the disk. */

#ifndef TOOLS_CHAIN_H
#define TOOLS_CHAIN_H

#include "tools/segments.h"

/* Why the walk ended. */
enum chain_reason {
    CHAIN_FULL,       /* The segment is full. */
    CHAIN_ZERO,       /* Nothing was ever written here. */
    CHAIN_NO_HEAD,    /* No batch header that reads. */
    CHAIN_OTHER,      /* A header of another segment or place: the file's earlier life. */
    CHAIN_OTHER_SALT, /* A header of an earlier run. */
    CHAIN_BAD_NUMBER,
    CHAIN_BAD_CHAIN,
    CHAIN_BAD_INDEX,
    CHAIN_BAD_SIZE,
    CHAIN_BAD_KIND,
    CHAIN_BAD_RECORD,
    CHAIN_INTERRUPTED /* By the user: it may go on. */
};

struct chain {
    /* Expected of the next batch. */
    uint64_t offset;
    uint64_t number;
    uint64_t checksum; /* Its chain field. */
    uint64_t salt;
    uint64_t next_index;

    /* What the batches up to here say. */
    struct format_start start;
    uint64_t doubt_index;
    uint64_t highest_mark;
    uint64_t content_number; /* Last batch with records, a truncation, a start or metadata. */
    uint64_t low;
    uint64_t records;
    uint64_t batches;
    uint64_t last_offset;
    uint8_t last_kind; /* 0: none yet. */

    /* Why it goes no further, when it does not. */
    enum chain_reason reason;
    enum format_verdict verdict; /* Of the head or record there. */
    bool head_reads;
    struct format_head head; /* That does not fit; with head_reads. */
    uint64_t expected;
    uint64_t found;
    uint64_t bad_offset; /* Of the record, with CHAIN_BAD_RECORD, */
    uint64_t bad_index;  /* and its index. */
};

/* Begins at the opening anchor, which must read. */
void chain_begin(struct chain *chain, const struct segment_file *file, uint32_t block_bytes);

/* One batch on. True: it fits, *look is it, and the chain stands behind it. False: chain->reason says why not. */
bool chain_step(struct chain *chain, struct segment_file *file, uint32_t block_bytes, struct batch_look *look);

/* Past a batch that chain_step has refused with CHAIN_BAD_RECORD: its head fits, and only its head is on the chain. */
void chain_skip(struct chain *chain, const struct batch_look *look);

/* As far as it goes. */
void chain_walk(struct chain *chain, struct segment_file *file, uint32_t block_bytes);

const char *chain_reason_text(enum chain_reason reason);

enum { CHAIN_STORY_BYTES = 200 };

/* The reason with what was expected and found, in words: "a wrong batch number: expected 7, found 9". */
void chain_story(const struct chain *chain, char text[CHAIN_STORY_BYTES]);

/* Marks and heads at or behind an offset of the segment, up to its seal. */
struct behind {
    uint64_t highest_mark;
    uint64_t mark_offset;
    uint64_t batches; /* Self-valid headers of the run with this salt. */
    uint64_t records;
    bool zero; /* All of it. */
};
void chain_look_behind(struct segment_file *file, uint32_t block_bytes, uint64_t offset, uint64_t salt,
                       struct behind *behind);

/* Where the batches of a segment end that another one follows; 0: unknown, or it is the newest. What a dead segment
 * says does not count. */
uint64_t chain_known_end(const struct segments *segments, const struct segment_file *file);

/* The same; the newest one's chain is walked. 0: it was never begun, or it is dead. */
uint64_t chain_end(const struct segments *segments, struct segment_file *file);

/* A prepared file whose identity does not read, behind a newest segment (its chain walked) that is not sealed: nothing
 * of the log is in it, and the library makes it anew before it uses it. */
bool chain_is_spoilt_spare(const struct segments *segments, const struct segment_file *newest,
                           const struct chain *chain, struct segment_file *file);

/* The segment that the log starts in, as the newest segment's chain says; 0: unknown. */
uint64_t chain_start_segment(const struct segments *segments);

#endif
