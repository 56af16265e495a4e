/* propose.c - entries of the caller's, at the leader or handed on to it.
 *
 * The happy path: the leader stamps them with its term, in the same step in which it is known to lead (A9 of the bug
 * list), appends them, and tells index and term; the appends leave with the step. A follower hands them on.
 *
 * What can fail: there is no leader, or a bound is reached; every refusal has its reason, and nothing was taken. Once
 * taken, raftcore_outcome tells what became of them.
 *
 * Invariants: the bytes that wait for a commit are bounded (G1), those that wait for being applied as well (G2).
 *
 * May include: core.h. */

#include "raftcore/core.h"

static bool has_room_to_tell(struct raftcore *core)
{
    struct outputs *out = &core->out;
    return memory_reserve(&core->memory, (void **)&out->proposals, &out->proposal_capacity, sizeof(*out->proposals),
                          (uint64_t)core->output.proposal_count + 1);
}

static void tell(struct raftcore *core, uint64_t context, uint64_t first_index, uint64_t term, uint16_t reason)
{
    struct outputs *out = &core->out;
    if (has_room_to_tell(core)) {
        out->proposals[core->output.proposal_count++] = (struct raftcore_proposal_result){
            .context = context, .first_index = first_index, .term = term, .reason = reason};
    }
}

static uint64_t bytes_of(const struct raftcore_entry *entries, uint32_t count)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        bytes += entries[i].size;
    }
    return bytes;
}

/* Why the leader does not take them; 0: it does. */
static int refusal(const struct raftcore *core, uint64_t bytes)
{
    if (!core_is_leader(core)) {
        return core->leader == 0 ? RAFTCORE_REASON_NOT_LEADER : RAFTCORE_REASON_LEADER_ELSEWHERE;
    }
    if (core->transfer_to != 0) {
        return RAFTCORE_REASON_TRANSFERRING;
    }
    if (!persist_has_room(core)) {
        return RAFTCORE_REASON_PERSIST_FULL;
    }
    /* One that is larger than the bound is taken alone, lest it never be. */
    if (core->uncommitted_bytes > 0 && core->uncommitted_bytes + bytes > core->options.uncommitted_bytes) {
        return RAFTCORE_REASON_UNCOMMITTED_FULL;
    }
    if (core->unapplied_bytes > 0 && core->unapplied_bytes + bytes > core->options.unapplied_bytes) {
        return RAFTCORE_REASON_UNAPPLIED_FULL;
    }
    return 0;
}

int propose(struct raftcore *core, const struct raftcore_entry *entries, uint32_t count, uint64_t *first_index)
{
    uint64_t bytes = bytes_of(entries, count);
    int reason = refusal(core, bytes);
    if (reason == 0 && !persist_reserve(core, count, 1)) {
        reason = RAFTCORE_REASON_MEMORY;
    }
    if (reason != 0) {
        return reason;
    }
    *first_index = core->log.last_index + 1;
    for (uint32_t i = 0; i < count; i++) {
        struct raftcore_entry entry = entries[i];
        entry.term = core->hard.term;
        persist_push(core, &entry);
    }
    core->uncommitted_bytes += bytes;
    core->owes_appends = true;
    return 0;
}

static bool are_right(const struct raftcore_entry *entries, uint32_t count)
{
    if (count == 0 || count > RAFTCORE_ENTRIES_MAX || entries == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (entries[i].type != RAFTCORE_ENTRY_NORMAL || entries[i].reserved != 0 ||
            (entries[i].data == NULL && entries[i].size > 0) || entries[i].size > ENTRY_BYTES_MAX) {
            return false;
        }
    }
    return true;
}

static int hand_on(struct raftcore *core, const struct raftcore_event *event)
{
    struct raftcore_message proposal = message_to(core, core->leader, RAFTCORE_PROPOSAL);
    proposal.context = event->propose.context;
    proposal.entries = message_copy_entries(core, event->propose.entries, event->propose.count);
    proposal.entry_count = event->propose.count;
    if (proposal.entries == NULL) {
        return RAFTCORE_REASON_MEMORY;
    }
    message_send(core, &proposal, 0);
    return 0;
}

int on_propose(struct raftcore *core, const struct raftcore_event *event)
{
    if (!are_right(event->propose.entries, event->propose.count)) {
        return RAFTCORE_REASON_INVALID;
    }
    if (!core_is_leader(core) && core->leader != 0 && !core->options.no_forwarding) {
        return hand_on(core, event);
    }
    if (!has_room_to_tell(core)) {
        return RAFTCORE_REASON_MEMORY;
    }
    uint64_t first_index = 0;
    int reason = propose(core, event->propose.entries, event->propose.count, &first_index);
    tell(core, event->propose.context, first_index, core->hard.term, (uint16_t)reason);
    return reason;
}

int on_proposal(struct raftcore *core, const struct raftcore_message *message)
{
    uint64_t first_index = 0;
    int reason = are_right(message->entries, message->entry_count)
                     ? propose(core, message->entries, message->entry_count, &first_index)
                     : RAFTCORE_REASON_INVALID;
    if (reason != 0) {
        message_refuse(core, message, (uint16_t)reason);
        return reason;
    }
    struct raftcore_message answer = message_to(core, message->from, RAFTCORE_PROPOSAL_ANSWER);
    answer.to_session = message->session;
    answer.context = message->context;
    answer.index = first_index;
    message_send(core, &answer, 0);
    return 0;
}

int on_proposal_answer(struct raftcore *core, const struct raftcore_message *answer)
{
    if (answer->to_session != core->session || answer->from != core->leader) {
        return RAFTCORE_REASON_STALE_TERM; /* Whoever waits for it gives up by a time of his own. */
    }
    uint16_t reason = (answer->flags & RAFTCORE_REFUSED) != 0 ? answer->reason : 0;
    tell(core, answer->context, answer->index, answer->term, reason);
    return 0;
}
