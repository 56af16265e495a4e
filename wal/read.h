/* read.h - from an index to verified bytes.
 *
 * May include: log.h. */

#ifndef WAL_READ_H
#define WAL_READ_H

#include "wal/log.h"

/* A buffer of file bytes, and the run of records that is being read from it. One thread at a time. */
struct reader {
    struct wal *log;
    uint8_t *buffer;
    uint64_t capacity_bytes; /* A record may be of nearly 4 GiB. */
    uint64_t segment;        /* What the buffer holds: [base, end) of this segment; 0: nothing. */
    uint64_t base_offset;
    uint64_t end_offset;
    uint64_t buffer_generation;
    /* The run at hand: records [index, run_end_index) begin at offset. */
    uint64_t generation;
    uint64_t salt;
    uint64_t index; /* 0: no run. */
    uint64_t run_end_index;
    uint64_t offset;
    uint64_t run_end_offset;
    struct wal_place last; /* Of the record given out last; segment 0: none was. */
};

/* WAL_ENOMEM. */
int reader_create(struct wal *log, uint32_t capacity_bytes, struct reader **out);
void reader_destroy(struct reader *reader);

/* The record of an index, verified; data points into the reader's buffer, until its next call. Takes the log's lock
 * itself. */
int reader_record(struct reader *reader, uint64_t index, struct wal_record *record);

#endif
