/* machine_fixture.c - a machine made up of files.
 *
 * The happy path: a test gets an empty directory, puts into it what /proc and /sys of some machine say, and asks what
 * is known about a place there; the directory goes away with the test.
 *
 * What can fail: whatever cannot be made ends the test at its line here.
 *
 * Invariants: links of the machine stay within its root.
 *
 * May include: machine_fixture.h. */

#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/machine_fixture.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char machine_root[SCRATCH_PATH_BYTES];

int machine_setup(void **state)
{
    (void)state;
    scratch_make(machine_root);
    return 0;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

int machine_teardown(void **state)
{
    (void)state;
    return nftw(machine_root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* root/name, with all directories above it. */
static void make_way(char path[SCRATCH_PATH_BYTES], const char *name)
{
    scratch_join(path, machine_root, name);
    for (char *slash = path + strlen(machine_root) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = 0;
        assert_true(mkdir(path, 0777) == 0 || errno == EEXIST);
        *slash = '/';
    }
}

void put(const char *name, const char *content)
{
    char path[SCRATCH_PATH_BYTES];
    make_way(path, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(content, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void put_in(const char *directory, const char *name, const char *content)
{
    char path[SCRATCH_PATH_BYTES];
    scratch_join(path, directory, name);
    put(path, content);
}

void put_link(const char *name, const char *to)
{
    char path[SCRATCH_PATH_BYTES], target[SCRATCH_PATH_BYTES];
    make_way(path, name);
    /* Through the root: as many steps up as there are. */
    target[0] = 0;
    for (const char *at = strchr(name, '/'); at != NULL; at = strchr(at + 1, '/'))
        strcat(target, "../");
    assert_true(strlen(target) + strlen(to) < sizeof(target));
    strcat(target, to);
    assert_int_equal(symlink(target, path), 0);
}

void put_device(const char *directory, const char *number)
{
    char path[SCRATCH_PATH_BYTES], line[32];
    snprintf(line, sizeof(line), "%s\n", number);
    put_in(directory, "dev", line);
    scratch_join(path, "sys/dev/block", number);
    put_link(path, directory);
    scratch_join(path, "sys/class/block", strrchr(directory, '/') + 1);
    put_link(path, directory);
}

void put_queue(const char *directory, const char *cache, const char *fua, const char *rotational, const char *scheduler)
{
    put_in(directory, "queue/write_cache", cache);
    put_in(directory, "queue/fua", fua);
    put_in(directory, "queue/rotational", rotational);
    put_in(directory, "queue/scheduler", scheduler);
    put_in(directory, "queue/discard_max_bytes", "0\n");
    put_in(directory, "queue/logical_block_size", "512\n");
    put_in(directory, "queue/physical_block_size", "4096\n");
    put_in(directory, "queue/max_sectors_kb", "128\n");
    put_in(directory, "queue/nr_requests", "1023\n");
}

void put_nvme(void)
{
    put_queue(NVME, "write back\n", "1\n", "0\n", "[none] mq-deadline\n");
    put(NVME "/device/model", "Samsung SSD 990 PRO 2TB                 \n");
    put(NVME "/device/transport", "pcie\n");
    put_device(NVME, "259:0");
    put(NVME "/nvme0n1p2/partition", "2\n");
    put_device(NVME "/nvme0n1p2", "259:2");
}

void put_sata(void)
{
    put_queue(SATA, "write through\n", "0\n", "1\n", "none [mq-deadline] bfq\n");
    put(SATA "/device/model", "WDC WD40EFRX-68N\n");
    put(SATA "/device/vendor", "ATA     \n");
    put_device(SATA, "8:0");
}

void put_machine(void)
{
    put("proc/cpuinfo", "processor\t: 0\nmodel name\t: AMD EPYC 9354\nflags\t\t: fpu vme sse2\n\n"
                        "processor\t: 1\nmodel name\t: AMD EPYC 9354\nflags\t\t: fpu vme sse2\n\n");
    put("proc/meminfo", "MemTotal:       16384000 kB\nMemFree: 1 kB\n");
    put("proc/sys/kernel/osrelease", "6.1.0-18-amd64\n");
    put("proc/sys/kernel/io_uring_disabled", "0\n");
    put("proc/self/cgroup", "0::/user.slice/session-1.scope\n");
}

void put_mounts(const char *lines)
{
    put("proc/self/mountinfo", lines);
}

struct device_facts look_at(const char *path, dev_t number)
{
    struct device_facts facts;
    assert_int_equal(device_look_under(machine_root, path, number, &facts), 0);
    return facts;
}

bool warned(const struct device_facts *facts, const char *words)
{
    char text[DEVICE_WARNINGS_MAX][DEVICE_WARNING_BYTES];
    unsigned count = device_warnings(facts, text, DEVICE_WARNINGS_MAX), found = 0;
    for (unsigned i = 0; i < count; i++) {
        found += strstr(text[i], words) != NULL;
        assert_int_equal(text[i][strlen(text[i]) - 1], '.'); /* None is cut. */
    }
    assert_in_range(found, 0, 1);
    return found == 1;
}

unsigned warning_count(const struct device_facts *facts)
{
    char text[DEVICE_WARNINGS_MAX][DEVICE_WARNING_BYTES];
    return device_warnings(facts, text, DEVICE_WARNINGS_MAX);
}

struct json_value *json_of_facts(const struct device_facts *facts)
{
    char *text = NULL, error[JSON_ERROR_BYTES];
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    assert_non_null(memory);
    struct json_writer writer;
    json_write_begin(&writer, memory);
    device_write_json(facts, &writer);
    assert_int_equal(json_write_end(&writer), 0);
    fclose(memory);
    struct json_value *parsed = json_parse(text, size, error);
    assert_non_null(parsed);
    free(text);
    return parsed;
}
