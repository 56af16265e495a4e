/* test_map.c - index to offset: runs, holes, truncation, against a plain array. */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "wal/map.h"

enum { CAPACITY = 64, INDEXES = 400 };

static struct map_entry memory[CAPACITY];

static struct map fresh_map(void)
{
    return (struct map){.entries = memory, .capacity = CAPACITY};
}

static void add(struct map *map, uint64_t first_index, uint32_t count, uint32_t offset)
{
    const struct map_entry entry = {.first_index = first_index, .record_count = count, .offset = offset, .salt = 7};
    map_add(map, &entry);
}

static void test_an_index_is_found_in_its_run(void **state)
{
    (void)state;
    struct map map = fresh_map();
    assert_null(map_find(&map, 1));
    add(&map, 5, 3, 100);
    add(&map, 8, 1, 200);
    add(&map, 20, 10, 300);
    assert_null(map_find(&map, 4));
    assert_int_equal(map_find(&map, 5)->offset, 100);
    assert_int_equal(map_find(&map, 7)->offset, 100);
    assert_int_equal(map_find(&map, 8)->offset, 200);
    assert_null(map_find(&map, 9));
    assert_int_equal(map_find(&map, 29)->offset, 300);
    assert_null(map_find(&map, 30));
}

static void test_next_steps_over_holes(void **state)
{
    (void)state;
    struct map map = fresh_map();
    assert_int_equal(map_next(&map, 1), 0);
    add(&map, 5, 3, 100);
    add(&map, 20, 10, 300);
    assert_int_equal(map_next(&map, 1), 5);
    assert_int_equal(map_next(&map, 6), 6);
    assert_int_equal(map_next(&map, 8), 20);
    assert_int_equal(map_next(&map, 30), 0);
}

static void test_truncation_cuts_runs_in_two_and_drops_the_rest(void **state)
{
    (void)state;
    struct map map = fresh_map();
    add(&map, 5, 3, 100);
    add(&map, 8, 10, 200);
    map_truncate(&map, 10);
    assert_int_equal(map_find(&map, 9)->offset, 200);
    assert_null(map_find(&map, 10));
    map_truncate(&map, 8);
    assert_int_equal(map.count, 1);
    map_truncate(&map, 5);
    assert_int_equal(map.count, 0);
    map_truncate(&map, 1);
    assert_int_equal(map.count, 0);
}

/* Random runs and truncations; the array says which offset each index has. */
static void test_like_a_plain_array(void **state)
{
    (void)state;
    uint64_t random = 42;
    for (unsigned round = 0; round < 2000; round++) {
        struct map map = fresh_map();
        uint32_t plain[INDEXES] = {0};
        uint64_t next = 1;
        for (unsigned step = 0; step < 20; step++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            uint32_t draw = (uint32_t)(random >> 33);
            if (draw % 4 == 0 && next > 1) {
                next = 1 + draw / 4 % next;
                map_truncate(&map, next);
                memset(plain + next, 0, (INDEXES - next) * sizeof(plain[0]));
            } else {
                uint32_t count = 1 + draw / 8 % 7;
                uint64_t first = next + (draw / 64 % 5 == 0 ? 2 : 0);
                if (first + count >= INDEXES) {
                    break;
                }
                add(&map, first, count, 1000 + step);
                for (uint64_t index = first; index < first + count; index++) {
                    plain[index] = 1000 + step;
                }
                next = first + count;
            }
        }
        for (uint64_t index = 1; index < INDEXES; index++) {
            const struct map_entry *entry = map_find(&map, index);
            assert_int_equal(entry != NULL ? entry->offset : 0, plain[index]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_index_is_found_in_its_run),
        cmocka_unit_test(test_next_steps_over_holes),
        cmocka_unit_test(test_truncation_cuts_runs_in_two_and_drops_the_rest),
        cmocka_unit_test(test_like_a_plain_array),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
