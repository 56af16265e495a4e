/* crash_model.c - what the log must hold.
 *
 * Invariants: a state's records are [start, next) without gaps; type, tag, size and bytes of a record follow from its
 * id alone, so one byte of the id is all that a state keeps of it. */

#include "tests/crash_model.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Two of 384 bytes behind a head of 104: the second begins with a sector of its own. */
static const uint32_t sizes[MODEL_IDS] = {0, 600, 600, 600, 100, 24, 1300, 0, 384, 384};

static void payload_of(uint8_t id, uint8_t *bytes)
{
    for (uint32_t i = 0; i < sizes[id]; i++) {
        bytes[i] = (uint8_t)(id * 37 + i * 11 + (i >> 8) * 5 + 1);
    }
}

void model_record(uint8_t id, struct wal_record *record)
{
    static uint8_t payloads[MODEL_IDS][MODEL_PAYLOAD_MAX];
    payload_of(id, payloads[id]);
    *record =
        (struct wal_record){.data = payloads[id], .size = sizes[id], .type = (uint16_t)(1 + id), .tag = 1000u + id};
}

void model_metadata(uint8_t id, uint8_t bytes[64], uint32_t *size)
{
    *size = 8 + id % 40;
    memset(bytes, id, *size);
}

static bool put_records(struct state *state, const struct operation *operation)
{
    for (unsigned i = 0; i < operation->record_count; i++) {
        if (state->next - state->start >= MODEL_RECORDS_MAX) {
            return false;
        }
        state->ids[state->next++ - state->start] = operation->ids[i];
    }
    return true;
}

bool model_apply(const struct state *before, const struct operation *operation, struct state *after)
{
    *after = *before;
    if (operation->metadata != 0) {
        after->metadata = operation->metadata;
    }
    switch (operation->kind) {
    case OP_APPEND:
        return put_records(after, operation);
    case OP_TRUNCATE:
        if (operation->index < before->start || operation->index > before->next) {
            return false;
        }
        after->next = operation->index;
        return put_records(after, operation);
    case OP_START: {
        if (operation->index < before->start || operation->index > before->next) {
            return false;
        }
        uint64_t dropped = operation->index - before->start;
        memmove(after->ids, after->ids + dropped, MODEL_RECORDS_MAX - dropped);
        after->start = operation->index;
        return true;
    }
    case OP_RESET:
        after->start = after->next = operation->index;
        return operation->index > before->next;
    }
    return false;
}

static bool record_is(const struct wal_record *record, uint8_t id)
{
    uint8_t bytes[MODEL_PAYLOAD_MAX];
    payload_of(id, bytes);
    return record->type == 1 + id && record->tag == 1000u + id && record->size == sizes[id] &&
           (sizes[id] == 0 || memcmp(record->data, bytes, sizes[id]) == 0);
}

static int read_records(struct wal *log, struct state *found, char *why, size_t why_bytes)
{
    struct wal_cursor *cursor;
    int status = wal_cursor_open(log, 0, &cursor);
    while (status == 0 && found->next < wal_last_index(log) + 1) {
        struct wal_record record;
        status = wal_cursor_next(cursor, &record);
        if (status != 0) {
            break;
        }
        uint8_t id = (uint8_t)(record.type - 1);
        if (record.index != found->next || id >= MODEL_IDS || !record_is(&record, id) ||
            found->next - found->start >= MODEL_RECORDS_MAX) {
            (void)snprintf(why, why_bytes, "index %" PRIu64 " holds bytes that nobody wrote (type %u, size %u)",
                           record.index, record.type, record.size);
            status = 1;
            break;
        }
        found->ids[found->next++ - found->start] = id;
    }
    if (status != 0 && status != 1) {
        (void)wal_errmsg(log, why, why_bytes);
    }
    wal_cursor_close(cursor);
    return status;
}

int model_read(struct wal *log, struct state *found, char *why, size_t why_bytes)
{
    *found = (struct state){.start = wal_first_index(log), .next = wal_first_index(log), .doubt = wal_doubt(log)};
    uint8_t bytes[256];
    size_t size;
    if (wal_metadata(log, bytes, sizeof(bytes), &size) == 0) {
        uint8_t expected[64];
        uint32_t expected_size;
        found->metadata = size != 0 ? bytes[0] : 0;
        model_metadata(found->metadata, expected, &expected_size);
        if (size != expected_size || memcmp(bytes, expected, size) != 0) {
            (void)snprintf(why, why_bytes, "metadata of %zu bytes that nobody wrote", size);
            return 1;
        }
    }
    return read_records(log, found, why, why_bytes);
}

bool model_equal(const struct state *a, const struct state *b)
{
    return a->start == b->start && a->next == b->next && a->metadata == b->metadata &&
           memcmp(a->ids, b->ids, a->next - a->start) == 0;
}

void model_print(const struct state *state, char *text, size_t bytes)
{
    int length =
        snprintf(text, bytes, "[%" PRIu64 ",%" PRIu64 ") meta %u:", state->start, state->next, state->metadata);
    for (uint64_t i = 0; i < state->next - state->start && length > 0 && (size_t)length + 2 < bytes; i++) {
        length += snprintf(text + length, bytes - (size_t)length, "%u", state->ids[i]);
    }
}

int model_submit(struct wal *log, const struct operation *operation, struct wal_receipt *receipt)
{
    if (operation->kind == OP_START) {
        return wal_truncate_prefix(log, operation->index, receipt);
    }
    if (operation->kind == OP_RESET) {
        return wal_reset(log, operation->index, receipt);
    }
    struct wal_record records[3];
    for (unsigned i = 0; i < operation->record_count; i++) {
        model_record(operation->ids[i], &records[i]);
    }
    uint8_t metadata[64];
    struct wal_append append = {
        .records = records, .record_count = operation->record_count, .flags = WAL_APPEND_NO_WAIT};
    if (operation->metadata != 0) {
        append.flags |= WAL_APPEND_METADATA;
        append.metadata = metadata;
        model_metadata(operation->metadata, metadata, &append.metadata_bytes);
    }
    if (operation->kind == OP_TRUNCATE) {
        append.flags |= WAL_APPEND_TRUNCATE;
        append.first_index = operation->index;
    }
    return wal_append(log, &append, receipt);
}
