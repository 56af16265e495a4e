/* replicate.c - the leader's side: what followers get, and what is committed.
 *
 * The happy path (Raft paper, section 5.3): each peer's first append probes where the logs part; then appends follow
 * one another within the windows, in parallel with the leader's own write (A15); what a majority has durably is
 * committed, if its term is the leader's (section 5.4.2, A19); the next append tells the peers, or an empty one when
 * the peer is quiet.
 *
 * What can fail: a message is lost (a refusal or the clock leads back to probing), a peer is behind the log (a
 * snapshot), its windows or its credit are full (it waits), entries must be read back (a load), a majority is silent
 * (the leader steps down, and so falls silent itself: D4 of the bug list), the own disk stalls (the leader hands over:
 * C7).
 *
 * Invariants: an answer counts only for the stream and sessions that it names (B9, C17); commit moves to an entry of
 * the own term only; nothing at or above a hole is counted or sent.
 *
 * May include: core.h. */

#include "raftcore/core.h"

/* --- records of the peers ------------------------------------------------------------------------ */

static uint32_t place_of(const struct raftcore *core, uint64_t id)
{
    uint32_t place = 0;
    while (place < core->peer_count && core->peers[place].id < id) {
        place++;
    }
    return place;
}

struct progress *peer_find(struct raftcore *core, uint64_t id)
{
    uint32_t place = place_of(core, id);
    return place < core->peer_count && core->peers[place].id == id ? &core->peers[place] : NULL;
}

static void begin_record(struct raftcore *core, struct progress *peer, uint64_t id)
{
    progress_begin(peer, id, core->log.last_index + 1, ++core->stream, core->now_ns);
    peer->heard_ns = core->now_ns;
    peer->sent_ns = core->now_ns;
    core->owes_appends = true;
}

static void remove_record(struct raftcore *core, uint32_t place)
{
    progress_free(&core->peers[place], &core->memory);
    core->peer_count--;
    for (uint32_t i = place; i < core->peer_count; i++) {
        core->peers[i] = core->peers[i + 1];
    }
    core->peers[core->peer_count] = (struct progress){0};
}

/* Of the peers that were removed and may not know it yet, the one that was first. */
static void forget_one_removed(struct raftcore *core)
{
    uint32_t oldest = core->peer_count;
    for (uint32_t i = 0; i < core->peer_count; i++) {
        const struct progress *peer = &core->peers[i];
        if (!peer->is_member && (oldest == core->peer_count || peer->leaves_ns < core->peers[oldest].leaves_ns)) {
            oldest = i;
        }
    }
    if (oldest < core->peer_count) {
        remove_record(core, oldest);
    }
}

void replicate_members(struct raftcore *core)
{
    const struct raftcore_configuration *configuration = core_configuration(core);
    for (uint32_t i = 0; i < core->peer_count; i++) {
        struct progress *peer = &core->peers[i];
        if (peer->is_member && configuration_find(configuration, peer->id) == NULL) {
            peer->is_member = false; /* It still gets the entry that removes it (C11). */
            peer->leaves_ns = core->now_ns + core->options.election_timeout_ns;
        }
    }
    for (uint32_t i = 0; i < configuration->count; i++) {
        uint64_t id = configuration->members[i].id;
        uint32_t place = place_of(core, id);
        bool known = place < core->peer_count && core->peers[place].id == id;
        if (id == core->options.id || (known && core->peers[place].is_member)) {
            continue;
        }
        if (!known) {
            if (core->peer_count == PEERS_MAX) {
                forget_one_removed(core);
                place = place_of(core, id);
            }
            if (!HOLDS(core, core->peer_count < PEERS_MAX && core->peer_count < core->peer_capacity)) {
                return;
            }
            for (uint32_t at = core->peer_count++; at > place; at--) {
                core->peers[at] = core->peers[at - 1];
            }
            core->peers[place] = (struct progress){0};
        }
        begin_record(core, &core->peers[place], id);
    }
}

void replicate_begin(struct raftcore *core)
{
    while (core->peer_count > 0) {
        remove_record(core, core->peer_count - 1);
    }
    replicate_members(core);
    core->heartbeat_at_ns = core->now_ns + core->options.heartbeat_ns;
    core->quorum_at_ns = core->now_ns + core->options.election_timeout_ns;
    core->round = core->round_confirmed = 0;
    core->lease_until_ns = 0;
    core->lease_is_void = false;
    core->uncommitted_bytes = 0;
    for (uint64_t index = core->hard.commit + 1; index <= core->log.last_index; index++) {
        const struct raftcore_entry *entry = log_held(&core->log, index);
        core->uncommitted_bytes += entry == NULL ? 0 : entry->size;
    }
}

/* --- sending ------------------------------------------------------------------------------------- */

static void send_entries(struct raftcore *core, struct progress *peer, const struct raftcore_entry *entries,
                         uint32_t count, uint64_t bytes)
{
    struct raftcore_message append = message_to(core, peer->id, RAFTCORE_APPEND);
    append.stream = peer->stream;
    append.to_session = peer->session;
    append.index = peer->next - 1;
    append.commit = core->hard.commit;
    append.entries = count > 0 ? entries : NULL;
    append.entry_count = count;
    if (!log_term(&core->log, append.index, &append.log_term)) {
        return;
    }
    peer->probe_round = core->round;
    if (progress_sent(peer, &core->memory, append.index + count, bytes, core->now_ns)) {
        peer->commit_sent = core->hard.commit;
        message_send(core, &append, 0); /* A15. */
    }
}

/* As many of the entries as one message may hold; at least one. */
static uint32_t fit(const struct raftcore *core, const struct raftcore_entry *entries, uint64_t count, uint64_t *bytes)
{
    uint32_t fitting = 0;
    *bytes = 0;
    while (fitting < count && fitting < core->options.message_entries &&
           (fitting == 0 || *bytes + entries[fitting].size <= core->options.message_bytes)) {
        *bytes += entries[fitting++].size;
    }
    return fitting;
}

/* A30: only what is durable is read back; above it everything is held. */
static void ask_to_load(struct raftcore *core, struct progress *peer, uint64_t last)
{
    struct outputs *out = &core->out;
    uint64_t count = (last < core->log.held_first ? last + 1 : core->log.held_first) - peer->next;
    if (!memory_reserve(&core->memory, (void **)&out->loads, &out->load_capacity, sizeof(*out->loads),
                        (uint64_t)core->output.load_count + 1)) {
        return;
    }
    out->loads[core->output.load_count++] = (struct raftcore_load){
        .peer = peer->id,
        .first_index = peer->next,
        .count = (uint32_t)(count < core->options.message_entries ? count : core->options.message_entries),
        .bytes = core->options.message_bytes};
    peer->loading = true;
}

/* A quiet peer is told of a commit at once; a busy one by its next append. */
static bool owes_commit_notice(const struct raftcore *core, const struct progress *peer)
{
    return core->hard.commit > peer->commit_sent && peer->match > peer->commit_sent &&
           peer->state == RAFTCORE_REPLICATE && (peer->inflight_count == 0 || core->owes_commit);
}

static void send_appends(struct raftcore *core, struct progress *peer)
{
    uint64_t hole = first_hole(core);
    uint64_t last = hole <= core->log.last_index ? hole - 1 : core->log.last_index;
    for (;;) {
        bool has_entries = peer->next <= last;
        bool owes_nothing = !has_entries && peer->state == RAFTCORE_REPLICATE && !owes_commit_notice(core, peer);
        if (owes_nothing || progress_is_paused(peer, core->options.window_messages, core->options.window_bytes)) {
            return;
        }
        uint64_t term;
        if (!log_term(&core->log, peer->next - 1, &term)) {
            if (core->snapshot.index >= peer->next) {
                progress_to_snapshot(peer, &core->snapshot);
                snapshot_send(core, peer);
            }
            return;
        }
        const struct raftcore_entry *entries = has_entries ? log_held(&core->log, peer->next) : NULL;
        if (has_entries && entries == NULL) {
            ask_to_load(core, peer, last);
            return;
        }
        uint64_t bytes = 0;
        uint32_t count = has_entries ? fit(core, entries, last + 1 - peer->next, &bytes) : 0;
        uint64_t next = peer->next;
        send_entries(core, peer, entries, count, bytes);
        if (peer->state == RAFTCORE_PROBE || (peer->next == next && count > 0) || count == 0) {
            return;
        }
    }
}

static void send_round(struct raftcore *core)
{
    core->round++;
    core->round_sent_ns[core->round % ROUND_TIMES] = core->now_ns;
    core->heartbeat_at_ns = core->now_ns + core->options.heartbeat_ns;
    for (uint32_t i = 0; i < core->peer_count; i++) {
        struct progress *peer = &core->peers[i];
        struct raftcore_message beat = message_to(core, peer->id, RAFTCORE_HEARTBEAT);
        beat.stream = peer->stream;
        beat.to_session = peer->session;
        beat.round = core->round;
        beat.commit = peer->match < core->hard.commit ? peer->match : core->hard.commit;
        message_send(core, &beat, 0);
    }
    replicate_confirm_rounds(core); /* Alone it is the majority. */
}

void replicate_pay(struct raftcore *core)
{
    if (!core_is_leader(core)) {
        core->owes_appends = core->owes_round = core->owes_commit = false;
        return;
    }
    for (uint32_t i = 0; core->owes_appends && i < core->peer_count; i++) {
        send_appends(core, &core->peers[i]);
    }
    core->owes_appends = core->owes_commit = false;
    if (core->owes_round || core->now_ns >= core->heartbeat_at_ns) {
        core->owes_round = false;
        send_round(core);
    }
}

int on_loaded(struct raftcore *core, const struct raftcore_event *event)
{
    const struct raftcore_entry *entries = event->loaded.entries;
    uint64_t first = event->loaded.first_index;
    struct progress *peer = peer_find(core, event->loaded.peer);
    if (event->loaded.peer == RAFTCORE_PEERS_NONE) {
        return repair_loaded(core, event);
    }
    if (!core_is_leader(core) || peer == NULL || !peer->loading) {
        return RAFTCORE_REASON_STALE_STREAM;
    }
    peer->loading = false;
    if (peer->next != first) {
        core->owes_appends = true;
        return RAFTCORE_REASON_STALE_STREAM;
    }
    for (uint32_t i = 0; entries != NULL && i < event->loaded.count; i++) {
        uint64_t term;
        if (!log_term(&core->log, first + i, &term) || term != entries[i].term || first + i >= first_hole(core)) {
            entries = NULL; /* It crossed a truncation or a compaction (A30). */
        }
    }
    if (entries == NULL || event->loaded.count == 0) {
        peer->probe_sent = true; /* Not again before the peer is heard of, lest this goes round and round. */
        return 0;
    }
    uint64_t bytes;
    uint32_t count = fit(core, entries, event->loaded.count, &bytes);
    const struct raftcore_entry *copies = message_copy_entries(core, entries, count);
    if (copies != NULL) {
        send_entries(core, peer, copies, count, bytes);
    }
    core->owes_appends = true;
    return 0;
}

/* --- answers ------------------------------------------------------------------------------------- */

struct progress *peer_of_answer(struct raftcore *core, const struct raftcore_message *answer)
{
    struct progress *peer = core_is_leader(core) ? peer_find(core, answer->from) : NULL;
    if (peer == NULL || answer->term != core->hard.term ||
        (answer->to_session != core->session && !ZOO(old_answers_counted))) {
        return NULL;
    }
    const struct raftcore_member *member = configuration_find(core_configuration(core), peer->id);
    if (member != NULL && member->log_id != 0 && member->log_id != answer->log_id) {
        return NULL; /* B1: a wiped log is not that member. */
    }
    if (ZOO(old_answers_counted)) {
        return peer;
    }
    if (peer->session != 0 && peer->session != answer->session) {
        bool is_member = peer->is_member;
        uint64_t leaves_ns = peer->leaves_ns;
        begin_record(core, peer, peer->id); /* B9: what an earlier start of it had is not known any more. */
        peer->is_member = is_member;
        peer->leaves_ns = leaves_ns;
        return NULL;
    }
    if (answer->stream != peer->stream) {
        return NULL; /* C17. */
    }
    peer->session = answer->session;
    peer->heard = true;
    peer->heard_ns = core->now_ns;
    peer->damaged = (answer->flags & RAFTCORE_DAMAGED) != 0;
    return peer;
}

static void follow_refusal(struct raftcore *core, struct progress *peer, const struct raftcore_message *answer)
{
    if (answer->reason == RAFTCORE_REASON_DAMAGED && peer->state != RAFTCORE_SEND_SNAPSHOT) {
        /* Its snapshot does not read: nothing else helps it (B14). */
        if (core->snapshot.index > 0) {
            progress_to_snapshot(peer, &core->snapshot);
            snapshot_send(core, peer);
        } else {
            core->output.snapshot_wanted = true;
        }
    }
    if (answer->reason != RAFTCORE_REASON_MISMATCH) {
        /* It is full, or busy: nothing more before it is heard of again. */
        if (peer->state != RAFTCORE_SEND_SNAPSHOT) {
            progress_to_probe(peer, peer->match + 1);
            peer->probe_sent = true;
        }
        return;
    }
    uint64_t hint = answer->hint_index;
    uint64_t term;
    if (peer->damaged && hint < peer->match && peer->state != RAFTCORE_SEND_SNAPSHOT) {
        /* It has lost something that it had (B13), and tells again when it has it back: no hurry. */
        progress_to_probe(peer, peer->match + 1);
        peer->probe_sent = true;
        return;
    }
    if (answer->hint_term > 0) {
        hint = log_last_with_term_up_to(&core->log, hint, answer->hint_term, &term);
    }
    if (progress_refused(peer, answer->index, hint)) {
        core->owes_appends = true;
    }
}

int on_append_answer(struct raftcore *core, const struct raftcore_message *answer)
{
    struct progress *peer = peer_of_answer(core, answer);
    if (peer == NULL) {
        return RAFTCORE_REASON_STALE_STREAM;
    }
    if ((answer->flags & RAFTCORE_REFUSED) != 0) {
        follow_refusal(core, peer, answer);
        return 0;
    }
    if (answer->index > core->log.last_index) {
        peer->quarantined = true; /* It claims what was never sent. */
        return RAFTCORE_REASON_QUARANTINED;
    }
    peer->credit = answer->credit;
    bool news = progress_matched(peer, answer->index);
    bool was_snapshot = peer->state == RAFTCORE_SEND_SNAPSHOT;
    if (peer->state == RAFTCORE_PROBE || (was_snapshot && peer->match >= peer->snapshot.index)) {
        progress_to_replicate(peer);
    }
    if (news) {
        replicate_commit(core); /* May change the configuration, and with it the records: peer is void. */
        member_matched(core, answer->from);
        transfer_advance(core);
    }
    core->owes_appends = true;
    return 0;
}

/* The values that a majority is taken of: the members', this node's own being `own`. */
static void values_of(struct raftcore *core, uint64_t *values, uint64_t own, uint64_t (*value)(const struct progress *))
{
    const struct raftcore_configuration *configuration = core_configuration(core);
    for (uint32_t i = 0; i < configuration->count; i++) {
        const struct raftcore_member *member = &configuration->members[i];
        const struct progress *peer = member->id == core->options.id ? NULL : peer_find(core, member->id);
        values[i] = peer != NULL && !peer->quarantined ? value(peer) : 0;
        if (member->id == core->options.id) {
            values[i] = own;
        }
    }
    if (ZOO(leader_counts_itself) && !core_is_voter(core) && configuration->count > 0) {
        values[0] = own;
    }
}

static uint64_t match_of(const struct progress *peer)
{
    return peer->match;
}

static uint64_t round_of(const struct progress *peer)
{
    return peer->round;
}

static uint64_t heard_at(const struct progress *peer)
{
    return peer->heard_ns;
}

void replicate_confirm_rounds(struct raftcore *core)
{
    if (core->round_confirmed == core->round) {
        return;
    }
    uint64_t rounds[RAFTCORE_MEMBERS_MAX];
    values_of(core, rounds, core->round, round_of);
    uint64_t confirmed = quorum_reached(core_configuration(core), rounds);
    if (confirmed <= core->round_confirmed || confirmed > core->round) {
        return;
    }
    core->round_confirmed = confirmed;
    if (core->round - confirmed < ROUND_TIMES) { /* Counted from when the round was sent (E3 of the bug list). */
        uint64_t since_ns = ZOO(lease_without_start) ? core->now_ns + core->options.election_timeout_ns
                                                     : core->round_sent_ns[confirmed % ROUND_TIMES];
        core->lease_until_ns = since_ns + core->options.election_timeout_ns - core->options.clock_drift_ns;
    }
    read_advance(core);
}

int on_heartbeat_answer(struct raftcore *core, const struct raftcore_message *answer)
{
    struct progress *peer = peer_of_answer(core, answer);
    if (peer == NULL) {
        return RAFTCORE_REASON_STALE_STREAM;
    }
    if (answer->round > core->round) {
        peer->quarantined = true;
        return RAFTCORE_REASON_QUARANTINED;
    }
    peer->credit = answer->credit;
    if (peer->state == RAFTCORE_PROBE && answer->round > peer->probe_round) {
        peer->probe_sent = false; /* It went before this round did, so its answer may be lost. */
    }
    if (answer->round > peer->round) {
        peer->round = answer->round;
        replicate_confirm_rounds(core);
    }
    core->owes_appends = true;
    return 0;
}

/* --- commit -------------------------------------------------------------------------------------- */

void commit_to(struct raftcore *core, uint64_t index)
{
    if (index <= core->hard.commit || !HOLDS(core, index <= core->log.last_index)) {
        return;
    }
    uint64_t bytes = 0;
    for (uint64_t i = core->hard.commit + 1; i <= index; i++) {
        const struct raftcore_entry *entry = log_held(&core->log, i);
        bytes += entry == NULL ? 0 : entry->size;
    }
    core->unapplied_bytes += bytes;
    core->uncommitted_bytes -= core_is_leader(core) ? bytes : 0;
    core->hard.commit = index;
    member_committed(core);
    read_advance(core);
}

void replicate_commit(struct raftcore *core)
{
    if (!core_is_leader(core) || core->hard.commit == core->log.last_index) {
        return;
    }
    uint64_t matches[RAFTCORE_MEMBERS_MAX];
    uint64_t hole = first_hole(core);
    uint64_t own = ZOO(self_counted_at_issue) ? core->log.last_index : core->durable_index; /* A18. */
    values_of(core, matches, own < hole ? own : hole - 1, match_of);
    uint64_t reached = quorum_reached(core_configuration(core), matches);
    uint64_t term;
    if (reached <= core->hard.commit || !HOLDS(core, reached <= core->log.last_index) ||
        !log_term(&core->log, reached, &term) || (term != core->hard.term && !ZOO(old_term_committed))) { /* A19. */
        return;
    }
    commit_to(core, reached);
    core->owes_appends = true;
}

/* --- time ---------------------------------------------------------------------------------------- */

static void check_quorum(struct raftcore *core)
{
    if (core->options.no_check_quorum || core->now_ns < core->quorum_at_ns) {
        return;
    }
    uint64_t heard[RAFTCORE_MEMBERS_MAX];
    values_of(core, heard, core->now_ns, heard_at);
    uint64_t since = quorum_reached(core_configuration(core), heard);
    if (since >= core->now_ns) {
        core->quorum_at_ns = core->now_ns + core->options.election_timeout_ns;
    } else if (core->now_ns - since >= core->options.election_timeout_ns) {
        become_follower(core, core->hard.term, 0);
    } else {
        core->quorum_at_ns = since + core->options.election_timeout_ns;
    }
}

/* C7 of the bug list: heartbeats do not wait for the disk, but leadership depends on it. */
static void check_disk(struct raftcore *core)
{
    if (core->flight_count > 0 &&
        core->now_ns - core->flights[core->flight_head].issued_ns >= core->options.disk_stall_ns) {
        transfer_to_best(core);
        become_follower(core, core->hard.term, 0);
        core->refusals[RAFTCORE_REASON_DISK_STALLED]++;
    }
}

void replicate_time(struct raftcore *core)
{
    if (!core_is_leader(core)) {
        return;
    }
    check_quorum(core);
    if (core_is_leader(core)) {
        check_disk(core);
    }
    if (core_is_leader(core) && core->now_ns >= core->heartbeat_at_ns) {
        member_committed(
            core); /* What was refused is tried again; nobody may propose anything that would lead to it. */
    }
    for (uint32_t i = core->peer_count; core_is_leader(core) && i-- > 0;) {
        struct progress *peer = &core->peers[i];
        bool knows =
            peer->match >= core_configuration_index(core) && peer->commit_sent >= core_configuration_index(core);
        if (!peer->is_member && (core->now_ns >= peer->leaves_ns || knows)) {
            remove_record(core, i);
            continue;
        }
        /* C8: what is on its way too long is lost; so is a snapshot that does not go on. */
        bool waits = peer->inflight_count > 0 || (peer->state == RAFTCORE_PROBE && peer->probe_sent) ||
                     peer->state == RAFTCORE_SEND_SNAPSHOT;
        uint64_t since = peer->inflight_count > 0 ? peer->inflight[peer->inflight_head].sent_ns : peer->sent_ns;
        if (waits && core->now_ns - since >= core->options.resend_ns) {
            peer->sent_ns = core->now_ns;
            if (peer->state == RAFTCORE_SEND_SNAPSHOT) {
                /* With all of it taken its last answer is lost: the first piece makes the peer say what it has. */
                if (peer->snapshot_taken == peer->snapshot.bytes) {
                    peer->snapshot_taken = 0;
                }
                if (peer->snapshot.index != core->snapshot.index) {
                    progress_to_snapshot(peer, &core->snapshot); /* The caller may have dropped the older one. */
                }
                peer->snapshot_sent = peer->snapshot_taken;
                snapshot_send(core, peer);
            } else {
                progress_to_probe(peer, peer->match + 1);
                core->owes_appends = true;
            }
        }
    }
}
