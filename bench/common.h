/* common.h - what all bench programs share: clocks, the interrupt, what failed, and the directory they work in.
 *
 * May include: wal/wal.h. */

#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wal/wal.h"

/* In front of what is said on stderr. */
extern const char *program_name;

uint64_t clock_ns(void);
uint64_t cpu_ns(void); /* Of this process, all threads. */
uint64_t random_next(uint64_t *state);

/* SIGINT, SIGTERM and SIGHUP set a flag; loops look at it. */
void interrupt_catch(void);
bool interrupted(void);
unsigned interrupts(void); /* How many have come. */

/* Says on stderr what failed (nothing once interrupted) and returns -1. result: a negative errno or a WAL_E...; log may
 * be NULL. */
int failed(const char *what, const struct wal *log, int result);

/* Text from outside (a path, an answer) as a terminal may have it: its control characters become ?. In place. */
char *printable(char *text);
/* The same in a copy, as far as there is room; NULL becomes "". */
const char *printable_copy(const char *text, char *copy, size_t size);

/* Says a line on stderr: the program's name, and the rest as printable() has it. */
__attribute__((format(printf, 1, 2))) void say_on_stderr(const char *format, ...);

/* What say_on_stderr() and failed() said first; "": nothing yet. */
const char *failure_told(void);

/* log may be NULL: it was not opened. What failed first is what is told and returned. */
int close_log(struct wal *log, int result);

/* Sleeps, or until interrupted. */
void sleep_seconds(double seconds);

/* --- the place of work: a new directory below a given one, removed at the end ---------------------- */

enum { WORKPLACE_PATH_BYTES = 3800 };

/* File systems in memory have nothing durable about them. */
bool is_in_memory(const char *path);

/* Makes parent/NAME.XXXXXX. 0, or -1 and it has said what failed. */
int workplace_make(const char *parent, uint64_t needed_bytes, char path[WORKPLACE_PATH_BYTES]);
/* A directory with all that is in it. */
void tree_remove(const char *path);

/* With all that is in it; also by whoever ends the program early. Nothing when none was made. */
void workplace_remove(void);

#endif
