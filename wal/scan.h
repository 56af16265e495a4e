/* scan.h - reading one segment: its chain of batches, what stands behind its end, and what that proves.
 *
 * May include: wal.h, format.h, map.h, walk.h, window.h. */

#ifndef WAL_SCAN_H
#define WAL_SCAN_H

#include "wal/format.h"
#include "wal/map.h"
#include "wal/walk.h"
#include "wal/window.h"

/* Why and where a walk stopped. */
struct scan_stop {
    enum walk_reason reason;
    enum format_verdict bytes_verdict; /* Of the head at walk.offset, or of the record. */
    bool head_valid;                   /* `head` is self-valid at walk.offset. */
    bool read_error;                   /* The disk could not read there. */
    bool beyond_file;                  /* A batch larger than the window goes on behind the end of the file. */
    struct format_head head;
    uint32_t bad_record;        /* Ordinal in its batch; with WALK_BAD_RECORD. */
    uint32_t bad_record_offset; /* In the batch. */
    uint64_t bad_index;
};

/* A start that a batch behind the end of a walk states. */
struct later_start {
    struct format_start start;
    uint64_t number; /* Of the batch; 0: there is none. */
    uint64_t segment;
    uint64_t offset;
};

/* What stands behind the end of a walk. */
struct scan_evidence {
    uint64_t highest_mark; /* E, and */
    uint64_t mark_segment; /* where it stands. */
    uint64_t mark_offset;
    uint64_t lowest_index; /* First index of any batch there that came behind the walk's end; 0: none. */
    uint64_t told_low;     /* Low of the segment as the last anchor there tells it; 0: no anchor does. */
    struct later_start
        anchor_start; /* The newest that an anchor states there: what its chain said, so it was durable; */
    struct later_start batch_start; /* and that a START does, which may have been in flight. */
    bool truncation_lost;           /* Indexes go back there, and no batch that reads says why. */
    uint64_t highest_number;        /* Of any batch or mark seen. */
    uint64_t cut_bytes;             /* In recognisable batches of the current run. */
    uint64_t cut_records;
    uint32_t cut_batches;
    bool current_run;      /* A header of the current run stands there. */
    bool later_run_header; /* One behind the first place. */
    bool sealed;
    bool seal_damaged; /* The seal block holds something that is no seal of this segment. */
    struct format_seal seal;
    bool read_error;
    uint64_t nonzero_end_offset; /* Behind the last block that is not zero; 0: all zero. */
};

/* Walks from walk->offset until a batch does not fit. Each batch's records are verified, and entered into map when it
 * is not NULL. 0 with *stop, or WAL_ENOMEM. */
int scan_run(struct window *window, struct walk *walk, struct map *map, struct scan_stop *stop);

/* What is known of a segment that was written to its end. */
struct scan_expected {
    uint64_t segment;
    uint64_t segment_bytes;
    uint64_t end_offset; /* Of its batches. */
    uint64_t end_index;
    uint64_t record_count; /* Written into it; 0: unknown, the seal may tell. */
    bool keep_doubtful;    /* The verdict of the open has told of the damage already. */
};

/* Enters all batches of the segment under the window that read into map, and steps over damage; *damaged says whether
 * there was any. Records in front of damage are entered only when the counts prove that no truncation was lost with
 * it. 0, or WAL_ENOMEM. */
int scan_whole(struct window *window, const struct scan_expected *expected, uint32_t block_bytes, struct map *map,
               bool *damaged);

/* Looks at every block in [offset, end_offset) of the segment under the window, and adds to *evidence. The walk is the
 * one that ended: its run, and what it expected next. */
int scan_evidence(struct window *window, const struct walk *walk, uint64_t segment, uint64_t offset,
                  uint64_t end_offset, struct scan_evidence *evidence);

/* Looks at the seal. */
int scan_seal(struct window *window, uint64_t segment, uint64_t seal_offset, struct scan_evidence *evidence);

/* Old content known to be zero: is there proof in the batch at walk->offset that something written was damaged?
 * (FORMAT.md section 7) */
int scan_proof(struct window *window, const struct walk *walk, const struct scan_stop *stop, bool *proof_out);

/* The next self-valid head at or behind offset that starts at a block; 0 and *offset_out = 0 when there is none. */
int scan_resync(struct window *window, uint64_t segment, uint32_t block_bytes, uint64_t offset, uint64_t end_offset,
                struct format_head *head_out, uint64_t *offset_out);

#endif
