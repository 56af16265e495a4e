/* directed_found.c - what a review of the core found, each with the shortest story that broke then.
 *
 * A story has one core, node 1, and the test plays all others, as in directed.c. The first part is about snapshots and
 * holes that meet, the second about leaders and their peers, the third about messages that no honest node sends.
 *
 * What can fail: an expectation; its text is the result. Invariants: raftcore_check holds after every step. */

#include "raftcore/codec.h"
#include "raftcore/configuration.h"
#include "raftcore/core.h"
#include "tests/raft/directed.h"
#include "tests/raft/story.h"

static struct raftcore_event hole_event(uint64_t first, uint64_t last)
{
    return (struct raftcore_event){.kind = RAFTCORE_HOLE_FOUND, .hole.hole = {.first = first, .last = last}};
}

static struct raftcore_event taken_event(uint64_t index)
{
    struct raftcore_event event = {.kind = RAFTCORE_SNAPSHOT_TAKEN};
    event.snapshot.snapshot = (struct raftcore_snapshot){.index = index, .term = 1, .id = 5, .bytes = 10};
    return event;
}

/* A whole snapshot of 10 bytes comes from the leader of a term, and is written. */
static void receive_snapshot(struct story *story, unsigned leader, uint64_t term, uint64_t index, uint64_t log_term)
{
    struct raftcore_message message = story_snapshot(story, leader, term, index, log_term);
    message.stream = 1;
    story_receive(story, &message);
    struct raftcore_event event = {.kind = RAFTCORE_SNAPSHOT_WRITTEN};
    event.snapshot.snapshot = (struct raftcore_snapshot){.index = index, .term = log_term, .id = 77, .bytes = 10};
    if (story->output->piece.snapshot.index != 0) {
        story_step(story, &event);
    }
}

/* Entries 1 to `last` of one term, with a hole. */
static void prepare(struct story *story, uint64_t last, uint64_t term, struct raftcore_run *run,
                    struct raftcore_hole *hole)
{
    story_prepare(story, 3);
    *run = (struct raftcore_run){.first_index = 1, .term = term};
    story->start.hard_state.term = term;
    story->start.last_index = last;
    story->start.runs = run;
    story->start.run_count = 1;
    if (hole != NULL) {
        story->start.holes = hole;
        story->start.hole_count = 1;
    }
}

/* Node 1 follows node 2, has `count` entries, all committed and applied. */
static void follow_and_apply(struct story *story, uint32_t count)
{
    struct raftcore_entry entries[16];
    for (uint32_t i = 0; i < count; i++) {
        entries[i] = story_entry(1);
    }
    story_append(story, 2, 1, 0, 0, entries, count, count);
    story_durable(story);
    struct raftcore_event applied = {.kind = RAFTCORE_APPLIED, .applied.index = count};
    story_step(story, &applied);
}

/* --- snapshots and holes ------------------------------------------------------------------------- */

static const char *a_snapshot_that_replaces_the_log_takes_its_holes_along(void)
{
    struct story story;
    struct raftcore_run run;
    struct raftcore_hole hole = {.first = 15, .last = 16, .anchor_index = 17, .anchor_term = 2};
    prepare(&story, 20, 2, &run, &hole);
    story_begin(&story);
    receive_snapshot(&story, 2, 3, 12, 3);
    story_durable(&story);
    EXPECT(&story, story_status(&story).hole_count == 0 && story_status(&story).last_index == 12);
    EXPECT(&story, story_status(&story).hard_state.floor_index == 0); /* The snapshot's end is behind it already. */
    struct raftcore_entry entries[2] = {story_entry(3), story_entry(3)};
    story_append(&story, 2, 3, 12, 3, entries, 2, 12);
    EXPECT(&story, story.output->unit.entry_count == 2 && story_sent(&story, RAFTCORE_APPEND_ANSWER, 2) == NULL);
    return story_end(&story);
}

/* What was acknowledged behind the hole is dropped with it: nobody who lacks it gets this node's vote. */
static const char *a_snapshot_that_ends_in_a_hole_leaves_a_floor(void)
{
    struct story story;
    struct raftcore_run runs[2] = {{.first_index = 1, .term = 1}, {.first_index = 7, .term = 3}};
    struct raftcore_hole hole = {.first = 3, .last = 6, .anchor_index = 7, .anchor_term = 3};
    prepare(&story, 10, 3, runs, &hole);
    runs[0] = (struct raftcore_run){.first_index = 1, .term = 1};
    story.start.run_count = 2;
    story_begin(&story);
    receive_snapshot(&story, 2, 3, 5, 2);
    story_durable(&story);
    struct raftcore_status status = story_status(&story);
    EXPECT(&story,
           status.last_index == 10 || (status.hard_state.floor_term == 3 && status.hard_state.floor_index == 10));
    return story_end(&story);
}

/* C13, which chance found until the weather changed. */
static const char *a_snapshot_takes_the_configurations_above_it_along(void)
{
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    unsigned char bytes[CODEC_CONFIGURATION_BYTES_MAX];
    struct raftcore_entry entries[3] = {story_entry(1), story_entry(1), story_two_members(&story, bytes)};
    story_append(&story, 2, 1, 0, 0, entries, 3, 0);
    story_durable(&story);
    EXPECT(&story, story_status(&story).configuration.count == 2);
    receive_snapshot(&story, 3, 2, 2, 2); /* Its entry 2 is another. */
    EXPECT(&story, story_status(&story).last_index == 2 && story_status(&story).configuration_index == 2);
    EXPECT(&story, story_status(&story).configuration.count == 3);
    return story_end(&story);
}

static const char *an_older_snapshot_does_not_replace_a_damaged_one(void)
{
    struct story story;
    struct raftcore_run run;
    prepare(&story, 12, 1, &run, NULL);
    run.first_index = story.start.first_index = 11;
    story.start.hard_state.commit = 12;
    story.start.snapshot = (struct raftcore_snapshot){.index = 10, .term = 1, .id = 5, .bytes = 10};
    story.start.applied = 10;
    story.start.snapshot_damaged = true;
    story_begin(&story);
    receive_snapshot(&story, 2, 1, 5, 1);
    const struct raftcore_message *answer = story_sent(&story, RAFTCORE_SNAPSHOT_ANSWER, 2);
    EXPECT(&story, answer != NULL && (answer->flags & RAFTCORE_REFUSED) != 0);
    EXPECT(&story, answer != NULL && answer->reason == RAFTCORE_REASON_DAMAGED);
    EXPECT(&story, answer != NULL && (answer->flags & RAFTCORE_DAMAGED) != 0); /* B7. */
    EXPECT(&story, story_status(&story).last_index == 12);
    receive_snapshot(&story, 2, 1, 11, 1);
    EXPECT(&story, story.output->restore_index == 11 && story_status(&story).last_index == 12);
    return story_end(&story);
}

static const char *the_leader_takes_a_newer_snapshot_for_whom_its_own_is_too_old(void)
{
    struct story story;
    story_prepare(&story, 3);
    story_begin_leading(&story);
    struct raftcore_event event = {.kind = RAFTCORE_APPLIED, .applied.index = 1};
    story_step(&story, &event);
    event = taken_event(1);
    story_step(&story, &event);
    struct raftcore_message refusal = story_from(3, RAFTCORE_APPEND_ANSWER, 1);
    refusal.stream = 2;
    refusal.flags = RAFTCORE_REFUSED | RAFTCORE_DAMAGED;
    refusal.reason = RAFTCORE_REASON_DAMAGED;
    story_receive(&story, &refusal);
    const struct raftcore_message *piece = story_sent(&story, RAFTCORE_SNAPSHOT, 3);
    EXPECT(&story, piece != NULL && piece->configuration != NULL && piece->configuration->count == 3);
    refusal = story_from(3, RAFTCORE_SNAPSHOT_ANSWER, 1);
    refusal.stream = 2;
    refusal.flags = RAFTCORE_REFUSED | RAFTCORE_DAMAGED;
    refusal.reason = RAFTCORE_REASON_DAMAGED;
    refusal.snapshot_id = 5;
    story_receive(&story, &refusal);
    EXPECT(&story, story.output->snapshot_wanted && story_sent(&story, RAFTCORE_SNAPSHOT, 3) == NULL);
    return story_end(&story);
}

static const char *a_snapshot_of_what_is_applied_is_not_taken_again_and_again(void)
{
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    follow_and_apply(&story, 5);
    struct raftcore_event event = hole_event(3, 3);
    story_step(&story, &event);
    receive_snapshot(&story, 3, 2, 4, 1);
    EXPECT(&story, story.output->piece.snapshot.index == 0 && story.reason == RAFTCORE_REASON_DAMAGED);
    EXPECT(&story, story.output->snapshot_wanted); /* One of its own helps. */
    return story_end(&story);
}

/* Entries below the log's new beginning are not missing any more, whoever still sends them. */
static const char *a_hole_that_the_beginning_of_the_log_cuts(void)
{
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    follow_and_apply(&story, 6);
    struct raftcore_event event = hole_event(3, 4);
    story_step(&story, &event);
    event = taken_event(3);
    story_step(&story, &event);
    struct raftcore_status status = story_status(&story);
    EXPECT(&story, status.first_index == 4 && status.hole_count == 1);
    EXPECT(&story, status.holes[0].first == 4 && status.holes[0].last == 4);
    const struct raftcore_entry entries[2] = {story_entry(1), story_entry(1)};
    struct raftcore_message answer = story_from(2, RAFTCORE_FETCH_ANSWER, 1);
    answer.log_term = 1;
    answer.entries = entries;
    for (answer.index = 3; answer.index <= 4; answer.index++) { /* Asked for before the snapshot, and behind it. */
        answer.entry_count = (uint32_t)(5 - answer.index);
        story_receive(&story, &answer);
        EXPECT(&story, story.reason == (answer.index == 3 ? RAFTCORE_REASON_MISMATCH : 0));
    }
    EXPECT(&story, story.output->splice.first_index == 4 && story.output->splice.count == 1);
    event = (struct raftcore_event){.kind = RAFTCORE_SPLICED, .spliced = {.first = 4, .last = 4}};
    story_step(&story, &event);
    EXPECT(&story, story_status(&story).hole_count == 0);
    return story_end(&story);
}

/* The same when a snapshot that does not read keeps the log from beginning behind the hole by itself. */
static const char *a_hole_below_the_beginning_of_the_log(void)
{
    struct story story;
    struct raftcore_run run;
    prepare(&story, 6, 1, &run, NULL);
    story.start.applied = 6;
    story.start.snapshot_damaged = true;
    story_begin(&story);
    struct raftcore_event event = hole_event(3, 4);
    story_step(&story, &event);
    event = taken_event(5);
    story_step(&story, &event);
    EXPECT(&story, story_status(&story).first_index == 6 && story_status(&story).hole_count == 0);
    return story_end(&story);
}

/* Of entries that do not read the terms are made up; the one that the log begins behind is told to peers. */
static const char *a_log_that_begins_in_a_hole_does_not_know_the_term_before(void)
{
    struct story story;
    struct raftcore_run runs[2] = {{.first_index = 1, .term = 1}, {.first_index = 7, .term = 2}};
    struct raftcore_hole hole = {.first = 3, .last = 6, .anchor_index = 7, .anchor_term = 2};
    uint64_t term;
    prepare(&story, 8, 2, runs, &hole);
    runs[0] = (struct raftcore_run){.first_index = 1, .term = 1};
    story.start.run_count = 2;
    story.start.applied = 8;
    story_begin(&story);
    struct raftcore_event event = taken_event(4);
    event.snapshot.keep = 1;
    story_step(&story, &event);
    EXPECT(&story, story_status(&story).first_index == 4 && story_status(&story).holes[0].first == 4);
    EXPECT(&story, !raftcore_term(story.core, 3, &term));
    EXPECT(&story, raftcore_outcome(story.core, 3, 1) == RAFTCORE_OUTCOME_UNKNOWN);
    EXPECT(&story, raftcore_outcome(story.core, 1, 2) == RAFTCORE_OUTCOME_UNKNOWN);
    return story_end(&story);
}

/* The hole's own end has another term than the entry that the log begins behind. */
static const char *a_log_that_begins_behind_a_hole_knows_the_term_before(void)
{
    struct story story;
    struct raftcore_run runs[2] = {{.first_index = 1, .term = 1}, {.first_index = 5, .term = 2}};
    uint64_t term = 0;
    prepare(&story, 8, 2, runs, NULL);
    runs[0] = (struct raftcore_run){.first_index = 1, .term = 1};
    story.start.run_count = 2;
    story.start.applied = 8;
    story_begin(&story);
    struct raftcore_event event = hole_event(3, 4);
    story_step(&story, &event);
    event = taken_event(8);
    event.snapshot.snapshot.term = 2;
    event.snapshot.keep = 2;
    story_step(&story, &event);
    EXPECT(&story, story_status(&story).first_index == 7 && story_status(&story).hole_count == 0);
    EXPECT(&story, story.output->compact_to == 7 && raftcore_term(story.core, 6, &term) && term == 2);
    return story_end(&story);
}

static const char *a_candidate_with_a_hole_does_not_lead(void)
{
    struct story story;
    struct raftcore_run run;
    prepare(&story, 5, 1, &run, NULL);
    story_begin(&story);
    struct raftcore_event event = {.kind = RAFTCORE_CAMPAIGN, .campaign.at_once = true};
    story_step(&story, &event);
    story_durable(&story);
    struct raftcore_message grant = story_from(2, RAFTCORE_VOTE_ANSWER, 2);
    grant.round = story_sent(&story, RAFTCORE_VOTE_REQUEST, 2)->round;
    event = hole_event(3, 3);
    story_step(&story, &event);
    story_receive(&story, &grant);
    EXPECT(&story, story_status(&story).role == RAFTCORE_FOLLOWER);
    return story_end(&story);
}

/* --- leaders and peers --------------------------------------------------------------------------- */

/* B13: offered until somebody takes it, and to those who are heard. */
static const char *a_leader_with_a_hole_offers_its_office_again(void)
{
    struct story story;
    struct raftcore_run run;
    prepare(&story, 5, 1, &run, NULL);
    story_begin(&story);
    story_lead(&story, 2);
    story_durable(&story);
    struct raftcore_event event = hole_event(3, 3);
    story_step(&story, &event);
    unsigned offers = 0;
    for (unsigned i = 0; i < 50; i++) {
        story_wait(&story, SECOND / 10);
        offers += story_sent(&story, RAFTCORE_TIMEOUT_NOW, 3) != NULL;
        EXPECT(&story, i < 20 || story_sent(&story, RAFTCORE_TIMEOUT_NOW, 2) == NULL);
        struct raftcore_message answer = story_alive(3, 2);
        story_receive(&story, &answer);
    }
    EXPECT(&story, offers >= 2);
    return story_end(&story);
}

static const char *a_peer_that_lost_what_it_had_is_not_asked_without_a_pause(void)
{
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    story_lead(&story, 1);
    story_durable(&story);
    for (uint64_t index = 1; index <= 5; index++) {
        struct raftcore_entry entry = story_entry(0);
        struct raftcore_event propose = {.kind = RAFTCORE_PROPOSE, .propose = {.entries = &entry, .count = 1}};
        story_step(&story, &propose);
        story_durable(&story);
        story_acknowledge(&story, 2, 1, index);
    }
    struct raftcore_event lost = {.kind = RAFTCORE_UNREACHABLE, .unreachable.peer = 2};
    story_step(&story, &lost);
    unsigned appends = 0;
    for (const struct raftcore_message *append; (append = story_sent(&story, RAFTCORE_APPEND, 2)) != NULL;) {
        struct raftcore_message refusal = story_from(2, RAFTCORE_APPEND_ANSWER, 1);
        refusal.flags = RAFTCORE_REFUSED | RAFTCORE_DAMAGED;
        refusal.reason = RAFTCORE_REASON_MISMATCH;
        refusal.stream = 1;
        refusal.index = append->index;
        refusal.hint_index = 2;
        refusal.hint_term = 1;
        story_receive(&story, &refusal);
        if (++appends > 10) {
            break;
        }
    }
    EXPECT(&story, appends <= 10);
    return story_end(&story);
}

static const char *a_joint_configuration_is_left_though_it_was_refused_once(void)
{
    struct story story;
    static const char data[60];
    story_prepare(&story, 5);
    story.options.unapplied_bytes = 200;
    story_begin(&story);
    story_lead(&story, 1);
    story_durable(&story);
    for (unsigned node = 2; node <= 5; node++) {
        story_acknowledge(&story, node, 1, 1);
    }
    struct raftcore_entry entry = {.data = data, .size = sizeof(data)};
    struct raftcore_event event = {.kind = RAFTCORE_PROPOSE, .propose = {.entries = &entry, .count = 1}};
    story_step(&story, &event);
    const struct raftcore_change changes[2] = {{.kind = RAFTCORE_REMOVE, .id = 4}, {.kind = RAFTCORE_REMOVE, .id = 5}};
    event = (struct raftcore_event){.kind = RAFTCORE_CHANGE, .change = {.changes = changes, .count = 2}};
    story_step(&story, &event);
    story_durable(&story);
    story_acknowledge(&story, 2, 1, 3);
    story_acknowledge(&story, 3, 1, 3); /* Committed; leaving is refused, for the state machine is slow. */
    event = (struct raftcore_event){.kind = RAFTCORE_APPLIED, .applied.index = 3};
    story_step(&story, &event);
    EXPECT(&story, story_status(&story).last_index == 3);
    for (unsigned i = 0; i < 5; i++) {
        story_wait(&story, SECOND / 10);
    }
    EXPECT(&story, story_status(&story).last_index == 4);
    return story_end(&story);
}

static const char *many_learners_come_and_go(void)
{
    struct story story;
    story_prepare(&story, 3);
    story_begin_leading(&story);
    uint64_t index = 1;
    for (uint64_t id = 10; id < 150; id++) {
        struct raftcore_change change = {.kind = RAFTCORE_ADD_LEARNER, .id = id};
        for (unsigned turn = 0; turn < 2; turn++) {
            struct raftcore_event event = {.kind = RAFTCORE_CHANGE, .change = {.changes = &change, .count = 1}};
            story_step(&story, &event);
            EXPECT(&story, story.reason == 0);
            story_durable(&story);
            story_acknowledge(&story, 2, 1, ++index);
            change.kind = RAFTCORE_REMOVE;
        }
    }
    return story_end(&story);
}

/* C11: that it was started anew makes it no member again. */
static const char *a_removed_peer_that_starts_anew_stays_removed(void)
{
    struct story story;
    story_prepare(&story, 4);
    story_begin(&story);
    story_lead(&story, 1);
    story_durable(&story);
    for (unsigned node = 2; node <= 4; node++) {
        story_acknowledge(&story, node, 1, 1);
    }
    const struct raftcore_change change = {.kind = RAFTCORE_REMOVE, .id = 4};
    struct raftcore_event event = {.kind = RAFTCORE_CHANGE, .change = {.changes = &change, .count = 1}};
    story_step(&story, &event);
    story_durable(&story);
    struct raftcore_message answer = story_alive(4, 1);
    answer.session = 999;
    story_receive(&story, &answer);
    story_acknowledge(&story, 2, 1, 2);
    for (unsigned i = 0; i < 30; i++) {
        story_wait(&story, SECOND / 10);
        EXPECT(&story, i < 20 || story_sent(&story, RAFTCORE_HEARTBEAT, 4) == NULL);
        struct raftcore_message alive = story_alive(2, 1);
        story_receive(&story, &alive);
    }
    return story_end(&story);
}

/* B1, C4: nobody has ever heard of the new log, and its voter would count at once. */
static const char *another_log_is_another_voter(void)
{
    struct story story;
    story_prepare(&story, 3);
    story_name_logs(&story);
    story_begin_leading(&story);
    const struct raftcore_change changes[2] = {{.kind = RAFTCORE_REMOVE, .id = 3},
                                               {.kind = RAFTCORE_ADD_VOTER, .id = 3, .log_id = 999}};
    struct raftcore_event event = {.kind = RAFTCORE_CHANGE, .change = {.changes = changes, .count = 2}};
    story_step(&story, &event);
    EXPECT(&story, story.reason != 0 && story_status(&story).configuration.members[2].log_id == 3);
    return story_end(&story);
}

/* A32, E3: who answered a leader has promised to wait, whatever term it hears of, and whoever it is that asks. */
static const char *the_promise_to_a_leader_outlives_its_term(void)
{
    struct story story;
    story_prepare(&story, 3);
    story.options.lease_reads = true;
    story_begin(&story);
    struct raftcore_event campaign = {.kind = RAFTCORE_CAMPAIGN, .campaign.at_once = true};
    story_step(&story, &campaign);
    EXPECT(&story, story.reason == RAFTCORE_REASON_LEADER_ALIVE); /* It was just started. */
    story_wait(&story, SECOND + SECOND / 100);
    struct raftcore_message beat = story_from(2, RAFTCORE_HEARTBEAT, 1);
    story_receive(&story, &beat);
    story_durable(&story);
    EXPECT(&story, story_sent(&story, RAFTCORE_HEARTBEAT_ANSWER, 2) != NULL || story.wrong == NULL);
    struct raftcore_message late = story_from(3, RAFTCORE_HEARTBEAT_ANSWER, 5);
    story_receive(&story, &late); /* Teaches a term. */
    story_durable(&story);
    EXPECT(&story, story_status(&story).hard_state.term == 5);
    struct raftcore_message request = story_from(3, RAFTCORE_VOTE_REQUEST, 6);
    request.index = 9;
    request.log_term = 5;
    story_receive(&story, &request);
    EXPECT(&story, story.reason == RAFTCORE_REASON_LEADER_ALIVE);
    story_step(&story, &campaign);
    EXPECT(&story, story.reason == RAFTCORE_REASON_LEADER_ALIVE);
    story_wait(&story, SECOND);
    story_receive(&story, &request);
    EXPECT(&story, story.reason == 0);
    return story_end(&story);
}

/* --- what no honest node sends ------------------------------------------------------------------- */

static const char *an_append_that_contradicts_the_snapshot(void)
{
    struct story story;
    struct raftcore_run run;
    prepare(&story, 10, 5, &run, NULL);
    story.start.run_count = 0;
    story.start.first_index = 11;
    story.start.hard_state.commit = story.start.applied = 10;
    story.start.snapshot = (struct raftcore_snapshot){.index = 10, .term = 5, .id = 5, .bytes = 10};
    story_begin(&story);
    struct raftcore_entry entries[4] = {story_entry(1), story_entry(1), story_entry(1), story_entry(1)};
    story_append(&story, 3, 7, 8, 1, entries, 4, 0);
    EXPECT(&story, story.reason == RAFTCORE_REASON_QUARANTINED);
    return story_end(&story);
}

static const char *votes_that_come_before_they_were_asked_for(void)
{
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    struct raftcore_event event = {.kind = RAFTCORE_CAMPAIGN, .campaign.at_once = true};
    story_step(&story, &event);
    for (unsigned node = 2; node <= 3; node++) {
        struct raftcore_message grant = story_from(node, RAFTCORE_VOTE_ANSWER, 1);
        grant.round = 1;
        story_receive(&story, &grant);
    }
    EXPECT(&story, story_status(&story).role == RAFTCORE_CANDIDATE);
    return story_end(&story);
}

static const char *entries_for_a_hole_that_contradict_what_stands_behind_it(void)
{
    struct story story;
    struct raftcore_run runs[2] = {{.first_index = 1, .term = 4}, {.first_index = 4, .term = 5}};
    struct raftcore_hole hole = {.first = 2, .last = 2, .anchor_index = 4, .anchor_term = 5};
    prepare(&story, 4, 5, runs, &hole);
    runs[0] = (struct raftcore_run){.first_index = 1, .term = 4};
    story.start.run_count = 2;
    story_begin(&story);
    struct raftcore_entry entries[3] = {story_entry(5), story_entry(5), story_entry(5)};
    struct raftcore_message answer = story_from(3, RAFTCORE_FETCH_ANSWER, 5);
    answer.index = 2;
    answer.log_term = 4;
    answer.entries = entries;
    answer.entry_count = 3;
    story_receive(&story, &answer);
    EXPECT(&story, story.reason == RAFTCORE_REASON_MISMATCH && story.output->splice.count == 0);
    return story_end(&story);
}

static const char *a_piece_that_is_longer_than_its_snapshot(void)
{
    struct story story;
    static const char piece[100];
    story_prepare(&story, 3);
    story_begin(&story);
    struct raftcore_message message = story_from(2, RAFTCORE_SNAPSHOT, 1);
    message.index = 5;
    message.log_term = 1;
    message.snapshot_id = 77;
    message.snapshot_bytes = 10;
    message.piece = piece;
    message.piece_bytes = sizeof(piece);
    message.configuration = &story.configuration;
    story_receive(&story, &message);
    EXPECT(&story, story.reason == RAFTCORE_REASON_INVALID && story.output->piece.snapshot.index == 0);
    return story_end(&story);
}

/* Nobody has one to send: index 0 says that there is none. */
static const char *a_snapshot_of_nothing(void)
{
    struct story story;
    story_prepare(&story, 3);
    story.start.snapshot_damaged = true; /* Whoever has one that reads says that it has the log already. */
    story_begin(&story);
    struct raftcore_message message = story_snapshot(&story, 2, 1, 0, 0);
    story_receive(&story, &message);
    EXPECT(&story, story.reason == RAFTCORE_REASON_INVALID && story.output->piece.bytes == 0);
    return story_end(&story);
}

static const char *terms_that_rise_without_end(void)
{
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    for (uint64_t i = 0; i < 1000; i++) { /* The disk stands still. */
        struct raftcore_message request = story_from(2, RAFTCORE_VOTE_REQUEST, 2000 + i);
        story_receive(&story, &request);
    }
    struct raftcore_status status = story_status(&story);
    EXPECT(&story, status.last_sequence - status.durable_sequence <= 1);
    struct raftcore_message request = story_from(2, RAFTCORE_VOTE_REQUEST, (UINT64_C(1) << 62) - 1);
    story_receive(&story, &request);
    EXPECT(&story, story.reason == RAFTCORE_REASON_INVALID);
    return story_end(&story);
}

static const char *an_id_that_means_something_else(void)
{
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    struct raftcore_message request = story_from(2, RAFTCORE_VOTE_REQUEST, 1);
    request.from = RAFTCORE_VOTE_SPENT;
    story_receive(&story, &request);
    EXPECT(&story, story.reason == RAFTCORE_REASON_INVALID);
    struct raftcore_configuration configuration = story.configuration;
    configuration.members[2].id = RAFTCORE_VOTE_SPENT;
    EXPECT(&story, configuration_check(&configuration) != 0);
    return story_end(&story);
}

const struct directed directed_found[] = {
    {"a snapshot takes the holes along (A27)", a_snapshot_that_replaces_the_log_takes_its_holes_along},
    {"a snapshot that ends in a hole (B8, B11)", a_snapshot_that_ends_in_a_hole_leaves_a_floor},
    {"configurations above a snapshot (C13)", a_snapshot_takes_the_configurations_above_it_along},
    {"an older snapshot (B14)", an_older_snapshot_does_not_replace_a_damaged_one},
    {"a newer one is wanted (B14)", the_leader_takes_a_newer_snapshot_for_whom_its_own_is_too_old},
    {"a snapshot of what is applied", a_snapshot_of_what_is_applied_is_not_taken_again_and_again},
    {"a hole that the log's beginning cuts (B13)", a_hole_that_the_beginning_of_the_log_cuts},
    {"a hole below the log's beginning (B13)", a_hole_below_the_beginning_of_the_log},
    {"a log that begins in a hole (B12)", a_log_that_begins_in_a_hole_does_not_know_the_term_before},
    {"a log that begins behind a hole (B12)", a_log_that_begins_behind_a_hole_knows_the_term_before},
    {"a candidate with a hole (B7)", a_candidate_with_a_hole_does_not_lead},
    {"a leader with a hole (B13)", a_leader_with_a_hole_offers_its_office_again},
    {"a peer that lost what it had (B13)", a_peer_that_lost_what_it_had_is_not_asked_without_a_pause},
    {"a joint configuration is left (C6)", a_joint_configuration_is_left_though_it_was_refused_once},
    {"many learners", many_learners_come_and_go},
    {"a removed peer that starts anew (C11)", a_removed_peer_that_starts_anew_stays_removed},
    {"another log is another voter (B1, C4)", another_log_is_another_voter},
    {"the promise to a leader (A32, E3)", the_promise_to_a_leader_outlives_its_term},
    {"an append against the snapshot", an_append_that_contradicts_the_snapshot},
    {"votes before they were asked for", votes_that_come_before_they_were_asked_for},
    {"entries against what stands behind (B12)", entries_for_a_hole_that_contradict_what_stands_behind_it},
    {"a piece that is too long", a_piece_that_is_longer_than_its_snapshot},
    {"a snapshot of nothing", a_snapshot_of_nothing},
    {"terms without end", terms_that_rise_without_end},
    {"an id with a meaning", an_id_that_means_something_else},
};
const unsigned directed_found_count = sizeof(directed_found) / sizeof(directed_found[0]);
