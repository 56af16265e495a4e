/* node_work.c - payloads, and what is done away from the loop.
 *
 * The happy path: a job is put into a queue; raftcore_node_work, in a thread of the caller's or in his loop, takes the
 * oldest, does what blocks on the disk, and puts it among those done; raftcore_node_run takes it up from there. A
 * descriptor wakes the loop.
 *
 * What can fail: a job's disk; its status says so, and whoever takes it up knows what that means: entries that do not
 * read are a hole, a snapshot that does not is asked for again.
 *
 * Invariants: one job is done at a time, so the log's reader and the snapshot being sent belong to it; a job touches
 * nothing else of the node, but through the lock; payloads are counted, and freed when nothing of the core refers to
 * them any more.
 *
 * May include: node_parts.h, bytes.h, check.h. */

#include "raftcore/node_parts.h"

#include "wal/bytes.h"
#include "wal/check.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

enum { REPLAY_AGAIN_NS = 100000000, QUIET_NS = 50000000, PREPARE_AGAIN_NS = 100000000, KEEP_UP_NS = 10000000 };

/* --- payloads ------------------------------------------------------------------------------------ */

enum { FRONT_BYTES = 8, PAYLOAD_ALIGN = 8 };
_Static_assert(sizeof(void *) <= FRONT_BYTES, "the block's address fits in front of a payload");

struct payload_block *payload_take(struct memory *memory, uint64_t count, uint64_t bytes)
{
    size_t all = sizeof(struct payload_block) + (size_t)(bytes + count * (FRONT_BYTES + PAYLOAD_ALIGN));
    struct payload_block *block = memory_resize(memory, NULL, 0, all);
    if (block != NULL) {
        block->bytes = all;
        block->references = 1;
    }
    return block;
}

const void *payload_put(struct payload_block *block, size_t *used, const void *data, uint32_t size)
{
    if (size == 0) {
        return NULL;
    }
    uint8_t *at = (uint8_t *)(block + 1) + *used;
    *used += FRONT_BYTES + round_up(size, PAYLOAD_ALIGN);
    CHECK(sizeof(*block) + *used <= block->bytes);
    memcpy(at, &block, sizeof(block));
    memcpy(at + FRONT_BYTES, data, size);
    return at + FRONT_BYTES;
}

void payload_list(struct raftcore_node *node, struct payload_block *block)
{
    struct payload_block *list = &node->payloads;
    block->next = list->next;
    block->previous = list;
    list->next->previous = block;
    list->next = block;
}

static struct payload_block *block_of(const void *data)
{
    struct payload_block *block;
    memcpy(&block, (const uint8_t *)data - FRONT_BYTES, sizeof(block));
    return block;
}

void payload_refer(const void *data)
{
    block_of(data)->references++;
}

void payload_drop(struct memory *memory, struct payload_block *block)
{
    CHECK(block->references > 0);
    if (--block->references == 0) {
        if (block->next != NULL) {
            block->next->previous = block->previous;
            block->previous->next = block->next;
        }
        memory_resize(memory, block, block->bytes, 0);
    }
}

void payload_let_go(struct memory *memory, const void *data)
{
    payload_drop(memory, block_of(data));
}

/* --- the queue ----------------------------------------------------------------------------------- */

static void wake(struct raftcore_node *node)
{
    const uint64_t one = 1;
    if (node->wake_fd >= 0 && !node->woken) {
        node->woken = true;
        (void)!write(node->wake_fd, &one, sizeof(one));
    }
}

struct job *node_job(struct raftcore_node *node, enum job_kind kind)
{
    struct job *job = memory_resize(&node->memory, NULL, 0, sizeof(*job));
    if (job != NULL) {
        job->kind = kind;
    }
    return job;
}

void node_start_job(struct raftcore_node *node, struct job *job)
{
    (void)pthread_mutex_lock(&node->lock);
    if (node->todo == NULL) {
        node->todo = job;
    } else {
        node->todo_last->next = job;
    }
    node->todo_last = job;
    node->jobs++;
    wake(node); /* Whoever hands work to a thread looks at has_work. */
    (void)pthread_mutex_unlock(&node->lock);
}

void node_free_job(struct raftcore_node *node, struct job *job)
{
    if (job->block != NULL) {
        payload_drop(&node->memory, job->block);
    }
    if (job->entries != NULL) {
        memory_resize(&node->memory, job->entries, job->capacity * sizeof(*job->entries), 0);
    }
    if (job->message != NULL) {
        memory_resize(&node->memory, job->message, job->message_bytes, 0);
    }
    snapshot_writer_abort(&job->writer);
    snapshot_receiver_abort(&job->receiver);
    memory_resize(&node->memory, job, sizeof(*job), 0);
}

/* A log without threads has nobody else. */
static bool keeps_up_itself(const struct raftcore_node *node)
{
    const struct wal_options *wal = node->options.wal;
    return wal != NULL && (wal->flags & WAL_NO_THREADS) != 0 && node->failed[0] == 0;
}

bool raftcore_node_has_work(struct raftcore_node *node)
{
    bool is_due = keeps_up_itself(node) && node->now_ns - node->kept_up_ns >= KEEP_UP_NS;
    (void)pthread_mutex_lock(&node->lock);
    bool has = (node->todo != NULL || is_due) && !node->working;
    (void)pthread_mutex_unlock(&node->lock);
    return has;
}

/* The place of whoever works; false: it is taken. */
static bool try_to_claim(struct raftcore_node *node)
{
    (void)pthread_mutex_lock(&node->lock);
    bool is_free = !node->working;
    node->working = true;
    (void)pthread_mutex_unlock(&node->lock);
    return is_free;
}

void node_claim_worker(struct raftcore_node *node)
{
    while (!try_to_claim(node)) {
        (void)poll(NULL, 0, 1);
    }
}

void node_release_worker(struct raftcore_node *node)
{
    (void)pthread_mutex_lock(&node->lock);
    node->working = false;
    (void)pthread_mutex_unlock(&node->lock);
}

/* --- doing --------------------------------------------------------------------------------------- */

/* Two passes: what there is and how large, then copies of it. */
static int read_entries(struct raftcore_node *node, struct job *job)
{
    struct raftcore_entry entry;
    uint64_t bytes = 0;
    uint32_t count = 0;
    int status = 0;
    while (count < job->capacity && (count == 0 || bytes < job->bytes)) {
        status = storage_read(&node->storage, job->first_index + count, &entry);
        if (status != 0) {
            break;
        }
        bytes += entry.size;
        count++;
    }
    if (status == WAL_ECORRUPT || status == WAL_EIO) {
        job->unreadable = job->first_index + count;
    }
    if (count == 0) {
        return status;
    }
    struct memory memory = {.allocator = node->memory.allocator}; /* Counted when it is taken up. */
    job->block = payload_take(&memory, count, bytes);
    job->entries = memory_resize(&memory, NULL, 0, job->capacity * sizeof(*job->entries));
    size_t used = 0;
    for (uint32_t i = 0; job->block != NULL && job->entries != NULL && i < count; i++) {
        if (storage_read(&node->storage, job->first_index + i, &entry) != 0) {
            return 0;
        }
        job->entries[i] = entry;
        job->entries[i].data = payload_put(job->block, &used, entry.data, entry.size);
        job->count = i + 1;
    }
    return job->count > 0 ? 0 : WAL_ENOMEM;
}

/* A transfer begins with a look at the whole file: a damaged one is of no use to the peer. */
static int read_piece(struct raftcore_node *node, struct job *job)
{
    if (!node->sending_open || node->sending_index != job->index || job->offset == 0) {
        if (node->sending_open) {
            snapshot_reader_close(&node->sending);
        }
        node->sending_index = job->index;
        node->sending_open = true;
        int status = snapshot_reader_open(&node->sending, node->snapshots_io, job->index, &node->memory.allocator);
        status = status == 0 ? snapshot_reader_verify(&node->sending) : status;
        if (status != 0) {
            snapshot_reader_close(&node->sending);
            node->sending_open = false;
            return status;
        }
    }
    return snapshot_reader_raw(&node->sending, job->offset, job->piece, job->bytes);
}

static int do_load(struct raftcore_node *node, struct job *job)
{
    return read_entries(node, job);
}

static int do_taken(struct raftcore_node *node, struct job *job)
{
    (void)node;
    return snapshot_writer_finish(&job->writer, &job->header);
}

static int do_received(struct raftcore_node *node, struct job *job)
{
    (void)node;
    return snapshot_receiver_finish(&job->receiver, &job->header);
}

static int (*const job_table[JOB_KINDS])(struct raftcore_node *node, struct job *job) = {
    [JOB_LOAD] = do_load,   [JOB_REPLAY] = do_load,       [JOB_PIECE] = read_piece,
    [JOB_TAKEN] = do_taken, [JOB_RECEIVED] = do_received,
};

/* Of a log without threads: segments are made ready, and what was written last is covered when it has been quiet for
 * a while, by the caller's clock. */
static bool keep_up(struct raftcore_node *node)
{
    bool more = false;
    if (!keeps_up_itself(node) || !try_to_claim(node)) {
        return false;
    }
    uint32_t flags = 0;
    node->kept_up_ns = node->now_ns;
    if (node->storage.ticket_count == 0 && node->now_ns - node->last_unit_ns >= QUIET_NS) {
        flags |= WAL_MAINTAIN_MARK;
    }
    if (storage_waiting(&node->storage) > 0 && node->now_ns - node->prepared_ns >= PREPARE_AGAIN_NS) {
        flags |= WAL_MAINTAIN_PREPARE;
        node->prepared_ns = node->now_ns;
    }
    int status = node->storage.log == NULL ? WAL_EPOISONED : wal_maintain(node->storage.log, flags, &more);
    node_release_worker(node);
    return status == 0 && more;
}

bool raftcore_node_work(struct raftcore_node *node)
{
    (void)pthread_mutex_lock(&node->lock);
    struct job *job = node->working ? NULL : node->todo;
    if (job != NULL) {
        node->todo = job->next;
        job->next = NULL;
        node->working = true;
    }
    (void)pthread_mutex_unlock(&node->lock);
    if (job == NULL) {
        return keep_up(node);
    }
    job->status = job_table[job->kind](node, job);
    (void)pthread_mutex_lock(&node->lock);
    struct job **end = &node->done;
    while (*end != NULL) {
        end = &(*end)->next;
    }
    *end = job;
    node->working = false;
    wake(node);
    (void)pthread_mutex_unlock(&node->lock);
    return true;
}

/* --- taking up ----------------------------------------------------------------------------------- */

/* The entry exists and does not read (B13): its term is known, so any peer that has it can fill it in. */
static void report_hole(struct raftcore_node *node, uint64_t index)
{
    uint64_t term;
    if (index == 0 || !raftcore_term(node->core, index, &term)) {
        return;
    }
    struct raftcore_event event = {
        .kind = RAFTCORE_HOLE_FOUND,
        .hole.hole = {.first = index, .last = index, .anchor_index = index, .anchor_term = term}};
    (void)node_step(node, &event);
}

static void take_up_load(struct raftcore_node *node, struct job *job)
{
    struct raftcore_event event = {.kind = RAFTCORE_LOADED,
                                   .loaded = {.peer = job->peer,
                                              .first_index = job->first_index,
                                              .entries = job->count > 0 ? job->entries : NULL,
                                              .count = job->count}};
    (void)node_step(node, &event);
    if (job->unreadable != 0) {
        report_hole(node, job->unreadable);
    }
    node_free_job(node, job);
}

static void take_up_replay(struct raftcore_node *node, struct job *job)
{
    node->replay_wanted = false;
    if (node->replay != NULL) {
        node_free_job(node, node->replay);
        node->replay = NULL;
    }
    if (job->count == 0) {
        node->replay_not_before_ns = node->now_ns + REPLAY_AGAIN_NS;
        report_hole(node, job->unreadable);
    }
    if (job->count > 0) {
        node->replay = job;
    } else {
        node_free_job(node, job);
    }
}

static void take_up_piece(struct raftcore_node *node, struct job *job)
{
    if (job->status == 0) {
        codec_seal(job->message + NODE_ENVELOPE_BYTES, job->message_bytes - NODE_ENVELOPE_BYTES);
        struct queued *queued = node_queue(node, RAFTCORE_ITEM_SEND);
        if (queued != NULL) {
            queued->item.peer = job->peer;
            queued->bytes = job->message;
            queued->size = job->message_bytes;
            job->message = NULL;
        }
    } else if (job->status == -EBADMSG || job->status == -EIO) {
        struct snapshot_info *info = snapshot_store_find(&node->snapshots, job->index);
        if (info != NULL) {
            info->damaged = true;
        }
        node->applied_bytes = node->options.snapshot_bytes; /* Another one is wanted. */
        node_look_for_snapshot(node);
    }
    node_free_job(node, job);
}

void node_finish_jobs(struct raftcore_node *node)
{
    (void)pthread_mutex_lock(&node->lock);
    struct job *job = node->done;
    uint64_t drained;
    node->done = NULL;
    if (node->woken) {
        node->woken = false;
        (void)!read(node->wake_fd, &drained, sizeof(drained));
    }
    (void)pthread_mutex_unlock(&node->lock);
    while (job != NULL) {
        struct job *next = job->next;
        job->next = NULL;
        node->jobs--;
        if (job->entries != NULL) {
            node->memory.bytes += job->capacity * sizeof(*job->entries);
        }
        if (job->block != NULL) {
            node->memory.bytes += job->block->bytes;
        }
        switch (job->kind) {
        case JOB_LOAD:
            take_up_load(node, job);
            break;
        case JOB_REPLAY:
            take_up_replay(node, job);
            break;
        case JOB_PIECE:
            take_up_piece(node, job);
            break;
        default:
            node_snapshot_done(node, job);
            break;
        }
        job = next;
    }
}

void node_drop_jobs(struct raftcore_node *node)
{
    struct job *lists[] = {node->todo, node->done, node->replay};
    for (unsigned i = 0; i < 3; i++) {
        for (struct job *job = lists[i], *next; job != NULL; job = next) {
            next = job->next;
            node_free_job(node, job);
        }
    }
    node->todo = node->done = node->replay = NULL;
}

void node_worker_close(struct raftcore_node *node)
{
    if (node->sending_open) {
        snapshot_reader_close(&node->sending);
        node->sending_open = false;
    }
}
