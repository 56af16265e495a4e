/* story.c - one core, and a test that plays all others.
 *
 * The happy path: an event goes in, the output stays to be looked at until the next. What can fail: an expectation; the
 * first one is kept. Invariants: raftcore_check after every step. */

#include "tests/raft/story.h"

#include "raftcore/codec.h"

#include <stdlib.h>

void story_step(struct story *story, struct raftcore_event *event)
{
    event->now_ns = story->now_ns;
    raftcore_prefetch(story->core, false); /* In every state that a story brings about: it must change nothing. */
    raftcore_prefetch(story->core, true);
    story->reason = raftcore_step(story->core, event, &story->output);
    if (story->output->unit.sequence != 0) {
        story->sequence = story->output->unit.sequence;
    }
    if (story->wrong == NULL) {
        story->wrong = raftcore_check(story->core);
    }
}

void story_prepare(struct story *story, unsigned nodes)
{
    *story = (struct story){.now_ns = SECOND};
    story->options = (struct raftcore_options){.size = sizeof(story->options), .id = 1, .log_id = 1, .seed = 1};
    for (unsigned id = 1; id <= nodes; id++) {
        story->configuration.members[story->configuration.count++] =
            (struct raftcore_member){.id = id, .flags = RAFTCORE_VOTER};
    }
    story->start = (struct raftcore_start){
        .session = 11, .hard_state = {.term_limit = 1024}, .configuration = story->configuration, .first_index = 1};
}

void story_begin(struct story *story)
{
    if (raftcore_new(&story->core, &story->options) != 0) {
        abort();
    }
    struct raftcore_event event = {.kind = RAFTCORE_START, .start = &story->start};
    story_step(story, &event);
    EXPECT(story, story->reason == 0);
}

const char *story_end(struct story *story)
{
    raftcore_free(story->core);
    return story->wrong;
}

void story_durable(struct story *story)
{
    struct raftcore_event event = {.kind = RAFTCORE_PERSISTED};
    event.persisted.sequence = event.persisted.covered = story->sequence;
    story_step(story, &event);
}

struct raftcore_message story_from(unsigned node, enum raftcore_message_kind kind, uint64_t term)
{
    return (struct raftcore_message){.kind = (uint16_t)kind,
                                     .from = node,
                                     .to = 1,
                                     .log_id = node,
                                     .session = 100 + node,
                                     .to_session = 11,
                                     .term = term};
}

struct raftcore_message story_snapshot(const struct story *story, unsigned leader, uint64_t term, uint64_t index,
                                       uint64_t log_term)
{
    static const char piece[10];
    struct raftcore_message message = story_from(leader, RAFTCORE_SNAPSHOT, term);
    message.index = index;
    message.log_term = log_term;
    message.snapshot_id = 77;
    message.snapshot_bytes = message.piece_bytes = sizeof(piece);
    message.piece = piece;
    message.flags = RAFTCORE_LAST_PIECE;
    message.configuration = &story->configuration;
    return message;
}

void story_receive(struct story *story, const struct raftcore_message *message)
{
    struct raftcore_event event = {.kind = RAFTCORE_RECEIVE, .receive = message};
    story_step(story, &event);
}

/* The message of this kind to a node in the last output; NULL: none. */
const struct raftcore_message *story_sent(const struct story *story, enum raftcore_message_kind kind, unsigned to)
{
    for (uint32_t i = 0; i < story->output->message_count; i++) {
        const struct raftcore_message *message = &story->output->messages[i];
        if (message->kind == kind && (to == 0 || message->to == to)) {
            return message;
        }
    }
    return NULL;
}

struct raftcore_status story_status(const struct story *story)
{
    struct raftcore_status status;
    raftcore_status(story->core, &status);
    return status;
}

void story_append(struct story *story, unsigned leader, uint64_t term, uint64_t previous, uint64_t previous_term,
                  const struct raftcore_entry *entries, uint32_t count, uint64_t commit)
{
    struct raftcore_message message = story_from(leader, RAFTCORE_APPEND, term);
    message.index = previous;
    message.log_term = previous_term;
    message.entries = entries;
    message.entry_count = count;
    message.commit = commit;
    story_receive(story, &message);
}

void story_name_logs(struct story *story)
{
    for (uint32_t i = 0; i < story->configuration.count; i++) {
        story->configuration.members[i].log_id = story->configuration.members[i].id;
    }
    story->start.configuration = story->configuration;
}

/* Node 1 campaigns and is granted by node 2. */
void story_lead(struct story *story, uint64_t term)
{
    struct raftcore_event event = {.kind = RAFTCORE_CAMPAIGN, .campaign.at_once = true};
    story_step(story, &event);
    story_durable(story);
    const struct raftcore_message *request = story_sent(story, RAFTCORE_VOTE_REQUEST, 2);
    EXPECT(story, request != NULL && request->term == term);
    uint64_t round = request == NULL ? 0 : request->round;
    for (unsigned node = 2; node <= 3 && story_status(story).role == RAFTCORE_CANDIDATE; node++) {
        struct raftcore_message grant = story_from(node, RAFTCORE_VOTE_ANSWER, term);
        grant.round = round;
        story_receive(story, &grant);
    }
    EXPECT(story, story_status(story).role == RAFTCORE_LEADER);
}

void story_begin_leading(struct story *story)
{
    story_begin(story);
    story_lead(story, 1);
    story_durable(story);
    story_acknowledge(story, 2, 1, 1);
}

struct raftcore_message story_alive(unsigned node, uint64_t term)
{
    struct raftcore_message alive = story_from(node, RAFTCORE_HEARTBEAT_ANSWER, term);
    alive.stream = node - 1; /* As in story_acknowledge. */
    return alive;
}

struct raftcore_entry story_entry(uint64_t term)
{
    return (struct raftcore_entry){.term = term};
}

struct raftcore_entry story_two_members(const struct story *story, unsigned char *bytes)
{
    struct raftcore_configuration two = story->configuration;
    two.count = 2;
    two.members[2] = (struct raftcore_member){0};
    codec_encode_configuration(&two, bytes);
    return (struct raftcore_entry){.term = 1,
                                   .type = RAFTCORE_ENTRY_CONFIGURATION,
                                   .data = bytes,
                                   .size = (uint32_t)codec_configuration_bytes(&two)};
}

void story_wait(struct story *story, uint64_t ns)
{
    struct raftcore_event event = {.kind = RAFTCORE_TIME};
    story->now_ns += ns;
    story_step(story, &event);
}

void story_acknowledge(struct story *story, unsigned node, uint64_t term, uint64_t index)
{
    struct raftcore_message answer = story_from(node, RAFTCORE_APPEND_ANSWER, term);
    answer.stream = node - 1; /* The records of a first leadership are made in the order of ids. */
    answer.index = index;
    answer.credit = 1 << 20;
    story_receive(story, &answer);
}
