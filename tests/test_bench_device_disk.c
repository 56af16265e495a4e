/* test_bench_device_disk.c - what is known about a place: the block device below it, made up of files.
 *
 * The happy path of a test: what sysfs tells of some disk is put into files, and the facts and warnings are those that
 * it must come to.
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

#include <sys/sysmacros.h>

static void test_a_partition_of_an_nvme_disk(void **state)
{
    (void)state;
    put_machine();
    put_nvme();
    put_mounts("20 1 8:9 / / rw - ext4 /dev/sdz9 rw\n"
               "21 20 259:2 / /srv/my\\040data rw,relatime shared:1 master:2 - ext4 /dev/nvme0n1p2 rw,data=ordered\n"
               "22 20 0:30 / /srv/my rw - tmpfs tmpfs rw\n");
    struct device_facts facts = look_at("/srv/my data/log", makedev(259, 2));
    assert_string_equal(facts.kernel, "6.1.0-18-amd64");
    assert_string_equal(facts.cpu, "AMD EPYC 9354");
    assert_int_equal(facts.cpus, 2);
    assert_int_equal(facts.memory_bytes, 16384000ull * 1024);
    assert_int_equal(facts.virtual_machine, DEVICE_NO);
    assert_int_equal(facts.container, DEVICE_NO);
    assert_int_equal(facts.io_uring, DEVICE_UNKNOWN);
    assert_string_equal(facts.fs_type, "ext4");
    assert_string_equal(facts.mount_point, "/srv/my data");
    assert_string_equal(facts.mount_source, "/dev/nvme0n1p2");
    assert_string_equal(facts.mount_options, "rw,relatime,data=ordered");
    assert_int_equal(facts.in_memory, DEVICE_NO);
    assert_int_equal(facts.network, DEVICE_NO);
    assert_int_equal(facts.copy_on_write, DEVICE_NO);
    assert_string_equal(facts.device, "nvme0n1p2");
    assert_string_equal(facts.device_kind, "partition");
    assert_string_equal(facts.devices_below, "nvme0n1");
    assert_string_equal(facts.disk, "nvme0n1");
    assert_string_equal(facts.model, "Samsung SSD 990 PRO 2TB");
    assert_string_equal(facts.vendor, "");
    assert_string_equal(facts.transport, "nvme");
    assert_string_equal(facts.write_cache, "write back");
    assert_int_equal(facts.fua, DEVICE_YES);
    assert_int_equal(facts.rotational, DEVICE_NO);
    assert_int_equal(facts.discard, DEVICE_NO);
    assert_int_equal(facts.logical_block_bytes, 512);
    assert_int_equal(facts.physical_block_bytes, 4096);
    assert_int_equal(facts.transfer_max_bytes, 128 * 1024);
    assert_string_equal(facts.scheduler, "none");
    assert_int_equal(facts.queue_depth, 1023);
    assert_int_equal(warning_count(&facts), 0);
    /* Over a fabric it is another thing. */
    put(NVME "/device/transport", "tcp\n");
    facts = look_at("/srv/my data", makedev(259, 2));
    assert_string_equal(facts.transport, "nvme tcp");
    assert_true(warned(&facts, "over a network"));
}

static void test_a_disk_behind_sata(void **state)
{
    (void)state;
    put_machine();
    put_sata();
    put_mounts("20 1 8:0 / / rw,noatime - xfs /dev/sda rw,nobarrier\n");
    struct device_facts facts = look_at("/var", makedev(8, 0));
    assert_string_equal(facts.device, "sda");
    assert_string_equal(facts.device_kind, "disk");
    assert_string_equal(facts.devices_below, "");
    assert_string_equal(facts.disk, "sda");
    assert_string_equal(facts.vendor, "ATA");
    assert_string_equal(facts.model, "WDC WD40EFRX-68N");
    assert_string_equal(facts.transport, "sata");
    assert_string_equal(facts.write_cache, "write through");
    assert_string_equal(facts.scheduler, "mq-deadline");
    assert_int_equal(facts.fua, DEVICE_NO);
    assert_int_equal(facts.rotational, DEVICE_YES);
    assert_true(warned(&facts, "without barriers"));
    assert_int_equal(warning_count(&facts), 1);
    put_mounts("20 1 8:0 / / rw,sync - ext4 /dev/sda rw,barrier=0,data=journal\n");
    facts = look_at("/var", makedev(8, 0));
    assert_true(warned(&facts, "without barriers"));
    assert_true(warned(&facts, "data=journal"));
    assert_true(warned(&facts, "Mounted sync"));
    assert_int_equal(warning_count(&facts), 3);
}

#define MAPPED "sys/devices/virtual/block/dm-0"

static void test_encryption_on_a_partition(void **state)
{
    (void)state;
    put_machine();
    put_nvme();
    put_queue(MAPPED, "write back\n", "0\n", "0\n", "none\n");
    put(MAPPED "/queue/nr_requests", "128\n");
    put(MAPPED "/dm/uuid", "CRYPT-LUKS2-0123456789abcdef-root\n");
    put_link(MAPPED "/slaves/nvme0n1p2", NVME "/nvme0n1p2");
    put_device(MAPPED, "253:0");
    put_mounts("20 1 253:0 / / rw - ext4 /dev/mapper/root rw\n");
    struct device_facts facts = look_at("/", makedev(253, 0));
    assert_string_equal(facts.device, "dm-0");
    assert_string_equal(facts.device_kind, "dm-crypt");
    assert_string_equal(facts.devices_below, "nvme0n1p2, nvme0n1");
    assert_string_equal(facts.disk, "nvme0n1");
    assert_string_equal(facts.model, "Samsung SSD 990 PRO 2TB");
    assert_string_equal(facts.transport, "nvme");
    /* What the file system sees is the mapped device; the queue is the disk's. */
    assert_int_equal(facts.fua, DEVICE_NO);
    assert_int_equal(facts.queue_depth, 1023);
}

#define RAID "sys/devices/virtual/block/md127"

static void test_two_disks_below(void **state)
{
    (void)state;
    put_machine();
    put_nvme();
    put_sata();
    put(RAID "/md/level", "raid1\n");
    put(RAID "/queue/write_cache", "write back\n");
    put_link(RAID "/slaves/sda", SATA);
    put_link(RAID "/slaves/nvme0n1p2", NVME "/nvme0n1p2");
    put_device(RAID, "9:127");
    put_mounts("20 1 9:127 / / rw - ext4 /dev/md127 rw\n");
    struct device_facts facts = look_at("/", makedev(9, 127));
    assert_string_equal(facts.device_kind, "md raid1");
    assert_string_equal(facts.devices_below, "nvme0n1p2, sda");
    assert_string_equal(facts.write_cache, "write back");
    assert_string_equal(facts.disk, "");
    assert_string_equal(facts.model, "");
    assert_int_equal(facts.fua, DEVICE_UNKNOWN);
}

#define LOOP "sys/devices/virtual/block/loop3"

static void test_a_loop_device(void **state)
{
    (void)state;
    put_machine();
    put_queue(LOOP, "write back\n", "0\n", "0\n", "[none]\n");
    put(LOOP "/loop/backing_file", "/var/lib/image with blanks.raw\n");
    put_device(LOOP, "7:3");
    put_mounts("20 1 7:3 / /mnt rw - ext4 /dev/loop3 rw\n");
    struct device_facts facts = look_at("/mnt", makedev(7, 3));
    assert_string_equal(facts.device_kind, "loop");
    assert_string_equal(facts.devices_below, "/var/lib/image with blanks.raw");
    assert_string_equal(facts.disk, "");
    assert_string_equal(facts.write_cache, "write back");
    assert_true(warned(&facts, "loop device"));
    assert_int_equal(warning_count(&facts), 1);
}

static void test_memory_that_looks_like_a_disk(void **state)
{
    (void)state;
    put_machine();
    put_queue("sys/devices/virtual/block/zram0", "write through\n", "0\n", "0\n", "none\n");
    put_device("sys/devices/virtual/block/zram0", "253:0");
    put_mounts("20 1 253:0 / / rw - ext4 /dev/zram0 rw\n");
    struct device_facts facts = look_at("/", makedev(253, 0));
    assert_string_equal(facts.device_kind, "zram");
    assert_int_equal(facts.in_memory, DEVICE_YES);
    assert_true(warned(&facts, "In memory (zram0)"));
}

static void test_a_disk_that_tells_nothing(void **state)
{
    (void)state;
    put_machine();
    put_device("sys/devices/virtual/block/odd0", "240:0");
    put_mounts("20 1 240:0 / / rw - ext4 /dev/odd0 rw\n");
    struct device_facts facts = look_at("/", makedev(240, 0));
    assert_string_equal(facts.device, "odd0");
    assert_int_equal(facts.fua, DEVICE_UNKNOWN);
    assert_int_equal(facts.rotational, DEVICE_UNKNOWN);
    assert_int_equal(facts.queue_depth, 0);
    assert_true(warned(&facts, "write cache is not told"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, machine_setup, machine_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_partition_of_an_nvme_disk),
        TEST(test_a_disk_behind_sata),
        TEST(test_encryption_on_a_partition),
        TEST(test_two_disks_below),
        TEST(test_a_loop_device),
        TEST(test_memory_that_looks_like_a_disk),
        TEST(test_a_disk_that_tells_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
