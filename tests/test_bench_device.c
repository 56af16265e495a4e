/* test_bench_device.c - what is known about a place: machines and disks made up of files, and this one. */

#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "bench/device.h"
#include "tests/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* --- a made-up machine --------------------------------------------------------------------------- */

static char root[SCRATCH_PATH_BYTES];

static int make_root(void **state)
{
    (void)state;
    scratch_make(root);
    return 0;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

static int remove_root(void **state)
{
    (void)state;
    return nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* root/name, with all directories above it. */
static void make_way(char path[SCRATCH_PATH_BYTES], const char *name)
{
    scratch_join(path, root, name);
    for (char *slash = path + strlen(root) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = 0;
        assert_true(mkdir(path, 0777) == 0 || errno == EEXIST);
        *slash = '/';
    }
}

static void put(const char *name, const char *content)
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

/* A link to another place of the machine. */
static void put_link(const char *name, const char *to)
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

/* A block device at sys/devices/..., reached by its number and its name. */
static void put_device(const char *directory, const char *number)
{
    char path[SCRATCH_PATH_BYTES], line[32];
    snprintf(line, sizeof(line), "%s\n", number);
    put_in(directory, "dev", line);
    scratch_join(path, "sys/dev/block", number);
    put_link(path, directory);
    scratch_join(path, "sys/class/block", strrchr(directory, '/') + 1);
    put_link(path, directory);
}

static void put_queue(const char *directory, const char *cache, const char *fua, const char *rotational,
                      const char *scheduler)
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

#define NVME "sys/devices/pci0000:00/0000:00:04.0/nvme/nvme0/nvme0n1"
#define SATA "sys/devices/pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0/block/sda"

static void put_nvme(void)
{
    put_queue(NVME, "write back\n", "1\n", "0\n", "[none] mq-deadline\n");
    put(NVME "/device/model", "Samsung SSD 990 PRO 2TB                 \n");
    put(NVME "/device/transport", "pcie\n");
    put_device(NVME, "259:0");
    put(NVME "/nvme0n1p2/partition", "2\n");
    put_device(NVME "/nvme0n1p2", "259:2");
}

static void put_sata(void)
{
    put_queue(SATA, "write through\n", "0\n", "1\n", "none [mq-deadline] bfq\n");
    put(SATA "/device/model", "WDC WD40EFRX-68N\n");
    put(SATA "/device/vendor", "ATA     \n");
    put_device(SATA, "8:0");
}

static void put_machine(void)
{
    put("proc/cpuinfo", "processor\t: 0\nmodel name\t: AMD EPYC 9354\nflags\t\t: fpu vme sse2\n\n"
                        "processor\t: 1\nmodel name\t: AMD EPYC 9354\nflags\t\t: fpu vme sse2\n\n");
    put("proc/meminfo", "MemTotal:       16384000 kB\nMemFree: 1 kB\n");
    put("proc/sys/kernel/osrelease", "6.1.0-18-amd64\n");
    put("proc/sys/kernel/io_uring_disabled", "0\n");
    put("proc/self/cgroup", "0::/user.slice/session-1.scope\n");
}

static void put_mounts(const char *lines)
{
    put("proc/self/mountinfo", lines);
}

static struct device_facts look_at(const char *path, dev_t number)
{
    struct device_facts facts;
    assert_int_equal(device_look_under(root, path, number, &facts), 0);
    return facts;
}

static bool warned(const struct device_facts *facts, const char *words)
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

static unsigned warning_count(const struct device_facts *facts)
{
    char text[DEVICE_WARNINGS_MAX][DEVICE_WARNING_BYTES];
    return device_warnings(facts, text, DEVICE_WARNINGS_MAX);
}

/* --- disks --------------------------------------------------------------------------------------- */

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
    assert_int_equal(device_look_under(root, "/data", 0, &facts), -ENOENT);
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

/* --- in words ------------------------------------------------------------------------------------ */

static struct json_value *json_of(const struct device_facts *facts)
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
    struct json_value *empty = json_of(&nothing), *full = json_of(&everything);
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

/* --- this machine -------------------------------------------------------------------------------- */

static void test_this_machine(void **state)
{
    (void)state;
    struct device_facts facts, of_file;
    assert_int_equal(device_look(root, &facts), 0);
    assert_true(facts.kernel[0] != 0 && facts.machine[0] != 0 && facts.fs_type[0] != 0 && facts.mount_point[0] == '/');
    assert_true(facts.cpus > 0 && facts.memory_bytes > 0);
    assert_true(facts.fs_block_bytes > 0 && facts.fs_total_bytes >= facts.fs_free_bytes);
    assert_true(facts.io_uring == DEVICE_YES || facts.io_uring_reason[0] != 0);
    assert_true(facts.direct_io == DEVICE_YES || facts.direct_io_reason[0] != 0);
    /* Nothing is left in the directory. */
    struct dirent **names = NULL;
    int count = scandir(root, &names, NULL, NULL);
    assert_int_equal(count, 2);
    free(names[0]);
    free(names[1]);
    free(names);
    put("file", "");
    char path[SCRATCH_PATH_BYTES];
    scratch_join(path, root, "file");
    assert_int_equal(device_look(path, &of_file), 0);
    assert_string_equal(of_file.mount_point, facts.mount_point);
    assert_int_equal(of_file.direct_io, facts.direct_io);
    scratch_join(path, root, "none");
    assert_int_equal(device_look(path, &of_file), -ENOENT);
    assert_string_equal(of_file.kernel, facts.kernel);
    assert_string_equal(of_file.fs_type, "");
    json_free(json_of(&facts));
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_root, remove_root)

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
        TEST(test_the_mount_of_a_path),
        TEST(test_btrfs_is_found_by_its_source),
        TEST(test_in_memory),
        TEST(test_over_a_network),
        TEST(test_overlays),
        TEST(test_virtual_machines),
        TEST(test_virtual_machines_without_flags),
        TEST(test_containers),
        TEST(test_io_uring_switched_off),
        TEST(test_all_keys_are_always_there),
        TEST(test_lines_for_people),
        TEST(test_lines_of_a_known_machine),
        TEST(test_this_machine),
        TEST(test_a_place_that_takes_no_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
