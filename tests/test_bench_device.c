/* test_bench_device.c - what is known about a place: its file system and its machine, made up of files, and this one.
 *
 * The happy path of a test: what some machine tells is put into files, and the facts and warnings are those that it
 * must come to. Its disks are in test_bench_device_disk.c, the facts in words in test_bench_device_text.c.
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

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sysmacros.h>

/* --- file systems -------------------------------------------------------------------------------- */

static void test_the_mount_of_a_path(void **state)
{
    (void)state;
    put_machine();
    put_mounts("20 1 8:1 / / rw - ext4 /dev/a rw\n"
               "this is no mount\n"
               "21 20 8:2 / /data rw - xfs /dev/b rw\n"
               "22 20 8:3 / /data2 rw - ext2 /dev/c rw\n"
               "23 20 0:9 / /auto rw - autofs systemd-1 rw\n"
               "24 20 0:10 / /auto rw - ext3 /dev/d rw\n"
               "25 20 8:4 / /data/inner rw - ext4 /dev/e rw\n");
    assert_string_equal(look_at("/", makedev(8, 1)).mount_source, "/dev/a");
    assert_string_equal(look_at("/data", makedev(8, 2)).mount_source, "/dev/b");
    assert_string_equal(look_at("/data2/x", makedev(8, 3)).mount_source, "/dev/c");
    assert_string_equal(look_at("/data3", makedev(8, 1)).mount_source, "/dev/a");
    assert_string_equal(look_at("/auto/x", 0).mount_source, "/dev/d"); /* The later one lies above. */
    assert_string_equal(look_at("/data/inner/x", makedev(8, 4)).mount_source, "/dev/e");
    /* The number tells that the longer one is covered by a mount above it. */
    assert_string_equal(look_at("/data/inner/x", makedev(8, 2)).mount_source, "/dev/b");
    /* A number that no line has: by the path alone. */
    assert_string_equal(look_at("/data/x", makedev(0, 77)).mount_source, "/dev/b");
    struct device_facts facts;
    put_mounts("20 1 8:1 / /other rw - ext4 /dev/a rw\n");
    assert_int_equal(device_look_under(machine_root, "/data", 0, &facts), -ENOENT);
    assert_string_equal(facts.cpu, "AMD EPYC 9354");
    assert_true(warned(&facts, "not told"));
}

static void test_btrfs_is_found_by_its_source(void **state)
{
    (void)state;
    put_machine();
    put_nvme();
    put_mounts("20 1 0:25 /root / rw - btrfs /dev/nvme0n1p2 rw,subvol=/root\n");
    struct device_facts facts = look_at("/home", makedev(0, 31));
    assert_string_equal(facts.fs_type, "btrfs");
    assert_string_equal(facts.disk, "nvme0n1");
    assert_int_equal(facts.copy_on_write, DEVICE_YES);
    assert_true(warned(&facts, "Copy on write (btrfs)"));
    /* By a name that is a link. */
    put("dev/nvme0n1p2", "");
    put_link("dev/mapper/home", "dev/nvme0n1p2");
    put_mounts("20 1 0:25 /root / rw - btrfs /dev/mapper/home rw\n");
    assert_string_equal(look_at("/home", makedev(0, 31)).disk, "nvme0n1");
}

static void test_in_memory(void **state)
{
    (void)state;
    put_machine();
    put_mounts("20 1 8:1 / / rw - ext4 /dev/a rw\n21 20 0:30 / /tmp rw,nosuid - tmpfs tmpfs rw,size=8k\n");
    struct device_facts facts = look_at("/tmp/x", makedev(0, 30));
    assert_int_equal(facts.in_memory, DEVICE_YES);
    assert_string_equal(facts.mount_options, "rw,nosuid,size=8k");
    assert_string_equal(facts.device, "");
    assert_true(warned(&facts, "In memory (tmpfs)"));
    assert_int_equal(warning_count(&facts), 1);
}

static void test_over_a_network(void **state)
{
    (void)state;
    static const char *const types[] = {"nfs4", "cifs", "9p", "virtiofs", "fuse.sshfs"};
    put_machine();
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        char line[128];
        snprintf(line, sizeof(line), "20 1 0:40 / / rw - %s host:/export rw,vers=4.2\n", types[i]);
        put_mounts(line);
        struct device_facts facts = look_at("/", makedev(0, 40));
        assert_int_equal(facts.network, DEVICE_YES);
        assert_true(warned(&facts, types[i]));
        assert_int_equal(warning_count(&facts), 1);
    }
    put_mounts("20 1 8:1 / / rw - fuseblk /dev/a rw\n");
    assert_int_equal(look_at("/", makedev(8, 1)).network, DEVICE_NO);
}

static void test_overlays(void **state)
{
    (void)state;
    put_machine();
    put_nvme();
    put("upper/in_memory/x", "");
    put("upper/on_disk/x", "");
    static const char lines[] = "19 1 259:2 / /upper rw - ext4 /dev/nvme0n1p2 rw\n"
                                "20 1 0:50 / / rw - overlay overlay rw,lowerdir=/a:/b,upperdir=/upper/%s/x,workdir=/w\n"
                                "21 20 0:51 / /upper/in_memory rw - tmpfs tmpfs rw\n";
    char text[512];
    snprintf(text, sizeof(text), lines, "in_memory");
    put_mounts(text);
    struct device_facts facts = look_at("/home", makedev(0, 50));
    assert_string_equal(facts.fs_type, "overlay");
    assert_string_equal(facts.fs_upper_type, "tmpfs");
    assert_string_equal(facts.mount_options, "rw,upperdir=/upper/in_memory/x,workdir=/w");
    assert_int_equal(facts.in_memory, DEVICE_YES);
    assert_true(warned(&facts, "In memory (tmpfs)"));
    snprintf(text, sizeof(text), lines, "on_disk");
    put_mounts(text);
    facts = look_at("/home", makedev(0, 50));
    assert_string_equal(facts.fs_upper_type, "ext4");
    assert_int_equal(facts.in_memory, DEVICE_NO);
    assert_string_equal(facts.disk, "nvme0n1");
    assert_int_equal(warning_count(&facts), 0);
    /* Its upper directory belongs to the system around this one. */
    snprintf(text, sizeof(text), lines, "hidden");
    put_mounts(text);
    facts = look_at("/home", makedev(0, 50));
    assert_string_equal(facts.fs_upper_type, "");
    assert_int_equal(facts.in_memory, DEVICE_UNKNOWN);
    assert_true(warned(&facts, "overlay whose upper directory is not visible"));
    put_mounts("20 1 0:50 / / ro - overlay overlay ro,lowerdir=/a:/b\n");
    assert_int_equal(look_at("/home", makedev(0, 50)).in_memory, DEVICE_UNKNOWN);
}

/* --- machines ------------------------------------------------------------------------------------ */

static void test_virtual_machines(void **state)
{
    (void)state;
    put_mounts("20 1 0:30 / / rw - tmpfs tmpfs rw\n");
    put("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu hypervisor sse2\n");
    struct device_facts facts = look_at("/", 0);
    assert_int_equal(facts.virtual_machine, DEVICE_YES);
    assert_string_equal(facts.hypervisor, "flag in /proc/cpuinfo");
    put("sys/hypervisor/type", "xen\n");
    assert_string_equal(look_at("/", 0).hypervisor, "xen");
    put("sys/class/dmi/id/sys_vendor", "Amazon EC2\n");
    put("sys/class/dmi/id/product_name", "m5.large\n");
    assert_string_equal(look_at("/", 0).hypervisor, "Amazon EC2 m5.large");
}

static void test_virtual_machines_without_flags(void **state)
{
    (void)state;
    put_mounts("20 1 0:30 / / rw - tmpfs tmpfs rw\n");
    put("proc/cpuinfo", "processor\t: 0\nBogoMIPS\t: 243.75\nFeatures\t: fp asimd\n");
    assert_int_equal(look_at("/", 0).virtual_machine, DEVICE_UNKNOWN);
    put("sys/class/dmi/id/sys_vendor", "QEMU\n");
    assert_int_equal(look_at("/", 0).virtual_machine, DEVICE_YES);
    put("sys/class/dmi/id/sys_vendor", "Amazon EC2\n");
    put("sys/class/dmi/id/product_name", "c6g.metal\n");
    assert_int_equal(look_at("/", 0).virtual_machine, DEVICE_UNKNOWN);
}

static void test_containers(void **state)
{
    (void)state;
    put_mounts("20 1 0:30 / / rw - tmpfs tmpfs rw\n");
    assert_int_equal(look_at("/", 0).container, DEVICE_UNKNOWN);
    put("proc/self/cgroup", "0::/system.slice/docker.service\n");
    assert_int_equal(look_at("/", 0).container, DEVICE_NO);
    put("proc/1/cgroup", "0::/kubepods.slice/kubepods-pod1.slice\n");
    struct device_facts facts = look_at("/", 0);
    assert_int_equal(facts.container, DEVICE_YES);
    assert_string_equal(facts.container_told, "kubepods in /proc/1/cgroup");
    assert_true(warned(&facts, "In a container"));
    put("run/systemd/container", "systemd-nspawn\n");
    assert_string_equal(look_at("/", 0).container_told, "/run/systemd/container: systemd-nspawn");
    put(".dockerenv", "");
    assert_string_equal(look_at("/", 0).container_told, "/.dockerenv");
}

static void test_io_uring_switched_off(void **state)
{
    (void)state;
    put_mounts("20 1 0:30 / / rw - tmpfs tmpfs rw\n");
    put("proc/sys/kernel/io_uring_disabled", "2\n");
    struct device_facts facts = look_at("/", 0);
    assert_int_equal(facts.io_uring, DEVICE_NO);
    assert_string_equal(facts.io_uring_reason, "kernel.io_uring_disabled is 2");
}

/* --- this machine -------------------------------------------------------------------------------- */

static void test_this_machine(void **state)
{
    (void)state;
    struct device_facts facts, of_file;
    assert_int_equal(device_look(machine_root, &facts), 0);
    assert_true(facts.kernel[0] != 0 && facts.machine[0] != 0 && facts.fs_type[0] != 0 && facts.mount_point[0] == '/');
    assert_true(facts.cpus > 0 && facts.memory_bytes > 0);
    assert_true(facts.fs_block_bytes > 0 && facts.fs_total_bytes >= facts.fs_free_bytes);
    assert_true(facts.io_uring == DEVICE_YES || facts.io_uring_reason[0] != 0);
    assert_true(facts.direct_io == DEVICE_YES || facts.direct_io_reason[0] != 0);
    /* Nothing is left in the directory. */
    struct dirent **names = NULL;
    int count = scandir(machine_root, &names, NULL, NULL);
    assert_int_equal(count, 2);
    free(names[0]);
    free(names[1]);
    free(names);
    put("file", "");
    char path[SCRATCH_PATH_BYTES];
    scratch_join(path, machine_root, "file");
    assert_int_equal(device_look(path, &of_file), 0);
    assert_string_equal(of_file.mount_point, facts.mount_point);
    assert_int_equal(of_file.direct_io, facts.direct_io);
    scratch_join(path, machine_root, "none");
    assert_int_equal(device_look(path, &of_file), -ENOENT);
    assert_string_equal(of_file.kernel, facts.kernel);
    assert_string_equal(of_file.fs_type, "");
    json_free(json_of_facts(&facts));
}

static void test_a_place_that_takes_no_files(void **state)
{
    (void)state;
    struct device_facts facts;
    assert_int_equal(device_look("/proc", &facts), 0);
    assert_string_equal(facts.fs_type, "proc");
    assert_int_not_equal(facts.direct_io, DEVICE_YES);
    assert_true(facts.direct_io_reason[0] != 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, machine_setup, machine_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_mount_of_a_path),
        TEST(test_btrfs_is_found_by_its_source),
        TEST(test_in_memory),
        TEST(test_over_a_network),
        TEST(test_overlays),
        TEST(test_virtual_machines),
        TEST(test_virtual_machines_without_flags),
        TEST(test_containers),
        TEST(test_io_uring_switched_off),
        TEST(test_this_machine),
        TEST(test_a_place_that_takes_no_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
