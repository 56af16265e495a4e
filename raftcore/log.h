/* log.h - the entries, as the core has issued them: terms of all, and the newest ones themselves.
 *
 * The terms of the whole log are kept as runs of equal term, few however long the log is. The entries themselves are in
 * memory from `held_first` on: all that are not durable or not applied, and some more for followers. A payload is the
 * caller's; the log keeps only the pointer.
 *
 * May include: memory.h. */

#ifndef RAFTCORE_LOG_H
#define RAFTCORE_LOG_H

#include "raftcore/memory.h"

/* raftcore_prefetch and idle hosts rely on this order: what a core without traffic looks at stands last, from
 * last_index on. */
struct log {
    struct memory *memory;
    struct raftcore_run *runs;
    uint32_t run_count, run_capacity;
    uint64_t before_term; /* Of the entry first_index - 1, which a snapshot stands for; 0: not known, or no entry. */
    struct raftcore_entry *held; /* held[head + i] is the entry held_first + i. */
    uint32_t head, held_capacity;
    uint64_t held_bytes;  /* Of their payloads. */
    uint64_t first_index; /* The first entry that can be had. */
    uint64_t last_index;  /* first_index - 1: none. */
    uint64_t held_first;  /* last_index + 1: none is held. */
};

/* Takes over what start says of the log. False: no memory, nothing changed. */
bool log_init(struct log *log, struct memory *memory, const struct raftcore_start *start);
void log_free(struct log *log);

/* The term of the entry at index; first_index - 1 included. False: it is not in the log, or its term is not known. */
bool log_term(const struct log *log, uint64_t index, uint64_t *term);
uint64_t log_last_term(const struct log *log);

/* Room for count entries more, of so many terms; the pointers that log_held gave are void. False: no memory, nothing
 * changed. */
bool log_reserve(struct log *log, uint64_t count, uint64_t terms);

/* One entry behind the last; there is room. */
void log_push(struct log *log, const struct raftcore_entry *entry);

/* Entries from `from` on go. */
void log_truncate(struct log *log, uint64_t from);

/* Entries below first_kept go; at most first_kept - 1 == last_index. */
void log_compact(struct log *log, uint64_t first_kept);

/* All entries go; the log begins behind index, whose entry has that term. */
void log_reset(struct log *log, uint64_t index, uint64_t term);

/* Entries below `to` need not be held any more. */
void log_let_go(struct log *log, uint64_t to);

/* The held entry at index, and those behind it; NULL: it is not held. */
const struct raftcore_entry *log_held(const struct log *log, uint64_t index);

/* Of entries that did not read the terms are known now: those of [first, first + count) are the entries', those of
 * [hole_first, first) are the one's in front of them, for want of a better. False: no memory, nothing changed. */
bool log_set_terms(struct log *log, uint64_t hole_first, uint64_t first, const struct raftcore_entry *entries,
                   uint32_t count);

/* The last index at or below `index` whose entry's term is at most `term`, and that term (the hint of a refused append,
 * by which the search for the last match takes one message a term). first_index - 1 with its term, if there is none. */
uint64_t log_last_with_term_up_to(const struct log *log, uint64_t index, uint64_t term, uint64_t *found_term);

#endif
