/* scratch.c - directories for tests, and a log's files in them seen from outside.
 *
 * The happy path: a test makes a directory, a log works in it and is closed or killed, the test looks at its files or
 * changes them without the log's knowledge, opens the log again, and removes the directory.
 *
 * What can fail: nothing is reported; what cannot be done here asserts, and what it has made so far stays behind. Only
 * scratch_remove goes on, and leaves what it cannot remove.
 *
 * Invariants: the files are found and read by format.h alone, never by the code that is being tested; a digest covers
 * every name and every byte.
 *
 * May include: scratch.h. */

#define _GNU_SOURCE
#include "tests/scratch.h"

#include "wal/check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- directories --------------------------------------------------------------------------------- */

void scratch_join(char path[SCRATCH_PATH_BYTES], const char *directory, const char *name)
{
    CHECK(snprintf(path, SCRATCH_PATH_BYTES, "%s/%s", directory, name) < SCRATCH_PATH_BYTES);
}

void scratch_make(char path[SCRATCH_PATH_BYTES])
{
    const char *place = getenv("TMPDIR");
    if (place == NULL || place[0] == '\0') {
        place = access("build/tmp", W_OK) == 0 ? "build/tmp" : "/tmp";
    }
    scratch_join(path, place, "wal-test-XXXXXX");
    CHECK(mkdtemp(path) != NULL);
}

/* The names of a directory in order, without "." and "..". */
static int listed(const char *path, struct dirent ***entries)
{
    int count = scandir(path, entries, NULL, alphasort);
    int kept = 0;
    for (int i = 0; i < count; i++) {
        const char *name = (*entries)[i]->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
            free((*entries)[i]);
        } else {
            (*entries)[kept++] = (*entries)[i];
        }
    }
    return count < 0 ? -1 : kept;
}

static void forget(struct dirent **entries, int count)
{
    for (int i = 0; i < count; i++) {
        free(entries[i]);
    }
    free(entries);
}

static void remove_level(const char *path, int levels)
{
    struct dirent **entries = NULL;
    int count = levels > 0 ? listed(path, &entries) : -1;
    for (int i = 0; i < count; i++) {
        char inner[SCRATCH_PATH_BYTES];
        scratch_join(inner, path, entries[i]->d_name);
        if (unlink(inner) != 0) {
            remove_level(inner, levels - 1);
        }
    }
    if (count >= 0) {
        forget(entries, count);
    }
    (void)rmdir(path);
}

void scratch_remove(const char *path)
{
    remove_level(path, 3);
}

static uint8_t *whole_file(const char *path, size_t *bytes_out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    struct stat status;
    CHECK(fstat(fd, &status) == 0);
    size_t bytes = (size_t)status.st_size;
    uint8_t *content = malloc(bytes + 1);
    CHECK(content != NULL);
    for (size_t done = 0; done < bytes;) {
        ssize_t got = read(fd, content + done, bytes - done);
        CHECK(got > 0);
        done += (size_t)got;
    }
    (void)close(fd);
    *bytes_out = bytes;
    return content;
}

void scratch_copy(const char *from, const char *to)
{
    CHECK(mkdir(to, 0777) == 0 || errno == EEXIST);
    struct dirent **entries = NULL;
    int count = listed(from, &entries);
    CHECK(count >= 0);
    for (int i = 0; i < count; i++) {
        char source[SCRATCH_PATH_BYTES];
        char target[SCRATCH_PATH_BYTES];
        scratch_join(source, from, entries[i]->d_name);
        scratch_join(target, to, entries[i]->d_name);
        struct stat status;
        if (lstat(source, &status) != 0 || !S_ISREG(status.st_mode)) {
            continue;
        }
        size_t bytes;
        uint8_t *content = whole_file(source, &bytes);
        int fd = open(target, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        CHECK(fd >= 0);
        for (size_t done = 0; done < bytes;) {
            ssize_t put = write(fd, content + done, bytes - done);
            CHECK(put > 0);
            done += (size_t)put;
        }
        (void)close(fd);
        free(content);
    }
    forget(entries, count);
}

static uint64_t digest_bytes(uint64_t digest, const void *bytes, size_t count)
{
    const uint8_t *at = bytes;
    for (size_t i = 0; i < count; i++) {
        digest = (digest ^ at[i]) * 0x100000001b3u;
    }
    return digest;
}

uint64_t scratch_digest(const char *path)
{
    uint64_t digest = 0xcbf29ce484222325u;
    struct dirent **entries = NULL;
    int count = listed(path, &entries);
    CHECK(count >= 0);
    for (int i = 0; i < count; i++) {
        char inner[SCRATCH_PATH_BYTES];
        scratch_join(inner, path, entries[i]->d_name);
        digest = digest_bytes(digest, entries[i]->d_name, strlen(entries[i]->d_name) + 1);
        struct stat status;
        if (lstat(inner, &status) == 0 && S_ISREG(status.st_mode)) {
            size_t bytes;
            uint8_t *content = whole_file(inner, &bytes);
            digest = digest_bytes(digest, &bytes, sizeof(bytes));
            digest = digest_bytes(digest, content, bytes);
            free(content);
        }
    }
    forget(entries, count);
    return digest;
}

/* --- segments ------------------------------------------------------------------------------------ */

void scratch_path(const char *directory, uint64_t segment, char path[SCRATCH_PATH_BYTES])
{
    char name[FORMAT_NAME_BYTES];
    format_segment_name(segment, name);
    scratch_join(path, directory, name);
}

void scratch_read(const char *directory, uint64_t segment, uint64_t offset, void *to, size_t bytes)
{
    char path[SCRATCH_PATH_BYTES];
    scratch_path(directory, segment, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK(pread(fd, to, bytes, (off_t)offset) == (ssize_t)bytes);
    (void)close(fd);
}

void scratch_write(const char *directory, uint64_t segment, uint64_t offset, const void *from, size_t bytes)
{
    char path[SCRATCH_PATH_BYTES];
    scratch_path(directory, segment, path);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK(pwrite(fd, from, bytes, (off_t)offset) == (ssize_t)bytes);
    (void)close(fd);
}

void scratch_flip(const char *directory, uint64_t segment, uint64_t offset, uint8_t mask)
{
    uint8_t byte;
    scratch_read(directory, segment, offset, &byte, 1);
    byte ^= mask;
    scratch_write(directory, segment, offset, &byte, 1);
}

void scratch_zero(const char *directory, uint64_t segment, uint64_t offset, size_t bytes)
{
    uint8_t *zeros = calloc(1, bytes);
    CHECK(zeros != NULL);
    scratch_write(directory, segment, offset, zeros, bytes);
    free(zeros);
}

size_t scratch_batches(const char *directory, uint64_t segment, struct found_batch *found, size_t most)
{
    char path[SCRATCH_PATH_BYTES];
    scratch_path(directory, segment, path);
    size_t bytes;
    uint8_t *content = whole_file(path, &bytes);
    struct format_identity identity;
    size_t count = 0;
    if (bytes >= FORMAT_SECTOR_BYTES && format_identity_decode(content, &identity) == FORMAT_OK) {
        uint32_t block_bytes = 1u << identity.block_shift;
        uint64_t offset = block_bytes;
        struct format_head head;
        while (offset + FORMAT_SECTOR_BYTES <= bytes && count < most &&
               format_head_decode(content + offset, FORMAT_SECTOR_BYTES, &head) == FORMAT_OK &&
               format_head_is_self_valid(&head, segment, offset / block_bytes)) {
            uint64_t padded_bytes = format_batch_padded_bytes(&head, block_bytes);
            found[count++] = (struct found_batch){.offset = offset, .padded_bytes = padded_bytes, .head = head};
            offset += padded_bytes;
        }
    }
    free(content);
    return count;
}

uint64_t scratch_newest(const char *directory)
{
    struct dirent **entries = NULL;
    int count = listed(directory, &entries);
    uint64_t newest = 0;
    for (int i = 0; i < count; i++) {
        uint64_t segment = format_segment_of_name(entries[i]->d_name);
        struct found_batch found;
        if (segment > newest && scratch_batches(directory, segment, &found, 1) == 1) {
            newest = segment;
        }
    }
    if (count >= 0) {
        forget(entries, count);
    }
    return newest;
}
