/* directed.c - rules that chance finds too seldom, each with the shortest story that breaks when the rule is not kept.
 *
 * A story has one core, node 1 of three or four, and the test plays all others: it hands in messages and says when
 * units are durable. Time passes only as the story says.
 *
 * What can fail: an expectation; its text is the result. Invariants: raftcore_check holds after every step. */

#include "tests/raft/directed.h"

#include "raftcore/codec.h"
#include "tests/raft/story.h"

/* --- persisting ---------------------------------------------------------------------------------- */

static const char *a_vote_request_waits_for_the_vote(void)
{
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    struct raftcore_event event = {.kind = RAFTCORE_CAMPAIGN, .campaign.at_once = true};
    story_step(&story, &event);
    EXPECT(&story, story.output->unit.hard_state.term == 1 && story.output->unit.hard_state.vote == 1);
    EXPECT(&story, story_sent(&story, RAFTCORE_VOTE_REQUEST, 0) == NULL);
    story_durable(&story);
    EXPECT(&story, story_sent(&story, RAFTCORE_VOTE_REQUEST, 2) != NULL &&
                       story_sent(&story, RAFTCORE_VOTE_REQUEST, 3) != NULL);
    return story_end(&story);
}

static const char *a_grant_waits_and_is_repeated_with_the_same_wait(void)
{
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    struct raftcore_message request = story_from(2, RAFTCORE_VOTE_REQUEST, 1);
    request.round = 7;
    story_receive(&story, &request);
    EXPECT(&story, story.output->unit.hard_state.vote == 2 && story_sent(&story, RAFTCORE_VOTE_ANSWER, 2) == NULL);
    story_receive(&story, &request);
    EXPECT(&story, story.output->unit.sequence == 0 && story_sent(&story, RAFTCORE_VOTE_ANSWER, 2) == NULL);
    story_durable(&story);
    EXPECT(&story, story.output->message_count == 2 && story_sent(&story, RAFTCORE_VOTE_ANSWER, 2)->flags == 0);
    request = story_from(3, RAFTCORE_VOTE_REQUEST, 1);
    story_receive(&story, &request);
    EXPECT(&story, story.reason == RAFTCORE_REASON_VOTED);
    return story_end(&story);
}

static const char *an_answer_waits_for_the_later_of_term_and_entries(void)
{
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    struct raftcore_entry entry = story_entry(1);
    story_append(&story, 2, 1, 0, 0, &entry, 1, 0);
    EXPECT(&story, story_sent(&story, RAFTCORE_APPEND_ANSWER, 2) == NULL);
    story_append(&story, 2, 1, 0, 0, &entry, 1, 0); /* A duplicate, while the entry is on its way. */
    EXPECT(&story, story_sent(&story, RAFTCORE_APPEND_ANSWER, 2) == NULL);
    story_durable(&story);
    const struct raftcore_message *answer = story_sent(&story, RAFTCORE_APPEND_ANSWER, 2);
    EXPECT(&story, answer != NULL && answer->index == 1 && (answer->flags & RAFTCORE_REFUSED) == 0);
    story_append(&story, 2, 1, 0, 0, &entry, 1, 0);
    EXPECT(&story, story_sent(&story, RAFTCORE_APPEND_ANSWER, 2) != NULL); /* Durable: now. */
    return story_end(&story);
}

/* A17: the truncation is issued, not durable; a duplicate of the new entry must not be answered by the old one's being
 * durable. */
static const char *a_truncation_lowers_the_durable_index_when_it_is_issued(void)
{
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    struct raftcore_entry old = story_entry(1), new = story_entry(2);
    story_append(&story, 2, 1, 0, 0, &old, 1, 0);
    story_durable(&story);
    story_append(&story, 3, 2, 0, 0, &new, 1, 0);
    EXPECT(&story, story.output->unit.truncate_from == 1 && story_status(&story).durable_index == 0);
    story_append(&story, 3, 2, 0, 0, &new, 1, 0);
    EXPECT(&story, story_sent(&story, RAFTCORE_APPEND_ANSWER, 3) == NULL);
    story_durable(&story);
    EXPECT(&story, story_sent(&story, RAFTCORE_APPEND_ANSWER, 3) != NULL);
    return story_end(&story);
}

static const char *a_failed_write_ends_everything(void)
{
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    struct raftcore_message request = story_from(2, RAFTCORE_VOTE_REQUEST, 1);
    story_receive(&story, &request);
    struct raftcore_event event = {.kind = RAFTCORE_PERSIST_FAILED};
    story_step(&story, &event);
    story.wrong = NULL; /* Broken is what it must be. */
    EXPECT(&story, story.output->role == RAFTCORE_BROKEN && story.output->message_count == 0);
    event = (struct raftcore_event){.kind = RAFTCORE_PERSISTED, .persisted.sequence = 1};
    story_step(&story, &event);
    story.wrong = NULL;
    EXPECT(&story, story.reason == RAFTCORE_REASON_BROKEN && story.output->message_count == 0);
    EXPECT(&story, raftcore_broken(story.core) != NULL);
    return story_end(&story);
}

/* --- committing ---------------------------------------------------------------------------------- */

/* Figure 8 of the paper: node 1 leads term 3 with an entry of term 1 that a majority has; it is not committed by that.
 */
static const char *an_entry_of_an_earlier_term_is_not_committed_by_counting(void)
{
    struct story story;
    struct raftcore_run run = {.first_index = 1, .term = 1};
    story_prepare(&story, 3);
    story.start.hard_state.term = 2;
    story.start.last_index = 1;
    story.start.runs = &run;
    story.start.run_count = 1;
    story_begin(&story);
    story_lead(&story, 3);
    const struct raftcore_message *sent_append = story_sent(&story, RAFTCORE_APPEND, 2);
    struct raftcore_message answer = story_from(2, RAFTCORE_APPEND_ANSWER, 3);
    answer.stream = sent_append == NULL ? 0 : sent_append->stream;
    if (answer.stream == 0) { /* The appends left with the grant of node 2. */
        answer.stream = 1;
    }
    answer.index = 1;
    answer.credit = 1 << 20;
    story_receive(&story, &answer);
    EXPECT(&story, story.reason == 0 && story_status(&story).hard_state.commit == 0);
    story_durable(&story);
    answer.index = 2;
    story_receive(&story, &answer);
    EXPECT(&story, story_status(&story).hard_state.commit == 2);
    return story_end(&story);
}

/* --- sessions ------------------------------------------------------------------------------------ */

/* B9, C17: node 2 was started anew; what it said before counts for nothing. */
static const char *an_answer_of_an_earlier_start_does_not_count(void)
{
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    story_lead(&story, 1);
    story_durable(&story);
    struct raftcore_message answer = story_from(2, RAFTCORE_APPEND_ANSWER, 1);
    answer.stream = 1;
    answer.index = 1;
    answer.credit = 1 << 20;
    struct raftcore_message beat = story_alive(2, 1);
    story_receive(&story, &beat); /* Now its session is known. */
    beat.session = 999;           /* And now it has another. */
    story_receive(&story, &beat);
    story_receive(&story, &answer);
    EXPECT(&story, story_status(&story).hard_state.commit == 0);
    answer.session = 999; /* The new start, but to what was sent to the old one. */
    story_receive(&story, &answer);
    EXPECT(&story, story_status(&story).hard_state.commit == 0);
    return story_end(&story);
}

/* --- elections ----------------------------------------------------------------------------------- */

static const char *a_pre_vote_changes_nothing(void)
{
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    struct raftcore_message request = story_from(2, RAFTCORE_PRE_VOTE_REQUEST, 5);
    story_receive(&story, &request);
    const struct raftcore_message *answer = story_sent(&story, RAFTCORE_PRE_VOTE_ANSWER, 2);
    EXPECT(&story, answer != NULL && (answer->flags & RAFTCORE_REFUSED) == 0 && answer->term == 5);
    EXPECT(&story, story.output->unit.sequence == 0 && story_status(&story).hard_state.term == 0);
    request = story_from(3, RAFTCORE_PRE_VOTE_REQUEST, 5);
    story_receive(&story, &request);
    EXPECT(&story, story_sent(&story, RAFTCORE_PRE_VOTE_ANSWER, 3) != NULL &&
                       story_sent(&story, RAFTCORE_PRE_VOTE_ANSWER, 3)->flags == 0);
    return story_end(&story);
}

static const char *while_a_leader_is_heard_nobody_else_is_granted(void)
{
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    struct raftcore_message beat = story_from(2, RAFTCORE_HEARTBEAT, 1);
    story_receive(&story, &beat);
    struct raftcore_message request = story_from(3, RAFTCORE_VOTE_REQUEST, 9);
    story.now_ns += SECOND / 2;
    story_receive(&story, &request);
    EXPECT(&story, story.reason == RAFTCORE_REASON_LEADER_ALIVE && story_status(&story).hard_state.term == 1);
    request.flags = RAFTCORE_TRANSFER; /* Unless the leader itself wants it. */
    story_receive(&story, &request);
    EXPECT(&story, story.reason == 0 && story_status(&story).hard_state.term == 9);
    return story_end(&story);
}

/* --- damage -------------------------------------------------------------------------------------- */

/* B3, B6, B7: the tail is gone; whoever is behind what it may have held gets no vote, and no vote is left in the term.
 */
static const char *an_uncertain_tail_votes_for_nobody_behind_its_floor(void)
{
    struct story story;
    struct raftcore_run run = {.first_index = 1, .term = 1};
    story_prepare(&story, 3);
    story.start.hard_state.term = 1;
    story.start.last_index = 1;
    story.start.runs = &run;
    story.start.run_count = 1;
    story.start.tail = RAFTCORE_TAIL_UNCERTAIN;
    story_begin(&story);
    EXPECT(&story, story.output->unit.hard_state.term == 1024 &&
                       story.output->unit.hard_state.vote == RAFTCORE_VOTE_SPENT &&
                       story.output->unit.hard_state.floor_term == 1024 &&
                       story.output->unit.hard_state.floor_index == RAFTCORE_INFINITY);
    story_durable(&story);
    struct raftcore_message request = story_from(2, RAFTCORE_VOTE_REQUEST, 1024);
    request.index = 5;
    request.log_term = 1;
    story_receive(&story, &request);
    EXPECT(&story, story.reason == RAFTCORE_REASON_VOTED);
    request.term = 1025;
    story_receive(&story, &request);
    EXPECT(&story, story.reason == RAFTCORE_REASON_NOT_UP_TO_DATE);
    EXPECT(&story, story.output->unit.hard_state.floor_index == RAFTCORE_INFINITY); /* B5: in every unit. */
    struct raftcore_event event = {.kind = RAFTCORE_CAMPAIGN, .campaign.at_once = true};
    story_step(&story, &event);
    EXPECT(&story, story.reason == RAFTCORE_REASON_DAMAGED);
    return story_end(&story);
}

/* A hole at 1 with the anchor (1, term 1), and an entry of term 1 at 2. */
static void prepare_hole(struct story *story, struct raftcore_run *run, struct raftcore_hole *hole)
{
    story_prepare(story, 3);
    *run = (struct raftcore_run){.first_index = 1, .term = 1};
    *hole = (struct raftcore_hole){.first = 1, .last = 1, .anchor_index = 2, .anchor_term = 1};
    story->start.hard_state.term = 1;
    story->start.last_index = 2;
    story->start.runs = run;
    story->start.run_count = 1;
    story->start.holes = hole;
    story->start.hole_count = 1;
}

static const char *a_part_of_a_hole_is_not_stored(void)
{
    struct story story;
    struct raftcore_run run;
    struct raftcore_hole hole;
    prepare_hole(&story, &run, &hole);
    story_begin(&story);
    struct raftcore_entry other = story_entry(2);
    story_append(&story, 2, 2, 0, 0, &other, 1, 0);
    EXPECT(&story, story.output->unit.entry_count == 0 && story.output->splice.count == 0);
    EXPECT(&story, story_status(&story).hole_count == 1 && story_status(&story).last_index == 2);
    story_durable(&story);
    const struct raftcore_message *answer = story_sent(&story, RAFTCORE_APPEND_ANSWER, 2);
    EXPECT(&story, answer != NULL && answer->index == 0); /* Nothing at or above the hole. */
    struct raftcore_entry both[2] = {story_entry(1), story_entry(1)};
    story_append(&story, 2, 2, 0, 0, both, 2, 0);
    EXPECT(&story, story.output->splice.count == 1 && story.output->splice.first_index == 1);
    struct raftcore_event event = {.kind = RAFTCORE_SPLICED, .spliced = {.first = 1, .last = 1}};
    story_step(&story, &event);
    EXPECT(&story, story_status(&story).hole_count == 0);
    return story_end(&story);
}

static const char *a_different_entry_behind_a_hole_voids_both(void)
{
    struct story story;
    struct raftcore_run run;
    struct raftcore_hole hole;
    prepare_hole(&story, &run, &hole);
    story_begin(&story);
    struct raftcore_entry both[2] = {story_entry(1), story_entry(2)};
    story_append(&story, 2, 2, 0, 0, both, 2, 0);
    EXPECT(&story, story.output->unit.truncate_from == 1 && story.output->unit.entry_count == 2);
    EXPECT(&story, story_status(&story).hole_count == 0);
    return story_end(&story);
}

static const char *a_hole_counts_for_the_vote_and_not_for_acknowledging(void)
{
    struct story story;
    struct raftcore_run run;
    struct raftcore_hole hole;
    prepare_hole(&story, &run, &hole);
    story_begin(&story);
    struct raftcore_message request = story_from(3, RAFTCORE_VOTE_REQUEST, 2);
    request.index = 1;
    request.log_term = 1;
    story_receive(&story, &request);
    EXPECT(&story, story.reason == RAFTCORE_REASON_NOT_UP_TO_DATE);
    struct raftcore_message fetch = story_from(3, RAFTCORE_FETCH_ANSWER, 2);
    struct raftcore_entry both[2] = {story_entry(1), story_entry(1)};
    fetch.index = 1;
    fetch.entries = both;
    fetch.entry_count = 2;
    story_receive(&story, &fetch);
    EXPECT(&story, story.output->splice.count == 1);
    return story_end(&story);
}

static const char *a_term_above_the_limit_waits(void)
{
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    struct raftcore_entry entry = story_entry(2000);
    story_append(&story, 2, 2000, 0, 0, &entry, 1, 0);
    EXPECT(&story, story.reason == RAFTCORE_REASON_TERM_LIMIT && story_status(&story).hard_state.term == 0);
    EXPECT(&story, story.output->unit.hard_state.term_limit == 3024);
    struct raftcore_event event = {.kind = RAFTCORE_PERSISTED, .persisted = {.sequence = 1, .covered = 0}};
    story_step(&story, &event);
    story_append(&story, 2, 2000, 0, 0, &entry, 1, 0);
    EXPECT(&story, story.reason == RAFTCORE_REASON_TERM_LIMIT); /* Durable, and not covered. */
    event.persisted.covered = 1;
    story_step(&story, &event);
    story_append(&story, 2, 2000, 0, 0, &entry, 1, 0);
    EXPECT(&story, story.reason == 0 && story_status(&story).hard_state.term == 2000);
    return story_end(&story);
}

/* --- members ------------------------------------------------------------------------------------- */

static const char *a_new_leader_changes_nobody_before_its_own_entry_is_committed(void)
{
    struct story story;
    story_prepare(&story, 4);
    story_begin(&story);
    story_lead(&story, 1);
    struct raftcore_change change = {.kind = RAFTCORE_REMOVE, .id = 4};
    struct raftcore_event event = {.kind = RAFTCORE_CHANGE, .change = {.changes = &change, .count = 1}};
    story_step(&story, &event);
    EXPECT(&story, story.reason == RAFTCORE_REASON_NOT_COMMITTED);
    story_durable(&story);
    for (unsigned node = 2; node <= 3; node++) {
        struct raftcore_message answer = story_from(node, RAFTCORE_APPEND_ANSWER, 1);
        answer.stream = node - 1;
        answer.index = 1;
        answer.credit = 1 << 20;
        story_receive(&story, &answer);
    }
    EXPECT(&story, story_status(&story).hard_state.commit == 1);
    story_step(&story, &event);
    EXPECT(&story, story.reason == 0 && story_status(&story).configuration.count == 3); /* In force at once (C1). */
    change.id = 3;
    story_step(&story, &event);
    EXPECT(&story, story.reason == RAFTCORE_REASON_CHANGE_PENDING);
    return story_end(&story);
}

static const char *a_truncated_configuration_is_rolled_back(void)
{
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    unsigned char bytes[CODEC_CONFIGURATION_BYTES_MAX];
    struct raftcore_entry entry = story_two_members(&story, bytes);
    story_append(&story, 2, 1, 0, 0, &entry, 1, 0);
    EXPECT(&story, story_status(&story).configuration.count == 2);
    struct raftcore_entry other = story_entry(2);
    story_append(&story, 3, 2, 0, 0, &other, 1, 0);
    EXPECT(&story, story_status(&story).configuration.count == 3 && story_status(&story).configuration_index == 0);
    return story_end(&story);
}

/* --- hostile peers ------------------------------------------------------------------------------- */

static const char *a_peer_that_would_cut_what_is_committed_is_quarantined(void)
{
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    struct raftcore_entry entry = story_entry(1), other = story_entry(2);
    story_append(&story, 2, 1, 0, 0, &entry, 1, 1);
    story_durable(&story);
    story_append(&story, 3, 2, 0, 0, &other, 1, 1);
    EXPECT(&story, story.reason == RAFTCORE_REASON_QUARANTINED && story_status(&story).last_index == 1);
    EXPECT(&story, raftcore_broken(story.core) == NULL);
    story_append(&story, 3, 2, 1, 1, NULL, 0, 1);
    EXPECT(&story, story.reason == RAFTCORE_REASON_QUARANTINED);
    return story_end(&story);
}

static const char *the_second_leader_of_a_term_is_quarantined(void)
{
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    story_lead(&story, 1);
    struct raftcore_entry entry = story_entry(1);
    story_append(&story, 3, 1, 0, 0, &entry, 1, 0);
    EXPECT(&story, story.reason == RAFTCORE_REASON_QUARANTINED && story_status(&story).role == RAFTCORE_LEADER);
    EXPECT(&story, raftcore_broken(story.core) == NULL);
    return story_end(&story);
}

static const char *an_answer_of_another_log_does_not_count(void)
{
    struct story story;
    story_prepare(&story, 3);
    story_name_logs(&story);
    story_begin(&story);
    story_lead(&story, 1);
    story_durable(&story);
    struct raftcore_message answer = story_from(2, RAFTCORE_APPEND_ANSWER, 1);
    answer.stream = 1;
    answer.index = 1;
    answer.credit = 1 << 20;
    answer.log_id = 77; /* The node was wiped, and has its id again. */
    story_receive(&story, &answer);
    EXPECT(&story, story_status(&story).hard_state.commit == 0);
    answer.log_id = 2;
    story_receive(&story, &answer);
    EXPECT(&story, story_status(&story).hard_state.commit == 1);
    return story_end(&story);
}

/* --- what became of it --------------------------------------------------------------------------- */

static const char *an_outcome_is_one_of_four(void)
{
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    struct raftcore_entry entries[2] = {story_entry(1), story_entry(1)};
    story_append(&story, 2, 1, 0, 0, entries, 2, 1);
    story_durable(&story);
    EXPECT(&story, raftcore_outcome(story.core, 1, 1) == RAFTCORE_OUTCOME_COMMITTED);
    EXPECT(&story, raftcore_outcome(story.core, 2, 1) == RAFTCORE_OUTCOME_PENDING);
    EXPECT(&story, raftcore_outcome(story.core, 9, 1) == RAFTCORE_OUTCOME_PENDING);
    struct raftcore_entry other = story_entry(2);
    story_append(&story, 3, 2, 1, 1, &other, 1, 2);
    story_durable(&story);
    EXPECT(&story, raftcore_outcome(story.core, 2, 1) == RAFTCORE_OUTCOME_SUPERSEDED);
    EXPECT(&story, raftcore_outcome(story.core, 2, 2) == RAFTCORE_OUTCOME_COMMITTED);
    struct raftcore_event applied = {.kind = RAFTCORE_APPLIED, .applied.index = 2};
    story_step(&story, &applied);
    struct raftcore_event taken = {.kind = RAFTCORE_SNAPSHOT_TAKEN};
    taken.snapshot.snapshot = (struct raftcore_snapshot){.index = 2, .term = 2, .id = 5, .bytes = 10};
    story_step(&story, &taken);
    EXPECT(&story, story.reason == 0);
    EXPECT(&story, raftcore_outcome(story.core, 1, 1) == RAFTCORE_OUTCOME_UNKNOWN);
    return story_end(&story);
}

/* B13: what was applied is lost in the log, and no peer has it any more. Applying goes on, and a snapshot of the own
 * covers the hole. */
static const char *a_hole_in_what_is_applied_is_covered_by_a_snapshot(void)
{
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    struct raftcore_entry entries[4] = {story_entry(1), story_entry(1), story_entry(1), story_entry(1)};
    story_append(&story, 2, 1, 0, 0, entries, 4, 3);
    story_durable(&story);
    EXPECT(&story, story.output->apply_to == 4);
    struct raftcore_event event = {.kind = RAFTCORE_APPLIED, .applied.index = 3};
    story_step(&story, &event);
    event = (struct raftcore_event){.kind = RAFTCORE_HOLE_FOUND, .hole.hole = {.first = 2, .last = 2}};
    story_step(&story, &event);
    EXPECT(&story, story.reason == 0 && story_status(&story).hole_count == 1);
    EXPECT(&story, story_sent(&story, RAFTCORE_FETCH, 0) != NULL && !story.output->snapshot_wanted);
    bool is_wanted = false;
    for (unsigned i = 0; i < 20 && !is_wanted; i++) {
        story_wait(&story, SECOND / 10);
        is_wanted = story.output->snapshot_wanted;
    }
    EXPECT(&story, is_wanted);
    event = (struct raftcore_event){.kind = RAFTCORE_SNAPSHOT_TAKEN};
    event.snapshot.snapshot = (struct raftcore_snapshot){.index = 3, .term = 1, .id = 5, .bytes = 10};
    event.snapshot.keep = 100;
    story_step(&story, &event);
    EXPECT(&story, story.reason == 0 && story_status(&story).hole_count == 0 && story.output->compact_to == 3);
    event = (struct raftcore_event){.kind = RAFTCORE_HOLE_FOUND, .hole.hole = {.first = 3, .last = 3}};
    story_step(&story, &event);
    EXPECT(&story, story_status(&story).hole_count == 0 && story.output->compact_to == 4);
    return story_end(&story);
}

/* The unit that is lost may have put others in the place of the entries that read; a newer hard state that is not lost
 * has committed those. */
static const char *the_commit_of_an_uncertain_log_is_not_believed(void)
{
    struct story story;
    struct raftcore_run run = {.first_index = 1, .term = 1};
    story_prepare(&story, 3);
    story.start.hard_state = (struct raftcore_hard_state){.term = 2, .commit = 2, .term_limit = 1024};
    story.start.last_index = 2;
    story.start.runs = &run;
    story.start.run_count = 1;
    story.start.tail = RAFTCORE_TAIL_UNCERTAIN;
    story_begin(&story);
    story_durable(&story);
    EXPECT(&story, story_status(&story).hard_state.commit == 0);
    EXPECT(&story, story.output->apply_to == story.output->apply_from);
    return story_end(&story);
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
    {"the commit index behind an uncertain end (A22, B3)", the_commit_of_an_uncertain_log_is_not_believed},
    {"a hole in what is applied (B13)", a_hole_in_what_is_applied_is_covered_by_a_snapshot},
    {"a part of a hole (B12a)", a_part_of_a_hole_is_not_stored},
    {"a different entry behind a hole (B12a)", a_different_entry_behind_a_hole_voids_both},
    {"a hole counts for the vote (B7, B12)", a_hole_counts_for_the_vote_and_not_for_acknowledging},
    {"a term above the limit (B2)", a_term_above_the_limit_waits},
    {"the gate of changes (C3)", a_new_leader_changes_nobody_before_its_own_entry_is_committed},
    {"a truncated configuration (C2)", a_truncated_configuration_is_rolled_back},
    {"a peer that breaks the rules (H1)", a_peer_that_would_cut_what_is_committed_is_quarantined},
    {"two leaders in a term (D10)", the_second_leader_of_a_term_is_quarantined},
    {"another log is no member (B1, H2)", an_answer_of_another_log_does_not_count},
    {"what became of a proposal (A11)", an_outcome_is_one_of_four},
};
const unsigned directed_count = sizeof(directed_tests) / sizeof(directed_tests[0]);
