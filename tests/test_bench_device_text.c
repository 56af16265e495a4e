/* test_bench_device_text.c - what is known about a place, in words: JSON and lines for people.
 *
 * The happy path of a test: facts, none at all or as bad as can be, are written; every key is there, and every line
 * fits and can be printed.
 *
 * What can fail: an expectation. Invariants: those of machine_fixture.h.
 *
 * May include: machine_fixture.h. */

#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/machine_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

/* Facts of which every single byte is as bad as can be. */
static struct device_facts hostile_facts(char byte)
{
    struct device_facts facts;
    memset(&facts, byte, sizeof(facts));
    char *const texts[] = {facts.kernel,         facts.machine,         facts.cpu,           facts.hypervisor,
                           facts.container_told, facts.io_uring_reason, facts.fs_type,       facts.fs_upper_type,
                           facts.mount_point,    facts.mount_source,    facts.mount_options, facts.direct_io_reason,
                           facts.device,         facts.device_kind,     facts.disk,          facts.devices_below,
                           facts.write_cache,    facts.model,           facts.vendor,        facts.transport,
                           facts.scheduler};
    static const size_t sizes[] = {96, 32, 128, 128, 128, 128, 32, 32, 256, 256, 512,
                                   96, 64, 32,  64,  256, 32,  96, 64, 32,  32};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        texts[i][sizes[i] - 1] = 0;
    enum device_answer *const answers[] = {
        &facts.virtual_machine, &facts.container, &facts.io_uring, &facts.in_memory,  &facts.network,
        &facts.copy_on_write,   &facts.direct_io, &facts.fua,      &facts.rotational, &facts.discard};
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
        *answers[i] = DEVICE_YES;
    return facts;
}

static void test_all_keys_are_always_there(void **state)
{
    (void)state;
    static const struct device_facts nothing;
    struct device_facts everything = hostile_facts('\xff');
    struct json_value *empty = json_of_facts(&nothing), *full = json_of_facts(&everything);
    static const char *const parts[] = {"machine", "file_system", "device"};
    static const size_t keys[] = {11, 13, 16};
    for (size_t i = 0; i < 3; i++) {
        const struct json_value *part = json_member(empty, parts[i]), *other = json_first(json_member(full, parts[i]));
        assert_int_equal(json_count(part), keys[i]);
        for (const struct json_value *key = json_first(part); key != NULL; key = json_next(key)) {
            assert_int_equal(json_kind(key), JSON_NULL);
            assert_string_equal(json_name(key), json_name(other));
            assert_int_not_equal(json_kind(other), JSON_NULL);
            other = json_next(other);
        }
        assert_null(other);
    }
    assert_int_equal(json_count(json_member(empty, "warnings")), 1);
    json_free(empty);
    json_free(full);
}

static void test_lines_for_people(void **state)
{
    (void)state;
    static const char bytes[] = "a\n\xff\x1b\xc3";
    struct device_facts facts = {.cpus = 0};
    for (size_t i = 0; i < sizeof(bytes); i++) {
        char *text = NULL;
        size_t size = 0, lines = 0;
        FILE *memory = open_memstream(&text, &size);
        device_print(&facts, memory);
        fclose(memory);
        for (const char *line = text; *line != 0; lines++) {
            const char *end = strchr(line, '\n');
            assert_non_null(end);
            assert_in_range(end - line, 1, DEVICE_LINE_COLUMNS);
            for (; line < end; line++)
                assert_true(*line >= ' ' && *line < 0x7f);
            line = end + 1;
        }
        assert_in_range(lines, 4, 5);
        free(text);
        facts = hostile_facts(bytes[i]);
    }
}

static void test_lines_of_a_known_machine(void **state)
{
    (void)state;
    put_machine();
    put_nvme();
    put_mounts("20 1 259:2 / / rw,relatime - ext4 /dev/nvme0n1p2 rw\n");
    struct device_facts facts = look_at("/", makedev(259, 2));
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    device_print(&facts, memory);
    fclose(memory);
    assert_string_equal(text, "machine      Linux 6.1.0-18-amd64, 2 x AMD EPYC 9354, 15.6 GiB\n"
                              "             no virtual machine, no container, io_uring not tried\n"
                              "file system  ext4 at /, O_DIRECT not known, rw,relatime\n"
                              "device       nvme0n1p2 (partition on nvme0n1), nvme, \"Samsung SSD 990 PRO 2TB\"\n"
                              "             cache: write back, FUA, sectors 512/4096, not rotational, no scheduler, "
                              "1023 deep\n");
    free(text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, machine_setup, machine_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_all_keys_are_always_there),
        TEST(test_lines_for_people),
        TEST(test_lines_of_a_known_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
