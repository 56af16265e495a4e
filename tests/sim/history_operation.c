/* history_operation.c - an operation of a client in words.
 *
 * What for: a verdict names the operations that it is about, so that one can look at them in the run.
 *
 * The happy path: pieces are put one behind the other. What can fail: the text may be full; the rest is cut off.
 *
 * Invariants: the text ends with a zero within its bytes.
 *
 * May include: history_operation.h, wal/check.h. */

#include "tests/sim/history_operation.h"

#include "wal/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

void history_say(struct history_text *text, const char *format, ...)
{
    size_t room = sizeof(text->text) - text->bytes;
    va_list arguments;
    va_start(arguments, format);
    int wanted = vsnprintf(text->text + text->bytes, room, format, arguments);
    va_end(arguments);
    CHECK(wanted >= 0);
    text->bytes += (size_t)wanted < room ? (size_t)wanted : room - 1;
}

void history_say_operation(struct history_text *text, const struct operation *operations, uint32_t number)
{
    const struct operation *operation = &operations[number];
    bool known = operation->outcome == OUTCOME_RETURNED;
    history_say(text, "\n  #%" PRIu32 " client %" PRIu32 " ", number, operation->client);
    if (operation->kind == HISTORY_READ) {
        history_say(text, "finds %" PRIu64, operation->expected);
    } else if (operation->kind == HISTORY_WRITE) {
        history_say(text, "writes %" PRIu64, operation->value);
    } else {
        history_say(text, "writes %" PRIu64 " if it finds %" PRIu64 "%s", operation->value, operation->expected,
                    !known                 ? ""
                    : operation->succeeded ? ", and did"
                                           : ", and did not");
    }
    if (known) {
        history_say(text, " [%" PRIu64 ", %" PRIu64 "]", operation->invoked, operation->returned);
    } else {
        history_say(text, " [%" PRIu64 ", outcome unknown]", operation->invoked);
    }
}
