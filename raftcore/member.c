/* member.c - who counts, and how that changes while the cluster runs.
 *
 * The happy path: the leader checks that it may (C3), computes the configuration that would result, and appends it
 * whole as an entry; from that moment it counts, committed or not (C1). A change of more than one voter goes through a
 * joint configuration, which the leader leaves as soon as it is committed (C6). A new voter is a learner first and is
 * promoted when it has caught up within one election timeout (C12).
 *
 * What can fail: a change that is not allowed now, with the reason. A configuration whose entry is truncated is rolled
 * back to the one below it on the stack (C2).
 *
 * Invariants: the stack's top is the newest configuration entry of the log, or the snapshot's configuration; indexes
 * rise; of two voters of a term's leader no change is ever made before an entry of that term is committed (B2 of the
 * bug list).
 *
 * May include: core.h, codec.h. */

#include "raftcore/codec.h"
#include "raftcore/core.h"

#include <string.h>

bool core_is_voter(const struct raftcore *core)
{
    return configuration_is_voter_with_log(core_configuration(core), core->options.id, core->options.log_id);
}

/* --- the stack ----------------------------------------------------------------------------------- */

bool member_entry_is_right(const struct raftcore_entry *entry, struct raftcore_configuration *configuration)
{
    return entry->data != NULL && codec_decode_configuration(entry->data, entry->size, configuration) &&
           configuration->count > 0 && configuration_check(configuration) == 0;
}

bool member_reserve(struct raftcore *core, uint64_t count)
{
    uint64_t members = count == 0 ? core_configuration(core)->count : RAFTCORE_MEMBERS_MAX;
    return memory_reserve(&core->memory, (void **)&core->stack, &core->stack_capacity, sizeof(*core->stack),
                          core->stack_count + count) &&
           memory_reserve(&core->memory, (void **)&core->peers, &core->peer_capacity, sizeof(*core->peers),
                          core->peer_count + members);
}

void configuration_in_force_changed(struct raftcore *core)
{
    core->output.configuration_changed = true;
    memset(core->votes, 0, sizeof(core->votes)); /* They stand by members' places. */
    if (core_is_leader(core)) {
        replicate_members(core);
    }
}

void member_push(struct raftcore *core, uint64_t index, const struct raftcore_configuration *configuration)
{
    if (HOLDS(core, core->stack_count < core->stack_capacity) && HOLDS(core, index > core_configuration_index(core))) {
        core->stack[core->stack_count++] = (struct stacked){.index = index, .configuration = *configuration};
        configuration_in_force_changed(core);
    }
}

void member_insert(struct raftcore *core, uint64_t index, const struct raftcore_configuration *configuration)
{
    uint32_t at = core->stack_count;
    while (at > 0 && core->stack[at - 1].index > index) {
        at--;
    }
    if (at == 0 || core->stack[at - 1].index == index || !HOLDS(core, core->stack_count < core->stack_capacity)) {
        return; /* The snapshot holds it, or it is known. */
    }
    memmove(core->stack + at + 1, core->stack + at, (core->stack_count - at) * sizeof(*core->stack));
    core->stack[at] = (struct stacked){.index = index, .configuration = *configuration};
    core->stack_count++;
    if (at + 1 == core->stack_count) {
        configuration_in_force_changed(core);
    }
}

void member_truncate(struct raftcore *core, uint64_t from)
{
    bool popped = false;
    while (core->stack_count > 1 && core_configuration_index(core) >= from) {
        if (ZOO(configuration_not_rolled_back)) {
            core->stack[core->stack_count - 1].index = from - 1;
            return;
        }
        core->stack_count--;
        popped = true;
    }
    if (popped && HOLDS(core, core_configuration_index(core) < from)) {
        configuration_in_force_changed(core);
    }
}

void member_compact(struct raftcore *core, uint64_t to)
{
    uint32_t gone = 0;
    while (gone + 1 < core->stack_count && core->stack[gone + 1].index <= to) {
        gone++;
    }
    core->stack_count -= gone;
    memmove(core->stack, core->stack + gone, core->stack_count * sizeof(*core->stack));
}

/* --- changes ------------------------------------------------------------------------------------- */

/* C3, but for the change itself. */
static int gate(const struct raftcore *core, bool is_leave)
{
    if (!core_is_leader(core)) {
        return core->leader == 0 ? RAFTCORE_REASON_NOT_LEADER : RAFTCORE_REASON_LEADER_ELSEWHERE;
    }
    if (core->hard.commit < core->term_first_index && !ZOO(change_before_commit)) {
        return RAFTCORE_REASON_NOT_COMMITTED;
    }
    if (core_configuration_index(core) > core->hard.commit && !ZOO(change_while_pending)) {
        return RAFTCORE_REASON_CHANGE_PENDING;
    }
    if (configuration_is_joint(core_configuration(core)) != is_leave) {
        return RAFTCORE_REASON_JOINT;
    }
    return core->transfer_to != 0 ? RAFTCORE_REASON_TRANSFERRING : 0;
}

static int append_configuration(struct raftcore *core, const struct raftcore_configuration *configuration)
{
    int reason = configuration_check(configuration);
    if (reason != 0 || !member_reserve(core, 1)) {
        return reason != 0 ? reason : RAFTCORE_REASON_MEMORY;
    }
    size_t bytes = codec_configuration_bytes(configuration);
    struct own_payload *payload = persist_take_payload(core, bytes);
    if (payload == NULL) {
        return RAFTCORE_REASON_MEMORY;
    }
    codec_encode_configuration(configuration, payload->bytes);
    struct raftcore_entry entry = {
        .type = RAFTCORE_ENTRY_CONFIGURATION, .data = payload->bytes, .size = (uint32_t)bytes, .reserved = 1};
    uint64_t index = 0;
    reason = propose(core, &entry, 1, &index);
    if (reason != 0) {
        persist_release(core, &entry);
        return reason;
    }
    member_push(core, index, configuration);
    struct raftcore_configuration left;
    if (ZOO(left_early) && configuration->leave_automatically && configuration_leave_joint(configuration, &left) == 0) {
        (void)append_configuration(core, &left);
    }
    return 0;
}

/* C12: a voter that has not caught up would make the others wait. */
static bool brings_a_stranger(struct raftcore *core, const struct raftcore_configuration *after)
{
    for (uint32_t i = 0; i < after->count; i++) {
        const struct raftcore_member *member = &after->members[i];
        if ((member->flags & RAFTCORE_VOTER) == 0 || member->id == core->options.id ||
            configuration_is_voter(core_configuration(core), member->id)) {
            continue;
        }
        const struct progress *peer = peer_find(core, member->id);
        if (peer == NULL || !peer->caught_up || peer->damaged) {
            return true;
        }
    }
    return false;
}

int on_change(struct raftcore *core, const struct raftcore_event *event)
{
    uint32_t count = event->change.count;
    int reason = gate(core, count == 0);
    if (reason != 0) {
        return reason;
    }
    struct raftcore_configuration after;
    reason =
        configuration_change(core_configuration(core), event->change.changes, count, event->change.transition, &after);
    if (reason == 0 && !event->change.unchecked && brings_a_stranger(core, &after)) {
        reason = RAFTCORE_REASON_NOT_CAUGHT_UP;
    }
    return reason != 0 ? reason : append_configuration(core, &after);
}

/* --- what follows by itself ---------------------------------------------------------------------- */

void member_promote(struct raftcore *core)
{
    const struct raftcore_configuration *configuration = core_configuration(core);
    for (uint32_t i = 0; i < configuration->count; i++) {
        const struct raftcore_member *member = &configuration->members[i];
        const struct progress *peer = (member->flags & RAFTCORE_PROMOTE) == 0 ? NULL : peer_find(core, member->id);
        if (peer == NULL || !peer->caught_up || peer->damaged || gate(core, false) != 0) {
            continue;
        }
        struct raftcore_change change = {.kind = RAFTCORE_ADD_VOTER, .id = member->id};
        struct raftcore_configuration after;
        if (configuration_simple(configuration, &change, 1, &after) == 0) {
            (void)append_configuration(core, &after); /* Refused: the next heartbeat tries again. */
        }
        return;
    }
}

void member_matched(struct raftcore *core, uint64_t id)
{
    struct progress *peer = peer_find(core, id);
    if (peer == NULL || peer->match < peer->catch_up_to) {
        return;
    }
    /* A round is over: what had come in during the one before has been sent (dissertation, 4.2.1). */
    peer->caught_up = core->now_ns - peer->catch_up_since_ns < core->options.election_timeout_ns ||
                      peer->match == core->log.last_index; /* The next one would have nothing to send. */
    peer->catch_up_to = core->log.last_index;
    peer->catch_up_since_ns = core->now_ns;
    member_promote(core);
}

void member_committed(struct raftcore *core)
{
    if (!core_is_leader(core) || core_configuration_index(core) > core->hard.commit) {
        return;
    }
    const struct raftcore_configuration *configuration = core_configuration(core);
    if (configuration_is_joint(configuration)) {
        struct raftcore_configuration after;
        if (configuration->leave_automatically && gate(core, true) == 0 &&
            configuration_leave_joint(configuration, &after) == 0) {
            (void)append_configuration(core, &after); /* C6. */
        }
        return;
    }
    if (!core_is_voter(core) && !core->options.stay_when_removed) {
        core->retires = true; /* C10: finish() tells everybody first. */
        core->owes_appends = core->owes_commit = true;
        return;
    }
    member_promote(core);
}
