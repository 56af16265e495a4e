/* test_sim_memory.c - whole nodes when there is no memory for what a node does beside its core.
 *
 * The happy path: a leader that has no memory for reading entries back is asked again and reads them later; a node that
 * cannot be opened for want of memory says that, each time at another request, until there is enough; a node whose log
 * is in doubt too, which must write before it is open. A message that there is no memory for is refused for just that.
 *
 * What can fail: a peer that never gets what it lacks; an open that calls want of memory damage. Invariants: the memory
 * of one node alone runs out; what it holds is the C library's, as for all others. */

#include "raftcore/codec.h"
#include "raftcore/node_parts.h"
#include "tests/sim/node_disk.h"
#include "tests/sim/story_parts.h"
#include "wal/bytes.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MS 1000000ULL
#define VALUE_BASE 0x6d656d6f727900ULL

enum { NO_SNAPSHOTS = 1 << 30, LONG_BYTES = 3000 };

/* Of one test at a time. */
struct shortage {
    size_t of_bytes;   /* Requests for blocks of this size are refused; 0: of any. */
    unsigned after;    /* So many are not refused yet, */
    unsigned refusals; /* then so many are. */
    unsigned happened;
};

static void *reallocate(void *user, void *memory, size_t old_bytes, size_t new_bytes)
{
    struct shortage *shortage = user;
    bool is_meant = new_bytes > old_bytes && (shortage->of_bytes == 0 || shortage->of_bytes == new_bytes);
    if (new_bytes == 0) {
        free(memory);
        return NULL;
    }
    if (is_meant && shortage->after > 0) {
        shortage->after--;
    } else if (is_meant && shortage->refusals > 0) {
        shortage->refusals--;
        shortage->happened++;
        return NULL;
    }
    return realloc(memory, new_bytes);
}

/* --- reading back -------------------------------------------------------------------------------- */

static void test_a_load_without_memory_is_asked_for_again(void **state)
{
    (void)state;
    struct world *world = story_begin(&(struct world_options){.seed = 5, .voters = 3, .snapshot_bytes = NO_SNAPSHOTS});
    unsigned leader = story_wait_for_leader(world, 0, 25 * MS);
    unsigned behind = 1 + leader % 3;
    uint64_t values = VALUE_BASE;
    story_isolate(world, behind, true);
    for (unsigned i = 0; i < 10; i++) {
        story_propose(world, leader, ++values, LONG_BYTES);
        story_pass(world, 20 * MS);
    }
    struct shortage shortage = {.of_bytes = sizeof(struct job), .refusals = 3};
    struct raftcore_node *node = world_node(world, leader);
    node->memory.allocator = (struct raftcore_allocator){.reallocate = reallocate, .user = &shortage};
    story_isolate(world, behind, false);
    story_pass(world, 4000 * MS);
    assert_int_equal(shortage.happened, 3);
    assert_int_equal(story_status(world, leader)->role, RAFTCORE_LEADER);
    assert_int_equal(story_status(world, behind)->applied, story_status(world, leader)->applied);
    node->memory.allocator = (struct raftcore_allocator){.reallocate = NULL};
    story_come_together(world, ++values);
    const char *wrong = story_end(world);
    if (wrong != NULL) {
        fail_msg("%s", wrong);
    }
}

/* --- opening ------------------------------------------------------------------------------------- */

static unsigned choose(void *context, unsigned options)
{
    (void)context;
    (void)options;
    return 0;
}

/* Node 1 of so many. */
static int open_node(struct node_disk *disk, struct shortage *shortage, uint32_t voters, struct raftcore_node **node,
                     struct raftcore_node_report *report)
{
    struct raftcore_configuration members = {.count = voters};
    for (uint32_t i = 0; i < voters; i++) {
        members.members[i] = (struct raftcore_member){.id = i + 1, .flags = RAFTCORE_VOTER};
    }
    struct wal_options wal = WAL_OPTIONS_INIT;
    wal.flags = WAL_NO_THREADS | WAL_POWERSAFE_OVERWRITE;
    wal.block_bytes = SIM_SECTOR_BYTES;
    wal.segment_bytes = 32 << 10;
    wal.batch_bytes_max = 12 << 10;
    struct raftcore_node_options options = {.size = sizeof(options),
                                            .core = {.id = 1, .log_id = 1, .seed = 1, .piece_bytes = 8192},
                                            .cluster_id = 9,
                                            .session = 1,
                                            .now_ns = 1,
                                            .create = disk->count == 0,
                                            .first_members = &members,
                                            .wal = &wal,
                                            .disk = &disk->disk};
    options.core.allocator = (struct raftcore_allocator){.reallocate = reallocate, .user = shortage};
    return raftcore_node_open(NULL, &options, node, report);
}

static int open_and_close(struct node_disk *disk, struct shortage *shortage, uint32_t voters,
                          struct raftcore_node_report *report)
{
    struct raftcore_node *node;
    int status = open_node(disk, shortage, voters, &node, report);
    if (status == 0) {
        (void)raftcore_node_close(node);
    }
    return status;
}

static void test_an_open_without_memory_says_so(void **state)
{
    (void)state;
    struct raftcore_node_report report;
    struct node_disk *disk = node_disk_new(&(struct sim_hooks){.choose = choose});
    struct shortage none = {0};
    assert_int_equal(open_and_close(disk, &none, 1, &report), 0);
    unsigned opens = 0, happened = 1;
    while (happened > 0) {
        struct shortage shortage = {.after = opens++, .refusals = 1};
        int status = open_and_close(disk, &shortage, 1, &report);
        happened = shortage.happened;
        if (status != (happened > 0 ? -ENOMEM : 0)) {
            print_message("open %u: %d, %s\n", opens, status, report.text);
        }
        assert_true(status == 0 || status == -ENOMEM || status == WAL_ENOMEM);
        assert_true(happened > 0 || status == 0);
    }
    assert_in_range(opens, 5, 1000);
    node_disk_free(disk);
}

/* A node of three that campaigned for a while, whom nobody answered: its log is a row of hard states. */
static struct node_disk *node_that_campaigned(void)
{
    struct raftcore_node_report report;
    struct raftcore_node *node;
    struct raftcore_item item;
    struct shortage none = {0};
    struct node_disk *disk = node_disk_new(&(struct sim_hooks){.choose = choose});
    assert_int_equal(open_node(disk, &none, 3, &node, &report), 0);
    for (uint64_t now_ns = 0; now_ns < 20000 * MS; now_ns += 50 * MS) {
        assert_int_equal(raftcore_node_run(node, now_ns), 0);
        while (raftcore_node_next(node, &item) || raftcore_node_work(node)) {
        }
    }
    assert_int_equal(raftcore_node_close(node), 0);
    return disk;
}

/* In the last of what was written. */
static void damage_end(struct sim_disk *log)
{
    uint64_t at;
    uint8_t *bytes = sim_disk_file_bytes(log, 0, &at);
    do {
        at--;
    } while (bytes[at] == 0);
    bytes[at - 60] ^= 0x55;
    sim_disk_settle(log);
}

/* What the core says at its start must be durable: there the log may have no memory, long after it was read. */
static void test_an_open_that_must_write_says_what_it_lacks(void **state)
{
    (void)state;
    struct raftcore_node_report report = {.uncertain = false};
    struct node_disk *disk = node_that_campaigned();
    unsigned opens = 0, happened = 1;
    while (happened > 0) {
        struct node_disk *damaged = node_disk_after(disk, true, choose, NULL);
        damage_end(node_disk_log(damaged));
        struct shortage shortage = {.after = opens++, .refusals = 1};
        int status = open_and_close(damaged, &shortage, 3, &report);
        happened = shortage.happened;
        if (status != 0 && status != -ENOMEM && status != WAL_ENOMEM) {
            fail_msg("open %u: %d, %s", opens, status, report.text);
        }
        assert_true((status == 0) == (report.text[0] == 0));
        assert_true(happened > 0 || status == 0);
        node_disk_free(damaged);
    }
    assert_true(report.uncertain);
    assert_in_range(opens, 5, 1000);
    node_disk_free(disk);
}

/* --- receiving ----------------------------------------------------------------------------------- */

/* An append of one entry behind the beginning, from node 2, as its bytes come in. */
static int receive_append(struct raftcore_node *node, uint32_t entry_bytes)
{
    static const uint8_t data[16 << 10];
    uint8_t bytes[sizeof(data) + 4096];
    const struct raftcore_entry entry = {.term = 1, .data = data, .size = entry_bytes};
    const struct raftcore_message message = {.kind = RAFTCORE_APPEND,
                                             .from = 2,
                                             .to = 1,
                                             .log_id = 2,
                                             .session = 5,
                                             .term = 1,
                                             .entries = &entry,
                                             .entry_count = 1};
    size_t size = codec_message_bytes(&message);
    assert_in_range(size, entry_bytes, sizeof(bytes) - NODE_ENVELOPE_BYTES);
    store_u64_le(bytes, 9);
    (void)codec_encode_message(&message, bytes + NODE_ENVELOPE_BYTES);
    codec_seal(bytes + NODE_ENVELOPE_BYTES, size);
    return raftcore_node_receive(node, 2, bytes, NODE_ENVELOPE_BYTES + size);
}

/* A whole message of a friend's: neither senseless nor too much, there is only no memory for it. */
static void test_a_message_without_memory_is_refused_for_that(void **state)
{
    (void)state;
    struct raftcore_node_report report;
    struct raftcore_node *node;
    struct shortage shortage = {0};
    struct node_disk *disk = node_disk_new(&(struct sim_hooks){.choose = choose});
    assert_int_equal(open_node(disk, &shortage, 3, &node, &report), 0);
    shortage.refusals = 1; /* Room for the entries of any message, */
    assert_int_equal(receive_append(node, 5), RAFTCORE_REASON_MEMORY);
    assert_int_equal(receive_append(node, 16 << 10), RAFTCORE_REASON_TOO_MANY); /* No batch of its log is so large. */
    shortage.refusals = 1;                                                      /* and for the payloads of this one. */
    assert_int_equal(receive_append(node, 5), RAFTCORE_REASON_MEMORY);
    assert_int_equal(shortage.happened, 2);
    assert_int_equal(receive_append(node, 5), 0);
    assert_int_equal(raftcore_node_close(node), 0);
    node_disk_free(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_load_without_memory_is_asked_for_again),
        cmocka_unit_test(test_an_open_without_memory_says_so),
        cmocka_unit_test(test_an_open_that_must_write_says_what_it_lacks),
        cmocka_unit_test(test_a_message_without_memory_is_refused_for_that),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
