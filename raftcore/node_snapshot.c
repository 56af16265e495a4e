/* node_snapshot.c - snapshots of the state machine: when, how, and what goes with them.
 *
 * The happy path: enough has been applied; the caller is asked for a snapshot, begins one, puts the state in, ends it;
 * a job makes it durable; the core is told, and says how far the log may be compacted. Another node's snapshot comes in
 * as pieces; behind the last a job verifies it and makes it durable; the core is told, installs it, and asks for the
 * state machine to be set to it.
 *
 * What can fail, and what is left: a snapshot that cannot be written is given up; the log stays as long as it was. One
 * that came in and is not what was announced is asked for again.
 *
 * Invariants: the log is compacted behind a durable snapshot only, and never so far that the older of the two kept
 * could not take the newer one's place; a snapshot holds the configuration as of its index (C13).
 *
 * May include: node_parts.h, zoo.h. */

#include "raftcore/node_parts.h"

#include "raftcore/zoo.h"

#include <errno.h>
#include <string.h>

/* --- taking -------------------------------------------------------------------------------------- */

void node_look_for_snapshot(struct raftcore_node *node)
{
    bool busy = node->snapshot_wanted || node->snapshot_open || node->snapshot_ending;
    if (!busy && node->applied_bytes >= node->options.snapshot_bytes) {
        struct queued *queued = node_queue(node, RAFTCORE_ITEM_SNAPSHOT);
        if (queued != NULL) {
            queued->item.index = node->applied;
            node->snapshot_wanted = true;
        }
    }
}

static void tell_taken(struct raftcore_node *node, const struct snapshot_header *header)
{
    struct raftcore_event event = {
        .kind = RAFTCORE_SNAPSHOT_TAKEN,
        .snapshot = {
            .snapshot = {.index = header->index, .term = header->term, .id = header->id, .bytes = header->file_bytes},
            .keep = node->options.keep_entries}};
    (void)node_step(node, &event);
}

int raftcore_node_snapshot_begin(struct raftcore_node *node)
{
    const struct snapshot_info *newest = snapshot_store_newest(&node->snapshots, UINT64_MAX);
    struct snapshot_header header = {.index = node->applied, .cluster_id = node->options.cluster_id};
    node->snapshot_wanted = false;
    if (node->failed[0] != 0) {
        return -EIO;
    }
    if (node->is_empty) {
        return -EALREADY; /* Restore first: there is no state yet. */
    }
    bool is_new = newest == NULL || newest->header.index < header.index;
    uint64_t as_of = ZOO(snapshot_with_newer_members) ? UINT64_MAX : header.index;
    if (!is_new && newest->header.index <= node->applied) {
        tell_taken(node, &newest->header); /* It came from a leader when the core had no need of it. */
    }
    if (node->snapshot_open || node->snapshot_ending || !is_new || header.index != node->last_given ||
        !raftcore_term(node->core, header.index, &header.term) ||
        !raftcore_configuration_at(node->core, as_of, &header.configuration)) {
        return -EALREADY;
    }
    if (ZOO(snapshot_of_later_state) && header.index > 1) {
        header.index--;
        (void)raftcore_term(node->core, header.index, &header.term);
    }
    int status = snapshot_writer_begin(&node->writer, node->snapshots_io, &header, &node->memory.allocator);
    node->snapshot_open = status == 0;
    node->applied_bytes = 0;
    return status;
}

int raftcore_node_snapshot_put(struct raftcore_node *node, const void *data, size_t bytes)
{
    if (!node->snapshot_open) {
        return -EINVAL;
    }
    int status = snapshot_writer_put(&node->writer, data, bytes);
    if (status != 0) {
        raftcore_node_snapshot_abort(node);
    }
    return status;
}

void raftcore_node_snapshot_abort(struct raftcore_node *node)
{
    if (node->snapshot_open) {
        snapshot_writer_abort(&node->writer);
        node->snapshot_open = false;
    }
}

int raftcore_node_snapshot_end(struct raftcore_node *node)
{
    if (!node->snapshot_open) {
        return -EINVAL;
    }
    struct job *job = node_job(node, JOB_TAKEN);
    if (job == NULL) {
        raftcore_node_snapshot_abort(node);
        return -ENOMEM;
    }
    if (ZOO(compacted_before_snapshot)) {
        (void)storage_compact(&node->storage, node->writer.header.index + 1);
    }
    job->writer = node->writer;
    node->writer = (struct snapshot_writer){0};
    node->snapshot_open = false;
    node->snapshot_ending = true;
    node_start_job(node, job);
    return 0;
}

/* --- compacting ---------------------------------------------------------------------------------- */

void node_compact(struct raftcore_node *node, uint64_t first_kept)
{
    const struct snapshot_info *newest = snapshot_store_newest(&node->snapshots, UINT64_MAX);
    const struct snapshot_info *older =
        newest == NULL ? NULL : snapshot_store_newest(&node->snapshots, newest->header.index);
    uint64_t bound = older == NULL ? (newest == NULL ? 0 : newest->header.index + 1) : older->header.index + 1;
    if (storage_compact(&node->storage, first_kept < bound ? first_kept : bound) != 0) {
        node_fail(node, node->storage.text, "");
    }
}

/* --- receiving ----------------------------------------------------------------------------------- */

static void give_up_received(struct raftcore_node *node, const struct raftcore_snapshot *snapshot)
{
    node_follow(node, &(struct raftcore_event){.kind = RAFTCORE_SNAPSHOT_WRITTEN,
                                               .snapshot = {.snapshot = *snapshot, .failed = true}});
}

static int put_piece(struct raftcore_node *node, const struct raftcore_piece *piece)
{
    struct snapshot_receiver *receiver = &node->receiver;
    if (piece->offset == 0) {
        if (node->receiving) {
            snapshot_receiver_abort(receiver);
        }
        int status = snapshot_receiver_begin(receiver, node->snapshots_io, &piece->snapshot, node->options.cluster_id,
                                             &node->memory.allocator);
        node->receiving = status == 0;
        if (status != 0) {
            return status;
        }
    }
    if (!node->receiving || receiver->expected.id != piece->snapshot.id) {
        return -EBADMSG;
    }
    return snapshot_receiver_put(receiver, piece->offset, piece->data, piece->bytes);
}

void node_take_piece(struct raftcore_node *node, const struct raftcore_piece *piece)
{
    int status = put_piece(node, piece);
    if (status != 0 && node->receiving) {
        snapshot_receiver_abort(&node->receiver);
        node->receiving = false;
    }
    if (!piece->last) {
        return; /* Behind the last one it is told. */
    }
    struct job *job = node->receiving ? node_job(node, JOB_RECEIVED) : NULL;
    if (job == NULL) {
        give_up_received(node, &piece->snapshot);
        return;
    }
    job->receiver = node->receiver;
    job->index = piece->snapshot.index;
    node->receiver = (struct snapshot_receiver){0};
    node->receiving = false;
    node_start_job(node, job);
}

/* --- done ---------------------------------------------------------------------------------------- */

void node_snapshot_done(struct raftcore_node *node, struct job *job)
{
    const struct snapshot_header *header = &job->header;
    if (job->kind == JOB_TAKEN) {
        node->snapshot_ending = false;
        if (job->status == 0) {
            snapshot_store_add(&node->snapshots, header);
            tell_taken(node, header);
            snapshot_store_drop_old(&node->snapshots);
        }
        node_free_job(node, job);
        return;
    }
    struct raftcore_event event = {.kind = RAFTCORE_SNAPSHOT_WRITTEN,
                                   .snapshot = {.snapshot = job->receiver.expected, .failed = job->status != 0}};
    if (job->status == 0) {
        snapshot_store_add(&node->snapshots, header);
    }
    node_free_job(node, job);
    (void)node_step(node, &event);
    snapshot_store_drop_old(&node->snapshots);
}

/* --- restoring ----------------------------------------------------------------------------------- */

int raftcore_node_restore(struct raftcore_node *node, uint64_t offset, void *to, size_t bytes)
{
    int status = 0;
    if (node->restore_index == 0) {
        return -EINVAL;
    }
    if (node->restore_open && node->reader.header.index != node->restore_index) {
        snapshot_reader_close(&node->reader);
        node->restore_open = false;
    }
    if (!node->restore_open) {
        status = snapshot_reader_open(&node->reader, node->snapshots_io, node->restore_index, &node->memory.allocator);
        node->restore_open = true;
    }
    status = status == 0 ? snapshot_reader_state(&node->reader, offset, to, bytes) : status;
    if (status != 0) {
        snapshot_reader_close(&node->reader);
        node->restore_open = false;
    }
    return status;
}

void node_snapshots_close(struct raftcore_node *node)
{
    raftcore_node_snapshot_abort(node);
    if (node->receiving) {
        snapshot_receiver_abort(&node->receiver);
    }
    if (node->restore_open) {
        snapshot_reader_close(&node->reader);
    }
}
