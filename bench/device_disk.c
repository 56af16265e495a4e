/* device_disk.c - the block device below a file system, as sysfs tells it.
 *
 * The happy path: the device's number leads to its directory in sysfs. What the file system sees of it (write cache,
 * FUA, block sizes) is read there, or from the whole disk of a partition. Then down, from a partition to its disk, from
 * a mapped device to what it is made of, as long as there is one way only; what the bottom is made of is read there.
 *
 * What can fail: a file is not there (an older kernel, a container that hides it): that fact stays unknown.
 *
 * Invariants: nothing is guessed from one layer for another; every step goes down, and there are at most
 * LAYERS_MAX of them.
 *
 * May include: device_parts.h. */

#define _GNU_SOURCE
#include "bench/device_parts.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { LAYERS_MAX = 16 };

/* --- small files --------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 0))) static bool make_path(char path[DEVICE_PATH_BYTES], const char *format,
                                                            va_list pieces)
{
    int length = vsnprintf(path, DEVICE_PATH_BYTES, format, pieces);
    return length >= 0 && length < DEVICE_PATH_BYTES;
}

static bool read_first_line(char *text, size_t size, const char *path)
{
    FILE *file = fopen(path, "re");
    bool got = file != NULL && fgets(text, (int)size, file) != NULL;
    if (file != NULL)
        fclose(file);
    if (!got)
        text[0] = 0;
    size_t blanks = strspn(text, " \t\n"), length = strlen(text);
    memmove(text, text + blanks, length - blanks + 1);
    length -= blanks;
    while (length > 0 && strchr(" \t\n", text[length - 1]) != NULL)
        text[--length] = 0;
    return length > 0;
}

bool device_read(char *text, size_t size, const char *format, ...)
{
    char path[DEVICE_PATH_BYTES];
    va_list pieces;
    va_start(pieces, format);
    bool made = make_path(path, format, pieces);
    va_end(pieces);
    text[0] = 0;
    return made && read_first_line(text, size, path);
}

uint64_t device_read_number(const char *format, ...)
{
    char path[DEVICE_PATH_BYTES], text[32];
    va_list pieces;
    va_start(pieces, format);
    bool made = make_path(path, format, pieces);
    va_end(pieces);
    return made && read_first_line(text, sizeof(text), path) ? strtoull(text, NULL, 10) : 0;
}

bool device_exists(const char *format, ...)
{
    char path[DEVICE_PATH_BYTES];
    va_list pieces;
    va_start(pieces, format);
    bool made = make_path(path, format, pieces);
    va_end(pieces);
    return made && access(path, F_OK) == 0;
}

bool device_resolve(char path[DEVICE_PATH_BYTES], const char *format, ...)
{
    char given[DEVICE_PATH_BYTES];
    va_list pieces;
    va_start(pieces, format);
    bool made = make_path(given, format, pieces);
    va_end(pieces);
    char *resolved = made ? realpath(given, NULL) : NULL;
    bool fits = resolved != NULL && strlen(resolved) < DEVICE_PATH_BYTES;
    if (fits)
        device_copy(path, DEVICE_PATH_BYTES, resolved);
    free(resolved);
    return fits;
}

void device_copy(char *text, size_t size, const char *from)
{
    size_t length = strnlen(from, size - 1);
    memmove(text, from, length);
    text[length] = 0;
}

bool device_starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* --- the device ---------------------------------------------------------------------------------- */

static const char *last_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

/* The directory of a partition becomes that of its disk. */
static bool leave_partition(char directory[DEVICE_PATH_BYTES])
{
    char *slash = strrchr(directory, '/');
    if (slash == NULL || !device_exists("%s/partition", directory))
        return false;
    *slash = 0;
    return true;
}

static bool is_numbered(const char *name, const char *kind)
{
    size_t length = strlen(kind);
    return strncmp(name, kind, length) == 0 && name[length] >= '0' && name[length] <= '9';
}

static void tell_kind(const char *directory, struct device_facts *facts)
{
    static const char *const mapped[][2] = {
        {"CRYPT-", "dm-crypt"}, {"LVM-", "dm-lvm"}, {"mpath-", "dm-multipath"}, {"part", "dm-partition"}, {"", "dm"}};
    static const char *const numbered[] = {"loop", "zram", "ram", "nbd", "rbd", "drbd", "bcache"};
    const char *name = last_name(directory);
    char text[128] = "";
    size_t size = sizeof(facts->device_kind), i = 0;
    device_copy(facts->device_kind, size, "disk");
    if (device_exists("%s/partition", directory)) {
        device_copy(facts->device_kind, size, "partition");
    } else if (device_starts(name, "dm-")) {
        device_read(text, sizeof(text), "%s/dm/uuid", directory);
        while (!device_starts(text, mapped[i][0]))
            i++;
        device_copy(facts->device_kind, size, mapped[i][1]);
    } else if (is_numbered(name, "md")) {
        bool told = device_read(text, sizeof(text), "%s/md/level", directory);
        snprintf(facts->device_kind, size, "md%s%.16s", told ? " " : "", text);
    } else {
        for (i = 0; i < sizeof(numbered) / sizeof(numbered[0]); i++) {
            if (is_numbered(name, numbered[i]))
                device_copy(facts->device_kind, size, numbered[i]);
        }
    }
}

static enum device_answer answer_of(const char *directory, const char *file)
{
    char text[32];
    if (!device_read(text, sizeof(text), "%s/queue/%s", directory, file))
        return DEVICE_UNKNOWN;
    return strcmp(text, "0") == 0 ? DEVICE_NO : DEVICE_YES;
}

/* What the file system sees, from the directory of a whole device. */
static void read_queue(const char *directory, struct device_facts *facts)
{
    device_read(facts->write_cache, sizeof(facts->write_cache), "%s/queue/write_cache", directory);
    facts->fua = answer_of(directory, "fua");
    facts->rotational = answer_of(directory, "rotational");
    facts->discard = answer_of(directory, "discard_max_bytes");
    facts->logical_block_bytes = device_read_number("%s/queue/logical_block_size", directory);
    facts->physical_block_bytes = device_read_number("%s/queue/physical_block_size", directory);
    facts->transfer_max_bytes = device_read_number("%s/queue/max_sectors_kb", directory) * 1024;
}

/* By what the path of the device in sysfs goes through; `path` begins behind the root. */
static void tell_transport(const char *path, const char *directory, struct device_facts *facts)
{
    static const char *const steps[][2] = {
        {"/nvme", "nvme"},     {"/usb", "usb"}, {"/session", "iscsi"}, {"/rport-", "fc"},     {"/end_device-", "sas"},
        {"/ata", "sata"},      {"/mmc", "mmc"}, {"/vmbus", "hyper-v"}, {"/VMBUS", "hyper-v"}, {"/vbd-", "xen"},
        {"/virtio", "virtio"}, {"/nbd", "nbd"}, {"/rbd", "rbd"}};
    char fabric[16];
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && facts->transport[0] == 0; i++) {
        if (strstr(path, steps[i][0]) != NULL)
            device_copy(facts->transport, sizeof(facts->transport), steps[i][1]);
    }
    bool nvme = strcmp(facts->transport, "nvme") == 0;
    if (nvme && device_read(fabric, sizeof(fabric), "%s/device/transport", directory) && strcmp(fabric, "pcie") != 0) {
        snprintf(facts->transport, sizeof(facts->transport), "nvme %s", fabric);
        facts->network = DEVICE_YES;
    }
    static const char *const remote[] = {"iscsi", "nbd", "rbd"};
    for (size_t i = 0; i < sizeof(remote) / sizeof(remote[0]); i++) {
        if (strcmp(facts->transport, remote[i]) == 0)
            facts->network = DEVICE_YES;
    }
}

static void read_disk(const char *root, const char *directory, struct device_facts *facts)
{
    char text[256], root_path[DEVICE_PATH_BYTES];
    device_copy(facts->disk, sizeof(facts->disk), last_name(directory));
    device_read(facts->model, sizeof(facts->model), "%s/device/model", directory);
    device_read(facts->vendor, sizeof(facts->vendor), "%s/device/vendor", directory);
    size_t root_length = root[0] != 0 && device_resolve(root_path, "%s", root) ? strlen(root_path) : 0;
    tell_transport(directory + root_length, directory, facts);
    facts->queue_depth = (unsigned)device_read_number("%s/queue/nr_requests", directory);
    device_read(text, sizeof(text), "%s/queue/scheduler", directory);
    char *chosen = strchr(text, '['), *end = strchr(text, ']');
    if (chosen != NULL && end != NULL)
        *end = 0;
    device_copy(facts->scheduler, sizeof(facts->scheduler), chosen != NULL ? chosen + 1 : text);
    if (is_numbered(facts->disk, "zram") || is_numbered(facts->disk, "ram"))
        facts->in_memory = DEVICE_YES;
}

static void add_below(struct device_facts *facts, const char *name)
{
    size_t length = strlen(facts->devices_below);
    snprintf(facts->devices_below + length, sizeof(facts->devices_below) - length, "%s%s", length > 0 ? ", " : "",
             name);
}

static int is_no_dot(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* From a whole device to what it is made of. False: there is nothing below, or more than one; the latter empties
 * `directory`. */
static bool step_down(char directory[DEVICE_PATH_BYTES], struct device_facts *facts)
{
    char path[DEVICE_PATH_BYTES];
    struct dirent **names = NULL;
    int count = -1;
    if (snprintf(path, sizeof(path), "%s/slaves", directory) < (int)sizeof(path))
        count = scandir(path, &names, is_no_dot, alphasort);
    bool found = count == 1 && device_resolve(directory, "%s/%s", path, names[0]->d_name);
    if (count > 1 || (count == 1 && !found))
        directory[0] = 0;
    for (int i = 0; i < count; i++) {
        add_below(facts, names[i]->d_name);
        free(names[i]);
    }
    free(names);
    return found;
}

/* The directory in sysfs. */
static bool find_device(char directory[DEVICE_PATH_BYTES], const char *root, dev_t number, const char *source)
{
    char path[DEVICE_PATH_BYTES];
    if (major(number) != 0)
        return device_resolve(directory, "%s/sys/dev/block/%u:%u", root, major(number), minor(number));
    if (!device_starts(source, "/dev/"))
        return false;
    if (!device_resolve(path, "%s%s", root, source))
        device_copy(path, sizeof(path), source);
    return device_resolve(directory, "%s/sys/class/block/%s", root, last_name(path));
}

void device_look_at_disk(const char *root, dev_t number, const char *source, struct device_facts *facts)
{
    char directory[DEVICE_PATH_BYTES];
    if (!find_device(directory, root, number, source))
        return;
    device_copy(facts->device, sizeof(facts->device), last_name(directory));
    tell_kind(directory, facts);
    if (leave_partition(directory))
        add_below(facts, last_name(directory));
    read_queue(directory, facts);
    if (is_numbered(last_name(directory), "loop")) {
        char file[sizeof(facts->devices_below)];
        if (device_read(file, sizeof(file), "%s/loop/backing_file", directory))
            add_below(facts, file);
        return;
    }
    for (unsigned layer = 0; layer < LAYERS_MAX && step_down(directory, facts); layer++) {
        if (leave_partition(directory))
            add_below(facts, last_name(directory));
    }
    if (directory[0] != 0)
        read_disk(root, directory, facts);
}
