/* persist.c - the unit that a step makes, the units on their way, and the messages that wait for them.
 *
 * The happy path: handlers draft (a term, a vote, entries, a truncation); finish() makes one unit of the draft and
 * gives it a sequence; the caller makes it durable and says so; what waited for it leaves. Completions come in order,
 * so that a sequence says everything: there is no other identity to compare.
 *
 * What can fail: storage that reports what it was never given is broken, and so is the core then (A4). Memory for
 * entries is made sure of before they are pushed. A unit needs none: without room for another flight the newest one
 * stands for the new unit too, and both count as durable with the later one. So no event has to be refused because it
 * may make a unit, least of all one that tells of what happened. A waiting message for which there is no room is
 * dropped, as a network may drop it.
 *
 * Invariants: sequences grow by 1; durable_index <= durable_last and <= last index; it falls when entries are
 * truncated, not when that is durable (A17); waiting messages leave in the order in which they were made (A7).
 *
 * May include: core.h. */

#include "raftcore/core.h"

#include <stddef.h>

/* --- drafting ------------------------------------------------------------------------------------ */

uint64_t persist_draft_sequence(const struct raftcore *core)
{
    return core->last_sequence + 1;
}

bool persist_has_room(const struct raftcore *core)
{
    return core->last_sequence - core->durable_sequence < core->options.units_max;
}

void persist_limit(struct raftcore *core, uint64_t limit)
{
    /* One raise at a time: each must be covered before it is in force, and the next would begin that anew. */
    if (limit > core->hard.term_limit && core->limit_sequence <= core->covered_sequence) {
        core->hard.term_limit = limit;
        core->limit_sequence = persist_draft_sequence(core);
        core->draft.hard_state = true;
    }
}

static void keep_limit_ahead(struct raftcore *core)
{
    if (core->hard.term_limit - core->hard.term < TERM_LIMIT_MARGIN) {
        persist_limit(core, core->hard.term + TERM_LIMIT_STEP);
    }
}

void persist_term(struct raftcore *core, uint64_t term, uint64_t vote)
{
    if (!HOLDS(core, term >= core->hard.term) || !HOLDS(core, term <= core->limit_in_force)) {
        return;
    }
    if (term != core->hard.term) {
        core->term_sequence = persist_draft_sequence(core);
    }
    core->hard.term = term;
    core->hard.vote = vote;
    core->vote_sequence = persist_draft_sequence(core);
    core->draft.hard_state = true;
    core->quarantined_count = 0;
    keep_limit_ahead(core);
}

void persist_vote(struct raftcore *core, uint64_t vote)
{
    if (!HOLDS(core, core->hard.vote == 0)) {
        return; /* One vote a term. */
    }
    core->hard.vote = vote;
    core->vote_sequence = persist_draft_sequence(core);
    core->draft.hard_state = true;
}

/* For all that is held there is always room to release it, so that shrinking needs no memory. */
bool persist_reserve(struct raftcore *core, uint64_t count, uint64_t terms)
{
    uint64_t held = core->log.last_index + 1 - core->log.held_first;
    return log_reserve(&core->log, count, terms) &&
           memory_reserve(&core->memory, (void **)&core->out.released, &core->out.released_capacity,
                          sizeof(*core->out.released), core->output.released_count + held + count);
}

void persist_push(struct raftcore *core, const struct raftcore_entry *entry)
{
    if (!HOLDS(core, entry->term >= log_last_term(&core->log)) || !HOLDS(core, entry->term <= core->hard.term)) {
        return;
    }
    log_push(&core->log, entry);
    if (core->draft.first_index == 0) {
        core->draft.first_index = core->log.last_index;
    }
}

struct own_payload *persist_take_payload(struct raftcore *core, size_t bytes)
{
    struct own_payload *payload = memory_resize(&core->memory, NULL, 0, sizeof(*payload) + bytes);
    if (payload != NULL) {
        payload->size = bytes;
    }
    return payload;
}

void persist_free_payloads(struct raftcore *core)
{
    while (core->to_free != NULL) {
        struct own_payload *payload = core->to_free;
        core->to_free = payload->next;
        memory_resize(&core->memory, payload, sizeof(*payload) + payload->size, 0);
    }
}

/* Payloads of the caller's go back to him; those of the core's own are freed when this output is not needed any more.
 */
void persist_release(struct raftcore *core, const struct raftcore_entry *entry)
{
    if (entry->reserved != 0) {
        uint8_t *bytes = (uint8_t *)(uintptr_t)entry->data;
        struct own_payload *payload = (struct own_payload *)(void *)(bytes - offsetof(struct own_payload, bytes));
        payload->next = core->to_free;
        core->to_free = payload;
    } else if (entry->size > 0 && HOLDS(core, core->output.released_count < core->out.released_capacity)) {
        core->out.released[core->output.released_count++] = *entry; /* There is room for all that are held. */
    }
}

void persist_truncate(struct raftcore *core, uint64_t from)
{
    if (!HOLDS(core, from > core->hard.commit) || !HOLDS(core, from > core->given) ||
        !HOLDS(core, from <= core->log.last_index) || !HOLDS(core, core->draft.first_index == 0)) {
        return;
    }
    for (uint64_t index = from; index <= core->log.last_index; index++) {
        const struct raftcore_entry *entry = log_held(&core->log, index);
        if (entry != NULL) {
            persist_release(core, entry);
        }
    }
    log_truncate(&core->log, from);
    if (core->draft.truncate_from == 0 || from < core->draft.truncate_from) {
        core->draft.truncate_from = from;
    }
    if (core->durable_index >= from && !ZOO(durable_index_not_lowered)) {
        core->durable_index = from - 1;
    }
}

void persist_let_go(struct raftcore *core)
{
    if (core->log.held_first > core->log.last_index) {
        return; /* Nothing is held: all that a core without traffic looks at here. */
    }
    uint64_t below = core->applied < core->durable_index ? core->applied : core->durable_index;
    for (uint32_t i = 0; core_is_leader(core) && i < core->peer_count; i++) {
        const struct progress *peer = &core->peers[i];
        if (peer->state == RAFTCORE_REPLICATE && peer->match < below &&
            core->log.held_bytes <= core->options.cache_bytes) {
            below = peer->match;
        }
    }
    for (uint64_t index = core->log.held_first; index <= below && index <= core->log.last_index; index++) {
        persist_release(core, log_held(&core->log, index));
    }
    log_let_go(&core->log, below + 1);
}

void persist_compact(struct raftcore *core, uint64_t first_kept)
{
    for (uint64_t index = core->log.held_first; index < first_kept && index <= core->log.last_index; index++) {
        persist_release(core, log_held(&core->log, index));
    }
    log_compact(&core->log, first_kept);
}

void persist_install(struct raftcore *core, const struct raftcore_snapshot *snapshot, bool keep_suffix)
{
    core->draft.install = true;
    core->draft.keep_suffix = keep_suffix;
    core->installed = *snapshot;
    if (keep_suffix) {
        persist_compact(core, snapshot->index + 1);
        return;
    }
    for (uint64_t index = core->log.held_first; index <= core->log.last_index; index++) {
        persist_release(core, log_held(&core->log, index));
    }
    log_reset(&core->log, snapshot->index, snapshot->term);
    core->durable_index = 0;
}

/* --- when what is durable ------------------------------------------------------------------------ */

static struct flight *flight_at(const struct raftcore *core, uint32_t place)
{
    return &core->flights[core->flight_head + place];
}

static uint64_t first_touched(const struct draft *draft)
{
    if (draft->install && !draft->keep_suffix) {
        return 1; /* Everything is replaced. What keep_suffix keeps is the same before and after. */
    }
    if (draft->truncate_from != 0) {
        return draft->truncate_from;
    }
    return draft->first_index != 0 ? draft->first_index : RAFTCORE_INFINITY;
}

static void recompute_durable_index(struct raftcore *core)
{
    uint64_t durable = core->durable_last;
    for (uint32_t i = 0; i < core->flight_count; i++) {
        uint64_t touched = flight_at(core, i)->first_touched;
        if (touched <= durable && !ZOO(durable_index_not_lowered)) {
            durable = touched - 1;
        }
    }
    if (HOLDS(core, durable <= core->log.last_index)) {
        core->durable_index = durable;
    }
}

uint64_t persist_after_match(const struct raftcore *core, uint64_t index)
{
    uint64_t after = core->term_sequence;
    if (ZOO(durable_index_not_lowered) && index <= core->durable_index) {
        return after;
    }
    if (first_touched(&core->draft) <= index) {
        return persist_draft_sequence(core);
    }
    for (uint32_t i = core->flight_count; i-- > 0;) {
        if (flight_at(core, i)->first_touched <= index) {
            return flight_at(core, i)->sequence > after ? flight_at(core, i)->sequence : after;
        }
    }
    return after;
}

int persist_done(struct raftcore *core, uint64_t sequence, uint64_t covered)
{
    if (!HOLDS(core, sequence <= core->last_sequence) || !HOLDS(core, sequence >= core->durable_sequence) ||
        !HOLDS(core, covered <= sequence)) {
        return RAFTCORE_REASON_BROKEN;
    }
    while (core->flight_count > 0 && flight_at(core, 0)->sequence <= sequence) {
        core->durable_last = flight_at(core, 0)->last_index;
        core->durable_sequence = flight_at(core, 0)->sequence;
        core->flight_head++;
        core->flight_count--;
    }
    if (sequence > core->durable_sequence && core->flight_count > 0) {
        /* Some of those that share a flight: the disk moves, and when the next of them was issued nobody knows. */
        flight_at(core, 0)->issued_ns = core->now_ns;
    }
    core->durable_sequence = sequence;
    if (covered > core->covered_sequence) {
        core->covered_sequence = covered;
    }
    if (core->covered_sequence >= core->limit_sequence) {
        core->limit_in_force = core->hard.term_limit;
    }
    recompute_durable_index(core);
    return 0;
}

/* --- the unit ------------------------------------------------------------------------------------ */

static void add_flight(struct raftcore *core, const struct flight *flight)
{
    if (memory_reserve_row(&core->memory, (void **)&core->flights, &core->flight_capacity, &core->flight_head,
                           core->flight_count, sizeof(*core->flights), 1)) {
        core->flights[core->flight_head + core->flight_count++] = *flight;
        return;
    }
    /* At the newest, so that those in front of it still leave room as they become durable. */
    struct flight *newest = flight_at(core, core->flight_count - 1);
    newest->sequence = flight->sequence;
    newest->last_index = flight->last_index;
    if (flight->first_touched < newest->first_touched) {
        newest->first_touched = flight->first_touched;
    }
}

void persist_unit(struct raftcore *core)
{
    struct draft *draft = &core->draft;
    uint64_t touched = first_touched(draft);
    if (!draft->hard_state && !draft->install && touched == RAFTCORE_INFINITY) {
        return;
    }
    core->gives_more = true;
    struct raftcore_unit *unit = &core->output.unit;
    *unit = (struct raftcore_unit){
        .sequence = ++core->last_sequence,
        .hard_state = core->hard,
        .truncate_from = draft->truncate_from,
        .install_snapshot = draft->install,
        .keep_suffix = draft->keep_suffix,
    };
    if (draft->install) {
        unit->snapshot = core->installed;
    }
    if (ZOO(floor_forgotten)) {
        unit->hard_state.floor_term = unit->hard_state.floor_index = 0;
    }
    if (draft->first_index != 0) {
        unit->first_index = draft->first_index;
        unit->entries = log_held(&core->log, draft->first_index);
        unit->entry_count = (uint32_t)(core->log.last_index + 1 - draft->first_index);
        if (!HOLDS(core, unit->entries != NULL)) {
            return;
        }
    }
    add_flight(core, &(struct flight){.sequence = unit->sequence,
                                      .first_touched = touched,
                                      .last_index = core->log.last_index,
                                      .issued_ns = core->now_ns});
    *draft = (struct draft){0};
}

/* --- messages that wait -------------------------------------------------------------------------- */

/* Two answers of which the later says all that the earlier says (A29). */
static bool says_it_too(const struct raftcore_message *later, const struct raftcore_message *earlier)
{
    return later->kind == RAFTCORE_APPEND_ANSWER && earlier->kind == RAFTCORE_APPEND_ANSWER &&
           ((later->flags | earlier->flags) & RAFTCORE_REFUSED) == 0 && later->to == earlier->to &&
           later->term == earlier->term && later->stream == earlier->stream && later->index >= earlier->index;
}

void persist_release_messages(struct raftcore *core)
{
    while (core->waiting_count > 0) {
        struct waiting *waiting = &core->waiting[core->waiting_head];
        if (waiting->after > core->durable_sequence) {
            break;
        }
        core->waiting_head++;
        core->waiting_count--;
        const struct raftcore_message *message = &waiting->message;
        if (message->kind == RAFTCORE_VOTE_REQUEST) {
            if (message->term != core->hard.term || core->role != RAFTCORE_CANDIDATE) {
                continue; /* That campaign is over. */
            }
            election_requests_left(core);
        }
        if (core->waiting_count > 0) {
            const struct waiting *next = &core->waiting[core->waiting_head];
            if (next->after <= core->durable_sequence && says_it_too(&next->message, message)) {
                continue;
            }
        }
        message_send(core, message, 0);
    }
}
