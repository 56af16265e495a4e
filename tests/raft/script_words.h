/* script_words.h - messages, entries and states as lines, in the forms of the data-driven grammar.
 *
 * Terms are printed less `base`: in that grammar nodes that begin behind an index are in term 0 while their snapshot
 * has term 1; in raftcore no term is below that of the log, so inside they begin in term 1 (script_nodes.c).
 *
 * May include: raftcore.h. */

#ifndef TESTS_RAFT_SCRIPT_WORDS_H
#define TESTS_RAFT_SCRIPT_WORDS_H

#include "raftcore/raftcore.h"

#include <stdio.h>

struct words {
    FILE *out;
    uint64_t base;
    const char *indent; /* Of each line that begins here. */
};

uint64_t words_term(const struct words *words, uint64_t term);
uint64_t words_log_term(const struct words *words, uint64_t term);

const char *words_state(uint32_t role);
void words_entry(const struct words *words, uint64_t index, const struct raftcore_entry *entry); /* No line end. */
void words_entries(const struct words *words, uint64_t first_index, const struct raftcore_entry *entries,
                   uint32_t count); /* Lines. */
void words_message(const struct words *words, const struct raftcore_message *message);
void words_snapshot(const struct words *words, const struct raftcore_snapshot *snapshot,
                    const struct raftcore_configuration *configuration); /* No line end. */
/* "StateProbe match=0 next=1 paused pendingSnap=4 inactive inflight=2[full]", and the line's end. */
void words_progress(const struct words *words, const struct raftcore_peer_status *peer, uint32_t window_messages);

#endif
