/* message.c - messages on their way out.
 *
 * The happy path: a handler fills a message and sends it; it stands in the output, or waits for a unit. What an output
 * holds may leave, always.
 *
 * What can fail: memory; then the message is lost, as a network may lose it, and counted.
 *
 * Invariants: a message is never changed once it is sent (A6).
 *
 * May include: core.h. */

#include "raftcore/core.h"

#include <string.h>

struct raftcore_message message_to(const struct raftcore *core, uint64_t to, enum raftcore_message_kind kind)
{
    struct raftcore_message message = {.kind = (uint16_t)kind,
                                       .from = core->options.id,
                                       .log_id = core->options.log_id,
                                       .to = to,
                                       .session = core->session,
                                       .term = core->hard.term};
    if (!is_whole(core) || core->snapshot_damaged) { /* B7. */
        message.flags |= RAFTCORE_DAMAGED;
        message.floor_term = core->hard.floor_term;
        message.floor_index = core->hard.floor_index;
    }
    return message;
}

static void wait_for(struct raftcore *core, const struct raftcore_message *message, uint64_t after)
{
    /* What it points to is gone after this step: a node that has said nothing yet (B4) loses it, as the network may. */
    bool points = message->entry_count > 0 || message->configuration != NULL || message->piece != NULL;
    if (points || core->waiting_count >= 2 * core->options.units_max ||
        !memory_reserve_row(&core->memory, (void **)&core->waiting, &core->waiting_capacity, &core->waiting_head,
                            core->waiting_count, sizeof(*core->waiting), 1)) {
        core->messages_refused++;
        return;
    }
    core->waiting[core->waiting_head + core->waiting_count++] = (struct waiting){.after = after, .message = *message};
}

void message_send(struct raftcore *core, const struct raftcore_message *message, uint64_t after)
{
    if (after < core->recovery_sequence) {
        after = core->recovery_sequence; /* B4. */
    }
    if (!HOLDS(core, after <= persist_draft_sequence(core))) {
        return;
    }
    if (after > core->durable_sequence) {
        wait_for(core, message, after);
        return;
    }
    if (!memory_reserve(&core->memory, (void **)&core->messages, &core->message_capacity, sizeof(*core->messages),
                        (uint64_t)core->output.message_count + 1)) {
        core->messages_refused++;
        return;
    }
    core->messages[core->output.message_count++] = *message;
    core->messages_sent++;
}

void message_refuse(struct raftcore *core, const struct raftcore_message *request, uint16_t reason)
{
    enum raftcore_message_kind kind;
    switch (request->kind) {
    case RAFTCORE_PRE_VOTE_REQUEST:
        kind = RAFTCORE_PRE_VOTE_ANSWER;
        break;
    case RAFTCORE_VOTE_REQUEST:
        kind = RAFTCORE_VOTE_ANSWER;
        break;
    case RAFTCORE_HEARTBEAT:
        kind = RAFTCORE_HEARTBEAT_ANSWER;
        break;
    case RAFTCORE_SNAPSHOT:
        kind = RAFTCORE_SNAPSHOT_ANSWER;
        break;
    case RAFTCORE_APPEND:
        kind = RAFTCORE_APPEND_ANSWER;
        break;
    case RAFTCORE_READ_REQUEST:
        kind = RAFTCORE_READ_ANSWER;
        break;
    case RAFTCORE_PROPOSAL:
        kind = RAFTCORE_PROPOSAL_ANSWER;
        break;
    case RAFTCORE_FETCH:
        kind = RAFTCORE_FETCH_ANSWER;
        break;
    default:
        return; /* Answers are not answered. */
    }
    struct raftcore_message answer = message_to(core, request->from, kind);
    answer.flags |= RAFTCORE_REFUSED;
    answer.reason = reason;
    answer.to_session = request->session;
    answer.stream = request->stream;
    answer.round = request->round;
    answer.context = request->context;
    answer.index = request->index;
    answer.snapshot_id = request->snapshot_id;
    message_send(core, &answer, 0);
}

const struct raftcore_entry *message_copy_entries(struct raftcore *core, const struct raftcore_entry *entries,
                                                  uint32_t count)
{
    /* Never moved within a step: room for all that one step can need is taken at once. */
    struct outputs *out = &core->out;
    if (core->copy_count + (uint64_t)count > out->copy_capacity &&
        (core->copy_count > 0 ||
         !memory_reserve(&core->memory, (void **)&out->copies, &out->copy_capacity, sizeof(*out->copies), count))) {
        return NULL;
    }
    struct raftcore_entry *copies = out->copies + core->copy_count;
    memcpy(copies, entries, count * sizeof(*entries));
    core->copy_count += count;
    return copies;
}
