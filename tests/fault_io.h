/* fault_io.h - a disk for tests: a real one with faults put between it and the log.
 *
 *     struct fault_io *disk = fault_io_make(directory, WAL_BACKEND_POSIX);
 *     fault_io_arm(disk, (struct fault_rule){.kinds = FAULT_SYNC, .nth = 2, .error = EIO});
 *     wal_open_io(fault_io_disk(disk), ...); ... wal_close(log); fault_io_free(disk);
 *
 * May include: wal/wal.h, wal/io.h. */

#ifndef TESTS_FAULT_IO_H
#define TESTS_FAULT_IO_H

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

#endif
