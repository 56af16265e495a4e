/* emit.c - what a command prints: rows, as aligned text, as NDJSON or as CSV, from the same calls.
 *
 * The happy path: emit_begin names the schema and the columns; each row is emit_row, its fields, emit_end. Text gets a
 * line of headings before its first row, CSV its header line, JSON a "schema" in every row.
 *
 * What can fail: stdout. A reader that went away (EPIPE) is no error: exit 0, nothing said. A full disk is: exit 3.
 *
 * Invariants: one row is one line, whatever bytes are in it; JSON and CSV never depend on widths or on the terminal. */

#define _GNU_SOURCE
#include "tools/emit.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* --- rows ---------------------------------------------------------------------------------------- */

void emit_begin(struct emit *emit, const char *schema, const struct emit_column *columns, unsigned column_count)
{
    emit->schema = schema;
    emit->columns = columns;
    emit->column_count = column_count;
    emit->headed = false;
}

static void put_csv(const char *text)
{
    if (strpbrk(text, ",\"\n") == NULL) {
        (void)fputs(text, stdout);
        return;
    }
    (void)putchar('"');
    for (; *text != '\0'; text++) {
        (void)(*text == '"' && putchar('"'));
        (void)putchar(*text);
    }
    (void)putchar('"');
}

/* Cell `i` of a line of text; the last one is not padded, so that no line ends in blanks. */
static void put_cell(const struct emit *emit, unsigned i, const char *text)
{
    const struct emit_column *column = &emit->columns[i];
    bool last = i + 1 == emit->column_count;
    if (last && text[0] == '\0') {
        return;
    }
    (void)printf("%s%*s", i == 0 ? "" : "  ", last && column->width < 0 ? 0 : column->width, text);
}

static void put_headings(struct emit *emit)
{
    emit->headed = true;
    if (emit->format == EMIT_TEXT && !emit->plain) {
        for (unsigned i = 0; i < emit->column_count; i++) {
            put_cell(emit, i, emit->columns[i].name);
        }
        (void)putchar('\n');
    } else if (emit->format == EMIT_CSV) {
        for (unsigned i = 0; i < emit->column_count; i++) {
            bool place = strcmp(emit->columns[i].name, "place") == 0;
            (void)printf("%s%s", i == 0 ? "" : ",", place ? "segment,offset" : emit->columns[i].name);
        }
        (void)putchar('\n');
    }
}

void emit_row(struct emit *emit)
{
    if (!emit->headed) {
        put_headings(emit);
    }
    emit->next_column = 0;
    if (emit->format == EMIT_JSON) {
        (void)printf("{\"schema\":\"%s\"", emit->schema);
    }
}

static bool is_json(const struct emit *emit, const char *name)
{
    if (emit->format == EMIT_JSON) {
        (void)printf(",\"%s\":", name);
        return true;
    }
    return false;
}

/* The cell of a field that people see; others are left out. */
static void put_field(struct emit *emit, const char *name, const char *text)
{
    if (emit->next_column == emit->column_count || strcmp(emit->columns[emit->next_column].name, name) != 0) {
        return;
    }
    if (emit->format == EMIT_CSV) {
        (void)fputs(emit->next_column == 0 ? "" : ",", stdout);
        put_csv(text);
    } else {
        put_cell(emit, emit->next_column, text);
    }
    emit->next_column++;
}

void emit_u64(struct emit *emit, const char *name, uint64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%" PRIu64, value);
    if (is_json(emit, name)) {
        (void)fputs(text, stdout);
    } else {
        put_field(emit, name, text);
    }
}

void emit_x64(struct emit *emit, const char *name, uint64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%016" PRIx64, value);
    if (is_json(emit, name)) {
        (void)printf("\"%s\"", text);
    } else {
        put_field(emit, name, text);
    }
}

void emit_place(struct emit *emit, uint64_t segment, uint64_t offset)
{
    if (emit->format == EMIT_JSON) {
        (void)printf(",\"segment\":%" PRIu64 ",\"offset\":%" PRIu64, segment, offset);
        return;
    }
    char text[48];
    if (emit->format == EMIT_CSV && emit->next_column < emit->column_count) {
        (void)printf("%s%" PRIu64 ",%" PRIu64, emit->next_column == 0 ? "" : ",", segment, offset);
        emit->next_column++;
        return;
    }
    (void)snprintf(text, sizeof(text), "%" PRIu64 ":0x%06" PRIx64, segment, offset);
    put_field(emit, "place", text);
}

/* Bytes of the UTF-8 character that begins here; 0: it is none, or a control character. */
static size_t utf8_bytes(const unsigned char *bytes, size_t left)
{
    if (bytes[0] < 0x80) {
        return bytes[0] >= 0x20 && bytes[0] != 0x7f;
    }
    size_t wanted = bytes[0] >= 0xf0 && bytes[0] <= 0xf4  ? 4
                    : bytes[0] >= 0xe0 && bytes[0] < 0xf0 ? 3
                    : bytes[0] >= 0xc2 && bytes[0] < 0xe0 ? 2
                                                          : 0;
    if (wanted == 0 || wanted > left) {
        return 0;
    }
    for (size_t i = 1; i < wanted; i++) {
        if ((bytes[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (bytes[0] == 0xe0 && bytes[1] < 0xa0) || (bytes[0] == 0xf0 && bytes[1] < 0x90);
    bool no_character = (bytes[0] == 0xed && bytes[1] > 0x9f) || (bytes[0] == 0xf4 && bytes[1] > 0x8f) ||
                        (bytes[0] == 0xc2 && bytes[1] < 0xa0);
    return overlong || no_character ? 0 : wanted;
}

const char *shown(const char *text)
{
    static char buffers[4][SHOWN_BYTES];
    static unsigned turn;
    char *buffer = buffers[turn++ % 4], *to = buffer;
    const unsigned char *from = (const unsigned char *)text;
    size_t left = strlen(text);
    while (left > 0 && to + 5 < buffer + SHOWN_BYTES) {
        size_t bytes = utf8_bytes(from, left);
        if (bytes == 0) {
            to += sprintf(to, "\\x%02x", *from);
            bytes = 1;
        } else {
            memcpy(to, from, bytes);
            to += bytes;
        }
        from += bytes;
        left -= bytes;
    }
    *to = '\0';
    return buffer;
}

/* raw: bytes above ASCII are a payload's and become \u00NN; else they are UTF-8 of ours and stay. What is no UTF-8 (a
 * path may be anything) becomes \u00NN as well. */
static void put_json_text(const unsigned char *bytes, size_t size, bool raw)
{
    (void)putchar('"');
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] == '"' || bytes[i] == '\\') {
            (void)printf("\\%c", bytes[i]);
            continue;
        }
        size_t character = raw && bytes[i] > 0x7f ? 0 : utf8_bytes(bytes + i, size - i);
        if (character == 0) {
            (void)printf("\\u%04x", bytes[i]);
        } else {
            (void)fwrite(bytes + i, 1, character, stdout);
            i += character - 1;
        }
    }
    (void)putchar('"');
}

void emit_text(struct emit *emit, const char *name, const char *text)
{
    if (is_json(emit, name)) {
        put_json_text((const unsigned char *)text, strlen(text), false);
    } else {
        put_field(emit, name, shown(text));
    }
}

void emit_bool(struct emit *emit, const char *name, bool value)
{
    if (is_json(emit, name)) {
        (void)fputs(value ? "true" : "false", stdout);
    } else {
        put_field(emit, name, value ? "yes" : "no");
    }
}

void emit_none(struct emit *emit, const char *name)
{
    if (is_json(emit, name)) {
        (void)fputs("null", stdout);
    } else {
        put_field(emit, name, emit->format == EMIT_CSV ? "" : "-");
    }
}

/* --- bytes --------------------------------------------------------------------------------------- */

static void *room(size_t bytes)
{
    void *memory = malloc(bytes);
    if (memory == NULL) {
        complain("out of memory");
        exit(EXIT_DISK);
    }
    return memory;
}

/* The bytes in their printed form: a field of its own in JSON, a cell elsewhere. */
static void put_encoded(struct emit *emit, const char *name, const char *text)
{
    if (is_json(emit, name)) {
        (void)printf("\"%s\"", text);
    } else {
        put_field(emit, name, text);
    }
}

void emit_hex(struct emit *emit, const char *name, const void *bytes, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *from = bytes;
    char *text = room(2 * size + 1);
    for (size_t i = 0; i < size; i++) {
        text[2 * i] = digits[from[i] >> 4];
        text[2 * i + 1] = digits[from[i] & 15];
    }
    text[2 * size] = '\0';
    put_encoded(emit, name, text);
    free(text);
}

void emit_base64(struct emit *emit, const char *name, const void *bytes, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *from = bytes;
    char *text = room((size + 2) / 3 * 4 + 1);
    char *to = text;
    for (size_t i = 0; i < size; i += 3) {
        size_t have = size - i < 3 ? size - i : 3;
        uint32_t word = (uint32_t)from[i] << 16;
        word |= have > 1 ? (uint32_t)from[i + 1] << 8 : 0;
        word |= have > 2 ? (uint32_t)from[i + 2] : 0;
        *to++ = digits[word >> 18];
        *to++ = digits[word >> 12 & 63];
        *to++ = have > 1 ? digits[word >> 6 & 63] : '=';
        *to++ = have > 2 ? digits[word & 63] : '=';
    }
    *to = '\0';
    put_encoded(emit, name, text);
    free(text);
}

void emit_bytes(struct emit *emit, const char *name, const void *bytes, size_t size)
{
    const unsigned char *from = bytes;
    if (is_json(emit, name)) {
        put_json_text(from, size, true);
        return;
    }
    char *text = room(4 * size + 1);
    char *to = text;
    for (size_t i = 0; i < size; i++) {
        if (from[i] < 0x20 || from[i] >= 0x7f || from[i] == '\\') {
            to += sprintf(to, "\\x%02x", from[i]);
        } else {
            *to++ = (char)from[i];
        }
    }
    *to = '\0';
    put_field(emit, name, text);
    free(text);
}

/* --- the end of a row, and of all ---------------------------------------------------------------- */

static int worst = EXIT_READABLE;

void emit_worst(int code)
{
    worst = code > worst ? code : worst;
}

static void check_stdout(void)
{
    if (!ferror(stdout)) {
        return;
    }
    progress_end();
    if (errno != EPIPE) {
        complain("cannot write the result: %s", strerror(errno));
    }
    _exit(errno == EPIPE ? worst : EXIT_DISK); /* Not exit: it would try to flush again. */
}

void emit_end(struct emit *emit)
{
    (void)fputs(emit->format == EMIT_JSON ? "}\n" : "\n", stdout);
    check_stdout();
}

void emit_finish(void)
{
    (void)fflush(stdout);
    check_stdout();
}

void emit_line(const char *name, const char *format, ...)
{
    char text[SHOWN_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    (void)printf("  %-14s %s\n", name, shown(text));
    check_stdout();
}

void complain(const char *format, ...)
{
    char text[SHOWN_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    progress_end();
    (void)fprintf(stderr, "waldump: %s\n", shown(text));
}

/* --- progress ------------------------------------------------------------------------------------ */

static struct {
    bool on;
    bool shown;
    struct timespec due;
} progress;

static void due_in(long milliseconds)
{
    (void)clock_gettime(CLOCK_MONOTONIC, &progress.due);
    progress.due.tv_sec += milliseconds / 1000;
    progress.due.tv_nsec += milliseconds % 1000 * 1000000;
    if (progress.due.tv_nsec >= 1000000000) {
        progress.due.tv_sec++;
        progress.due.tv_nsec -= 1000000000;
    }
}

void progress_start(enum progress_wish wish)
{
    progress.on = wish == PROGRESS_ALWAYS || (wish == PROGRESS_AUTO && isatty(STDERR_FILENO));
    due_in(wish == PROGRESS_ALWAYS ? 0 : 1000);
}

/* Is it time for a line? */
static bool progress_is_due(void)
{
    struct timespec now;
    return progress.on && clock_gettime(CLOCK_MONOTONIC, &now) == 0 &&
           (now.tv_sec > progress.due.tv_sec ||
            (now.tv_sec == progress.due.tv_sec && now.tv_nsec >= progress.due.tv_nsec));
}

void progress_count(const char *what, uint64_t done, uint64_t total, const char *unit)
{
    if (!progress_is_due()) {
        return;
    }
    (void)fprintf(stderr, "\r%s: %" PRIu64 " of %" PRIu64 " %s, %" PRIu64 " %%\033[K", shown(what), done, total, unit,
                  total == 0 ? 100 : (uint64_t)((double)done * 100 / (double)total));
    (void)fflush(stderr);
    progress.shown = true;
    due_in(200);
}

void progress_tell(const char *what, uint64_t done, uint64_t total)
{
    if (!progress_is_due()) {
        return;
    }
    (void)fprintf(stderr, "\r%s: %" PRIu64 " of %" PRIu64 " MiB, %" PRIu64 " %%\033[K", shown(what), done >> 20,
                  total >> 20, total == 0 ? 100 : (uint64_t)((double)done * 100 / (double)total));
    (void)fflush(stderr);
    progress.shown = true;
    due_in(200);
}

void progress_end(void)
{
    if (progress.shown) {
        (void)fputs("\r\033[K", stderr);
        (void)fflush(stderr);
    }
    progress.shown = false;
}

/* --- signals ------------------------------------------------------------------------------------- */

static volatile sig_atomic_t signalled;

/* The first asks the work to end with what it has; the second is not asking. */
static void remember_signal(int signal_number)
{
    if (signalled != 0) {
        (void)signal(signal_number, SIG_DFL);
        (void)raise(signal_number); /* It comes when this handler has returned. */
    }
    signalled = signal_number;
}

void signals_catch(void)
{
    struct sigaction action = {.sa_handler = remember_signal};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    struct sigaction before;
    if (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN) { /* Not below nohup. */
        (void)sigaction(SIGHUP, &action, NULL);
    }
    action.sa_handler = SIG_IGN;
    (void)sigaction(SIGPIPE, &action, NULL);
}

bool interrupted(void)
{
    return signalled != 0;
}
