/* fuzz_recover.c - any change to a log's files: open, read, verify, accept, append; no crash, no endless loop, no
 * memory beyond bounds.
 *
 * The input is a list of changes to one of the golden logs: byte 0 chooses the log and what is done with it, then four
 * bytes each: file, offset (two), value. With the top bit of byte 0 set, checksums of the heads that were changed are
 * put right, so that forged fields get through. The files stand on the simulated disk. */

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "tests/fuzz.h"
#include "tests/sim_disk.h"
#include "wal/bytes.h"
#include "wal/check.h"
#include "wal/wal.h"

#define HEAD_SEED 0x77616c2d68656164u
enum { FILES_MAX = 12, FILE_BYTES = 8192, LOGS = 5, RECORDS_MAX = 4000 };

static const char *const folders[LOGS] = {"tests/golden/v1.0-closed", "tests/golden/v1.0-torn",
                                          "tests/golden/v1.0-reset", "tests/golden/v1.0-doubt",
                                          "tests/golden/v1.0-corrupt"};

struct golden {
    unsigned count;
    char names[FILES_MAX][32];
    uint8_t bytes[FILES_MAX][FILE_BYTES];
};
static struct golden logs[LOGS];

static void load(unsigned which)
{
    struct golden *log = &logs[which];
    DIR *folder = opendir(folders[which]);
    CHECK(folder != NULL);
    const struct dirent *entry;
    while ((entry = readdir(folder)) != NULL && log->count < FILES_MAX) {
        if (strlen(entry->d_name) != 24) {
            continue;
        }
        char path[512];
        (void)snprintf(path, sizeof(path), "%s/%s", folders[which], entry->d_name);
        FILE *file = fopen(path, "rb");
        CHECK(file != NULL);
        CHECK(fread(log->bytes[log->count], 1, FILE_BYTES, file) == FILE_BYTES);
        (void)fclose(file);
        memcpy(log->names[log->count], entry->d_name, 25);
        log->count++;
    }
    (void)closedir(folder);
    CHECK(log->count != 0);
}

/* Heads with a right magic and a possible length get their checksum, identity and seal theirs. */
static void mend(uint8_t *bytes)
{
    for (size_t at = 0; at < FILE_BYTES; at += 512) {
        uint8_t *sector = bytes + at;
        uint32_t head_bytes = load_u16_le(sector + 14);
        if (load_u32_le(sector + 8) == 0x48434257 && head_bytes >= 80 && head_bytes <= 512) {
            store_u64_le(sector, XXH3_64bits_withSeed(sector + 8, head_bytes - 8, HEAD_SEED));
        } else if (memcmp(sector, "WALSE", 5) == 0) {
            store_u64_le(sector + 504, XXH3_64bits_withSeed(sector, 504, HEAD_SEED));
        }
    }
}

static struct sim_disk *make_disk(const struct golden *log, const uint8_t *data, size_t size)
{
    static uint8_t bytes[FILES_MAX][FILE_BYTES];
    memcpy(bytes, log->bytes, sizeof(bytes));
    for (size_t at = 1; at + 4 <= size; at += 4) {
        bytes[data[at] % log->count][load_u16_le(data + at + 1) % FILE_BYTES] = data[at + 3];
    }
    struct sim_disk *disk = sim_disk_create(NULL);
    struct wal_io *io = sim_disk_io(disk);
    for (unsigned i = 0; i < log->count; i++) {
        if ((data[0] & 0x80) != 0) {
            mend(bytes[i]);
        }
        int file;
        CHECK(io->ops->open(io, log->names[i], WAL_IO_OPEN_WRITE | WAL_IO_OPEN_CREATE, &file) == 0);
        struct wal_io_op op = {.kind = WAL_IO_WRITE, .file = file, .size = FILE_BYTES, .buffer = bytes[i]};
        CHECK(io->ops->execute(io, &op) == 0);
        CHECK(io->ops->close(io, file) == 0);
    }
    return disk;
}

static void use(struct wal *log, bool write)
{
    struct wal_cursor *cursor;
    CHECK(wal_cursor_open(log, 0, &cursor) == 0);
    struct wal_record record;
    for (unsigned i = 0; i < RECORDS_MAX && wal_cursor_next(cursor, &record) == 0; i++) {
        CHECK(record.size <= FILE_BYTES && record.type != 0);
    }
    wal_cursor_close(cursor);
    struct wal_verify_report report;
    (void)!wal_verify(log, &report, NULL, NULL);
    if (write) {
        struct wal_record one = {.data = "fuzz", .size = 4, .type = 1};
        struct wal_append append = {.records = &one, .record_count = 1};
        (void)!wal_commit(log, &append, NULL);
        struct wal_receipt receipt;
        (void)!wal_truncate_prefix(log, wal_last_index(log), &receipt);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    unsigned which = data[0] % LOGS;
    if (logs[which].count == 0) {
        load(which);
    }
    struct sim_disk *disk = make_disk(&logs[which], data, size);
    struct wal_options options = WAL_OPTIONS_INIT;
    bool write = (data[0] & 0x40) != 0;
    options.flags = WAL_NO_THREADS | WAL_POWERSAFE_OVERWRITE;
    options.flags |= write ? (data[0] & 0x20) != 0 ? WAL_ACCEPT_CORRUPT | WAL_ACCEPT_UNCERTAIN : 0 : WAL_READ_ONLY;
    options.block_bytes = 512;
    options.segment_bytes = FILE_BYTES;
    options.batch_bytes_max = 6 * 512;
    options.segments_max = 32;
    struct wal *log;
    struct wal_verdict verdict;
    if (wal_open_io(sim_disk_io(disk), &options, &log, &verdict) == 0) {
        use(log, write);
        (void)!wal_close(log);
    } else {
        CHECK(verdict.text[0] != '\0');
    }
    sim_disk_destroy(disk);
    return 0;
}
