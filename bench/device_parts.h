/* device_parts.h - what the files of device.h share: reading the kernel's small files, and the block device.
 *
 * May include: device.h. */

#ifndef BENCH_DEVICE_PARTS_H
#define BENCH_DEVICE_PARTS_H

#include "bench/device.h"

#include <stddef.h>

enum { DEVICE_PATH_BYTES = 4096 };

/* The first line of the file, without blanks at either end. False, and "": it is not there, or empty. */
__attribute__((format(printf, 3, 4))) bool device_read(char *text, size_t size, const char *format, ...);
/* A file that holds one number; 0: it does not. */
__attribute__((format(printf, 1, 2))) uint64_t device_read_number(const char *format, ...);
__attribute__((format(printf, 1, 2))) bool device_exists(const char *format, ...);
/* The path without links; false: it is not there. */
__attribute__((format(printf, 2, 3))) bool device_resolve(char path[DEVICE_PATH_BYTES], const char *format, ...);
/* As much as there is room for. */
void device_copy(char *text, size_t size, const char *from);
bool device_starts(const char *text, const char *with);

/* The block device with that number, or, when the number is a nameless one (major 0), the one that the mount's source
 * names. Leaves its facts as they are when there is none. */
void device_look_at_disk(const char *root, dev_t number, const char *source, struct device_facts *facts);

#endif
