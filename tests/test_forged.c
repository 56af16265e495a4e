/* test_forged.c - segments that are whole and yet not to be believed: of a newer format, or with numbers and sizes that
 * no log of ours comes to, all under right checksums.
 *
 * The happy path of a test: a log is made and closed, a field in one of its files is changed and the checksum put right
 * again, and opening it is refused with the code of wal.h and the row of the recovery table, or costs little.
 *
 * What can fail: an answer.
 *
 * Invariants: a refused open changes no byte and no name, whatever its flags (expect_refused looks).
 *
 * May include: format_fixture.h, log_fixture.h, scratch.h. */

#define _GNU_SOURCE
#include "tests/format_fixture.h"
#include "tests/log_fixture.h"
#include "tests/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- a newer format ------------------------------------------------------------------------------ */

static void change_identity(const char *directory, uint64_t segment, void (*change)(struct format_identity *identity))
{
    uint8_t sector[FORMAT_SECTOR_BYTES];
    struct format_identity identity;
    scratch_read(directory, segment, 0, sector, sizeof(sector));
    assert_int_equal(format_identity_decode(sector, &identity), FORMAT_OK);
    change(&identity);
    format_identity_encode(&identity, sector);
    scratch_write(directory, segment, 0, sector, sizeof(sector));
}

static void make_newer(struct format_identity *identity)
{
    identity->major = FORMAT_MAJOR + 1;
}

static void make_strange(struct format_identity *identity)
{
    identity->features_must = 1u << 7;
}

static void test_of_a_newer_format(void **state)
{
    make_log(*state, 5);
    change_identity(*state, 1, make_newer);
    static const uint32_t flags[] = {0, WAL_CREATE, WAL_READ_ONLY, WAL_ACCEPT_CORRUPT | WAL_ACCEPT_UNCERTAIN};
    for (size_t i = 0; i < 4; i++) {
        struct wal_options options = tiny(flags[i]);
        struct wal_verdict verdict = expect_refused(*state, &options, WAL_ENEWER);
        assert_int_equal(verdict.row, 1);
        assert_int_equal(verdict.kind, WAL_VERDICT_NONE);
    }
}

static void test_of_an_unknown_feature(void **state)
{
    make_log(*state, 5);
    change_identity(*state, 1, make_strange);
    struct wal_options options = tiny(WAL_ACCEPT_CORRUPT);
    struct wal_verdict verdict = expect_refused(*state, &options, WAL_ENEWER);
    assert_int_equal(verdict.row, 1);
}

/* Not only the newest segment: a mixture is refused as well, and damage behind the strange one does not hide it. */
static void test_of_a_newer_format_in_an_old_segment(void **state)
{
    for (unsigned i = 0; i < 4; i++) {
        static const uint32_t flags[] = {0, WAL_READ_ONLY, WAL_ACCEPT_CORRUPT | WAL_ACCEPT_UNCERTAIN};
        char directory[SCRATCH_PATH_BYTES];
        char name[16];
        (void)snprintf(name, sizeof(name), "log%u", i);
        scratch_join(directory, *state, name);
        make_log(directory, MANY);
        if ((i & 2) != 0) {
            scratch_zero(directory, 3, BLOCK, BLOCK);
        }
        change_identity(directory, 1, (i & 1) != 0 ? make_newer : make_strange);
        for (size_t j = 0; j < sizeof(flags) / sizeof(flags[0]); j++) {
            struct wal_options options = tiny(flags[j]);
            struct wal_verdict verdict = expect_refused(directory, &options, WAL_ENEWER);
            assert_int_equal(verdict.row, 1);
        }
    }
}

/* --- numbers at their end, under right checksums -------------------------------------------------- */

/* One segment, begun and empty, of which one field was forged: at this offset of the file's. */
struct forged_field {
    uint64_t offset;
    uint64_t value;
    int wanted; /* Of an open for writing. */
};

static void make_forged_log(const char *directory, const struct forged_field *forged)
{
    uint8_t sector[FORMAT_SECTOR_BYTES];
    make_log(directory, 1);
    scratch_zero(directory, 1, 2 * BLOCK, 14 * BLOCK);
    uint64_t base = forged->offset / BLOCK * BLOCK;
    if (base == 15 * BLOCK) {
        const struct format_seal seal = {.segment = 1, .last_number = 5, .own_offset = base, .salt = 1};
        format_seal_encode(&seal, sector);
    } else {
        scratch_read(directory, 1, base, sector, sizeof(sector));
    }
    memcpy(sector + forged->offset % BLOCK, &forged->value, sizeof(forged->value));
    if (base == 15 * BLOCK) {
        mend_sector(sector);
    } else {
        mend_head(sector);
    }
    scratch_write(directory, 1, base, sector, sizeof(sector));
}

static void test_forged_numbers_are_refused(void **state)
{
    static const uint32_t flags[] = {WAL_READ_ONLY, WAL_ACCEPT_CORRUPT | WAL_ACCEPT_UNCERTAIN, 0};
    static const struct forged_field fields[] = {
        {BLOCK + 40, UINT64_MAX - 1, WAL_ECORRUPT}, /* Batch number. */
        {BLOCK + 40, UINT64_MAX, WAL_ECORRUPT},
        {BLOCK + 40, FORMAT_NUMBER_MAX, WAL_ETOOBIG},
        {BLOCK + 64, FORMAT_INDEX_MAX + 2, WAL_ECORRUPT},  /* First index. */
        {BLOCK + 120, FORMAT_INDEX_MAX + 6, WAL_ECORRUPT}, /* Start index. */
        {BLOCK + 120, UINT64_MAX, WAL_ECORRUPT},
        {15 * BLOCK + 40, FORMAT_NUMBER_MAX, WAL_ECORRUPT}, /* The seal's last batch. */
        {15 * BLOCK + 40, UINT64_MAX, 0},                   /* No seal, then. */
    };
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        char directory[SCRATCH_PATH_BYTES];
        char name[16];
        (void)snprintf(name, sizeof(name), "log%zu", i);
        scratch_join(directory, *state, name);
        make_forged_log(directory, &fields[i]);
        for (size_t k = 0; k < sizeof(flags) / sizeof(flags[0]); k++) {
            struct wal_options options = tiny(flags[k] | (flags[k] == WAL_READ_ONLY ? 0 : WAL_NO_THREADS));
            struct wal *log = NULL;
            struct wal_verdict verdict;
            int result = wal_open(directory, &options, &log, &verdict);
            if (flags[k] == 0 && result != fields[i].wanted) {
                fail_msg("field %zu: %s (row %d): %s", i, wal_strerror(result), verdict.row, verdict.text);
            }
            if (result == 0) {
                assert_int_equal(wal_close(log), 0);
            }
        }
    }
}

static void *take_little(void *context, size_t bytes, size_t align)
{
    (void)context;
    return bytes < (size_t)1 << 30 ? aligned_alloc(align, (bytes + align - 1) / align * align) : NULL;
}

static void give_back(void *context, void *memory, size_t bytes)
{
    (void)context;
    (void)bytes;
    free(memory);
}

/* A file of some blocks that claims to be one of 4 GiB, and one batch in it all of that. */
static void test_a_small_file_that_claims_much_costs_little(void **state)
{
    uint8_t sector[FORMAT_SECTOR_BYTES] = {0};
    make_log(*state, 1);
    scratch_read(*state, 1, 0, sector, sizeof(sector));
    struct format_identity identity;
    assert_int_equal(format_identity_decode(sector, &identity), FORMAT_OK);
    identity.segment_bytes = FORMAT_SEGMENT_BYTES_MAX - BLOCK;
    format_identity_encode(&identity, sector);
    scratch_write(*state, 1, 0, sector, sizeof(sector));
    struct format_head head;
    scratch_read(*state, 1, 3 * BLOCK, sector, sizeof(sector)); /* Behind two anchors, the first batch. */
    assert_int_equal(format_head_decode(sector, sizeof(sector), &head), FORMAT_OK);
    head.used_bytes = 0xf0000000u;
    memset(sector, 0, sizeof(sector));
    format_head_encode(&head, sector);
    scratch_write(*state, 1, 3 * BLOCK, sector, sizeof(sector));
    const struct wal_allocator allocator = {.allocate = take_little, .release = give_back};
    struct wal_options options = tiny(WAL_READ_ONLY);
    options.allocator = &allocator;
    struct wal *log = NULL;
    struct wal_verdict verdict;
    assert_int_equal(wal_open(*state, &options, &log, &verdict), 0);
    assert_int_equal(verdict.kind, WAL_VERDICT_CORRUPT); /* A mark behind it covers that batch. */
    assert_int_equal(wal_close(log), 0);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]); /* A name, with * and ?. */
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_of_a_newer_format, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_of_an_unknown_feature, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_of_a_newer_format_in_an_old_segment, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_forged_numbers_are_refused, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_a_small_file_that_claims_much_costs_little, scratch_setup,
                                        scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
