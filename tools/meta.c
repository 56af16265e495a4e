/* meta.c - the metadata in force, and the doubt.
 *
 * The happy path: the library opens the log read only and gives the newest metadata. Their meaning is their writer's:
 * those of a Raft node are shown field by field, others as bytes.
 *
 * What can fail: a log without metadata, though it may be healthy: exit code 1, as for an index that is not there, said
 * on stderr.
 *
 * Invariants: metadata are shown as bytes always: they are the operator's own, and small. What JSON says of any log, it
 * says of a Raft node's too; the fields are added behind it. */

#include "raftcore/storage_metadata.h"
#include "tools/waldump.h"

#include <inttypes.h>
#include <stdio.h>

/* What there is to show. */
struct meta {
    int status;
    uint8_t bytes[WAL_METADATA_BYTES_MAX];
    size_t size;
    bool is_raft;
    struct storage_metadata raft;
    uint64_t first, last, doubt;
};

/* --- a Raft node's ------------------------------------------------------------------------------- */

static void emit_raft_fields(struct emit *emit, const struct storage_metadata *raft)
{
    const struct raftcore_hard_state *hard = &raft->hard;
    bool spent = hard->vote == RAFTCORE_VOTE_SPENT;
    emit_u64(emit, "node_id", raft->id);
    emit_u64(emit, "cluster_id", raft->cluster_id);
    emit_u64(emit, "log_id", raft->log_id);
    emit_u64(emit, "term", hard->term);
    hard->vote == 0 || spent ? emit_none(emit, "vote") : emit_u64(emit, "vote", hard->vote);
    emit_bool(emit, "vote_spent", spent);
    emit_u64(emit, "commit", hard->commit);
    emit_u64(emit, "term_limit", hard->term_limit);
    emit_u64(emit, "floor_term", hard->floor_term);
    emit_u64(emit, "floor_index", hard->floor_index);
    emit_u64(emit, "before_index", raft->before_index);
    emit_u64(emit, "before_term", raft->before_term);
    emit_bool(emit, "building", raft->building);
}

static void show_raft_lines(const struct settings *settings, const struct meta *meta, const uint8_t uuid[16])
{
    const struct storage_metadata *raft = &meta->raft;
    const struct raftcore_hard_state *hard = &raft->hard;
    char hex[2 * WAL_METADATA_BYTES_MAX + 1] = "";
    (void)printf("%s: the log of a Raft node\n", shown(settings->path));
    emit_line("records", meta->first > meta->last ? "none; the next index is %" PRIu64 : "%" PRIu64 " to %" PRIu64,
              meta->first, meta->last);
    if (meta->doubt != 0) {
        emit_line("doubt", "a loss was accepted; records from %" PRIu64 " on may have been others before", meta->doubt);
    }
    emit_line("node", "%" PRIu64 " of cluster %" PRIu64 ", log %" PRIu64, raft->id, raft->cluster_id, raft->log_id);
    emit_line("term", "%" PRIu64, hard->term);
    if (hard->vote == RAFTCORE_VOTE_SPENT) {
        emit_line("vote", "spent: it is not known who has it, so nobody gets it in this term");
    } else if (hard->vote == 0) {
        emit_line("vote", "none");
    } else {
        emit_line("vote", "%" PRIu64, hard->vote);
    }
    emit_line("commit", "%" PRIu64, hard->commit);
    emit_line("term limit", "%" PRIu64, hard->term_limit);
    if (hard->floor_term == 0 && hard->floor_index == 0) {
        emit_line("floor", "none: nothing was lost");
    } else {
        emit_line("floor", "term %" PRIu64 ", index %" PRIu64 ": so far the log may have gone before it was damaged",
                  hard->floor_term, hard->floor_index);
    }
    emit_line("before", "index %" PRIu64 ", term %" PRIu64, raft->before_index, raft->before_term);
    emit_line("building", raft->building ? "yes: a copy in the making, not complete" : "no");
    for (size_t i = 0; i < meta->size; i++) {
        (void)snprintf(hex + 2 * i, 3, "%02x", meta->bytes[i]);
    }
    emit_line("bytes", "%s", hex);
    for (size_t i = 0; i < 16; i++) {
        (void)snprintf(hex + 2 * i, 3, "%02x", uuid[i]);
    }
    emit_line("uuid", "%s", hex);
    emit_finish();
}

/* --- any log's ----------------------------------------------------------------------------------- */

static void show_row(struct settings *settings, const struct meta *meta, const struct wal_verdict *verdict)
{
    static const struct emit_column columns[] = {
        {"first", -10},     {"last", -10},       {"doubt", -10},     {"bytes", 5},      {"format", -8},
        {"metadata", 0},    {"node_id", 0},      {"cluster_id", 0},  {"log_id", 0},     {"term", 0},
        {"vote", 0},        {"vote_spent", 0},   {"commit", 0},      {"term_limit", 0}, {"floor_term", 0},
        {"floor_index", 0}, {"before_index", 0}, {"before_term", 0}, {"building", 0}};
    struct emit *emit = &settings->emit;
    emit_begin(emit, "waldump.meta/1", columns, meta->is_raft ? sizeof(columns) / sizeof(columns[0]) : 6);
    emit_row(emit);
    emit_u64(emit, "first", meta->first);
    emit_u64(emit, "last", meta->last);
    meta->doubt != 0 ? emit_u64(emit, "doubt", meta->doubt) : emit_none(emit, "doubt");
    if (meta->status == 0) {
        emit_u64(emit, "bytes", meta->size);
        emit_text(emit, "format", meta->is_raft ? "raftcore" : "unknown");
        emit_hex(emit, "metadata", meta->bytes, meta->size);
    } else {
        emit_none(emit, "bytes");
        emit_none(emit, "format");
        emit_none(emit, "metadata");
    }
    emit_hex(emit, "uuid", verdict->uuid, sizeof(verdict->uuid));
    if (meta->is_raft) {
        emit_raft_fields(emit, &meta->raft);
    }
    emit_end(emit);
}

int command_meta(struct settings *settings)
{
    struct view_log view;
    struct meta meta = {.size = 0};
    int code = view_open(&view, settings->path);
    if (view.log == NULL) {
        if (code == EXIT_NEGATIVE) {
            view_tell(&view);
        }
        return code;
    }
    view_tell(&view);
    meta.status = wal_metadata(view.log, meta.bytes, sizeof(meta.bytes), &meta.size);
    meta.is_raft = meta.status == 0 && storage_decode_metadata(meta.bytes, meta.size, &meta.raft);
    meta.first = wal_first_index(view.log);
    meta.last = wal_durable_index(view.log);
    meta.doubt = wal_doubt(view.log);
    if (meta.is_raft && settings->emit.format == EMIT_TEXT) {
        show_raft_lines(settings, &meta, view.verdict.uuid);
    } else {
        show_row(settings, &meta, &view.verdict);
    }
    if (meta.status == WAL_ENOENT) {
        complain("%s: the log has no metadata", settings->path);
        code = EXIT_NEGATIVE;
    }
    view_close(&view);
    return code;
}
