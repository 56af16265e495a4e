/* log.c - the entries, as the core has issued them: terms of all, and the newest ones themselves.
 *
 * The happy path: an entry is pushed; its term lengthens the last run or begins a new one; it is held until the core
 * lets go of it. Held entries lie in one row, so that units and messages can point into it: it is moved only when room
 * is made, which is before a step makes either.
 *
 * What can fail: memory, in log_init and log_reserve, before anything changed.
 *
 * Invariants: runs rise in index and in term; the last run begins at or before last_index; held_first >= first_index;
 * last_index + 1 - held_first entries are held.
 *
 * May include: log.h. */

#include "raftcore/log.h"

#include <string.h>

/* --- runs of equal term -------------------------------------------------------------------------- */

/* The run that holds index, which is in the log. */
static uint32_t run_of(const struct log *log, uint64_t index)
{
    uint32_t low = 0, high = log->run_count;
    if (log->runs[high - 1].first_index <= index) {
        return high - 1; /* Nearly always. */
    }
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (log->runs[middle].first_index <= index) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

bool log_term(const struct log *log, uint64_t index, uint64_t *term)
{
    if (index + 1 == log->first_index) {
        *term = log->before_term;
        return index == 0 || log->before_term != 0;
    }
    if (index < log->first_index || index > log->last_index) {
        return false;
    }
    *term = log->runs[run_of(log, index)].term;
    return true;
}

uint64_t log_last_term(const struct log *log)
{
    return log->run_count == 0 ? log->before_term : log->runs[log->run_count - 1].term;
}

uint64_t log_last_with_term_up_to(const struct log *log, uint64_t index, uint64_t term, uint64_t *found_term)
{
    if (index > log->last_index) {
        index = log->last_index;
    }
    if (index >= log->first_index) {
        uint32_t run = run_of(log, index);
        if (log->runs[run].term <= term) {
            *found_term = log->runs[run].term;
            return index;
        }
        while (run > 0) {
            run--;
            if (log->runs[run].term <= term) {
                *found_term = log->runs[run].term;
                return log->runs[run + 1].first_index - 1;
            }
        }
    }
    *found_term = log->before_term;
    return log->first_index - 1;
}

/* --- begin and end ------------------------------------------------------------------------------- */

bool log_init(struct log *log, struct memory *memory, const struct raftcore_start *start)
{
    bool behind_snapshot = start->first_index == start->snapshot.index + 1;
    struct log made = {.memory = memory,
                       .first_index = start->first_index,
                       .last_index = start->last_index,
                       .run_count = start->run_count,
                       .before_term = behind_snapshot ? start->snapshot.term : start->before_term,
                       .held_first = start->last_index + 1};
    void *runs = NULL;
    if (!memory_reserve(memory, &runs, &made.run_capacity, sizeof(*made.runs), (uint64_t)start->run_count + 1)) {
        return false;
    }
    made.runs = runs;
    if (start->run_count > 0) {
        memcpy(made.runs, start->runs, start->run_count * sizeof(*made.runs));
    }
    *log = made; /* Not before: a log that says it has entries must know their terms. */
    return true;
}

void log_free(struct log *log)
{
    if (log->memory == NULL) {
        return;
    }
    memory_resize(log->memory, log->runs, log->run_capacity * sizeof(*log->runs), 0);
    memory_resize(log->memory, log->held, log->held_capacity * sizeof(*log->held), 0);
    *log = (struct log){0};
}

/* --- growing ------------------------------------------------------------------------------------- */

bool log_reserve(struct log *log, uint64_t count, uint64_t terms)
{
    uint64_t held = log->last_index + 1 - log->held_first;
    if (!memory_reserve(log->memory, (void **)&log->runs, &log->run_capacity, sizeof(*log->runs),
                        (uint64_t)log->run_count + terms)) {
        return false;
    }
    return memory_reserve_row(log->memory, (void **)&log->held, &log->held_capacity, &log->head, held,
                              sizeof(*log->held), count);
}

void log_push(struct log *log, const struct raftcore_entry *entry)
{
    uint64_t index = ++log->last_index;
    if (log->run_count == 0 || log->runs[log->run_count - 1].term != entry->term) {
        log->runs[log->run_count++] = (struct raftcore_run){.first_index = index, .term = entry->term};
    }
    log->held[log->head + (index - log->held_first)] = *entry;
    log->held_bytes += entry->size;
}

/* --- mending ------------------------------------------------------------------------------------- */

static void add_run(struct raftcore_run *runs, uint32_t *count, uint64_t first_index, uint64_t term)
{
    if (*count == 0 || runs[*count - 1].term != term) {
        runs[(*count)++] = (struct raftcore_run){.first_index = first_index, .term = term};
    }
}

bool log_set_terms(struct log *log, uint64_t hole_first, uint64_t first, const struct raftcore_entry *entries,
                   uint32_t count)
{
    uint64_t behind = first + count, term, made = 0;
    uint64_t capacity = (uint64_t)log->run_count + count + 3;
    struct raftcore_run *runs = memory_resize(log->memory, NULL, 0, capacity * sizeof(*runs));
    if (runs == NULL) {
        return false;
    }
    uint32_t filled = 0;
    for (uint32_t i = 0; i < log->run_count && log->runs[i].first_index < hole_first; i++) {
        add_run(runs, &filled, log->runs[i].first_index, log->runs[i].term);
    }
    if (hole_first < first) {
        made = filled > 0 ? runs[filled - 1].term : entries[0].term;
        add_run(runs, &filled, hole_first, made);
    }
    for (uint32_t i = 0; i < count; i++) {
        add_run(runs, &filled, first + i, entries[i].term);
    }
    if (behind <= log->last_index && log_term(log, behind, &term)) {
        add_run(runs, &filled, behind, term);
    }
    for (uint32_t i = 0; i < log->run_count; i++) {
        if (log->runs[i].first_index > behind) {
            add_run(runs, &filled, log->runs[i].first_index, log->runs[i].term);
        }
    }
    memory_resize(log->memory, log->runs, log->run_capacity * sizeof(*log->runs), 0);
    log->runs = runs;
    log->run_count = filled;
    log->run_capacity = (uint32_t)capacity;
    return true;
}

/* --- shrinking ----------------------------------------------------------------------------------- */

void log_truncate(struct log *log, uint64_t from)
{
    while (log->last_index >= from && log->last_index >= log->held_first) {
        log->held_bytes -= log->held[log->head + (log->last_index - log->held_first)].size;
        log->last_index--;
    }
    if (log->last_index >= from) {
        log->last_index = from - 1;
        log->held_first = from;
        log->head = 0;
    }
    while (log->run_count > 0 && log->runs[log->run_count - 1].first_index >= from) {
        log->run_count--;
    }
}

void log_let_go(struct log *log, uint64_t to)
{
    while (log->held_first < to && log->held_first <= log->last_index) {
        log->held_bytes -= log->held[log->head].size;
        log->head++;
        log->held_first++;
    }
}

void log_compact(struct log *log, uint64_t first_kept)
{
    if (first_kept <= log->first_index) {
        return;
    }
    uint64_t term = 0;
    (void)log_term(log, first_kept - 1, &term);
    log_let_go(log, first_kept);
    uint32_t gone = 0;
    if (first_kept > log->last_index) {
        gone = log->run_count;
    } else {
        gone = run_of(log, first_kept);
        log->runs[gone].first_index = first_kept;
    }
    memmove(log->runs, log->runs + gone, (log->run_count - gone) * sizeof(*log->runs));
    log->run_count -= gone;
    log->first_index = first_kept;
    log->before_term = term;
}

void log_reset(struct log *log, uint64_t index, uint64_t term)
{
    log->run_count = 0;
    log->first_index = index + 1;
    log->last_index = index;
    log->before_term = term;
    log->head = 0;
    log->held_first = index + 1;
    log->held_bytes = 0;
}

/* --- looking ------------------------------------------------------------------------------------- */

const struct raftcore_entry *log_held(const struct log *log, uint64_t index)
{
    bool held = index >= log->held_first && index <= log->last_index;
    return held ? &log->held[log->head + (index - log->held_first)] : NULL;
}
