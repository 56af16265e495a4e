/* election.c - who leads.
 *
 * The happy path (Raft paper, section 5.2; dissertation, 9.6): a follower that hears no leader for its own, freshly
 * drawn time asks whether it would be elected (pre-vote: nothing changes anywhere); if a majority would, it enters the
 * next term, makes term and own vote durable, and only then asks for votes (A9) and counts its own (A10); with a
 * majority it leads, and begins with an entry of its term.
 *
 * What can fail: no majority answers (the timer, drawn anew, tries again); a higher term is taught; the term limit in
 * force is reached (the raise is drafted, and the next timer succeeds).
 *
 * Invariants: a vote is granted once a term, to a log that is at least max(own last, floor) (B7); a message of a higher
 * term that would not be acted on changes no term; a leader was durable in its term before it leads.
 *
 * May include: core.h. */

#include "raftcore/core.h"

#include <string.h>

/* --- time ---------------------------------------------------------------------------------------- */

uint64_t random_below(struct raftcore *core, uint64_t bound)
{
    core->random += 0x9e3779b97f4a7c15U;
    uint64_t mixed = core->random;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9U;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebU;
    mixed ^= mixed >> 31;
    return bound == 0 ? 0 : mixed % bound;
}

/* A fresh draw for every campaign (D5 of the bug list): equal nodes do not stay equal. */
static void restart_timer(struct raftcore *core)
{
    uint64_t timeout = core->options.election_timeout_ns;
    core->election_at_ns = core->now_ns + timeout + random_below(core, timeout);
}

void heard_leader(struct raftcore *core, uint64_t leader)
{
    core->leader = leader;
    core->heard_leader = true;
    core->heard_leader_ns = core->now_ns;
    restart_timer(core);
}

/* Stickiness (dissertation, 4.2.3): while a leader is alive nobody's request for votes changes anything. */
bool leader_is_alive(const struct raftcore *core)
{
    if (core->options.no_check_quorum) {
        return false;
    }
    return core_is_leader(core) || (core->leader != 0 && core->heard_leader &&
                                    core->now_ns - core->heard_leader_ns < core->options.election_timeout_ns);
}

/* --- roles --------------------------------------------------------------------------------------- */

/* The leader whom it answered counts on this node's vote being given to nobody for so long, whatever it hears (A32). */
static void keep_lease_promise(struct raftcore *core)
{
    uint64_t until_ns = core->heard_leader_ns + core->options.election_timeout_ns;
    core->no_votes_until_ns = core->no_votes_until_ns > until_ns ? core->no_votes_until_ns : until_ns;
}

void become_follower(struct raftcore *core, uint64_t term, uint64_t leader)
{
    if (core_is_leader(core)) {
        read_fail_all(core, RAFTCORE_REASON_LEADER_CHANGED);
        core->transfer_to = 0;
        core->owes_appends = core->owes_round = core->owes_commit = false;
    }
    if (term > core->hard.term) {
        if (core->options.lease_reads && core->heard_leader) {
            keep_lease_promise(core);
        }
        persist_term(core, term, 0);
        core->heard_leader = false;
    }
    core->role = RAFTCORE_FOLLOWER;
    core->leader = leader;
    core->campaign_waits = false;
    restart_timer(core);
}

bool enter_term(struct raftcore *core, uint64_t term, uint64_t leader)
{
    if (term > core->limit_in_force) {
        persist_limit(core, term + TERM_LIMIT_STEP);
        return false;
    }
    become_follower(core, term, leader);
    return true;
}

static void become_leader(struct raftcore *core)
{
    if (!persist_reserve(core, 1, 1) || !member_reserve(core, 0)) {
        /* And campaigns again, or another does; behind a roll call with a floor only the operator's next one helps. */
        become_follower(core, core->hard.term, 0);
        return;
    }
    if (core->campaign_is_roll_call) {
        /* Every voter has agreed to this log: there is nothing left that a floor could mean (B16). */
        core->hard.floor_term = core->hard.floor_index = 0;
        core->draft.hard_state = true;
    }
    /* A16: what it asked votes with is durable, and so is everything that it inherits. */
    if (!HOLDS(core, core->durable_sequence >= core->campaign_sequence) ||
        !HOLDS(core, core->hard.vote == core->options.id) || !HOLDS(core, is_whole(core))) {
        return;
    }
    core->role = RAFTCORE_LEADER;
    core->leader = core->options.id;
    core->election_at_ns = RAFTCORE_INFINITY;
    core->terms_led++;
    core->term_first_index = core->log.last_index + 1;
    replicate_begin(core);
    struct raftcore_entry first = {.term = core->hard.term, .type = RAFTCORE_ENTRY_NOOP};
    persist_push(core, &first);
}

/* --- campaigns ----------------------------------------------------------------------------------- */

/* C9: a voter of the newest configuration; or, while that may still be rolled back, of the one before. */
static bool counts_or_may_count(const struct raftcore *core)
{
    const struct stacked *newest = &core->stack[core->stack_count - 1];
    if (configuration_is_voter_with_log(&newest->configuration, core->options.id, core->options.log_id)) {
        return true;
    }
    return newest->index > core->hard.commit && core->stack_count > 1 &&
           configuration_is_voter_with_log(&newest[-1].configuration, core->options.id, core->options.log_id);
}

bool may_campaign(const struct raftcore *core)
{
    return core->broken == 0 && counts_or_may_count(core) && is_whole(core) && !core->snapshot_damaged &&
           core->durable_sequence >= core->recovery_sequence && !core->receiving.written && !core->draft.install &&
           persist_has_room(core);
}

static void count_own_vote(struct raftcore *core)
{
    const struct raftcore_configuration *configuration = core_configuration(core);
    const struct raftcore_member *own = configuration_find(configuration, core->options.id);
    if (own != NULL) {
        core->votes[own - configuration->members] = QUORUM_YES;
    }
}

/* Those that were not heard yet: the first time everybody. */
static void ask_for_votes(struct raftcore *core, enum raftcore_message_kind kind, uint64_t term, uint64_t after)
{
    const struct raftcore_configuration *configuration = core_configuration(core);
    for (uint32_t i = 0; i < configuration->count; i++) {
        uint64_t id = configuration->members[i].id;
        if (id == core->options.id || !configuration_is_voter(configuration, id) ||
            core->votes[i] != QUORUM_NOT_HEARD) {
            continue;
        }
        struct raftcore_message request = message_to(core, id, kind);
        request.term = term;
        request.index = core->log.last_index;
        request.log_term = log_last_term(&core->log);
        request.round = core->campaign;
        request.flags |= core->campaign_is_transfer ? RAFTCORE_TRANSFER : 0;
        request.flags |= core->campaign_is_roll_call ? RAFTCORE_ROLL_CALL : 0;
        message_send(core, &request, after);
    }
    core->ask_again_ns = core->now_ns + core->options.heartbeat_ns;
}

static enum quorum_result tally(const struct raftcore *core)
{
    const struct raftcore_configuration *configuration = core_configuration(core);
    if (!core->campaign_is_roll_call) {
        return quorum_votes(configuration, core->votes);
    }
    enum quorum_result result = QUORUM_WON; /* B16: every voter. */
    for (uint32_t i = 0; i < configuration->count; i++) {
        if (!configuration_is_voter(configuration, configuration->members[i].id)) {
            continue;
        }
        if (core->votes[i] == QUORUM_NO) {
            return QUORUM_LOST;
        }
        if (core->votes[i] == QUORUM_NOT_HEARD) {
            result = QUORUM_PENDING;
        }
    }
    return result;
}

static void start_election(struct raftcore *core)
{
    memset(core->votes, 0, sizeof(core->votes));
    core->role = RAFTCORE_CANDIDATE;
    core->leader = 0;
    core->elections++;
    core->campaign++;
    persist_term(core, core->hard.term + 1, core->options.id);
    core->campaign_sequence = core->vote_sequence;
    core->campaign_waits = true;
    core->election_at_ns = RAFTCORE_INFINITY; /* It runs from when the requests leave (A11). */
    ask_for_votes(core, RAFTCORE_VOTE_REQUEST, core->hard.term, ZOO(request_at_once) ? 0 : core->campaign_sequence);
}

static void follow_tally(struct raftcore *core)
{
    enum quorum_result result = tally(core);
    if (result == QUORUM_LOST) {
        become_follower(core, core->hard.term, 0);
    } else if (result == QUORUM_WON && core->role == RAFTCORE_PRE_CANDIDATE) {
        start_election(core);
    } else if (result == QUORUM_WON) {
        become_leader(core);
    }
}

int campaign(struct raftcore *core, bool at_once, bool is_transfer, bool is_roll_call)
{
    if (core_is_leader(core)) {
        return RAFTCORE_REASON_INVALID;
    }
    bool may_by_roll_call = is_roll_call && core->hole_count == 0 && !core->snapshot_damaged &&
                            counts_or_may_count(core) && core->durable_sequence >= core->recovery_sequence;
    if (!may_campaign(core) && !may_by_roll_call) {
        return is_whole(core) ? RAFTCORE_REASON_NOT_A_MEMBER : RAFTCORE_REASON_DAMAGED;
    }
    if (core->hard.term + 1 > core->limit_in_force) {
        persist_limit(core, core->hard.term + TERM_LIMIT_STEP);
        return RAFTCORE_REASON_TERM_LIMIT;
    }
    bool has_promised = leader_is_alive(core) || core->now_ns < core->no_votes_until_ns;
    if (core->options.lease_reads && !is_transfer && has_promised) {
        return RAFTCORE_REASON_LEADER_ALIVE; /* It may count on this node to wait. */
    }
    core->campaign_is_transfer = is_transfer;
    core->campaign_is_roll_call = is_roll_call;
    if (at_once || core->options.no_pre_vote) {
        start_election(core);
        return 0;
    }
    memset(core->votes, 0, sizeof(core->votes));
    core->role = RAFTCORE_PRE_CANDIDATE;
    core->leader = 0;
    core->campaign++;
    restart_timer(core);
    count_own_vote(core);
    ask_for_votes(core, RAFTCORE_PRE_VOTE_REQUEST, core->hard.term + 1, 0);
    follow_tally(core);
    return 0;
}

/* Requests and answers get lost (section 5.1: they are retried until the answer comes); a campaign is too dear to be
 * given up for one. Who has voted votes the same again. */
static void ask_again(struct raftcore *core)
{
    /* The role first: it stands in front, and a follower need not touch the line that the time is in. */
    if (core->role == RAFTCORE_FOLLOWER || core->now_ns < core->ask_again_ns) {
        return;
    }
    if (core->role == RAFTCORE_PRE_CANDIDATE) {
        ask_for_votes(core, RAFTCORE_PRE_VOTE_REQUEST, core->hard.term + 1, 0);
    } else if (core->role == RAFTCORE_CANDIDATE && !core->campaign_waits) {
        ask_for_votes(core, RAFTCORE_VOTE_REQUEST, core->hard.term, 0);
    }
}

void election_time(struct raftcore *core)
{
    if (core_is_leader(core)) {
        return;
    }
    if (core->now_ns < core->election_at_ns) {
        ask_again(core);
        return;
    }
    if (campaign(core, false, false, false) != 0) {
        restart_timer(core);
    }
}

void election_requests_left(struct raftcore *core)
{
    if (core->campaign_waits) {
        core->campaign_waits = false;
        core->ask_again_ns = core->now_ns + core->options.heartbeat_ns;
        restart_timer(core);
    }
}

void election_persisted(struct raftcore *core)
{
    if (core->role == RAFTCORE_CANDIDATE && core->durable_sequence >= core->campaign_sequence) {
        election_requests_left(core);
        count_own_vote(core);
        follow_tally(core);
    }
}

/* --- votes --------------------------------------------------------------------------------------- */

/* The election restriction (section 5.4.1), with the floor: what the log may have held counts as held (B7). */
static bool is_up_to_date(const struct raftcore *core, const struct raftcore_message *request)
{
    uint64_t last_index = core->log.last_index, last_term = log_last_term(&core->log);
    if (ZOO(log_not_compared) || (ZOO(last_term_not_compared) && request->index >= last_index)) {
        return true;
    }
    if (ZOO(hole_taken_as_end) && core->hole_count > 0) {
        last_index = first_hole(core) - 1;
        (void)log_term(&core->log, last_index, &last_term);
    }
    if (!at_least(request->log_term, request->index, last_term, last_index)) {
        return false;
    }
    return (request->flags & RAFTCORE_ROLL_CALL) != 0 ||
           at_least(request->log_term, request->index, core->hard.floor_term, core->hard.floor_index);
}

static bool has_wrong_log(const struct raftcore *core, const struct raftcore_message *message)
{
    const struct raftcore_member *member = configuration_find(core_configuration(core), message->from);
    return member != NULL && member->log_id != 0 && member->log_id != message->log_id;
}

static int refuse(struct raftcore *core, const struct raftcore_message *request, int reason)
{
    message_refuse(core, request, (uint16_t)reason);
    return reason;
}

/* Why a request for a vote or pre-vote is refused whatever the term; 0: it is not. */
static int no_vote_reason(const struct raftcore *core, const struct raftcore_message *request)
{
    bool is_asked_by_leader = (request->flags & RAFTCORE_TRANSFER) != 0;
    if (has_wrong_log(core, request)) {
        return RAFTCORE_REASON_WRONG_LOG;
    }
    if (!is_asked_by_leader && leader_is_alive(core)) {
        return RAFTCORE_REASON_LEADER_ALIVE;
    }
    /* A32: this node may have helped a leader's lease before it was started. */
    return core->now_ns < core->no_votes_until_ns ? RAFTCORE_REASON_LEADER_ALIVE : 0;
}

int on_pre_vote_request(struct raftcore *core, const struct raftcore_message *request)
{
    if (request->term <= core->hard.term) {
        return refuse(core, request, RAFTCORE_REASON_STALE_TERM);
    }
    if (ZOO(pre_vote_changes_term)) {
        (void)enter_term(core, request->term, 0);
    }
    int reason = no_vote_reason(core, request);
    if (reason == 0 && request->term > core->limit_in_force) {
        persist_limit(core, request->term + TERM_LIMIT_STEP);
        reason = RAFTCORE_REASON_TERM_LIMIT;
    }
    if (reason == 0 && !is_up_to_date(core, request)) {
        reason = RAFTCORE_REASON_NOT_UP_TO_DATE;
    }
    if (reason != 0) {
        return refuse(core, request, reason);
    }
    struct raftcore_message answer = message_to(core, request->from, RAFTCORE_PRE_VOTE_ANSWER);
    answer.term = request->term;
    answer.to_session = request->session;
    answer.round = request->round;
    message_send(core, &answer, 0);
    return 0;
}

int on_vote_request(struct raftcore *core, const struct raftcore_message *request)
{
    if (request->term < core->hard.term) {
        return refuse(core, request, RAFTCORE_REASON_STALE_TERM);
    }
    int reason = no_vote_reason(core, request);
    if (reason != 0) {
        return refuse(core, request, reason);
    }
    if (request->term > core->hard.term && !enter_term(core, request->term, 0)) {
        return RAFTCORE_REASON_TERM_LIMIT;
    }
    bool is_free = core->hard.vote == 0 && core->leader == 0;
    if (core->hard.vote != request->from && !is_free && !ZOO(vote_twice)) {
        return refuse(core, request, RAFTCORE_REASON_VOTED);
    }
    if (!is_up_to_date(core, request)) {
        return refuse(core, request, RAFTCORE_REASON_NOT_UP_TO_DATE);
    }
    if (core->hard.vote == 0) {
        persist_vote(core, request->from);
    }
    restart_timer(core);
    struct raftcore_message answer = message_to(core, request->from, RAFTCORE_VOTE_ANSWER);
    answer.to_session = request->session;
    answer.round = request->round;
    message_send(core, &answer, ZOO(vote_at_once) ? 0 : core->vote_sequence); /* A8. */
    return 0;
}

int on_vote_answer(struct raftcore *core, const struct raftcore_message *answer)
{
    bool is_pre_vote = answer->kind == RAFTCORE_PRE_VOTE_ANSWER;
    bool refused = (answer->flags & RAFTCORE_REFUSED) != 0;
    uint32_t role = is_pre_vote ? RAFTCORE_PRE_CANDIDATE : RAFTCORE_CANDIDATE;
    if (ZOO(pre_vote_counted_as_vote) && core->role == RAFTCORE_CANDIDATE && is_pre_vote && !refused &&
        answer->term == core->hard.term && answer->round + 1 == core->campaign) {
        const struct raftcore_member *found = configuration_find(core_configuration(core), answer->from);
        if (found != NULL) {
            core->votes[found - core_configuration(core)->members] = QUORUM_YES;
            if (core->durable_sequence >= core->campaign_sequence) {
                follow_tally(core);
            }
        }
        return 0;
    }
    uint64_t granted_term = is_pre_vote ? core->hard.term + 1 : core->hard.term;
    /* An answer to an earlier campaign, or of the other kind, counts for nothing (D2 of the bug list). */
    if (core->role != role || answer->round != core->campaign || answer->to_session != core->session ||
        (!is_pre_vote && core->campaign_waits && !ZOO(request_at_once)) || (!refused && answer->term != granted_term)) {
        return RAFTCORE_REASON_STALE_TERM;
    }
    const struct raftcore_configuration *configuration = core_configuration(core);
    if (!configuration_is_voter_with_log(configuration, answer->from, answer->log_id)) {
        return RAFTCORE_REASON_NOT_A_MEMBER; /* C8: only voters of the newest configuration count. */
    }
    const struct raftcore_member *member = configuration_find(configuration, answer->from);
    core->votes[member - configuration->members] = refused ? QUORUM_NO : QUORUM_YES;
    follow_tally(core);
    return 0;
}
