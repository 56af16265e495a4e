/* dump_run.h - commands of waldump, run in this process, with what they print caught. */

#ifndef TESTS_DUMP_RUN_H
#define TESTS_DUMP_RUN_H

#include "tools/waldump.h"

/* What main would have filled in for a command without options. */
struct settings dump_settings(const char *path);

/* Runs it. What it prints on stdout (as much as fits, terminated) goes to text, *length is all of it; stderr is lost.
 * The command's exit code. */
int dump_run(int (*command)(struct settings *settings), struct settings *settings, char *text, size_t size,
             size_t *length);

#endif
