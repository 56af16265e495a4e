/* fuzz_recover.c - any change to a log's files: open, read, verify, accept, append; no crash, no endless loop, no
 * memory beyond bounds.
 *
 * The input is a list of changes to one of the golden logs: byte 0 chooses the log and what is done with it, then four
 * bytes each: file, offset (two), value. With the top bit of byte 0 set, checksums of the heads that were changed are
 * put right, so that forged fields get through. The files stand on the simulated disk. */

#include "tests/fuzz.h"
#include "tests/golden_files.h"
#include "tests/sim_disk.h"
#include "wal/check.h"
#include "wal/wal.h"

enum { RECORDS_MAX = 4000 };

static struct sim_disk *make_disk(const struct golden_files *log)
{
    struct sim_disk *disk = sim_disk_create(NULL);
    struct wal_io *io = sim_disk_io(disk);
    for (unsigned i = 0; i < log->count; i++) {
        int file;
        uint8_t bytes[GOLDEN_FILE_BYTES];
        memcpy(bytes, log->bytes[i], sizeof(bytes));
        CHECK(io->ops->open(io, log->names[i], WAL_IO_OPEN_WRITE | WAL_IO_OPEN_CREATE, &file) == 0);
        struct wal_io_op op = {.kind = WAL_IO_WRITE, .file = file, .size = GOLDEN_FILE_BYTES, .buffer = bytes};
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
        CHECK(record.size <= GOLDEN_FILE_BYTES && record.type != 0);
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
    struct sim_disk *disk = make_disk(golden_change(data[0] % GOLDEN_LOGS, data + 1, size - 1, (data[0] & 0x80) != 0));
    struct wal_options options = WAL_OPTIONS_INIT;
    bool write = (data[0] & 0x40) != 0;
    options.flags = WAL_NO_THREADS | WAL_POWERSAFE_OVERWRITE;
    options.flags |= write ? (data[0] & 0x20) != 0 ? WAL_ACCEPT_CORRUPT | WAL_ACCEPT_UNCERTAIN : 0 : WAL_READ_ONLY;
    options.block_bytes = 512;
    options.segment_bytes = GOLDEN_FILE_BYTES;
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
