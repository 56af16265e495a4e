/* directed_rules.c - rules that no other test missed when they were taken out, each with a story that does.
 *
 * A story has one core, node 1, and the test plays all others, as in directed.c. What can fail: an expectation; its
 * text is the result. Invariants: raftcore_check holds after every step. */

#include "tests/raft/directed.h"
#include "tests/raft/story.h"

static struct raftcore_event propose_event(const struct raftcore_entry *entry)
{
    return (struct raftcore_event){.kind = RAFTCORE_PROPOSE, .propose = {.entries = entry, .count = 1}};
}

static void apply(struct story *story, uint64_t index)
{
    struct raftcore_event event = {.kind = RAFTCORE_APPLIED, .applied.index = index};
    story_step(story, &event);
}

static void change(struct story *story, uint32_t kind, uint64_t id)
{
    const struct raftcore_change one = {.kind = kind, .id = id};
    struct raftcore_event event = {.kind = RAFTCORE_CHANGE, .change = {.changes = &one, .count = 1}};
    story_step(story, &event);
}

/* --- persisting ---------------------------------------------------------------------------------- */

/* A11: a slow disk is no reason to begin another campaign. */
static const char *the_campaign_timer_runs_from_when_the_requests_leave(void)
{
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    struct raftcore_event event = {.kind = RAFTCORE_CAMPAIGN, .campaign.at_once = true};
    story_step(&story, &event);
    for (unsigned i = 0; i < 50; i++) {
        story_wait(&story, SECOND / 10);
    }
    EXPECT(&story, story_status(&story).role == RAFTCORE_CANDIDATE && story_status(&story).hard_state.term == 1);
    story_durable(&story);
    EXPECT(&story, story_sent(&story, RAFTCORE_VOTE_REQUEST, 2) != NULL);
    return story_end(&story);
}

/* A12: the log holds what the snapshot does, but not durably yet. */
static const char *the_answer_to_a_snapshot_that_is_there_waits_for_the_disk(void)
{
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    struct raftcore_entry entries[2] = {story_entry(1), story_entry(1)};
    story_append(&story, 2, 1, 0, 0, entries, 2, 0);
    struct raftcore_message snapshot = story_from(2, RAFTCORE_SNAPSHOT, 1);
    snapshot.index = 2;
    snapshot.log_term = 1;
    snapshot.snapshot_id = 7;
    snapshot.snapshot_bytes = 10;
    story_receive(&story, &snapshot);
    EXPECT(&story, story_sent(&story, RAFTCORE_APPEND_ANSWER, 2) == NULL);
    story_durable(&story);
    EXPECT(&story, story_sent(&story, RAFTCORE_APPEND_ANSWER, 2) != NULL);
    return story_end(&story);
}

/* B4: not one word before the recovery unit is durable. */
static const char *nothing_is_said_before_the_recovery_unit(void)
{
    struct story story;
    story_prepare(&story, 3);
    story.start.tail = RAFTCORE_TAIL_UNCERTAIN;
    story_begin(&story);
    struct raftcore_message beat = story_from(2, RAFTCORE_HEARTBEAT, 1024);
    story_receive(&story, &beat);
    EXPECT(&story, story.output->message_count == 0);
    story_durable(&story);
    EXPECT(&story, story_sent(&story, RAFTCORE_HEARTBEAT_ANSWER, 2) != NULL);
    return story_end(&story);
}

static const char *an_append_for_which_there_is_no_room_is_refused(void)
{
    struct story story;
    static const char data[64];
    story_prepare(&story, 3);
    story.options.unapplied_bytes = 50;
    story_begin(&story);
    struct raftcore_entry entry = {.term = 1, .data = data, .size = sizeof(data)};
    story_append(&story, 2, 1, 0, 0, &entry, 1, 1);
    story_durable(&story); /* Committed, and not applied. */
    story_append(&story, 2, 1, 1, 1, &entry, 1, 1);
    const struct raftcore_message *answer = story_sent(&story, RAFTCORE_APPEND_ANSWER, 2);
    EXPECT(&story, answer != NULL && answer->reason == RAFTCORE_REASON_UNAPPLIED_FULL);
    apply(&story, 1);
    story_append(&story, 2, 1, 1, 1, &entry, 1, 1);
    EXPECT(&story, story_status(&story).last_index == 2);
    return story_end(&story);
}

/* C7 of the bug list: its own writes stand still. */
static const char *a_leader_whose_disk_stands_still_steps_down(void)
{
    struct story story;
    story_prepare(&story, 3);
    story_begin_leading(&story);
    struct raftcore_entry entry = story_entry(0);
    struct raftcore_event event = propose_event(&entry);
    story_step(&story, &event);
    bool offered = false;
    for (unsigned i = 0; i < 40 && story_status(&story).role == RAFTCORE_LEADER; i++) {
        story_wait(&story, SECOND / 10);
        offered = offered || story_sent(&story, RAFTCORE_TIMEOUT_NOW, 2) != NULL;
        struct raftcore_message alive = story_alive(2, 1);
        story_receive(&story, &alive);
    }
    EXPECT(&story, story_status(&story).role == RAFTCORE_FOLLOWER && offered);
    return story_end(&story);
}

/* --- who counts ---------------------------------------------------------------------------------- */

/* B1: a member is an id with a log. */
static const char *another_log_neither_votes_nor_is_voted_for(void)
{
    struct story story;
    story_prepare(&story, 3);
    story_name_logs(&story);
    story_begin(&story);
    struct raftcore_message request = story_from(2, RAFTCORE_VOTE_REQUEST, 1);
    request.log_id = 99;
    story_receive(&story, &request);
    EXPECT(&story, story.reason == RAFTCORE_REASON_WRONG_LOG && story_status(&story).hard_state.vote == 0);
    struct raftcore_event event = {.kind = RAFTCORE_CAMPAIGN, .campaign.at_once = true};
    story_step(&story, &event);
    story_durable(&story);
    struct raftcore_message grant = story_from(2, RAFTCORE_VOTE_ANSWER, 1);
    grant.round = story_sent(&story, RAFTCORE_VOTE_REQUEST, 2)->round;
    grant.log_id = 99;
    story_receive(&story, &grant);
    EXPECT(&story, story_status(&story).role == RAFTCORE_CANDIDATE);
    grant.log_id = 2;
    grant.to_session = 10; /* To an earlier start of this node. */
    story_receive(&story, &grant);
    EXPECT(&story, story_status(&story).role == RAFTCORE_CANDIDATE);
    return story_end(&story);
}

/* C12: a voter that has not caught up would make the others wait. */
static const char *a_stranger_is_no_voter_at_once(void)
{
    struct story story;
    story_prepare(&story, 3);
    story_begin_leading(&story);
    change(&story, RAFTCORE_ADD_VOTER, 9);
    EXPECT(&story, story.reason == RAFTCORE_REASON_NOT_CAUGHT_UP);
    return story_end(&story);
}

/* C3d, C18: nothing changes while leadership is handed on; and not to one who has lost something. */
static const char *a_transfer_goes_to_a_whole_peer_and_stops_changes(void)
{
    struct story story;
    story_prepare(&story, 3);
    story_begin_leading(&story);
    struct raftcore_message beat = story_alive(3, 1);
    beat.flags = RAFTCORE_DAMAGED;
    story_receive(&story, &beat);
    struct raftcore_event event = {.kind = RAFTCORE_TRANSFER_LEADERSHIP, .transfer.to = 3};
    story_step(&story, &event);
    EXPECT(&story, story.reason == RAFTCORE_REASON_DAMAGED);
    struct raftcore_entry entry = story_entry(0);
    struct raftcore_event propose = propose_event(&entry);
    story_step(&story, &propose); /* So that node 2 is not at the end, and the transfer takes a while. */
    event.transfer.to = 2;
    story_step(&story, &event);
    EXPECT(&story, story.reason == 0);
    change(&story, RAFTCORE_ADD_LEARNER, 9);
    EXPECT(&story, story.reason == RAFTCORE_REASON_TRANSFERRING);
    return story_end(&story);
}

/* C13, C14: what a snapshot names are the members as of its index. */
static const char *a_snapshot_names_the_members_of_its_time(void)
{
    struct story story;
    struct raftcore_configuration configuration = {.count = 0};
    story_prepare(&story, 3);
    story_begin_leading(&story);
    for (uint64_t id = 10; id < 13; id++) { /* Entries 2, 3, 4. */
        change(&story, RAFTCORE_ADD_LEARNER, id);
        story_durable(&story);
        story_acknowledge(&story, 2, 1, id - 8);
    }
    apply(&story, 4);
    struct raftcore_event event = {.kind = RAFTCORE_SNAPSHOT_TAKEN};
    event.snapshot.snapshot = (struct raftcore_snapshot){.index = 3, .term = 1, .id = 5, .bytes = 10};
    story_step(&story, &event);
    EXPECT(&story, raftcore_configuration_at(story.core, 3, &configuration) && configuration.count == 5);
    EXPECT(&story, raftcore_configuration_at(story.core, 4, &configuration) && configuration.count == 6);
    struct raftcore_message refusal = story_from(3, RAFTCORE_APPEND_ANSWER, 1);
    refusal.stream = 2;
    refusal.flags = RAFTCORE_REFUSED | RAFTCORE_DAMAGED;
    refusal.reason = RAFTCORE_REASON_DAMAGED;
    story_receive(&story, &refusal);
    const struct raftcore_message *piece = story_sent(&story, RAFTCORE_SNAPSHOT, 3);
    EXPECT(&story, piece != NULL && piece->configuration != NULL && piece->configuration->count == 5);
    return story_end(&story);
}

/* D10 of the bug list, at a follower. */
static const char *a_follower_takes_one_leader_a_term(void)
{
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    struct raftcore_entry entry = story_entry(1);
    story_append(&story, 2, 1, 0, 0, &entry, 1, 0);
    story_append(&story, 3, 1, 0, 0, &entry, 1, 0);
    EXPECT(&story, story.reason == RAFTCORE_REASON_QUARANTINED);
    return story_end(&story);
}

/* --- damage -------------------------------------------------------------------------------------- */

/* B12: entries for a hole must end with its anchor, and join what stands in front. */
static const char *entries_for_a_hole_must_join_at_both_ends(void)
{
    struct story story;
    struct raftcore_run runs[2] = {{.first_index = 1, .term = 2}, {.first_index = 3, .term = 3}};
    struct raftcore_hole hole = {.first = 2, .last = 2, .anchor_index = 3, .anchor_term = 3};
    story_prepare(&story, 3);
    story.start.hard_state.term = 5;
    story.start.last_index = 3;
    story.start.runs = runs;
    story.start.run_count = 2;
    story.start.holes = &hole;
    story.start.hole_count = 1;
    story_begin(&story);
    struct raftcore_message answer = story_from(3, RAFTCORE_FETCH_ANSWER, 5);
    struct raftcore_entry entries[2] = {story_entry(2), story_entry(4)}; /* Not the anchor. */
    answer.index = 2;
    answer.log_term = 2;
    answer.entries = entries;
    answer.entry_count = 2;
    story_receive(&story, &answer);
    EXPECT(&story, story.reason == RAFTCORE_REASON_MISMATCH);
    entries[1] = story_entry(3);
    answer.log_term = 1; /* Behind another entry 1. */
    story_receive(&story, &answer);
    EXPECT(&story, story.reason == RAFTCORE_REASON_MISMATCH);
    answer.log_term = 2;
    story_receive(&story, &answer);
    EXPECT(&story, story.reason == 0 && story.output->splice.count == 1);
    return story_end(&story);
}

/* B14: it has no state: it acknowledges nothing, applies nothing, does not campaign, answers no reads. */
static const char *a_node_whose_snapshot_does_not_read_waits_for_one(void)
{
    struct story story;
    struct raftcore_run run = {.first_index = 11, .term = 1};
    story_prepare(&story, 3);
    story.start.hard_state.term = 1;
    story.start.hard_state.commit = 12;
    story.start.snapshot = (struct raftcore_snapshot){.index = 10, .term = 1, .id = 5, .bytes = 10};
    story.start.first_index = 11;
    story.start.last_index = 12;
    story.start.applied = 10;
    story.start.runs = &run;
    story.start.run_count = 1;
    story.start.snapshot_damaged = true;
    story_begin(&story);
    EXPECT(&story, story.output->apply_from == story.output->apply_to);
    struct raftcore_event event = {.kind = RAFTCORE_CAMPAIGN, .campaign.at_once = true};
    story_step(&story, &event);
    EXPECT(&story, story.reason != 0);
    struct raftcore_entry entry = story_entry(1);
    story_append(&story, 2, 1, 12, 1, &entry, 1, 12);
    const struct raftcore_message *answer = story_sent(&story, RAFTCORE_APPEND_ANSWER, 2);
    EXPECT(&story, answer != NULL && answer->reason == RAFTCORE_REASON_DAMAGED);
    event = (struct raftcore_event){.kind = RAFTCORE_READ, .read.context = 1};
    story_step(&story, &event);
    EXPECT(&story, story.reason == RAFTCORE_REASON_DAMAGED);
    return story_end(&story);
}

static const char *nobody_campaigns_while_a_snapshot_is_being_installed(void)
{
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    struct raftcore_message message = story_snapshot(&story, 2, 1, 5, 1);
    story_receive(&story, &message);
    EXPECT(&story, story.output->piece.last);
    struct raftcore_event event = {.kind = RAFTCORE_CAMPAIGN, .campaign.at_once = true};
    story_wait(&story, 3 * SECOND);
    story_step(&story, &event);
    EXPECT(&story, story.reason != 0 && story_status(&story).role == RAFTCORE_FOLLOWER);
    return story_end(&story);
}

const struct directed directed_rules[] = {
    {"the campaign timer (A11)", the_campaign_timer_runs_from_when_the_requests_leave},
    {"a snapshot that is there (A12)", the_answer_to_a_snapshot_that_is_there_waits_for_the_disk},
    {"the recovery unit (B4)", nothing_is_said_before_the_recovery_unit},
    {"no room for an append (G2)", an_append_for_which_there_is_no_room_is_refused},
    {"a stalled disk (C7)", a_leader_whose_disk_stands_still_steps_down},
    {"another log (B1)", another_log_neither_votes_nor_is_voted_for},
    {"a stranger (C12)", a_stranger_is_no_voter_at_once},
    {"a transfer (C3d, C18)", a_transfer_goes_to_a_whole_peer_and_stops_changes},
    {"members of a snapshot (C13, C14)", a_snapshot_names_the_members_of_its_time},
    {"one leader a term (D10)", a_follower_takes_one_leader_a_term},
    {"both ends of a hole (B12)", entries_for_a_hole_must_join_at_both_ends},
    {"a snapshot that does not read (B14)", a_node_whose_snapshot_does_not_read_waits_for_one},
    {"a snapshot being installed", nobody_campaigns_while_a_snapshot_is_being_installed},
};
const unsigned directed_rules_count = sizeof(directed_rules) / sizeof(directed_rules[0]);
