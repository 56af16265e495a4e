/* test_raft_memory.c - one core's life, again and again, each time without memory at another moment.
 *
 * The happy path: node 1 of a cluster starts, is elected, takes proposals, reads and changes of members, sends a
 * snapshot, reads entries back for peers, loses what it could not commit, follows, receives a snapshot, has a hole that
 * is filled, fills another's, hands leadership on, and starts anew. The first life counts how often it asks for memory.
 * Then it is lived once for each of these requests, with that one refused, and once with many behind it refused too.
 *
 * What can fail: a stage that does not come to its end although lost messages are sent again; whatever the cluster
 * checks after each step: raftcore_check, what must hold between nodes, that no report is refused for want of memory,
 * that an event which is refused is taken when it is offered again, that all memory is given back.
 *
 * Invariants: a life is deterministic up to the first request that is refused.
 *
 * Behind the lives stand stories of single steps that they do not look into. */

#include "tests/raft/cluster.h"
#include "tests/raft/scarce.h"
#include "tests/raft/story.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <inttypes.h>
#include <stdio.h>

#include <cmocka.h>

enum {
    SUBJECT = 1, /* Whose memory runs out. */
    VOTERS = 3,
    SPARE = 4,
    LARGE_BYTES = 3000,
    VALUES_MAX = 4096,
    PATIENCE = 600, /* So many turns of TURN_NS for one thing to happen. */
    MANY_REFUSED = 40
};

#define TURN_NS (50 * MS)

struct life {
    struct cluster *cluster;
    uint64_t value, campaign_at_ns;
    const char *stage;
};

/* --- small things -------------------------------------------------------------------------------- */

static struct raftcore_status status_of(struct life *life, unsigned id)
{
    struct raftcore_status status;
    raftcore_status(cluster_core(life->cluster, id), &status);
    return status;
}

static void pass(struct life *life)
{
    cluster_run(life->cluster, TURN_NS);
}

/* Lets time pass until it holds; false: something failed, or it never does. */
static bool wait_until(struct life *life, bool (*holds)(struct life *life, uint64_t what), uint64_t what)
{
    for (unsigned turn = 0; turn < PATIENCE && cluster_failure(life->cluster) == NULL; turn++) {
        if (holds(life, what)) {
            return true;
        }
        pass(life);
    }
    if (cluster_failure(life->cluster) == NULL) {
        cluster_fail(life->cluster, "%s: it does not come to its end", life->stage);
    }
    return false;
}

static bool leads(struct life *life, uint64_t id)
{
    return cluster_leader(life->cluster) == id && status_of(life, (unsigned)id).hard_state.commit > 0;
}

/* It is handed the office by whoever has it, or campaigns now and then; too often would keep all others busy. */
static bool leads_or_tries(struct life *life, uint64_t id)
{
    struct raftcore_event offer = {.kind = RAFTCORE_TRANSFER_LEADERSHIP, .transfer.to = id};
    struct raftcore_event campaign = {.kind = RAFTCORE_CAMPAIGN, .campaign.at_once = true};
    unsigned leader = cluster_leader(life->cluster);
    if (leads(life, id)) {
        return true;
    }
    if (leader != 0 && leader != id) {
        (void)cluster_step(life->cluster, leader, &offer);
    } else if (leader == 0 && cluster_now(life->cluster) >= life->campaign_at_ns) {
        life->campaign_at_ns = cluster_now(life->cluster) + 4000 * MS;
        (void)cluster_step(life->cluster, (unsigned)id, &campaign);
    }
    return false;
}

static void elect(struct life *life, unsigned id)
{
    (void)wait_until(life, leads_or_tries, id);
}

static bool is_applied_by(struct life *life, uint64_t nodes)
{
    return cluster_applied(life->cluster, life->value, NULL) >= nodes;
}

/* At the leader that there is; a value that got lost with a leader is proposed again. */
static void commit_one(struct life *life, uint32_t bytes, unsigned nodes)
{
    life->value++;
    for (unsigned again = 0; again < PATIENCE && cluster_failure(life->cluster) == NULL; again++) {
        unsigned leader = cluster_leader(life->cluster);
        if (leader != 0) {
            (void)cluster_propose(life->cluster, leader, life->value, bytes);
        }
        for (unsigned turn = 0; turn < 10 && !is_applied_by(life, nodes); turn++) {
            pass(life);
        }
        if (is_applied_by(life, nodes)) {
            return;
        }
    }
    (void)wait_until(life, is_applied_by, nodes);
}

/* Many at once; at least the last one is applied by so many. */
static void commit_many(struct life *life, unsigned count, unsigned nodes)
{
    for (unsigned i = 0; i < count; i++) {
        unsigned leader = cluster_leader(life->cluster);
        (void)(leader == 0 ? 0 : cluster_propose(life->cluster, leader, ++life->value, 8 + i % 40));
        cluster_run(life->cluster, i % 8 == 7 ? MS : 0);
    }
    commit_one(life, 8, nodes);
}

static void change(struct life *life, uint32_t kind, unsigned id, uint32_t transition)
{
    struct raftcore_change what = {.kind = kind, .id = id, .log_id = id == 0 ? 0 : 1000 + id};
    struct raftcore_event event = {.kind = RAFTCORE_CHANGE};
    event.change.changes = &what;
    event.change.count = 1;
    event.change.transition = transition;
    unsigned leader = cluster_leader(life->cluster);
    if (leader != 0) {
        (void)cluster_step(life->cluster, leader, &event);
    }
}

static bool has_flags(struct life *life, uint64_t id, uint32_t flags)
{
    unsigned leader = cluster_leader(life->cluster);
    if (leader == 0) {
        return false;
    }
    struct raftcore_status status = status_of(life, leader);
    uint32_t found = 0;
    for (uint32_t i = 0; i < status.configuration.count; i++) {
        found = status.configuration.members[i].id == id ? status.configuration.members[i].flags : found;
    }
    return found == flags && status.configuration_index <= status.hard_state.commit;
}

/* --- stages -------------------------------------------------------------------------------------- */

/* By a follower to the leader; one of the two is the subject. */
static bool is_handed_on(struct life *life, uint64_t nodes)
{
    static uint64_t values[VALUES_MAX]; /* Payloads stay where they are. */
    uint64_t *value = &values[life->value % VALUES_MAX];
    struct raftcore_entry entry = {.data = value, .size = sizeof(*value)};
    struct raftcore_event event = {.kind = RAFTCORE_PROPOSE, .propose = {.entries = &entry, .count = 1}};
    *value = life->value;
    if (!is_applied_by(life, nodes)) {
        (void)cluster_step(life->cluster, cluster_leader(life->cluster) == SUBJECT ? 2 : SUBJECT, &event);
        return false;
    }
    return true;
}

static void hand_on(struct life *life)
{
    life->value++;
    (void)wait_until(life, is_handed_on, VOTERS);
}

static void lead(struct life *life)
{
    elect(life, SUBJECT);
    for (unsigned i = 0; i < 5; i++) {
        hand_on(life);
    }
    commit_one(life, 8, VOTERS);
    commit_many(life, 60, VOTERS);
}

static bool reads_are_answered(struct life *life, uint64_t count)
{
    if (cluster_reads_answered(life->cluster) >= count) {
        return true;
    }
    for (unsigned id = 1; id <= VOTERS; id++) {
        for (unsigned i = 0; i < 6; i++) {
            (void)cluster_read(life->cluster, id, false);
        }
    }
    return false;
}

static void read_much(struct life *life)
{
    (void)wait_until(life, reads_are_answered, cluster_reads_answered(life->cluster) + 40);
}

static bool spare_is_voter(struct life *life, uint64_t ignored)
{
    (void)ignored;
    if (!has_flags(life, SPARE, RAFTCORE_VOTER)) {
        change(life, RAFTCORE_ADD_AND_PROMOTE, SPARE, RAFTCORE_TRANSITION_AUTO);
        return false;
    }
    return true;
}

static bool spare_is_gone(struct life *life, uint64_t ignored)
{
    (void)ignored;
    if (!has_flags(life, SPARE, 0)) {
        change(life, RAFTCORE_REMOVE, SPARE, RAFTCORE_TRANSITION_IMPLICIT);
        return false;
    }
    return true;
}

static void change_members(struct life *life)
{
    elect(life, SUBJECT);
    (void)wait_until(life, spare_is_voter, 0);
    commit_one(life, 8, VOTERS + 1);
    (void)wait_until(life, spare_is_gone, 0);
    commit_one(life, 8, VOTERS);
}

/* A peer lacks what is held no more, but still stands in the log. */
static void read_back(struct life *life)
{
    elect(life, SUBJECT);
    cluster_isolate(life->cluster, 2, true);
    for (unsigned i = 0; i < 12; i++) {
        commit_one(life, LARGE_BYTES, 2);
    }
    cluster_isolate(life->cluster, 2, false);
    commit_one(life, 8, VOTERS);
}

static void send_snapshot(struct life *life)
{
    elect(life, SUBJECT);
    cluster_set_snapshots(life->cluster, 10, 2);
    cluster_isolate(life->cluster, 3, true);
    commit_many(life, 30, 2);
    commit_many(life, 30, 2);
    cluster_isolate(life->cluster, 3, false);
    commit_one(life, 8, VOTERS);
    cluster_set_snapshots(life->cluster, 0, 0);
}

/* What a leader that is cut off appended is cut, a configuration of its own among it. */
static void be_truncated(struct life *life)
{
    elect(life, SUBJECT);
    cluster_isolate(life->cluster, SUBJECT, true);
    for (unsigned i = 0; i < 5; i++) {
        (void)cluster_propose(life->cluster, SUBJECT, ++life->value, 50);
        if (i == 2) {
            change(life, RAFTCORE_ADD_LEARNER, SPARE, RAFTCORE_TRANSITION_AUTO);
        }
        cluster_run(life->cluster, 2 * MS);
    }
    elect(life, 2);
    commit_many(life, 20, 2);
    cluster_isolate(life->cluster, SUBJECT, false);
    commit_one(life, 8, VOTERS);
}

static void follow(struct life *life)
{
    elect(life, 2);
    commit_many(life, 40, VOTERS);
    hand_on(life);
    read_much(life);
}

static void receive_snapshot(struct life *life)
{
    elect(life, 2);
    cluster_set_snapshots(life->cluster, 10, 2);
    cluster_isolate(life->cluster, SUBJECT, true);
    commit_many(life, 30, 2);
    commit_many(life, 30, 2);
    cluster_isolate(life->cluster, SUBJECT, false);
    commit_one(life, 8, VOTERS);
    cluster_set_snapshots(life->cluster, 0, 0);
    commit_many(life, 10, VOTERS);
}

static bool has_no_hole(struct life *life, uint64_t id)
{
    return status_of(life, (unsigned)id).hole_count == 0;
}

/* A configuration and entries of two terms do not read any more at one node after the other, and are filled in by the
 * others, who read them back. */
static void fill_holes(struct life *life)
{
    uint64_t first = cluster_committed(life->cluster) + 1;
    elect(life, 2);
    (void)wait_until(life, spare_is_voter, 0);
    elect(life, 3);
    do {
        commit_many(life, 20, VOTERS + 1);
    } while (cluster_committed(life->cluster) < first + 10 && cluster_failure(life->cluster) == NULL);
    for (unsigned id = 1; id <= VOTERS; id++) {
        struct raftcore_event event = {.kind = RAFTCORE_HOLE_FOUND};
        event.hole.hole = (struct raftcore_hole){.first = first, .last = first + 10};
        (void)cluster_step(life->cluster, id, &event);
        (void)wait_until(life, has_no_hole, id);
    }
    (void)wait_until(life, spare_is_gone, 0);
    commit_one(life, 8, VOTERS);
}

static void hand_over(struct life *life)
{
    elect(life, SUBJECT);
    elect(life, 2);
    elect(life, SUBJECT);
    commit_one(life, 8, VOTERS);
}

/* With a hole, and a configuration in the log. */
static void start_anew(struct life *life)
{
    elect(life, 2);
    commit_many(life, 20, VOTERS);
    cluster_crash(life->cluster, SUBJECT);
    cluster_damage(life->cluster, SUBJECT, false, cluster_committed(life->cluster) - 3);
    cluster_restart(life->cluster, SUBJECT);
    (void)wait_until(life, has_no_hole, SUBJECT);
    commit_one(life, 8, VOTERS);
    lead(life);
}

/* --- lives --------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    void (*run)(struct life *life);
} stages[] = {{"lead", lead},
              {"read", read_much},
              {"change members", change_members},
              {"read back for a peer", read_back},
              {"send a snapshot", send_snapshot},
              {"be truncated", be_truncated},
              {"follow", follow},
              {"receive a snapshot", receive_snapshot},
              {"fill holes", fill_holes},
              {"hand over", hand_over},
              {"start anew", start_anew}};

/* Requests [first, first + count) are refused. is_fresh: each stage begins with a new start of the subject, which has
 * nothing left of what the one before took. Those that were; what failed stands in `failure`. */
static uint64_t live(bool is_fresh, uint64_t first, uint64_t count, char *failure, size_t failure_bytes)
{
    struct cluster_options options = {.seed = 7, .voters = VOTERS, .spares = 1, .damage = true};
    options.core.check_everything = true;
    options.core.cache_bytes = 64;
    options.core.message_entries = 16;
    struct life life = {.cluster = cluster_new(&options), .stage = "begin"};
    cluster_refuse_memory(life.cluster, SUBJECT, first, count);
    for (unsigned i = 0; i < sizeof(stages) / sizeof(stages[0]) && cluster_failure(life.cluster) == NULL; i++) {
        life.stage = stages[i].name;
        if (is_fresh) {
            cluster_crash(life.cluster, SUBJECT);
            cluster_restart(life.cluster, SUBJECT);
        }
        stages[i].run(&life);
    }
    uint64_t refused = cluster_memory_refused(life.cluster, SUBJECT);
    if (cluster_failure(life.cluster) == NULL) {
        cluster_end(life.cluster);
    }
    const char *wrong = cluster_failure(life.cluster);
    (void)snprintf(failure, failure_bytes, "%s", wrong == NULL ? "" : wrong);
    if (wrong != NULL) {
        (void)snprintf(failure, failure_bytes, "%s: %s", life.stage, wrong);
    }
    cluster_free(life.cluster);
    return refused;
}

static void live_without(bool is_fresh, uint64_t count)
{
    char failure[500];
    uint64_t lives = 0, failed = 0;
    for (uint64_t first = 1, refused = 1; refused > 0; first++) {
        refused = live(is_fresh, first, count, failure, sizeof(failure));
        lives++;
        if (failure[0] != 0) {
            failed++;
            print_message("without the requests [%" PRIu64 ", %" PRIu64 "): %s\n", first, first + count, failure);
        }
    }
    print_message("%" PRIu64 " lives, %" PRIu64 " failed\n", lives, failed);
    assert_int_equal(failed, 0);
    assert_in_range(lives, 30, 5000); /* Else it did not live, or did not end. */
}

static void test_each_request_for_memory_is_refused_once(void **state)
{
    (void)state;
    live_without(false, 1);
    live_without(true, 1);
}

static void test_memory_runs_out_for_a_while(void **state)
{
    (void)state;
    live_without(false, MANY_REFUSED);
    live_without(true, MANY_REFUSED);
}

/* --- one core, told step by step ------------------------------------------------------------------ */

static void refuse_from_now_on(struct scarce *memory)
{
    memory->refuse_from = memory->asked + 1;
    memory->refuse_until = UINT64_MAX;
}

static void end(struct story *story, const struct scarce *memory)
{
    const char *wrong = story_end(story);
    if (wrong != NULL) {
        fail_msg("%s", wrong);
    }
    assert_int_equal(memory->bytes, 0);
}

/* B16: only who leads by a roll call is rid of the floor. */
static void test_a_floor_stays_without_memory_to_lead(void **state)
{
    (void)state;
    struct scarce memory = {0};
    struct story story;
    story_prepare(&story, 3);
    story.options.allocator = scarce_allocator(&memory);
    story.start.tail = RAFTCORE_TAIL_UNCERTAIN;
    story_begin(&story);
    story_durable(&story);
    struct raftcore_event event = {.kind = RAFTCORE_CAMPAIGN, .campaign.roll_call = true};
    story_step(&story, &event);
    if (story.reason == RAFTCORE_REASON_TERM_LIMIT) { /* The raise had to be covered first. */
        story_durable(&story);
        story_step(&story, &event);
    }
    story_durable(&story);
    const struct raftcore_message *request = story_sent(&story, RAFTCORE_VOTE_REQUEST, 2);
    assert_non_null(request);
    struct raftcore_message grant = story_from(2, RAFTCORE_VOTE_ANSWER, request->term);
    grant.round = request->round;
    refuse_from_now_on(&memory);
    for (unsigned node = 2; node <= 3; node++) {
        grant.from = grant.log_id = node;
        grant.session = 100 + node;
        story_receive(&story, &grant);
    }
    EXPECT(&story, story_status(&story).role == RAFTCORE_FOLLOWER && memory.refused > 0);
    EXPECT(&story, story_status(&story).hard_state.floor_index != 0);
    end(&story, &memory);
}

static void test_a_read_without_memory_is_refused_and_taken_later(void **state)
{
    (void)state;
    struct scarce memory = {0};
    struct story story;
    story_prepare(&story, 3);
    story.options.allocator = scarce_allocator(&memory);
    story_begin_leading(&story);
    struct raftcore_event event = {.kind = RAFTCORE_READ, .read.context = 1};
    refuse_from_now_on(&memory);
    story_step(&story, &event);
    EXPECT(&story, story.reason == RAFTCORE_REASON_MEMORY && story.output->refused == RAFTCORE_REASON_MEMORY);
    memory.refuse_until = 0;
    story_step(&story, &event);
    EXPECT(&story, story.reason == 0);
    end(&story, &memory);
}

/* Three units have a flight of their own; what follows shares the last one, and the last of all truncates. */
static void test_units_that_share_a_flight_are_durable_together(void **state)
{
    (void)state;
    struct scarce memory = {0};
    struct story story;
    story_prepare(&story, 3);
    story.options.allocator = scarce_allocator(&memory);
    story_begin(&story);
    struct raftcore_entry entries[8], newer = story_entry(2);
    for (unsigned i = 0; i < 8; i++) {
        entries[i] = story_entry(1);
    }
    story_append(&story, 2, 1, 0, 0, entries, 8, 8);
    story_durable(&story);
    struct raftcore_event applied = {.kind = RAFTCORE_APPLIED, .applied.index = 8};
    story_step(&story, &applied);
    uint64_t before = story.sequence;
    refuse_from_now_on(&memory);
    for (uint64_t index = 9; index <= 13; index++) {
        story_append(&story, 2, 1, index - 1, 1, entries, 1, 8);
    }
    story_append(&story, 3, 2, 9, 1, &newer, 1, 8);
    uint64_t units = story.sequence - before;
    EXPECT(&story, units == 6 && story_status(&story).last_index == 10 && memory.refused > 0);
    for (uint64_t durable = 1; durable <= units; durable++) {
        struct raftcore_event event = {.kind = RAFTCORE_PERSISTED, .persisted.sequence = before + durable};
        story_step(&story, &event);
        EXPECT(&story, story_status(&story).durable_index == (durable < units ? 9 : 10));
        EXPECT(&story, story_status(&story).durable_sequence == before + durable);
    }
    end(&story, &memory);
}

/* What a start that was refused had begun to take over must not be told of. */
static void test_a_core_whose_start_was_refused_knows_of_no_entry(void **state)
{
    (void)state;
    struct scarce memory = {0};
    struct story story;
    struct raftcore_run run = {.first_index = 1, .term = 1};
    story_prepare(&story, 3);
    story.options.allocator = scarce_allocator(&memory);
    story.start.last_index = 5;
    story.start.runs = &run;
    story.start.run_count = 1;
    story.start.hard_state.term = 1;
    assert_int_equal(raftcore_new(&story.core, &story.options), 0);
    struct raftcore_event event = {.kind = RAFTCORE_START, .start = &story.start};
    for (uint64_t without = 1; without <= 3; without++) { /* Flights, configurations, and the log's terms. */
        memory.refuse_from = memory.asked + (without == 3 ? 1 : without);
        memory.refuse_until = memory.refuse_from + 1;
        story_step(&story, &event);
        EXPECT(&story, story.reason == RAFTCORE_REASON_MEMORY);
        EXPECT(&story, story_status(&story).first_index == 0 && story_status(&story).last_index == 0);
        EXPECT(&story, raftcore_outcome(story.core, 5, 1) == RAFTCORE_OUTCOME_PENDING);
        EXPECT(&story, raftcore_outcome(story.core, 0, 1) == RAFTCORE_OUTCOME_PENDING);
    }
    story_step(&story, &event);
    EXPECT(&story, story.reason == 0 && story_status(&story).last_index == 5);
    end(&story, &memory);
}

/* A disk takes a second and a half for each unit, which is no stall; units share a flight, and the first of them is
 * durable long before the last was even issued. */
static void test_a_shared_flight_is_no_stall(void **state)
{
    (void)state;
    struct scarce memory = {0};
    struct story story;
    story_prepare(&story, 3);
    story.options.allocator = scarce_allocator(&memory);
    story.options.no_check_quorum = true;
    story_begin_leading(&story);
    struct raftcore_entry entry = {.term = 0};
    struct raftcore_event propose = {.kind = RAFTCORE_PROPOSE, .propose = {.entries = &entry, .count = 1}};
    for (unsigned i = 0; i < 30; i++) { /* What this makes room for is taken before memory runs out. */
        story_step(&story, &propose);
        story_durable(&story);
        story_acknowledge(&story, 2, 1, story_status(&story).last_index);
        story_acknowledge(&story, 3, 1, story_status(&story).last_index);
    }
    uint64_t before = story.sequence, done = 0, begin_ns = story.now_ns;
    refuse_from_now_on(&memory);
    const unsigned issued_ms[] = {0, 10, 20, 30, 1400};
    for (unsigned ms = 0, issued = 0; ms < 3500; ms += 10) {
        story.now_ns = begin_ns + ms * UINT64_C(1000000);
        if (issued < 5 && issued_ms[issued] == ms) {
            story_step(&story, &propose);
            EXPECT(&story, story.reason == 0);
            issued++;
        }
        while (done < issued && ms - issued_ms[done] >= 1500) {
            struct raftcore_event event = {.kind = RAFTCORE_PERSISTED, .persisted.sequence = before + ++done};
            story_step(&story, &event);
        }
        story_wait(&story, 0);
        EXPECT(&story, story_status(&story).role == RAFTCORE_LEADER);
    }
    EXPECT(&story, done == 5 && memory.refused > 0);
    end(&story, &memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_request_for_memory_is_refused_once),
        cmocka_unit_test(test_memory_runs_out_for_a_while),
        cmocka_unit_test(test_units_that_share_a_flight_are_durable_together),
        cmocka_unit_test(test_a_floor_stays_without_memory_to_lead),
        cmocka_unit_test(test_a_core_whose_start_was_refused_knows_of_no_entry),
        cmocka_unit_test(test_a_shared_flight_is_no_stall),
        cmocka_unit_test(test_a_read_without_memory_is_refused_and_taken_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
