/* crash_model.h - what the log must hold: a list of states, one after each operation accepted, and the comparison with
 * a log that was opened. */

#ifndef TESTS_CRASH_MODEL_H
#define TESTS_CRASH_MODEL_H

#include "wal/wal.h"

enum { MODEL_RECORDS_MAX = 160, MODEL_OPERATIONS_MAX = 24, MODEL_PAYLOAD_MAX = 1400, MODEL_IDS = 10 };

/* Records are known by a small number, so that the same bytes are often written again: as a client does that tries
 * again. */
struct state {
    uint64_t start;
    uint64_t next;
    uint8_t ids[MODEL_RECORDS_MAX]; /* Of [start, next). */
    uint8_t metadata;               /* 0: none. */
    uint64_t doubt;
};

/* states[0] is what was found when the log was opened; states[k] follows from it by the first k operations. An
 * operation's ticket is k. */
struct history {
    struct state states[MODEL_OPERATIONS_MAX + 1];
    unsigned operations;
};

struct operation {
    enum { OP_APPEND = 1, OP_TRUNCATE, OP_START, OP_RESET } kind;
    uint64_t index; /* First removed, first kept, next. */
    unsigned record_count;
    uint8_t ids[3];
    uint8_t metadata; /* 0: none with it. */
};

void model_record(uint8_t id, struct wal_record *record);
void model_metadata(uint8_t id, uint8_t bytes[64], uint32_t *size);

/* The state after an operation; false when it does not fit the model's bounds. */
bool model_apply(const struct state *before, const struct operation *operation, struct state *after);

/* Reads the whole log. 0; 1: some byte is not what any record has (*why says which); negative: a WAL code from reading.
 */
int model_read(struct wal *log, struct state *found, char *why, size_t why_bytes);

bool model_equal(const struct state *a, const struct state *b);
void model_print(const struct state *state, char *text, size_t bytes);

/* Hands the operation to the log, without waiting. */
int model_submit(struct wal *log, const struct operation *operation, struct wal_receipt *receipt);

#endif
