/* machine_fixture.h - a machine made up of files, for the tests of what is known about a place. For programs with
 * cmocka: what is not as it must be ends the test.
 *
 * May include: bench/device.h, scratch.h. */

#ifndef TESTS_MACHINE_FIXTURE_H
#define TESTS_MACHINE_FIXTURE_H

#include "bench/device.h"
#include "tests/scratch.h"

#include <stdbool.h>

/* A fresh directory, which stands for the root of the machine; removed with all that is in it. */
extern char machine_root[SCRATCH_PATH_BYTES];
int machine_setup(void **state);
int machine_teardown(void **state);

/* A file of the machine, with all directories above it. */
void put(const char *name, const char *content);
/* A link to another place of the machine. */
void put_link(const char *name, const char *to);
/* A block device at sys/devices/..., reached by its number and its name; and what its queue tells. */
void put_device(const char *directory, const char *number);
void put_queue(const char *directory, const char *cache, const char *fua, const char *rotational,
               const char *scheduler);

#define NVME "sys/devices/pci0000:00/0000:00:04.0/nvme/nvme0/nvme0n1"
#define SATA "sys/devices/pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0/block/sda"

/* An NVMe disk with a partition, and one behind SATA. */
void put_nvme(void);
void put_sata(void);
/* What is no disk: processors, memory, kernel; and the lines of its mounts. */
void put_machine(void);
void put_mounts(const char *lines);

/* This must work. */
struct device_facts look_at(const char *path, dev_t number);
/* Whether a warning has these words. None is cut, and two with the same words are wrong. */
bool warned(const struct device_facts *facts, const char *words);
unsigned warning_count(const struct device_facts *facts);
/* The caller frees it. */
struct json_value *json_of_facts(const struct device_facts *facts);

#endif
