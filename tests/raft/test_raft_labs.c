/* test_raft_labs.c - the scenarios of the MIT distributed systems course's Raft labs, in virtual time, with their
 * bounds.
 *
 * The labs measure wall time with an election timeout of a second; here a second is virtual. Their indexes count
 * commands only; a leader's first entry of its own takes one more, so commands are told by their values. A restart is a
 * crash that keeps what was durable. Bounds on time, requests and bytes are the labs'. */

#include "tests/raft/cluster.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define SECOND (1000 * MS)

enum { NODES_MOST = 7 };

struct lab {
    struct cluster *cluster;
    unsigned nodes;
    bool connected[NODES_MOST + 1];
    uint64_t value;
};

static void held(const struct lab *lab)
{
    if (cluster_failure(lab->cluster) != NULL) {
        fail_msg("%s", cluster_failure(lab->cluster));
    }
}

static void run(struct lab *lab, uint64_t ns)
{
    cluster_run(lab->cluster, ns);
    held(lab);
}

static struct lab begin(unsigned nodes, bool unreliable)
{
    struct cluster_options options = {.seed = 3, .voters = nodes};
    options.core.check_everything = true;
    if (unreliable) {
        options.drop = 100;
        options.delay = 1000;
        options.delay_ns = 26 * MS;
    }
    struct lab lab = {.cluster = cluster_new(&options), .nodes = nodes};
    for (unsigned id = 1; id <= nodes; id++) {
        lab.connected[id] = true;
    }
    return lab;
}

static void end(struct lab *lab)
{
    held(lab);
    cluster_free(lab->cluster);
}

static void connect(struct lab *lab, unsigned id, bool connected)
{
    lab->connected[id] = connected;
    for (unsigned other = 1; other <= lab->nodes; other++) {
        bool works = connected && lab->connected[other];
        cluster_link(lab->cluster, id, other, works);
        cluster_link(lab->cluster, other, id, works);
    }
}

/* The connected leader of the highest term; 0: none. */
static unsigned leader_now(struct lab *lab)
{
    unsigned leader = 0;
    uint64_t highest = 0;
    for (unsigned id = 1; id <= lab->nodes; id++) {
        struct raftcore_status status;
        if (!lab->connected[id] || !cluster_is_up(lab->cluster, id)) {
            continue;
        }
        raftcore_status(cluster_core(lab->cluster, id), &status);
        if (status.role == RAFTCORE_LEADER && status.hard_state.term > highest) {
            highest = status.hard_state.term;
            leader = id;
        }
    }
    return leader;
}

static unsigned check_one_leader(struct lab *lab)
{
    for (unsigned turn = 0; turn < 10; turn++) {
        run(lab, (450 + cluster_random(lab->cluster, 100)) * MS);
        if (leader_now(lab) != 0) {
            return leader_now(lab);
        }
    }
    fail_msg("no leader");
    return 0;
}

static void check_no_leader(struct lab *lab)
{
    assert_int_equal(leader_now(lab), 0);
}

static uint64_t term_of(struct lab *lab, unsigned id)
{
    struct raftcore_status status;
    raftcore_status(cluster_core(lab->cluster, id), &status);
    return status.hard_state.term;
}

/* The value that a leader took; 0: nobody leads. */
static uint64_t start(struct lab *lab, uint32_t size)
{
    unsigned leader = leader_now(lab);
    uint64_t value = ++lab->value;
    return leader != 0 && cluster_propose(lab->cluster, leader, value, size) != 0 ? value : 0;
}

/* Agreement within ten seconds on at least so many nodes; without retry within two, at the first try. */
static void one_of_size(struct lab *lab, unsigned expected, bool retry, uint32_t size)
{
    uint64_t until = cluster_now(lab->cluster) + 10 * SECOND;
    while (cluster_now(lab->cluster) < until) {
        uint64_t value = start(lab, size);
        uint64_t tried_until = cluster_now(lab->cluster) + 2 * SECOND;
        while (value != 0 && cluster_now(lab->cluster) < tried_until) {
            run(lab, 20 * MS);
            if (cluster_applied(lab->cluster, value, NULL) >= expected) {
                return;
            }
        }
        if (value != 0 && !retry) {
            fail_msg("no agreement at the first try");
        }
        if (value == 0) {
            run(lab, 50 * MS);
        }
    }
    fail_msg("no agreement");
}

static void one(struct lab *lab, unsigned expected, bool retry)
{
    one_of_size(lab, expected, retry, 8);
}

static void assert_nowhere(struct lab *lab, uint64_t value)
{
    assert_int_equal(cluster_applied(lab->cluster, value, NULL), 0);
}

/* --- 3A ------------------------------------------------------------------------------------------ */

static void test_3a_initial_election(void **state)
{
    (void)state;
    struct lab lab = begin(3, false);
    unsigned leader = check_one_leader(&lab);
    run(&lab, 50 * MS);
    uint64_t term = term_of(&lab, 1);
    assert_true(term >= 1 && term == term_of(&lab, 2) && term == term_of(&lab, 3));
    run(&lab, 2 * SECOND);
    assert_int_equal(check_one_leader(&lab), leader);
    assert_int_equal(term_of(&lab, 1), term);
    end(&lab);
}

static void test_3a_re_election(void **state)
{
    (void)state;
    struct lab lab = begin(3, false);
    unsigned first = check_one_leader(&lab);
    connect(&lab, first, false);
    (void)check_one_leader(&lab);
    connect(&lab, first, true);
    unsigned second = check_one_leader(&lab);
    connect(&lab, second, false);
    connect(&lab, second % 3 + 1, false);
    run(&lab, 2 * SECOND);
    check_no_leader(&lab);
    connect(&lab, second % 3 + 1, true);
    (void)check_one_leader(&lab);
    connect(&lab, second, true);
    (void)check_one_leader(&lab);
    end(&lab);
}

static void test_3a_many_elections(void **state)
{
    (void)state;
    struct lab lab = begin(7, false);
    (void)check_one_leader(&lab);
    for (unsigned round = 1; round < 10; round++) {
        unsigned gone[3];
        for (unsigned i = 0; i < 3; i++) {
            gone[i] = 1 + (unsigned)cluster_random(lab.cluster, 7);
            connect(&lab, gone[i], false);
        }
        (void)check_one_leader(&lab);
        for (unsigned i = 0; i < 3; i++) {
            connect(&lab, gone[i], true);
        }
    }
    (void)check_one_leader(&lab);
    end(&lab);
}

/* --- 3B ------------------------------------------------------------------------------------------ */

static void test_3b_basic_agree(void **state)
{
    (void)state;
    struct lab lab = begin(3, false);
    (void)check_one_leader(&lab);
    for (unsigned i = 0; i < 3; i++) {
        assert_nowhere(&lab, lab.value + 1);
        one(&lab, 3, false);
    }
    end(&lab);
}

static void test_3b_rpc_bytes(void **state)
{
    (void)state;
    struct lab lab = begin(3, false);
    (void)check_one_leader(&lab);
    one(&lab, 3, false);
    uint64_t before = cluster_bytes(lab.cluster);
    for (unsigned i = 0; i < 10; i++) {
        one_of_size(&lab, 3, false, 5000);
    }
    assert_in_range(cluster_bytes(lab.cluster) - before, 0, 3 * 50000 + 50000);
    end(&lab);
}

static void test_3b_follower_failure(void **state)
{
    (void)state;
    struct lab lab = begin(3, false);
    (void)check_one_leader(&lab);
    one(&lab, 3, false);
    unsigned leader = check_one_leader(&lab);
    connect(&lab, leader % 3 + 1, false);
    one(&lab, 2, false);
    run(&lab, SECOND);
    one(&lab, 2, false);
    leader = check_one_leader(&lab);
    connect(&lab, leader % 3 + 1, false);
    connect(&lab, (leader + 1) % 3 + 1, false);
    uint64_t value = start(&lab, 8);
    run(&lab, 2 * SECOND);
    assert_nowhere(&lab, value);
    end(&lab);
}

static void test_3b_leader_failure(void **state)
{
    (void)state;
    struct lab lab = begin(3, false);
    (void)check_one_leader(&lab);
    one(&lab, 3, false);
    connect(&lab, check_one_leader(&lab), false);
    one(&lab, 2, true);
    run(&lab, SECOND);
    one(&lab, 2, true);
    connect(&lab, check_one_leader(&lab), false);
    uint64_t value = ++lab.value;
    for (unsigned id = 1; id <= 3; id++) {
        (void)cluster_propose(lab.cluster, id, value, 8);
    }
    run(&lab, 2 * SECOND);
    assert_nowhere(&lab, value);
    end(&lab);
}

static void test_3b_fail_agree(void **state)
{
    (void)state;
    struct lab lab = begin(3, false);
    (void)check_one_leader(&lab);
    one(&lab, 3, false);
    unsigned leader = check_one_leader(&lab);
    connect(&lab, leader % 3 + 1, false);
    one(&lab, 2, false);
    one(&lab, 2, false);
    run(&lab, SECOND);
    one(&lab, 2, false);
    one(&lab, 2, false);
    connect(&lab, leader % 3 + 1, true);
    one(&lab, 3, true);
    run(&lab, SECOND);
    one(&lab, 3, true);
    end(&lab);
}

static void test_3b_fail_no_agree(void **state)
{
    (void)state;
    struct lab lab = begin(5, false);
    (void)check_one_leader(&lab);
    one(&lab, 5, false);
    unsigned leader = check_one_leader(&lab);
    for (unsigned i = 0; i < 3; i++) {
        connect(&lab, (leader + i) % 5 + 1, false);
    }
    uint64_t value = start(&lab, 8);
    assert_int_not_equal(value, 0);
    run(&lab, 2 * SECOND);
    assert_nowhere(&lab, value);
    for (unsigned i = 0; i < 3; i++) {
        connect(&lab, (leader + i) % 5 + 1, true);
    }
    (void)check_one_leader(&lab);
    assert_int_not_equal(start(&lab, 8), 0);
    one(&lab, 5, true);
    end(&lab);
}

static void test_3b_concurrent_starts(void **state)
{
    (void)state;
    struct lab lab = begin(3, false);
    unsigned leader = check_one_leader(&lab);
    uint64_t first = lab.value + 1, term = term_of(&lab, leader);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_not_equal(start(&lab, 8), 0);
    }
    run(&lab, 3 * SECOND);
    assert_int_equal(term_of(&lab, leader), term);
    for (uint64_t value = first; value <= lab.value; value++) {
        assert_int_equal(cluster_applied(lab.cluster, value, NULL), 3);
    }
    end(&lab);
}

static void test_3b_rejoin(void **state)
{
    (void)state;
    struct lab lab = begin(3, false);
    (void)check_one_leader(&lab);
    one(&lab, 3, true);
    unsigned first = check_one_leader(&lab);
    connect(&lab, first, false);
    for (unsigned i = 0; i < 3; i++) {
        (void)cluster_propose(lab.cluster, first, ++lab.value, 8);
    }
    one(&lab, 2, true);
    unsigned second = check_one_leader(&lab);
    connect(&lab, second, false);
    connect(&lab, first, true);
    one(&lab, 2, true);
    connect(&lab, second, true);
    one(&lab, 3, true);
    end(&lab);
}

static void test_3b_backup(void **state)
{
    (void)state;
    struct lab lab = begin(5, false);
    (void)check_one_leader(&lab);
    one(&lab, 5, true);
    unsigned first = check_one_leader(&lab);
    for (unsigned i = 1; i <= 3; i++) { /* The leader and one other. */
        connect(&lab, (first + i) % 5 + 1, false);
    }
    for (unsigned i = 0; i < 50; i++) {
        (void)start(&lab, 8);
    }
    run(&lab, SECOND / 2);
    connect(&lab, first, false);
    connect(&lab, first % 5 + 1, false);
    for (unsigned i = 1; i <= 3; i++) {
        connect(&lab, (first + i) % 5 + 1, true);
    }
    for (unsigned i = 0; i < 50; i++) {
        one(&lab, 3, true);
    }
    unsigned second = check_one_leader(&lab);
    unsigned other = first % 5 + 1 == second ? (first + 1) % 5 + 1 : (first + 1) % 5 + 1;
    if (other == second) {
        other = (first + 2) % 5 + 1;
    }
    connect(&lab, other, false);
    for (unsigned i = 0; i < 50; i++) {
        (void)start(&lab, 8);
    }
    run(&lab, SECOND / 2);
    for (unsigned id = 1; id <= 5; id++) {
        connect(&lab, id, false);
    }
    connect(&lab, first, true);
    connect(&lab, first % 5 + 1, true);
    connect(&lab, other, true);
    for (unsigned i = 0; i < 50; i++) {
        one(&lab, 3, true);
    }
    for (unsigned id = 1; id <= 5; id++) {
        connect(&lab, id, true);
    }
    one(&lab, 5, true);
    end(&lab);
}

static void test_3b_count(void **state)
{
    (void)state;
    struct lab lab = begin(3, false);
    (void)check_one_leader(&lab);
    assert_in_range(cluster_messages(lab.cluster), 1, 30);
    for (unsigned tries = 0; tries < 5; tries++) {
        uint64_t before = cluster_messages(lab.cluster);
        (void)start(&lab, 8);
        for (unsigned i = 0; i < 11; i++) {
            (void)start(&lab, 8);
        }
        uint64_t last = lab.value;
        while (cluster_applied(lab.cluster, last, NULL) < 3) {
            run(&lab, MS);
        }
        assert_in_range(cluster_messages(lab.cluster) - before, 1, (10 + 1 + 3) * 3);
    }
    uint64_t before = cluster_messages(lab.cluster);
    run(&lab, SECOND);
    assert_in_range(cluster_messages(lab.cluster) - before, 1, 3 * 20);
    end(&lab);
}

/* --- 3C ------------------------------------------------------------------------------------------ */

static void restart(struct lab *lab, unsigned id)
{
    cluster_crash(lab->cluster, id);
    cluster_restart(lab->cluster, id);
}

static void test_3c_persist_1(void **state)
{
    (void)state;
    struct lab lab = begin(3, false);
    (void)check_one_leader(&lab);
    one(&lab, 3, true);
    for (unsigned id = 1; id <= 3; id++) {
        restart(&lab, id);
    }
    one(&lab, 3, true);
    restart(&lab, check_one_leader(&lab));
    one(&lab, 3, true);
    unsigned leader = check_one_leader(&lab);
    cluster_crash(lab.cluster, leader);
    one(&lab, 2, true);
    cluster_restart(lab.cluster, leader);
    one(&lab, 3, true);
    unsigned follower = check_one_leader(&lab) % 3 + 1;
    cluster_crash(lab.cluster, follower);
    one(&lab, 2, true);
    cluster_restart(lab.cluster, follower);
    one(&lab, 3, true);
    end(&lab);
}

static void test_3c_persist_2(void **state)
{
    (void)state;
    struct lab lab = begin(5, false);
    (void)check_one_leader(&lab);
    for (unsigned round = 0; round < 5; round++) {
        one(&lab, 5, true);
        unsigned leader = check_one_leader(&lab);
        unsigned ids[5];
        for (unsigned i = 0; i < 5; i++) {
            ids[i] = (leader - 1 + i) % 5 + 1;
        }
        cluster_crash(lab.cluster, ids[1]);
        cluster_crash(lab.cluster, ids[2]);
        one(&lab, 3, true);
        cluster_crash(lab.cluster, ids[0]);
        cluster_crash(lab.cluster, ids[3]);
        cluster_crash(lab.cluster, ids[4]);
        cluster_restart(lab.cluster, ids[1]);
        cluster_restart(lab.cluster, ids[2]);
        run(&lab, SECOND);
        cluster_restart(lab.cluster, ids[3]);
        one(&lab, 3, true);
        cluster_restart(lab.cluster, ids[4]);
        cluster_restart(lab.cluster, ids[0]);
    }
    one(&lab, 5, true);
    end(&lab);
}

static void test_3c_persist_3(void **state)
{
    (void)state;
    struct lab lab = begin(3, false);
    (void)check_one_leader(&lab);
    one(&lab, 3, true);
    unsigned leader = check_one_leader(&lab);
    unsigned second = leader % 3 + 1, third = (leader + 1) % 3 + 1;
    connect(&lab, third, false);
    one(&lab, 2, true);
    cluster_crash(lab.cluster, leader);
    cluster_crash(lab.cluster, second);
    connect(&lab, third, true);
    cluster_restart(lab.cluster, leader);
    one(&lab, 2, true);
    cluster_restart(lab.cluster, second);
    one(&lab, 3, true);
    end(&lab);
}

static void figure_8(bool unreliable)
{
    struct lab lab = begin(5, unreliable);
    one(&lab, 1, true);
    unsigned up = 5;
    for (unsigned round = 0; round < 1000; round++) {
        if (unreliable && round == 200) { /* Answers come in any order from now on. */
            cluster_delay_answers(lab.cluster, 667);
        }
        unsigned leader = 0;
        for (unsigned id = 1; id <= 5; id++) {
            if (cluster_is_up(lab.cluster, id) && cluster_propose(lab.cluster, id, ++lab.value, 8) != 0 &&
                lab.connected[id]) {
                leader = id;
            }
        }
        bool long_wait = cluster_random(lab.cluster, 10) == 0;
        run(&lab, cluster_random(lab.cluster, long_wait ? 500 : 13) * MS);
        bool loses = leader != 0 && (!unreliable || cluster_random(lab.cluster, 2) == 0);
        if (loses && unreliable) {
            connect(&lab, leader, false);
            up--;
        } else if (loses) {
            cluster_crash(lab.cluster, leader);
            up--;
        }
        unsigned id = 1 + (unsigned)cluster_random(lab.cluster, 5);
        if (up < 3 && unreliable && !lab.connected[id]) {
            connect(&lab, id, true);
            up++;
        } else if (up < 3 && !unreliable && !cluster_is_up(lab.cluster, id)) {
            cluster_restart(lab.cluster, id);
            up++;
        }
    }
    for (unsigned id = 1; id <= 5; id++) {
        connect(&lab, id, true);
        cluster_restart(lab.cluster, id);
    }
    one(&lab, 5, true);
    end(&lab);
}

static void test_3c_figure_8(void **state)
{
    (void)state;
    figure_8(false);
}

static void test_3c_figure_8_unreliable(void **state)
{
    (void)state;
    figure_8(true);
}

static void test_3c_unreliable_agree(void **state)
{
    (void)state;
    struct lab lab = begin(5, true);
    for (unsigned round = 1; round < 50; round++) {
        for (unsigned i = 0; i < 4; i++) {
            (void)start(&lab, 8);
        }
        one(&lab, 1, true);
    }
    cluster_set_faults(lab.cluster, 0, 0, 0, 0);
    one(&lab, 5, true);
    end(&lab);
}

static void churn(bool unreliable)
{
    struct lab lab = begin(5, unreliable);
    uint64_t seen[400];
    unsigned seen_count = 0;
    for (unsigned round = 0; round < 20; round++) {
        unsigned id = 1 + (unsigned)cluster_random(lab.cluster, 5);
        if (cluster_random(lab.cluster, 5) == 0) {
            connect(&lab, id, false);
        }
        id = 1 + (unsigned)cluster_random(lab.cluster, 5);
        if (cluster_random(lab.cluster, 2) == 0) {
            cluster_restart(lab.cluster, id);
            connect(&lab, id, true);
        }
        id = 1 + (unsigned)cluster_random(lab.cluster, 5);
        if (cluster_random(lab.cluster, 5) == 0) {
            cluster_crash(lab.cluster, id);
        }
        for (unsigned client = 0; client < 3; client++) {
            uint64_t value = start(&lab, 8);
            run(&lab, 700 * MS / 3);
            if (value != 0 && cluster_applied(lab.cluster, value, NULL) > 0 && seen_count < 400) {
                seen[seen_count++] = value;
            }
        }
    }
    cluster_set_faults(lab.cluster, 0, 0, 0, 0);
    for (unsigned id = 1; id <= 5; id++) {
        cluster_restart(lab.cluster, id);
        connect(&lab, id, true);
    }
    one(&lab, 5, true);
    run(&lab, SECOND);
    for (unsigned i = 0; i < seen_count; i++) {
        assert_int_equal(cluster_applied(lab.cluster, seen[i], NULL), 5);
    }
    assert_true(seen_count > 0);
    end(&lab);
}

static void test_3c_reliable_churn(void **state)
{
    (void)state;
    churn(false);
}

static void test_3c_unreliable_churn(void **state)
{
    (void)state;
    churn(true);
}

/* --- 3D ------------------------------------------------------------------------------------------ */

static void snapshots(bool disconnects, bool reliable, bool crashes)
{
    struct lab lab = begin(3, !reliable);
    cluster_set_snapshots(lab.cluster, 10, 0);
    one(&lab, 3, true);
    unsigned leader = check_one_leader(&lab);
    for (unsigned round = 0; round < 30; round++) {
        unsigned victim = leader % 3 + 1;
        victim = round % 3 == 1 ? leader : victim;
        if (disconnects) {
            connect(&lab, victim, false);
            one(&lab, 2, true);
        }
        if (crashes) {
            cluster_crash(lab.cluster, victim);
            one(&lab, 2, true);
        }
        uint64_t commands = 5 + cluster_random(lab.cluster, 10);
        for (uint64_t i = 0; i < commands; i++) {
            (void)start(&lab, 8);
        }
        one(&lab, disconnects || crashes ? 2 : 3, true);
        for (unsigned id = 1; id <= 3; id++) {
            if (cluster_is_up(lab.cluster, id) && lab.connected[id]) {
                assert_in_range(cluster_log_bytes(lab.cluster, id), 0, 2000);
            }
        }
        if (disconnects) {
            connect(&lab, victim, true);
            one(&lab, 3, true);
            leader = check_one_leader(&lab);
        }
        if (crashes) {
            cluster_restart(lab.cluster, victim);
            one(&lab, 3, true);
            leader = check_one_leader(&lab);
        }
    }
    end(&lab);
}

static void test_3d_snapshot_basic(void **state)
{
    (void)state;
    snapshots(false, true, false);
}

static void test_3d_snapshot_install(void **state)
{
    (void)state;
    snapshots(true, true, false);
}

static void test_3d_snapshot_install_unreliable(void **state)
{
    (void)state;
    snapshots(true, false, false);
}

static void test_3d_snapshot_install_crash(void **state)
{
    (void)state;
    snapshots(false, true, true);
}

static void test_3d_snapshot_install_unreliable_crash(void **state)
{
    (void)state;
    snapshots(false, false, true);
}

static void test_3d_all_crash(void **state)
{
    (void)state;
    struct lab lab = begin(3, true);
    cluster_set_snapshots(lab.cluster, 10, 0);
    one(&lab, 3, true);
    for (unsigned round = 0; round < 5; round++) {
        uint64_t commands = 5 + cluster_random(lab.cluster, 10);
        for (uint64_t i = 0; i < commands; i++) {
            (void)start(&lab, 8);
        }
        uint64_t before = cluster_committed(lab.cluster);
        one(&lab, 3, true);
        for (unsigned id = 1; id <= 3; id++) {
            cluster_crash(lab.cluster, id);
        }
        for (unsigned id = 1; id <= 3; id++) {
            cluster_restart(lab.cluster, id);
        }
        one(&lab, 3, true);
        assert_true(cluster_committed(lab.cluster) >= before + 1);
    }
    end(&lab);
}

static void test_3d_init(void **state)
{
    (void)state;
    struct lab lab = begin(3, true);
    cluster_set_snapshots(lab.cluster, 10, 0);
    for (unsigned i = 0; i < 12; i++) {
        one(&lab, 3, true);
    }
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned id = 1; id <= 3; id++) {
            restart(&lab, id);
        }
        one(&lab, 3, true);
    }
    end(&lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_3a_initial_election),
        cmocka_unit_test(test_3a_re_election),
        cmocka_unit_test(test_3a_many_elections),
        cmocka_unit_test(test_3b_basic_agree),
        cmocka_unit_test(test_3b_rpc_bytes),
        cmocka_unit_test(test_3b_follower_failure),
        cmocka_unit_test(test_3b_leader_failure),
        cmocka_unit_test(test_3b_fail_agree),
        cmocka_unit_test(test_3b_fail_no_agree),
        cmocka_unit_test(test_3b_concurrent_starts),
        cmocka_unit_test(test_3b_rejoin),
        cmocka_unit_test(test_3b_backup),
        cmocka_unit_test(test_3b_count),
        cmocka_unit_test(test_3c_persist_1),
        cmocka_unit_test(test_3c_persist_2),
        cmocka_unit_test(test_3c_persist_3),
        cmocka_unit_test(test_3c_figure_8),
        cmocka_unit_test(test_3c_unreliable_agree),
        cmocka_unit_test(test_3c_figure_8_unreliable),
        cmocka_unit_test(test_3c_reliable_churn),
        cmocka_unit_test(test_3c_unreliable_churn),
        cmocka_unit_test(test_3d_snapshot_basic),
        cmocka_unit_test(test_3d_snapshot_install),
        cmocka_unit_test(test_3d_snapshot_install_unreliable),
        cmocka_unit_test(test_3d_snapshot_install_crash),
        cmocka_unit_test(test_3d_snapshot_install_unreliable_crash),
        cmocka_unit_test(test_3d_all_crash),
        cmocka_unit_test(test_3d_init),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
