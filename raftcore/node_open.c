/* node_open.c - a node's beginning and end.
 *
 * The happy path: the directories are opened, a new node's first snapshot file (index 0, with the first members), its
 * log, and a mark that there is a log are made, in this order; snapshots are read whole, the log is opened and read;
 * the core starts with what was found, and the state machine is asked to be set to the newest snapshot.
 *
 * What can fail, and what is left: an option that makes no sense, a disk, damage that only an operator may decide
 * about: nothing is open then, and report->text says what and where. A crash while a node is made leaves a snapshot
 * file without a log, or an empty log: the next open with `create` goes on from there.
 *
 * Invariants: the core gets a session that no earlier start had; nothing is said to anybody before its recovery unit is
 * durable (the core's own rule B4); what is opened is closed in the reverse order.
 *
 * May include: node_parts.h. */

#define _GNU_SOURCE
#include "raftcore/node_parts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum { PIECE_BYTES = 256 << 10 };

/* --- options ------------------------------------------------------------------------------------- */

static int tell(struct raftcore_node *node, int status, const char *text)
{
    (void)snprintf(node->report.text, sizeof(node->report.text), "%.*s", (int)sizeof(node->report.text) - 1, text);
    return status;
}

/* What comes in one message is one append of the log, so it must fit into a batch. */
static void fit_messages(struct raftcore_node_options *options)
{
    uint32_t batch_bytes = options->wal != NULL ? options->wal->batch_bytes_max : 0;
    uint32_t half_bytes = (batch_bytes == 0 ? 2U << 20 : batch_bytes) / 2;
    uint32_t entries_max = half_bytes / 32 < 2 ? 2 : half_bytes / 32, bytes_max = half_bytes - half_bytes / 8;
    struct raftcore_options *core = &options->core;
    bool too_large = core->message_bytes == 0 ? bytes_max < 1U << 20 : core->message_bytes > bytes_max;
    core->message_bytes = too_large ? bytes_max : core->message_bytes;
    bool too_many = core->message_entries == 0 ? entries_max < 4096 : core->message_entries > entries_max;
    core->message_entries = too_many ? entries_max : core->message_entries;
}

static int complete(struct raftcore_node *node)
{
    struct raftcore_node_options *options = &node->options;
    if (options->core.id == 0 || options->cluster_id == 0) {
        return tell(node, -EINVAL, "options.core.id and options.cluster_id must not be 0");
    }
    if (options->core.piece_bytes % SNAPSHOT_BLOCK_BYTES != 0) {
        return tell(node, -EINVAL, "options.core.piece_bytes must be a multiple of 4,096");
    }
    fit_messages(options);
    options->core.size = sizeof(options->core);
    options->core.piece_bytes = options->core.piece_bytes == 0 ? PIECE_BYTES : options->core.piece_bytes;
    options->snapshot_bytes = options->snapshot_bytes == 0 ? UINT64_C(64) << 20 : options->snapshot_bytes;
    options->keep_entries = options->keep_entries == 0 ? 1024 : options->keep_entries;
    if (options->now_ns == 0) { /* What was promised before the start is counted from here (A32). */
        struct timespec now;
        (void)clock_gettime(CLOCK_BOOTTIME, &now);
        options->now_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    }
    uint64_t random[2];
    if ((options->session == 0 || options->core.seed == 0) &&
        getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
        return tell(node, -EIO, "the kernel's random number generator gave nothing");
    }
    options->session = options->session == 0 ? random[0] | 1 : options->session;
    options->core.seed = options->core.seed == 0 ? random[1] | 1 : options->core.seed;
    return 0;
}

/* --- opening ------------------------------------------------------------------------------------- */

/* A new node's first file: who its first members are. */
static int make_first_snapshot(struct raftcore_node *node)
{
    struct snapshot_header header = {.cluster_id = node->options.cluster_id};
    if (node->options.first_members != NULL) {
        header.configuration = *node->options.first_members;
    }
    struct snapshot_writer writer;
    int status = snapshot_writer_begin(&writer, node->snapshots_io, &header, &node->memory.allocator);
    status = status == 0 ? snapshot_writer_finish(&writer, &header) : status;
    if (status == 0) {
        status = node->snapshots_io->ops->sync_parent(node->snapshots_io);
    }
    if (status != 0) {
        return tell(node, status, "the first snapshot file could not be written");
    }
    snapshot_store_add(&node->snapshots, &header);
    return 0;
}

/* Stands in the directory of snapshots as soon as there is a log, so that a log that is lost is not made anew: this
 * node would have forgotten whom it voted for (B1). */
static const char begun_name[] = "log-begun";

struct seen {
    bool log, begun;
};

static int note_log(void *context, const char *name)
{
    struct seen *seen = context;
    unsigned number;
    seen->log = seen->log || storage_is_log_name(name, &number);
    return 0;
}

static int note_begun(void *context, const char *name)
{
    struct seen *seen = context;
    seen->begun = seen->begun || strcmp(name, begun_name) == 0;
    return 0;
}

static int look(struct raftcore_node *node, struct seen *seen)
{
    *seen = (struct seen){.log = false};
    int status = node->disk->ops->list(node->disk, note_log, seen);
    return status == 0 ? node->snapshots_io->ops->list(node->snapshots_io, note_begun, seen) : status;
}

static int mark_begun(struct raftcore_node *node)
{
    struct wal_io *io = node->snapshots_io;
    struct seen seen;
    int file, status = look(node, &seen);
    if (status != 0 || seen.begun) {
        return status;
    }
    status = io->ops->open(io, begun_name, WAL_IO_OPEN_WRITE | WAL_IO_OPEN_CREATE, &file);
    if (status == 0) {
        (void)io->ops->close(io, file);
        status = io->ops->sync_directory(io);
    }
    return status == 0 ? 0 : tell(node, status, "the directory of snapshots could not be written to");
}

static int open_snapshots(struct raftcore_node *node)
{
    const struct raftcore_node_options *options = &node->options;
    int status = node->disk->ops->open(node->disk, "snapshots", options->create, &node->snapshots_io);
    if (status != 0) {
        return tell(node, status,
                    status == -ENOENT ? "no node here" : "the directory of snapshots could not be opened");
    }
    status = node->snapshots_io->ops->lock_directory(node->snapshots_io);
    if (status != 0) {
        return tell(node, status, status == -EBUSY ? "the node is running already" : "the node could not be locked");
    }
    status =
        node->snapshots_io->ops->sync_parent(node->snapshots_io); /* What counts below must not go with its name. */
    if (status != 0) {
        return tell(node, status, "the node's directory could not be synced");
    }
    status = snapshot_store_open(&node->snapshots, node->snapshots_io, options->cluster_id, &node->memory.allocator);
    if (status != 0) {
        return tell(node, status,
                    status == -EXDEV ? "a snapshot file belongs to another cluster"
                                     : "the directory of snapshots could not be read");
    }
    for (uint32_t i = 0; i < node->snapshots.count; i++) {
        node->report.snapshots_damaged += node->snapshots.list[i].damaged;
    }
    node->report.snapshots_damaged += node->snapshots.unreadable;
    struct seen seen;
    status = look(node, &seen);
    node->begun = seen.begun; /* From then on no log is made anew. */
    if (status == 0 && seen.begun && !seen.log) {
        return tell(
            node, WAL_ECORRUPT,
            "the node's log is lost, and with it whom it voted for: remove the node from the cluster, empty its "
            "directory, and add it anew");
    }
    bool is_new = node->snapshots.count == 0 && node->snapshots.unreadable == 0 && !seen.log;
    if (status == 0 && is_new && options->create) {
        return make_first_snapshot(node);
    }
    return status;
}

static int open_storage(struct raftcore_node *node, struct raftcore_start *start)
{
    const struct storage_options options = {.disk = node->disk,
                                            .snapshots = &node->snapshots,
                                            .wal = node->options.wal,
                                            .allocator = node->memory.allocator,
                                            .id = node->options.core.id,
                                            .cluster_id = node->options.cluster_id,
                                            .log_id = node->options.core.log_id,
                                            .create = node->options.create && !node->begun,
                                            .accept_alone = node->options.accept_alone};
    int status = storage_open(&node->storage, &options, start);
    struct raftcore_node_report *report = &node->report;
    report->verdict = node->storage.verdict;
    if (status != 0) {
        return tell(node, status, node->storage.text);
    }
    status = mark_begun(node);
    if (status != 0) {
        return status;
    }
    report->created = node->storage.created;
    report->rebuilt = node->storage.rebuilt;
    report->uncertain = start->tail != RAFTCORE_TAIL_EXACT;
    report->holes = start->hole_count;
    report->first_index = start->first_index;
    report->last_index = start->last_index;
    report->snapshot_index = start->snapshot.index;
    report->log_id = node->options.core.log_id = node->storage.metadata.log_id;
    return 0;
}

static int start_core(struct raftcore_node *node, struct raftcore_start *start)
{
    node->options.core.allocator = node->memory.allocator;
    int status = raftcore_new(&node->core, &node->options.core);
    if (status != 0) {
        return tell(node, status, status == -ENOMEM ? "out of memory" : "the core refused its options (raftcore.h)");
    }
    start->session = node->options.session;
    start->applied = start->snapshot.index;
    node->applied = node->last_given = start->applied;
    node->apply_next = node->apply_end = start->applied + 1;
    node->is_empty = start->snapshot.index > 0;
    node->now_ns = node->options.now_ns;
    struct raftcore_event event = {.kind = RAFTCORE_START, .start = start};
    int reason = node_step(node, &event);
    if (reason == RAFTCORE_REASON_MEMORY) {
        return tell(node, -ENOMEM, "out of memory");
    }
    if (reason < 0) { /* The core took it; what it wants durable because of it was not written. */
        return tell(node, node->storage.failed ? node->storage.status : reason, node->failed);
    }
    if (reason != 0) {
        return tell(node, WAL_ECORRUPT, "the core refused what was found: log and snapshot do not fit together");
    }
    if (start->snapshot.index > 0 && !start->snapshot_damaged) {
        const struct snapshot_info *info = snapshot_store_find(&node->snapshots, start->snapshot.index);
        struct queued *queued = node_queue(node, RAFTCORE_ITEM_RESTORE);
        if (queued == NULL || info == NULL) {
            return tell(node, -ENOMEM, "out of memory");
        }
        queued->item.index = start->snapshot.index;
        queued->size = info->header.state_bytes;
    }
    return 0;
}

static int open_parts(struct raftcore_node *node, const char *path)
{
    int status = complete(node);
    node->disk = node->options.disk;
    if (status == 0 && node->disk == NULL) {
        bool buffered = node->options.wal != NULL && (node->options.wal->flags & WAL_BUFFERED) != 0;
        status = raftcore_disk_open(path, node->options.create, buffered, &node->disk);
        node->owns_disk = status == 0;
        status = status == 0 ? 0 : tell(node, status, "the node's directory could not be opened");
    }
    struct raftcore_start start;
    status = status == 0 ? open_snapshots(node) : status;
    status = status == 0 ? open_storage(node, &start) : status;
    if (status == 0) {
        status = start_core(node, &start);
        storage_started(&node->storage);
    }
    if (status == 0 && node->owns_disk) {
        int fd = raftcore_node_fd(node);
        status = fd >= 0 ? 0 : tell(node, fd, "no descriptor for the loop");
    }
    return status;
}

static int refuse(struct raftcore_node_report *report, int status, const char *text)
{
    if (report != NULL) {
        (void)snprintf(report->text, sizeof(report->text), "%s", text);
    }
    return status;
}

int raftcore_node_open(const char *path, const struct raftcore_node_options *options, struct raftcore_node **node,
                       struct raftcore_node_report *report)
{
    *node = NULL;
    if (report != NULL) {
        *report = (struct raftcore_node_report){.created = false};
    }
    if (options == NULL || options->size != sizeof(*options)) { /* Nothing behind the size may be looked at. */
        return refuse(report, -EINVAL, "options.size is not that of this version");
    }
    struct memory memory = {.allocator = options->core.allocator};
    struct raftcore_node *made = memory_resize(&memory, NULL, 0, sizeof(*made));
    if (made == NULL) {
        return refuse(report, -ENOMEM, "out of memory");
    }
    made->memory = memory;
    made->options = *options;
    if (options->wal != NULL) {
        made->wal = *options->wal;
        made->options.wal = &made->wal;
    }
    made->payloads.next = made->payloads.previous = &made->payloads;
    made->wake_fd = made->poll_fd = made->log_fd = -1;
    made->deadline_ns = RAFTCORE_INFINITY;
    (void)pthread_mutex_init(&made->lock, NULL);
    int status = open_parts(made, path);
    if (report != NULL) {
        *report = made->report;
    }
    if (status != 0) {
        (void)raftcore_node_close(made);
        return status;
    }
    *node = made;
    return 0;
}

/* --- the end ------------------------------------------------------------------------------------- */

static void close_queue(struct raftcore_node *node)
{
    for (uint32_t i = 0; i < node->item_count; i++) {
        struct queued *queued = &node->items[node->item_head + i];
        if (queued->bytes != NULL) {
            memory_resize(&node->memory, queued->bytes, queued->size, 0);
        }
    }
    if (node->current.bytes != NULL) {
        memory_resize(&node->memory, node->current.bytes, node->current.size, 0);
    }
    memory_resize(&node->memory, node->items, node->item_capacity * sizeof(*node->items), 0);
    memory_resize(&node->memory, node->entries, node->entry_capacity * sizeof(*node->entries), 0);
}

/* Payloads of entries that the core held. */
static void free_payloads(struct raftcore_node *node)
{
    while (node->payloads.next != &node->payloads) {
        struct payload_block *block = node->payloads.next;
        block->references = 1;
        payload_drop(&node->memory, block);
    }
}

int raftcore_node_close(struct raftcore_node *node)
{
    if (node == NULL) {
        return 0;
    }
    node_drop_jobs(node);
    node_worker_close(node);
    node_snapshots_close(node);
    int status = storage_close(&node->storage);
    raftcore_free(node->core);
    free_payloads(node);
    close_queue(node);
    if (node->snapshots_io != NULL) {
        node->snapshots_io->ops->destroy(node->snapshots_io);
    }
    if (node->owns_disk) {
        node->disk->ops->destroy(node->disk);
    }
    const int fds[] = {node->poll_fd, node->wake_fd};
    for (unsigned i = 0; i < 2; i++) {
        if (fds[i] >= 0) {
            (void)close(fds[i]);
        }
    }
    (void)pthread_mutex_destroy(&node->lock);
    struct memory memory = node->memory;
    memory_resize(&memory, node, sizeof(*node), 0);
    return status;
}

/* --- the descriptor ------------------------------------------------------------------------------ */

static int watch(int poll_fd, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    return epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

/* A repaired log is another handle, with another descriptor; the old one has left with its log. */
int node_watch_log(struct raftcore_node *node)
{
    node->log_fd = wal_event_fd(node->storage.log);
    return node->log_fd < 0 ? node->log_fd : watch(node->poll_fd, node->log_fd);
}

int raftcore_node_fd(struct raftcore_node *node)
{
    if (node->poll_fd >= 0) {
        return node->poll_fd;
    }
    node->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    node->poll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (node->wake_fd < 0 || node->poll_fd < 0) {
        return -errno;
    }
    int status = watch(node->poll_fd, node->wake_fd);
    status = status == 0 ? node_watch_log(node) : status;
    return status == 0 ? node->poll_fd : status;
}
