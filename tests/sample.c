/* sample.c - records for tests, whose content follows from their tag.
 *
 * The happy path: size, type and bytes of a record are computed from its tag, its tag is its index; a reader computes
 * them once more and compares.
 *
 * What can fail: what the log answers, which is handed on. A record that is not right is told on stderr.
 *
 * Invariants: the same tag gives the same record in every run, so that another process, or another life of the log,
 * can check it.
 *
 * May include: sample.h. */

#include "tests/sample.h"

#include "wal/check.h"

#include <stdio.h>
#include <string.h>

enum { SAMPLES_MAX = 64 };

struct wal_record sample_record(uint64_t tag, uint8_t buffer[SAMPLE_BYTES_MAX])
{
    uint32_t size = (uint32_t)((tag * 2654435761u >> 7) % (SAMPLE_BYTES_MAX + 1));
    uint64_t state = tag * 0x9e3779b97f4a7c15u + 1;
    for (uint32_t i = 0; i < size; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        buffer[i] = (uint8_t)(state >> 56);
    }
    return (struct wal_record){.data = buffer, .size = size, .type = (uint16_t)(1 + tag % 7), .tag = tag};
}

bool sample_is_right(const struct wal_record *record)
{
    uint8_t buffer[SAMPLE_BYTES_MAX];
    struct wal_record wanted = sample_record(record->tag, buffer);
    return record->size == wanted.size && record->type == wanted.type &&
           (record->size == 0 || memcmp(record->data, buffer, record->size) == 0);
}

int sample_append(struct wal *log, uint32_t count, struct wal_receipt *receipt)
{
    CHECK(count <= SAMPLES_MAX);
    uint8_t buffers[SAMPLES_MAX][SAMPLE_BYTES_MAX];
    struct wal_record records[SAMPLES_MAX];
    uint64_t next = wal_last_index(log) + 1;
    for (uint32_t i = 0; i < count; i++) {
        records[i] = sample_record(next + i, buffers[i]);
    }
    struct wal_append append = {.records = records, .record_count = count, .first_index = next};
    return wal_append(log, &append, receipt);
}

int sample_commit(struct wal *log, uint32_t count)
{
    struct wal_receipt receipt;
    int result = sample_append(log, count, &receipt);
    return result != 0 ? result : wal_wait(log, receipt.ticket);
}

static bool is_sample(int result, const struct wal_record *record, uint64_t index, const char *how)
{
    if (result == 0 && record->index == index && record->tag == index && sample_is_right(record)) {
        return true;
    }
    (void)fprintf(stderr, "%s of record %llu: result %d (%s), index %llu, tag %llu\n", how, (unsigned long long)index,
                  result, wal_strerror(result), (unsigned long long)record->index, (unsigned long long)record->tag);
    return false;
}

bool sample_range_is_right(struct wal *log, uint64_t first, uint64_t last)
{
    struct wal_cursor *cursor = NULL;
    if (wal_first_index(log) != first || wal_durable_index(log) != last || wal_cursor_open(log, first, &cursor) != 0) {
        (void)fprintf(stderr, "the log is %llu..%llu, not %llu..%llu\n", (unsigned long long)wal_first_index(log),
                      (unsigned long long)wal_durable_index(log), (unsigned long long)first, (unsigned long long)last);
        return false;
    }
    bool right = true;
    for (uint64_t index = first; index <= last && right; index++) {
        uint8_t buffer[SAMPLE_BYTES_MAX];
        struct wal_record record = {0};
        right = is_sample(wal_read(log, index, buffer, sizeof(buffer), &record), &record, index, "read");
        record = (struct wal_record){0};
        right = right && is_sample(wal_cursor_next(cursor, &record), &record, index, "cursor");
    }
    struct wal_record record = {0};
    if (right && wal_cursor_next(cursor, &record) != WAL_EBEYOND) {
        (void)fprintf(stderr, "the cursor goes on behind the end\n");
        right = false;
    }
    wal_cursor_close(cursor);
    return right;
}
