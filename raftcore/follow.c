/* follow.c - the follower's side: entries taken, or refused with a hint.
 *
 * The happy path (Raft paper, section 5.3): the entry before the message's first is ours too; what we have already is
 * skipped, what differs is cut from the first difference on (A25), what is new is appended; the commit index follows as
 * far as this message vouches for (A20); the answer waits until all of that is durable (A12).
 *
 * What can fail: the logs part earlier (refused with index and term of where they may meet, A14), there is no room
 * (refused with the reason; the timer runs anew all the same: D6 of the bug list), the message is old.
 *
 * Invariants: a committed entry is never cut: a message that wants that comes from a peer that broke the protocol, and
 * nothing more is taken from it in this term. Nothing is acknowledged at or above a hole.
 *
 * May include: core.h. */

#include "raftcore/core.h"

int quarantine(struct raftcore *core, const struct raftcore_message *message)
{
    if (core->quarantined_count < sizeof(core->quarantined) / sizeof(core->quarantined[0])) {
        core->quarantined[core->quarantined_count++] = message->from;
    }
    return RAFTCORE_REASON_QUARANTINED;
}

bool follow_leader(struct raftcore *core, const struct raftcore_message *message)
{
    if (core_is_leader(core) || (core->leader != 0 && core->leader != message->from)) {
        (void)quarantine(core, message);
        return false;
    }
    if (core->role != RAFTCORE_FOLLOWER) {
        become_follower(core, core->hard.term, message->from);
    }
    heard_leader(core, message->from);
    return true;
}

static uint64_t credit(const struct raftcore *core)
{
    return core->unapplied_bytes < core->options.unapplied_bytes ? core->options.unapplied_bytes - core->unapplied_bytes
                                                                 : 0;
}

struct raftcore_message follow_answer(const struct raftcore *core, const struct raftcore_message *message,
                                      enum raftcore_message_kind kind)
{
    struct raftcore_message answer = message_to(core, message->from, kind);
    answer.to_session = message->session;
    answer.stream = message->stream;
    answer.round = message->round;
    answer.credit = credit(core);
    return answer;
}

static int refuse(struct raftcore *core, const struct raftcore_message *message, uint16_t reason, uint64_t hint_index,
                  uint64_t hint_term)
{
    struct raftcore_message answer = follow_answer(core, message, RAFTCORE_APPEND_ANSWER);
    answer.flags |= RAFTCORE_REFUSED;
    answer.reason = reason;
    answer.index = message->index;
    answer.hint_index = hint_index;
    answer.hint_term = hint_term;
    message_send(core, &answer, 0); /* A13. */
    return reason;
}

static int accept(struct raftcore *core, const struct raftcore_message *message, uint64_t match)
{
    uint64_t hole = first_hole(core);
    struct raftcore_message answer = follow_answer(core, message, RAFTCORE_APPEND_ANSWER);
    answer.index = match < hole || ZOO(hole_acknowledged) ? match : hole - 1;
    message_send(core, &answer, ZOO(answer_at_once) ? 0 : persist_after_match(core, answer.index));
    return 0;
}

/* Where the log and the message's entries first part; the index behind its last when they do not. */
static uint64_t first_difference(const struct raftcore *core, const struct raftcore_message *message)
{
    for (uint32_t i = 0; i < message->entry_count; i++) {
        uint64_t index = message->index + 1 + i;
        uint64_t term;
        if (index < core->log.first_index) {
            continue; /* A snapshot stands for it: it is committed, so it is the same (A4 of the bug list). */
        }
        if (index > core->log.last_index || !log_term(&core->log, index, &term) || term != message->entries[i].term) {
            return index;
        }
    }
    return message->index + 1 + message->entry_count;
}

/* Makes sure of all memory before anything changes. */
static bool reserve_for(struct raftcore *core, const struct raftcore_entry *entries, uint64_t count)
{
    uint64_t terms = 0, configurations = 0, term = 0;
    for (uint64_t i = 0; i < count; i++) {
        terms += entries[i].term != term;
        term = entries[i].term;
        configurations += entries[i].type == RAFTCORE_ENTRY_CONFIGURATION;
    }
    return persist_reserve(core, count, terms) && (configurations == 0 || member_reserve(core, configurations));
}

static void take(struct raftcore *core, const struct raftcore_message *message, uint64_t from)
{
    const struct raftcore_entry *entries = message->entries + (from - message->index - 1);
    uint64_t count = message->index + 1 + message->entry_count - from;
    if (from <= core->log.last_index) {
        persist_truncate(core, from);
        member_truncate(core, from);
        repair_log_changed(core, from);
    }
    for (uint64_t i = 0; i < count; i++) {
        struct raftcore_entry entry = entries[i];
        entry.reserved = 0;
        persist_push(core, &entry);
        if (entry.type == RAFTCORE_ENTRY_CONFIGURATION) {
            struct raftcore_configuration configuration;
            if (HOLDS(core, member_entry_is_right(&entry, &configuration)) &&
                (!ZOO(configuration_at_commit) || from + i <= message->commit)) {
                member_push(core, from + i, &configuration); /* In force from now on (C1). */
            }
        }
    }
}

int on_append(struct raftcore *core, const struct raftcore_message *message)
{
    if (!follow_leader(core, message)) {
        return RAFTCORE_REASON_QUARANTINED;
    }
    uint64_t last = core->log.last_index;
    uint64_t end = message->index + message->entry_count;
    uint64_t term;
    if (core->snapshot_damaged) {
        return refuse(core, message, RAFTCORE_REASON_DAMAGED, 0, 0);
    }
    if (end < core->log.first_index) {
        return accept(core, message, core->log.first_index - 1);
    }
    bool is_behind_snapshot = message->index + 1 < core->log.first_index;
    if (!is_behind_snapshot && message->index >= first_hole(core)) {
        uint64_t hint = first_hole(core) - 1;
        (void)log_term(&core->log, hint, &term);
        return refuse(core, message, RAFTCORE_REASON_MISMATCH, hint, term);
    }
    if (core->log.before_term == 0 && message->index > 0 && message->index + 1 == core->log.first_index &&
        message->index <= core->snapshot.index) {
        core->log.before_term = message->log_term; /* It was lost; it is committed, so the leader has the same. */
    }
    bool is_other = !log_term(&core->log, message->index, &term) || term != message->log_term;
    if (ZOO(previous_not_checked) && message->index <= last) {
        is_other = false;
    }
    if (!is_behind_snapshot && is_other) {
        uint64_t hint_term;
        uint64_t hint = log_last_with_term_up_to(&core->log, message->index < last ? message->index : last,
                                                 message->log_term, &hint_term);
        return refuse(core, message, RAFTCORE_REASON_MISMATCH, hint, hint_term);
    }
    uint64_t joint = core->log.first_index - 1; /* What the snapshot ends with is committed. */
    if (is_behind_snapshot && end >= joint && log_term(&core->log, joint, &term) &&
        message->entries[joint - message->index - 1].term != term) {
        return quarantine(core, message);
    }
    uint64_t from = end >= first_hole(core) ? repair_difference(core, message) : first_difference(core, message);
    if (ZOO(cut_on_match) && message->entry_count > 0 && message->index + 1 > core->hard.commit) {
        from = message->index + 1;
    }
    if (from <= end && from <= core->hard.commit) {
        return quarantine(core, message); /* A25: nothing committed is cut. */
    }
    if (from <= end) {
        const struct raftcore_entry *entries = message->entries + (from - message->index - 1);
        uint16_t reason = 0;
        if (!persist_has_room(core)) {
            reason = RAFTCORE_REASON_PERSIST_FULL;
        } else if (credit(core) == 0) {
            reason = RAFTCORE_REASON_UNAPPLIED_FULL;
        } else if (!reserve_for(core, entries, end + 1 - from)) {
            reason = RAFTCORE_REASON_MEMORY;
        }
        if (reason != 0) {
            return refuse(core, message, reason, 0, 0);
        }
        take(core, message, from);
    }
    uint64_t vouched = message->commit < end ? message->commit : end; /* A20. */
    if (ZOO(commit_beyond_message)) {
        vouched = message->commit < core->log.last_index ? message->commit : core->log.last_index;
    }
    uint64_t hole = first_hole(core);
    commit_to(core, vouched < hole ? vouched : hole - 1);
    return accept(core, message, end);
}

int on_heartbeat(struct raftcore *core, const struct raftcore_message *message)
{
    if (!follow_leader(core, message)) {
        return RAFTCORE_REASON_QUARANTINED;
    }
    /* What the leader believes that we have was said by this very start of ours. */
    if (message->to_session == core->session) {
        uint64_t commit = message->commit;
        uint64_t hole = first_hole(core);
        commit = commit < hole ? commit : hole - 1;
        commit_to(core, commit < core->log.last_index ? commit : core->log.last_index);
    }
    struct raftcore_message answer = follow_answer(core, message, RAFTCORE_HEARTBEAT_ANSWER);
    message_send(core, &answer, 0);
    return 0;
}
