/* story.h - one core, and a test that plays all others.
 *
 * Node 1 is the core; the test hands in messages and says when units are durable. Time passes only as the story says.
 * The first expectation that does not hold is kept in `wrong`; raftcore_check holds after every step, or that is it. */

#ifndef TESTS_RAFT_STORY_H
#define TESTS_RAFT_STORY_H

#include "raftcore/raftcore.h"

#define SECOND 1000000000ULL

struct story {
    struct raftcore *core;
    const struct raftcore_output *output;
    uint64_t now_ns, sequence;
    int reason;
    const char *wrong;
    struct raftcore_configuration configuration;
    struct raftcore_start start;
    struct raftcore_options options;
};

#define EXPECT(story, condition)                      \
    do {                                              \
        if ((story)->wrong == NULL && !(condition)) { \
            (story)->wrong = #condition;              \
        }                                             \
    } while (0)

/* Nodes 1 to `nodes` are voters; start and options may be changed before story_begin. */
void story_prepare(struct story *story, unsigned nodes);
void story_begin(struct story *story);
/* What did not hold; NULL: all did. */
const char *story_end(struct story *story);

void story_step(struct story *story, struct raftcore_event *event);
void story_durable(struct story *story); /* All units issued so far. */
void story_wait(struct story *story, uint64_t ns);
struct raftcore_message story_from(unsigned node, enum raftcore_message_kind kind, uint64_t term);
/* A whole snapshot in one piece of 10 bytes, id 77; the configuration is the story's. */
struct raftcore_message story_snapshot(const struct story *story, unsigned leader, uint64_t term, uint64_t index,
                                       uint64_t log_term);
void story_receive(struct story *story, const struct raftcore_message *message);
void story_append(struct story *story, unsigned leader, uint64_t term, uint64_t previous, uint64_t previous_term,
                  const struct raftcore_entry *entries, uint32_t count, uint64_t commit);
/* Members have the logs that story_from names; before story_begin. */
void story_name_logs(struct story *story);
/* Node 1 campaigns and wins that term. */
void story_lead(struct story *story, uint64_t term);
/* Node 1 begins, and leads term 1, whose first entry is committed by node 2. */
void story_begin_leading(struct story *story);
/* A node that answers heartbeats of a first leadership. */
struct raftcore_message story_alive(unsigned node, uint64_t term);
/* A node's answer that it has entries up to index durably. */
void story_acknowledge(struct story *story, unsigned node, uint64_t term, uint64_t index);

/* The message of this kind to a node (0: any) in the last output; NULL: none. */
const struct raftcore_message *story_sent(const struct story *story, enum raftcore_message_kind kind, unsigned to);
struct raftcore_status story_status(const struct story *story);
struct raftcore_entry story_entry(uint64_t term);
/* An entry of term 1: nodes 1 and 2 are the members. bytes: CODEC_CONFIGURATION_BYTES_MAX, its payload. */
struct raftcore_entry story_two_members(const struct story *story, unsigned char *bytes);

#endif
