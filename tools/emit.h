/* emit.h - what a command prints: rows, as aligned text, as NDJSON or as CSV, from the same calls.
 *
 * A row is a line. Its fields are given in a fixed order; the columns say which of them people see (JSON has all of
 * them). Results go to stdout, everything else to stderr. A reader that goes away (`| head`) ends the program in
 * silence with exit code 0. */

#ifndef TOOLS_EMIT_H
#define TOOLS_EMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum emit_format { EMIT_TEXT, EMIT_JSON, EMIT_CSV };

/* Exit codes of the tools; the README and the manual page say the same. */
enum exit_code {
    EXIT_READABLE = 0,
    EXIT_NEGATIVE = 1, /* Damage in durable data, no such index, logs that differ. */
    EXIT_USAGE = 2,
    EXIT_DISK = 3, /* It could not be read or opened. */
    EXIT_NEWER = 4,
    EXIT_INTERRUPTED = 130
};

/* A column that people see. width: at least so many characters, negative: to the left; 0: the last one, as it comes. */
struct emit_column {
    const char *name;
    int width;
};

struct emit {
    enum emit_format format;
    bool plain; /* Text without a line of headings. */
    const char *schema;
    const struct emit_column *columns;
    unsigned column_count;
    unsigned next_column;
    bool headed;
    bool in_array;
    bool first_field;
};

/* From now on rows of this schema ("waldump.ls/1"). columns must outlive the rows. */
void emit_begin(struct emit *emit, const char *schema, const struct emit_column *columns, unsigned column_count);

void emit_row(struct emit *emit);
void emit_u64(struct emit *emit, const char *name, uint64_t value);
/* 16 hexadecimal digits. */
void emit_x64(struct emit *emit, const char *name, uint64_t value);
/* A place in a segment file: "12:0x3fa2000" for people, two numbers named segment and offset in JSON and CSV. */
void emit_place(struct emit *emit, uint64_t segment, uint64_t offset);
void emit_text(struct emit *emit, const char *name, const char *text);
void emit_bool(struct emit *emit, const char *name, bool value);
void emit_hex(struct emit *emit, const char *name, const void *bytes, size_t size);
void emit_base64(struct emit *emit, const char *name, const void *bytes, size_t size);
/* Bytes as text: what is not printable ASCII becomes \xNN, in JSON \u00NN. */
void emit_bytes(struct emit *emit, const char *name, const void *bytes, size_t size);
/* No value: null in JSON, "-" for people, nothing in CSV. */
void emit_none(struct emit *emit, const char *name);
/* Ends the row; here a write error of stdout is found, and ends the program. */
void emit_end(struct emit *emit);

/* At the very end: what is buffered goes out, or the program ends with EXIT_DISK. */
void emit_finish(void);

/* A line of text for people: a name, and what there is to say. */
void emit_line(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));

enum { SHOWN_BYTES = 8192 };

/* A path or a sentence as a terminal may get it: what is no UTF-8, and control characters, become \xNN. Valid until the
 * fourth call from this one; cut at SHOWN_BYTES. */
const char *shown(const char *text);

/* What the exit code will be at least, known before the output is: it holds when the reader of the output goes away. */
void emit_worst(int code);

/* "waldump: ..." and a newline on stderr. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A line on stderr that is written over, a few times a second; "" removes it. `show` of auto: only on a terminal, and
 * only when the work takes longer than a second. */
enum progress_wish { PROGRESS_AUTO, PROGRESS_ALWAYS, PROGRESS_NEVER };
void progress_start(enum progress_wish wish);
void progress_tell(const char *what, uint64_t done, uint64_t total); /* Bytes. */
void progress_count(const char *what, uint64_t done, uint64_t total, const char *unit);
void progress_end(void);

/* SIGINT and SIGTERM set a flag; loops look at it, and what is there is printed. SIGPIPE is ignored. */
void signals_catch(void);
bool interrupted(void);

#endif
