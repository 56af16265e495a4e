/* scratch.h - directories for tests, and a log's files in them seen from outside: read, changed, copied, compared.
 *
 *     char path[SCRATCH_PATH_BYTES];
 *     scratch_make(path); ... scratch_flip(path, 1, 4096, 0x80); ... scratch_remove(path);
 *
 * May include: wal/format.h. */

#ifndef TESTS_SCRATCH_H
#define TESTS_SCRATCH_H

#include "wal/format.h"

enum { SCRATCH_PATH_BYTES = 512 };

/* directory/name; asserts that there is room. */
void scratch_join(char path[SCRATCH_PATH_BYTES], const char *directory, const char *name);

/* A new empty directory in $TMPDIR, build/tmp or /tmp; asserts that it can be made. */
void scratch_make(char path[SCRATCH_PATH_BYTES]);
/* With everything in it, two levels deep at most. */
void scratch_remove(const char *path);
/* Copies the regular files of one directory into another, which is made. */
void scratch_copy(const char *from, const char *to);
/* A digest of all names and bytes: equal before and after means that nothing was changed. */
uint64_t scratch_digest(const char *path);

/* The path of a segment's file. */
void scratch_path(const char *directory, uint64_t segment, char path[SCRATCH_PATH_BYTES]);
void scratch_read(const char *directory, uint64_t segment, uint64_t offset, void *to, size_t bytes);
void scratch_write(const char *directory, uint64_t segment, uint64_t offset, const void *from, size_t bytes);
void scratch_flip(const char *directory, uint64_t segment, uint64_t offset, uint8_t mask);
void scratch_zero(const char *directory, uint64_t segment, uint64_t offset, size_t bytes);

/* A batch found on disk by stepping from head to head. */
struct found_batch {
    uint64_t offset;
    uint64_t padded_bytes;
    struct format_head head;
};

/* Fills at most `most`, returns how many there are up to the first place without a head. */
size_t scratch_batches(const char *directory, uint64_t segment, struct found_batch *found, size_t most);

/* The highest segment whose file exists and whose opening anchor decodes. 0: none. */
uint64_t scratch_newest(const char *directory);

#endif
