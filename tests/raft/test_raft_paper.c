/* test_raft_paper.c - what the Raft paper says (Ongaro and Ousterhout, extended version), sentence by sentence: the
 * section is in front of each. "dissertation" is Ongaro's of 2014. */

#include "tests/raft/story.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#define FINISH(story)                            \
    do {                                         \
        const char *wrong = story_end(&(story)); \
        if (wrong != NULL) {                     \
            fail_msg("%s", wrong);               \
        }                                        \
    } while (0)

/* --- 5.1 terms ----------------------------------------------------------------------------------- */

/* 5.1: a server that learns of a larger term takes it over and, candidate or leader, is a follower from then on. */
static void test_5_1_a_larger_term_makes_a_follower(void **state)
{
    (void)state;
    for (unsigned leads = 0; leads < 2; leads++) {
        struct story story;
        story_prepare(&story, 3);
        story_begin(&story);
        if (leads == 1) {
            story_lead(&story, 1);
        } else {
            struct raftcore_event event = {.kind = RAFTCORE_CAMPAIGN, .campaign.at_once = true};
            story_step(&story, &event);
            story_durable(&story);
            EXPECT(&story, story_status(&story).role == RAFTCORE_CANDIDATE);
        }
        struct raftcore_message beat = story_from(2, RAFTCORE_HEARTBEAT, 5);
        story_receive(&story, &beat);
        EXPECT(&story, story_status(&story).role == RAFTCORE_FOLLOWER && story_status(&story).hard_state.term == 5);
        EXPECT(&story, story_status(&story).leader == 2 && story_status(&story).hard_state.vote == 0);
        FINISH(story);
    }
}

/* 5.1: a request with an old term is refused, and the answer teaches the new one. */
static void test_5_1_a_request_of_an_old_term_is_refused(void **state)
{
    (void)state;
    struct story story;
    story_prepare(&story, 3);
    story.start.hard_state.term = 7;
    story_begin(&story);
    static const struct {
        enum raftcore_message_kind request, answer;
    } kinds[] = {{RAFTCORE_VOTE_REQUEST, RAFTCORE_VOTE_ANSWER},
                 {RAFTCORE_PRE_VOTE_REQUEST, RAFTCORE_PRE_VOTE_ANSWER},
                 {RAFTCORE_APPEND, RAFTCORE_APPEND_ANSWER},
                 {RAFTCORE_HEARTBEAT, RAFTCORE_HEARTBEAT_ANSWER}};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct raftcore_message request = story_from(2, kinds[i].request, 6);
        story_receive(&story, &request);
        const struct raftcore_message *answer = story_sent(&story, kinds[i].answer, 2);
        EXPECT(&story, answer != NULL && answer->term == 7 && (answer->flags & RAFTCORE_REFUSED) != 0);
        EXPECT(&story, story.output->unit.sequence == 0);
    }
    FINISH(story);
}

/* --- 5.2 election -------------------------------------------------------------------------------- */

/* 5.2: servers start as followers. */
static void test_5_2_a_server_starts_as_follower(void **state)
{
    (void)state;
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    EXPECT(&story, story_status(&story).role == RAFTCORE_FOLLOWER && story.output->message_count == 0);
    FINISH(story);
}

/* 5.2: it stays one as long as it hears a leader or grants votes. */
static void test_5_2_a_follower_that_hears_a_leader_stays_one(void **state)
{
    (void)state;
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    for (unsigned i = 0; i < 50; i++) {
        struct raftcore_message beat = story_from(2, RAFTCORE_HEARTBEAT, 1);
        story_receive(&story, &beat);
        story_wait(&story, SECOND / 2);
        EXPECT(&story, story_status(&story).role == RAFTCORE_FOLLOWER);
    }
    FINISH(story);
}

/* 5.2: without, it begins an election after its timeout: a term more, a vote for itself, a request to every other.
 * (With the pre-vote of the dissertation, 9.6, in front.) */
static void test_5_2_a_follower_that_hears_nothing_begins_an_election(void **state)
{
    (void)state;
    struct story story;
    story_prepare(&story, 3);
    story.options.no_pre_vote = true;
    story_begin(&story);
    story_wait(&story, SECOND - 1);
    EXPECT(&story, story_status(&story).role == RAFTCORE_FOLLOWER);
    story_wait(&story, SECOND + 1);
    EXPECT(&story, story_status(&story).role == RAFTCORE_CANDIDATE && story_status(&story).hard_state.term == 1);
    EXPECT(&story, story_status(&story).hard_state.vote == 1);
    story_durable(&story);
    EXPECT(&story, story_sent(&story, RAFTCORE_VOTE_REQUEST, 2) != NULL &&
                       story_sent(&story, RAFTCORE_VOTE_REQUEST, 3) != NULL && story.output->message_count == 2);
    FINISH(story);
}

/* 5.2: it wins with the votes of a majority, and not with fewer. */
static void test_5_2_a_majority_elects(void **state)
{
    (void)state;
    for (unsigned nodes = 1; nodes <= 7; nodes++) {
        struct story story;
        story_prepare(&story, nodes);
        story_begin(&story);
        struct raftcore_event event = {.kind = RAFTCORE_CAMPAIGN, .campaign.at_once = true};
        story_step(&story, &event);
        EXPECT(&story, story_status(&story).role == RAFTCORE_CANDIDATE); /* Also alone: its vote is not durable. */
        story_durable(&story);
        const struct raftcore_message *request = story_sent(&story, RAFTCORE_VOTE_REQUEST, 0);
        uint64_t round = request == NULL ? 0 : request->round;
        for (unsigned votes = 1; votes <= nodes; votes++) {
            bool wins = 2 * votes > nodes;
            EXPECT(&story, (story_status(&story).role == RAFTCORE_LEADER) == wins);
            struct raftcore_message grant = story_from(votes + 1, RAFTCORE_VOTE_ANSWER, 1);
            grant.round = round;
            if (!wins) {
                story_receive(&story, &grant);
                story_receive(&story, &grant); /* Twice the same vote is one vote. */
            }
        }
        FINISH(story);
    }
}

/* 5.2: a server votes for at most one candidate in a term, first come first served. */
static void test_5_2_one_vote_a_term(void **state)
{
    (void)state;
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    struct raftcore_message request = story_from(2, RAFTCORE_VOTE_REQUEST, 1);
    story_receive(&story, &request);
    EXPECT(&story, story.reason == 0);
    struct raftcore_message other = story_from(3, RAFTCORE_VOTE_REQUEST, 1);
    story_receive(&story, &other);
    EXPECT(&story, story.reason == RAFTCORE_REASON_VOTED);
    story_receive(&story, &request);
    EXPECT(&story, story.reason == 0); /* The same one again (D3 of the bug list). */
    other.term = 2;
    story_receive(&story, &other);
    EXPECT(&story, story.reason == 0 && story_status(&story).hard_state.vote == 3);
    FINISH(story);
}

/* 5.2: the winner sends heartbeats to all others at once, and at intervals. */
static void test_5_2_a_leader_beats(void **state)
{
    (void)state;
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    story_lead(&story, 1);
    EXPECT(&story, story_sent(&story, RAFTCORE_APPEND, 2) != NULL && story_sent(&story, RAFTCORE_APPEND, 3) != NULL);
    story_durable(&story);
    story_acknowledge(&story, 2, 1, 1);
    for (unsigned i = 0; i < 5; i++) {
        story_wait(&story, SECOND / 10);
        EXPECT(&story,
               story_sent(&story, RAFTCORE_HEARTBEAT, 2) != NULL && story_sent(&story, RAFTCORE_HEARTBEAT, 3) != NULL);
    }
    FINISH(story);
}

/* 5.2: a candidate that hears a leader of its term or a later one gives up; of an earlier one it does not. */
static void test_5_2_a_candidate_follows_a_leader_of_its_term(void **state)
{
    (void)state;
    for (uint64_t term = 1; term <= 3; term++) {
        struct story story;
        story_prepare(&story, 3);
        story.start.hard_state.term = 1;
        story_begin(&story);
        struct raftcore_event event = {.kind = RAFTCORE_CAMPAIGN, .campaign.at_once = true};
        story_step(&story, &event);
        story_durable(&story);
        story_append(&story, 2, term, 0, 0, NULL, 0, 0);
        EXPECT(&story, (story_status(&story).role == RAFTCORE_FOLLOWER) == (term >= 2));
        FINISH(story);
    }
}

/* 5.2: when votes are split, each candidate times out and begins anew, in another term. */
static void test_5_2_a_split_vote_is_tried_again(void **state)
{
    (void)state;
    struct story story;
    story_prepare(&story, 3);
    story.options.no_pre_vote = true;
    story_begin(&story);
    for (uint64_t term = 1; term < 20; term++) {
        story_wait(&story, 2 * SECOND);
        EXPECT(&story, story_status(&story).role == RAFTCORE_CANDIDATE && story_status(&story).hard_state.term == term);
        story_durable(&story);
    }
    FINISH(story);
}

/* 5.2: timeouts are drawn from an interval, anew for each election. */
static void test_5_2_timeouts_are_random(void **state)
{
    (void)state;
    struct story story;
    story_prepare(&story, 3);
    story.options.no_pre_vote = true;
    story_begin(&story);
    uint64_t seen = 0, before = 0;
    for (unsigned i = 0; i < 200; i++) {
        uint64_t begun_ns = story.now_ns, elections = story_status(&story).elections;
        while (story_status(&story).elections == elections && story.now_ns < begun_ns + 3 * SECOND) {
            story_wait(&story, story.output->deadline_ns - story.now_ns);
        }
        uint64_t wait = story.now_ns - begun_ns;
        EXPECT(&story, wait >= SECOND && wait < 2 * SECOND);
        seen |= 1ULL << (wait - SECOND) / (SECOND / 16);
        EXPECT(&story, wait != before);
        before = wait;
        story_durable(&story);
    }
    EXPECT(&story, seen == 0xffff); /* All over the interval. */
    FINISH(story);
}

/* --- 5.3 replication ----------------------------------------------------------------------------- */

/* 5.3: the leader appends a command and sends it to all others, with the index and term of the entry in front of it. */
static void test_5_3_a_proposal_is_appended_and_sent(void **state)
{
    (void)state;
    struct story story;
    story_prepare(&story, 3);
    story_begin_leading(&story);
    struct raftcore_entry entry = story_entry(0);
    struct raftcore_event event = {.kind = RAFTCORE_PROPOSE, .propose = {.entries = &entry, .count = 1}};
    story_step(&story, &event);
    const struct raftcore_message *append = story_sent(&story, RAFTCORE_APPEND, 2);
    EXPECT(&story, story.output->unit.first_index == 2 && story.output->unit.entry_count == 1);
    EXPECT(&story, append != NULL && append->index == 1 && append->log_term == 1 && append->entry_count == 1 &&
                       append->entries[0].term == 1);
    EXPECT(&story, story.output->proposal_count == 1 && story.output->proposals[0].first_index == 2);
    FINISH(story);
}

/* 5.3: committed when a majority has it, and then given to the state machine; all entries before it as well. */
static void test_5_3_a_majority_commits_with_all_before(void **state)
{
    (void)state;
    struct story story;
    story_prepare(&story, 5);
    story_begin(&story);
    struct raftcore_event event = {.kind = RAFTCORE_CAMPAIGN, .campaign.at_once = true};
    story_step(&story, &event);
    story_durable(&story);
    uint64_t round = story_sent(&story, RAFTCORE_VOTE_REQUEST, 2)->round;
    for (unsigned node = 2; node <= 3; node++) {
        struct raftcore_message grant = story_from(node, RAFTCORE_VOTE_ANSWER, 1);
        grant.round = round;
        story_receive(&story, &grant);
    }
    struct raftcore_entry entries[3] = {story_entry(0), story_entry(0), story_entry(0)};
    event = (struct raftcore_event){.kind = RAFTCORE_PROPOSE, .propose = {.entries = entries, .count = 3}};
    story_step(&story, &event);
    story_durable(&story);
    story_acknowledge(&story, 2, 1, 4);
    EXPECT(&story, story_status(&story).hard_state.commit == 0);
    story_acknowledge(&story, 3, 1, 3);
    EXPECT(&story, story_status(&story).hard_state.commit == 3);
    EXPECT(&story, story.output->apply_from == 1 && story.output->apply_to == 4);
    story_acknowledge(&story, 4, 1, 4);
    EXPECT(&story, story_status(&story).hard_state.commit == 4);
    FINISH(story);
}

/* 5.3: the leader counts itself only when its own write is durable (dissertation, 10.2.1). */
static void test_10_2_1_the_leader_writes_in_parallel(void **state)
{
    (void)state;
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    story_lead(&story, 1);
    EXPECT(&story, story_sent(&story, RAFTCORE_APPEND, 2) != NULL && story.output->unit.sequence != 0);
    story_acknowledge(&story, 2, 1, 1);
    EXPECT(&story, story_status(&story).hard_state.commit == 0);
    story_durable(&story);
    EXPECT(&story, story_status(&story).hard_state.commit == 1);
    FINISH(story);
}

/* 5.3: followers learn of the commit by the next append or heartbeat, and no further than the message vouches for. */
static void test_5_3_a_follower_learns_of_the_commit(void **state)
{
    (void)state;
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    struct raftcore_entry entries[2] = {story_entry(1), story_entry(1)};
    story_append(&story, 2, 1, 0, 0, entries, 2, 0);
    story_durable(&story);
    story_append(&story, 2, 1, 1, 1, NULL, 0, 2);
    EXPECT(&story, story_status(&story).hard_state.commit == 1); /* prev + 0 entries. */
    story_append(&story, 2, 1, 2, 1, NULL, 0, 9);
    EXPECT(&story, story_status(&story).hard_state.commit == 2);
    story_append(&story, 2, 1, 2, 1, NULL, 0, 1);
    EXPECT(&story, story_status(&story).hard_state.commit == 2); /* It never falls. */
    FINISH(story);
}

/* 5.3: a follower without the entry in front refuses; the answer says where to go on. */
static void test_5_3_a_gap_is_refused(void **state)
{
    (void)state;
    struct story story;
    struct raftcore_run runs[] = {{1, 1}, {3, 2}};
    story_prepare(&story, 3);
    story.start.hard_state.term = 2;
    story.start.last_index = 4;
    story.start.runs = runs;
    story.start.run_count = 2;
    story_begin(&story);
    story_append(&story, 2, 3, 9, 3, NULL, 0, 0);
    const struct raftcore_message *answer = story_sent(&story, RAFTCORE_APPEND_ANSWER, 2);
    EXPECT(&story, answer != NULL && (answer->flags & RAFTCORE_REFUSED) != 0 && answer->hint_index == 4 &&
                       answer->hint_term == 2);
    story_append(&story, 2, 3, 4, 1, NULL, 0, 0); /* The leader's entry 4 is of term 1: ours of term 2 cannot match. */
    answer = story_sent(&story, RAFTCORE_APPEND_ANSWER, 2);
    EXPECT(&story, answer != NULL && answer->hint_index == 2 && answer->hint_term == 1);
    FINISH(story);
}

/* 5.3, figure 7: whatever a follower lacks or has too much, the leader brings its log to its own. */
static void test_5_3_figure_7(void **state)
{
    (void)state;
    static const struct {
        uint64_t last;
        uint32_t runs;
        struct raftcore_run run[4];
    } followers[] = {
        {9, 4, {{1, 1}, {4, 4}, {6, 5}, {8, 6}}},  {4, 2, {{1, 1}, {4, 4}}}, {11, 4, {{1, 1}, {4, 4}, {6, 5}, {8, 6}}},
        {12, 4, {{1, 1}, {4, 4}, {6, 5}, {8, 6}}}, {7, 2, {{1, 1}, {4, 4}}}, {11, 3, {{1, 1}, {4, 2}, {7, 3}}}};
    static const uint64_t leader[] = {0, 1, 1, 1, 4, 4, 5, 5, 6, 6, 6};
    for (size_t i = 0; i < sizeof(followers) / sizeof(followers[0]); i++) {
        struct story story;
        story_prepare(&story, 3);
        story.start.hard_state.term = 7;
        story.start.last_index = followers[i].last;
        story.start.runs = followers[i].run;
        story.start.run_count = followers[i].runs;
        story_begin(&story);
        uint64_t previous = 10;
        unsigned tries = 0;
        for (; tries < 5; tries++) { /* At most one message a term. */
            struct raftcore_entry entries[11];
            uint32_t count = 0;
            for (uint64_t index = previous + 1; index <= 10; index++) {
                entries[count++] = story_entry(leader[index]);
            }
            story_append(&story, 2, 8, previous, leader[previous], entries, count, 0);
            if (story.reason == 0) {
                break;
            }
            const struct raftcore_message *answer = story_sent(&story, RAFTCORE_APPEND_ANSWER, 2);
            previous = answer->hint_index;
            while (previous > 0 && leader[previous] > answer->hint_term) {
                previous--;
            }
        }
        EXPECT(&story, tries < 5);
        struct raftcore_entry last = story_entry(8);
        story_append(&story, 2, 8, 10, 6, &last, 1, 0);
        EXPECT(&story,
               story.reason == 0 && story_status(&story).last_index == 11 && story_status(&story).last_term == 8);
        FINISH(story);
    }
}

/* 5.3: entries that are there already are skipped: an old, shorter message takes nothing away. */
static void test_5_3_an_old_message_cuts_nothing(void **state)
{
    (void)state;
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    struct raftcore_entry entries[3] = {story_entry(1), story_entry(1), story_entry(1)};
    story_append(&story, 2, 1, 0, 0, entries, 3, 0);
    story_durable(&story);
    story_append(&story, 2, 1, 0, 0, entries, 1, 0);
    EXPECT(&story, story_status(&story).last_index == 3 && story.output->unit.sequence == 0);
    FINISH(story);
}

/* --- 5.4 safety ---------------------------------------------------------------------------------- */

/* 5.4.1: a voter refuses a candidate whose log is less up to date: the later last term wins, with the same term the
 * longer log. */
static void test_5_4_1_the_more_up_to_date_log_wins(void **state)
{
    (void)state;
    static const struct {
        uint64_t term, index;
        bool granted;
    } candidates[] = {{2, 1, true}, {2, 2, true}, {1, 1, true}, {1, 2, true}, {1, 0, false}, {0, 0, false}};
    for (size_t i = 0; i < sizeof(candidates) / sizeof(candidates[0]); i++) {
        struct story story;
        struct raftcore_run run = {1, 1};
        story_prepare(&story, 3);
        story.start.hard_state.term = 2;
        story.start.last_index = 1;
        story.start.runs = &run;
        story.start.run_count = 1;
        story_begin(&story);
        struct raftcore_message request = story_from(2, RAFTCORE_VOTE_REQUEST, 3);
        request.log_term = candidates[i].term;
        request.index = candidates[i].index;
        story_receive(&story, &request);
        EXPECT(&story, (story.reason == 0) == candidates[i].granted);
        FINISH(story);
    }
}

/* --- 6 membership -------------------------------------------------------------------------------- */

/* 6: a server uses the newest configuration in its log, committed or not; in a joint one both majorities decide. */
static void test_6_a_joint_configuration_needs_both_majorities(void **state)
{
    (void)state;
    struct story story;
    story_prepare(&story, 3);
    story_begin_leading(&story);
    struct raftcore_change changes[] = {{.kind = RAFTCORE_ADD_VOTER, .id = 4},
                                        {.kind = RAFTCORE_ADD_VOTER, .id = 5},
                                        {.kind = RAFTCORE_REMOVE, .id = 2},
                                        {.kind = RAFTCORE_REMOVE, .id = 3}};
    struct raftcore_event event = {.kind = RAFTCORE_CHANGE,
                                   .change = {.changes = changes, .count = 4, .unchecked = true}};
    story_step(&story, &event); /* {1,2,3} to {1,4,5}. */
    EXPECT(&story, story.reason == 0 && story_status(&story).configuration.count == 5);
    story_durable(&story);
    story_acknowledge(&story, 2, 1, 2); /* A majority of the old side alone. */
    EXPECT(&story, story_status(&story).hard_state.commit == 1);
    struct raftcore_message answer = story_from(4, RAFTCORE_APPEND_ANSWER, 1);
    for (uint64_t stream = 3; stream <= 4; stream++) { /* The new ones have streams behind the old ones'. */
        answer.stream = stream;
        answer.index = 2;
        answer.credit = 1 << 20;
        story_receive(&story, &answer);
        answer.from = answer.log_id = 5;
        answer.session = 105;
    }
    EXPECT(&story, story_status(&story).hard_state.commit >= 2);
    EXPECT(&story, story_status(&story).configuration.count == 3); /* And it is left by itself. */
    FINISH(story);
}

/* 6: servers that are to be added do not vote until they have caught up. */
static void test_6_a_stranger_is_a_learner_first(void **state)
{
    (void)state;
    struct story story;
    story_prepare(&story, 3);
    story_begin_leading(&story);
    struct raftcore_change change = {.kind = RAFTCORE_ADD_VOTER, .id = 4};
    struct raftcore_event event = {.kind = RAFTCORE_CHANGE, .change = {.changes = &change, .count = 1}};
    story_step(&story, &event);
    EXPECT(&story, story.reason == RAFTCORE_REASON_NOT_CAUGHT_UP);
    change.kind = RAFTCORE_ADD_AND_PROMOTE;
    story_step(&story, &event);
    EXPECT(&story, story.reason == 0);
    story_durable(&story);
    story_acknowledge(&story, 2, 1, 2);
    struct raftcore_message answer = story_from(4, RAFTCORE_APPEND_ANSWER, 1);
    answer.stream = 3;
    answer.index = 2;
    answer.credit = 1 << 20;
    story_receive(&story, &answer);
    EXPECT(&story, (story_status(&story).configuration.members[3].flags & RAFTCORE_VOTER) != 0);
    FINISH(story);
}

/* 6: requests for votes are ignored while a leader is believed to be alive, so that removed servers disturb nobody. */
static void test_6_removed_servers_disturb_nobody(void **state)
{
    (void)state;
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    story_lead(&story, 1);
    struct raftcore_message request = story_from(9, RAFTCORE_VOTE_REQUEST, 50);
    story_receive(&story, &request);
    EXPECT(&story, story_status(&story).role == RAFTCORE_LEADER && story_status(&story).hard_state.term == 1);
    FINISH(story);
}

/* --- 7 compaction -------------------------------------------------------------------------------- */

/* 7: the snapshot's last index and term stand for the entry, so the first append behind it can be checked. */
static void test_7_the_snapshot_stands_for_its_last_entry(void **state)
{
    (void)state;
    struct story story;
    story_prepare(&story, 3);
    story.start.hard_state.term = 3;
    story.start.snapshot = (struct raftcore_snapshot){.index = 10, .term = 3, .id = 1, .bytes = 1};
    story.start.first_index = 11;
    story.start.last_index = 10;
    story.start.applied = 10;
    story_begin(&story);
    EXPECT(&story, story_status(&story).last_term == 3); /* F1 of the bug list: not 0. */
    struct raftcore_entry entry = story_entry(4);
    story_append(&story, 2, 4, 10, 3, &entry, 1, 10);
    EXPECT(&story, story.reason == 0 && story_status(&story).last_index == 11);
    struct raftcore_entry old[3] = {story_entry(2), story_entry(3), story_entry(4)};
    story_append(&story, 2, 4, 8, 2, old, 3, 10); /* Reaches back behind it: that part matches (A4 of the bug list). */
    EXPECT(&story, story.reason == 0 && story_status(&story).last_index == 11);
    FINISH(story);
}

static void send_snapshot(struct story *story, uint64_t index, uint64_t term)
{
    struct raftcore_message piece = story_snapshot(story, 2, 5, index, term);
    story_receive(story, &piece);
}

/* 7: a snapshot that goes beyond the log replaces it; with the same last entry, what stands behind is kept. */
static void test_7_an_installed_snapshot(void **state)
{
    (void)state;
    for (unsigned matches = 0; matches < 2; matches++) {
        struct story story;
        struct raftcore_run run = {1, 1};
        story_prepare(&story, 3);
        story.start.hard_state.term = 1;
        story.start.last_index = 9;
        story.start.runs = &run;
        story.start.run_count = 1;
        story_begin(&story);
        send_snapshot(&story, 5, matches == 1 ? 1 : 2);
        if (matches == 1) { /* Nothing is needed: the log has it, and now knows that it is committed. */
            EXPECT(&story, story.output->piece.snapshot.index == 0 && story_status(&story).hard_state.commit == 5);
            FINISH(story);
            continue;
        }
        EXPECT(&story, story.output->piece.last && story.output->piece.snapshot.index == 5);
        struct raftcore_event event = {.kind = RAFTCORE_SNAPSHOT_WRITTEN};
        event.snapshot.snapshot = story.output->piece.snapshot;
        story_step(&story, &event);
        EXPECT(&story, story.output->unit.install_snapshot && !story.output->unit.keep_suffix);
        EXPECT(&story, story.output->restore_index == 5 && story_status(&story).last_index == 5);
        EXPECT(&story, story_sent(&story, RAFTCORE_APPEND_ANSWER, 2) == NULL);
        event = (struct raftcore_event){.kind = RAFTCORE_APPLIED, .applied.index = 5};
        story_step(&story, &event);
        story_durable(&story);
        EXPECT(&story, story_sent(&story, RAFTCORE_APPEND_ANSWER, 2) != NULL &&
                           story_sent(&story, RAFTCORE_APPEND_ANSWER, 2)->index == 5);
        FINISH(story);
    }
}

/* --- 8 clients ----------------------------------------------------------------------------------- */

/* 8: a new leader commits an entry of its own first. */
static void test_8_a_new_leader_begins_with_an_entry_of_its_own(void **state)
{
    (void)state;
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    story_lead(&story, 1);
    EXPECT(&story, story.output->unit.entry_count == 1 && story.output->unit.entries[0].type == RAFTCORE_ENTRY_NOOP);
    FINISH(story);
}

/* 8: a read is answered when the leader knows what is committed, has asked a majority, and has applied that far. */
static void test_8_a_read_asks_a_majority(void **state)
{
    (void)state;
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    story_lead(&story, 1);
    struct raftcore_event read = {.kind = RAFTCORE_READ, .read.context = 42};
    story_step(&story, &read);
    EXPECT(&story, story.output->read_count == 0); /* Nothing of this term is committed. */
    story_durable(&story);
    story_acknowledge(&story, 2, 1, 1);
    const struct raftcore_message *beat = story_sent(&story, RAFTCORE_HEARTBEAT, 2);
    EXPECT(&story, beat != NULL && story.output->read_count == 0);
    struct raftcore_message answer = story_alive(2, 1);
    answer.round = beat == NULL ? 1 : beat->round;
    story_receive(&story, &answer);
    EXPECT(&story, story.output->read_count == 0); /* Not applied. */
    struct raftcore_event applied = {.kind = RAFTCORE_APPLIED, .applied.index = 1};
    story_step(&story, &applied);
    EXPECT(&story,
           story.output->read_count == 1 && story.output->reads[0].context == 42 && story.output->reads[0].reason == 0);
    FINISH(story);
}

/* 6.2 of the dissertation: a leader that no majority answers steps down. */
static void test_6_2_a_leader_without_a_majority_steps_down(void **state)
{
    (void)state;
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    story_lead(&story, 1);
    story_durable(&story);
    for (unsigned i = 0; i < 9; i++) {
        story_wait(&story, SECOND / 10);
        EXPECT(&story, story_status(&story).role == RAFTCORE_LEADER);
    }
    story_wait(&story, SECOND / 10 + 1);
    EXPECT(&story, story_status(&story).role == RAFTCORE_FOLLOWER && story_status(&story).hard_state.term == 1);
    EXPECT(&story, story_sent(&story, RAFTCORE_HEARTBEAT, 0) == NULL);
    FINISH(story);
}

/* 3.10 of the dissertation: leadership is handed on to one that has everything; proposals wait. */
static void test_3_10_transfer(void **state)
{
    (void)state;
    struct story story;
    story_prepare(&story, 3);
    story_begin(&story);
    story_lead(&story, 1);
    story_durable(&story);
    struct raftcore_event event = {.kind = RAFTCORE_TRANSFER_LEADERSHIP, .transfer.to = 2};
    story_step(&story, &event);
    EXPECT(&story, story.reason == 0 && story_sent(&story, RAFTCORE_TIMEOUT_NOW, 2) == NULL);
    struct raftcore_entry entry = story_entry(0);
    struct raftcore_event propose = {.kind = RAFTCORE_PROPOSE, .propose = {.entries = &entry, .count = 1}};
    story_step(&story, &propose);
    EXPECT(&story, story.reason == RAFTCORE_REASON_TRANSFERRING);
    story_acknowledge(&story, 2, 1, 1);
    EXPECT(&story, story_sent(&story, RAFTCORE_TIMEOUT_NOW, 2) != NULL);
    story_acknowledge(&story, 3, 1, 1);
    for (unsigned i = 0; i < 12; i++) { /* Given up after an election timeout. */
        struct raftcore_message beat = story_alive(3, 1);
        story_receive(&story, &beat);
        story_wait(&story, SECOND / 10);
    }
    story_step(&story, &propose);
    EXPECT(&story, story.reason == 0);
    FINISH(story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_5_1_a_larger_term_makes_a_follower),
        cmocka_unit_test(test_5_1_a_request_of_an_old_term_is_refused),
        cmocka_unit_test(test_5_2_a_server_starts_as_follower),
        cmocka_unit_test(test_5_2_a_follower_that_hears_a_leader_stays_one),
        cmocka_unit_test(test_5_2_a_follower_that_hears_nothing_begins_an_election),
        cmocka_unit_test(test_5_2_a_majority_elects),
        cmocka_unit_test(test_5_2_one_vote_a_term),
        cmocka_unit_test(test_5_2_a_leader_beats),
        cmocka_unit_test(test_5_2_a_candidate_follows_a_leader_of_its_term),
        cmocka_unit_test(test_5_2_a_split_vote_is_tried_again),
        cmocka_unit_test(test_5_2_timeouts_are_random),
        cmocka_unit_test(test_5_3_a_proposal_is_appended_and_sent),
        cmocka_unit_test(test_5_3_a_majority_commits_with_all_before),
        cmocka_unit_test(test_10_2_1_the_leader_writes_in_parallel),
        cmocka_unit_test(test_5_3_a_follower_learns_of_the_commit),
        cmocka_unit_test(test_5_3_a_gap_is_refused),
        cmocka_unit_test(test_5_3_figure_7),
        cmocka_unit_test(test_5_3_an_old_message_cuts_nothing),
        cmocka_unit_test(test_5_4_1_the_more_up_to_date_log_wins),
        cmocka_unit_test(test_6_a_joint_configuration_needs_both_majorities),
        cmocka_unit_test(test_6_a_stranger_is_a_learner_first),
        cmocka_unit_test(test_6_removed_servers_disturb_nobody),
        cmocka_unit_test(test_7_the_snapshot_stands_for_its_last_entry),
        cmocka_unit_test(test_7_an_installed_snapshot),
        cmocka_unit_test(test_8_a_new_leader_begins_with_an_entry_of_its_own),
        cmocka_unit_test(test_8_a_read_asks_a_majority),
        cmocka_unit_test(test_6_2_a_leader_without_a_majority_steps_down),
        cmocka_unit_test(test_3_10_transfer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
