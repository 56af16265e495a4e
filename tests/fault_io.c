/* fault_io.c - a real disk with faults in front of it.
 *
 * The happy path: every operation is counted, no rule concerns it, and the disk behind carries it out. When a rule
 * does, its error is the answer: from execute() at once, for a submitted operation from the next poll().
 *
 * What can fail: only what a rule says, and what the real disk does.
 *
 * Invariants: exactly one result for each operation; a failed operation has not touched the disk unless its rule says
 * so.
 *
 * May include: fault_io.h. */

#define _GNU_SOURCE
#include "tests/fault_io.h"

#include "wal/check.h"
#include "wal/format.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

enum { RULES_MAX = 8, FLIPS_MAX = 8, FILES_MAX = 4096 };

struct fault_io {
    struct wal_io io; /* First: the log sees this. */
    struct wal_io *disk;
    pthread_mutex_t lock; /* Guards all below. */
    pthread_cond_t gate;
    uint32_t shut; /* To these kinds. */
    struct fault_rule rules[RULES_MAX];
    size_t rule_count;
    struct fault_flip flips[FLIPS_MAX];
    size_t flip_count;
    uint64_t counts[FAULT_KINDS];
    uint64_t hits;
    uint32_t last_kind;
    uint64_t segment_of_file[FILES_MAX];
    struct wal_io_op *failed; /* Submitted, to be completed by poll. */
};

static struct fault_io *of(struct wal_io *io)
{
    return (struct fault_io *)io;
}

static void take(struct fault_io *fault)
{
    CHECK(pthread_mutex_lock(&fault->lock) == 0);
}

static void give(struct fault_io *fault)
{
    CHECK(pthread_mutex_unlock(&fault->lock) == 0);
}

/* --- rules --------------------------------------------------------------------------------------- */

/* Counts one operation; the negative errno that it must fail with, or 0. */
static int concerned(struct fault_io *fault, uint32_t kind, bool *carried_out)
{
    int error = 0;
    *carried_out = false;
    take(fault);
    fault->counts[__builtin_ctz(kind)]++;
    for (size_t i = 0; i < fault->rule_count; i++) {
        struct fault_rule *rule = &fault->rules[i];
        if ((rule->kinds & kind) == 0 || rule->nth == 0) {
            continue;
        }
        if (rule->nth > 1) {
            rule->nth--;
            continue;
        }
        rule->nth = rule->forever ? 1 : 0;
        if (error == 0) {
            error = -rule->error;
            *carried_out = rule->carried_out;
            fault->hits++;
            fault->last_kind = kind;
        }
    }
    give(fault);
    return error;
}

static int refused(struct wal_io *io, uint32_t kind)
{
    bool carried_out;
    return concerned(of(io), kind, &carried_out);
}

static uint32_t kind_of(const struct wal_io_op *op)
{
    switch (op->kind) {
    case WAL_IO_READ:
        return FAULT_READ;
    case WAL_IO_WRITE:
        return FAULT_WRITE;
    case WAL_IO_WRITE_DURABLE:
        return FAULT_WRITE_DURABLE;
    case WAL_IO_SYNC:
        break;
    }
    return FAULT_SYNC;
}

static void flip_bytes(struct fault_io *fault, struct wal_io_op *op)
{
    take(fault);
    for (size_t i = 0; i < fault->flip_count; i++) {
        struct fault_flip *flip = &fault->flips[i];
        if (flip->mask == 0 || fault->segment_of_file[op->file] != flip->segment || flip->offset < op->offset ||
            flip->offset >= op->offset + op->moved_bytes) {
            continue;
        }
        ((uint8_t *)op->buffer)[flip->offset - op->offset] ^= flip->mask;
        fault->hits++;
        if (flip->once) {
            flip->mask = 0;
        }
    }
    give(fault);
}

/* --- control plane ------------------------------------------------------------------------------- */

static int fault_open(struct wal_io *io, const char *name, unsigned flags, int *file_out)
{
    int error = refused(io, FAULT_OPEN);
    if (error == 0) {
        error = of(io)->disk->ops->open(of(io)->disk, name, flags, file_out);
    }
    if (error == 0) {
        CHECK(*file_out >= 0 && *file_out < FILES_MAX);
        take(of(io));
        of(io)->segment_of_file[*file_out] = format_segment_of_name(name);
        give(of(io));
    }
    return error;
}

/* Closes in any case, as close(2) does. */
static int fault_close(struct wal_io *io, int file)
{
    int error = refused(io, FAULT_CLOSE);
    int real = of(io)->disk->ops->close(of(io)->disk, file);
    return error != 0 ? error : real;
}

static int fault_file_bytes(struct wal_io *io, int file, uint64_t *bytes_out)
{
    int error = refused(io, FAULT_FILE_BYTES);
    return error != 0 ? error : of(io)->disk->ops->file_bytes(of(io)->disk, file, bytes_out);
}

static int fault_allocate(struct wal_io *io, int file, uint64_t bytes)
{
    int error = refused(io, FAULT_ALLOCATE);
    return error != 0 ? error : of(io)->disk->ops->allocate(of(io)->disk, file, bytes);
}

static int fault_rename(struct wal_io *io, const char *from, const char *to)
{
    int error = refused(io, FAULT_RENAME);
    if (error == 0) {
        error = of(io)->disk->ops->rename(of(io)->disk, from, to);
    }
    return error;
}

static int fault_unlink(struct wal_io *io, const char *name)
{
    int error = refused(io, FAULT_UNLINK);
    return error != 0 ? error : of(io)->disk->ops->unlink(of(io)->disk, name);
}

static int fault_list(struct wal_io *io, int (*each)(void *context, const char *name), void *context)
{
    int error = refused(io, FAULT_LIST);
    return error != 0 ? error : of(io)->disk->ops->list(of(io)->disk, each, context);
}

static int fault_sync_directory(struct wal_io *io)
{
    int error = refused(io, FAULT_SYNC_DIRECTORY);
    return error != 0 ? error : of(io)->disk->ops->sync_directory(of(io)->disk);
}

static int fault_sync_parent(struct wal_io *io)
{
    int error = refused(io, FAULT_SYNC_PARENT);
    return error != 0 ? error : of(io)->disk->ops->sync_parent(of(io)->disk);
}

static int fault_lock_directory(struct wal_io *io)
{
    int error = refused(io, FAULT_LOCK_DIRECTORY);
    return error != 0 ? error : of(io)->disk->ops->lock_directory(of(io)->disk);
}

static int fault_lock_file(struct wal_io *io, int file)
{
    int error = refused(io, FAULT_LOCK_FILE);
    return error != 0 ? error : of(io)->disk->ops->lock_file(of(io)->disk, file);
}

static int fault_forget_cache(struct wal_io *io, int file)
{
    int error = refused(io, FAULT_FORGET_CACHE);
    return error != 0 ? error : of(io)->disk->ops->forget_cache(of(io)->disk, file);
}

/* --- data plane ---------------------------------------------------------------------------------- */

static int fault_execute(struct wal_io *io, struct wal_io_op *op)
{
    struct fault_io *fault = of(io);
    uint32_t kind = kind_of(op);
    bool carried_out;
    int error = concerned(fault, kind, &carried_out);
    take(fault);
    while ((fault->shut & kind) != 0) {
        CHECK(pthread_cond_wait(&fault->gate, &fault->lock) == 0);
    }
    give(fault);
    if (error == 0 || carried_out) {
        int real = fault->disk->ops->execute(fault->disk, op);
        if (real == 0 && kind == FAULT_READ) {
            flip_bytes(fault, op);
        }
    }
    if (error != 0) {
        op->result = error;
        op->moved_bytes = 0;
    }
    return op->result;
}

static int fault_submit(struct wal_io *io, struct wal_io_op *op)
{
    struct fault_io *fault = of(io);
    bool carried_out;
    int error = concerned(fault, kind_of(op), &carried_out);
    if (error == 0) {
        return fault->disk->ops->submit(fault->disk, op);
    }
    if (carried_out) {
        (void)fault->disk->ops->execute(fault->disk, op);
    }
    op->result = error;
    op->moved_bytes = 0;
    take(fault);
    op->next = fault->failed;
    fault->failed = op;
    give(fault);
    uint64_t one = 1; /* The disk's descriptor is an eventfd, which its poll() empties. */
    CHECK(write(fault->disk->ops->event_fd(fault->disk), &one, sizeof(one)) == sizeof(one));
    return 0;
}

static unsigned complete_failed(struct fault_io *fault)
{
    take(fault);
    struct wal_io_op *op = fault->failed;
    fault->failed = NULL;
    give(fault);
    unsigned completed = 0;
    while (op != NULL) {
        struct wal_io_op *next = op->next;
        op->done(op);
        completed++;
        op = next;
    }
    return completed;
}

static int fault_poll(struct wal_io *io, unsigned done_min)
{
    struct fault_io *fault = of(io);
    unsigned completed = complete_failed(fault);
    do {
        int more = fault->disk->ops->poll(fault->disk, completed < done_min ? 1 : 0);
        if (more < 0) {
            return completed != 0 ? (int)completed : more;
        }
        completed += (unsigned)more + complete_failed(fault);
    } while (completed < done_min);
    return (int)completed;
}

static int fault_event_fd(struct wal_io *io)
{
    return of(io)->disk->ops->event_fd(of(io)->disk);
}

static void fault_destroy(struct wal_io *io)
{
    (void)io; /* fault_io_free does it: the disk is the test's, not the log's. */
}

static const struct wal_io_ops fault_ops = {
    .open = fault_open,
    .close = fault_close,
    .file_bytes = fault_file_bytes,
    .allocate = fault_allocate,
    .rename = fault_rename,
    .unlink = fault_unlink,
    .list = fault_list,
    .sync_directory = fault_sync_directory,
    .sync_parent = fault_sync_parent,
    .lock_directory = fault_lock_directory,
    .lock_file = fault_lock_file,
    .forget_cache = fault_forget_cache,
    .execute = fault_execute,
    .submit = fault_submit,
    .poll = fault_poll,
    .event_fd = fault_event_fd,
    .destroy = fault_destroy,
};

/* --- making and steering ------------------------------------------------------------------------- */

struct fault_io *fault_io_make(const char *directory, enum wal_backend backend)
{
    struct wal_io *disk = NULL;
    int error = backend == WAL_BACKEND_URING ? wal_io_uring(directory, WAL_IO_DIRECTORY_CREATE, &disk)
                                             : wal_io_posix(directory, WAL_IO_DIRECTORY_CREATE, &disk);
    if (error != 0) {
        return NULL;
    }
    struct fault_io *fault = calloc(1, sizeof(*fault));
    CHECK(fault != NULL);
    fault->disk = disk;
    fault->io.ops = &fault_ops;
    fault->io.caps = disk->caps;
    CHECK(pthread_mutex_init(&fault->lock, NULL) == 0 && pthread_cond_init(&fault->gate, NULL) == 0);
    return fault;
}

void fault_io_free(struct fault_io *fault)
{
    fault->disk->ops->destroy(fault->disk);
    (void)pthread_cond_destroy(&fault->gate);
    (void)pthread_mutex_destroy(&fault->lock);
    free(fault);
}

struct wal_io *fault_io_disk(struct fault_io *fault)
{
    return &fault->io;
}

void fault_io_arm(struct fault_io *fault, struct fault_rule rule)
{
    take(fault);
    CHECK(fault->rule_count < RULES_MAX && rule.error > 0 && rule.nth > 0);
    fault->rules[fault->rule_count++] = rule;
    give(fault);
}

void fault_io_flip(struct fault_io *fault, struct fault_flip flip)
{
    take(fault);
    CHECK(fault->flip_count < FLIPS_MAX);
    fault->flips[fault->flip_count++] = flip;
    give(fault);
}

void fault_io_clear(struct fault_io *fault)
{
    take(fault);
    fault->rule_count = 0;
    fault->flip_count = 0;
    give(fault);
}

uint64_t fault_io_count(struct fault_io *fault, uint32_t kinds)
{
    uint64_t sum = 0;
    take(fault);
    for (uint32_t i = 0; i < FAULT_KINDS; i++) {
        if ((kinds & (1u << i)) != 0) {
            sum += fault->counts[i];
        }
    }
    give(fault);
    return sum;
}

uint64_t fault_io_hits(struct fault_io *fault)
{
    take(fault);
    uint64_t hits = fault->hits;
    give(fault);
    return hits;
}

const char *fault_io_last(struct fault_io *fault)
{
    static const char *const words[FAULT_KINDS] = {"open",        "close",          "file_bytes",    "allocate",
                                                   "rename",      "unlink",         "list",          "sync_directory",
                                                   "sync_parent", "lock_directory", "lock_file",     "forget_cache",
                                                   "read",        "write",          "write_durable", "sync"};
    take(fault);
    const char *word = fault->last_kind != 0 ? words[__builtin_ctz(fault->last_kind)] : "none";
    give(fault);
    return word;
}

void fault_io_gate(struct fault_io *fault, uint32_t kinds)
{
    take(fault);
    fault->shut = kinds;
    CHECK(pthread_cond_broadcast(&fault->gate) == 0);
    give(fault);
}
