/* device.c - what is known about the place a path stands on: the machine, and the file system.
 *
 * The happy path: /proc and /sys tell the machine and the mounts; the mount whose point is the longest beginning of the
 * path is the one, and when the numbers tell which (they do not on btrfs and some overlays), the one with the number of
 * the path. An overlay is asked where its upper directory is. Then the block device (device_disk.c), and at last what
 * only trying tells: io_uring, O_DIRECT.
 *
 * What can fail: the path is not there, or no mount is found: told, with the facts there are. A file cannot be read:
 * those facts stay unknown.
 *
 * Invariants: every fact is told by the kernel, none is made up; nothing stays behind in the directory.
 *
 * May include: device_parts.h. */

#define _GNU_SOURCE
#include "bench/device_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { WHOLE_FILE_BYTES_MAX = 16 << 20 };

/* One line of mountinfo, cut into its fields. */
struct mount {
    dev_t number;
    const char *point, *options, *type, *source, *super_options;
};

struct mounts {
    char *text;
    struct mount *list;
    size_t count;
};

/* With a NUL behind it, for the caller to free; NULL: it cannot be read. */
static char *read_whole(const char *root, const char *name)
{
    char path[DEVICE_PATH_BYTES];
    if (snprintf(path, sizeof(path), "%s/%s", root, name) >= (int)sizeof(path))
        return NULL;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return NULL;
    char *text = NULL;
    size_t used = 0, size = 0;
    for (size_t got = 1; got > 0 && used < WHOLE_FILE_BYTES_MAX; used += got) {
        if (used + 1 >= size) {
            size = size == 0 ? 16384 : size * 2;
            char *grown = realloc(text, size);
            if (grown == NULL)
                break;
            text = grown;
        }
        got = fread(text + used, 1, size - used - 1, file);
    }
    fclose(file);
    if (text != NULL)
        text[used] = 0;
    return text;
}

/* --- the machine --------------------------------------------------------------------------------- */

/* The value behind "key : " when the line is one of that key. */
static const char *value_of(const char *line, const char *key)
{
    size_t length = strlen(key);
    if (strncmp(line, key, length) != 0)
        return NULL;
    const char *colon = line + length + strspn(line + length, " \t");
    return *colon == ':' ? colon + 1 + strspn(colon + 1, " \t") : NULL;
}

static void read_cpus(const char *root, struct device_facts *facts)
{
    static const char *const model_keys[] = {"model name", "cpu model", "cpu", "Model"};
    char *text = read_whole(root, "proc/cpuinfo"), *rest = text;
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
        facts->cpus += value_of(line, "processor") != NULL;
        for (size_t i = 0; i < sizeof(model_keys) / sizeof(model_keys[0]) && facts->cpu[0] == 0; i++) {
            const char *model = value_of(line, model_keys[i]);
            if (model != NULL)
                device_copy(facts->cpu, sizeof(facts->cpu), model);
        }
        const char *flags = value_of(line, "flags");
        if (flags != NULL)
            facts->virtual_machine = strstr(flags, "hypervisor") != NULL ? DEVICE_YES : DEVICE_NO;
    }
    free(text);
}

/* Behind read_cpus, which has seen the flags; other machines than PCs have none. */
static void read_hypervisor(const char *root, struct device_facts *facts)
{
    static const char *const virtual_names[] = {
        "QEMU", "KVM",       "VMware", "VirtualBox", "Virtual Machine",      "Amazon EC2",
        "Xen",  "Parallels", "Bochs",  "OpenStack",  "Google Compute Engine"};
    char vendor[64], product[64], type[32], name[sizeof(vendor) + sizeof(product)];
    bool vendor_told = device_read(vendor, sizeof(vendor), "%s/sys/class/dmi/id/sys_vendor", root);
    device_read(product, sizeof(product), "%s/sys/class/dmi/id/product_name", root);
    snprintf(name, sizeof(name), "%s%s%s", vendor, vendor_told ? " " : "", product);
    bool flag = facts->virtual_machine == DEVICE_YES;
    for (size_t i = 0; i < sizeof(virtual_names) / sizeof(virtual_names[0]); i++) {
        if (facts->virtual_machine == DEVICE_UNKNOWN && strstr(name, virtual_names[i]) != NULL &&
            strstr(product, "metal") == NULL)
            facts->virtual_machine = DEVICE_YES;
    }
    if (device_read(type, sizeof(type), "%s/sys/hypervisor/type", root))
        facts->virtual_machine = DEVICE_YES;
    if (facts->virtual_machine == DEVICE_YES)
        device_copy(facts->hypervisor, sizeof(facts->hypervisor),
                    name[0] != 0   ? name
                    : type[0] != 0 ? type
                    : flag         ? "flag in /proc/cpuinfo"
                                   : "");
}

static void read_container(const char *root, struct device_facts *facts)
{
    static const char *const marks[] = {"/.dockerenv", "/run/.containerenv"};
    static const char *const groups[] = {"proc/self/cgroup", "proc/1/cgroup"};
    static const char *const words[] = {"/docker/", "docker-", "kubepods", "libpod", "/lxc", "cri-containerd-"};
    char told[sizeof(facts->container_told)] = "", text[64];
    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]) && told[0] == 0; i++) {
        if (device_exists("%s%s", root, marks[i]))
            device_copy(told, sizeof(told), marks[i]);
    }
    if (told[0] == 0 && device_read(text, sizeof(text), "%s/run/systemd/container", root))
        snprintf(told, sizeof(told), "/run/systemd/container: %s", text);
    bool known = told[0] != 0;
    for (size_t i = 0; i < 2; i++) {
        char *group = read_whole(root, groups[i]);
        known = known || group != NULL;
        for (size_t j = 0; j < sizeof(words) / sizeof(words[0]); j++) {
            if (told[0] == 0 && group != NULL && strstr(group, words[j]) != NULL)
                snprintf(told, sizeof(told), "%s in /%s", words[j], groups[i]);
        }
        free(group);
    }
    device_copy(facts->container_told, sizeof(facts->container_told), told);
    facts->container = told[0] != 0 ? DEVICE_YES : known ? DEVICE_NO : DEVICE_UNKNOWN;
}

static void read_machine(const char *root, struct device_facts *facts)
{
    char text[128];
    device_read(facts->kernel, sizeof(facts->kernel), "%s/proc/sys/kernel/osrelease", root);
    device_read(facts->machine, sizeof(facts->machine), "%s/proc/sys/kernel/arch", root);
    read_cpus(root, facts);
    read_hypervisor(root, facts);
    read_container(root, facts);
    if (device_read(text, sizeof(text), "%s/proc/meminfo", root) && value_of(text, "MemTotal") != NULL)
        facts->memory_bytes = strtoull(value_of(text, "MemTotal"), NULL, 10) * 1024;
    if (device_read_number("%s/proc/sys/kernel/io_uring_disabled", root) == 2) {
        facts->io_uring = DEVICE_NO;
        device_copy(facts->io_uring_reason, sizeof(facts->io_uring_reason), "kernel.io_uring_disabled is 2");
    }
}

/* --- the file system ----------------------------------------------------------------------------- */

/* A blank is \040 in mountinfo, and so on. */
static char *without_escapes(char *text)
{
    char *to = text;
    for (const char *at = text; *at != 0; to++) {
        bool escaped = at[0] == '\\' && strspn(at + 1, "01234567") >= 3;
        *to = at[0];
        if (escaped)
            *to = (char)((at[1] - '0') << 6 | (at[2] - '0') << 3 | (at[3] - '0'));
        at += escaped ? 4 : 1;
    }
    *to = 0;
    return text;
}

static bool cut_line(char *line, struct mount *mount)
{
    char *fields[6] = {NULL};
    for (size_t i = 0; i < 6 && line != NULL; i++)
        fields[i] = strsep(&line, " ");
    unsigned major_number, minor_number;
    if (line == NULL || sscanf(fields[2], "%u:%u", &major_number, &minor_number) != 2)
        return false;
    const char *optional = strsep(&line, " ");
    while (optional != NULL && strcmp(optional, "-") != 0)
        optional = strsep(&line, " ");
    char *type = strsep(&line, " "), *source = strsep(&line, " ");
    if (source == NULL)
        return false;
    *mount = (struct mount){.number = makedev(major_number, minor_number),
                            .point = without_escapes(fields[4]),
                            .options = fields[5],
                            .type = type,
                            .source = without_escapes(source),
                            .super_options = line == NULL ? "" : without_escapes(line)};
    return true;
}

static struct mounts read_mounts(const char *root)
{
    struct mounts mounts = {.text = read_whole(root, "proc/self/mountinfo")};
    size_t lines = 1;
    for (const char *at = mounts.text; at != NULL && *at != 0; at++)
        lines += *at == '\n';
    mounts.list = calloc(lines, sizeof(mounts.list[0]));
    char *rest = mounts.list == NULL ? NULL : mounts.text;
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n"))
        mounts.count += cut_line(line, &mounts.list[mounts.count]);
    return mounts;
}

/* number 0: by the path alone. Of equals the last: it lies over the others. */
static const struct mount *find_mount(const struct mounts *mounts, const char *path, dev_t number)
{
    const struct mount *found = NULL;
    size_t best = 0;
    for (size_t i = 0; i < mounts->count; i++) {
        const struct mount *mount = &mounts->list[i];
        size_t length = strlen(mount->point);
        bool above = length > 0 && strncmp(mount->point, path, length) == 0 &&
                     (path[length] == '/' || path[length] == 0 || mount->point[length - 1] == '/');
        bool same = number != 0 && mount->number == number;
        /* The number outdoes any length; outside of all points it is all there is. */
        size_t worth = (above ? length + 1 : 0) + (same ? DEVICE_PATH_BYTES : 0);
        if (worth > 0 && worth >= best) {
            found = mount;
            best = worth;
        }
    }
    return found;
}

/* Appends what is not yet there, as long as whole options fit. */
static void add_options(char *to, size_t size, const char *options)
{
    while (*options != 0) {
        size_t length = strcspn(options, ","), used = strlen(to);
        bool known = strncmp(options, "lowerdir", 8) == 0; /* Of an overlay: without end, and of no interest. */
        for (const char *at = to; *at != 0 && !known; at += strcspn(at, ","), at += *at == ',')
            known = strcspn(at, ",") == length && strncmp(at, options, length) == 0;
        if (!known && used + length + 2 <= size)
            snprintf(to + used, size - used, "%s%.*s", used > 0 ? "," : "", (int)length, options);
        options += length;
        options += *options == ',';
    }
}

/* Where an overlay keeps what is written; NULL: it is not told, or hidden from here. */
static const struct mount *find_upper(const char *root, const struct mounts *mounts, const struct mount *overlay)
{
    static const char key[] = "upperdir=";
    const char *option = overlay->super_options;
    while (*option != 0 && !device_starts(option, key)) {
        option += strcspn(option, ",");
        option += *option == ',';
    }
    char path[DEVICE_PATH_BYTES];
    if (*option == 0)
        return NULL;
    option += sizeof(key) - 1;
    int length = snprintf(path, sizeof(path), "%.*s", (int)strcspn(option, ","), option);
    if (length >= (int)sizeof(path) || !device_exists("%s%s", root, path))
        return NULL;
    const struct mount *upper = find_mount(mounts, path, 0);
    return upper == NULL || strcmp(upper->type, "overlay") == 0 ? NULL : upper;
}

static enum device_answer is_one_of(const char *type, const char *const *types)
{
    while (*types != NULL && strcmp(type, *types) != 0)
        types++;
    return *types != NULL ? DEVICE_YES : DEVICE_NO;
}

static void classify(const char *type, struct device_facts *facts)
{
    static const char *const memory[] = {"tmpfs", "ramfs", "rootfs", "devtmpfs", "hugetlbfs", NULL};
    static const char *const remote[] = {"nfs",  "nfs4",   "cifs",   "smb3", "smbfs",     "9p",  "virtiofs", "fuse",
                                         "ceph", "lustre", "beegfs", "gpfs", "glusterfs", "afs", NULL};
    static const char *const copying[] = {"btrfs", "zfs", "bcachefs", NULL};
    facts->in_memory = is_one_of(type, memory);
    facts->network = device_starts(type, "fuse.") ? DEVICE_YES : is_one_of(type, remote);
    facts->copy_on_write = is_one_of(type, copying);
}

int device_look_under(const char *root, const char *path, dev_t device, struct device_facts *facts)
{
    *facts = (struct device_facts){.cpus = 0};
    read_machine(root, facts);
    struct mounts mounts = read_mounts(root);
    const struct mount *mount = find_mount(&mounts, path, device), *stands_on = mount;
    if (mount != NULL) {
        device_copy(facts->fs_type, sizeof(facts->fs_type), mount->type);
        device_copy(facts->mount_point, sizeof(facts->mount_point), mount->point);
        device_copy(facts->mount_source, sizeof(facts->mount_source), mount->source);
        add_options(facts->mount_options, sizeof(facts->mount_options), mount->options);
        add_options(facts->mount_options, sizeof(facts->mount_options), mount->super_options);
        if (strcmp(mount->type, "overlay") == 0)
            stands_on = find_upper(root, &mounts, mount);
    }
    if (stands_on != NULL) {
        if (stands_on != mount)
            device_copy(facts->fs_upper_type, sizeof(facts->fs_upper_type), stands_on->type);
        classify(stands_on->type, facts);
        device_look_at_disk(root, stands_on->number, stands_on->source, facts);
    }
    free(mounts.list);
    free(mounts.text);
    return mount == NULL ? -ENOENT : 0;
}

/* --- trying -------------------------------------------------------------------------------------- */

static void try_io_uring(struct device_facts *facts)
{
    struct io_uring ring;
    int result = io_uring_queue_init(2, &ring, 0);
    facts->io_uring = result == 0 ? DEVICE_YES : DEVICE_NO;
    facts->io_uring_reason[0] = 0;
    if (result == 0) {
        io_uring_queue_exit(&ring);
        return;
    }
    uint64_t disabled = device_read_number("/proc/sys/kernel/io_uring_disabled");
    if (result == -EPERM && disabled != 0)
        snprintf(facts->io_uring_reason, sizeof(facts->io_uring_reason), "kernel.io_uring_disabled is %u",
                 (unsigned)disabled);
    else
        snprintf(facts->io_uring_reason, sizeof(facts->io_uring_reason), "%s%s", strerror(-result),
                 result == -ENOSYS || result == -EPERM ? " (by the kernel, or by a seccomp filter)" : "");
}

static void try_direct(const char *directory, struct device_facts *facts)
{
    int fd = open(directory, O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600), error = errno;
    char path[DEVICE_PATH_BYTES];
    if (fd < 0 && snprintf(path, sizeof(path), "%s/.direct-XXXXXX", directory) < (int)sizeof(path)) {
        /* Not every file system has nameless files. In two steps: an open that creates may be refused after it did. */
        int plain = mkostemp(path, O_CLOEXEC);
        if (plain >= 0)
            fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
        error = errno;
        if (plain >= 0) {
            unlink(path);
            close(plain);
        }
    }
    facts->direct_io = fd >= 0 ? DEVICE_YES : error == EINVAL ? DEVICE_NO : DEVICE_UNKNOWN;
    if (fd >= 0)
        close(fd);
    else
        snprintf(facts->direct_io_reason, sizeof(facts->direct_io_reason), "%s", strerror(error));
}

int device_look(const char *path, struct device_facts *facts)
{
    char *real = realpath(path, NULL);
    struct stat status = {.st_dev = 0};
    int result = real == NULL || stat(real, &status) != 0 ? -errno : 0;
    int found = device_look_under("", result == 0 ? real : "", status.st_dev, facts);
    struct utsname name;
    if (uname(&name) == 0) {
        device_copy(facts->kernel, sizeof(facts->kernel), name.release);
        device_copy(facts->machine, sizeof(facts->machine), name.machine);
    }
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    if (facts->cpus == 0 && cpus > 0)
        facts->cpus = (unsigned)cpus;
    try_io_uring(facts);
    struct statvfs space;
    if (result == 0 && statvfs(real, &space) == 0) {
        facts->fs_block_bytes = space.f_frsize;
        facts->fs_free_bytes = (uint64_t)space.f_bavail * space.f_frsize;
        facts->fs_total_bytes = (uint64_t)space.f_blocks * space.f_frsize;
    }
    if (result == 0) {
        char *slash = strrchr(real, '/');
        if (!S_ISDIR(status.st_mode) && slash != NULL)
            *(slash == real ? slash + 1 : slash) = 0;
        try_direct(real, facts);
    }
    free(real);
    return result != 0 ? result : found;
}
