/* command_line.h - what our programs' command lines have in common: tables of commands and options, help from these
 * tables, numbers, sizes, durations, words, and usage errors (one line on stderr, exit code 2).
 *
 * May include: nothing of the project. */

#ifndef TOOLS_COMMAND_LINE_H
#define TOOLS_COMMAND_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct settings; /* Each program's own. */

struct command {
    unsigned bit; /* One bit. */
    const char *name;
    const char *arguments; /* As help shows them; "": it takes no words. */
    unsigned least;        /* Words behind the name, */
    unsigned most;         /* at most COMMAND_WORDS_MAX. */
    const char *help;
    int (*run)(struct settings *settings); /* Returns the exit code. */
};

enum { COMMAND_WORDS_MAX = 16, OPTIONS_MAX = 64, OPTION_IDS_FROM = 256 };

struct option_line {
    int id;               /* A letter, or from OPTION_IDS_FROM on. */
    const char *name;     /* Behind the two dashes. */
    const char *argument; /* NULL: it takes none. */
    unsigned commands;    /* Bits of those that take it. */
    const char *help;
};

/* Every program has these two, and takes them itself. */
enum { OPTION_HELP = 'h', OPTION_VERSION = 'V' };

struct program {
    const char *name;
    const char *summary; /* A sentence or two, above the commands. */
    const char *footer;  /* Exit codes and examples, lines with their newlines. */
    const struct command *commands;
    unsigned command_count;
    const struct option_line *options;
    unsigned option_count;
    const struct command *usual; /* What runs when no command is named; NULL: one must be. */
    void (*print_version)(void);
    void (*take)(struct settings *settings, int id, const char *text); /* Each option, in the order given. */
    void (*take_words)(struct settings *settings, const struct command *command, unsigned count, char **words);
};

/* Reads the command line into settings. Returns the command to run; does not return after --help, --version and usage
 * errors. */
const struct command *command_line_take(const struct program *program, struct settings *settings, int argc,
                                        char **argv);

/* "NAME: ..." and where help is, on stderr; exit code 2. */
__attribute__((noreturn, format(printf, 1, 2))) void usage(const char *format, ...);

/* These end the program as usage() does when the text is none; `what` is the option as people write it. */
uint64_t number_of(const char *text, const char *what);                    /* Decimal, 0x.. */
uint64_t size_of(const char *text, const char *what);                      /* k, M, G, KiB, ...: powers of 1,024 */
uint64_t duration_ns_of(const char *text, const char *what);               /* 10ms, 1.5s, 200us; plain: seconds */
int word_of(const char *text, const char *what, const char *const *words); /* Its place; they end with NULL. */
/* Words separated by commas, handed to `each` in turn; more than `most` are refused. Returns how many. */
unsigned list_of(const char *text, const char *what, unsigned most, void (*each)(void *context, const char *word),
                 void *context);

#endif
