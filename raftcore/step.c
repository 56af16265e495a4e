/* step.c - one event in, one output out.
 *
 * The happy path: the event goes by its kind to its handler, a message after its term has been looked at (Raft paper,
 * figure 2, "all servers"); due deadlines fire; then what is owed is paid, always in the same order: commit, appends
 * and heartbeats, the unit, what may be applied, the next deadline.
 *
 * What can fail: an event or message that makes no sense is refused with a reason, and nothing changed. An own
 * invariant that does not hold breaks the core: the output is emptied, and every later event is refused.
 *
 * Invariants: at most one unit a step (A1); the output of a broken core holds nothing that anyone could act on.
 *
 * May include: core.h. */

#include "raftcore/core.h"

#define TERM_MAX (1ULL << 62) /* Nobody comes there by campaigning. Indexes have the same bound. */

/* --- messages ------------------------------------------------------------------------------------ */

static bool entries_are_right(const struct raftcore_message *message)
{
    uint64_t term = message->log_term;
    if (message->entry_count > RAFTCORE_ENTRIES_MAX || (message->entry_count > 0 && message->entries == NULL)) {
        return false;
    }
    bool have_terms = message->kind == RAFTCORE_APPEND || message->kind == RAFTCORE_FETCH_ANSWER;
    for (uint32_t i = 0; i < message->entry_count; i++) {
        const struct raftcore_entry *entry = &message->entries[i];
        struct raftcore_configuration configuration;
        if ((entry->data == NULL && entry->size > 0) || entry->reserved != 0) {
            return false;
        }
        if (have_terms && (entry->term < term || entry->term > message->term || entry->term == 0)) {
            return false;
        }
        if (have_terms && entry->type == RAFTCORE_ENTRY_CONFIGURATION &&
            !member_entry_is_right(entry, &configuration)) {
            return false;
        }
        term = entry->term;
    }
    return true;
}

static bool message_is_right(const struct raftcore *core, const struct raftcore_message *message)
{
    return message != NULL && message->kind > 0 && message->kind < RAFTCORE_MESSAGE_KINDS && message->from != 0 &&
           message->from != RAFTCORE_VOTE_SPENT && message->term < core->hard.term + TERM_JUMP_MAX &&
           message->from != core->options.id && message->to == core->options.id && message->session != 0 &&
           message->term < TERM_MAX && message->index < TERM_MAX && message->log_term <= message->term &&
           message->hint_index < TERM_MAX && entries_are_right(message);
}

static bool is_quarantined(const struct raftcore *core, uint64_t id)
{
    for (uint32_t i = 0; i < core->quarantined_count; i++) {
        if (core->quarantined[i] == id) {
            return true;
        }
    }
    return false;
}

enum term_rule {
    ANY_TERM,     /* The handler looks at it. */
    LEADERS_TERM, /* A leader speaks: lower is refused, so that it learns; higher is entered. */
    ANSWERS_TERM  /* Lower is dropped; higher is entered. */
};

static const struct {
    enum term_rule rule;
    int (*handle)(struct raftcore *core, const struct raftcore_message *message);
} message_table[RAFTCORE_MESSAGE_KINDS] = {
    [RAFTCORE_PRE_VOTE_REQUEST] = {ANY_TERM, on_pre_vote_request},
    [RAFTCORE_PRE_VOTE_ANSWER] = {ANSWERS_TERM, on_vote_answer},
    [RAFTCORE_VOTE_REQUEST] = {ANY_TERM, on_vote_request},
    [RAFTCORE_VOTE_ANSWER] = {ANSWERS_TERM, on_vote_answer},
    [RAFTCORE_APPEND] = {LEADERS_TERM, on_append},
    [RAFTCORE_APPEND_ANSWER] = {ANSWERS_TERM, on_append_answer},
    [RAFTCORE_HEARTBEAT] = {LEADERS_TERM, on_heartbeat},
    [RAFTCORE_HEARTBEAT_ANSWER] = {ANSWERS_TERM, on_heartbeat_answer},
    [RAFTCORE_SNAPSHOT] = {LEADERS_TERM, on_snapshot},
    [RAFTCORE_SNAPSHOT_ANSWER] = {ANSWERS_TERM, on_snapshot_answer},
    [RAFTCORE_TIMEOUT_NOW] = {ANSWERS_TERM, on_timeout_now},
    [RAFTCORE_READ_REQUEST] = {ANY_TERM, on_read_request},
    [RAFTCORE_READ_ANSWER] = {ANY_TERM, on_read_answer},
    [RAFTCORE_PROPOSAL] = {ANY_TERM, on_proposal},
    [RAFTCORE_PROPOSAL_ANSWER] = {ANY_TERM, on_proposal_answer},
    [RAFTCORE_FETCH] = {ANY_TERM, on_fetch},
    [RAFTCORE_FETCH_ANSWER] = {ANY_TERM, on_fetch_answer},
};

static int on_receive(struct raftcore *core, const struct raftcore_event *event)
{
    const struct raftcore_message *message = event->receive;
    if (!message_is_right(core, message)) {
        return RAFTCORE_REASON_INVALID;
    }
    if (is_quarantined(core, message->from)) {
        return RAFTCORE_REASON_QUARANTINED;
    }
    enum term_rule rule = message_table[message->kind].rule;
    bool is_granted_pre_vote =
        message->kind == RAFTCORE_PRE_VOTE_ANSWER && (message->flags & RAFTCORE_REFUSED) == 0; /* Of a term to come. */
    if (rule != ANY_TERM && !is_granted_pre_vote) {
        if (message->term < core->hard.term) {
            if (rule == LEADERS_TERM) {
                message_refuse(core, message, RAFTCORE_REASON_STALE_TERM);
            }
            return RAFTCORE_REASON_STALE_TERM;
        }
        if (message->term > core->hard.term && !enter_term(core, message->term, 0)) {
            return RAFTCORE_REASON_TERM_LIMIT;
        }
    }
    return message_table[message->kind].handle(core, message);
}

/* --- the other events ---------------------------------------------------------------------------- */

static int on_time(struct raftcore *core, const struct raftcore_event *event)
{
    (void)core;
    (void)event;
    return 0;
}

static int on_campaign(struct raftcore *core, const struct raftcore_event *event)
{
    return campaign(core, event->campaign.at_once || event->campaign.roll_call, false, event->campaign.roll_call);
}

static int on_step_down(struct raftcore *core, const struct raftcore_event *event)
{
    (void)event;
    if (!core_is_leader(core)) {
        return RAFTCORE_REASON_NOT_LEADER;
    }
    become_follower(core, core->hard.term, 0);
    return 0;
}

static int on_persisted(struct raftcore *core, const struct raftcore_event *event)
{
    int reason = persist_done(core, event->persisted.sequence, event->persisted.covered);
    if (reason == 0) {
        persist_release_messages(core);
        election_persisted(core);
    }
    return reason;
}

static int on_persist_failed(struct raftcore *core, const struct raftcore_event *event)
{
    (void)event;
    core_break(core, __FILE__, __LINE__, "storage could not write (A5): start anew from what is durable");
    return RAFTCORE_REASON_BROKEN;
}

static int on_applied(struct raftcore *core, const struct raftcore_event *event)
{
    uint64_t index = event->applied.index;
    if (index < core->applied || index > core->given) {
        return RAFTCORE_REASON_INVALID;
    }
    for (uint64_t i = core->applied + 1; i <= index; i++) {
        const struct raftcore_entry *entry = log_held(&core->log, i);
        core->unapplied_bytes -= entry == NULL ? 0 : entry->size;
    }
    core->applied = index;
    read_advance(core);
    return 0;
}

static int on_unreachable(struct raftcore *core, const struct raftcore_event *event)
{
    struct progress *peer = core_is_leader(core) ? peer_find(core, event->unreachable.peer) : NULL;
    if (peer == NULL) {
        return RAFTCORE_REASON_NOT_A_MEMBER;
    }
    if (peer->state == RAFTCORE_REPLICATE) {
        progress_to_probe(peer, peer->match + 1); /* What was on its way is most likely lost. */
        core->owes_appends = true;
    }
    return 0;
}

static int (*const event_table[RAFTCORE_EVENT_KINDS])(struct raftcore *core, const struct raftcore_event *event) = {
    [RAFTCORE_START] = on_start,
    [RAFTCORE_TIME] = on_time,
    [RAFTCORE_RECEIVE] = on_receive,
    [RAFTCORE_PROPOSE] = on_propose,
    [RAFTCORE_CHANGE] = on_change,
    [RAFTCORE_READ] = on_read,
    [RAFTCORE_TRANSFER_LEADERSHIP] = on_transfer,
    [RAFTCORE_CAMPAIGN] = on_campaign,
    [RAFTCORE_STEP_DOWN] = on_step_down,
    [RAFTCORE_PERSISTED] = on_persisted,
    [RAFTCORE_PERSIST_FAILED] = on_persist_failed,
    [RAFTCORE_LOADED] = on_loaded,
    [RAFTCORE_APPLIED] = on_applied,
    [RAFTCORE_SNAPSHOT_TAKEN] = on_snapshot_taken,
    [RAFTCORE_SNAPSHOT_WRITTEN] = on_snapshot_written,
    [RAFTCORE_HOLE_FOUND] = on_hole_found,
    [RAFTCORE_SPLICED] = on_spliced,
    [RAFTCORE_UNREACHABLE] = on_unreachable,
};

/* --- paying -------------------------------------------------------------------------------------- */

static void fire_deadlines(struct raftcore *core)
{
    replicate_time(core);
    transfer_time(core);
    election_time(core);
    repair_time(core);
    if (core->read_count > 0) {
        read_advance(core);
    }
}

/* C10: everybody has been told of the commit in this step; now another may lead. */
static void retire(struct raftcore *core)
{
    core->retires = false;
    if (core_is_leader(core)) {
        transfer_to_best(core);
        become_follower(core, core->hard.term, 0);
    }
}

static void give_out(struct raftcore *core)
{
    core->output.apply_from = core->output.apply_to = core->given + 1;
    if (core->hard.commit <= core->given) {
        return;
    }
    uint64_t hole = first_hole_above(core, core->given); /* What was given out needs not be read again. */
    uint64_t to = core->hard.commit < core->durable_index ? core->hard.commit : core->durable_index; /* A21. */
    to = ZOO(applied_before_durable) ? core->hard.commit : to;
    to = to < hole ? to : hole - 1;
    if (to > core->given && core->output.restore_index == 0 && !core->snapshot_damaged) { /* B7, B14. */
        core->output.apply_to = to + 1;
        core->given = to;
    }
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t next_deadline(const struct raftcore *core)
{
    uint64_t at = core->election_at_ns;
    if (core_is_leader(core)) {
        at = core->heartbeat_at_ns; /* Losses and the disk are looked at as often as that. */
        at = core->options.no_check_quorum ? at : earlier(at, core->quorum_at_ns);
        at = core->transfer_to == 0 ? at : earlier(at, core->transfer_until_ns);
    } else if (core->role == RAFTCORE_PRE_CANDIDATE || (core->role == RAFTCORE_CANDIDATE && !core->campaign_waits)) {
        at = earlier(at, core->ask_again_ns);
    }
    if (core->hole_count > 0 && !core->splicing) {
        at = earlier(at, core->fetch_at_ns);
    }
    for (uint32_t i = 0; i < core->read_count; i++) {
        const struct read *read = &core->reads[i];
        if (read->state == READ_QUEUED && read->own_context != 0) {
            at = earlier(at, read->since_ns + core->options.election_timeout_ns);
            break; /* They stand in the order in which they came. */
        }
    }
    return at;
}

static void finish(struct raftcore *core)
{
    fire_deadlines(core);
    uint64_t commit;
    do { /* A commit may bring a configuration by which more is committed. */
        commit = core->hard.commit;
        replicate_commit(core);
    } while (core->broken == 0 && core->hard.commit > commit);
    replicate_pay(core);
    if (core->retires) {
        retire(core);
    }
    if (core->hard.floor_index != 0 && !is_floored(core) && persist_has_room(core)) {
        core->hard.floor_term = core->hard.floor_index = 0; /* The log's end has passed it (B6). */
        core->draft.hard_state = true;
    }
    give_out(core);
    persist_let_go(core);
    persist_unit(core);
}

/* --- output -------------------------------------------------------------------------------------- */

/* Behind an output of messages alone all is 0 still but their number and what end_output sets each time. An output is
 * large: to clear it would cost a core without traffic more lines than its heartbeat looks at. */
static void begin_output(struct raftcore *core)
{
    persist_free_payloads(core);
    if (core->only_messages) {
        core->output.message_count = 0;
    } else {
        core->output = (struct raftcore_output){0};
    }
    core->copy_count = 0;
    core->gives_more = false;
    core->role_before = core->role;
}

static bool holds_more_than_messages(const struct raftcore *core)
{
    const struct raftcore_output *output = &core->output;
    return core->gives_more || output->load_count > 0 || output->read_count > 0 || output->proposal_count > 0 ||
           output->released_count > 0 || output->apply_to > output->apply_from || output->restore_index != 0 ||
           output->compact_to != 0 || output->role_changed || output->configuration_changed || output->snapshot_wanted;
}

static void end_output(struct raftcore *core, int refused)
{
    struct raftcore_output *output = &core->output;
    core->quiet = core->only_messages = false;
    if (core->broken != 0) {
        *output = (struct raftcore_output){.deadline_ns = RAFTCORE_INFINITY,
                                           .role = RAFTCORE_BROKEN,
                                           .role_changed = core->role_before != RAFTCORE_BROKEN,
                                           .refused = core->broken};
        return;
    }
    output->messages = core->messages;
    output->role = core->role;
    output->role_changed = core->role != core->role_before;
    output->leader = core->leader;
    output->deadline_ns = core->started ? next_deadline(core) : RAFTCORE_INFINITY;
    output->refused = (uint16_t)refused;
    if (holds_more_than_messages(core)) {
        output->loads = core->out.loads;
        output->reads = core->out.reads;
        output->proposals = core->out.proposals;
        output->released = core->out.released;
    } else {
        core->only_messages = core->started;
        core->quiet = core->started && refused == 0 && core->to_free == NULL && output->message_count == 0;
    }
}

static int take_event(struct raftcore *core, const struct raftcore_event *event)
{
    if (core->broken != 0) {
        return core->broken;
    }
    if (event->kind == 0 || event->kind >= RAFTCORE_EVENT_KINDS) {
        return RAFTCORE_REASON_INVALID;
    }
    if (!core->started && event->kind != RAFTCORE_START) {
        return RAFTCORE_REASON_NOT_STARTED;
    }
    if (event->now_ns < core->now_ns) {
        core->clock_went_back++;
    } else {
        core->now_ns = event->now_ns;
    }
    int reason = event_table[event->kind](core, event);
    if (core->broken == 0 && core->started) {
        finish(core);
    }
    return reason;
}

/* A host of thousands of idle groups asks each of them at every turn of its loop: when nothing is due, and the last
 * output held nothing, that output still stands. */
static bool nothing_is_due(const struct raftcore *core, const struct raftcore_event *event)
{
    return core->quiet && event->kind == RAFTCORE_TIME && event->now_ns >= core->now_ns &&
           event->now_ns < core->output.deadline_ns;
}

int raftcore_step(struct raftcore *core, const struct raftcore_event *event, const struct raftcore_output **output)
{
    if (nothing_is_due(core, event)) {
        core->now_ns = event->now_ns;
        core->accepted++;
        *output = &core->output;
        return 0;
    }
    begin_output(core);
    int reason = take_event(core, event);
    if (core->broken == 0 && core->started && core->options.check_everything) {
        const char *wrong = raftcore_check(core);
        if (wrong != NULL) {
            core_break(core, __FILE__, __LINE__, wrong);
        }
    }
    if (core->broken != 0) {
        reason = core->broken;
    }
    if (reason == 0) {
        core->accepted++;
    } else {
        core->refusals[reason]++;
    }
    end_output(core, reason);
    *output = &core->output;
    return reason;
}
