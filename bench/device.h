/* device.h - what is known about the place a path stands on: machine, kernel, file system, disk.
 *
 * A measured time means little without this: whether it is a disk at all, whether a flush reaches it, and who answers
 * for that. Every fact is what the kernel tells; what it does not tell stays "", 0 or DEVICE_UNKNOWN.
 *
 * May include: bench/json.h. */

#ifndef BENCH_DEVICE_H
#define BENCH_DEVICE_H

#include "bench/json.h"

#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

enum { DEVICE_WARNINGS_MAX = 16, DEVICE_WARNING_BYTES = 256, DEVICE_LINE_COLUMNS = 100 };

enum device_answer { DEVICE_UNKNOWN, DEVICE_NO, DEVICE_YES };

struct device_facts {
    /* The machine. */
    char kernel[96];  /* Release. */
    char machine[32]; /* Architecture. */
    char cpu[128];
    unsigned cpus; /* That are online. */
    uint64_t memory_bytes;
    enum device_answer virtual_machine;
    char hypervisor[128]; /* Who says that it is one. */
    enum device_answer container;
    char container_told[128]; /* By what it was told. */
    enum device_answer io_uring;
    char io_uring_reason[128]; /* Why not. */

    /* The file system. */
    char fs_type[32];
    char fs_upper_type[32]; /* An overlay: that of its upper directory. */
    char mount_point[256];
    char mount_source[256];
    char mount_options[512]; /* Of the mount, then of the file system; the end is lost when they are longer. */
    uint64_t fs_block_bytes, fs_free_bytes, fs_total_bytes;
    enum device_answer in_memory, network, copy_on_write;
    enum device_answer direct_io; /* Does opening a file with O_DIRECT work in that directory. */
    char direct_io_reason[96];    /* Why not, or why this is not known. */

    /* The block device. */
    char device[64];         /* That the file system is on: nvme0n1p2, dm-0. */
    char device_kind[32];    /* disk, partition, dm, dm-crypt, dm-lvm, md raid1, loop, zram, ... */
    char disk[64];           /* The whole disk at the bottom, when there is one alone. */
    char devices_below[256]; /* Of a partition, dm, md or loop, from top to bottom: "nvme0n1p2, nvme0n1"; a loop device:
                              * its file. */
    /* What the file system sees: of `device`, or of the whole disk when that is a partition. */
    char write_cache[32]; /* "write back", "write through". */
    enum device_answer fua, rotational, discard;
    uint64_t logical_block_bytes, physical_block_bytes, transfer_max_bytes;
    /* Of `disk`. */
    char model[96], vendor[64], transport[32], scheduler[32];
    unsigned queue_depth;
};

/* Looks at an existing file or directory. 0, or a negative errno, with the facts there are. Makes a nameless file in
 * the directory (or a named one, and removes it) and closes it again. */
int device_look(const char *path, struct device_facts *facts);

/* Only what files below root/proc, root/sys and root/run tell of an absolute path without links, as if `device` were
 * its st_dev. device_look is this below "" and what is found by trying: for tests. -ENOENT: no mount is found. */
int device_look_under(const char *root, const char *path, dev_t device, struct device_facts *facts);

/* What a reader of a measurement should know, one sentence each. Returns how many there are, at most `most`. */
unsigned device_warnings(const struct device_facts *facts, char text[][DEVICE_WARNING_BYTES], unsigned most);

/* One object: "machine", "file_system", "device", "warnings". All keys are always there; null: not known. */
void device_write_json(const struct device_facts *facts, struct json_writer *writer);

/* Four or five lines for people, of at most DEVICE_LINE_COLUMNS. */
void device_print(const struct device_facts *facts, FILE *to);

#endif
