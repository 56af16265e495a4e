/* kill_model.c - the model of a log that kill_wal holds the real one to, and what its processes share.
 *
 * What an operation does is one function, apply(); what it writes follows from its number, so that a record found on
 * the disk can be checked byte by byte with nothing but its tag and index. match() looks for the state that was found
 * among the states that the journal allows. Every check that fails writes its story into the lane, which the parent
 * prints.
 *
 * wal_point() is called by the library: it counts the visits of each name, and kills the child at the one it was
 * armed for. */

#define _GNU_SOURCE

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/kill.h"

struct kill_settings settings = {
    .kills = 1500, .seed = 1, .directory = "kill_wal.logs", .backend = -1, .threads = 4, .lanes = 3};
struct shared *shared;
struct lane *lane;
bool in_child;
char log_path[4096];

/* --- randomness and failure ---------------------------------------------------------------------- */

uint64_t mix(uint64_t value)
{
    value += 0x9E3779B97F4A7C15u;
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
    value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
    return value ^ (value >> 31);
}

uint64_t draw(uint64_t *state, uint64_t bound)
{
    *state += 0x9E3779B97F4A7C15u;
    return mix(*state) % bound;
}

uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void sleep_us(uint64_t us)
{
    struct timespec pause = {.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000 * 1000)};
    nanosleep(&pause, NULL);
}

void fail(const char *format, ...)
{
    if (!atomic_exchange(&lane->failed, true)) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(lane->failure, sizeof(lane->failure), format, arguments);
        va_end(arguments);
    }
    _exit(FAILED);
}

void fail_call(const struct wal *log, const char *call, int result)
{
    char text[512] = "";
    if (log != NULL)
        wal_errmsg(log, text, sizeof(text));
    fail("%s: %s (%d) %s", call, wal_strerror(result), result, text);
}

/* --- points -------------------------------------------------------------------------------------- */

void wal_point(const char *name)
{
    if (!in_child)
        return;
    for (int i = 0; i < POINTS_MAX; i++) {
        const char *seen = NULL;
        struct point *point = &shared->points[i];
        if (!atomic_compare_exchange_strong(&point->name, &seen, name) && strcmp(seen, name) != 0)
            continue;
        atomic_fetch_add(&point->hits, 1);
        if (atomic_load(&lane->armed) == i &&
            atomic_fetch_add(&lane->points_hit, 1) + 1 == atomic_load(&lane->armed_hit)) {
            atomic_store(&lane->died_at, i);
            kill(getpid(), SIGKILL);
            pause();
        }
        return;
    }
}

/* --- what an operation writes -------------------------------------------------------------------- */

static void fill(unsigned char *bytes, size_t size, uint64_t key)
{
    for (size_t at = 0; at < size; at += 8) {
        uint64_t word = key = mix(key);
        memcpy(bytes + at, &word, size - at < 8 ? size - at : 8);
    }
}

struct wal_record make_record(uint64_t id, uint64_t index, unsigned char *bytes)
{
    uint64_t key = mix(settings.seed ^ mix(id) ^ mix(index * 3));
    uint32_t size = (uint32_t)(key >> 8) % 300;
    if (key % 128 == 0)
        size = (uint32_t)(key >> 8) % RECORD_BYTES_MAX;
    else if (key % 32 == 0)
        size = 0;
    fill(bytes, size, key);
    return (struct wal_record){.data = bytes, .size = size, .type = (uint16_t)(1 + (key >> 40) % 65535), .tag = id};
}

uint32_t make_metadata(uint64_t id, unsigned char *bytes)
{
    uint64_t key = mix(settings.seed + 7 * mix(id));
    uint32_t size = (uint32_t)(key % (WAL_METADATA_BYTES_MAX + 1));
    fill(bytes, size, key);
    return size;
}

void apply(struct model *model, const struct operation *operation)
{
    if (operation->kind == PREFIX)
        model->first = operation->index;
    if (operation->kind == TRUNCATE)
        model->last = operation->index - 1;
    if (operation->kind == RESET) {
        model->first = operation->index;
        model->last = operation->index - 1;
    }
    for (uint32_t i = 0; i < operation->record_count; i++)
        model->owner[++model->last % RING] = operation->id;
    if (operation->metadata)
        model->metadata_id = operation->id;
}

/* --- comparing ----------------------------------------------------------------------------------- */

void check_record(const struct wal_record *record, uint64_t index)
{
    unsigned char bytes[RECORD_BYTES_MAX + 8];
    struct wal_record right = make_record(record->tag, index, bytes);
    if (record->index != index)
        fail("asked for record %" PRIu64 ", got %" PRIu64, index, record->index);
    if (record->type != right.type || record->size != right.size ||
        (right.size > 0 && memcmp(record->data, bytes, right.size) != 0))
        fail("record %" PRIu64 " of operation %" PRIu64
             " is not what was appended: %u bytes, type %u; right are %u, %u",
             index, record->tag, record->size, record->type, right.size, right.type);
}

void read_log(struct wal *log, struct found *found)
{
    struct wal_cursor *cursor = NULL;
    struct wal_record record;
    int result;
    found->model.first = wal_first_index(log);
    found->model.last = wal_last_index(log);
    if (found->model.last + 1 - found->model.first > RING)
        fail("the log holds [%" PRIu64 ", %" PRIu64 "]: more than ever was live", found->model.first,
             found->model.last);
    if ((result = wal_cursor_open(log, 0, &cursor)) != 0)
        fail_call(log, "wal_cursor_open", result);
    for (uint64_t index = found->model.first; index <= found->model.last; index++) {
        if ((result = wal_cursor_next(cursor, &record)) != 0)
            fail("record %" PRIu64 " of [%" PRIu64 ", %" PRIu64 "] does not read: %s", index, found->model.first,
                 found->model.last, wal_strerror(result));
        check_record(&record, index);
        found->model.owner[index % RING] = record.tag;
        atomic_fetch_add(&shared->counts.records_verified, 1);
    }
    if ((result = wal_cursor_next(cursor, &record)) != WAL_EBEYOND)
        fail("behind the last record %" PRIu64 ": %s", found->model.last, wal_strerror(result));
    wal_cursor_close(cursor);
    size_t size = 0;
    result = wal_metadata(log, found->bytes, sizeof(found->bytes), &size);
    if (result != 0 && result != WAL_ENOENT)
        fail_call(log, "wal_metadata", result);
    found->metadata = result == 0;
    found->metadata_bytes = (uint32_t)size;
}

static bool same_metadata(uint64_t metadata_id, const struct found *found)
{
    unsigned char bytes[WAL_METADATA_BYTES_MAX + 8];
    if (metadata_id == 0 || !found->metadata)
        return metadata_id == 0 && !found->metadata;
    uint32_t size = make_metadata(metadata_id, bytes);
    return size == found->metadata_bytes && memcmp(bytes, found->bytes, size) == 0;
}

enum { DIFFERENCE_BYTES = 200 };

/* True: the same state. Else the story of the difference, told only when start and end are the same. */
static bool same_state(const struct model *model, const struct found *found, uint64_t m, char *story)
{
    if (model->first != found->model.first || model->last != found->model.last)
        return false;
    for (uint64_t index = model->last; index >= model->first && index > 0; index--) {
        uint64_t right = model->owner[index % RING], is = found->model.owner[index % RING];
        if (right != is) {
            snprintf(story, DIFFERENCE_BYTES,
                     "m = %" PRIu64 ": record %" PRIu64 " is of operation %" PRIu64 ", not %" PRIu64, m, index, is,
                     right);
            return false;
        }
    }
    if (!same_metadata(model->metadata_id, found)) {
        snprintf(story, DIFFERENCE_BYTES,
                 "m = %" PRIu64 ": all records are right, the metadata is not that of operation %" PRIu64, m,
                 model->metadata_id);
        return false;
    }
    return true;
}

uint64_t match(struct model *model, uint64_t base, uint64_t from, uint64_t to, const struct found *found)
{
    static struct model trial;
    uint64_t matched = UINT64_MAX, first = 0, last = 0;
    char story[DIFFERENCE_BYTES] = "start or end differ after each";
    trial = *model;
    for (uint64_t m = base; m <= to; m++) {
        if (m > base)
            apply(&trial, &lane->journal[m - 1]);
        if (m == from) {
            first = trial.first;
            last = trial.last;
        }
        if (m >= from && same_state(&trial, found, m, story))
            matched = m;
    }
    if (matched == UINT64_MAX)
        fail("found [%" PRIu64 ", %" PRIu64 "], the state after no m operations, m in [%" PRIu64
             " acknowledged, %" PRIu64 " accepted]; acknowledged was [%" PRIu64 ", %" PRIu64 "]; %s",
             found->model.first, found->model.last, from, to, first, last, story);
    for (uint64_t m = base; m < matched; m++)
        apply(model, &lane->journal[m]);
    return matched;
}
