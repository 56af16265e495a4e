/* snapshot_store.c - a directory of snapshot files.
 *
 * The happy path, taking one:
 *   1. a file under a temporary name; the state goes into it behind the header's place, chunk by chunk;
 *   2. behind it the table and the second header, then the first header;
 *   3. the file is synced, gets its name, and the directory is synced: from here on it counts.
 * Receiving: the same bytes come in pieces; when all are there the file is read back whole, held against the snapshot
 * that was announced, and goes through step 3.
 *
 * What can fail, and what is left: a crash or an error before step 3 leaves a temporary file, which the next open
 * removes; in step 3 the file, or none. A name that is taken belongs to a damaged file: that one is removed first, and
 * was of no use to anybody; if it reads after all, it stays, and the new one is given up.
 *
 * Invariants: no byte is given as state that its checksum did not vouch for; a file in the list as undamaged has been
 * read whole since the open, or was written since; two that read are never removed.
 *
 * May include: snapshot_store.h, zoo.h, bytes.h. */

#include "raftcore/snapshot_store.h"

#include "raftcore/zoo.h"
#include "wal/bytes.h"

#include <errno.h>
#include <stdio.h>

enum { FILES_MAX = 64 };

/* --- names and buffers --------------------------------------------------------------------------- */

static void name_of(uint64_t index, const char *end, char name[SNAPSHOT_NAME_BYTES])
{
    (void)snprintf(name, SNAPSHOT_NAME_BYTES, "snapshot-%016llx%s", (unsigned long long)index, end);
}

/* False: not a name of ours. */
static bool index_of(const char *name, uint64_t *index, const char **end)
{
    static const char first[] = "snapshot-";
    if (strncmp(name, first, sizeof(first) - 1) != 0 || strlen(name) < sizeof(first) - 1 + 16) {
        return false;
    }
    *index = 0;
    const char *digits = name + sizeof(first) - 1;
    for (unsigned i = 0; i < 16; i++) {
        char digit = digits[i];
        bool is_digit = digit >= '0' && digit <= '9';
        if (!is_digit && (digit < 'a' || digit > 'f')) {
            return false;
        }
        *index = *index << 4 | (uint64_t)(is_digit ? digit - '0' : digit - 'a' + 10);
    }
    *end = digits + 16;
    return true;
}

static bool buffer_take(struct snapshot_buffer *buffer, const struct raftcore_allocator *allocator)
{
    *buffer = (struct snapshot_buffer){.memory.allocator = *allocator};
    size_t bytes = SNAPSHOT_CHUNK_BYTES + SNAPSHOT_BLOCK_BYTES;
    buffer->block = memory_resize(&buffer->memory, NULL, 0, bytes);
    if (buffer->block == NULL) {
        return false;
    }
    buffer->bytes = (uint8_t *)(uintptr_t)round_up((uintptr_t)buffer->block, SNAPSHOT_BLOCK_BYTES);
    return true;
}

static void buffer_give(struct snapshot_buffer *buffer)
{
    if (buffer->block != NULL) {
        memory_resize(&buffer->memory, buffer->block, SNAPSHOT_CHUNK_BYTES + SNAPSHOT_BLOCK_BYTES, 0);
    }
    *buffer = (struct snapshot_buffer){.memory = buffer->memory};
}

static int do_io(struct wal_io *io, enum wal_io_kind kind, int file, uint64_t offset, void *bytes, size_t size)
{
    struct wal_io_op op = {.kind = kind, .file = file, .offset = offset, .buffer = bytes, .size = (uint32_t)size};
    int result = io->ops->execute(io, &op);
    return result == 0 && kind == WAL_IO_READ && op.moved_bytes < size ? -EBADMSG : result;
}

/* The file of that index reads, every byte. */
static bool reads_whole(struct wal_io *io, uint64_t index, const struct raftcore_allocator *allocator, uint64_t *id)
{
    struct snapshot_reader reader;
    bool reads = snapshot_reader_open(&reader, io, index, allocator) == 0 && snapshot_reader_verify(&reader) == 0;
    *id = reads ? reader.header.id : 0;
    snapshot_reader_close(&reader);
    return reads;
}

/* Step 3: what is in the file counts from here on. */
static int give_name(struct wal_io *io, int file, const char *temporary, const struct snapshot_header *header,
                     const struct raftcore_allocator *allocator)
{
    char name[SNAPSHOT_NAME_BYTES], old[SNAPSHOT_NAME_BYTES];
    name_of(header->index, "", name);
    name_of(header->index, ".old", old);
    int result = ZOO(snapshot_not_synced) ? 0 : do_io(io, WAL_IO_SYNC, file, 0, NULL, 0);
    if (result != 0) {
        return result;
    }
    result = io->ops->rename(io, temporary, name);
    bool replaces = result == -EEXIST;
    if (replaces) {
        uint64_t id = 0;
        if (reads_whole(io, header->index, allocator, &id)) { /* Perhaps of a try whose last step failed. */
            return id == header->id ? io->ops->sync_directory(io) : -EEXIST;
        }
        /* The damaged one, whose header may be all that this node has, goes only when the new one is there for good. */
        result = io->ops->rename(io, name, old);
        result = result == 0 ? io->ops->sync_directory(io) : result;
        result = result == 0 ? io->ops->rename(io, temporary, name) : result;
    }
    if (result == 0 && !ZOO(snapshot_directory_not_synced)) {
        result = io->ops->sync_directory(io);
    }
    if (result == 0 && replaces) {
        (void)io->ops->unlink(io, old);
    }
    return result;
}

/* --- writing ------------------------------------------------------------------------------------- */

int snapshot_writer_begin(struct snapshot_writer *writer, struct wal_io *io, const struct snapshot_header *header,
                          const struct raftcore_allocator *allocator)
{
    *writer = (struct snapshot_writer){.io = io, .header = *header};
    writer->header.state_bytes = 0;
    if (!buffer_take(&writer->buffer, allocator)) {
        return -ENOMEM;
    }
    char name[SNAPSHOT_NAME_BYTES];
    name_of(header->index, ".new", name);
    int result = io->ops->open(io, name, WAL_IO_OPEN_WRITE | WAL_IO_OPEN_CREATE, &writer->file);
    writer->is_open = result == 0;
    if (result != 0) {
        snapshot_writer_abort(writer);
    }
    return result;
}

/* The chunk in the buffer goes to its place; the last one with zeros up to the block's end. */
static int put_chunk(struct snapshot_writer *writer)
{
    uint64_t number = writer->header.state_bytes / SNAPSHOT_CHUNK_BYTES;
    if (!memory_reserve(&writer->buffer.memory, (void **)&writer->table, &writer->table_capacity,
                        sizeof(*writer->table), number + SNAPSHOT_BLOCK_BYTES / 8)) {
        return -ENOMEM;
    }
    store_u64_le(&writer->table[number], snapshot_chunk_checksum(writer->buffer.bytes, writer->filled, number));
    uint32_t size = (uint32_t)round_up(writer->filled, SNAPSHOT_BLOCK_BYTES);
    memset(writer->buffer.bytes + writer->filled, 0, size - writer->filled);
    int result = do_io(writer->io, WAL_IO_WRITE, writer->file,
                       SNAPSHOT_BLOCK_BYTES + number * (uint64_t)SNAPSHOT_CHUNK_BYTES, writer->buffer.bytes, size);
    writer->header.state_bytes += writer->filled;
    writer->filled = 0;
    return result;
}

int snapshot_writer_put(struct snapshot_writer *writer, const void *data, size_t bytes)
{
    const uint8_t *from = data;
    if (writer->header.state_bytes + writer->filled + bytes > SNAPSHOT_BYTES_MAX) {
        return -EFBIG;
    }
    while (bytes > 0) {
        size_t room = SNAPSHOT_CHUNK_BYTES - writer->filled;
        size_t part = bytes < room ? bytes : room;
        memcpy(writer->buffer.bytes + writer->filled, from, part);
        writer->filled += (uint32_t)part;
        from += part;
        bytes -= part;
        if (writer->filled == SNAPSHOT_CHUNK_BYTES) {
            int result = put_chunk(writer);
            if (result != 0) {
                return result;
            }
        }
    }
    return 0;
}

/* Step 2. */
static int put_end(struct snapshot_writer *writer)
{
    struct snapshot_header *header = &writer->header;
    uint64_t offset = snapshot_table_offset(header->state_bytes);
    uint64_t table_bytes = 8 * snapshot_chunk_count(header->state_bytes);
    header->table_checksum = snapshot_table_checksum(writer->table, table_bytes);
    int result = 0;
    for (uint64_t at = 0; result == 0 && at < table_bytes; at += SNAPSHOT_CHUNK_BYTES) {
        uint64_t left = table_bytes - at;
        size_t part = left < SNAPSHOT_CHUNK_BYTES ? (size_t)left : SNAPSHOT_CHUNK_BYTES;
        size_t size = (size_t)round_up(part, SNAPSHOT_BLOCK_BYTES);
        memset(writer->buffer.bytes, 0, size);
        memcpy(writer->buffer.bytes, (const uint8_t *)writer->table + at, part);
        result = do_io(writer->io, WAL_IO_WRITE, writer->file, offset + at, writer->buffer.bytes, size);
    }
    snapshot_encode_header(header, writer->buffer.bytes);
    if (result == 0) {
        result = do_io(writer->io, WAL_IO_WRITE, writer->file, header->file_bytes - SNAPSHOT_BLOCK_BYTES,
                       writer->buffer.bytes, SNAPSHOT_BLOCK_BYTES);
    }
    if (result == 0) {
        result = do_io(writer->io, WAL_IO_WRITE, writer->file, 0, writer->buffer.bytes, SNAPSHOT_BLOCK_BYTES);
    }
    return result;
}

int snapshot_writer_finish(struct snapshot_writer *writer, struct snapshot_header *header)
{
    char temporary[SNAPSHOT_NAME_BYTES];
    name_of(writer->header.index, ".new", temporary);
    int result = writer->filled > 0 ? put_chunk(writer) : 0;
    result = result == 0 ? put_end(writer) : result;
    if (result == 0) {
        result = give_name(writer->io, writer->file, temporary, &writer->header, &writer->buffer.memory.allocator);
    }
    *header = writer->header;
    snapshot_writer_abort(writer);
    return result;
}

void snapshot_writer_abort(struct snapshot_writer *writer)
{
    if (writer->is_open) {
        char temporary[SNAPSHOT_NAME_BYTES];
        name_of(writer->header.index, ".new", temporary);
        (void)writer->io->ops->close(writer->io, writer->file);
        (void)writer->io->ops->unlink(writer->io, temporary); /* Gone already if it got its name. */
        writer->is_open = false;
    }
    if (writer->table != NULL) {
        memory_resize(&writer->buffer.memory, writer->table, writer->table_capacity * sizeof(*writer->table), 0);
        writer->table = NULL;
    }
    buffer_give(&writer->buffer);
}

/* --- receiving ----------------------------------------------------------------------------------- */

int snapshot_receiver_begin(struct snapshot_receiver *receiver, struct wal_io *io,
                            const struct raftcore_snapshot *expected, uint64_t cluster_id,
                            const struct raftcore_allocator *allocator)
{
    *receiver = (struct snapshot_receiver){.io = io, .expected = *expected, .cluster_id = cluster_id};
    if (!buffer_take(&receiver->buffer, allocator)) {
        return -ENOMEM;
    }
    char name[SNAPSHOT_NAME_BYTES];
    name_of(expected->index, ".in", name);
    int result = io->ops->open(io, name, WAL_IO_OPEN_WRITE | WAL_IO_OPEN_CREATE, &receiver->file);
    receiver->is_open = result == 0;
    if (result != 0) {
        snapshot_receiver_abort(receiver);
    }
    return result;
}

int snapshot_receiver_put(struct snapshot_receiver *receiver, uint64_t offset, const void *data, size_t bytes)
{
    if (offset % SNAPSHOT_BLOCK_BYTES != 0 || bytes % SNAPSHOT_BLOCK_BYTES != 0 ||
        offset + bytes > receiver->expected.bytes) {
        return -EBADMSG;
    }
    int result = 0;
    for (size_t at = 0; result == 0 && at < bytes; at += SNAPSHOT_CHUNK_BYTES) {
        size_t part = bytes - at < SNAPSHOT_CHUNK_BYTES ? bytes - at : SNAPSHOT_CHUNK_BYTES;
        memcpy(receiver->buffer.bytes, (const uint8_t *)data + at, part);
        result = do_io(receiver->io, WAL_IO_WRITE, receiver->file, offset + at, receiver->buffer.bytes, part);
    }
    return result;
}

static int open_reader_named(struct snapshot_reader *reader, struct wal_io *io, const char *name, uint64_t index,
                             const struct raftcore_allocator *allocator);

/* It is what was announced, every byte. */
static int check_received(struct snapshot_receiver *receiver, const char *temporary, struct snapshot_header *header)
{
    const struct raftcore_snapshot *expected = &receiver->expected;
    struct snapshot_reader reader;
    int result =
        open_reader_named(&reader, receiver->io, temporary, expected->index, &receiver->buffer.memory.allocator);
    if (result == 0) {
        *header = reader.header;
        bool is_it = header->term == expected->term && header->id == expected->id &&
                     header->file_bytes == expected->bytes && header->cluster_id == receiver->cluster_id;
        result = is_it ? snapshot_reader_verify(&reader) : -EBADMSG;
    }
    snapshot_reader_close(&reader);
    return result;
}

int snapshot_receiver_finish(struct snapshot_receiver *receiver, struct snapshot_header *header)
{
    char temporary[SNAPSHOT_NAME_BYTES];
    name_of(receiver->expected.index, ".in", temporary);
    int result = check_received(receiver, temporary, header);
    if (result == 0) {
        result = give_name(receiver->io, receiver->file, temporary, header, &receiver->buffer.memory.allocator);
    }
    snapshot_receiver_abort(receiver);
    return result;
}

void snapshot_receiver_abort(struct snapshot_receiver *receiver)
{
    if (receiver->is_open) {
        char temporary[SNAPSHOT_NAME_BYTES];
        name_of(receiver->expected.index, ".in", temporary);
        (void)receiver->io->ops->close(receiver->io, receiver->file);
        (void)receiver->io->ops->unlink(receiver->io, temporary);
        receiver->is_open = false;
    }
    buffer_give(&receiver->buffer);
}

/* --- reading ------------------------------------------------------------------------------------- */

static int read_header_at(struct snapshot_reader *reader, uint64_t offset)
{
    int result = do_io(reader->io, WAL_IO_READ, reader->file, offset, reader->buffer.bytes, SNAPSHOT_BLOCK_BYTES);
    return result == 0 ? snapshot_decode_header(reader->buffer.bytes, &reader->header) : result;
}

/* From its first place, or its second. */
static int read_header(struct snapshot_reader *reader, uint64_t index)
{
    uint64_t file_bytes;
    int result = reader->io->ops->file_bytes(reader->io, reader->file, &file_bytes);
    if (result != 0) {
        return result;
    }
    result = read_header_at(reader, 0);
    if (result == -EBADMSG || result == -EIO) {
        uint64_t end = file_bytes - file_bytes % SNAPSHOT_BLOCK_BYTES;
        result = end < 2 * SNAPSHOT_BLOCK_BYTES ? -EBADMSG : read_header_at(reader, end - SNAPSHOT_BLOCK_BYTES);
    }
    if (result != 0 || reader->header.index != index) {
        reader->header.id = 0;
        return result != 0 ? result : -EBADMSG;
    }
    return reader->header.file_bytes == file_bytes ? 0 : -EILSEQ; /* Known, and damaged all the same. */
}

static int read_table(struct snapshot_reader *reader)
{
    const struct snapshot_header *header = &reader->header;
    uint64_t bytes = 8 * snapshot_chunk_count(header->state_bytes);
    reader->table_bytes = round_up(bytes, SNAPSHOT_BLOCK_BYTES);
    if (bytes == 0) {
        return 0;
    }
    reader->table = memory_resize(&reader->buffer.memory, NULL, 0, reader->table_bytes);
    if (reader->table == NULL) {
        return -ENOMEM;
    }
    uint64_t offset = snapshot_table_offset(header->state_bytes);
    for (uint64_t at = 0; at < reader->table_bytes; at += SNAPSHOT_CHUNK_BYTES) {
        uint64_t left = reader->table_bytes - at;
        size_t part = left < SNAPSHOT_CHUNK_BYTES ? (size_t)left : SNAPSHOT_CHUNK_BYTES;
        int result = do_io(reader->io, WAL_IO_READ, reader->file, offset + at, reader->buffer.bytes, part);
        if (result != 0) {
            return result;
        }
        memcpy((uint8_t *)reader->table + at, reader->buffer.bytes, part);
    }
    return snapshot_table_checksum(reader->table, bytes) == header->table_checksum ? 0 : -EILSEQ;
}

static int open_reader_named(struct snapshot_reader *reader, struct wal_io *io, const char *name, uint64_t index,
                             const struct raftcore_allocator *allocator)
{
    *reader = (struct snapshot_reader){.io = io, .held = UINT64_MAX};
    if (!buffer_take(&reader->buffer, allocator)) {
        return -ENOMEM;
    }
    int result = io->ops->open(io, name, 0, &reader->file);
    reader->is_open = result == 0;
    result = result == 0 ? read_header(reader, index) : result;
    return result == 0 ? read_table(reader) : result;
}

int snapshot_reader_open(struct snapshot_reader *reader, struct wal_io *io, uint64_t index,
                         const struct raftcore_allocator *allocator)
{
    char name[SNAPSHOT_NAME_BYTES];
    name_of(index, "", name);
    int result = open_reader_named(reader, io, name, index, allocator);
    return result == -EILSEQ ? -EBADMSG : result;
}

static int hold_chunk(struct snapshot_reader *reader, uint64_t number)
{
    uint64_t offset = number * (uint64_t)SNAPSHOT_CHUNK_BYTES;
    uint64_t left = reader->header.state_bytes - offset;
    size_t bytes = left < SNAPSHOT_CHUNK_BYTES ? (size_t)left : SNAPSHOT_CHUNK_BYTES;
    reader->held = UINT64_MAX;
    int result = do_io(reader->io, WAL_IO_READ, reader->file, SNAPSHOT_BLOCK_BYTES + offset, reader->buffer.bytes,
                       (size_t)round_up(bytes, SNAPSHOT_BLOCK_BYTES));
    if (result == 0 &&
        snapshot_chunk_checksum(reader->buffer.bytes, bytes, number) != load_u64_le(&reader->table[number])) {
        result = -EBADMSG;
    }
    reader->held = result == 0 ? number : UINT64_MAX;
    return result;
}

int snapshot_reader_state(struct snapshot_reader *reader, uint64_t offset, void *to, size_t bytes)
{
    if (offset > reader->header.state_bytes || bytes > reader->header.state_bytes - offset) {
        return -EINVAL;
    }
    uint8_t *out = to;
    while (bytes > 0) {
        uint64_t number = offset / SNAPSHOT_CHUNK_BYTES;
        int result = number == reader->held ? 0 : hold_chunk(reader, number);
        if (result != 0) {
            return result;
        }
        size_t within = (size_t)(offset % SNAPSHOT_CHUNK_BYTES);
        size_t part = bytes < SNAPSHOT_CHUNK_BYTES - within ? bytes : SNAPSHOT_CHUNK_BYTES - within;
        memcpy(out, reader->buffer.bytes + within, part);
        out += part;
        offset += part;
        bytes -= part;
    }
    return 0;
}

/* The two headers as they must be: one of them may not have read. */
static void put_headers(struct snapshot_reader *reader, uint64_t offset, uint8_t *to, size_t bytes)
{
    const uint64_t places[] = {0, reader->header.file_bytes - SNAPSHOT_BLOCK_BYTES};
    for (unsigned i = 0; i < 2; i++) {
        if (places[i] >= offset && places[i] - offset < bytes) {
            snapshot_encode_header(&reader->header, to + (places[i] - offset));
        }
    }
}

int snapshot_reader_raw(struct snapshot_reader *reader, uint64_t offset, void *to, size_t bytes)
{
    if (offset % SNAPSHOT_BLOCK_BYTES != 0 || bytes % SNAPSHOT_BLOCK_BYTES != 0 ||
        offset + bytes > reader->header.file_bytes) {
        return -EINVAL;
    }
    reader->held = UINT64_MAX;
    for (size_t at = 0; at < bytes; at += SNAPSHOT_CHUNK_BYTES) {
        size_t part = bytes - at < SNAPSHOT_CHUNK_BYTES ? bytes - at : SNAPSHOT_CHUNK_BYTES;
        int result = do_io(reader->io, WAL_IO_READ, reader->file, offset + at, reader->buffer.bytes, part);
        if (result != 0) {
            return result;
        }
        memcpy((uint8_t *)to + at, reader->buffer.bytes, part);
    }
    put_headers(reader, offset, to, bytes);
    return 0;
}

int snapshot_reader_verify(struct snapshot_reader *reader)
{
    int result = 0;
    for (uint64_t number = 0; result == 0 && number < snapshot_chunk_count(reader->header.state_bytes); number++) {
        result = hold_chunk(reader, number);
    }
    return result;
}

void snapshot_reader_close(struct snapshot_reader *reader)
{
    if (reader->is_open) {
        (void)reader->io->ops->close(reader->io, reader->file);
        reader->is_open = false;
    }
    if (reader->table != NULL) {
        memory_resize(&reader->buffer.memory, reader->table, reader->table_bytes, 0);
        reader->table = NULL;
    }
    buffer_give(&reader->buffer);
}

/* --- the directory ------------------------------------------------------------------------------- */

struct found {
    char names[FILES_MAX][SNAPSHOT_NAME_BYTES];
    uint32_t count;
};

static int remember(void *context, const char *name)
{
    struct found *found = context;
    uint64_t index;
    const char *end;
    if (!index_of(name, &index, &end) || strlen(name) >= SNAPSHOT_NAME_BYTES) {
        return 0; /* Somebody else's file. */
    }
    if (found->count == FILES_MAX) {
        return -EMFILE;
    }
    memcpy(found->names[found->count++], name, strlen(name) + 1);
    return 0;
}

static void insert(struct snapshot_store *store, const struct snapshot_info *info)
{
    if (store->count == SNAPSHOTS_MAX) { /* The oldest is of the least use. */
        store->count--;
        memmove(store->list, store->list + 1, store->count * sizeof(store->list[0]));
    }
    uint32_t at = store->count;
    while (at > 0 && store->list[at - 1].header.index > info->header.index) {
        store->list[at] = store->list[at - 1];
        at--;
    }
    store->list[at] = *info;
    store->count++;
}

/* Reads a file whole. */
static int take_up(struct snapshot_store *store, const char *name, uint64_t index)
{
    struct snapshot_reader reader;
    int result = open_reader_named(&reader, store->io, name, index, &store->allocator);
    bool header_reads = reader.header.id != 0;
    if (result == 0) {
        result = snapshot_reader_verify(&reader);
    }
    struct snapshot_info info = {.header = reader.header, .damaged = result != 0};
    snapshot_reader_close(&reader);
    if (result == -ENOMEM || result == -EPROTONOSUPPORT) {
        return result;
    }
    if (!header_reads) {
        store->unreadable++;
        return 0;
    }
    if (info.header.cluster_id != store->cluster_id) {
        return -EXDEV;
    }
    insert(store, &info);
    return 0;
}

int snapshot_store_open(struct snapshot_store *store, struct wal_io *io, uint64_t cluster_id,
                        const struct raftcore_allocator *allocator)
{
    *store = (struct snapshot_store){.io = io, .allocator = *allocator, .cluster_id = cluster_id};
    struct found found = {.count = 0};
    int result = ZOO(snapshots_believed_at_once) ? 0 : io->ops->sync_directory(io); /* What is seen must stay (A23). */
    result = result == 0 ? io->ops->list(io, remember, &found) : result;
    for (uint32_t i = 0; result == 0 && i < found.count; i++) {
        uint64_t index;
        const char *end;
        if (!index_of(found.names[i], &index, &end)) {
            continue;
        }
        char name[SNAPSHOT_NAME_BYTES];
        name_of(index, "", name);
        if (strcmp(end, ".old") == 0 && io->ops->rename(io, found.names[i], name) == 0) {
            result = take_up(store, name, index); /* A crash came before what was to take its place. */
        } else if (*end != 0) {
            (void)io->ops->unlink(io, found.names[i]); /* Half made, or replaced. */
        } else {
            result = take_up(store, found.names[i], index);
        }
    }
    return result;
}

const struct snapshot_info *snapshot_store_newest(const struct snapshot_store *store, uint64_t below)
{
    for (uint32_t i = store->count; i-- > 0;) {
        if (!store->list[i].damaged && store->list[i].header.index < below) {
            return &store->list[i];
        }
    }
    return NULL;
}

struct snapshot_info *snapshot_store_find(struct snapshot_store *store, uint64_t index)
{
    for (uint32_t i = 0; i < store->count; i++) {
        if (store->list[i].header.index == index) {
            return &store->list[i];
        }
    }
    return NULL;
}

void snapshot_store_add(struct snapshot_store *store, const struct snapshot_header *header)
{
    struct snapshot_info *same = snapshot_store_find(store, header->index);
    if (same != NULL) {
        *same = (struct snapshot_info){.header = *header};
    } else {
        insert(store, &(struct snapshot_info){.header = *header});
    }
}

void snapshot_store_drop_old(struct snapshot_store *store)
{
    uint32_t kept = 0;
    for (uint32_t i = store->count; i-- > 0;) {
        if (kept < SNAPSHOTS_KEPT) {
            kept += !store->list[i].damaged;
            continue;
        }
        char name[SNAPSHOT_NAME_BYTES];
        name_of(store->list[i].header.index, "", name);
        if (store->io->ops->unlink(store->io, name) == 0) {
            store->count--;
            memmove(&store->list[i], &store->list[i + 1], (store->count - i) * sizeof(store->list[0]));
        }
    }
}
