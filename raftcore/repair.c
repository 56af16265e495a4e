/* repair.c - the beginning of a life, and what a damaged log may still do.
 *
 * The happy path: storage tells what it found, whole; the core takes it over as a follower and says nothing until the
 * unit that this makes, if any, is durable (B4).
 *
 * What can fail is what this file is about. The end of the log is uncertain: the term becomes the limit that was
 * reserved ahead, no vote is left in it, and the floor is above everything (B2, B3). Entries behind the last are gone,
 * but the hard state is not: the floor is what they may have been (B6). Entries in the middle do not read: a hole,
 * which any peer that can read it and its anchor may fill (B12); entries behind it stay and are served (B8). Until all
 * is well the node votes with max(own last, floor), does not campaign, and acknowledges what it durably has below the
 * hole (B7).
 *
 * Invariants: the floor is raised only at the start and void once the log's end has passed it; it is in every unit;
 * nothing is discarded but by the rules of every follower (B11); holes rise and do not touch.
 *
 * May include: core.h. */

#include "raftcore/core.h"

#include <string.h>

enum { SERVE_BYTES = 4 << 20 }; /* So much is read back for another node's hole at once. */

/* --- states -------------------------------------------------------------------------------------- */

bool is_floored(const struct raftcore *core)
{
    const struct raftcore_hard_state *hard = &core->hard;
    /* Nearly always there is none, and then the line with the log's last term is not touched. */
    return (hard->floor_term | hard->floor_index) != 0 &&
           !at_least(log_last_term(&core->log), core->log.last_index, hard->floor_term, hard->floor_index);
}

bool is_whole(const struct raftcore *core)
{
    return core->hole_count == 0 && !is_floored(core);
}

uint64_t first_hole(const struct raftcore *core)
{
    return core->hole_count == 0 ? RAFTCORE_INFINITY : core->holes[0].first;
}

uint64_t first_hole_above(const struct raftcore *core, uint64_t index)
{
    uint32_t i = 0;
    while (i < core->hole_count && core->holes[i].last <= index) {
        i++;
    }
    return i == core->hole_count ? RAFTCORE_INFINITY : core->holes[i].first;
}

bool repair_is_lost(const struct raftcore *core, uint64_t index)
{
    for (uint32_t i = 0; i < core->hole_count; i++) {
        if (index >= core->holes[i].first && index <= core->holes[i].last) {
            return true;
        }
    }
    return false;
}

void repair_raise_floor(struct raftcore *core)
{
    uint64_t last = core->log.last_index, last_term = log_last_term(&core->log);
    if (!at_least(core->hard.floor_term, core->hard.floor_index, last_term, last)) {
        core->hard.floor_term = last_term;
        core->hard.floor_index = last;
    }
    core->draft.hard_state = true;
}

static void drop_hole(struct raftcore *core, uint32_t place)
{
    core->hole_count--;
    memmove(core->holes + place, core->holes + place + 1, (core->hole_count - place) * sizeof(core->holes[0]));
}

void repair_log_changed(struct raftcore *core, uint64_t from)
{
    while (core->hole_count > 0 && core->holes[core->hole_count - 1].anchor_index >= from) {
        /* What was missing, or what named it, has been replaced by a leader's entries (B11). */
        struct raftcore_hole *hole = &core->holes[core->hole_count - 1];
        if (hole->first >= from) {
            drop_hole(core, core->hole_count - 1);
            continue;
        }
        break;
    }
}

void repair_covered(struct raftcore *core, uint64_t to)
{
    while (core->hole_count > 0 && core->holes[0].last <= to) {
        drop_hole(core, 0);
    }
    if (core->hole_count > 0 && core->holes[0].first <= to) {
        core->holes[0].first = to + 1;
    }
    if (core->hard.floor_index != 0 && !is_floored(core)) {
        core->hard.floor_term = core->hard.floor_index = 0;
    }
}

void repair_by_snapshot(struct raftcore *core)
{
    uint64_t end = 0, term = 0;
    for (uint32_t i = 0; i < core->hole_count && core->holes[i].last <= core->snapshot.index; i++) {
        end = core->holes[i].last;
        term = core->holes[i].anchor_index == end ? core->holes[i].anchor_term : 0;
    }
    if (end == 0 || core->snapshot_damaged) {
        return;
    }
    persist_compact(core, end + 1);
    core->log.before_term = end == core->snapshot.index ? core->snapshot.term : term; /* 0: nobody here knows. */
    core->output.compact_to = end + 1 > core->output.compact_to ? end + 1 : core->output.compact_to;
    repair_covered(core, end);
}

/* --- start --------------------------------------------------------------------------------------- */

static bool runs_are_right(const struct raftcore_start *start)
{
    uint64_t index = start->first_index - 1, term = 0;
    for (uint32_t i = 0; i < start->run_count; i++) {
        const struct raftcore_run *run = &start->runs[i];
        if (run->first_index <= index || run->term <= term || run->first_index > start->last_index ||
            (i == 0 && run->first_index != start->first_index)) {
            return false;
        }
        index = run->first_index;
        term = run->term;
    }
    return start->run_count > 0 || start->last_index + 1 == start->first_index;
}

static bool holes_are_right(const struct raftcore_start *start)
{
    uint64_t end = start->first_index;
    for (uint32_t i = 0; i < start->hole_count; i++) {
        const struct raftcore_hole *hole = &start->holes[i];
        if (hole->first < end || hole->last < hole->first || hole->anchor_index < hole->last ||
            hole->anchor_index > start->last_index || hole->anchor_term == 0) {
            return false;
        }
        end = hole->anchor_index + 1; /* What names a hole reads, so it is in no other. */
    }
    return start->hole_count <= RAFTCORE_HOLES_MAX;
}

static bool configurations_are_right(const struct raftcore_start *start)
{
    uint64_t index = start->snapshot.index;
    for (uint32_t i = 0; i < start->configuration_count; i++) {
        const struct raftcore_configuration_entry *entry = &start->configurations[i];
        if (entry->index <= index || entry->index > start->last_index ||
            configuration_check(&entry->configuration) != 0) {
            return false;
        }
        index = entry->index;
    }
    return configuration_check(&start->configuration) == 0;
}

static bool start_is_right(const struct raftcore_start *start)
{
    return start->session != 0 && start->first_index > 0 && start->last_index + 1 >= start->first_index &&
           start->first_index <= start->snapshot.index + 1 && start->last_index >= start->snapshot.index &&
           start->applied >= start->snapshot.index && start->applied <= start->last_index && runs_are_right(start) &&
           holes_are_right(start) && configurations_are_right(start);
}

/* B3: what the term may have been is bounded by the limit; nobody gets a vote in it; the log may have held anything. */
static void take_up_uncertain_tail(struct raftcore *core)
{
    if (ZOO(uncertain_taken_as_absent)) {
        return;
    }
    core->draft.hard_state = true;
    core->hard.floor_term = ZOO(floor_from_what_reads) ? log_last_term(&core->log) : core->hard.term_limit;
    core->hard.floor_index = RAFTCORE_INFINITY;
    if (ZOO(term_not_limited)) {
        return;
    }
    core->hard.term = core->hard.term_limit;
    core->hard.vote = RAFTCORE_VOTE_SPENT;
}

static void take_up_lost_entries(struct raftcore *core, const struct raftcore_start *start)
{
    uint64_t term = start->floor_index != 0 ? start->floor_term : core->hard.term;
    uint64_t index = start->floor_index != 0 ? start->floor_index : RAFTCORE_INFINITY;
    if (!at_least(core->hard.floor_term, core->hard.floor_index, term, index)) {
        core->hard.floor_term = term;
        core->hard.floor_index = index;
        core->draft.hard_state = true;
    }
}

/* A23: never a term below one that this node has seen; a term that is raised has no vote yet. */
static void raise_term_to_log(struct raftcore *core)
{
    uint64_t term = log_last_term(&core->log);
    if (term < core->snapshot.term) {
        term = core->snapshot.term;
    }
    if (term > core->hard.term) {
        core->hard.term = term;
        core->hard.vote = 0;
        core->draft.hard_state = true;
    }
    if (core->hard.term_limit < core->hard.term) {
        core->hard.term_limit = core->hard.term;
    }
}

/* Most cores never have a hole; one that has may soon have all that it can. */
static bool take_room_for_holes(struct raftcore *core)
{
    return memory_take_once(&core->memory, (void **)&core->holes, RAFTCORE_HOLES_MAX * sizeof(*core->holes));
}

/* The log comes last: it takes its memory anew, so a start that is refused must leave none behind. */
static bool take_over(struct raftcore *core, const struct raftcore_start *start)
{
    if (!memory_reserve(&core->memory, (void **)&core->flights, &core->flight_capacity, sizeof(*core->flights),
                        FLIGHTS_MIN) ||
        !memory_reserve(&core->memory, (void **)&core->stack, &core->stack_capacity, sizeof(*core->stack),
                        (uint64_t)start->configuration_count + 1) ||
        (start->hole_count > 0 && !take_room_for_holes(core)) || !log_init(&core->log, &core->memory, start)) {
        return false;
    }
    core->session = start->session;
    core->hard = start->hard_state;
    core->snapshot = start->snapshot;
    core->snapshot_damaged = start->snapshot_damaged;
    core->stack_count = 1 + start->configuration_count;
    core->stack[0] = (struct stacked){.index = start->snapshot.index, .configuration = start->configuration};
    for (uint32_t i = 0; i < start->configuration_count; i++) {
        core->stack[i + 1] = (struct stacked){.index = start->configurations[i].index,
                                              .configuration = start->configurations[i].configuration};
    }
    core->durable_index = core->durable_last = start->last_index;
    core->applied = core->given = start->applied;
    core->hole_count = start->hole_count;
    if (start->hole_count > 0) {
        memcpy(core->holes, start->holes, start->hole_count * sizeof(core->holes[0]));
    }
    return true;
}

int on_start(struct raftcore *core, const struct raftcore_event *event)
{
    const struct raftcore_start *start = event->start;
    if (core->started || start == NULL || !start_is_right(start)) {
        return RAFTCORE_REASON_INVALID;
    }
    if (!take_over(core, start)) {
        return RAFTCORE_REASON_MEMORY;
    }
    core->started = true;
    core->role = RAFTCORE_FOLLOWER;
    /* A22: the commit index that was durable may be behind, and never ahead of what is there. */
    if (core->hard.commit < start->applied) {
        core->hard.commit = start->applied;
    }
    /* What is gone behind the last entry may have been a truncation with others in its place: a hard state newer than
     * the entries must not commit those that it replaced. A leader will say what is committed. */
    if (start->tail != RAFTCORE_TAIL_EXACT && !ZOO(commit_of_uncertain_believed)) {
        core->hard.commit = start->applied;
    }
    uint64_t hole = first_hole(core);
    uint64_t end = hole <= start->last_index ? hole - 1 : start->last_index;
    if (core->hard.commit > end) {
        core->hard.commit = end > start->applied ? end : start->applied;
    }
    core->limit_in_force = core->hard.term_limit; /* The log repeats it when it is opened, so it is covered (B2). */
    if (start->tail == RAFTCORE_TAIL_UNCERTAIN) {
        take_up_uncertain_tail(core);
    } else if (start->tail == RAFTCORE_TAIL_ENTRIES_LOST) {
        take_up_lost_entries(core, start);
    }
    raise_term_to_log(core);
    if (core->hard.term_limit - core->hard.term < TERM_LIMIT_MARGIN) {
        persist_limit(core, core->hard.term + TERM_LIMIT_STEP);
    }
    if (core->draft.hard_state) {
        core->term_sequence = core->vote_sequence = core->recovery_sequence = persist_draft_sequence(core);
    }
    if (core->options.lease_reads) {
        core->no_votes_until_ns = core->now_ns + core->options.election_timeout_ns; /* A32. */
    }
    core->fetch_at_ns = core->now_ns;
    uint64_t timeout = core->options.election_timeout_ns;
    core->election_at_ns = core->now_ns + timeout + random_below(core, timeout);
    return 0;
}

/* --- holes: asking ------------------------------------------------------------------------------- */

/* The member behind the one that was asked last. */
static uint64_t next_peer(const struct raftcore *core)
{
    const struct raftcore_configuration *configuration = core_configuration(core);
    uint64_t first = 0;
    for (uint32_t i = 0; i < configuration->count; i++) {
        uint64_t id = configuration->members[i].id;
        if (id != core->options.id && id > core->fetch_peer) {
            return id;
        }
        if (id != core->options.id && first == 0) {
            first = id;
        }
    }
    return first;
}

void repair_time(struct raftcore *core)
{
    if (core->hole_count == 0 || core->splicing || core->now_ns < core->fetch_at_ns) {
        return;
    }
    core->fetch_at_ns = core->now_ns + core->options.heartbeat_ns;
    if (core->now_ns >= core->cover_at_ns) { /* Nobody has filled it. */
        core->cover_at_ns = core->now_ns + core->options.election_timeout_ns;
        core->output.snapshot_wanted |= core->holes[0].last <= core->applied; /* The state machine holds it. */
        if (core_is_leader(core)) {
            transfer_to_best(core); /* B13. */
        }
    }
    core->fetch_peer = next_peer(core);
    if (core->fetch_peer == 0) {
        return;
    }
    const struct raftcore_hole *hole = &core->holes[0];
    struct raftcore_message request = message_to(core, core->fetch_peer, RAFTCORE_FETCH);
    request.index = hole->first;
    request.hint_index = hole->anchor_index;
    request.hint_term = hole->anchor_term;
    message_send(core, &request, 0);
}

/* What the entries of a hole tell, whether the splice succeeds or not: their terms, and the configurations. */
static int learn(struct raftcore *core, uint64_t first, const struct raftcore_entry *entries, uint32_t count)
{
    struct raftcore_configuration configuration;
    uint32_t configurations = 0;
    for (uint32_t i = 0; i < count; i++) {
        configurations += entries[i].type == RAFTCORE_ENTRY_CONFIGURATION;
    }
    if (!member_reserve(core, configurations) ||
        !log_set_terms(&core->log, core->holes[0].first, first, entries, count)) {
        return RAFTCORE_REASON_MEMORY;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (entries[i].type == RAFTCORE_ENTRY_CONFIGURATION && member_entry_is_right(&entries[i], &configuration)) {
            member_insert(core, first + i, &configuration);
        }
    }
    return 0;
}

/* Entries [first, first + count), which end the first hole. */
static int splice(struct raftcore *core, uint64_t first, const struct raftcore_entry *entries, uint32_t count)
{
    if (core->splicing) {
        return 0;
    }
    const struct raftcore_entry *copies = message_copy_entries(core, entries, count);
    if (copies == NULL) {
        return RAFTCORE_REASON_MEMORY;
    }
    int reason = learn(core, first, entries, count);
    if (reason == 0) {
        core->gives_more = true;
        core->output.splice = (struct raftcore_splice){.first_index = first, .entries = copies, .count = count};
        core->splicing = true;
    }
    return reason;
}

/* The leader has another entry where the anchor stands: what stands behind the hole is void, and what was in it, nobody
 * knows by name (B11, B12a; for a hole that no single append spans). It goes, and the floor keeps what this node had
 * acknowledged: it votes for nobody who may lack it, until the leader's entries have come as far. */
static int void_hole(struct raftcore *core, const struct raftcore_message *answer)
{
    const struct raftcore_hole hole = core->holes[0];
    bool is_leaders = answer->from == core->leader && answer->term == core->hard.term && !core_is_leader(core);
    if (!is_leaders || answer->hint_index != hole.anchor_index || answer->hint_term != hole.anchor_term ||
        answer->log_term == 0 || answer->log_term == hole.anchor_term || core->splicing) {
        return RAFTCORE_REASON_STALE_TERM;
    }
    if (hole.first <= core->hard.commit || hole.first <= core->given || !persist_has_room(core)) {
        return RAFTCORE_REASON_PERSIST_FULL;
    }
    repair_raise_floor(core);
    persist_truncate(core, hole.first);
    member_truncate(core, hole.first);
    repair_log_changed(core, hole.first);
    return 0;
}

/* B12: accepted iff the last one is the anchor, which names all that stands before it, and terms do not fall; and if
 * they are all that is missing, iff the first joins the one in front of the hole. A hole that is larger than a message
 * is filled from its end on. */
int on_fetch_answer(struct raftcore *core, const struct raftcore_message *answer)
{
    if (core->hole_count == 0 || answer->to_session != core->session) {
        return RAFTCORE_REASON_STALE_TERM;
    }
    if ((answer->flags & RAFTCORE_REFUSED) != 0) {
        return void_hole(core, answer);
    }
    const struct raftcore_hole *hole = &core->holes[0];
    uint64_t first = answer->index, before = 0;
    if (answer->entry_count == 0 || first < hole->first || first > hole->last ||
        hole->anchor_index - first + 1 != answer->entry_count) {
        return RAFTCORE_REASON_MISMATCH;
    }
    if (log_term(&core->log, hole->first - 1, &before) && first == hole->first && before != answer->log_term) {
        return RAFTCORE_REASON_MISMATCH;
    }
    for (uint32_t i = 0; i < answer->entry_count; i++) {
        if (answer->entries[i].term < before) {
            return RAFTCORE_REASON_MISMATCH;
        }
        before = answer->entries[i].term;
    }
    if (before != hole->anchor_term) {
        return RAFTCORE_REASON_MISMATCH;
    }
    for (uint64_t index = hole->last + 1; index < hole->anchor_index; index++) {
        uint64_t ours;
        if (!log_term(&core->log, index, &ours) || ours != answer->entries[index - first].term) {
            return RAFTCORE_REASON_MISMATCH;
        }
    }
    return splice(core, first, answer->entries, (uint32_t)(hole->last - first + 1));
}

int on_spliced(struct raftcore *core, const struct raftcore_event *event)
{
    core->splicing = false;
    struct raftcore_hole *hole = &core->holes[0];
    uint64_t first = event->spliced.first, term;
    if (event->spliced.failed || core->hole_count == 0 || first < hole->first || event->spliced.last != hole->last) {
        return event->spliced.failed ? 0 : RAFTCORE_REASON_INVALID;
    }
    if (first > hole->first) { /* The rest of it has another anchor now: the first of those that are there. */
        if (!HOLDS(core, log_term(&core->log, first, &term))) {
            return RAFTCORE_REASON_BROKEN;
        }
        hole->last = first - 1;
        hole->anchor_index = first;
        hole->anchor_term = term;
    } else {
        drop_hole(core, 0);
    }
    core->fetch_at_ns = core->now_ns;
    core->owes_appends = true;
    return 0;
}

uint64_t repair_difference(struct raftcore *core, const struct raftcore_message *message)
{
    const struct raftcore_hole hole = core->holes[0];
    uint64_t end = message->index + message->entry_count;
    uint64_t term;
    for (uint64_t index = message->index + 1; index <= end && index <= core->log.last_index; index++) {
        uint64_t theirs = message->entries[index - message->index - 1].term;
        bool is_unreadable = index >= hole.first && index <= hole.last;
        if (index < core->log.first_index || (is_unreadable && index != hole.anchor_index)) {
            continue;
        }
        uint64_t ours = index == hole.anchor_index ? hole.anchor_term : 0;
        if (ours == 0 && log_term(&core->log, index, &term)) {
            ours = term;
        }
        if (ours != theirs) {
            /* Another history: ours is void from the first place that we cannot read. */
            return index < hole.first ? index : hole.first;
        }
        if (index == hole.anchor_index) {
            const struct raftcore_entry *entries = message->entries + (hole.first - message->index - 1);
            (void)splice(core, hole.first, entries, (uint32_t)(hole.last - hole.first + 1));
            return end + 1;
        }
    }
    if (ZOO(hole_filled_in_part)) {
        return hole.first;
    }
    return end + 1; /* It ends inside: nothing is stored, and what is in front of the hole is acknowledged. */
}

/* --- holes: found, and served -------------------------------------------------------------------- */

int on_hole_found(struct raftcore *core, const struct raftcore_event *event)
{
    struct raftcore_hole hole = event->hole.hole;
    uint64_t term;
    if (hole.first < core->log.first_index || hole.last < hole.first || hole.last > core->durable_index ||
        core->hole_count == RAFTCORE_HOLES_MAX) {
        return RAFTCORE_REASON_INVALID;
    }
    for (uint32_t i = 0; i < core->hole_count; i++) {
        if (core->holes[i].first <= hole.last && hole.first <= core->holes[i].last) {
            return 0; /* Known. */
        }
    }
    if (!take_room_for_holes(core)) {
        return RAFTCORE_REASON_MEMORY;
    }
    /* B13: its identity is exact, for the terms are in memory. */
    if (!HOLDS(core, log_term(&core->log, hole.last, &term))) {
        return RAFTCORE_REASON_BROKEN;
    }
    hole.anchor_index = hole.last;
    hole.anchor_term = term;
    uint32_t place = 0;
    while (place < core->hole_count && core->holes[place].first < hole.first) {
        place++;
    }
    memmove(core->holes + place + 1, core->holes + place, (core->hole_count - place) * sizeof(core->holes[0]));
    core->holes[place] = hole;
    core->hole_count++;
    core->fetch_at_ns = core->now_ns;
    core->cover_at_ns = core->now_ns + core->options.election_timeout_ns;
    repair_by_snapshot(core);
    if (core->hole_count > 0 && core_is_leader(core)) {
        transfer_to_best(core); /* A whole peer leads better; this one goes on until it does. */
    } else if (core->hole_count > 0 && core->role != RAFTCORE_FOLLOWER) {
        become_follower(core, core->hard.term, 0); /* B7. */
    }
    return 0;
}

/* The first entry from which on all are here and read, up to last. */
static uint64_t first_readable(const struct raftcore *core, uint64_t first, uint64_t last)
{
    first = first < core->log.first_index ? core->log.first_index : first;
    for (uint32_t i = 0; i < core->hole_count; i++) {
        if (core->holes[i].first <= last && core->holes[i].last >= first) {
            first = core->holes[i].last + 1;
        }
    }
    uint64_t most = core->serve_count != 0 ? core->serve_count : core->options.message_entries;
    return last + 1 - first > most ? last + 1 - most : first;
}

/* Of `count` entries the last so many fit into one message: two at least, for one of them may be the anchor alone. */
static uint32_t fit_from_end(const struct raftcore *core, const struct raftcore_entry *entries, uint64_t count)
{
    uint32_t fitting = 0;
    uint64_t bytes = 0;
    while (fitting < count &&
           (fitting < 2 || bytes + entries[count - fitting - 1].size <= core->options.message_bytes)) {
        bytes += entries[count - fitting - 1].size;
        fitting++;
    }
    return fitting;
}

static void answer_fetch(struct raftcore *core, struct raftcore_message *answer, uint64_t first,
                         const struct raftcore_entry *entries, uint64_t count)
{
    uint32_t fitting = fit_from_end(core, entries, count);
    answer->index = first + count - fitting;
    (void)log_term(&core->log, answer->index - 1, &answer->log_term);                   /* Not known: 0. */
    answer->entries = message_copy_entries(core, entries + (count - fitting), fitting); /* The log's row may move. */
    answer->entry_count = fitting;
    if (answer->entries != NULL) {
        message_send(core, answer, 0);
    }
}

/* With the term of the entry that stands here where the anchor should; 0: none does. */
static int refuse_fetch(struct raftcore *core, const struct raftcore_message *message, uint64_t term)
{
    struct raftcore_message answer = message_to(core, message->from, RAFTCORE_FETCH_ANSWER);
    answer.flags |= RAFTCORE_REFUSED;
    answer.reason = RAFTCORE_REASON_MISMATCH;
    answer.to_session = message->session;
    answer.index = message->index;
    answer.hint_index = message->hint_index;
    answer.hint_term = message->hint_term;
    answer.log_term = term;
    message_send(core, &answer, 0);
    return RAFTCORE_REASON_MISMATCH;
}

/* Any node may fill a hole of another: (index, term) names one content. The end of the hole is served first. */
int on_fetch(struct raftcore *core, const struct raftcore_message *message)
{
    uint64_t last = message->hint_index, term = 0;
    if (message->index == 0 || last < message->index || !log_term(&core->log, last, &term) ||
        term != message->hint_term || last > core->durable_index || first_readable(core, message->index, last) > last) {
        return refuse_fetch(core, message, term);
    }
    uint64_t first = first_readable(core, message->index, last);
    struct raftcore_message answer = message_to(core, message->from, RAFTCORE_FETCH_ANSWER);
    answer.to_session = message->session;
    const struct raftcore_entry *held = log_held(&core->log, first);
    if (held != NULL) {
        answer_fetch(core, &answer, first, held, last - first + 1);
        return 0;
    }
    /* They must be read back; the answer goes out with what is loaded. */
    struct outputs *out = &core->out;
    if (core->serving.to != 0 && core->now_ns - core->serving.since_ns < core->options.election_timeout_ns) {
        message_refuse(core, message, RAFTCORE_REASON_PERSIST_FULL);
        return RAFTCORE_REASON_PERSIST_FULL;
    }
    if (!memory_reserve(&core->memory, (void **)&out->loads, &out->load_capacity, sizeof(*out->loads),
                        (uint64_t)core->output.load_count + 1)) {
        message_refuse(core, message, RAFTCORE_REASON_MEMORY);
        return RAFTCORE_REASON_MEMORY;
    }
    core->serving = (struct serving){.to = message->from, .first = first, .last = last, .since_ns = core->now_ns};
    core->serving.answer = answer;
    out->loads[core->output.load_count++] = (struct raftcore_load){
        .peer = RAFTCORE_PEERS_NONE, .first_index = first, .count = (uint32_t)(last - first + 1), .bytes = SERVE_BYTES};
    return 0;
}

int repair_loaded(struct raftcore *core, const struct raftcore_event *event)
{
    struct serving serving = core->serving;
    uint64_t count = serving.last - serving.first + 1, term;
    core->serving = (struct serving){0};
    if (serving.to == 0 || event->loaded.first_index != serving.first || event->loaded.entries == NULL) {
        return RAFTCORE_REASON_STALE_STREAM;
    }
    if (event->loaded.count != count) { /* Too much at once: it is asked for again, and less is read then. */
        core->serve_count = event->loaded.count > 1 ? event->loaded.count : 2;
        return 0;
    }
    core->serve_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!log_term(&core->log, serving.first + i, &term) || term != event->loaded.entries[i].term) {
            return RAFTCORE_REASON_STALE_STREAM;
        }
    }
    answer_fetch(core, &serving.answer, serving.first, event->loaded.entries, count);
    return 0;
}
