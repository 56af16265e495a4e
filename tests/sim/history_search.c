/* history_search.c - the search for an order of the operations on one key.
 *
 * What for: a history is right if a single register, asked in some order, would have answered as the clients were
 * answered.
 *
 * The happy path: the steps (history_steps.h) become chains, and a search puts them in order: again and again it takes
 * a step that may be next, undoes it when it led nowhere, and keeps every state it saw so that none is looked at twice.
 *
 * Chains. Steps that must happen are dealt into chains where each step is invoked after the deadline of the one before.
 * What has been ordered of a chain is always a prefix, so the set of ordered steps is one position for each chain, and
 * there are no more chains than operations at a time.
 *
 * What is done without trying anything else, each time because any order that works from here still works with the step
 * moved to the front:
 * - A read that finds what the register holds, or a compare-and-set that fails rightly. Nothing else notices them.
 * - A write of a value that no step to come mentions, while the register holds a value that no step to come mentions,
 *   if no failing compare-and-set is to come. Between its old place and the next change nothing can stand, so nothing
 *   misses it there; before its old place nothing can tell the two values apart.
 *
 * What is not tried because it leads nowhere: to leave a value that some step needs and that no step makes again.
 * States where the register holds something that no step to come mentions count as the same: nothing tells them apart.
 * So do those that differ in whether an optional compare-and-set was used or has lost for good what it expects.
 *
 * Optional steps. Call one loose if some read found its value or some compare-and-set that did not certainly fail
 * expects it, and one that does is still to come. Others can do only one thing: hide a value from a compare-and-set
 * that fails because of it. Take an order with as few optional steps as can be, and in it one that is not loose, which
 * changes the register from a to b. Up to the next change there stand only failing compare-and-sets, for nobody finds
 * b. If none of them expects a, all is well without the optional step, against the choice of the order. So the step can
 * be moved to just before the first that does. Hence one that is not loose is tried only where a failing
 * compare-and-set may be next and expects what the register holds; where there is none it is never tried, which is as
 * good as to drop it. Of those whose values no step to come mentions one will do for another: what may be used now may
 * be used later. So a single one is tried, rather a compare-and-set than a write because a write is of use in more
 * places.
 *
 * What can fail: the states may run out, and then it is not decided. Memory is asserted.
 *
 * Invariants: the tallies count the steps that are not ordered. The trail leads back to the first state.
 *
 * May include: history_memory.h, history_search.h, history_seen.h, history_steps.h. */

#include "tests/sim/history_search.h"

#include "tests/sim/history_memory.h"
#include "tests/sim/history_seen.h"
#include "tests/sim/history_steps.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What there is of a value among the steps that are not ordered. */
struct tally {
    int32_t needed;    /* Steps that must happen and must find it. */
    int32_t mentioned; /* Steps that care whether the register holds it. */
    int32_t made;      /* Steps that make it. */
};

struct trail {
    uint32_t step, value; /* What the register held before. */
};

struct frame {
    uint32_t trail_count, next; /* The smallest number of a step that was not tried. */
};

/* The search for an order of the operations on one key. */
struct search {
    struct steps steps;
    struct tally *tallies; /* By the numbers of values. */
    uint32_t *heads;       /* The next step of each chain. */
    uint32_t chain_count;
    uint32_t value, left;
    int32_t fails_left;
    struct trail *trail;
    struct frame *frames;
    uint32_t trail_count, frame_count;
    struct history_seen seen;
    uint64_t *key;
    uint32_t *deepest_heads; /* Where the longest order ended. */
    uint32_t deepest_value, deepest_left;
};

static void search_free(struct search *search)
{
    history_steps_free(&search->steps);
    free(search->tallies);
    free(search->heads);
    free(search->trail);
    free(search->frames);
    history_seen_free(&search->seen);
    free(search->key);
    free(search->deepest_heads);
}

/* --- chains -------------------------------------------------------------------------------------- */

struct arrival {
    uint64_t invoked;
    uint32_t step;
};

static int compare_arrivals(const void *left, const void *right)
{
    const struct arrival *one = left, *other = right;
    if (one->invoked != other->invoked) {
        return one->invoked < other->invoked ? -1 : 1;
    }
    return (one->step > other->step) - (one->step < other->step);
}

static void make_chains(struct search *search)
{
    struct arrival *arrivals = history_take(search->steps.must, sizeof(*arrivals));
    uint32_t *tails = history_take(search->steps.must, sizeof(*tails));
    search->heads = history_take(search->steps.must, sizeof(*search->heads));
    for (uint32_t i = 0; i < search->steps.must; i++) {
        arrivals[i] = (struct arrival){.invoked = search->steps.all[i].invoked, .step = i};
    }
    qsort(arrivals, search->steps.must, sizeof(*arrivals), compare_arrivals);
    for (uint32_t i = 0; i < search->steps.must; i++) {
        struct step *step = &search->steps.all[arrivals[i].step];
        uint32_t chain = 0;
        while (chain < search->chain_count && search->steps.all[tails[chain]].deadline >= step->invoked) {
            chain++;
        }
        if (chain == search->chain_count) {
            search->heads[search->chain_count++] = arrivals[i].step;
        } else {
            search->steps.all[tails[chain]].next = arrivals[i].step;
        }
        step->chain = chain;
        tails[chain] = arrivals[i].step;
    }
    free(arrivals);
    free(tails);
}

static void tally_step(struct search *search, const struct step *step, int32_t change)
{
    if (step->expected != NONE) {
        struct tally *tally = &search->tallies[step->expected];
        tally->mentioned += change;
        tally->needed += step_needs(step) && !step_is_optional(step) ? change : 0;
    }
    if (step->value != NONE) {
        search->tallies[step->value].made += change;
    }
    search->fails_left += step->kind == STEP_FAIL ? change : 0;
}

/* All that the search needs, once there are steps. */
static void prepare(struct search *search)
{
    search->tallies = history_take(search->steps.value_count, sizeof(*search->tallies));
    for (uint32_t i = 0; i < search->steps.count; i++) {
        tally_step(search, &search->steps.all[i], 1);
    }
    make_chains(search);
    search->value = history_value_number(&search->steps, 0);
    search->left = search->steps.must;
    search->deepest_left = NONE;
    search->deepest_heads = history_take(search->chain_count, sizeof(*search->deepest_heads));
    search->trail = history_take(search->steps.count, sizeof(*search->trail));
    search->frames = history_take(search->steps.count, sizeof(*search->frames));
    search->seen.words = 1 + (search->chain_count + 3) / 4 + (search->steps.count - search->steps.must + 63) / 64;
    search->key = history_take(search->seen.words, sizeof(*search->key));
}

/* --- one step forth and back --------------------------------------------------------------------- */

static void apply(struct search *search, uint32_t number)
{
    struct step *step = &search->steps.all[number];
    search->trail[search->trail_count++] = (struct trail){.step = number, .value = search->value};
    tally_step(search, step, -1);
    if (step->value != NONE) {
        search->value = step->value;
    }
    if (number < search->steps.must) {
        search->heads[step->chain] = step->next;
        search->left--;
    } else {
        step->used = true;
    }
}

static void undo_to(struct search *search, uint32_t trail_count)
{
    while (search->trail_count > trail_count) {
        const struct trail *last = &search->trail[--search->trail_count];
        struct step *step = &search->steps.all[last->step];
        tally_step(search, step, 1);
        search->value = last->value;
        if (last->step < search->steps.must) {
            search->heads[step->chain] = last->step;
            search->left++;
        } else {
            step->used = false;
        }
    }
}

/* --- what may be next ---------------------------------------------------------------------------- */

/* A step that was invoked later than this has another one before it. */
static uint64_t earliest_deadline(const struct search *search)
{
    uint32_t first = NONE;
    for (uint32_t i = 0; i < search->chain_count; i++) {
        first = search->heads[i] < first ? search->heads[i] : first;
    }
    return first == NONE ? NO_DEADLINE : search->steps.all[first].deadline;
}

/* Whether to take it is no question, as long as it may be next at all. */
static bool is_forced(const struct search *search, const struct step *step)
{
    switch (step->kind) {
    case STEP_READ:
        return step->expected == search->value;
    case STEP_FAIL:
        return step->expected != search->value;
    case STEP_WRITE:
        return search->fails_left == 0 && search->tallies[search->value].mentioned == 0 &&
               search->tallies[step->value].mentioned == 0;
    case STEP_SWAP:
        break;
    }
    return false;
}

static void take_forced(struct search *search)
{
    bool again = true;
    while (again) { /* Each time around but the last some step is taken. */
        uint64_t due = earliest_deadline(search);
        again = false;
        for (uint32_t i = 0; i < search->chain_count; i++) {
            uint32_t head = search->heads[i];
            if (head != NONE && search->steps.all[head].invoked <= due && is_forced(search, &search->steps.all[head])) {
                apply(search, head);
                again = true;
            }
        }
    }
}

/* Whether some compare-and-set waits for the register to hold something else, so as to fail. */
static bool is_blocked(const struct search *search, uint64_t due)
{
    for (uint32_t i = 0; i < search->chain_count; i++) {
        uint32_t head = search->heads[i];
        if (head != NONE && search->steps.all[head].kind == STEP_FAIL && search->steps.all[head].invoked <= due) {
            return true;
        }
    }
    return false;
}

/* The smallest number from `from` on of an optional step worth a try. */
static uint32_t next_optional(const struct search *search, uint32_t from, uint64_t due)
{
    bool blocked = is_blocked(search, due), covered = false;
    for (uint32_t i = search->steps.must; i < search->steps.count; i++) {
        const struct step *step = &search->steps.all[i];
        bool possible = !step->used && step->invoked <= due && step->value != search->value &&
                        (step->kind == STEP_WRITE || step->expected == search->value);
        bool mentioned = search->tallies[step->value].mentioned > 0;
        if (!possible || (!blocked && !(step->loose && mentioned))) {
            continue;
        }
        if (!mentioned) {
            if (covered) {
                continue; /* The first of its like is as good. */
            }
            covered = true;
        }
        if (i >= from) {
            return i;
        }
    }
    return NONE;
}

/* The smallest number from `from` on of a step worth a try; those that are forced are taken. */
static uint32_t next_to_try(const struct search *search, uint32_t from)
{
    uint64_t due = earliest_deadline(search);
    uint32_t best = NONE;
    for (uint32_t i = 0; i < search->chain_count; i++) {
        uint32_t head = search->heads[i];
        if (head < from || head >= best || search->steps.all[head].invoked > due) {
            continue;
        }
        const struct step *step = &search->steps.all[head];
        if (step->kind == STEP_WRITE || (step->kind == STEP_SWAP && step->expected == search->value)) {
            best = head;
        }
    }
    return best != NONE ? best : next_optional(search, from, due);
}

/* The register no longer holds what some step needs, and never will again. */
static bool is_hopeless(const struct search *search, uint32_t before)
{
    const struct tally *tally = &search->tallies[before];
    return before != search->value && tally->needed > 0 && tally->made == 0;
}

/* --- the search ---------------------------------------------------------------------------------- */

/* Whether an optional step can never be taken from here on. */
static bool is_spent(const struct search *search, const struct step *step)
{
    return step->used ||
           (step->kind == STEP_SWAP && step->expected != search->value && search->tallies[step->expected].made == 0);
}

/* False: this state was seen before. */
static bool is_new(struct search *search)
{
    uint64_t *word = search->key;
    memset(word, 0, search->seen.words * sizeof(*word));
    *word++ = search->tallies[search->value].mentioned == 0 ? NONE : search->value;
    for (uint32_t i = 0; i < search->chain_count; i++) {
        uint64_t head = search->heads[i] == NONE ? UINT16_MAX : search->heads[i];
        word[i / 4] |= head << (i % 4 * 16);
    }
    word += (search->chain_count + 3) / 4;
    for (uint32_t i = search->steps.must; i < search->steps.count; i++) {
        uint32_t bit = i - search->steps.must;
        word[bit / 64] |= (uint64_t)is_spent(search, &search->steps.all[i]) << (bit % 64);
    }
    return history_seen_add(&search->seen, search->key);
}

static void keep_deepest(struct search *search)
{
    if (search->left < search->deepest_left) {
        search->deepest_left = search->left;
        search->deepest_value = search->value;
        memcpy(search->deepest_heads, search->heads, search->chain_count * sizeof(*search->heads));
    }
}

static enum history_verdict find_order(struct search *search, uint64_t states_max)
{
    bool forth = true;
    for (;;) { /* Ends: each state is entered once, and each step is tried once in each. */
        if (forth) {
            take_forced(search);
            if (search->left == 0) {
                return HISTORY_ORDER;
            }
            keep_deepest(search);
            if (is_new(search)) {
                if (search->seen.count > states_max) {
                    return HISTORY_UNDECIDED;
                }
                search->frames[search->frame_count++] = (struct frame){.trail_count = search->trail_count};
            }
        }
        if (search->frame_count == 0) {
            return HISTORY_NO_ORDER;
        }
        struct frame *frame = &search->frames[search->frame_count - 1];
        undo_to(search, frame->trail_count);
        uint32_t number = next_to_try(search, frame->next);
        forth = number != NONE;
        if (forth) {
            uint32_t before = search->value;
            frame->next = number + 1;
            apply(search, number);
            forth = !is_hopeless(search, before);
        } else {
            search->frame_count--;
        }
    }
}

/* Where the longest order ended: what comes next in each chain, and what still has to find the value that is there. */
static void say_no_order(const struct search *search, const struct operation *operations, uint32_t key,
                         struct history_text *text)
{
    uint64_t held = search->steps.values[search->deepest_value];
    history_say(text,
                "key %" PRIu32 ": no order exists: the longest one found has %" PRIu32 " of %" PRIu32
                " operations and leaves the value %" PRIu64 "; then there are",
                key, search->steps.must - search->deepest_left, search->steps.must, held);
    for (uint32_t i = 0; i < search->chain_count; i++) {
        if (search->deepest_heads[i] != NONE) {
            history_say_operation(text, operations, search->steps.all[search->deepest_heads[i]].operation);
        }
    }
    const char *heading = "\n and";
    for (uint32_t i = 0; i < search->chain_count; i++) {
        uint32_t at = search->deepest_heads[i];
        while (at != NONE && search->steps.all[at].next != NONE) {
            at = search->steps.all[at].next;
            if (step_needs(&search->steps.all[at]) && search->steps.all[at].expected == search->deepest_value) {
                history_say(text, "%s", heading);
                history_say_operation(text, operations, search->steps.all[at].operation);
                heading = "";
            }
        }
    }
}

enum history_verdict history_search(const struct operation *operations, const uint32_t *numbers, uint32_t count,
                                    uint64_t states_max, uint64_t *states, struct history_text *text)
{
    struct search search = {0};
    enum history_verdict verdict = HISTORY_NO_ORDER;
    if (history_steps_make(&search.steps, operations, numbers, count, text)) {
        prepare(&search);
        verdict = find_order(&search, states_max);
        *states += search.seen.count;
        if (verdict == HISTORY_NO_ORDER) {
            say_no_order(&search, operations, operations[numbers[0]].key, text);
        }
    }
    search_free(&search);
    return verdict;
}
