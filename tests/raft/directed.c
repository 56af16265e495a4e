/* directed.c - rules that chance finds too seldom, each with the shortest story that breaks when the rule is not kept.
 *
 * A story has one core, node 1 of three or four, and the test plays all others: it hands in messages and says when
 * units are durable. Time passes only as the story says.
 *
 * What can fail: an expectation; its text is the result. Invariants: raftcore_check holds after every step. */

#include "tests/raft/directed.h"

#include "raftcore/codec.h"
#include "raftcore/raftcore.h"

#include <stdlib.h>
#include <string.h>

#define SECOND 1000000000ULL

struct story {
    struct raftcore *core;
    const struct raftcore_output *output;
    uint64_t now_ns, sequence;
    int reason;
    const char *wrong;
    struct raftcore_configuration configuration;
    struct raftcore_event start;
    struct raftcore_options options;
};

#define EXPECT(story, condition)                      \
    do {                                              \
        if ((story)->wrong == NULL && !(condition)) { \
            (story)->wrong = #condition;              \
        }                                             \
    } while (0)

static void step(struct story *story, struct raftcore_event *event)
{
    event->now_ns = story->now_ns;
    story->reason = raftcore_step(story->core, event, &story->output);
    if (story->output->unit.sequence != 0) {
        story->sequence = story->output->unit.sequence;
    }
    if (story->wrong == NULL) {
        story->wrong = raftcore_check(story->core);
    }
}

static void prepare(struct story *story, unsigned nodes)
{
    *story = (struct story){.now_ns = SECOND};
    story->options = (struct raftcore_options){.size = sizeof(story->options), .id = 1, .log_id = 1, .seed = 1};
    for (unsigned id = 1; id <= nodes; id++) {
        story->configuration.members[story->configuration.count++] =
            (struct raftcore_member){.id = id, .flags = RAFTCORE_VOTER};
    }
    story->start = (struct raftcore_event){.kind = RAFTCORE_START};
    story->start.start = (struct raftcore_start){
        .session = 11, .hard_state = {.term_limit = 1024}, .configuration = story->configuration, .first_index = 1};
}

static void begin(struct story *story)
{
    if (raftcore_new(&story->core, &story->options) != 0) {
        abort();
    }
    step(story, &story->start);
    EXPECT(story, story->reason == 0);
}

static const char *end(struct story *story)
{
    raftcore_free(story->core);
    return story->wrong;
}

static void durable(struct story *story)
{
    struct raftcore_event event = {.kind = RAFTCORE_PERSISTED};
    event.persisted.sequence = event.persisted.covered = story->sequence;
    step(story, &event);
}

static struct raftcore_message from(unsigned node, enum raftcore_message_kind kind, uint64_t term)
{
    return (struct raftcore_message){.kind = (uint16_t)kind,
                                     .from = node,
                                     .to = 1,
                                     .log_id = node,
                                     .session = 100 + node,
                                     .to_session = 11,
                                     .term = term};
}

static void receive(struct story *story, const struct raftcore_message *message)
{
    struct raftcore_event event = {.kind = RAFTCORE_RECEIVE, .receive = message};
    step(story, &event);
}

/* The message of this kind to a node in the last output; NULL: none. */
static const struct raftcore_message *sent(const struct story *story, enum raftcore_message_kind kind, unsigned to)
{
    for (uint32_t i = 0; i < story->output->message_count; i++) {
        const struct raftcore_message *message = &story->output->messages[i];
        if (message->kind == kind && (to == 0 || message->to == to)) {
            return message;
        }
    }
    return NULL;
}

static uint32_t role(const struct story *story)
{
    struct raftcore_status status;
    raftcore_status(story->core, &status);
    return status.role;
}

static struct raftcore_status status_of(const struct story *story)
{
    struct raftcore_status status;
    raftcore_status(story->core, &status);
    return status;
}

static void append(struct story *story, unsigned leader, uint64_t term, uint64_t previous, uint64_t previous_term,
                   const struct raftcore_entry *entries, uint32_t count, uint64_t commit)
{
    struct raftcore_message message = from(leader, RAFTCORE_APPEND, term);
    message.index = previous;
    message.log_term = previous_term;
    message.entries = entries;
    message.entry_count = count;
    message.commit = commit;
    receive(story, &message);
}

/* Node 1 campaigns and is granted by node 2. */
static void lead(struct story *story, uint64_t term)
{
    struct raftcore_event event = {.kind = RAFTCORE_CAMPAIGN, .campaign.at_once = true};
    step(story, &event);
    durable(story);
    const struct raftcore_message *request = sent(story, RAFTCORE_VOTE_REQUEST, 2);
    EXPECT(story, request != NULL && request->term == term);
    uint64_t round = request == NULL ? 0 : request->round;
    for (unsigned node = 2; node <= 3 && role(story) == RAFTCORE_CANDIDATE; node++) {
        struct raftcore_message grant = from(node, RAFTCORE_VOTE_ANSWER, term);
        grant.round = round;
        receive(story, &grant);
    }
    EXPECT(story, role(story) == RAFTCORE_LEADER);
}

static struct raftcore_entry plain(uint64_t term)
{
    return (struct raftcore_entry){.term = term};
}

/* --- persisting ---------------------------------------------------------------------------------- */

static const char *a_vote_request_waits_for_the_vote(void)
{
    struct story story;
    prepare(&story, 3);
    begin(&story);
    struct raftcore_event event = {.kind = RAFTCORE_CAMPAIGN, .campaign.at_once = true};
    step(&story, &event);
    EXPECT(&story, story.output->unit.hard_state.term == 1 && story.output->unit.hard_state.vote == 1);
    EXPECT(&story, sent(&story, RAFTCORE_VOTE_REQUEST, 0) == NULL);
    durable(&story);
    EXPECT(&story, sent(&story, RAFTCORE_VOTE_REQUEST, 2) != NULL && sent(&story, RAFTCORE_VOTE_REQUEST, 3) != NULL);
    return end(&story);
}

static const char *a_grant_waits_and_is_repeated_with_the_same_wait(void)
{
    struct story story;
    prepare(&story, 3);
    begin(&story);
    struct raftcore_message request = from(2, RAFTCORE_VOTE_REQUEST, 1);
    request.round = 7;
    receive(&story, &request);
    EXPECT(&story, story.output->unit.hard_state.vote == 2 && sent(&story, RAFTCORE_VOTE_ANSWER, 2) == NULL);
    receive(&story, &request);
    EXPECT(&story, story.output->unit.sequence == 0 && sent(&story, RAFTCORE_VOTE_ANSWER, 2) == NULL);
    durable(&story);
    EXPECT(&story, story.output->message_count == 2 && sent(&story, RAFTCORE_VOTE_ANSWER, 2)->flags == 0);
    request = from(3, RAFTCORE_VOTE_REQUEST, 1);
    receive(&story, &request);
    EXPECT(&story, story.reason == RAFTCORE_REASON_VOTED);
    return end(&story);
}

static const char *an_answer_waits_for_the_later_of_term_and_entries(void)
{
    struct story story;
    prepare(&story, 3);
    begin(&story);
    struct raftcore_entry entry = plain(1);
    append(&story, 2, 1, 0, 0, &entry, 1, 0);
    EXPECT(&story, sent(&story, RAFTCORE_APPEND_ANSWER, 2) == NULL);
    append(&story, 2, 1, 0, 0, &entry, 1, 0); /* A duplicate, while the entry is on its way. */
    EXPECT(&story, sent(&story, RAFTCORE_APPEND_ANSWER, 2) == NULL);
    durable(&story);
    const struct raftcore_message *answer = sent(&story, RAFTCORE_APPEND_ANSWER, 2);
    EXPECT(&story, answer != NULL && answer->index == 1 && (answer->flags & RAFTCORE_REFUSED) == 0);
    append(&story, 2, 1, 0, 0, &entry, 1, 0);
    EXPECT(&story, sent(&story, RAFTCORE_APPEND_ANSWER, 2) != NULL); /* Durable: now. */
    return end(&story);
}

/* A17: the truncation is issued, not durable; a duplicate of the new entry must not be answered by the old one's being
 * durable. */
static const char *a_truncation_lowers_the_durable_index_when_it_is_issued(void)
{
    struct story story;
    prepare(&story, 3);
    begin(&story);
    struct raftcore_entry old = plain(1), new = plain(2);
    append(&story, 2, 1, 0, 0, &old, 1, 0);
    durable(&story);
    append(&story, 3, 2, 0, 0, &new, 1, 0);
    EXPECT(&story, story.output->unit.truncate_from == 1 && status_of(&story).durable_index == 0);
    append(&story, 3, 2, 0, 0, &new, 1, 0);
    EXPECT(&story, sent(&story, RAFTCORE_APPEND_ANSWER, 3) == NULL);
    durable(&story);
    EXPECT(&story, sent(&story, RAFTCORE_APPEND_ANSWER, 3) != NULL);
    return end(&story);
}

static const char *a_failed_write_ends_everything(void)
{
    struct story story;
    prepare(&story, 3);
    begin(&story);
    struct raftcore_message request = from(2, RAFTCORE_VOTE_REQUEST, 1);
    receive(&story, &request);
    struct raftcore_event event = {.kind = RAFTCORE_PERSIST_FAILED};
    step(&story, &event);
    story.wrong = NULL; /* Broken is what it must be. */
    EXPECT(&story, story.output->role == RAFTCORE_BROKEN && story.output->message_count == 0);
    event = (struct raftcore_event){.kind = RAFTCORE_PERSISTED, .persisted.sequence = 1};
    step(&story, &event);
    story.wrong = NULL;
    EXPECT(&story, story.reason == RAFTCORE_REASON_BROKEN && story.output->message_count == 0);
    EXPECT(&story, raftcore_broken(story.core) != NULL);
    return end(&story);
}

/* --- committing ---------------------------------------------------------------------------------- */

/* Figure 8 of the paper: node 1 leads term 3 with an entry of term 1 that a majority has; it is not committed by that.
 */
static const char *an_entry_of_an_earlier_term_is_not_committed_by_counting(void)
{
    struct story story;
    struct raftcore_run run = {.first_index = 1, .term = 1};
    prepare(&story, 3);
    story.start.start.hard_state.term = 2;
    story.start.start.last_index = 1;
    story.start.start.runs = &run;
    story.start.start.run_count = 1;
    begin(&story);
    lead(&story, 3);
    const struct raftcore_message *sent_append = sent(&story, RAFTCORE_APPEND, 2);
    struct raftcore_message answer = from(2, RAFTCORE_APPEND_ANSWER, 3);
    answer.stream = sent_append == NULL ? 0 : sent_append->stream;
    if (answer.stream == 0) { /* The appends left with the grant of node 2. */
        answer.stream = 1;
    }
    answer.index = 1;
    answer.credit = 1 << 20;
    receive(&story, &answer);
    EXPECT(&story, story.reason == 0 && status_of(&story).hard_state.commit == 0);
    durable(&story);
    answer.index = 2;
    receive(&story, &answer);
    EXPECT(&story, status_of(&story).hard_state.commit == 2);
    return end(&story);
}

/* --- sessions ------------------------------------------------------------------------------------ */

/* B9, C17: node 2 was started anew; what it said before counts for nothing. */
static const char *an_answer_of_an_earlier_start_does_not_count(void)
{
    struct story story;
    prepare(&story, 3);
    begin(&story);
    lead(&story, 1);
    durable(&story);
    struct raftcore_message answer = from(2, RAFTCORE_APPEND_ANSWER, 1);
    answer.stream = 1;
    answer.index = 1;
    answer.credit = 1 << 20;
    struct raftcore_message beat = from(2, RAFTCORE_HEARTBEAT_ANSWER, 1);
    beat.stream = 1;
    receive(&story, &beat); /* Now its session is known. */
    beat.session = 999;     /* And now it has another. */
    receive(&story, &beat);
    receive(&story, &answer);
    EXPECT(&story, status_of(&story).hard_state.commit == 0);
    answer.session = 999; /* The new start, but to what was sent to the old one. */
    receive(&story, &answer);
    EXPECT(&story, status_of(&story).hard_state.commit == 0);
    return end(&story);
}

/* --- elections ----------------------------------------------------------------------------------- */

static const char *a_pre_vote_changes_nothing(void)
{
    struct story story;
    prepare(&story, 3);
    begin(&story);
    struct raftcore_message request = from(2, RAFTCORE_PRE_VOTE_REQUEST, 5);
    receive(&story, &request);
    const struct raftcore_message *answer = sent(&story, RAFTCORE_PRE_VOTE_ANSWER, 2);
    EXPECT(&story, answer != NULL && (answer->flags & RAFTCORE_REFUSED) == 0 && answer->term == 5);
    EXPECT(&story, story.output->unit.sequence == 0 && status_of(&story).hard_state.term == 0);
    request = from(3, RAFTCORE_PRE_VOTE_REQUEST, 5);
    receive(&story, &request);
    EXPECT(&story,
           sent(&story, RAFTCORE_PRE_VOTE_ANSWER, 3) != NULL && sent(&story, RAFTCORE_PRE_VOTE_ANSWER, 3)->flags == 0);
    return end(&story);
}

static const char *while_a_leader_is_heard_nobody_else_is_granted(void)
{
    struct story story;
    prepare(&story, 3);
    begin(&story);
    struct raftcore_message beat = from(2, RAFTCORE_HEARTBEAT, 1);
    receive(&story, &beat);
    struct raftcore_message request = from(3, RAFTCORE_VOTE_REQUEST, 9);
    story.now_ns += SECOND / 2;
    receive(&story, &request);
    EXPECT(&story, story.reason == RAFTCORE_REASON_LEADER_ALIVE && status_of(&story).hard_state.term == 1);
    request.flags = RAFTCORE_TRANSFER; /* Unless the leader itself wants it. */
    receive(&story, &request);
    EXPECT(&story, story.reason == 0 && status_of(&story).hard_state.term == 9);
    return end(&story);
}

/* --- damage -------------------------------------------------------------------------------------- */

/* B3, B6, B7: the tail is gone; whoever is behind what it may have held gets no vote, and no vote is left in the term.
 */
static const char *an_uncertain_tail_votes_for_nobody_behind_its_floor(void)
{
    struct story story;
    struct raftcore_run run = {.first_index = 1, .term = 1};
    prepare(&story, 3);
    story.start.start.hard_state.term = 1;
    story.start.start.last_index = 1;
    story.start.start.runs = &run;
    story.start.start.run_count = 1;
    story.start.start.tail = RAFTCORE_TAIL_UNCERTAIN;
    begin(&story);
    EXPECT(&story, story.output->unit.hard_state.term == 1024 &&
                       story.output->unit.hard_state.vote == RAFTCORE_VOTE_SPENT &&
                       story.output->unit.hard_state.floor_term == 1024 &&
                       story.output->unit.hard_state.floor_index == RAFTCORE_INFINITY);
    durable(&story);
    struct raftcore_message request = from(2, RAFTCORE_VOTE_REQUEST, 1024);
    request.index = 5;
    request.log_term = 1;
    receive(&story, &request);
    EXPECT(&story, story.reason == RAFTCORE_REASON_VOTED);
    request.term = 1025;
    receive(&story, &request);
    EXPECT(&story, story.reason == RAFTCORE_REASON_NOT_UP_TO_DATE);
    EXPECT(&story, story.output->unit.hard_state.floor_index == RAFTCORE_INFINITY); /* B5: in every unit. */
    struct raftcore_event event = {.kind = RAFTCORE_CAMPAIGN, .campaign.at_once = true};
    step(&story, &event);
    EXPECT(&story, story.reason == RAFTCORE_REASON_DAMAGED);
    return end(&story);
}

/* A hole at 1 with the anchor (1, term 1), and an entry of term 1 at 2. */
static void prepare_hole(struct story *story, struct raftcore_run *run, struct raftcore_hole *hole)
{
    prepare(story, 3);
    *run = (struct raftcore_run){.first_index = 1, .term = 1};
    *hole = (struct raftcore_hole){.first = 1, .last = 1, .anchor_index = 2, .anchor_term = 1};
    story->start.start.hard_state.term = 1;
    story->start.start.last_index = 2;
    story->start.start.runs = run;
    story->start.start.run_count = 1;
    story->start.start.holes = hole;
    story->start.start.hole_count = 1;
}

static const char *a_part_of_a_hole_is_not_stored(void)
{
    struct story story;
    struct raftcore_run run;
    struct raftcore_hole hole;
    prepare_hole(&story, &run, &hole);
    begin(&story);
    struct raftcore_entry other = plain(2);
    append(&story, 2, 2, 0, 0, &other, 1, 0);
    EXPECT(&story, story.output->unit.entry_count == 0 && story.output->splice.count == 0);
    EXPECT(&story, status_of(&story).hole_count == 1 && status_of(&story).last_index == 2);
    durable(&story);
    const struct raftcore_message *answer = sent(&story, RAFTCORE_APPEND_ANSWER, 2);
    EXPECT(&story, answer != NULL && answer->index == 0); /* Nothing at or above the hole. */
    struct raftcore_entry both[2] = {plain(1), plain(1)};
    append(&story, 2, 2, 0, 0, both, 2, 0);
    EXPECT(&story, story.output->splice.count == 1 && story.output->splice.first_index == 1);
    struct raftcore_event event = {.kind = RAFTCORE_SPLICED, .spliced = {.first = 1, .last = 1}};
    step(&story, &event);
    EXPECT(&story, status_of(&story).hole_count == 0);
    return end(&story);
}

static const char *a_different_entry_behind_a_hole_voids_both(void)
{
    struct story story;
    struct raftcore_run run;
    struct raftcore_hole hole;
    prepare_hole(&story, &run, &hole);
    begin(&story);
    struct raftcore_entry both[2] = {plain(1), plain(2)};
    append(&story, 2, 2, 0, 0, both, 2, 0);
    EXPECT(&story, story.output->unit.truncate_from == 1 && story.output->unit.entry_count == 2);
    EXPECT(&story, status_of(&story).hole_count == 0);
    return end(&story);
}

static const char *a_hole_counts_for_the_vote_and_not_for_acknowledging(void)
{
    struct story story;
    struct raftcore_run run;
    struct raftcore_hole hole;
    prepare_hole(&story, &run, &hole);
    begin(&story);
    struct raftcore_message request = from(3, RAFTCORE_VOTE_REQUEST, 2);
    request.index = 1;
    request.log_term = 1;
    receive(&story, &request);
    EXPECT(&story, story.reason == RAFTCORE_REASON_NOT_UP_TO_DATE);
    struct raftcore_message fetch = from(3, RAFTCORE_FETCH_ANSWER, 2);
    struct raftcore_entry both[2] = {plain(1), plain(1)};
    fetch.index = 1;
    fetch.entries = both;
    fetch.entry_count = 2;
    receive(&story, &fetch);
    EXPECT(&story, story.output->splice.count == 1);
    return end(&story);
}

static const char *a_term_above_the_limit_waits(void)
{
    struct story story;
    prepare(&story, 3);
    begin(&story);
    struct raftcore_entry entry = plain(2000);
    append(&story, 2, 2000, 0, 0, &entry, 1, 0);
    EXPECT(&story, story.reason == RAFTCORE_REASON_TERM_LIMIT && status_of(&story).hard_state.term == 0);
    EXPECT(&story, story.output->unit.hard_state.term_limit == 3024);
    struct raftcore_event event = {.kind = RAFTCORE_PERSISTED, .persisted = {.sequence = 1, .covered = 0}};
    step(&story, &event);
    append(&story, 2, 2000, 0, 0, &entry, 1, 0);
    EXPECT(&story, story.reason == RAFTCORE_REASON_TERM_LIMIT); /* Durable, and not covered. */
    event.persisted.covered = 1;
    step(&story, &event);
    append(&story, 2, 2000, 0, 0, &entry, 1, 0);
    EXPECT(&story, story.reason == 0 && status_of(&story).hard_state.term == 2000);
    return end(&story);
}

/* --- members ------------------------------------------------------------------------------------- */

static const char *a_new_leader_changes_nobody_before_its_own_entry_is_committed(void)
{
    struct story story;
    prepare(&story, 4);
    begin(&story);
    lead(&story, 1);
    struct raftcore_change change = {.kind = RAFTCORE_REMOVE, .id = 4};
    struct raftcore_event event = {.kind = RAFTCORE_CHANGE, .change = {.changes = &change, .count = 1}};
    step(&story, &event);
    EXPECT(&story, story.reason == RAFTCORE_REASON_NOT_COMMITTED);
    durable(&story);
    for (unsigned node = 2; node <= 3; node++) {
        struct raftcore_message answer = from(node, RAFTCORE_APPEND_ANSWER, 1);
        answer.stream = node - 1;
        answer.index = 1;
        answer.credit = 1 << 20;
        receive(&story, &answer);
    }
    EXPECT(&story, status_of(&story).hard_state.commit == 1);
    step(&story, &event);
    EXPECT(&story, story.reason == 0 && status_of(&story).configuration.count == 3); /* In force at once (C1). */
    change.id = 3;
    step(&story, &event);
    EXPECT(&story, story.reason == RAFTCORE_REASON_CHANGE_PENDING);
    return end(&story);
}

static const char *a_truncated_configuration_is_rolled_back(void)
{
    struct story story;
    prepare(&story, 3);
    begin(&story);
    struct raftcore_configuration two = story.configuration;
    two.count = 2;
    two.members[2] = (struct raftcore_member){0};
    unsigned char bytes[CODEC_CONFIGURATION_BYTES_MAX];
    codec_encode_configuration(&two, bytes);
    struct raftcore_entry entry = {.term = 1,
                                   .type = RAFTCORE_ENTRY_CONFIGURATION,
                                   .data = bytes,
                                   .size = (uint32_t)codec_configuration_bytes(&two)};
    append(&story, 2, 1, 0, 0, &entry, 1, 0);
    EXPECT(&story, status_of(&story).configuration.count == 2);
    struct raftcore_entry other = plain(2);
    append(&story, 3, 2, 0, 0, &other, 1, 0);
    EXPECT(&story, status_of(&story).configuration.count == 3 && status_of(&story).configuration_index == 0);
    return end(&story);
}

/* --- hostile peers ------------------------------------------------------------------------------- */

static const char *a_peer_that_would_cut_what_is_committed_is_quarantined(void)
{
    struct story story;
    prepare(&story, 3);
    begin(&story);
    struct raftcore_entry entry = plain(1), other = plain(2);
    append(&story, 2, 1, 0, 0, &entry, 1, 1);
    durable(&story);
    append(&story, 3, 2, 0, 0, &other, 1, 1);
    EXPECT(&story, story.reason == RAFTCORE_REASON_QUARANTINED && status_of(&story).last_index == 1);
    EXPECT(&story, raftcore_broken(story.core) == NULL);
    append(&story, 3, 2, 1, 1, NULL, 0, 1);
    EXPECT(&story, story.reason == RAFTCORE_REASON_QUARANTINED);
    return end(&story);
}

const struct directed directed_tests[] = {
    {"a vote request waits for the vote (A9)", a_vote_request_waits_for_the_vote},
    {"a grant waits (A8)", a_grant_waits_and_is_repeated_with_the_same_wait},
    {"an answer waits (A12)", an_answer_waits_for_the_later_of_term_and_entries},
    {"a truncation lowers the durable index (A17)", a_truncation_lowers_the_durable_index_when_it_is_issued},
    {"a failed write ends everything (A5)", a_failed_write_ends_everything},
    {"no commit of an earlier term by counting (A19)", an_entry_of_an_earlier_term_is_not_committed_by_counting},
    {"an answer of an earlier start (B9, C17)", an_answer_of_an_earlier_start_does_not_count},
    {"a pre-vote changes nothing (D2)", a_pre_vote_changes_nothing},
    {"stickiness (D4)", while_a_leader_is_heard_nobody_else_is_granted},
    {"an uncertain tail (B3, B5, B6, B7)", an_uncertain_tail_votes_for_nobody_behind_its_floor},
    {"a part of a hole (B12a)", a_part_of_a_hole_is_not_stored},
    {"a different entry behind a hole (B12a)", a_different_entry_behind_a_hole_voids_both},
    {"a hole counts for the vote (B7, B12)", a_hole_counts_for_the_vote_and_not_for_acknowledging},
    {"a term above the limit (B2)", a_term_above_the_limit_waits},
    {"the gate of changes (C3)", a_new_leader_changes_nobody_before_its_own_entry_is_committed},
    {"a truncated configuration (C2)", a_truncated_configuration_is_rolled_back},
    {"a peer that breaks the rules (H1)", a_peer_that_would_cut_what_is_committed_is_quarantined},
};
const unsigned directed_count = sizeof(directed_tests) / sizeof(directed_tests[0]);
