/* stories_found.c - what a review found that takes whole nodes to break, each told as it broke then.
 *
 * The happy path: a leader commits, one node loses a part of what it holds, be it an entry or its snapshot, and the
 * others are cut off or dead, so that what this node says of itself decides. The first part is about what damage leaves
 * and who may lead with it, the second about snapshots that come in or are taken, the third about promises.
 *
 * What can fail: what the world notices (another state at the same index, a node that breaks its own rules or is
 * refused), a story's own question, or that all come together at the end. A story whose moment does not come about has
 * failed as well: it would hold without asking anything. Invariants: a story is deterministic; it broke with all of its
 * seeds, or with some of its operations. */

#include "tests/sim/stories.h"

#include "tests/sim/story_parts.h"

#include <errno.h>
#include <inttypes.h>

/* Values are found in a log's bytes again: they must look like nothing else there. */
#define VALUE_BASE 0x73746f7279000000ULL

enum { NO_SNAPSHOTS = 1 << 30, LONG_BYTES = 3000, BURST = 20, TURNS = 8 };

/* Who plays what, of three nodes. */
struct cast {
    struct world *world;
    unsigned leader, other, third;
    uint64_t values; /* Proposed so far. */
};

static struct cast begin(const struct world_options *options)
{
    struct cast cast = {.world = story_begin(options)};
    (void)story_wait_for_leader(cast.world, 0, 25 * MS);
    story_pass(cast.world, SECOND); /* The first may have given way to another. */
    cast.leader = story_wait_for_leader(cast.world, 0, 25 * MS);
    cast.other = 1 + cast.leader % options->voters;
    cast.third = 1 + cast.other % options->voters;
    return cast;
}

static struct cast begin_three(uint64_t seed)
{
    return begin(&(struct world_options){.seed = seed, .voters = 3, .snapshot_bytes = NO_SNAPSHOTS});
}

static const char *end(struct cast *cast)
{
    story_come_together(cast->world, VALUE_BASE + cast->values + 1);
    return story_end(cast->world);
}

/* Proposes to this node, one value after another. The first one's; the others follow on it. */
static uint64_t propose(struct cast *cast, unsigned id, unsigned count, uint32_t more_bytes, uint64_t pause_ns)
{
    uint64_t first = VALUE_BASE + cast->values + 1;
    for (unsigned i = 0; i < count; i++) {
        story_propose(cast->world, id, VALUE_BASE + ++cast->values, more_bytes);
        story_pass(cast->world, pause_ns);
    }
    return first;
}

static void expect_to_come_about(struct cast *cast, bool came, const char *what)
{
    if (!came) {
        world_fail(cast->world, "the story does not come about: %s", what);
    }
}

/* Until its snapshot is this one, for 2 s. */
static bool wait_for_snapshot(struct world *world, unsigned id, uint64_t index)
{
    for (unsigned i = 0; i < 20000 && world_failure(world) == NULL; i++) {
        if (story_status(world, id)->snapshot.index == index) {
            return true;
        }
        story_pass(world, MS / 10);
    }
    return false;
}

/* --- what damage leaves -------------------------------------------------------------------------- */

/* The leader and `other` alone commit bursts, until a snapshot of `other` ends within one, and the commit index in its
 * log is still below that. The value at the snapshot's index; 0: there was no such burst. */
static uint64_t end_a_snapshot_within_a_burst(struct cast *cast)
{
    struct world *world = cast->world;
    for (unsigned burst = 0; burst < 60 && world_failure(world) == NULL; burst++) {
        uint64_t first = story_status(world, cast->leader)->last_index + 1;
        story_isolate(world, cast->third, burst >= 3);
        uint64_t value = propose(cast, cast->leader, BURST, 0, 2 * MS);
        story_pass(world, 200 * MS);
        uint64_t last = story_status(world, cast->other)->last_index;
        uint64_t taken = story_status(world, cast->other)->snapshot.index;
        if (burst >= 3 && taken > first && taken < first + BURST - 8 && taken + 4 < last &&
            world_kept_commit(world, cast->other) < taken) {
            return value + (taken - first);
        }
    }
    return 0;
}

/* A snapshot of one's own ends at an entry that does not read any more; what lies behind that was acknowledged, and is
 * to be kept or to leave a floor: the one who lacks it must not lead. */
static const char *try_a_hole_at_the_snapshot(uint64_t seed, bool *came)
{
    struct cast cast = begin(&(struct world_options){.seed = seed, .voters = 3, .snapshot_bytes = 832});
    struct world *world = cast.world;
    uint64_t value = end_a_snapshot_within_a_burst(&cast), rebuilt = world_counts(world)->rebuilt;
    world_crash(world, cast.leader, false, 0);
    world_crash(world, cast.other, false, 0);
    bool rots = value != 0 && world_rot_entry(world, cast.other, value, 0);
    world_start(world, cast.other);
    *came = rots && world_counts(world)->rebuilt == rebuilt + 1; /* Else it was in the last batch of the log. */
    story_isolate(world, cast.third, false);
    (void)story_wait_for_leader(world, 0, 25 * MS);
    (void)propose(&cast, world_leader(world), 5, 0, 50 * MS);
    story_pass(world, 2 * SECOND);
    return end(&cast);
}

/* Where a snapshot ends is chance: with one seed or the next it ends where it should. */
static const char *a_hole_at_the_snapshot(uint64_t number)
{
    const char *wrong = NULL;
    bool came = false;
    for (unsigned turn = 0; turn < TURNS && wrong == NULL && !came; turn++) {
        wrong = try_a_hole_at_the_snapshot(number * TURNS + turn, &came);
    }
    return wrong == NULL && !came ? "the story does not come about: a hole at a snapshot's index" : wrong;
}

/* Of five nodes two are behind, one is dead, and one starts with a hole that begins in front of the first entry of the
 * leader's term, so that nobody knows what term is in it. The leader's snapshot ends in that hole, or at its end, and
 * comes before anybody has filled it; then the leader dies. What this node holds behind the hole was acknowledged. */
static const char *a_snapshot_ends_in_a_hole(uint64_t seed, unsigned rotten)
{
    enum { BEHIND = 1, BEHIND_TOO, DEAD, LEADER, HOLED };
    struct cast cast = begin(&(struct world_options){.seed = seed, .voters = 5, .snapshot_bytes = NO_SNAPSHOTS});
    struct world *world = cast.world;
    (void)propose(&cast, cast.leader, 20, 0, 20 * MS);
    story_pass(world, 300 * MS);
    bool handed = (cast.leader != LEADER || story_hand_over(world, DEAD)) && story_hand_over(world, LEADER);
    expect_to_come_about(&cast, handed, "the leader of a second term");
    uint64_t first = propose(&cast, LEADER, 10, 0, 50 * MS);
    story_pass(world, 300 * MS);
    uint64_t taken = story_status(world, LEADER)->last_index;
    expect_to_come_about(&cast, story_take_snapshot(world, LEADER), "the leader's snapshot");
    story_isolate(world, BEHIND, true);
    story_isolate(world, BEHIND_TOO, true);
    (void)propose(&cast, LEADER, 20, 0, 50 * MS);
    story_pass(world, 500 * MS);
    world_crash(world, HOLED, false, 0);
    world_crash(world, DEAD, false, 0);
    bool rots = world_rot_entry(world, HOLED, first, 2);
    for (uint64_t value = first + 1; value < first + rotten; value++) {
        rots = world_rot_entry(world, HOLED, value, 0) && rots;
    }
    expect_to_come_about(&cast, rots, "the entries to rot");
    world_start(world, HOLED);
    expect_to_come_about(&cast, story_status(world, HOLED)->hole_count == 1, "the hole");
    expect_to_come_about(&cast, wait_for_snapshot(world, HOLED, taken), "the snapshot that comes");
    world_crash(world, LEADER, false, 0);
    story_pass(world, 20 * MS);
    story_isolate(world, BEHIND, false);
    story_isolate(world, BEHIND_TOO, false);
    story_pass(world, 8 * SECOND);
    (void)propose(&cast, world_leader(world), 5, 0, 50 * MS);
    story_pass(world, 2 * SECOND);
    return end(&cast);
}

static const char *a_snapshot_ends_at_a_holes_end(uint64_t seed)
{
    return a_snapshot_ends_in_a_hole(seed, 10);
}

static const char *a_snapshot_ends_within_a_hole(uint64_t seed)
{
    return a_snapshot_ends_in_a_hole(seed, 14);
}

/* The leader finds that an entry does not read which it has applied, and which another lacks; the third has compacted
 * it. Nobody can give it back: it is to be covered by a snapshot, and not to be waited for until the end of time. */
static const char *a_hole_that_all_others_compacted(uint64_t seed)
{
    struct cast cast = begin_three(seed);
    struct world *world = cast.world;
    (void)propose(&cast, cast.leader, 10, 0, 30 * MS);
    story_isolate(world, cast.other, true);
    uint64_t first = propose(&cast, cast.leader, 30, LONG_BYTES, 30 * MS); /* Too long to be held in memory. */
    story_pass(world, 2 * SECOND);
    expect_to_come_about(&cast, story_take_snapshot(world, cast.third), "the third's snapshot");
    story_pass(world, SECOND);
    expect_to_come_about(&cast, world_rot_entry(world, cast.leader, first + 20, 0), "an entry to rot");
    story_isolate(world, cast.other, false);
    for (unsigned i = 0; i < 30; i++) {
        story_pass(world, SECOND);
        (void)propose(&cast, world_leader(world), 1, 0, 0);
    }
    return end(&cast);
}

/* --- snapshots that come in, or are taken -------------------------------------------------------- */

/* `other` misses what the leader has compacted then: it needs the leader's snapshot. */
static void fall_behind(struct cast *cast)
{
    story_isolate(cast->world, cast->other, true);
    (void)propose(cast, cast->leader, 40, 0, 20 * MS);
    expect_to_come_about(cast, story_take_snapshot(cast->world, cast->leader), "the leader's snapshot");
    story_pass(cast->world, 300 * MS);
}

/* And it gets that, stands at its index, and dies; then the snapshot does not read any more. That index. */
static uint64_t hold_a_snapshot_that_rots(struct cast *cast)
{
    struct world *world = cast->world;
    fall_behind(cast);
    story_isolate(world, cast->other, false);
    story_pass(world, 2 * SECOND);
    uint64_t taken = story_status(world, cast->other)->snapshot.index;
    world_crash(world, cast->other, false, 0);
    expect_to_come_about(cast, world_rot_snapshot(world, cast->other, taken), "a snapshot to rot");
    return taken;
}

/* `other` has the snapshot of a leader who is cut off behind it; `third`, who leads then, has an older one, and the
 * entries since; it commits more with `other`, whose snapshot rots. The older one must not take its place: what lies
 * between them is in no log of `other` and would be missing when `third` dies. */
static const char *an_older_snapshot_comes(uint64_t seed)
{
    struct cast cast = begin_three(seed);
    struct world *world = cast.world;
    (void)propose(&cast, cast.leader, 30, 0, 20 * MS);
    story_pass(world, 300 * MS);
    expect_to_come_about(&cast, story_take_snapshot(world, cast.third), "the older snapshot");
    uint64_t older = world_kv(world, cast.third)->index;
    fall_behind(&cast);
    story_isolate(world, cast.other, false);
    story_pass(world, 2 * SECOND);
    expect_to_come_about(&cast, story_hand_over(world, cast.third), "the second leader");
    story_isolate(world, cast.leader, true);
    story_pass(world, 300 * MS);
    (void)propose(&cast, cast.third, 10, 0, 50 * MS);
    story_pass(world, 500 * MS);
    uint64_t newer = story_status(world, cast.other)->snapshot.index;
    world_crash(world, cast.other, false, 0);
    expect_to_come_about(&cast, newer > older && world_rot_snapshot(world, cast.other, newer), "the newer snapshot");
    world_start(world, cast.other);
    (void)wait_for_snapshot(world, cast.other, older);
    story_pass(world, 5 * MS);
    world_crash(world, cast.third, false, 0);
    story_pass(world, 50 * MS);
    world_crash(world, cast.other, false, 0);
    world_start(world, cast.other);
    story_isolate(world, cast.leader, false);
    story_isolate(world, cast.other, false);
    story_pass(world, 5 * SECOND);
    (void)propose(&cast, world_leader(world), 5, 0, 50 * MS);
    story_pass(world, 2 * SECOND);
    return end(&cast);
}

/* A node whose snapshot does not read has an empty state machine; its caller, by a clock of his own, takes a snapshot
 * of that. It would be one of nothing, in the place of one of all. */
static const char *a_snapshot_is_taken_of_nothing(uint64_t seed)
{
    struct cast cast = begin_three(seed);
    struct world *world = cast.world;
    (void)hold_a_snapshot_that_rots(&cast);
    story_isolate(world, cast.other, true);
    world_start(world, cast.other);
    (void)story_take_snapshot(world, cast.other);
    story_pass(world, 500 * MS);
    world_crash(world, cast.other, false, 0);
    world_start(world, cast.other);
    story_isolate(world, cast.other, false);
    story_pass(world, 3 * SECOND);
    return end(&cast);
}

/* The leader's snapshot comes once more, in the place of the same that does not read; the power goes in the middle. At
 * every moment one of the two must have the name: a log without any snapshot is refused. */
static const char *power_goes_while_a_snapshot_is_replaced(uint64_t operation)
{
    struct cast cast = begin_three(7);
    struct world *world = cast.world;
    (void)hold_a_snapshot_that_rots(&cast);
    world_start(world, cast.other);
    world_crash(world, cast.other, false, (unsigned)operation);
    for (unsigned i = 0; i < 3000 && world_node(world, cast.other) != NULL; i++) {
        story_pass(world, MS);
    }
    expect_to_come_about(&cast, world_node(world, cast.other) == NULL, "so many operations");
    world_start(world, cast.other);
    if (world_is_lost(world, cast.other)) {
        world_fail(world, "n%u is lost: the power went in operation %" PRIu64, cast.other, operation);
    }
    return end(&cast);
}

/* One operation of the receiver's directory of snapshots fails, once, while the leader's comes in: it is sent again. */
static const char *a_snapshots_directory_fails_once(uint64_t operation)
{
    struct cast cast = begin_three(3);
    struct world *world = cast.world;
    fall_behind(&cast);
    world_fail_snapshots(world, cast.other, (unsigned)operation, EIO);
    story_isolate(world, cast.other, false);
    for (unsigned i = 0; i < 20; i++) {
        story_pass(world, SECOND);
        world_start(world, cast.other); /* To give up, and to be started anew, is as good. */
    }
    uint64_t index = world_kv(world, cast.other)->index;
    if (index < world_applied_most(world)) {
        world_fail(world, "n%u has applied %" PRIu64 " of %" PRIu64 "; operation %" PRIu64 " failed once, 20 s ago",
                   cast.other, index, world_applied_most(world), operation);
    }
    return end(&cast);
}

/* --- promises ------------------------------------------------------------------------------------ */

struct reads {
    struct world *world;
    uint64_t index, answered; /* The index that a state machine must have reached which answers. */
};

static void on_read_behind_a_snapshot(void *context, unsigned id, uint64_t request, uint16_t reason)
{
    struct reads *reads = context;
    uint64_t index = world_kv(reads->world, id)->index;
    (void)request;
    reads->answered += reason == 0;
    if (reason == 0 && index < reads->index) {
        world_fail(reads->world, "n%u answers a read with a state of %" PRIu64 " where %" PRIu64 " was committed", id,
                   index, reads->index);
    }
}

/* The snapshot is of the last entry there is: nothing is missing in the log, but the state machine is empty until the
 * snapshot has come once more. No read is answered from that. */
static const char *a_read_behind_a_damaged_snapshot(uint64_t seed)
{
    struct cast cast = begin_three(seed);
    struct world *world = cast.world;
    struct reads reads = {.world = world, .index = hold_a_snapshot_that_rots(&cast)};
    world_start(world, cast.other);
    world_watch(world, &(struct world_watch){.context = &reads, .read = on_read_behind_a_snapshot});
    for (unsigned i = 0; i < 2000 && world_failure(world) == NULL; i++) {
        if (world_node(world, cast.other) != NULL) {
            (void)raftcore_node_read(world_node(world, cast.other), world_local_ns(world, cast.other), i, false);
            world_pump(world, cast.other);
        }
        story_pass(world, MS);
    }
    expect_to_come_about(&cast, reads.answered > 0, "a read that is answered");
    return end(&cast);
}

static void on_read_by_lease(void *context, unsigned id, uint64_t request, uint16_t reason)
{
    struct reads *reads = context;
    (void)request;
    reads->answered += reason == 0;
    for (unsigned other = 1; reason == 0 && other <= world_node_count(reads->world); other++) {
        if (world_kv(reads->world, other)->values[0] > world_kv(reads->world, id)->values[0]) {
            world_fail(reads->world, "n%u answers a read by its lease with an older value than n%u has applied", id,
                       other);
        }
    }
}

/* The leader hears `other` alone, whom it has its lease from. `other` starts anew, and is cut off from the leader: it
 * has forgotten what it promised, so it makes nobody a leader before that time is over. */
static const char *a_restart_within_a_lease(uint64_t seed)
{
    struct cast cast =
        begin(&(struct world_options){.seed = seed, .voters = 3, .snapshot_bytes = NO_SNAPSHOTS, .lease_reads = true});
    struct world *world = cast.world;
    struct reads reads = {.world = world};
    world_watch(world, &(struct world_watch){.context = &reads, .read = on_read_by_lease});
    story_pass(world, 10 * SECOND);
    (void)propose(&cast, cast.leader, 1, 0, SECOND);
    world_link(world, cast.leader, cast.third, false);
    world_link(world, cast.third, cast.leader, false);
    story_pass(world, 5 * SECOND);
    expect_to_come_about(&cast, world_leader(world) == cast.leader, "a leader who goes on");
    world_crash(world, cast.other, false, 0);
    world_start(world, cast.other);
    story_isolate(world, cast.leader, true);
    unsigned fresh = 0;
    for (unsigned i = 0; i < 400 && world_failure(world) == NULL; i++) {
        story_pass(world, 10 * MS);
        if (fresh == 0 && world_leader(world) != cast.leader) {
            fresh = world_leader(world); /* 0: nobody leads, as yet. */
            (void)propose(&cast, fresh, 1, 0, 0);
        }
        if (world_node(world, cast.leader) != NULL) {
            (void)raftcore_node_read(world_node(world, cast.leader), world_local_ns(world, cast.leader), i, true);
            world_pump(world, cast.leader);
        }
    }
    expect_to_come_about(&cast, reads.answered > 0, "a read that is answered by a lease");
    expect_to_come_about(&cast, fresh != 0, "another leader");
    return end(&cast);
}

const struct sim_story sim_stories_found[] = {
    {"a hole at the snapshot's index", a_hole_at_the_snapshot, 1, 4},
    {"a snapshot that ends at a hole's end", a_snapshot_ends_at_a_holes_end, 1, 4},
    {"a snapshot that ends within a hole", a_snapshot_ends_within_a_hole, 1, 4},
    {"a hole that all others have compacted", a_hole_that_all_others_compacted, 1, 4},
    {"an older snapshot than the damaged one", an_older_snapshot_comes, 1, 4},
    {"a snapshot of nothing", a_snapshot_is_taken_of_nothing, 1, 4},
    {"power that goes while a snapshot is replaced", power_goes_while_a_snapshot_is_replaced, 20, 30},
    {"a directory of snapshots that fails once", a_snapshots_directory_fails_once, 1, 20},
    {"a read behind a damaged snapshot", a_read_behind_a_damaged_snapshot, 1, 4},
    {"a restart within a lease", a_restart_within_a_lease, 1, 4},
};
const unsigned sim_stories_found_count = sizeof(sim_stories_found) / sizeof(sim_stories_found[0]);
