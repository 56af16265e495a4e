/* test_sim_labs.c - the persistence and snapshot scenarios of the MIT course's Raft labs (parts 3C and 3D) once more,
 * with real storage: core, log and snapshot files over simulated disks, in virtual time.
 *
 * The happy path of each: a cluster agrees on values while nodes crash, lose power, are cut off and come back; what was
 * agreed stays, everywhere, and the log stays short. A crash here is a power cut of the disks, not a flag.
 *
 * What can fail is what is tested; world.c checks agreement after every step. Invariants: a value is agreed on when so
 * many nodes have applied it. */

#include "tests/sim/stories.h"
#include "tests/sim/world.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

enum { AGREE_S = 10, ENTRY_BYTES = 64, SNAPSHOT_ENTRIES = 10, NEVER = 1 << 30 };

struct lab {
    struct world *world;
    unsigned count;
    uint64_t values;
};

static struct lab lab_begin(unsigned count, unsigned snapshot_entries, uint64_t seed)
{
    const struct world_options options = {
        .seed = seed, .voters = count, .snapshot_bytes = (uint64_t)snapshot_entries * ENTRY_BYTES};
    struct lab lab = {.world = world_new(&options), .count = count};
    for (unsigned id = 1; id <= count; id++) {
        world_start(lab.world, id);
    }
    return lab;
}

static void lab_end(struct lab *lab)
{
    const char *failure = world_failure(lab->world);
    if (failure != NULL) {
        fail_msg("%s", failure);
    }
    world_free(lab->world);
}

static void pass_time(struct lab *lab, uint64_t ns)
{
    uint64_t until_ns = world_now(lab->world) + ns;
    while (world_now(lab->world) < until_ns && world_step(lab->world)) {
    }
}

static unsigned dice(struct lab *lab, unsigned bound)
{
    return (unsigned)world_random(lab->world, bound);
}

/* Gives the next value to whoever leads. False: nobody took it. */
static bool propose(struct lab *lab)
{
    struct world *world = lab->world;
    const struct kv_command value = {.kind = KV_WRITE, .sequence = lab->values + 1, .value = lab->values + 1};
    const struct raftcore_command command = {.data = &value, .size = sizeof(value)};
    bool taken = false;
    for (unsigned id = 1; id <= lab->count && !taken; id++) {
        struct raftcore_node *node = world_node(world, id);
        struct raftcore_status status;
        if (node == NULL) {
            continue;
        }
        raftcore_node_status(node, &status);
        taken = status.role == RAFTCORE_LEADER &&
                raftcore_node_propose(node, world_local_ns(world, id), &command, 1, lab->values + 1) == 0;
        world_pump(world, id);
    }
    return taken;
}

static unsigned appliers(struct lab *lab, uint64_t value)
{
    unsigned count = 0;
    for (unsigned id = 1; id <= lab->count; id++) {
        count += world_node(lab->world, id) != NULL && world_kv(lab->world, id)->sessions[0].sequence >= value;
    }
    return count;
}

/* The next value is agreed on by so many nodes, in ten seconds at most: it is proposed again while it is not. */
static void agree(struct lab *lab, unsigned nodes)
{
    uint64_t until_ns = world_now(lab->world) + (uint64_t)AGREE_S * SECOND;
    while (world_now(lab->world) < until_ns && world_failure(lab->world) == NULL) {
        (void)propose(lab);
        for (unsigned i = 0; i < 40; i++) {
            pass_time(lab, 50 * MS);
            if (appliers(lab, lab->values + 1) >= nodes) {
                lab->values++;
                return;
            }
        }
    }
    fail_msg("no agreement on value %d: %s", (int)lab->values + 1,
             world_failure(lab->world) == NULL ? "time is up" : world_failure(lab->world));
}

static void crash(struct lab *lab, unsigned id)
{
    world_crash(lab->world, id, false, 0);
}

static void cut_off(struct lab *lab, unsigned id, bool works)
{
    for (unsigned other = 1; other <= lab->count; other++) {
        world_link(lab->world, id, other, works);
        world_link(lab->world, other, id, works);
    }
}

static unsigned leader(struct lab *lab)
{
    for (unsigned i = 0; i < 200; i++) {
        unsigned id = world_leader(lab->world);
        if (id != 0) {
            return id;
        }
        pass_time(lab, 50 * MS);
    }
    fail_msg("no leader within 10 s");
    return 0;
}

static unsigned next_to(const struct lab *lab, unsigned id, unsigned steps)
{
    return 1 + (id - 1 + steps) % lab->count;
}

/* --- 3C: persistence ----------------------------------------------------------------------------- */

static void test_3c_basic_persistence(void **state)
{
    (void)state;
    struct lab lab = lab_begin(3, NEVER, 1);
    agree(&lab, 3);
    for (unsigned id = 1; id <= 3; id++) {
        crash(&lab, id);
    }
    for (unsigned id = 1; id <= 3; id++) {
        world_start(lab.world, id);
    }
    agree(&lab, 3);
    unsigned first = leader(&lab);
    crash(&lab, first);
    world_start(lab.world, first);
    agree(&lab, 3);
    unsigned second = leader(&lab);
    crash(&lab, second);
    agree(&lab, 2);
    world_start(lab.world, second);
    agree(&lab, 3);
    unsigned third = next_to(&lab, leader(&lab), 1);
    crash(&lab, third);
    agree(&lab, 2);
    world_start(lab.world, third);
    agree(&lab, 3);
    lab_end(&lab);
}

static void test_3c_more_persistence(void **state)
{
    (void)state;
    struct lab lab = lab_begin(5, NEVER, 2);
    for (unsigned turn = 0; turn < 5; turn++) {
        agree(&lab, 5);
        unsigned first = leader(&lab);
        crash(&lab, next_to(&lab, first, 1));
        crash(&lab, next_to(&lab, first, 2));
        agree(&lab, 3);
        crash(&lab, first);
        crash(&lab, next_to(&lab, first, 3));
        crash(&lab, next_to(&lab, first, 4));
        world_start(lab.world, next_to(&lab, first, 1));
        world_start(lab.world, next_to(&lab, first, 2));
        pass_time(&lab, SECOND);
        world_start(lab.world, next_to(&lab, first, 3));
        agree(&lab, 3);
        world_start(lab.world, next_to(&lab, first, 4));
        world_start(lab.world, first);
    }
    agree(&lab, 5);
    lab_end(&lab);
}

static void test_3c_partitioned_leader_and_one_follower_crash(void **state)
{
    (void)state;
    struct lab lab = lab_begin(3, NEVER, 3);
    agree(&lab, 3);
    unsigned first = leader(&lab);
    cut_off(&lab, next_to(&lab, first, 2), false);
    agree(&lab, 2);
    crash(&lab, first);
    crash(&lab, next_to(&lab, first, 1));
    cut_off(&lab, next_to(&lab, first, 2), true);
    world_start(lab.world, first);
    agree(&lab, 2);
    world_start(lab.world, next_to(&lab, first, 1));
    agree(&lab, 3);
    lab_end(&lab);
}

/* A leader takes something up and dies, at once or when it may have told one other; never fewer than three are up. */
static void figure_8(unsigned turns, bool unreliable, uint64_t seed)
{
    struct lab lab = lab_begin(5, NEVER, seed);
    agree(&lab, 1);
    if (unreliable) {
        world_network(lab.world, 100, 0, 600, 500 * MS, 0);
    }
    for (unsigned turn = 0; turn < turns && world_failure(lab.world) == NULL; turn++) {
        unsigned first = world_leader(lab.world), up = 0;
        (void)propose(&lab);
        pass_time(&lab, dice(&lab, 10) == 0 ? dice(&lab, 500) * MS : dice(&lab, 13) * MS);
        if (first != 0 && dice(&lab, 4) != 0) {
            crash(&lab, first);
        }
        for (unsigned id = 1; id <= 5; id++) {
            up += world_node(lab.world, id) != NULL;
        }
        if (up < 3) {
            world_start(lab.world, 1 + dice(&lab, 5));
        }
    }
    world_heal(lab.world);
    for (unsigned id = 1; id <= 5; id++) {
        world_start(lab.world, id);
    }
    lab.values += 1; /* Whatever became of the last one. */
    agree(&lab, 5);
    lab_end(&lab);
}

static void test_3c_figure_8(void **state)
{
    (void)state;
    figure_8(1000, false, 4);
}

static void test_3c_figure_8_unreliable(void **state)
{
    (void)state;
    figure_8(1000, true, 5);
}

static void churn(bool unreliable, uint64_t seed)
{
    struct lab lab = lab_begin(5, NEVER, seed);
    if (unreliable) {
        world_network(lab.world, 100, 0, 500, 300 * MS, 0);
    }
    for (unsigned turn = 0; turn < 20 && world_failure(lab.world) == NULL; turn++) {
        unsigned id = 1 + dice(&lab, 5);
        if (dice(&lab, 5) == 0) {
            cut_off(&lab, id, false);
        }
        if (dice(&lab, 2) == 0) {
            world_start(lab.world, 1 + dice(&lab, 5));
            cut_off(&lab, 1 + dice(&lab, 5), true);
        }
        if (dice(&lab, 5) == 0) {
            crash(&lab, id);
        }
        for (unsigned i = 0; i < 7; i++) {
            (void)propose(&lab);
            pass_time(&lab, 100 * MS);
            lab.values = appliers(&lab, lab.values + 1) > 0 ? lab.values + 1 : lab.values;
        }
    }
    world_heal(lab.world);
    for (unsigned id = 1; id <= 5; id++) {
        world_start(lab.world, id);
    }
    agree(&lab, 5);
    lab_end(&lab);
}

static void test_3c_churn(void **state)
{
    (void)state;
    churn(false, 6);
}

static void test_3c_unreliable_churn(void **state)
{
    (void)state;
    churn(true, 7);
}

/* --- 3D: snapshots ------------------------------------------------------------------------------- */

/* What the log may hold: back to the older of two snapshots, what came since, and what is kept in front. */
static void expect_short_logs(struct lab *lab)
{
    for (unsigned id = 1; id <= lab->count; id++) {
        assert_true(world_log_entries(lab->world, id) <= 4 * SNAPSHOT_ENTRIES + 8);
    }
}

static void test_3d_snapshots_basic(void **state)
{
    (void)state;
    struct lab lab = lab_begin(3, SNAPSHOT_ENTRIES, 8);
    for (unsigned i = 0; i < 100; i++) {
        agree(&lab, 3);
        expect_short_logs(&lab);
    }
    assert_true(world_counts(lab.world)->snapshots >= 3 * 6);
    lab_end(&lab);
}

/* One node misses more than the others' logs hold, cut off or crashed; it comes back and gets a snapshot. */
static void install(bool by_crash, bool unreliable, uint64_t seed)
{
    struct lab lab = lab_begin(3, SNAPSHOT_ENTRIES, seed);
    if (unreliable) {
        world_network(lab.world, 100, 0, 100, 100 * MS, 0);
    }
    agree(&lab, 3);
    for (unsigned turn = 0; turn < 30; turn++) {
        unsigned first = leader(&lab), victim = next_to(&lab, first, 1 + turn % 2);
        if (turn % 3 == 1) {
            victim = first;
        }
        by_crash ? crash(&lab, victim) : cut_off(&lab, victim, false);
        unsigned many = SNAPSHOT_ENTRIES / 2 + dice(&lab, 6 * SNAPSHOT_ENTRIES);
        for (unsigned i = 0; i < many; i++) {
            agree(&lab, 2);
        }
        by_crash ? world_start(lab.world, victim) : cut_off(&lab, victim, true);
        agree(&lab, 3);
        expect_short_logs(&lab);
    }
    lab_end(&lab);
}

static void test_3d_install_when_cut_off(void **state)
{
    (void)state;
    install(false, false, 9);
}

static void test_3d_install_when_cut_off_unreliable(void **state)
{
    (void)state;
    install(false, true, 10);
}

static void test_3d_install_behind_a_crash(void **state)
{
    (void)state;
    install(true, false, 11);
}

static void test_3d_install_behind_a_crash_unreliable(void **state)
{
    (void)state;
    install(true, true, 12);
}

static void test_3d_all_crash_and_come_back(void **state)
{
    (void)state;
    struct lab lab = lab_begin(3, SNAPSHOT_ENTRIES, 13);
    for (unsigned turn = 0; turn < 5; turn++) {
        unsigned many = SNAPSHOT_ENTRIES / 2 + dice(&lab, SNAPSHOT_ENTRIES);
        for (unsigned i = 0; i < many; i++) {
            agree(&lab, 3);
        }
        uint64_t before = world_applied_most(lab.world);
        for (unsigned id = 1; id <= 3; id++) {
            crash(&lab, id);
        }
        for (unsigned id = 1; id <= 3; id++) {
            world_start(lab.world, id);
        }
        agree(&lab, 3);
        assert_true(world_applied_most(lab.world) > before);
    }
    lab_end(&lab);
}

/* A snapshot must do by itself: restarted from it, with nothing new applied, a node is where it was. */
static void test_3d_state_comes_from_the_snapshot(void **state)
{
    (void)state;
    struct lab lab = lab_begin(1, SNAPSHOT_ENTRIES, 14);
    for (unsigned i = 0; i < 35; i++) {
        agree(&lab, 1);
    }
    crash(&lab, 1);
    world_start(lab.world, 1);
    pass_time(&lab, 3 * SECOND);
    assert_true(world_kv(lab.world, 1)->sessions[0].sequence == lab.values);
    assert_true(world_counts(lab.world)->installs >= 1);
    lab_end(&lab);
}

/* --- stories ------------------------------------------------------------------------------------- */

static void expect_all_hold(const struct sim_story *stories, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const char *wrong = sim_story_run(&stories[i]);
        if (wrong != NULL) {
            fail_msg("%s: %s", stories[i].name, wrong);
        }
    }
}

static void test_stories(void **state)
{
    (void)state;
    expect_all_hold(sim_stories, sim_story_count);
}

static void test_stories_found(void **state)
{
    (void)state;
    expect_all_hold(sim_stories_found, sim_stories_found_count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stories),
        cmocka_unit_test(test_stories_found),
        cmocka_unit_test(test_3c_basic_persistence),
        cmocka_unit_test(test_3c_more_persistence),
        cmocka_unit_test(test_3c_partitioned_leader_and_one_follower_crash),
        cmocka_unit_test(test_3c_figure_8),
        cmocka_unit_test(test_3c_figure_8_unreliable),
        cmocka_unit_test(test_3c_churn),
        cmocka_unit_test(test_3c_unreliable_churn),
        cmocka_unit_test(test_3d_snapshots_basic),
        cmocka_unit_test(test_3d_install_when_cut_off),
        cmocka_unit_test(test_3d_install_when_cut_off_unreliable),
        cmocka_unit_test(test_3d_install_behind_a_crash),
        cmocka_unit_test(test_3d_install_behind_a_crash_unreliable),
        cmocka_unit_test(test_3d_all_crash_and_come_back),
        cmocka_unit_test(test_3d_state_comes_from_the_snapshot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
