/* snapshot_store.h - a directory of snapshot files: written, received, read, verified, dropped.
 *
 * A file has a temporary name until all of it is durable; a crash at any step leaves the old files, or the old and the
 * new. What changes the list of files is called from one thread; a writer, a receiver and a reader each belong to
 * whoever works with them, and may be at work beside one another. All calls block on the disk. Results are 0 or a
 * negative errno value; -EBADMSG: the content is damaged.
 *
 * May include: snapshot_file.h, memory.h, io.h. */

#ifndef RAFTCORE_SNAPSHOT_STORE_H
#define RAFTCORE_SNAPSHOT_STORE_H

#include "raftcore/memory.h"
#include "raftcore/snapshot_file.h"
#include "wal/io.h"

enum {
    SNAPSHOTS_MAX = 16,      /* In one directory. */
    SNAPSHOTS_KEPT = 2,      /* That read. */
    SNAPSHOT_NAME_BYTES = 32 /* With its end. */
};

/* A file whose header reads, in one of its two places. */
struct snapshot_info {
    struct snapshot_header header;
    bool damaged; /* The rest does not. */
};

struct snapshot_store {
    struct wal_io *io; /* The caller's. */
    struct raftcore_allocator allocator;
    uint64_t cluster_id;
    struct snapshot_info list[SNAPSHOTS_MAX]; /* Indexes rising. */
    uint32_t count;
    uint32_t unreadable; /* Files of whose header neither copy reads. */
};

/* Finds what is there, removes what a crash left half made, and reads every file whole. -EXDEV: a file is another
 * cluster's. */
int snapshot_store_open(struct snapshot_store *store, struct wal_io *io, uint64_t cluster_id,
                        const struct raftcore_allocator *allocator);

/* The newest that reads, below an index; NULL: none. */
const struct snapshot_info *snapshot_store_newest(const struct snapshot_store *store, uint64_t below);
struct snapshot_info *snapshot_store_find(struct snapshot_store *store, uint64_t index);

/* A file has come into being. */
void snapshot_store_add(struct snapshot_store *store, const struct snapshot_header *header);

/* Removes all but the newest that read, and damaged ones older than those. */
void snapshot_store_drop_old(struct snapshot_store *store);

/* --- making one ---------------------------------------------------------------------------------- */

struct snapshot_buffer {
    struct memory memory;
    void *block;
    uint8_t *bytes; /* One chunk, aligned for any disk. */
};

struct snapshot_writer {
    struct wal_io *io;
    int file;
    bool is_open;
    struct snapshot_header header;
    struct snapshot_buffer buffer;
    uint32_t filled;
    uint64_t *table; /* As it stands on the disk. */
    uint32_t table_capacity;
};

/* header: index, term, cluster_id, configuration are set. */
int snapshot_writer_begin(struct snapshot_writer *writer, struct wal_io *io, const struct snapshot_header *header,
                          const struct raftcore_allocator *allocator);
int snapshot_writer_put(struct snapshot_writer *writer, const void *data, size_t bytes);
/* When it returns 0 the file is durable under its name. The writer is gone in any case. */
int snapshot_writer_finish(struct snapshot_writer *writer, struct snapshot_header *header);
void snapshot_writer_abort(struct snapshot_writer *writer);

/* Bytes of another node's file, in order. */
struct snapshot_receiver {
    struct wal_io *io;
    int file;
    bool is_open;
    struct raftcore_snapshot expected;
    uint64_t cluster_id;
    struct snapshot_buffer buffer;
};

int snapshot_receiver_begin(struct snapshot_receiver *receiver, struct wal_io *io,
                            const struct raftcore_snapshot *expected, uint64_t cluster_id,
                            const struct raftcore_allocator *allocator);
/* offset and bytes are whole blocks, but for the end of the file. */
int snapshot_receiver_put(struct snapshot_receiver *receiver, uint64_t offset, const void *data, size_t bytes);
/* Verifies all of it; then as snapshot_writer_finish. */
int snapshot_receiver_finish(struct snapshot_receiver *receiver, struct snapshot_header *header);
void snapshot_receiver_abort(struct snapshot_receiver *receiver);

/* --- reading one --------------------------------------------------------------------------------- */

struct snapshot_reader {
    struct wal_io *io;
    int file;
    bool is_open;
    struct snapshot_header header;
    struct snapshot_buffer buffer; /* Holds the chunk `held`. */
    uint64_t held;                 /* UINT64_MAX: none. */
    uint64_t *table;
    uint64_t table_bytes;
};

/* Reads header and table. -ENOENT, -EBADMSG. */
int snapshot_reader_open(struct snapshot_reader *reader, struct wal_io *io, uint64_t index,
                         const struct raftcore_allocator *allocator);
/* Bytes of the state, verified; offset + bytes at most header.state_bytes. */
int snapshot_reader_state(struct snapshot_reader *reader, uint64_t offset, void *to, size_t bytes);
/* Bytes of the file as they are. */
int snapshot_reader_raw(struct snapshot_reader *reader, uint64_t offset, void *to, size_t bytes);
/* Every chunk. */
int snapshot_reader_verify(struct snapshot_reader *reader);
void snapshot_reader_close(struct snapshot_reader *reader);

#endif
