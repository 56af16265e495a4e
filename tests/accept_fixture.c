/* accept_fixture.c - a log and what it must hold.
 *
 * The happy path: a log is made, and the model knows the tag of every record that is live. The test destroys something;
 * the log is then opened read only, refused, accepted, used, and opened again, and what it gives out is compared.
 *
 * What can fail: whatever is not as it must be ends the test at its line here.
 *
 * Invariants: every record carries a tag of its own, so a stale one is told from the one that took its index.
 *
 * May include: accept_fixture.h. */

#define _GNU_SOURCE
#include "tests/accept_fixture.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

void model_start(struct model *model, const char *directory, uint32_t blocks)
{
    *model = (struct model){.directory = directory, .next_index = 1, .next_tag = 100, .options = WAL_OPTIONS_INIT};
    model->options.flags = WAL_CREATE | WAL_NO_THREADS;
    model->options.segment_bytes = (uint64_t)blocks * BLOCK;
}

void model_open(struct model *model)
{
    assert_int_equal(wal_open(model->directory, &model->options, &model->log, &model->verdict), 0);
}

void model_close(struct model *model)
{
    assert_int_equal(wal_close(model->log), 0);
}

void model_put(struct model *model, uint64_t index, unsigned count, uint32_t size)
{
    static const char bytes[PAYLOAD_BYTES_MAX];
    struct wal_record records[16];
    struct wal_append append = {.records = records, .record_count = count};
    for (unsigned i = 0; i < count; i++) {
        model->tags[index + i] = model->next_tag;
        records[i] = (struct wal_record){.data = bytes, .size = size, .type = 1, .tag = model->next_tag++};
    }
    if (index < model->next_index) {
        append.flags = WAL_APPEND_TRUNCATE;
        append.first_index = index;
    }
    for (uint64_t i = index + count; i < model->next_index; i++) {
        model->tags[i] = 0;
    }
    model->next_index = index + count;
    assert_int_equal(wal_commit(model->log, &append, NULL), 0);
}

struct wal_place model_place(struct model *model, uint64_t index)
{
    struct wal_cursor *cursor;
    struct wal_record record;
    struct wal_place place;
    assert_int_equal(wal_cursor_open(model->log, index, &cursor), 0);
    assert_int_equal(wal_cursor_next(cursor, &record), 0);
    assert_int_equal(wal_cursor_place(cursor, &place), 0);
    wal_cursor_close(cursor);
    return place;
}

void model_file(const struct model *model, uint64_t segment, char path[SCRATCH_PATH_BYTES])
{
    char name[32];
    (void)snprintf(name, sizeof(name), "%020llu.wal", (unsigned long long)segment);
    scratch_join(path, model->directory, name);
}

void model_destroy_block(const struct model *model, struct wal_place place)
{
    static const char zeros[BLOCK];
    char path[SCRATCH_PATH_BYTES];
    model_file(model, place.segment, path);
    int file = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(file >= 0);
    assert_int_equal(pwrite(file, zeros, sizeof(zeros), (off_t)(place.offset / BLOCK * BLOCK)), sizeof(zeros));
    close(file);
}

bool model_holds(const struct model *model, uint64_t index, const struct wal_record *record)
{
    return index < model->next_index && record->tag == model->tags[index];
}

void model_truncate_prefix(struct model *model, uint64_t first_kept)
{
    struct wal_receipt receipt;
    assert_int_equal(wal_truncate_prefix(model->log, first_kept, &receipt), 0);
    assert_int_equal(wal_wait(model->log, receipt.ticket), 0);
}

void expect_no_stale_record_read_only(struct model *model)
{
    static char buffer[PAYLOAD_BYTES_MAX];
    struct wal_options options = WAL_OPTIONS_INIT;
    struct wal_record record;
    options.flags = WAL_READ_ONLY;
    assert_int_equal(wal_open(model->directory, &options, &model->log, &model->verdict), 0);
    for (uint64_t index = wal_first_index(model->log); index <= wal_last_index(model->log); index++) {
        if (wal_read(model->log, index, buffer, sizeof(buffer), &record) == 0 && !model_holds(model, index, &record)) {
            fail_msg("read only, index %llu is stale", (unsigned long long)index);
        }
    }
    model_close(model);
}

void accept_and_expect_doubt(struct model *model)
{
    static char buffer[PAYLOAD_BYTES_MAX];
    struct wal_record record;
    int status = wal_open(model->directory, &model->options, &model->log, &model->verdict);
    assert_true(status == WAL_ECORRUPT || status == WAL_EUNCERTAIN);
    model->options.flags |= WAL_ACCEPT_CORRUPT | WAL_ACCEPT_UNCERTAIN;
    model_open(model);
    model->options.flags &= ~(uint32_t)(WAL_ACCEPT_CORRUPT | WAL_ACCEPT_UNCERTAIN);
    uint64_t doubt = wal_doubt(model->log);
    assert_true(doubt != 0 && doubt == model->verdict.doubt_index);
    assert_true(wal_first_index(model->log) <= wal_last_index(model->log) + 1);
    for (uint64_t index = wal_first_index(model->log); index <= wal_last_index(model->log); index++) {
        int read = wal_read(model->log, index, buffer, sizeof(buffer), &record);
        if (read == 0 && !model_holds(model, index, &record) && index < doubt) {
            fail_msg("index %llu is stale, and the doubt begins at %llu", (unsigned long long)index,
                     (unsigned long long)doubt);
        }
    }
}

void expect_usable(struct model *model)
{
    char buffer[300];
    struct wal_record record;
    uint64_t first = wal_last_index(model->log) + 1;
    model->next_index = first; /* No truncation. */
    for (uint64_t index = first; index < first + 3; index++) {
        model_put(model, index, 1, 100);
        assert_int_equal(wal_read(model->log, index, buffer, sizeof(buffer), &record), 0);
    }
    model_close(model);
    model_open(model);
    assert_int_equal(model->verdict.kind, WAL_VERDICT_CLEAN);
    for (uint64_t index = first; index < first + 3; index++) {
        assert_int_equal(wal_read(model->log, index, buffer, sizeof(buffer), &record), 0);
        assert_true(model_holds(model, index, &record));
    }
    model_close(model);
}
