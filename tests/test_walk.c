/* test_walk.c - is this batch the next one? Each way to be wrong is told by its own reason. */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "wal/walk.h"

enum { BLOCK = 4096, SEGMENT_BLOCKS = 16 };

static struct format_head anchor_head(void)
{
    return (struct format_head){.checksum = 0xaa,
                                .kind = BATCH_ANCHOR,
                                .head_bytes = 184,
                                .used_bytes = 184,
                                .salt = 7,
                                .segment = 3,
                                .place = 1,
                                .number = 10,
                                .mark = 9,
                                .chain = 0x99,
                                .first_index = 50,
                                .metadata_bytes = FORMAT_NO_METADATA,
                                .body.anchor = {.start = {20, 1}, .low = 1, .last_tag = 4}};
}

static struct walk begun_walk(void)
{
    struct walk walk;
    struct format_head anchor = anchor_head();
    walk_begin(&walk, &anchor, (uint64_t)SEGMENT_BLOCKS * BLOCK, BLOCK);
    assert_int_equal(walk_judge(&walk, &anchor), WALK_FITS);
    walk_accept(&walk, &anchor);
    return walk;
}

/* The batch that fits behind the anchor: two records. */
static struct format_head data_head(void)
{
    return (struct format_head){.checksum = 0xbb,
                                .kind = BATCH_DATA,
                                .head_bytes = 104,
                                .used_bytes = 300,
                                .salt = 7,
                                .segment = 3,
                                .place = 2,
                                .number = 11,
                                .mark = 10,
                                .chain = 0xaa,
                                .first_index = 50,
                                .record_count = 2,
                                .metadata_bytes = FORMAT_NO_METADATA,
                                .body.tags = {4, 5, 6}};
}

static void test_the_next_batch_fits_and_moves_the_walk(void **state)
{
    (void)state;
    struct walk walk = begun_walk();
    struct format_head head = data_head();
    assert_int_equal(walk.start.index, 20);
    assert_int_equal(walk_judge(&walk, &head), WALK_FITS);
    walk_accept(&walk, &head);
    assert_int_equal(walk.next_index, 52);
    assert_int_equal(walk.number, 12);
    assert_int_equal(walk.chain, 0xbb);
    assert_int_equal(walk.offset, 3 * BLOCK);
    assert_int_equal(walk.last_tag, 6);
    assert_int_equal(walk.highest_mark, 10);
    assert_int_equal(walk.last_content_number, 11);
}

static void test_each_wrong_field_has_its_reason(void **state)
{
    (void)state;
    struct walk walk = begun_walk();
    struct format_head head = data_head();
    head.salt = 8;
    assert_int_equal(walk_judge(&walk, &head), WALK_OTHER_SALT);
    head = data_head();
    head.number = 12;
    assert_int_equal(walk_judge(&walk, &head), WALK_BAD_NUMBER);
    head = data_head();
    head.chain++;
    assert_int_equal(walk_judge(&walk, &head), WALK_BAD_CHAIN);
    head = data_head();
    head.first_index = 49;
    assert_int_equal(walk_judge(&walk, &head), WALK_BAD_INDEX);
    head = data_head();
    head.used_bytes = (SEGMENT_BLOCKS - 3) * BLOCK + 8;
    assert_int_equal(walk_judge(&walk, &head), WALK_BAD_SIZE);
}

static void test_a_truncation_may_go_back_to_the_start_and_no_further(void **state)
{
    (void)state;
    struct walk walk = begun_walk();
    struct format_head head = data_head();
    head.kind = BATCH_TRUNCATE;
    head.first_index = 20; /* Below the segment's first index: its tail lies in earlier segments. */
    assert_int_equal(walk_judge(&walk, &head), WALK_FITS);
    head.first_index = 19;
    assert_int_equal(walk_judge(&walk, &head), WALK_BAD_INDEX);
    head.first_index = 51;
    assert_int_equal(walk_judge(&walk, &head), WALK_BAD_INDEX);
    head.first_index = 20;
    walk_accept(&walk, &head);
    assert_int_equal(walk.low, 20);
    assert_int_equal(walk.next_index, 22);
}

static void test_only_a_forced_anchor_jumps(void **state)
{
    (void)state;
    struct walk walk = begun_walk();
    struct format_head head = anchor_head();
    head.place = 2;
    head.chain = 0xaa;
    head.number = 40;
    head.salt = 77;
    assert_int_equal(walk_judge(&walk, &head), WALK_BAD_NUMBER);
    head.flags = BATCH_FORCED;
    assert_int_equal(walk_judge(&walk, &head), WALK_FITS);
    head.number = 5;
    assert_int_equal(walk_judge(&walk, &head), WALK_BAD_NUMBER);
    head.number = 40;
    walk_accept(&walk, &head);
    assert_int_equal(walk.salt, 77);
    assert_true(walk.reopened_unzeroed);
}

static void test_a_start_beyond_the_end_is_a_reset(void **state)
{
    (void)state;
    struct walk walk = begun_walk();
    struct format_head head = data_head();
    head.kind = BATCH_START;
    head.record_count = 0;
    head.body.start = (struct format_start){1000, 3};
    assert_int_equal(walk_judge(&walk, &head), WALK_FITS);
    walk_accept(&walk, &head);
    assert_int_equal(walk.next_index, 1000);
    assert_int_equal(walk.start.index, 1000);
    head.body.start.index = 999; /* A start never goes back. */
    head.number = 12;
    head.chain = 0xbb;
    head.first_index = 1000;
    assert_int_equal(walk_judge(&walk, &head), WALK_BAD_INDEX);
}

static void test_metadata_and_doubt_follow_the_order_of_batches(void **state)
{
    (void)state;
    struct walk walk = begun_walk();
    walk.doubt_index = 30;
    struct format_head head = data_head();
    head.metadata_bytes = 3;
    memcpy(head.metadata, "abc", 3);
    walk_accept(&walk, &head);
    assert_int_equal(walk.metadata_bytes, 3);
    assert_memory_equal(walk.metadata, "abc", 3);
    assert_int_equal(walk.doubt_index, 30);
    head = data_head();
    head.kind = BATCH_TRUNCATE; /* Takes records away, not metadata. */
    head.flags = BATCH_CLEARS_DOUBT;
    walk_accept(&walk, &head);
    assert_int_equal(walk.metadata_bytes, 3);
    assert_int_equal(walk.doubt_index, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_next_batch_fits_and_moves_the_walk),
        cmocka_unit_test(test_each_wrong_field_has_its_reason),
        cmocka_unit_test(test_a_truncation_may_go_back_to_the_start_and_no_further),
        cmocka_unit_test(test_only_a_forced_anchor_jumps),
        cmocka_unit_test(test_a_start_beyond_the_end_is_a_reset),
        cmocka_unit_test(test_metadata_and_doubt_follow_the_order_of_batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
