/* test_raft_parts.c - the pure parts of the core against slower ways to the same answer: majorities, configurations,
 * the log, what is on its way to a peer, and messages as bytes. */

#include "raftcore/codec.h"
#include "raftcore/configuration.h"
#include "raftcore/log.h"
#include "raftcore/progress.h"
#include "raftcore/quorum.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t random_state;

static uint64_t draw(uint64_t bound)
{
    random_state = random_state * 6364136223846793005U + 1442695040888963407U;
    return (random_state >> 33) % bound;
}

/* --- majorities ---------------------------------------------------------------------------------- */

static struct raftcore_configuration any_configuration(void)
{
    static const uint32_t flags[] = {RAFTCORE_VOTER, RAFTCORE_VOTER | RAFTCORE_VOTER_OLD, RAFTCORE_VOTER_OLD,
                                     RAFTCORE_VOTER_OLD | RAFTCORE_LEARNER_NEXT, RAFTCORE_LEARNER};
    struct raftcore_configuration configuration = {.count = 1 + (uint32_t)draw(9)};
    bool joint = draw(2) == 0;
    for (uint32_t i = 0; i < configuration.count; i++) {
        uint32_t kind = joint ? (uint32_t)draw(5) : (uint32_t)draw(2) * 4;
        configuration.members[i] = (struct raftcore_member){.id = i + 1, .flags = flags[kind]};
    }
    return configuration;
}

/* How many of a side say yes, and is that more than half? */
static bool side_agrees(const struct raftcore_configuration *configuration, const uint64_t *values, uint64_t at_least,
                        uint32_t side)
{
    uint32_t voters = 0, agree = 0;
    for (uint32_t i = 0; i < configuration->count; i++) {
        if ((configuration->members[i].flags & side) != 0) {
            voters++;
            agree += values[i] >= at_least;
        }
    }
    return voters == 0 || 2 * agree > voters;
}

static void test_a_value_is_reached_when_more_than_half_of_each_side_has_it(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        struct raftcore_configuration configuration = any_configuration();
        uint64_t values[RAFTCORE_MEMBERS_MAX];
        for (uint32_t i = 0; i < configuration.count; i++) {
            values[i] = draw(6);
        }
        uint64_t reached = quorum_reached(&configuration, values);
        for (uint64_t value = 0; value <= 6; value++) {
            bool agreed = side_agrees(&configuration, values, value, RAFTCORE_VOTER) &&
                          side_agrees(&configuration, values, value, RAFTCORE_VOTER_OLD);
            assert_int_equal(agreed, value <= reached);
        }
    }
}

static void test_votes_are_won_lost_or_pending(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        struct raftcore_configuration configuration = any_configuration();
        enum quorum_vote votes[RAFTCORE_MEMBERS_MAX];
        uint64_t yes[RAFTCORE_MEMBERS_MAX], not_no[RAFTCORE_MEMBERS_MAX];
        for (uint32_t i = 0; i < configuration.count; i++) {
            votes[i] = (enum quorum_vote)draw(3);
            yes[i] = votes[i] == QUORUM_YES;
            not_no[i] = votes[i] != QUORUM_NO;
        }
        bool won = side_agrees(&configuration, yes, 1, RAFTCORE_VOTER) &&
                   side_agrees(&configuration, yes, 1, RAFTCORE_VOTER_OLD);
        bool possible = side_agrees(&configuration, not_no, 1, RAFTCORE_VOTER) &&
                        side_agrees(&configuration, not_no, 1, RAFTCORE_VOTER_OLD);
        assert_int_equal(quorum_votes(&configuration, votes), won        ? QUORUM_WON
                                                              : possible ? QUORUM_PENDING
                                                                         : QUORUM_LOST);
    }
}

/* --- configurations ------------------------------------------------------------------------------ */

/* Entering and leaving a joint configuration comes to the same as the changes one by one. */
static void test_joint_comes_to_the_same_as_one_by_one(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        struct raftcore_configuration before = {.count = 3};
        for (uint32_t i = 0; i < 3; i++) {
            before.members[i] = (struct raftcore_member){.id = i + 1, .flags = RAFTCORE_VOTER};
        }
        struct raftcore_change changes[4];
        uint32_t count = 1 + (uint32_t)draw(4);
        for (uint32_t i = 0; i < count; i++) {
            static const uint32_t kinds[] = {RAFTCORE_ADD_VOTER, RAFTCORE_ADD_LEARNER, RAFTCORE_REMOVE};
            changes[i] = (struct raftcore_change){.kind = kinds[draw(3)], .id = 1 + draw(6)};
        }
        struct raftcore_configuration joint, left, one_by_one = before, next;
        bool simple_works = true;
        for (uint32_t i = 0; i < count && simple_works; i++) {
            simple_works = configuration_simple(&one_by_one, &changes[i], 1, &next) == 0;
            one_by_one = next;
        }
        if (configuration_enter_joint(&before, true, changes, count, &joint) != 0 || !simple_works) {
            continue;
        }
        assert_int_equal(configuration_check(&joint), 0);
        assert_true(configuration_is_joint(&joint));
        assert_int_equal(configuration_leave_joint(&joint, &left), 0);
        assert_int_equal(configuration_check(&left), 0);
        assert_true(configuration_equal(&left, &one_by_one));
    }
}

static void test_what_a_change_may_not_do(void **state)
{
    (void)state;
    struct raftcore_configuration before = {.count = 1, .members = {{.id = 1, .log_id = 5, .flags = RAFTCORE_VOTER}}};
    struct raftcore_configuration after, joint;
    struct raftcore_change remove = {.kind = RAFTCORE_REMOVE, .id = 1};
    struct raftcore_change two[] = {{.kind = RAFTCORE_ADD_VOTER, .id = 2}, {.kind = RAFTCORE_ADD_VOTER, .id = 3}};
    struct raftcore_change other_log = {.kind = RAFTCORE_ADD_VOTER, .id = 1, .log_id = 6};
    assert_int_equal(configuration_simple(&before, &remove, 1, &after), RAFTCORE_REASON_NO_VOTERS);
    assert_int_equal(configuration_simple(&before, two, 2, &after), RAFTCORE_REASON_TOO_MANY);
    assert_int_equal(configuration_simple(&before, &other_log, 1, &after), RAFTCORE_REASON_WRONG_LOG);
    assert_int_equal(configuration_leave_joint(&before, &after), RAFTCORE_REASON_JOINT);
    assert_int_equal(configuration_enter_joint(&before, false, two, 2, &joint), 0);
    assert_int_equal(configuration_simple(&joint, two, 1, &after), RAFTCORE_REASON_JOINT);
    assert_int_equal(configuration_enter_joint(&joint, false, two, 1, &after), RAFTCORE_REASON_JOINT);
    assert_int_equal(configuration_change(&before, two, 2, RAFTCORE_TRANSITION_AUTO, &after), 0);
    assert_true(configuration_is_joint(&after) && after.leave_automatically);
    assert_int_equal(configuration_change(&before, two, 1, RAFTCORE_TRANSITION_AUTO, &after), 0);
    assert_false(configuration_is_joint(&after));
    char text[CONFIGURATION_TEXT_BYTES];
    assert_string_equal(configuration_text(&joint, text), "voters=(1 2 3)&&(1)");
    struct raftcore_change many[RAFTCORE_MEMBERS_MAX];
    for (uint32_t i = 0; i < RAFTCORE_MEMBERS_MAX; i++) {
        many[i] = (struct raftcore_change){.kind = RAFTCORE_ADD_LEARNER, .id = 10 + i};
    }
    assert_int_equal(configuration_simple(&before, many, RAFTCORE_MEMBERS_MAX, &after), RAFTCORE_REASON_TOO_MANY);
    assert_int_equal(configuration_simple(&before, many, RAFTCORE_MEMBERS_MAX - 1, &after), 0);
}

/* --- the log ------------------------------------------------------------------------------------- */

enum { LOG_INDEXES = 4000 };

static void test_the_log_against_an_array(void **state)
{
    (void)state;
    static uint64_t terms[LOG_INDEXES];
    struct memory memory = {0};
    struct log log;
    struct raftcore_start start = {.first_index = 1};
    uint64_t first = 1, last = 0, term = 1, before_term = 0;
    assert_true(log_init(&log, &memory, &start));
    for (unsigned round = 0; round < 30000; round++) {
        uint64_t act = draw(10);
        if (act < 5 && last + 3 < LOG_INDEXES) {
            uint64_t count = 1 + draw(3);
            assert_true(log_reserve(&log, count, count));
            for (uint64_t i = 0; i < count; i++) {
                term += draw(4) == 0;
                struct raftcore_entry entry = {.term = term, .size = (uint32_t)draw(9)};
                log_push(&log, &entry);
                terms[++last] = term;
            }
        } else if (act < 7 && last >= first) {
            last = first - 1 + draw(last + 2 - first);
            log_truncate(&log, last + 1);
            term = last >= first ? terms[last] : before_term + 1;
            term = term == 0 ? 1 : term;
        } else if (act == 7 && last >= first) {
            uint64_t kept = first + draw(last + 2 - first);
            if (kept > first) {
                before_term = terms[kept - 1];
                log_compact(&log, kept);
                first = kept;
            }
        } else if (act == 8) {
            log_let_go(&log, first + draw(last + 2 - first));
        } else if (round % 500 == 0) {
            log_reset(&log, 7, term + 1);
            first = 8;
            last = 7;
            before_term = ++term;
        }
        assert_int_equal(log.first_index, first);
        assert_int_equal(log.last_index, last);
        uint64_t index = first - 1 + draw(last + 3 - first), found = 0, hint_term = 0;
        bool there = log_term(&log, index, &found);
        bool known = index >= first ? index <= last : index == 0 || before_term != 0;
        assert_int_equal(there, known);
        if (known && index >= first) {
            assert_int_equal(found, terms[index]);
        }
        uint64_t limit = draw(term + 2), slow = index < last ? index : last;
        while (slow >= first && terms[slow] > limit) {
            slow--;
        }
        assert_int_equal(log_last_with_term_up_to(&log, index, limit, &hint_term), slow);
        assert_int_equal(hint_term, slow >= first ? terms[slow] : before_term);
        if (last + 10 >= LOG_INDEXES) {
            log_reset(&log, 0, 0);
            first = 1;
            last = before_term = 0;
            term = 1;
        }
    }
    log_free(&log);
    assert_int_equal(memory.bytes, 0);
}

static void test_what_is_on_its_way_is_counted(void **state)
{
    (void)state;
    struct memory memory = {0};
    struct progress peer = {0};
    progress_begin(&peer, 2, 10, 1, 0);
    assert_false(progress_is_paused(&peer, 4, 100));
    assert_true(progress_sent(&peer, &memory, 10, 5, 0));
    assert_true(progress_is_paused(&peer, 4, 100)); /* One probe at a time. */
    assert_true(progress_refused(&peer, 9, 4));
    assert_int_equal(peer.next, 5);
    assert_false(progress_refused(&peer, 9, 4)); /* An old one. */
    assert_true(progress_matched(&peer, 4));
    progress_to_replicate(&peer);
    for (uint64_t i = 5; i < 9; i++) {
        assert_false(progress_is_paused(&peer, 4, 100));
        assert_true(progress_sent(&peer, &memory, i, 20, i));
    }
    assert_true(progress_is_paused(&peer, 4, 100));
    assert_true(progress_matched(&peer, 6));
    assert_int_equal(peer.inflight_count, 2);
    assert_int_equal(peer.inflight_bytes, 40);
    assert_false(progress_is_paused(&peer, 4, 100));
    assert_true(progress_is_paused(&peer, 4, 40));
    peer.credit = 30;
    assert_true(progress_is_paused(&peer, 4, 100));
    assert_true(progress_refused(&peer, 8, 3));
    assert_int_equal(peer.state, RAFTCORE_PROBE);
    assert_int_equal(peer.next, 7); /* Never below what matches. */
    progress_free(&peer, &memory);
    assert_int_equal(memory.bytes, 0);
}

/* --- bytes --------------------------------------------------------------------------------------- */

static size_t encode_any(unsigned char *bytes, size_t room, uint16_t kind)
{
    static const char payload[] = "payload of an entry";
    struct raftcore_configuration configuration = any_configuration();
    struct raftcore_entry entries[3] = {{.term = 1, .data = payload, .size = 7},
                                        {.term = 2, .type = RAFTCORE_ENTRY_NOOP},
                                        {.term = 3, .data = payload, .size = sizeof(payload)}};
    struct raftcore_message message = {.kind = kind, .flags = (uint16_t)draw(32), .reason = 3, .from = 1, .to = 2};
    message.term = draw(1000);
    message.session = 99;
    message.entries = entries;
    message.entry_count = (uint32_t)draw(4);
    message.configuration = draw(2) == 0 ? &configuration : NULL;
    message.piece = payload;
    message.piece_bytes = (uint32_t)draw(10);
    size_t size = codec_message_bytes(&message);
    assert_in_range(size, CODEC_HEADER_BYTES, room);
    (void)codec_encode_message(&message, bytes);
    assert_int_equal(codec_size_of_message(bytes), size);
    struct raftcore_message again;
    struct raftcore_entry decoded[3];
    struct raftcore_configuration other;
    assert_int_equal(codec_decode_message(bytes, size, &again, decoded, 3, &other), 0);
    assert_int_equal(again.kind, message.kind);
    assert_int_equal(again.term, message.term);
    assert_int_equal(again.session, 99);
    assert_int_equal(again.entry_count, message.entry_count);
    for (uint32_t i = 0; i < again.entry_count; i++) {
        assert_int_equal(decoded[i].term, entries[i].term);
        assert_int_equal(decoded[i].size, entries[i].size);
        assert_true(entries[i].size == 0 || memcmp(decoded[i].data, entries[i].data, entries[i].size) == 0);
    }
    assert_int_equal(again.configuration != NULL, message.configuration != NULL);
    assert_true(again.configuration == NULL || configuration_equal(&other, &configuration));
    assert_true(again.piece_bytes == 0 || memcmp(again.piece, payload, again.piece_bytes) == 0);
    if (again.entry_count > 0) {
        assert_int_equal(codec_decode_message(bytes, size, &again, decoded, again.entry_count - 1, &other), -ENOSPC);
    }
    return size;
}

static void test_every_changed_byte_of_a_message_is_noticed(void **state)
{
    (void)state;
    static unsigned char bytes[4096], damaged[4096];
    struct raftcore_message message;
    struct raftcore_entry entries[8];
    struct raftcore_configuration configuration;
    for (uint16_t kind = 1; kind < RAFTCORE_MESSAGE_KINDS; kind++) {
        size_t size = encode_any(bytes, sizeof(bytes), kind);
        for (size_t at = 0; at < size; at++) {
            memcpy(damaged, bytes, size);
            damaged[at] = (unsigned char)(damaged[at] ^ (1 + draw(255)));
            assert_int_equal(codec_decode_message(damaged, size, &message, entries, 8, &configuration), -EBADMSG);
        }
        for (size_t shorter = 0; shorter < size; shorter++) {
            assert_int_equal(codec_decode_message(bytes, shorter, &message, entries, 8, &configuration), -EBADMSG);
        }
        bytes[12] = 2; /* A newer version, right in itself. */
        codec_seal(bytes, size);
        assert_int_equal(codec_decode_message(bytes, size, &message, entries, 8, &configuration), -EPROTONOSUPPORT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_value_is_reached_when_more_than_half_of_each_side_has_it),
        cmocka_unit_test(test_votes_are_won_lost_or_pending),
        cmocka_unit_test(test_joint_comes_to_the_same_as_one_by_one),
        cmocka_unit_test(test_what_a_change_may_not_do),
        cmocka_unit_test(test_the_log_against_an_array),
        cmocka_unit_test(test_what_is_on_its_way_is_counted),
        cmocka_unit_test(test_every_changed_byte_of_a_message_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
