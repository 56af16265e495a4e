/* rehearse.c - a disk on which a log can be changed, and nothing of it reaches the disk below.
 *
 * The happy path: a file is read from the directory; what was written over it since lies in memory, piece by piece in
 * the order of the writes, and is laid over what was read. Pieces of zeros, as the library makes files of, are kept as
 * a length alone.
 *
 * What can fail: memory, -ENOMEM; reads, as the disk below says. Names are few: a log's files.
 *
 * Invariants: the disk below is opened for reading, and only read; no lock is taken there. */

#define _GNU_SOURCE
#include "tools/rehearse.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = 256 };

/* What was written in one go. */
struct piece {
    uint64_t offset, size;
    uint8_t *bytes; /* NULL: zeros. */
};

struct layer_file {
    char name[NAME_BYTES];  /* "": removed, or another one has the name. */
    char below[NAME_BYTES]; /* Its name on the disk below; "": it was made here. */
    bool emptied;           /* What the disk below has of it does not count. */
    int fd;                 /* On the disk below, while it is open; -1: not. */
    unsigned opened;
    uint64_t bytes_below, bytes;
    struct piece *pieces;
    size_t count;
};

struct layer {
    struct wal_io io;
    struct wal_io *below;
    struct layer_file *files; /* Their places are the descriptors. */
    size_t count;
};

static struct layer *layer_of(struct wal_io *io)
{
    return (struct layer *)(void *)io;
}

/* --- names --------------------------------------------------------------------------------------- */

static struct layer_file *find(struct layer *layer, const char *name)
{
    for (size_t i = 0; i < layer->count; i++) {
        if (strcmp(layer->files[i].name, name) == 0) {
            return &layer->files[i];
        }
    }
    return NULL;
}

/* Is the file that the disk below has under this name one of ours, whatever it is called here? */
static bool is_known_below(const struct layer *layer, const char *name)
{
    for (size_t i = 0; i < layer->count; i++) {
        if (strcmp(layer->files[i].below, name) == 0) {
            return true;
        }
    }
    return false;
}

static struct layer_file *add(struct layer *layer, const char *name, const char *below)
{
    struct layer_file *files = reallocarray(layer->files, layer->count + 1, sizeof(*files));
    if (files == NULL) {
        return NULL;
    }
    layer->files = files;
    struct layer_file *file = &files[layer->count++];
    *file = (struct layer_file){.fd = -1};
    (void)snprintf(file->name, sizeof(file->name), "%s", name);
    (void)snprintf(file->below, sizeof(file->below), "%s", below);
    return file;
}

static int open_below(struct layer *layer, struct layer_file *file)
{
    if (file->below[0] == '\0' || file->emptied || file->fd >= 0) {
        return 0;
    }
    int result = layer->below->ops->open(layer->below, file->below, 0, &file->fd);
    return result == 0 ? layer->below->ops->file_bytes(layer->below, file->fd, &file->bytes_below) : result;
}

/* The file of this name, which the disk below may have. *found is NULL when there is none. */
static int look_up(struct layer *layer, const char *name, struct layer_file **found)
{
    *found = find(layer, name);
    if (*found != NULL || is_known_below(layer, name)) {
        return 0;
    }
    int fd;
    int result = layer->below->ops->open(layer->below, name, 0, &fd);
    if (result != 0) {
        return result == -ENOENT ? 0 : result;
    }
    *found = strlen(name) < NAME_BYTES ? add(layer, name, name) : NULL;
    if (*found == NULL) {
        (void)layer->below->ops->close(layer->below, fd);
        return -ENOMEM;
    }
    (*found)->fd = fd;
    result = layer->below->ops->file_bytes(layer->below, fd, &(*found)->bytes_below);
    (*found)->bytes = (*found)->bytes_below;
    return result;
}

static void forget_pieces(struct layer_file *file)
{
    for (size_t i = 0; i < file->count; i++) {
        free(file->pieces[i].bytes);
    }
    free(file->pieces);
    file->pieces = NULL;
    file->count = 0;
}

/* --- the control plane --------------------------------------------------------------------------- */

static int layer_open(struct wal_io *io, const char *name, unsigned flags, int *file_out)
{
    struct layer *layer = layer_of(io);
    struct layer_file *file;
    int result = look_up(layer, name, &file);
    if (result != 0) {
        return result;
    }
    if (file == NULL && (flags & WAL_IO_OPEN_CREATE) == 0) {
        return -ENOENT;
    }
    if (file == NULL) {
        file = strlen(name) < NAME_BYTES ? add(layer, name, "") : NULL;
        if (file == NULL) {
            return -ENOMEM;
        }
    } else if ((flags & WAL_IO_OPEN_CREATE) != 0) {
        forget_pieces(file);
        file->emptied = true;
        file->bytes = 0;
    }
    result = open_below(layer, file);
    file->opened += result == 0;
    *file_out = (int)(file - layer->files);
    return result;
}

static int layer_close(struct wal_io *io, int number)
{
    struct layer *layer = layer_of(io);
    struct layer_file *file = &layer->files[number];
    file->opened -= file->opened != 0;
    if (file->opened == 0 && file->fd >= 0) { /* A log may have more files than a process descriptors. */
        (void)layer->below->ops->close(layer->below, file->fd);
        file->fd = -1;
    }
    return 0;
}

static int layer_file_bytes(struct wal_io *io, int number, uint64_t *bytes_out)
{
    *bytes_out = layer_of(io)->files[number].bytes;
    return 0;
}

static int layer_allocate(struct wal_io *io, int number, uint64_t bytes)
{
    struct layer_file *file = &layer_of(io)->files[number];
    file->bytes = file->bytes > bytes ? file->bytes : bytes;
    return 0;
}

static int layer_rename(struct wal_io *io, const char *from, const char *to)
{
    struct layer *layer = layer_of(io);
    struct layer_file *target;
    struct layer_file *file;
    int result = look_up(layer, to, &target);
    if (result == 0 && target != NULL) {
        return -EEXIST;
    }
    result = result == 0 ? look_up(layer, from, &file) : result;
    if (result == 0 && (file == NULL || strlen(to) >= NAME_BYTES)) {
        return -ENOENT;
    }
    if (result == 0) {
        (void)snprintf(file->name, sizeof(file->name), "%s", to);
    }
    return result;
}

static int layer_unlink(struct wal_io *io, const char *name)
{
    struct layer_file *file;
    int result = look_up(layer_of(io), name, &file);
    if (result == 0 && file == NULL) {
        return -ENOENT;
    }
    if (result == 0) {
        file->name[0] = '\0';
    }
    return result;
}

struct listing {
    struct layer *layer;
    int (*each)(void *context, const char *name);
    void *context;
};

static int list_below(void *context, const char *name)
{
    const struct listing *listing = context;
    return is_known_below(listing->layer, name) || find(listing->layer, name) != NULL
               ? 0
               : listing->each(listing->context, name);
}

static int layer_list(struct wal_io *io, int (*each)(void *context, const char *name), void *context)
{
    struct layer *layer = layer_of(io);
    struct listing listing = {layer, each, context};
    int result = layer->below->ops->list(layer->below, list_below, &listing);
    for (size_t i = 0; result == 0 && i < layer->count; i++) {
        char name[NAME_BYTES]; /* Whoever is told may open it, and the list may move. */
        memcpy(name, layer->files[i].name, sizeof(name));
        result = name[0] != '\0' ? each(context, name) : 0;
    }
    return result;
}

static int layer_nothing(struct wal_io *io)
{
    (void)io;
    return 0;
}

static int layer_nothing_of_file(struct wal_io *io, int number)
{
    (void)io;
    (void)number;
    return 0;
}

/* --- the data plane ------------------------------------------------------------------------------ */

static int read_file(struct layer *layer, const struct layer_file *file, struct wal_io_op *op)
{
    uint64_t bytes = op->offset >= file->bytes ? 0 : file->bytes - op->offset;
    bytes = bytes < op->size ? bytes : op->size;
    struct wal_io_op below = {
        .kind = WAL_IO_READ, .file = file->fd, .size = op->size, .offset = op->offset, .buffer = op->buffer};
    if (file->fd >= 0 && op->offset < file->bytes_below) {
        int result = layer->below->ops->execute(layer->below, &below);
        if (result != 0) {
            return result;
        }
    }
    uint8_t *to = op->buffer;
    memset(to + below.moved_bytes, 0, op->size - below.moved_bytes);
    for (size_t i = 0; i < file->count; i++) {
        const struct piece *piece = &file->pieces[i];
        uint64_t from = piece->offset > op->offset ? piece->offset : op->offset;
        uint64_t end = piece->offset + piece->size;
        end = end < op->offset + op->size ? end : op->offset + op->size;
        if (from < end && piece->bytes != NULL) {
            memcpy(to + (from - op->offset), piece->bytes + (from - piece->offset), end - from);
        } else if (from < end) {
            memset(to + (from - op->offset), 0, end - from);
        }
    }
    op->moved_bytes = (uint32_t)bytes;
    return 0;
}

static int write_file(struct layer_file *file, struct wal_io_op *op)
{
    const uint8_t *from = op->buffer;
    bool zero = op->size == 0 || (from[0] == 0 && memcmp(from, from + 1, op->size - 1) == 0);
    struct piece *pieces = reallocarray(file->pieces, file->count + 1, sizeof(*pieces));
    file->pieces = pieces != NULL ? pieces : file->pieces;
    struct piece piece = {.offset = op->offset, .size = op->size, .bytes = zero ? NULL : malloc(op->size)};
    if (pieces == NULL || (!zero && piece.bytes == NULL)) {
        free(piece.bytes);
        return -ENOMEM;
    }
    if (!zero) {
        memcpy(piece.bytes, from, op->size);
    }
    file->pieces[file->count++] = piece;
    file->bytes = file->bytes > op->offset + op->size ? file->bytes : op->offset + op->size;
    op->moved_bytes = op->size;
    return 0;
}

static int layer_execute(struct wal_io *io, struct wal_io_op *op)
{
    struct layer *layer = layer_of(io);
    struct layer_file *file = &layer->files[op->file];
    op->moved_bytes = 0;
    op->write_ns = op->sync_ns = 0;
    op->result = op->kind == WAL_IO_READ   ? read_file(layer, file, op)
                 : op->kind == WAL_IO_SYNC ? 0
                                           : write_file(file, op);
    return op->result;
}

static int layer_submit(struct wal_io *io, struct wal_io_op *op)
{
    (void)io;
    (void)op;
    return -ENOSYS;
}

static int layer_poll(struct wal_io *io, unsigned done_min)
{
    (void)io;
    (void)done_min;
    return 0;
}

static int layer_event_fd(struct wal_io *io)
{
    (void)io;
    return -1;
}

static void layer_destroy(struct wal_io *io)
{
    struct layer *layer = layer_of(io);
    for (size_t i = 0; i < layer->count; i++) {
        forget_pieces(&layer->files[i]);
        if (layer->files[i].fd >= 0) {
            (void)layer->below->ops->close(layer->below, layer->files[i].fd);
        }
    }
    layer->below->ops->destroy(layer->below);
    free(layer->files);
    free(layer);
}

int rehearsal_disk(const char *directory, struct wal_io **io_out)
{
    static const struct wal_io_ops ops = {
        .open = layer_open,
        .close = layer_close,
        .file_bytes = layer_file_bytes,
        .allocate = layer_allocate,
        .rename = layer_rename,
        .unlink = layer_unlink,
        .list = layer_list,
        .sync_directory = layer_nothing,
        .sync_parent = layer_nothing,
        .lock_directory = layer_nothing,
        .lock_file = layer_nothing_of_file,
        .forget_cache = layer_nothing_of_file,
        .execute = layer_execute,
        .submit = layer_submit,
        .poll = layer_poll,
        .event_fd = layer_event_fd,
        .destroy = layer_destroy,
    };
    struct layer *layer = calloc(1, sizeof(*layer));
    int result = layer == NULL ? -ENOMEM : wal_io_posix(directory, WAL_IO_BUFFERED, &layer->below);
    if (result != 0) {
        free(layer);
        return result;
    }
    layer->io.ops = &ops;
    layer->io.caps = layer->below->caps;
    layer->io.caps.asynchronous = false;
    *io_out = &layer->io;
    return 0;
}
