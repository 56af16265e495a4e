/* transfer.c - leadership, handed on.
 *
 * The happy path (dissertation, 3.10): the leader takes no proposals any more, brings the chosen voter up to its own
 * last entry, and tells it to campaign at once; its requests carry the leader's wish, so nobody refuses them because a
 * leader is alive. The new term ends the old leadership.
 *
 * What can fail: it takes longer than an election timeout: the leader goes on as before (D9 of the bug list).
 *
 * Invariants: only a whole voter of the newest configuration is chosen, and told only when it has everything (C18).
 *
 * May include: core.h. */

#include "raftcore/core.h"

static bool may_take_over(const struct raftcore *core, const struct progress *peer)
{
    return peer != NULL && peer->is_member && !peer->damaged && !peer->quarantined &&
           configuration_is_voter(core_configuration(core), peer->id);
}

static void tell_to_campaign(struct raftcore *core, const struct progress *peer)
{
    core->lease_is_void = true;
    struct raftcore_message offer = message_to(core, peer->id, RAFTCORE_TIMEOUT_NOW);
    offer.stream = peer->stream;
    offer.to_session = peer->session;
    offer.index = core->log.last_index;
    offer.log_term = log_last_term(&core->log);
    message_send(core, &offer, 0);
}

static const struct progress *best_peer(const struct raftcore *core)
{
    const struct progress *best = NULL;
    for (uint32_t i = 0; i < core->peer_count; i++) {
        const struct progress *peer = &core->peers[i];
        bool is_alive = core->now_ns - peer->heard_ns < core->options.election_timeout_ns;
        if (is_alive && may_take_over(core, peer) &&
            (best == NULL || peer->match > best->match ||
             (peer->match == best->match && peer->heard_ns > best->heard_ns))) {
            best = peer;
        }
    }
    return best;
}

void transfer_to_best(struct raftcore *core)
{
    const struct progress *best = best_peer(core);
    if (best != NULL) {
        tell_to_campaign(core, best);
    }
}

void transfer_advance(struct raftcore *core)
{
    if (!core_is_leader(core) || core->transfer_to == 0 || core->transfer_sent) {
        return;
    }
    const struct progress *peer = peer_find(core, core->transfer_to);
    if (!may_take_over(core, peer)) {
        core->transfer_to = 0;
    } else if (peer->match == core->log.last_index) {
        core->transfer_sent = true;
        tell_to_campaign(core, peer);
    }
}

void transfer_time(struct raftcore *core)
{
    /* Is there a transfer at all? Else the line that its end is in is not touched. */
    if (core_is_leader(core) && core->transfer_to != 0 && core->now_ns >= core->transfer_until_ns) {
        core->transfer_to = 0;
    }
}

int on_transfer(struct raftcore *core, const struct raftcore_event *event)
{
    if (!core_is_leader(core)) {
        return core->leader == 0 ? RAFTCORE_REASON_NOT_LEADER : RAFTCORE_REASON_LEADER_ELSEWHERE;
    }
    uint64_t to = event->transfer.to;
    if (to == core->options.id) {
        return RAFTCORE_REASON_INVALID;
    }
    const struct progress *peer = to == 0 ? best_peer(core) : peer_find(core, to);
    if (!may_take_over(core, peer)) {
        return peer != NULL && peer->damaged ? RAFTCORE_REASON_DAMAGED : RAFTCORE_REASON_NOT_A_MEMBER;
    }
    if (core_configuration_index(core) > core->hard.commit) {
        return RAFTCORE_REASON_CHANGE_PENDING;
    }
    if (core->transfer_to == peer->id) {
        return RAFTCORE_REASON_TRANSFERRING;
    }
    core->transfer_to = peer->id;
    core->transfer_sent = false;
    core->transfer_until_ns = core->now_ns + core->options.election_timeout_ns;
    core->owes_appends = true;
    transfer_advance(core);
    return 0;
}

int on_timeout_now(struct raftcore *core, const struct raftcore_message *message)
{
    if (core->leader != message->from || message->to_session != core->session) {
        return RAFTCORE_REASON_STALE_TERM;
    }
    return campaign(core, true, true, false);
}
