/* read.c - what may be read without writing.
 *
 * The happy path (dissertation, 6.4): the leader notes its commit index, makes sure by a round of heartbeats that it
 * still leads, and answers when the state machine has applied that far. Many reads share a round; while one is on its
 * way, those that come wait for the next. A follower asks the leader for the index and waits for its own state machine.
 * With lease reads allowed, a leader that a majority answered lately needs no round.
 *
 * What can fail: nothing of this term is committed yet (the read waits), too many wait (refused), the leader steps down
 * or does not answer within an election timeout (refused with the reason; the caller asks again).
 *
 * Invariants: a round is the leader's own number, never a client's (E2 of the bug list); an index is answered only
 * after a round that began behind the read's arrival, and after a commit of the leader's term (E1).
 *
 * May include: core.h. */

#include "raftcore/core.h"

static void tell(struct raftcore *core, const struct read *read, uint16_t reason)
{
    if (read->from != 0) {
        struct raftcore_message answer = message_to(core, read->from, RAFTCORE_READ_ANSWER);
        answer.to_session = read->from_session;
        answer.context = read->context;
        answer.index = read->index;
        if (reason != 0) {
            answer.flags |= RAFTCORE_REFUSED;
            answer.reason = reason;
        }
        message_send(core, &answer, 0);
        return;
    }
    struct outputs *out = &core->out; /* on_read has made room for as many as can wait. */
    if (HOLDS(core, core->output.read_count < out->read_capacity)) {
        out->reads[core->output.read_count++] =
            (struct raftcore_read_result){.context = read->context, .index = read->index, .reason = reason};
    }
}

static bool term_is_committed(const struct raftcore *core)
{
    return core_is_leader(core) && (core->hard.commit >= core->term_first_index || ZOO(read_before_commit));
}

/* The next round confirms it: one that is on its way may have begun before the read came. */
static void join_round(struct raftcore *core, struct read *read)
{
    read->index = core->hard.commit;
    read->round = core->round + 1;
    read->state = READ_IN_ROUND;
    if (ZOO(read_without_round)) {
        read->state = READ_CONFIRMED;
    }
    if (ZOO(round_of_earlier_read)) {
        read->round = core->round > 0 ? core->round - 1 : 0;
    }
}

static void move_on(struct raftcore *core, struct read *read)
{
    if (read->state == READ_QUEUED && read->own_context == 0 && term_is_committed(core)) {
        join_round(core, read);
    }
    if (read->state == READ_IN_ROUND && read->round <= core->round_confirmed) {
        read->state = READ_CONFIRMED;
    }
    if (read->state == READ_CONFIRMED && (read->from != 0 || core->applied >= read->index)) {
        tell(core, read, 0);
        read->state = READ_DONE;
    }
    bool is_handed_on = read->state == READ_QUEUED && read->own_context != 0;
    if (is_handed_on && core->now_ns - read->since_ns >= core->options.election_timeout_ns) {
        tell(core, read, RAFTCORE_REASON_LEADER_CHANGED);
        read->state = READ_DONE;
    }
}

void read_advance(struct raftcore *core)
{
    uint32_t kept = 0;
    bool wants_round = false, has_round = false;
    for (uint32_t i = 0; i < core->read_count; i++) {
        struct read *read = &core->reads[i];
        move_on(core, read);
        if (read->state == READ_IN_ROUND) {
            wants_round = wants_round || read->round > core->round;
            has_round = has_round || read->round <= core->round;
        }
        if (read->state != READ_DONE) {
            core->reads[kept++] = *read;
        }
    }
    core->read_count = kept;
    if (wants_round && !has_round) {
        core->owes_round = true;
    }
}

void read_fail_all(struct raftcore *core, uint16_t reason)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < core->read_count; i++) {
        if (core->reads[i].state == READ_CONFIRMED) {
            core->reads[kept++] = core->reads[i]; /* It was the leader when it was asked: that stays true. */
        } else {
            tell(core, &core->reads[i], reason);
        }
    }
    core->read_count = kept;
}

/* 0, and there is room for one more; or the reason. */
static uint16_t make_room(struct raftcore *core)
{
    if (core->read_count >= core->options.reads_max) {
        return RAFTCORE_REASON_READS_FULL;
    }
    bool has_room = memory_reserve(&core->memory, (void **)&core->reads, &core->read_capacity, sizeof(*core->reads),
                                   (uint64_t)core->read_count + 1) &&
                    memory_reserve(&core->memory, (void **)&core->out.reads, &core->out.read_capacity,
                                   sizeof(*core->out.reads), (uint64_t)core->output.read_count + core->read_count + 1);
    return has_room ? 0 : RAFTCORE_REASON_MEMORY;
}

static struct read *add(struct raftcore *core, uint64_t context, uint64_t from)
{
    struct read *read = &core->reads[core->read_count++];
    *read = (struct read){.context = context, .from = from, .since_ns = core->now_ns};
    return read;
}

int on_read(struct raftcore *core, const struct raftcore_event *event)
{
    bool lease = event->read.lease;
    if (core->snapshot_damaged) {
        return RAFTCORE_REASON_DAMAGED; /* The state machine has nothing yet. */
    }
    if (!core_is_leader(core) && core->leader == 0) {
        return RAFTCORE_REASON_NOT_LEADER;
    }
    if (lease && !core->options.lease_reads) {
        return RAFTCORE_REASON_LEASES_OFF;
    }
    uint16_t reason = make_room(core);
    if (reason != 0) {
        return reason;
    }
    struct read *read = add(core, event->read.context, 0);
    if (!core_is_leader(core)) {
        read->own_context = ++core->read_context;
        struct raftcore_message request = message_to(core, core->leader, RAFTCORE_READ_REQUEST);
        request.context = read->own_context;
        message_send(core, &request, 0);
        return 0;
    }
    if (lease && term_is_committed(core) && core->now_ns < core->lease_until_ns && !core->lease_is_void) {
        read->index = core->hard.commit;
        read->state = READ_CONFIRMED;
    }
    read_advance(core);
    return 0;
}

int on_read_request(struct raftcore *core, const struct raftcore_message *message)
{
    if (!core_is_leader(core)) {
        message_refuse(core, message, RAFTCORE_REASON_NOT_LEADER);
        return RAFTCORE_REASON_NOT_LEADER;
    }
    uint16_t reason = make_room(core);
    if (reason != 0) {
        message_refuse(core, message, reason);
        return reason;
    }
    struct read *read = add(core, message->context, message->from);
    read->from_session = message->session;
    read_advance(core);
    return 0;
}

int on_read_answer(struct raftcore *core, const struct raftcore_message *answer)
{
    for (uint32_t i = 0; i < core->read_count; i++) {
        struct read *read = &core->reads[i];
        if (answer->to_session != core->session || answer->from != core->leader ||
            read->own_context != answer->context || read->own_context == 0 || read->state != READ_QUEUED) {
            continue;
        }
        if ((answer->flags & RAFTCORE_REFUSED) != 0) {
            tell(core, read, answer->reason);
            read->state = READ_DONE;
        } else {
            read->index = answer->index;
            read->state = READ_CONFIRMED;
        }
        read_advance(core);
        return 0;
    }
    return RAFTCORE_REASON_STALE_TERM;
}
