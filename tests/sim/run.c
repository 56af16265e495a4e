/* run.c - one run of the simulated cluster.
 *
 * The happy path: nodes are made and started, clients ask, faults strike for a while; then the faults end. From there
 * on the stated times count: a leader, all nodes at the same index, every node a voter, and new operations done. At
 * last the clients' history is checked.
 *
 * What can fail is what is looked for. Invariants: a run is a function of its seed. */

#include "tests/sim/run.h"

#include "tests/sim/clients.h"
#include "tests/sim/storms.h"

#include <inttypes.h>
#include <string.h>

#define STORM_NS (15 * SECOND)
#define RECOVERY_NS (60 * SECOND) /* Wiped nodes are taken up one after another, each with a snapshot. */
#define CALM_NS (10 * SECOND)

static bool go_on_until(struct world *world, uint64_t until_ns)
{
    while (world_now(world) < until_ns) {
        if (!world_step(world)) {
            return false;
        }
    }
    return true;
}

static bool all_agree(struct world *world)
{
    unsigned leader = world_leader(world), voters = 0;
    if (leader == 0) {
        return false;
    }
    static struct raftcore_status status;
    raftcore_node_status(world_node(world, leader), &status);
    for (uint32_t i = 0; i < status.configuration.count; i++) {
        const struct raftcore_member *member = &status.configuration.members[i];
        voters += member->flags == RAFTCORE_VOTER && member->log_id == world_log_id(world, (unsigned)member->id);
    }
    bool agree = voters == world_node_count(world);
    for (unsigned id = 1; agree && id <= world_node_count(world); id++) {
        agree = world_node(world, id) != NULL && world_kv(world, id)->index == world_applied_most(world) &&
                world_kv(world, id)->index >= status.hard_state.commit;
    }
    return agree;
}

/* Why they do not agree, for the one who has to find it out. */
static void tell_states(struct world *world)
{
    for (unsigned id = 1; id <= world_node_count(world); id++) {
        static struct raftcore_status status;
        if (world_node(world, id) == NULL) {
            world_tell(world, "n%u is down", id);
            continue;
        }
        raftcore_node_status(world_node(world, id), &status);
        world_tell(world,
                   "n%u: %s, term %" PRIu64 " (limit %" PRIu64 ", in force %" PRIu64 "), log [%" PRIu64 ", %" PRIu64
                   "], durable %" PRIu64 ", commit %" PRIu64 ", applied %" PRIu64 ", kv %" PRIu64 ", floor (%" PRIu64
                   ", %" PRIu64 "), holes %u (%" PRIu64 "), members %u",
                   id, raftcore_role_text(status.role), status.hard_state.term, status.hard_state.term_limit,
                   status.term_limit_in_force, status.first_index, status.last_index, status.durable_index,
                   status.hard_state.commit, status.applied, world_kv(world, id)->index, status.hard_state.floor_term,
                   status.hard_state.floor_index, status.hole_count, status.hole_count > 0 ? status.holes[0].first : 0,
                   status.configuration.count);
        for (uint32_t i = 0; i < status.configuration.count; i++) {
            world_tell(world, "    member %" PRIu64 " of log %" PRIu64 " flags %u", status.configuration.members[i].id,
                       status.configuration.members[i].log_id, status.configuration.members[i].flags);
        }
        for (uint32_t i = 0; i < status.peer_count; i++) {
            const struct raftcore_peer_status *peer = &status.peers[i];
            world_tell(world,
                       "    peer %" PRIu64 " match %" PRIu64 " next %" PRIu64 " state %u paused %d snapshot %" PRIu64
                       " at %" PRIu64,
                       peer->id, peer->match, peer->next, peer->state, peer->paused, peer->snapshot_index,
                       peer->snapshot_offset);
        }
    }
}

static void recover(struct world *world, struct clients *clients)
{
    uint64_t until_ns = world_now(world) + RECOVERY_NS;
    clients_stop(clients);
    while (world_now(world) < until_ns && !(clients_are_idle(clients) && all_agree(world))) {
        if (!world_step(world)) {
            return;
        }
    }
    if (!all_agree(world)) {
        tell_states(world);
        world_fail(world, "%d s behind the end of all faults there is no leader whom all nodes have followed",
                   (int)(RECOVERY_NS / SECOND));
        return;
    }
    clients_go_on(clients);
    uint64_t done = clients_done(clients);
    if (go_on_until(world, world_now(world) + CALM_NS) && clients_done(clients) < done + 20) {
        tell_states(world);
        world_fail(world, "behind the end of all faults only %" PRIu64 " operations were done in %d s",
                   clients_done(clients) - done, (int)(CALM_NS / SECOND));
    }
    clients_stop(clients);
    uint64_t end_ns = world_now(world) + CALM_NS;
    while (world_now(world) < end_ns && !(clients_are_idle(clients) && all_agree(world))) {
        if (!world_step(world)) {
            return;
        }
    }
    if (!all_agree(world)) {
        tell_states(world);
        world_fail(world, "at the end the nodes do not agree");
    }
}

void run_seed(uint64_t seed, FILE *trace, struct run_result *result)
{
    memset(result, 0, sizeof(*result));
    uint64_t dice = kv_mix(seed);
    const struct world_options options = {.seed = seed,
                                          .voters = dice % 4 == 0 ? 5 : 3,
                                          .snapshot_bytes = dice % 3 == 0 ? 6000 : 30000,
                                          .lease_reads = (dice >> 24) % 6 == 0,
                                          .trace = trace};
    struct world *world = world_new(&options);
    struct storms *storms = storms_new(world);
    struct clients *clients = clients_new(world, 3 + (unsigned)(dice >> 8) % 4, (20 + (dice >> 16) % 100) * MS);
    result->weather = storms_name(storms);
    world_tell(world, "seed %" PRIu64 ": %u nodes, weather: %s%s", seed, options.voters, result->weather,
               options.lease_reads ? "; reads by lease, clocks do not jump" : "");
    for (unsigned id = 1; id <= options.voters; id++) {
        world_start(world, id);
    }
    if (go_on_until(world, world_now(world) + STORM_NS)) {
        storms_end(storms);
        recover(world, clients);
    }
    if (world_failure(world) == NULL) {
        const char *wrong = clients_check(clients, &result->gave_up);
        if (wrong != NULL && !result->gave_up) {
            world_fail(world, "what the clients were told has no order: %s", wrong);
        }
    }
    if (world_failure(world) != NULL) {
        (void)snprintf(result->failure, sizeof(result->failure), "%s", world_failure(world));
    }
    result->counts = *world_counts(world);
    result->operations = clients_operations(clients);
    result->done = clients_done(clients);
    storms_free(storms);
    world_free(world);
    clients_free(clients);
}

/* --- sums ---------------------------------------------------------------------------------------- */

static void add_counts(struct world_counts *sum, const struct world_counts *more)
{
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)more;
    for (size_t i = 0; i < sizeof(*sum) / sizeof(*to); i++) {
        to[i] += from[i];
    }
}

void run_add(struct run_sums *sums, const struct run_result *result)
{
    add_counts(&sums->counts, &result->counts);
    sums->runs++;
    sums->failed += result->failure[0] != 0;
    sums->operations += result->operations;
    sums->done += result->done;
    sums->gave_up += result->gave_up;
}

void run_join(struct run_sums *sums, const struct run_sums *more)
{
    add_counts(&sums->counts, &more->counts);
    sums->runs += more->runs;
    sums->failed += more->failed;
    sums->operations += more->operations;
    sums->done += more->done;
    sums->gave_up += more->gave_up;
}

void run_text(const struct run_sums *sums, char *text, size_t size)
{
    const struct world_counts *counts = &sums->counts;
    (void)snprintf(
        text, size,
        "%" PRIu64 " failed; %" PRIu64 " steps, %" PRIu64 " entries, %" PRIu64 " operations (%" PRIu64
        " histories too hard to check), %" PRIu64 " power cuts, %" PRIu64 " kills, %" PRIu64 " failed nodes, %" PRIu64
        " sectors damaged (%" PRIu64 " logs rebuilt, %" PRIu64 " holes, %" PRIu64 " uncertain ends, %" PRIu64
        " refused), %" PRIu64 " nodes wiped, %" PRIu64 " members changed, %" PRIu64 " snapshots taken, %" PRIu64
        " restored; uncertain behind a power cut alone: %" PRIu64 " of %" PRIu64,
        sums->failed, counts->steps, counts->committed, sums->operations, sums->gave_up, counts->cuts, counts->kills,
        counts->failures, counts->damages, counts->rebuilt, counts->holes, counts->uncertain, counts->refused,
        counts->wipes, counts->changes, counts->snapshots, counts->installs, counts->uncertain_of_cuts, counts->cuts);
}
