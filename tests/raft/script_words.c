/* script_words.c - messages, entries and states as lines. Pure printing; nothing can fail. */

#include "tests/raft/script_words.h"

#include "raftcore/codec.h"
#include "raftcore/configuration.h"

#include <inttypes.h>
#include <string.h>

uint64_t words_term(const struct words *words, uint64_t term)
{
    return term > words->base ? term - words->base : 0;
}

/* The snapshot that all begin behind has term 1. */
uint64_t words_log_term(const struct words *words, uint64_t term)
{
    return term != 0 && term == words->base ? 1 : words_term(words, term);
}

const char *words_state(uint32_t role)
{
    static const char *const states[] = {"StateFollower", "StatePreCandidate", "StateCandidate", "StateLeader",
                                         "StateBroken"};
    return states[role];
}

/* --- entries ------------------------------------------------------------------------------------- */

static void print_quoted(FILE *out, const char *bytes, uint32_t size)
{
    (void)fputc('"', out);
    for (uint32_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c == '"' || c == '\\') {
            (void)fprintf(out, "\\%c", c);
        } else if (c < ' ' || c > '~') {
            (void)fprintf(out, "\\x%02x", c);
        } else {
            (void)fputc(c, out);
        }
    }
    (void)fputc('"', out);
}

void words_entry(const struct words *words, uint64_t index, const struct raftcore_entry *entry)
{
    (void)fprintf(words->out, "%" PRIu64 "/%" PRIu64 " ", words_log_term(words, entry->term), index);
    struct raftcore_configuration configuration;
    char text[CONFIGURATION_TEXT_BYTES];
    if (entry->type == RAFTCORE_ENTRY_CONFIGURATION &&
        codec_decode_configuration(entry->data, entry->size, &configuration)) {
        (void)fprintf(words->out, "EntryConfiguration %s", configuration_text(&configuration, text));
        return;
    }
    (void)fputs("EntryNormal ", words->out);
    print_quoted(words->out, entry->data, entry->size);
}

void words_entries(const struct words *words, uint64_t first_index, const struct raftcore_entry *entries,
                   uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        (void)fputs(words->indent, words->out);
        words_entry(words, first_index + i, &entries[i]);
        (void)fputc('\n', words->out);
    }
}

/* --- snapshots ----------------------------------------------------------------------------------- */

static void print_ids(FILE *out, const char *name, const struct raftcore_configuration *configuration, uint32_t flags)
{
    const char *between = "";
    (void)fprintf(out, "%s:[", name);
    for (uint32_t i = 0; i < configuration->count; i++) {
        if ((configuration->members[i].flags & flags) != 0) {
            (void)fprintf(out, "%s%" PRIu64, between, configuration->members[i].id);
            between = " ";
        }
    }
    (void)fputc(']', out);
}

void words_snapshot(const struct words *words, const struct raftcore_snapshot *snapshot,
                    const struct raftcore_configuration *configuration)
{
    (void)fprintf(words->out, "Index:%" PRIu64 " Term:%" PRIu64 " ConfState:", snapshot->index,
                  words_log_term(words, snapshot->term));
    print_ids(words->out, "Voters", configuration, RAFTCORE_VOTER);
    (void)fputc(' ', words->out);
    print_ids(words->out, "VotersOutgoing", configuration, RAFTCORE_VOTER_OLD);
    (void)fputc(' ', words->out);
    print_ids(words->out, "Learners", configuration, RAFTCORE_LEARNER);
    (void)fputc(' ', words->out);
    print_ids(words->out, "LearnersNext", configuration, RAFTCORE_LEARNER_NEXT);
    (void)fprintf(words->out, " AutoLeave:%s", configuration->leave_automatically ? "true" : "false");
}

/* --- messages ------------------------------------------------------------------------------------ */

static const char *kind_name(uint16_t kind)
{
    static const char *const names[RAFTCORE_MESSAGE_KINDS] = {
        [RAFTCORE_PRE_VOTE_REQUEST] = "MsgPreVote",
        [RAFTCORE_PRE_VOTE_ANSWER] = "MsgPreVoteResp",
        [RAFTCORE_VOTE_REQUEST] = "MsgVote",
        [RAFTCORE_VOTE_ANSWER] = "MsgVoteResp",
        [RAFTCORE_APPEND] = "MsgApp",
        [RAFTCORE_APPEND_ANSWER] = "MsgAppResp",
        [RAFTCORE_HEARTBEAT] = "MsgHeartbeat",
        [RAFTCORE_HEARTBEAT_ANSWER] = "MsgHeartbeatResp",
        [RAFTCORE_SNAPSHOT] = "MsgSnap",
        [RAFTCORE_SNAPSHOT_ANSWER] = "MsgSnapResp",
        [RAFTCORE_TIMEOUT_NOW] = "MsgTimeoutNow",
        [RAFTCORE_READ_REQUEST] = "MsgReadIndex",
        [RAFTCORE_READ_ANSWER] = "MsgReadIndexResp",
        [RAFTCORE_PROPOSAL] = "MsgProp",
        [RAFTCORE_PROPOSAL_ANSWER] = "MsgPropResp",
        [RAFTCORE_FETCH] = "MsgFetch",
        [RAFTCORE_FETCH_ANSWER] = "MsgFetchResp",
    };
    return names[kind];
}

static bool names_a_place(uint16_t kind)
{
    return kind != RAFTCORE_SNAPSHOT && kind != RAFTCORE_HEARTBEAT && kind != RAFTCORE_HEARTBEAT_ANSWER &&
           kind != RAFTCORE_VOTE_ANSWER && kind != RAFTCORE_PRE_VOTE_ANSWER;
}

static void print_message_entries(const struct words *words, const struct raftcore_message *message)
{
    uint64_t first_index = message->kind == RAFTCORE_FETCH_ANSWER ? message->index : message->index + 1;
    struct words deeper = {.out = words->out, .base = words->base};
    char indent[64];
    (void)snprintf(indent, sizeof(indent), "%s  ", words->indent);
    deeper.indent = indent;
    (void)fputs(" Entries:[", words->out);
    if (message->kind == RAFTCORE_PROPOSAL) { /* They have no place yet. */
        print_quoted(words->out, message->entries[0].data, message->entries[0].size);
    } else if (message->entry_count == 1) {
        words_entry(words, first_index, message->entries);
    } else {
        (void)fputc('\n', words->out);
        words_entries(&deeper, first_index, message->entries, message->entry_count);
        (void)fputs(words->indent, words->out);
    }
    (void)fputc(']', words->out);
}

void words_message(const struct words *words, const struct raftcore_message *message)
{
    FILE *out = words->out;
    bool refused = (message->flags & RAFTCORE_REFUSED) != 0;
    bool place = names_a_place(message->kind);
    (void)fprintf(out, "%s%" PRIu64 "->%" PRIu64 " %s Term:%" PRIu64 " Log:%" PRIu64 "/%" PRIu64, words->indent,
                  message->from, message->to, kind_name(message->kind), words_term(words, message->term),
                  place ? words_log_term(words, message->log_term) : 0, place ? message->index : 0);
    if (refused) {
        (void)fprintf(out, " Rejected (Hint: %" PRIu64 ")", message->hint_index);
    }
    if (message->commit != 0) {
        (void)fprintf(out, " Commit:%" PRIu64, message->commit);
    }
    if (message->entry_count > 0) {
        print_message_entries(words, message);
    }
    if (message->kind == RAFTCORE_SNAPSHOT && message->configuration != NULL) {
        struct raftcore_snapshot snapshot = {.index = message->index, .term = message->log_term};
        (void)fprintf(out, "\n%s  Snapshot: ", words->indent);
        words_snapshot(words, &snapshot, message->configuration);
    }
    if (message->kind == RAFTCORE_SNAPSHOT && (message->offset != 0 || (message->flags & RAFTCORE_LAST_PIECE) == 0)) {
        (void)fprintf(out, " Piece:[%" PRIu64 ", %" PRIu64 ") of %" PRIu64, message->offset,
                      message->offset + message->piece_bytes, message->snapshot_bytes);
    }
    if (message->kind == RAFTCORE_SNAPSHOT_ANSWER) {
        (void)fprintf(out, " Taken:%" PRIu64, message->offset);
    }
    (void)fputc('\n', out);
}

/* --- progress ------------------------------------------------------------------------------------ */

void words_progress(const struct words *words, const struct raftcore_peer_status *peer, uint32_t window_messages)
{
    static const char *const states[] = {"StateProbe", "StateReplicate", "StateSnapshot"};
    FILE *out = words->out;
    (void)fprintf(out, "%s%" PRIu64 ": %s match=%" PRIu64 " next=%" PRIu64, words->indent, peer->id,
                  states[peer->state], peer->match, peer->next);
    if ((peer->flags & RAFTCORE_LEARNER) != 0) {
        (void)fputs(" learner", out);
    }
    if (peer->paused) {
        (void)fputs(" paused", out);
    }
    if (peer->state == RAFTCORE_SEND_SNAPSHOT) {
        (void)fprintf(out, " pendingSnap=%" PRIu64, peer->snapshot_index);
    }
    if (!peer->active) {
        (void)fputs(" inactive", out);
    }
    if (peer->inflight > 0) {
        (void)fprintf(out, " inflight=%" PRIu32 "%s", peer->inflight,
                      peer->inflight >= window_messages ? "[full]" : "");
    }
    (void)fputc('\n', out);
}
