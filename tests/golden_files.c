/* golden_files.c - the golden logs in memory, for fuzzers that change them.
 *
 * The happy path: a log is read once from tests/golden/, then copied and changed as often as one likes.
 *
 * What can fail: the files are not there: the program ends (CHECK); it must be run from the top of the tree.
 *
 * May include: golden_files.h. */

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "tests/golden_files.h"
#include "wal/bytes.h"
#include "wal/check.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#define HEAD_SEED 0x77616c2d68656164u

static const char *const folders[GOLDEN_LOGS] = {"tests/golden/v1.0-closed", "tests/golden/v1.0-torn",
                                                 "tests/golden/v1.0-reset", "tests/golden/v1.0-doubt",
                                                 "tests/golden/v1.0-corrupt"};
static struct golden_files logs[GOLDEN_LOGS];

const struct golden_files *golden_load(unsigned which)
{
    struct golden_files *log = &logs[which];
    if (log->count != 0) {
        return log;
    }
    DIR *folder = opendir(folders[which]);
    CHECK(folder != NULL);
    const struct dirent *entry;
    while ((entry = readdir(folder)) != NULL && log->count < GOLDEN_FILES_MAX) {
        if (strlen(entry->d_name) != 24) {
            continue;
        }
        char path[512];
        (void)snprintf(path, sizeof(path), "%s/%s", folders[which], entry->d_name);
        FILE *file = fopen(path, "rb");
        CHECK(file != NULL);
        CHECK(fread(log->bytes[log->count], 1, GOLDEN_FILE_BYTES, file) == GOLDEN_FILE_BYTES);
        (void)fclose(file);
        memcpy(log->names[log->count], entry->d_name, 25);
        log->count++;
    }
    (void)closedir(folder);
    CHECK(log->count != 0);
    return log;
}

/* Heads with a right magic and a possible length get their checksum, identity and seal theirs. */
static void mend_checksums(uint8_t *bytes)
{
    for (size_t at = 0; at < GOLDEN_FILE_BYTES; at += 512) {
        uint8_t *sector = bytes + at;
        uint32_t head_bytes = load_u16_le(sector + 14);
        if (load_u32_le(sector + 8) == 0x48434257 && head_bytes >= 80 && head_bytes <= 512) {
            store_u64_le(sector, XXH3_64bits_withSeed(sector + 8, head_bytes - 8, HEAD_SEED));
        } else if (memcmp(sector, "WALSE", 5) == 0) {
            store_u64_le(sector + 504, XXH3_64bits_withSeed(sector, 504, HEAD_SEED));
        }
    }
}

const struct golden_files *golden_change(unsigned which, const uint8_t *changes, size_t size, int mend)
{
    static struct golden_files changed;
    changed = *golden_load(which);
    for (size_t at = 0; at + 4 <= size; at += 4) {
        changed.bytes[changes[at] % changed.count][load_u16_le(changes + at + 1) % GOLDEN_FILE_BYTES] = changes[at + 3];
    }
    for (unsigned i = 0; i < changed.count && mend; i++) {
        mend_checksums(changed.bytes[i]);
    }
    return &changed;
}
