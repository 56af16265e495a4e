/* check.c - what must hold, always; and what happens when it does not.
 *
 * The happy path: nothing. The cheap checks stand where the state changes (HOLDS); here is everything that one node can
 * know of itself. What holds between nodes (one leader a term, log matching, leader completeness) is checked by those
 * who see all of them: the tests.
 *
 * What can fail: an invariant; then the core is broken for good, with the place and the words, and refuses everything.
 * That is a fault of this code, of the memory or of the storage; a peer cannot cause it.
 *
 * Invariants: the ones below, by the names that the protocol study gives them in its section 8.
 *
 * May include: core.h. */

#include "raftcore/core.h"

#include <stdio.h>
#include <string.h>

void core_break(struct raftcore *core, const char *file, int line, const char *what)
{
    if (core->broken != 0) {
        return; /* The first one counts. */
    }
    core->broken = RAFTCORE_REASON_BROKEN;
    core->role = RAFTCORE_BROKEN;
    core->leader = 0;
    const char *name = strrchr(file, '/');
    snprintf(core->broken_text, sizeof(core->broken_text), "%s:%d: %s", name == NULL ? file : name + 1, line, what);
}

const char *raftcore_broken(const struct raftcore *core)
{
    return core->broken == 0 ? NULL : core->broken_text;
}

#define MUST(condition)        \
    do {                       \
        if (!(condition)) {    \
            return #condition; \
        }                      \
    } while (0)

static const char *check_log(const struct raftcore *core)
{
    const struct log *log = &core->log;
    uint64_t index = log->first_index - 1, term = log->before_term;
    MUST(log->first_index > 0 && log->last_index + 1 >= log->first_index);
    MUST(log->held_first >= log->first_index && log->held_first <= log->last_index + 1);
    for (uint32_t i = 0; i < log->run_count; i++) {
        MUST(log->runs[i].first_index > index);
        MUST(log->runs[i].first_index <= log->last_index);
        MUST(log->runs[i].term >= term && (i == 0 || log->runs[i].term > term));
        index = log->runs[i].first_index;
        term = log->runs[i].term;
    }
    MUST(log->run_count == 0 || log->runs[0].first_index == log->first_index);
    MUST(log->run_count > 0 || log->last_index + 1 == log->first_index);
    MUST(log_last_term(log) <= core->hard.term);
    uint64_t bytes = 0;
    for (uint64_t i = log->held_first; i <= log->last_index; i++) {
        uint64_t run_term = 0;
        bytes += log_held(log, i)->size;
        MUST(log_term(log, i, &run_term) && run_term == log_held(log, i)->term);
    }
    MUST(bytes == log->held_bytes);
    return NULL;
}

static const char *check_persist(const struct raftcore *core)
{
    MUST(core->durable_index <= core->log.last_index);
    MUST(core->durable_sequence <= core->last_sequence);
    MUST(core->covered_sequence <= core->durable_sequence);
    MUST(core->term_sequence <= core->last_sequence && core->vote_sequence <= core->last_sequence);
    MUST(core->hard.term <= core->limit_in_force || core->recovery_sequence > 0);
    MUST(core->limit_in_force <= core->hard.term_limit);
    uint64_t sequence = core->durable_sequence;
    for (uint32_t i = 0; i < core->flight_count; i++) {
        MUST(core->flights[core->flight_head + i].sequence > sequence);
        sequence = core->flights[core->flight_head + i].sequence;
    }
    MUST(sequence == core->last_sequence);
    for (uint32_t i = 0; i < core->waiting_count; i++) {
        MUST(core->waiting[core->waiting_head + i].after <= core->last_sequence);
    }
    return NULL;
}

static const char *check_state_machine(const struct raftcore *core)
{
    uint64_t held = 0;
    MUST(core->hard.commit <= core->log.last_index);
    MUST(core->hard.commit + 1 >= core->log.first_index);
    MUST(core->applied <= core->given && core->given <= core->hard.commit);
    MUST(core->snapshot.index <= core->hard.commit);
    MUST(core->snapshot.index + 1 >= core->log.first_index);
    for (uint64_t i = core->applied + 1; i <= core->hard.commit; i++) {
        const struct raftcore_entry *entry = log_held(&core->log, i);
        held += entry == NULL ? 0 : entry->size;
    }
    MUST(held == core->unapplied_bytes);
    return NULL;
}

static const char *check_configuration(const struct raftcore *core)
{
    MUST(core->stack_count > 0);
    for (uint32_t i = 0; i < core->stack_count; i++) {
        MUST(configuration_check(&core->stack[i].configuration) == 0);
        MUST(i == 0 || core->stack[i].index > core->stack[i - 1].index);
    }
    MUST(core->stack[0].index <= core->snapshot.index);
    MUST(core_configuration_index(core) <= core->log.last_index);
    /* The top is the newest configuration entry among those held. */
    for (uint64_t i = core->log.held_first; i <= core->log.last_index; i++) {
        bool is_one = log_held(&core->log, i)->type == RAFTCORE_ENTRY_CONFIGURATION;
        MUST(!is_one || i <= core_configuration_index(core));
    }
    return NULL;
}

static const char *check_leader(const struct raftcore *core)
{
    if (!core_is_leader(core)) {
        MUST(core->transfer_to == 0);
        return NULL;
    }
    MUST(core->hard.vote == core->options.id);
    MUST(core->term_sequence <= core->durable_sequence);
    MUST(core->leader == core->options.id);
    MUST(core->term_first_index <= core->log.last_index);
    MUST(core->round_confirmed <= core->round);
    uint64_t id = 0, uncommitted = 0;
    for (uint32_t i = 0; i < core->peer_count; i++) {
        const struct progress *peer = &core->peers[i];
        MUST(peer->id > id && peer->id != core->options.id);
        MUST(peer->match < peer->next);
        MUST(peer->match <= core->log.last_index);
        MUST(peer->next <= core->log.last_index + 1);
        MUST(peer->state == RAFTCORE_REPLICATE || peer->inflight_count == 0);
        id = peer->id;
    }
    for (uint64_t i = core->hard.commit + 1; i <= core->log.last_index; i++) {
        const struct raftcore_entry *entry = log_held(&core->log, i);
        uncommitted += entry == NULL ? 0 : entry->size;
    }
    MUST(uncommitted == core->uncommitted_bytes);
    /* A commit that is owed is never put off. */
    uint64_t matches[RAFTCORE_MEMBERS_MAX] = {0};
    const struct raftcore_configuration *configuration = core_configuration(core);
    for (uint32_t i = 0; i < configuration->count; i++) {
        for (uint32_t j = 0; j < core->peer_count; j++) {
            if (core->peers[j].id == configuration->members[i].id && !core->peers[j].quarantined) {
                matches[i] = core->peers[j].match;
            }
        }
        if (configuration->members[i].id == core->options.id) {
            matches[i] = core->durable_index;
        }
    }
    uint64_t term = 0, reached = quorum_reached(configuration, matches);
    bool owed = core->hole_count == 0 && reached > core->hard.commit && log_term(&core->log, reached, &term) &&
                term == core->hard.term;
    MUST(!owed);
    return NULL;
}

/* What begin_output leaves in an output must not be what another step gave out. */
static const char *check_output(const struct raftcore *core)
{
    const struct raftcore_output *output = &core->output;
    bool has_more = output->unit.sequence != 0 || output->piece.snapshot.index != 0 || output->splice.count > 0;
    MUST(core->gives_more == has_more);
    MUST(output->unit.sequence == 0 || output->unit.sequence == core->last_sequence);
    return NULL;
}

static const char *check_damage(const struct raftcore *core)
{
    uint64_t end = 0;
    for (uint32_t i = 0; i < core->hole_count; i++) {
        MUST(core->holes[i].first > end && core->holes[i].last >= core->holes[i].first);
        MUST(core->holes[i].anchor_index >= core->holes[i].last);
        end = core->holes[i].last;
    }
    for (uint32_t i = 0; i < core->hole_count; i++) { /* One that was found behind applying it lies below. */
        MUST(core->holes[i].last <= core->given || core->holes[i].first > core->given);
    }
    MUST(is_whole(core) || core->role == RAFTCORE_FOLLOWER || core->hole_count > 0 || core->campaign_is_roll_call);
    return NULL;
}

const char *raftcore_check(const struct raftcore *core)
{
    static const char *(*const checks[])(const struct raftcore *) = {
        check_log, check_persist, check_state_machine, check_configuration, check_leader, check_damage, check_output};
    if (core->broken != 0) {
        return core->broken_text;
    }
    for (size_t i = 0; core->started && i < sizeof(checks) / sizeof(checks[0]); i++) {
        const char *wrong = checks[i](core);
        if (wrong != NULL) {
            return wrong;
        }
    }
    return NULL;
}
