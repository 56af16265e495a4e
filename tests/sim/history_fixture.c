/* history_fixture.c - stories of one key told by hand.
 *
 * The happy path: a story begins, operations are added to it, and it ends with a verdict that must be this or that.
 *
 * What can fail: a verdict that is not as it must be ends the test at its line here, with what the checker said.
 *
 * Invariants: there is one story at a time; a verdict frees it.
 *
 * May include: history.h, history_fixture.h. */

#include "tests/sim/history_fixture.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct history *story;

void found(uint64_t from, uint64_t to, uint64_t value)
{
    history_return(story, history_invoke(story, 1, HISTORY_READ, KEY, 0, 0, from), value, true, to);
}

void wrote(uint64_t from, uint64_t to, uint64_t value)
{
    history_return(story, history_invoke(story, 2, HISTORY_WRITE, KEY, value, 0, from), 0, true, to);
}

void swapped(uint64_t from, uint64_t to, uint64_t expected, uint64_t value)
{
    history_return(story, history_invoke(story, 3, HISTORY_COMPARE_AND_SET, KEY, value, expected, from), 0, true, to);
}

void failed(uint64_t from, uint64_t to, uint64_t expected, uint64_t value)
{
    history_return(story, history_invoke(story, 3, HISTORY_COMPARE_AND_SET, KEY, value, expected, from), 0, false, to);
}

void maybe_wrote(uint64_t from, uint64_t value)
{
    history_unknown(story, history_invoke(story, 4, HISTORY_WRITE, KEY, value, 0, from));
}

void maybe_swapped(uint64_t from, uint64_t expected, uint64_t value)
{
    history_unknown(story, history_invoke(story, 4, HISTORY_COMPARE_AND_SET, KEY, value, expected, from));
}

void begin(void)
{
    history_free(story);
    story = history_new();
}

void good(void)
{
    const char *text = history_check(story, STATES_MAX);
    if (text != NULL) {
        fail_msg("rejected: %s", text);
    }
    assert_false(history_gave_up(story));
    history_free(story);
    story = NULL;
}

void bad_because(const char *words)
{
    const char *text = history_check(story, STATES_MAX);
    assert_non_null(text);
    assert_false(history_gave_up(story));
    assert_non_null(strstr(text, "key 7: no order exists"));
    if (strstr(text, words) == NULL) {
        fail_msg("no '%s' in: %s", words, text);
    }
    history_free(story);
    story = NULL;
}

void bad(void)
{
    bad_because("");
}
