/* test_waldump.c - the parts of waldump, in this process: its table of the format, its JSON reader, and what it makes
 * of every single damaged byte of a log.
 *
 * The happy path of the last one: a small log with sealed segments, truncations at both ends, metadata and a CLOSE is
 * written; the bytes that count in it are found by the physical view of the undamaged log; then byte after byte is
 * changed, and verify --deep and dump are run.
 *
 * What must hold: a changed byte that counts is reported; one that does not leaves the records as they were; and no
 * wrong record is ever shown.
 *
 * May include: dump_run.h, scratch.h. */

#define _GNU_SOURCE
#include "tests/dump_run.h"
#include "tests/scratch.h"
#include "tools/chain.h"
#include "tools/fields.h"
#include "tools/json_read.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* --- fields -------------------------------------------------------------------------------------- */

static const struct field *field_of(enum structure_id id, const char *name)
{
    for (unsigned i = 0; i < structures[id].count; i++) {
        if (strcmp(structures[id].fields[i].name, name) == 0) {
            return &structures[id].fields[i];
        }
    }
    fail_msg("%s has no field %s", structures[id].name, name);
    return NULL;
}

static void expect_field(enum structure_id id, const char *name, const uint8_t *bytes, uint64_t value)
{
    uint64_t found = field_value(bytes, field_of(id, name));
    if (found != value) {
        fail_msg("%s.%s: %llu, not %llu", structures[id].name, name, (unsigned long long)found,
                 (unsigned long long)value);
    }
}

static void test_fields_join(void **state)
{
    (void)state;
    for (unsigned id = 0; id < STRUCTURES; id++) {
        for (unsigned i = 1; i < structures[id].count; i++) {
            const struct field *before = &structures[id].fields[i - 1];
            assert_int_equal(structures[id].fields[i].offset, before->offset + before->size);
        }
    }
}

static void test_fields_are_where_the_encoders_put_them(void **state)
{
    (void)state;
    uint8_t sector[FORMAT_SECTOR_BYTES] = {0};
    const struct format_identity identity = {.major = 1,
                                             .minor = 3,
                                             .features_may = 0x77,
                                             .block_shift = 12,
                                             .prefill = 2,
                                             .segment = 11,
                                             .segment_bytes = 1 << 20,
                                             .batch_bytes_max = 65536,
                                             .batches_in_flight_max = 3};
    format_identity_encode(&identity, sector);
    expect_field(STRUCTURE_IDENTITY, "minor", sector, 3);
    expect_field(STRUCTURE_IDENTITY, "features_may", sector, 0x77);
    expect_field(STRUCTURE_IDENTITY, "block_shift", sector, 12);
    expect_field(STRUCTURE_IDENTITY, "prefill", sector, 2);
    expect_field(STRUCTURE_IDENTITY, "segment", sector, 11);
    expect_field(STRUCTURE_IDENTITY, "segment_bytes", sector, 1 << 20);
    expect_field(STRUCTURE_IDENTITY, "batch_bytes_max", sector, 65536);
    expect_field(STRUCTURE_IDENTITY, "in_flight_max", sector, 3);
    const struct format_seal seal = {.segment = 1,
                                     .salt = 2,
                                     .last_number = 3,
                                     .last_checksum = 4,
                                     .last_offset = 5,
                                     .end_offset = 6,
                                     .opening_index = 7,
                                     .last_index = 8,
                                     .low = 9,
                                     .record_count = 10,
                                     .own_offset = 11};
    static const char *const seal_names[] = {"segment",     "salt",         "last_number",   "last_checksum",
                                             "last_offset", "end_offset",   "opening_index", "last_index",
                                             "low",         "record_count", "own_offset"};
    format_seal_encode(&seal, sector);
    for (unsigned i = 0; i < 11; i++) {
        expect_field(STRUCTURE_SEAL, seal_names[i], sector, i + 1);
    }
}

static void test_head_fields_are_where_the_encoder_puts_them(void **state)
{
    (void)state;
    uint8_t sector[FORMAT_SECTOR_BYTES] = {0};
    struct format_head head = {.kind = BATCH_ANCHOR,
                               .flags = BATCH_ZEROED,
                               .head_bytes = (uint16_t)format_head_bytes(BATCH_ANCHOR, 8),
                               .salt = 21,
                               .segment = 22,
                               .place = 23,
                               .number = 24,
                               .mark = 20,
                               .chain = 26,
                               .first_index = 27,
                               .metadata_bytes = 8,
                               .body.anchor = {.predecessor_segment = 31,
                                               .predecessor_end_offset = 32,
                                               .predecessor_last_offset = 33,
                                               .start = {34, 35},
                                               .low = 36,
                                               .doubt_index = 37,
                                               .cut_offset = 38,
                                               .cut_first_index = 39,
                                               .cut_records = 40,
                                               .cut_reason = 41,
                                               .last_tag = 42}};
    head.used_bytes = head.head_bytes;
    format_head_encode(&head, sector);
    expect_field(STRUCTURE_HEAD, "checksum", sector, head.checksum);
    static const struct {
        enum structure_id id;
        const char *name;
        uint64_t value;
    } expected[] = {
        {STRUCTURE_HEAD, "kind", BATCH_ANCHOR},
        {STRUCTURE_HEAD, "flags", BATCH_ZEROED},
        {STRUCTURE_HEAD, "salt", 21},
        {STRUCTURE_HEAD, "segment", 22},
        {STRUCTURE_HEAD, "place", 23},
        {STRUCTURE_HEAD, "number", 24},
        {STRUCTURE_HEAD, "mark", 20},
        {STRUCTURE_HEAD, "chain", 26},
        {STRUCTURE_HEAD, "first_index", 27},
        {STRUCTURE_HEAD, "metadata_bytes", 8},
        {STRUCTURE_ANCHOR, "predecessor_segment", 31},
        {STRUCTURE_ANCHOR, "predecessor_end", 32},
        {STRUCTURE_ANCHOR, "predecessor_last", 33},
        {STRUCTURE_ANCHOR, "start_index", 34},
        {STRUCTURE_ANCHOR, "start_segment", 35},
        {STRUCTURE_ANCHOR, "low", 36},
        {STRUCTURE_ANCHOR, "doubt_index", 37},
        {STRUCTURE_ANCHOR, "cut_offset", 38},
        {STRUCTURE_ANCHOR, "cut_first_index", 39},
        {STRUCTURE_ANCHOR, "cut_records", 40},
        {STRUCTURE_ANCHOR, "cut_reason", 41},
        {STRUCTURE_ANCHOR, "last_tag", 42},
    };
    for (unsigned i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        expect_field(expected[i].id, expected[i].name, sector, expected[i].value);
    }
    uint8_t bytes[64];
    const struct format_record record = {.length = 5, .type = 9, .tag = 77, .payload = (const uint8_t *)"hello"};
    format_record_encode(bytes, 1, 2, 3, &record);
    expect_field(STRUCTURE_RECORD, "length", bytes, 5);
    expect_field(STRUCTURE_RECORD, "type", bytes, 9);
    expect_field(STRUCTURE_RECORD, "tag", bytes, 77);
}

/* --- JSON ---------------------------------------------------------------------------------------- */

static const char *read_line(const char *line, struct json_object *object)
{
    static char copy[512];
    (void)snprintf(copy, sizeof(copy), "%s", line);
    return json_read(copy, strlen(copy), object);
}

static void test_json_reader(void **state)
{
    (void)state;
    struct json_object object;
    assert_null(read_line(
        " { \"a\" : 18446744073709551615 , \"b\":\"x\\n\\u00e9\\\"\",\"c\":null,\"d\":true,\"e\":false } \n", &object));
    assert_int_equal(object.count, 5);
    assert_true(json_find(&object, "a")->number == UINT64_MAX);
    assert_int_equal(json_find(&object, "b")->length, 4);
    assert_memory_equal(json_find(&object, "b")->text, "x\n\xe9\"", 4);
    assert_int_equal(json_find(&object, "c")->kind, JSON_NULL);
    assert_int_equal(json_find(&object, "d")->number, 1);
    assert_int_equal(json_find(&object, "e")->number, 0);
    assert_null(json_find(&object, "f"));
    assert_null(read_line("{}", &object));
    static const char *const wrong[] = {"",
                                        "[]",
                                        "{",
                                        "{\"a\"",
                                        "{\"a\":",
                                        "{\"a\":1",
                                        "{\"a\":1,}",
                                        "{\"a\":-1}",
                                        "{\"a\":1.5}",
                                        "{\"a\":18446744073709551616}",
                                        "{\"a\":{}}",
                                        "{\"a\":[1]}",
                                        "{\"a\":\"x}",
                                        "{\"a\":\"\\q\"}",
                                        "{\"a\":\"\\u12\"}",
                                        "{\"a\":\"\\u0100\"}",
                                        "{\"a\":1}x",
                                        "{\"a\":1 \"b\":2}",
                                        "{a:1}",
                                        "{\"a234567890123456789012345678901234567890\":1}"};
    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        if (read_line(wrong[i], &object) == NULL) {
            fail_msg("taken: %s", wrong[i]);
        }
    }
}

static void test_base64(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *bytes; /* NULL: it is none. */
    } cases[] = {{"", ""},      {"QQ==", "A"},  {"QUI=", "AB"},     {"QUJD", "ABC"}, {"QUJDRA==", "ABCD"},
                 {"QQ=", NULL}, {"Q===", NULL}, {"QQ==QQ==", NULL}, {"Q*==", NULL},  {"====", NULL}};
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[32];
        size_t bytes = 0;
        (void)snprintf(text, sizeof(text), "%s", cases[i].text);
        bool good = base64_decode(text, strlen(text), &bytes);
        if (good != (cases[i].bytes != NULL) ||
            (good && (bytes != strlen(cases[i].bytes) || memcmp(text, cases[i].bytes, bytes) != 0))) {
            fail_msg("%s", cases[i].text);
        }
    }
}

/* --- every byte ---------------------------------------------------------------------------------- */

enum { FILE_BYTES = 8192, FILES_MAX = 12, TEXT_BYTES = 1 << 18 };

struct spans {
    bool counts[FILE_BYTES]; /* A change of this byte must be reported. */
};

static void append_record(struct wal *log, uint16_t type, uint32_t size)
{
    static char bytes[2048];
    memset(bytes, 'a' + type % 26, sizeof(bytes));
    const struct wal_record record = {.data = bytes, .size = size, .type = type, .tag = type * 10u};
    const struct wal_append append = {.records = &record, .record_count = 1};
    assert_int_equal(wal_commit(log, &append, NULL), 0);
}

static void run(int (*command)(struct settings *), struct settings *settings, char *text, int *code)
{
    size_t length;
    *code = dump_run(command, settings, text, TEXT_BYTES, &length);
    assert_true(length < TEXT_BYTES);
}

static struct settings dump_all(const char *path)
{
    struct settings settings = dump_settings(path);
    settings.payload = PAYLOAD_HEX;
    return settings;
}

/* Three segments with records, of which the first is half below the start, and a truncated end. written: a dump of all
 * records there ever were. */
static void make_log(const char *path, char written[TEXT_BYTES])
{
    int code;
    struct settings settings = dump_all(path);
    struct wal *log;
    struct wal_options options = WAL_OPTIONS_INIT;
    options.flags = WAL_CREATE | WAL_POWERSAFE_OVERWRITE | WAL_NO_THREADS | WAL_BUFFERED;
    options.block_bytes = 512;
    options.segment_bytes = FILE_BYTES;
    options.batch_bytes_max = 6 * 512;
    assert_int_equal(wal_open(path, &options, &log, NULL), 0);
    for (uint16_t i = 1; i <= 14; i++) {
        append_record(log, i, 60u * i);
    }
    const struct wal_append metadata = {.flags = WAL_APPEND_METADATA, .metadata = "term 7", .metadata_bytes = 6};
    assert_int_equal(wal_commit(log, &metadata, NULL), 0);
    for (uint16_t i = 15; i <= 24; i++) {
        append_record(log, i, 700);
    }
    run(command_dump, &settings, written, &code);
    assert_int_equal(code, 0);
    struct wal_receipt receipt;
    assert_int_equal(wal_truncate_suffix(log, 23, &receipt), 0);
    assert_int_equal(wal_wait(log, receipt.ticket), 0);
    append_record(log, 30, 100);
    assert_int_equal(wal_truncate_prefix(log, 4, &receipt), 0);
    assert_int_equal(wal_wait(log, receipt.ticket), 0);
    append_record(log, 31, 0);
    assert_int_equal(wal_close(log), 0);
}

/* Which records are alive is what the library says of the whole log: the index stands at this very place. */
static bool is_alive(const char *text, uint64_t index, uint64_t segment, uint64_t offset)
{
    char line[128];
    (void)snprintf(line, sizeof(line), "\"index\":%llu,\"segment\":%llu,\"offset\":%llu,", (unsigned long long)index,
                   (unsigned long long)segment, (unsigned long long)offset);
    return strstr(text, line) != NULL;
}

static void mark_span(struct spans *spans, uint64_t from, uint64_t bytes)
{
    for (uint64_t at = from; at < from + bytes; at++) {
        assert_true(at < FILE_BYTES);
        spans->counts[at] = true;
    }
}

/* In the newest segment every batch counts; in a sealed one those with live records. Identities and seals count: they
 * are told as spare copies. */
static void mark_segment(const struct segments *segments, struct segment_file *file, bool newest, const char *records,
                         struct spans *spans)
{
    struct chain chain;
    struct batch_look look;
    mark_span(spans, 0, FORMAT_SECTOR_BYTES);
    if (!newest) {
        mark_span(spans, FILE_BYTES - 512, FORMAT_SECTOR_BYTES);
    }
    chain_begin(&chain, file, segments->block_bytes);
    while (chain_step(&chain, file, segments->block_bytes, &look)) {
        uint64_t offset = 0;
        bool opening = look.offset == segments->block_bytes;
        bool head_counts = newest || opening;
        for (uint32_t i = 0; i < look.head.record_count; i++) {
            uint64_t here = offset != 0 ? offset : look.offset + look.head.head_bytes;
            struct format_record record;
            assert_int_equal(batch_record(file, &look, i, &offset, &record), FORMAT_OK);
            if (newest || is_alive(records, look.head.first_index + i, file->number, here)) {
                mark_span(spans, here, RECORD_HEADER_BYTES + record.length);
                head_counts = true;
            }
        }
        if (head_counts) {
            mark_span(spans, look.offset, look.head.head_bytes);
        }
    }
}

static unsigned find_spans(const char *path, const char *records, uint64_t numbers[FILES_MAX], struct spans *spans)
{
    struct segments segments;
    assert_int_equal(segments_open(&segments, path), 0);
    assert_true(segments.count <= FILES_MAX);
    const struct segment_file *newest = segments_newest_begun(&segments);
    uint64_t start = chain_start_segment(&segments);
    assert_non_null(newest);
    assert_true(newest->number >= start + 2); /* Else the log is too small for this test. */
    unsigned count = segments.count;
    for (unsigned i = 0; i < count; i++) {
        struct segment_file *file = &segments.list[i];
        numbers[i] = file->number;
        memset(&spans[i], 0, sizeof(spans[i]));
        if (file->number >= start && file->number <= newest->number) {
            mark_segment(&segments, file, file == newest, records, &spans[i]);
        }
    }
    segments_close(&segments);
    return count;
}

/* Each line of `some` is a line of `all`. */
static bool all_lines_in(const char *some, const char *all)
{
    while (*some != '\0') {
        const char *end = strchr(some, '\n');
        if (end == NULL || memmem(all, strlen(all), some, (size_t)(end - some) + 1) == NULL) {
            return false;
        }
        some = end + 1;
    }
    return true;
}

static bool every_byte;

/* Sanitizers make a look ten times as long; one of so many bytes is enough then, the plain build has them all. */
#if defined(__SANITIZE_THREAD__)
enum { ONE_OF = 16 };
#elif defined(__SANITIZE_ADDRESS__)
enum { ONE_OF = 4 };
#else
enum { ONE_OF = 1 };
#endif

struct flips {
    const char *path;
    char verdict[TEXT_BYTES]; /* Of the undamaged log: verify --deep, */
    char records[TEXT_BYTES]; /* and dump; */
    char written[TEXT_BYTES]; /* dump as it was before the truncations as well: all records ever written. */
    char found[TEXT_BYTES];
    unsigned changed;
    unsigned reported;
    unsigned harmless;
};

/* The file has one wrong byte now: what do the commands say? */
static void judge_flip(struct flips *flips, bool counts, uint64_t segment, uint64_t offset)
{
    int code;
    struct settings settings = dump_settings(flips->path);
    settings.deep = true;
    run(command_verify, &settings, flips->found, &code);
    bool reported = code != EXIT_READABLE || strcmp(flips->found, flips->verdict) != 0;
    if (counts && !reported) {
        fail_msg("segment %llu, offset %llu: a damaged byte that counts is not reported", (unsigned long long)segment,
                 (unsigned long long)offset);
    }
    settings = dump_all(flips->path);
    run(command_dump, &settings, flips->found, &code);
    if (!all_lines_in(flips->found, flips->written)) {
        fail_msg("segment %llu, offset %llu: a wrong record is shown: %s", (unsigned long long)segment,
                 (unsigned long long)offset, flips->found);
    }
    if (!counts && !reported && strcmp(flips->found, flips->records) != 0) {
        fail_msg("segment %llu, offset %llu: records are lost and nothing is said", (unsigned long long)segment,
                 (unsigned long long)offset);
    }
    flips->changed++;
    flips->reported += reported;
    flips->harmless += !reported;
}

static void flip_file(struct flips *flips, int file, const struct spans *spans, uint64_t number)
{
    uint8_t bytes[FILE_BYTES];
    assert_int_equal(pread(file, bytes, sizeof(bytes), 0), sizeof(bytes));
    for (uint64_t at = 0; at < FILE_BYTES; at++) {
        /* Of the bytes that do not count every 37th is enough, and of payloads (behind a block's first 160 bytes,
         * mostly) every 16th. */
        bool skipped = spans->counts[at] ? at % 16 != 0 && at % 512 >= 160 : at % 37 != 0;
        skipped = skipped || at % ONE_OF != at / 512 % ONE_OF;
        if (skipped && !every_byte) {
            continue;
        }
        uint8_t wrong = (uint8_t)(bytes[at] ^ (1u << at % 8));
        assert_int_equal(pwrite(file, &wrong, 1, (off_t)at), 1);
        judge_flip(flips, spans->counts[at], number, at);
        assert_int_equal(pwrite(file, &bytes[at], 1, (off_t)at), 1);
    }
}

static void test_every_damaged_byte_is_reported_or_dead(void **state)
{
    char path[SCRATCH_PATH_BYTES];
    static struct flips flips;
    static struct spans spans[FILES_MAX];
    uint64_t numbers[FILES_MAX];
    int code;
    assert_true(snprintf(path, sizeof(path), "%s/log", (char *)*state) < (int)sizeof(path));
    flips = (struct flips){.path = path};
    make_log(path, flips.written);
    struct settings settings = dump_settings(path);
    settings.deep = true;
    run(command_verify, &settings, flips.verdict, &code);
    assert_int_equal(code, 0);
    settings = dump_all(path);
    run(command_dump, &settings, flips.records, &code);
    assert_int_equal(code, 0);
    size_t used = strlen(flips.written);
    assert_true((size_t)snprintf(flips.written + used, TEXT_BYTES - used, "%s", flips.records) < TEXT_BYTES - used);
    unsigned count = find_spans(path, flips.records, numbers, spans);
    for (unsigned i = 0; i < count; i++) {
        char name[FORMAT_NAME_BYTES];
        char file_path[SCRATCH_PATH_BYTES + 64];
        format_segment_name(numbers[i], name);
        (void)snprintf(file_path, sizeof(file_path), "%s/%s", path, name);
        int file = open(file_path, O_RDWR | O_CLOEXEC);
        assert_true(file >= 0);
        flip_file(&flips, file, &spans[i], numbers[i]);
        (void)close(file);
    }
    printf("result: %u bytes damaged, one at a time: %u reported, %u in dead space\n", flips.changed, flips.reported,
           flips.harmless);
    assert_true(flips.reported > 3000 / ONE_OF && flips.harmless > 100 / ONE_OF);
}

static int setup(void **state)
{
    char *path = calloc(1, SCRATCH_PATH_BYTES);
    *state = path;
    (void)snprintf(path, SCRATCH_PATH_BYTES, "/dev/shm/test-waldump-XXXXXX"); /* Thousands of looks: in memory. */
    if (mkdtemp(path) == NULL) {
        scratch_make(path);
    }
    return 0;
}

static int teardown(void **state)
{
    scratch_remove(*state);
    free(*state);
    return 0;
}

int main(int count, char **arguments)
{
    (void)arguments;
    every_byte = count > 1; /* Any argument: the long run. */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields_join),
        cmocka_unit_test(test_fields_are_where_the_encoders_put_them),
        cmocka_unit_test(test_head_fields_are_where_the_encoder_puts_them),
        cmocka_unit_test(test_json_reader),
        cmocka_unit_test(test_base64),
        cmocka_unit_test_setup_teardown(test_every_damaged_byte_is_reported_or_dead, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
