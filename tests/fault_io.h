/* fault_io.h - a disk for tests: a real one with faults put between it and the log, and the directories that it stands
 * on.
 *
 *     struct fault_io *disk = fault_io_make(directory, WAL_BACKEND_POSIX);
 *     fault_io_arm(disk, (struct fault_rule){.kinds = FAULT_SYNC, .nth = 2, .error = EIO});
 *     wal_open_io(fault_io_disk(disk), ...); ... wal_close(log); fault_io_free(disk);
 *
 * May include: wal/wal.h, wal/io.h, wal/format.h. */

#ifndef TESTS_FAULT_IO_H
#define TESTS_FAULT_IO_H

#include "wal/format.h"
#include "wal/io.h"
#include "wal/wal.h"

/* One bit for each kind of operation, to be combined in a rule. */
enum fault_kind {
    FAULT_OPEN = 1 << 0,
    FAULT_CLOSE = 1 << 1,
    FAULT_FILE_BYTES = 1 << 2,
    FAULT_ALLOCATE = 1 << 3,
    FAULT_RENAME = 1 << 4,
    FAULT_UNLINK = 1 << 5,
    FAULT_LIST = 1 << 6,
    FAULT_SYNC_DIRECTORY = 1 << 7,
    FAULT_SYNC_PARENT = 1 << 8,
    FAULT_LOCK_DIRECTORY = 1 << 9,
    FAULT_LOCK_FILE = 1 << 10,
    FAULT_FORGET_CACHE = 1 << 11,
    FAULT_READ = 1 << 12,
    FAULT_WRITE = 1 << 13,
    FAULT_WRITE_DURABLE = 1 << 14,
    FAULT_SYNC = 1 << 15,
    FAULT_KINDS = 16,
    FAULT_WRITES = FAULT_WRITE | FAULT_WRITE_DURABLE,
    FAULT_ANY = (1 << 16) - 1
};

/* The nth operation from now on (1: the next) that is of one of these kinds fails with this errno, and is not carried
 * out. */
struct fault_rule {
    uint32_t kinds;
    uint64_t nth;
    bool forever;     /* And all later ones. */
    int error;        /* A positive errno value. */
    bool carried_out; /* Do it all the same, and only report the error: UNKNOWN is not ABSENT. */
};

/* Reads that see the byte at this offset of this segment's file get it xor-ed with mask. */
struct fault_flip {
    uint64_t segment;
    uint64_t offset;
    uint8_t mask;
    bool once;
};

struct fault_io;

/* On a directory that is made when it is missing. NULL: this backend is not to be had here. */
struct fault_io *fault_io_make(const char *directory, enum wal_backend backend);
void fault_io_free(struct fault_io *fault);
struct wal_io *fault_io_disk(struct fault_io *fault);

void fault_io_arm(struct fault_io *fault, struct fault_rule rule);
void fault_io_flip(struct fault_io *fault, struct fault_flip flip);
/* Forgets all rules and flips. */
void fault_io_clear(struct fault_io *fault);

/* Operations of these kinds seen so far, failed ones included. */
uint64_t fault_io_count(struct fault_io *fault, uint32_t kinds);
/* Faults delivered so far. */
uint64_t fault_io_hits(struct fault_io *fault);
/* The kind of operation that the last one hit, in a word. */
const char *fault_io_last(struct fault_io *fault);

/* Operations of these kinds by execute() wait at the gate until it is opened to them. 0: open to all. */
void fault_io_gate(struct fault_io *fault, uint32_t kinds);

/* --- directories --------------------------------------------------------------------------------- */

enum { SCRATCH_PATH_BYTES = 512 };

/* A new empty directory in build/tmp, $TMPDIR or /tmp; asserts that it can be made. */
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

/* --- samples: records whose content follows from their tag --------------------------------------- */

enum { SAMPLE_BYTES_MAX = 300 };

/* Fills buffer and describes it. */
struct wal_record sample_record(uint64_t tag, uint8_t buffer[SAMPLE_BYTES_MAX]);
/* Does the content follow from the tag? */
bool sample_is_right(const struct wal_record *record);
/* One append of so many records (at most 64), their tags are their indexes. No wait. */
int sample_append(struct wal *log, uint32_t count, struct wal_receipt *receipt);
/* The same, durable. */
int sample_commit(struct wal *log, uint32_t count);
/* True when wal_read and a cursor give exactly first..last, each with its index as its tag. Tells the first difference
 * on stderr. */
bool sample_range_is_right(struct wal *log, uint64_t first, uint64_t last);

#endif
