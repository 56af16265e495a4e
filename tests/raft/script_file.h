/* script_file.h - a file of cases in the data-driven grammar: a command, lines of input, ----, what it should print.
 *
 *   file   := (blank | '#' comment | case)*
 *   case   := command argument* NL input-line* '----' NL output-line* (blank | end)
 *           | ... '----' NL '----' NL output, blank lines too '----' NL '----'
 *   argument := word | word=value | word=(value value ...), separated by commas or blanks
 *
 * May include: nothing of the project. */

#ifndef TESTS_RAFT_SCRIPT_FILE_H
#define TESTS_RAFT_SCRIPT_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { SCRIPT_ARGUMENTS_MAX = 32, SCRIPT_VALUES_MAX = 64 };

struct script_argument {
    const char *name; /* Of a bare word: itself, */
    bool has_values;  /* without values. */
    unsigned count;
    const char *values[SCRIPT_VALUES_MAX];
};

struct script_case {
    unsigned line; /* Of the command, from 1. */
    const char *command;
    unsigned argument_count;
    struct script_argument arguments[SCRIPT_ARGUMENTS_MAX];
    const char *input;    /* Lines, each with its end; "" without any. */
    const char *expected; /* As they stand in the file. */
};

/* What a command prints goes to `out`. */
typedef void script_run(void *context, const struct script_case *script_case, FILE *out);

struct script_result {
    unsigned cases, differences;
    const char *malformed; /* NULL, or what is wrong with the file, */
    unsigned line;         /* and where. */
};

/* Runs all cases of the text, which is changed. The file with the actual output goes to `actual` (NULL: nowhere), each
 * difference to `differences` (NULL: nowhere), named by `name`. */
struct script_result script_file_run(char *text, const char *name, script_run *run, void *context, FILE *actual,
                                     FILE *differences);

/* NULL: there is no such argument. */
const struct script_argument *script_find(const struct script_case *script_case, const char *name);
/* The number that an argument has; or `otherwise`. */
uint64_t script_number(const struct script_case *script_case, const char *name, uint64_t otherwise);
bool script_flag(const struct script_case *script_case, const char *name, bool otherwise);
/* The word that an argument has; or `otherwise`. */
const char *script_word(const struct script_case *script_case, const char *name, const char *otherwise);
/* NULL, or the first argument that nobody can read: a name that the grammar does not have, a number that is none or is
 * above 2^40. What others' scripts name and nothing here needs is in the grammar. */
const char *script_odd_argument(const struct script_case *script_case);
/* The bare words in their order; NULL: not so many. */
const char *script_bare(const struct script_case *script_case, unsigned which);
/* The bare words that are numbers; returns how many. */
unsigned script_ids(const struct script_case *script_case, uint64_t *ids, unsigned most);

#endif
