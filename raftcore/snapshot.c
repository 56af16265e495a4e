/* snapshot.c - what replaces the beginning of the log.
 *
 * The happy path, sending: a peer that needs entries which are compacted away gets the newest snapshot in pieces, a few
 * on their way at a time; the transport reads their bytes from the file. Receiving: pieces come in order and are given
 * to the caller; when he has all of them durable under the file's name, one unit makes the log begin behind the
 * snapshot (A27), and the answer waits for that unit. Taking: the caller says that a snapshot of his own is durable;
 * then the log may be compacted.
 *
 * What can fail: a piece is lost (the answer says where to go on, and time does), another leader sends (the same
 * content, by its id, goes on; another begins anew), the caller cannot write (it is begun anew).
 *
 * Invariants: nothing is compacted before the snapshot is durable; a follower's entries behind the snapshot are kept
 * only if its entry at the snapshot's index has the snapshot's term (F4, B4 of the bug list); the configuration becomes
 * the snapshot's and that of kept entries, no other (C13).
 *
 * May include: core.h. */

#include "raftcore/core.h"

enum { PIECES_ON_THEIR_WAY = 4 };

/* --- sending ------------------------------------------------------------------------------------- */

void snapshot_send(struct raftcore *core, struct progress *peer)
{
    if (peer->snapshot_sent == 0 && peer->snapshot.index != core->snapshot.index) {
        progress_to_snapshot(peer,
                             &core->snapshot); /* It begins anyway: with the newest, whose configuration we have. */
    }
    const struct raftcore_snapshot *snapshot = &peer->snapshot;
    uint64_t window = (uint64_t)PIECES_ON_THEIR_WAY * core->options.piece_bytes;
    while (peer->snapshot_sent < snapshot->bytes && peer->snapshot_sent - peer->snapshot_taken < window) {
        uint64_t left = snapshot->bytes - peer->snapshot_sent;
        struct raftcore_message piece = message_to(core, peer->id, RAFTCORE_SNAPSHOT);
        piece.stream = peer->stream;
        piece.to_session = peer->session;
        piece.index = snapshot->index;
        piece.log_term = snapshot->term;
        piece.snapshot_id = snapshot->id;
        piece.snapshot_bytes = snapshot->bytes;
        piece.commit = core->hard.commit;
        piece.offset = peer->snapshot_sent;
        piece.piece_bytes = (uint32_t)(left < core->options.piece_bytes ? left : core->options.piece_bytes);
        if (piece.piece_bytes == left) {
            piece.flags |= RAFTCORE_LAST_PIECE;
        }
        if (piece.offset == 0) {
            /* The newest at or below the snapshot (C14), where nothing moves it before the output is done with. */
            if (!memory_take_once(&core->memory, (void **)&core->sent_configuration,
                                  sizeof(*core->sent_configuration))) {
                return; /* As if it were lost: it is sent again after a while. */
            }
            *core->sent_configuration = core->stack[0].configuration;
            piece.configuration = core->sent_configuration;
        }
        message_send(core, &piece, 0);
        peer->snapshot_sent += piece.piece_bytes;
        peer->sent_ns = core->now_ns;
    }
}

int on_snapshot_answer(struct raftcore *core, const struct raftcore_message *answer)
{
    struct progress *peer = peer_of_answer(core, answer);
    if (peer == NULL || peer->state != RAFTCORE_SEND_SNAPSHOT || answer->snapshot_id != peer->snapshot.id ||
        answer->offset > peer->snapshot.bytes) {
        return RAFTCORE_REASON_STALE_STREAM;
    }
    if ((answer->flags & RAFTCORE_REFUSED) != 0 && answer->reason == RAFTCORE_REASON_DAMAGED) {
        core->output.snapshot_wanted = true; /* Its log does not reach down to this one: a newer one is needed. */
        return 0;
    }
    if ((answer->flags & RAFTCORE_REFUSED) != 0) {
        peer->snapshot_taken = peer->snapshot_sent = answer->offset;
    } else if (answer->offset > peer->snapshot_taken) {
        peer->snapshot_taken = answer->offset;
        if (peer->snapshot_sent < answer->offset) {
            peer->snapshot_sent = answer->offset;
        }
    }
    snapshot_send(core, peer);
    return 0;
}

/* --- receiving ----------------------------------------------------------------------------------- */

static int answer_piece(struct raftcore *core, const struct raftcore_message *message, uint64_t taken, bool refused)
{
    struct raftcore_message answer = follow_answer(core, message, RAFTCORE_SNAPSHOT_ANSWER);
    answer.snapshot_id = message->snapshot_id;
    answer.offset = taken;
    if (refused) {
        answer.flags |= RAFTCORE_REFUSED;
        answer.reason = RAFTCORE_REASON_MISMATCH;
    }
    message_send(core, &answer, 0);
    return 0;
}

/* The log reaches as far already: no snapshot is needed, and the answer is that to an append. */
static bool has_it_already(struct raftcore *core, const struct raftcore_message *message)
{
    uint64_t term;
    if (core->snapshot_damaged || first_hole(core) <= message->index) {
        return false;
    }
    if (message->index > core->hard.commit) {
        if (!log_term(&core->log, message->index, &term) || term != message->log_term) {
            return false;
        }
        commit_to(core, message->index); /* A snapshot holds only what is committed. */
    }
    return true;
}

static bool begin_receiving(struct raftcore *core, const struct raftcore_message *message)
{
    if (message->offset != 0 || message->configuration == NULL || configuration_check(message->configuration) != 0) {
        return false;
    }
    core->receiving = (struct receiving){.snapshot = {.index = message->index,
                                                      .term = message->log_term,
                                                      .id = message->snapshot_id,
                                                      .bytes = message->snapshot_bytes}};
    *core->received_configuration = *message->configuration;
    return true;
}

int on_snapshot(struct raftcore *core, const struct raftcore_message *message)
{
    if (message->index == 0) { /* It would say of itself that there is none. */
        return RAFTCORE_REASON_INVALID;
    }
    if (!follow_leader(core, message)) {
        return RAFTCORE_REASON_QUARANTINED;
    }
    struct receiving *receiving = &core->receiving;
    if (has_it_already(core, message)) {
        struct raftcore_message answer = follow_answer(core, message, RAFTCORE_APPEND_ANSWER);
        answer.index = core->hard.commit < message->index ? message->index : core->hard.commit;
        message_send(core, &answer, persist_after_match(core, answer.index));
        return 0;
    }
    if (message->index + 1 < core->log.first_index) { /* B14: ours does not read, and this one ends below our log. */
        message_refuse(core, message, RAFTCORE_REASON_DAMAGED);
        return RAFTCORE_REASON_DAMAGED;
    }
    if (!core->snapshot_damaged && message->index <= core->given) {
        /* It is applied already, and a hole below it asks for help: one of our own, soon. */
        core->cover_at_ns = core->fetch_at_ns = core->now_ns;
        return RAFTCORE_REASON_DAMAGED;
    }
    bool is_same = receiving->snapshot.index == message->index && receiving->snapshot.id == message->snapshot_id &&
                   receiving->snapshot.term == message->log_term &&
                   receiving->snapshot.bytes == message->snapshot_bytes;
    if (!is_same) {
        if (receiving->written) {
            return answer_piece(core, message, 0, false); /* The caller is at work on another; soon. */
        }
        if (!memory_take_once(&core->memory, (void **)&core->received_configuration,
                              sizeof(*core->received_configuration))) {
            return RAFTCORE_REASON_MEMORY;
        }
        if (!begin_receiving(core, message)) {
            return answer_piece(core, message, 0, true);
        }
    }
    receiving->from = message->from;
    receiving->session = message->session;
    receiving->stream = message->stream;
    receiving->term = message->term;
    if (message->offset != receiving->taken || receiving->written) {
        return answer_piece(core, message, receiving->taken, message->offset > receiving->taken);
    }
    bool is_last = message->offset + message->piece_bytes == message->snapshot_bytes;
    if (message->piece == NULL || message->piece_bytes == 0 ||
        message->piece_bytes > message->snapshot_bytes - message->offset ||
        is_last != ((message->flags & RAFTCORE_LAST_PIECE) != 0)) {
        return RAFTCORE_REASON_INVALID;
    }
    core->gives_more = true;
    core->output.piece = (struct raftcore_piece){.snapshot = receiving->snapshot,
                                                 .offset = message->offset,
                                                 .data = message->piece,
                                                 .bytes = message->piece_bytes,
                                                 .last = is_last,
                                                 .configuration = core->received_configuration};
    receiving->taken += message->piece_bytes;
    receiving->written = is_last;
    return answer_piece(core, message, receiving->taken, false);
}

/* A27: what stands behind the snapshot stays if the entry at its index has its term. In a hole that is not known: then
 * it stays if it was committed. */
static bool keeps_suffix(const struct raftcore *core, const struct raftcore_snapshot *snapshot)
{
    uint64_t term;
    if (repair_is_lost(core, snapshot->index) && snapshot->index <= core->hard.commit) {
        return true;
    }
    return (ZOO(snapshot_keeps_any_suffix) && core->log.last_index > snapshot->index) ||
           (log_term(&core->log, snapshot->index, &term) && term == snapshot->term);
}

static void install(struct raftcore *core, const struct receiving *receiving)
{
    const struct raftcore_snapshot *snapshot = &receiving->snapshot;
    bool keep = keeps_suffix(core, snapshot);
    if (!keep && core->hole_count > 0) {
        repair_raise_floor(core); /* What is dropped was acknowledged, and may be committed (B11). */
        core->hole_count = 0;
    }
    persist_install(core, snapshot, keep);
    if (!keep && !ZOO(snapshot_keeps_configurations)) {
        core->stack_count = 1;
        core->stack[0] = (struct stacked){.index = snapshot->index, .configuration = *core->received_configuration};
    } else {
        member_compact(core, snapshot->index);
        if (core->stack[0].index <= snapshot->index) {
            core->stack[0] = (struct stacked){.index = snapshot->index, .configuration = *core->received_configuration};
        }
    }
    configuration_in_force_changed(core);
    core->snapshot = *snapshot;
    core->snapshot_damaged = false;
    repair_covered(core, snapshot->index);
    if (core->hard.commit < snapshot->index) {
        core->hard.commit = snapshot->index;
    }
    core->given = snapshot->index;
    core->unapplied_bytes = 0;
    for (uint64_t index = snapshot->index + 1; index <= core->hard.commit; index++) {
        const struct raftcore_entry *entry = log_held(&core->log, index);
        core->unapplied_bytes += entry == NULL ? 0 : entry->size;
    }
    core->output.restore_index = snapshot->index;
}

int on_snapshot_written(struct raftcore *core, const struct raftcore_event *event)
{
    struct receiving receiving = core->receiving;
    const struct raftcore_snapshot *snapshot = &event->snapshot.snapshot;
    if (!receiving.written || receiving.snapshot.index != snapshot->index || receiving.snapshot.id != snapshot->id) {
        return RAFTCORE_REASON_INVALID;
    }
    core->receiving = (struct receiving){0};
    bool is_late =
        snapshot->index <= core->given || (snapshot->index <= core->hard.commit && first_hole(core) > snapshot->index);
    if (event->snapshot.failed || (is_late && !core->snapshot_damaged) || core_is_leader(core) ||
        snapshot->index + 1 < core->log.first_index) {
        return 0; /* It is asked for again, or the log got there first. */
    }
    install(core, &receiving); /* Nothing grows: it needs no memory, for nobody would say again that it is written. */
    if (receiving.term == core->hard.term && !core_is_leader(core)) {
        struct raftcore_message answer = message_to(core, receiving.from, RAFTCORE_APPEND_ANSWER);
        answer.to_session = receiving.session;
        answer.stream = receiving.stream;
        answer.index = snapshot->index;
        answer.credit = core->options.unapplied_bytes;
        message_send(core, &answer, persist_draft_sequence(core)); /* It acknowledges the log up to there. */
    }
    return 0;
}

/* --- taking -------------------------------------------------------------------------------------- */

int on_snapshot_taken(struct raftcore *core, const struct raftcore_event *event)
{
    struct raftcore_snapshot snapshot = event->snapshot.snapshot;
    uint64_t term;
    if (snapshot.index <= core->snapshot.index || snapshot.index > core->applied || snapshot.bytes == 0 ||
        !log_term(&core->log, snapshot.index, &term) || term != snapshot.term) {
        return RAFTCORE_REASON_INVALID;
    }
    core->snapshot = snapshot;
    repair_by_snapshot(core);
    uint64_t keep = event->snapshot.keep < snapshot.index ? event->snapshot.keep : snapshot.index;
    uint64_t first_kept = snapshot.index + 1 - keep;
    if (first_kept > core->log.first_index) {
        bool is_known = first_kept > snapshot.index || !repair_is_lost(core, first_kept - 1);
        persist_compact(core, first_kept);
        core->log.before_term = is_known ? core->log.before_term : 0; /* Else it is one for want of a better. */
        core->output.compact_to = first_kept;
        repair_covered(core, first_kept - 1); /* What is not in the log any more is in no hole either. */
    }
    member_compact(core, snapshot.index); /* C14. */
    return 0;
}
