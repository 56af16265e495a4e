/* command_line.c - commands, options and numbers of a command line, from tables.
 *
 * The happy path: the first word names the command (or the usual one runs); options may stand anywhere; what is left
 * are the command's words.
 *
 * What can fail: what was typed. Then one line says what, one where help is, and the exit code is 2.
 *
 * Invariants: help shows every command and option that the tables hold, and no other is taken; a line of it is at most
 * 80 columns when the tables' words allow it. */

#define _GNU_SOURCE
#include "tools/command_line.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_CODE_USAGE = 2, EXIT_CODE_DISK = 3 };

static const struct program *current;

__attribute__((noreturn)) static void leave(int code)
{
    bool lost = fflush(stdout) != 0 && errno != EPIPE;
    exit(lost ? EXIT_CODE_DISK : code);
}

/* What was typed may hold control characters, as a name with a * in it may: a terminal does not get them. */
void usage(const char *format, ...)
{
    char *line = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&line, format, arguments) < 0) {
        line = NULL;
    }
    va_end(arguments);
    for (char *at = line; at != NULL && *at != '\0'; at++) {
        bool second = (unsigned char)at[0] == 0xc2 && (unsigned char)at[1] >= 0x80 && (unsigned char)at[1] < 0xa0;
        if (second) {
            *at++ = '?'; /* UTF-8 has control characters of two bytes, too. */
        }
        if ((unsigned char)*at < ' ' || *at == 0x7f || second) {
            *at = '?';
        }
    }
    (void)fprintf(stderr, "%s: %s\nTry '%s --help'.\n", current->name, line != NULL ? line : "wrong usage",
                  current->name);
    free(line);
    exit(EXIT_CODE_USAGE);
}

/* --- help ---------------------------------------------------------------------------------------- */

static void print_option(const struct option_line *line)
{
    char words[64];
    char letter[8] = "   ";
    if (line->id < OPTION_IDS_FROM) {
        (void)snprintf(letter, sizeof(letter), "-%c,", (char)line->id);
    }
    (void)snprintf(words, sizeof(words), "%s --%s%s%s", letter, line->name, line->argument != NULL ? "=" : "",
                   line->argument != NULL ? line->argument : "");
    (void)printf("  %-24s %s\n", words, line->help);
}

/* Of the program when command is NULL. */
__attribute__((noreturn)) static void print_help(const struct command *command)
{
    const struct program *program = current;
    if (command != NULL) {
        (void)printf("Usage: %s %s %s%s[OPTION...]\n\n%s.\n\n", program->name, command->name, command->arguments,
                     command->arguments[0] != '\0' ? " " : "", command->help);
    } else {
        (void)printf("Usage: %s %s [OPTION...] [WORD...]\n\n%s\n\n", program->name,
                     program->usual != NULL ? "[COMMAND]" : "COMMAND", program->summary);
        for (unsigned i = 0; i < program->command_count; i++) {
            char words[32];
            (void)snprintf(words, sizeof(words), "%s %s", program->commands[i].name, program->commands[i].arguments);
            (void)printf("  %-22s %s\n", words, program->commands[i].help);
        }
        (void)printf("\n");
    }
    for (unsigned i = 0; i < program->option_count; i++) {
        if (command == NULL || (program->options[i].commands & command->bit) != 0) {
            print_option(&program->options[i]);
        }
    }
    (void)printf("\n%s", program->footer);
    leave(EXIT_SUCCESS);
}

/* --- numbers ------------------------------------------------------------------------------------- */

/* Ten, whatever zeros stand in front (they come from file names); sixteen behind 0x. */
static int base_of(const char *text)
{
    return text[0] == '0' && (text[1] == 'x' || text[1] == 'X') ? 16 : 10;
}

uint64_t number_of(const char *text, const char *what)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, base_of(text));
    if (text[0] < '0' || text[0] > '9' || errno != 0 || *end != '\0') {
        usage("%s: '%s' is no number", what, text);
    }
    return value;
}

uint64_t size_of(const char *text, const char *what)
{
    static const char units[] = "kMG";
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, base_of(text));
    if (text[0] < '0' || text[0] > '9' || errno != 0) {
        usage("%s: '%s' is no size", what, text);
    }
    const char *unit = *end != '\0' ? strchr(units, *end == 'K' ? 'k' : *end) : NULL;
    unsigned shift = unit != NULL ? 10 * (unsigned)(unit - units + 1) : 0;
    end += unit != NULL;
    if ((*end != '\0' && strcmp(end, "iB") != 0) || value > UINT64_MAX >> shift) {
        usage("%s: '%s' is no size", what, text);
    }
    return value << shift;
}

uint64_t duration_ns_of(const char *text, const char *what)
{
    static const struct {
        const char *name;
        double ns;
    } units[] = {{"", 1e9}, {"s", 1e9}, {"ms", 1e6}, {"us", 1e3}, {"ns", 1}, {"m", 60e9}};
    char *end;
    double value = strtod(text, &end);
    for (unsigned i = 0; text[0] >= '0' && text[0] <= '9' && i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(end, units[i].name) == 0 && isfinite(value) && value * units[i].ns < 1e18) {
            return (uint64_t)(value * units[i].ns + 0.5);
        }
    }
    usage("%s: '%s' is no duration, like 10ms or 1.5s", what, text);
}

int word_of(const char *text, const char *what, const char *const *words)
{
    for (int i = 0; words[i] != NULL; i++) {
        if (strcmp(text, words[i]) == 0) {
            return i;
        }
    }
    char known[256] = "";
    for (int i = 0; words[i] != NULL; i++) {
        size_t used = strlen(known);
        if (words[i][0] != '\0') {
            (void)snprintf(known + used, sizeof(known) - used, "%s%s", used != 0 ? ", " : "", words[i]);
        }
    }
    usage("%s: '%s' is none of: %s", what, text, known);
}

unsigned list_of(const char *text, const char *what, unsigned most, void (*each)(void *context, const char *word),
                 void *context)
{
    char *copy = strdup(text);
    char *rest = copy;
    unsigned count = 0;
    for (char *word = copy == NULL ? NULL : strsep(&rest, ","); word != NULL; word = strsep(&rest, ",")) {
        if (count++ == most) {
            usage("%s: more than %u of them", what, most);
        }
        each(context, word);
    }
    free(copy);
    return count;
}

/* --- taking the command line --------------------------------------------------------------------- */

static const struct command *command_of(const char *word)
{
    for (unsigned i = 0; i < current->command_count; i++) {
        if (strcmp(current->commands[i].name, word) == 0) {
            return &current->commands[i];
        }
    }
    return NULL;
}

static void fill_options(struct option *long_options, char *letters)
{
    for (unsigned i = 0; i < current->option_count; i++) {
        const struct option_line *line = &current->options[i];
        long_options[i] =
            (struct option){line->name, line->argument != NULL ? required_argument : no_argument, NULL, line->id};
        if (line->id < OPTION_IDS_FROM) {
            *letters++ = (char)line->id;
            if (line->argument != NULL) {
                *letters++ = ':';
            }
        }
    }
    *letters = '\0';
}

static const struct option_line *option_of(int id)
{
    for (unsigned i = 0; i < current->option_count; i++) {
        if (current->options[i].id == id) {
            return &current->options[i];
        }
    }
    return NULL;
}

/* Reads the options; what is left of the words is moved to the end of argv, from optind on. */
static void take_options(struct settings *settings, const struct command *command, int argc, char **argv)
{
    struct option long_options[OPTIONS_MAX + 1] = {{0}};
    char letters[2 * OPTIONS_MAX + 1];
    fill_options(long_options, letters);
    int id;
    while ((id = getopt_long(argc, argv, letters, long_options, NULL)) != -1) {
        if (id == '?') {
            (void)fprintf(stderr, "Try '%s --help'.\n", current->name); /* getopt_long has said what is wrong. */
            exit(EXIT_CODE_USAGE);
        }
        if (id == OPTION_HELP) {
            print_help(command == current->usual ? NULL : command);
        }
        if (id == OPTION_VERSION) {
            current->print_version();
            leave(EXIT_SUCCESS);
        }
        const struct option_line *line = option_of(id);
        if (command != NULL && (line->commands & command->bit) == 0) {
            usage("%s takes no --%s", command->name, line->name);
        }
        current->take(settings, id, optarg);
    }
}

/* Where options stand before the command's name, the name is brought to the front. What is wrong with the options is
 * told when they are taken, not here. */
static void bring_command_forward(int argc, char **argv)
{
    if (argc < 2 || argv[1][0] != '-') {
        return;
    }
    struct option long_options[OPTIONS_MAX + 1] = {{0}};
    char letters[2 * OPTIONS_MAX + 1];
    fill_options(long_options, letters);
    opterr = 0;
    while (getopt_long(argc, argv, letters, long_options, NULL) != -1) {
    }
    int word = optind;
    opterr = 1;
    optind = 0; /* So that what follows reads from the start. */
    if (word >= argc || strcmp(argv[word - 1], "--") == 0 || command_of(argv[word]) == NULL) {
        return;
    }
    char *name = argv[word];
    memmove(&argv[2], &argv[1], (size_t)(word - 1) * sizeof(*argv));
    argv[1] = name;
}

const struct command *command_line_take(const struct program *program, struct settings *settings, int argc, char **argv)
{
    current = program;
    bring_command_forward(argc, argv);
    if (argc > 1 && strcmp(argv[1], "help") == 0) {
        const struct command *about = argc > 2 ? command_of(argv[2]) : NULL;
        if (argc > 2 && about == NULL) {
            usage("there is no command '%s'", argv[2]);
        }
        print_help(about);
    }
    const struct command *command = argc > 1 && argv[1][0] != '-' ? command_of(argv[1]) : NULL;
    unsigned named = command != NULL;
    if (command == NULL && argc > 1 && argv[1][0] != '-' && program->usual == NULL) {
        usage("there is no command '%s'", argv[1]);
    }
    command = command != NULL ? command : program->usual;
    argv[named] = argv[0]; /* getopt_long names the program by it. */
    take_options(settings, command, argc - (int)named, argv + named);
    if (command == NULL) {
        usage("a command is wanted");
    }
    char **words = argv + named + optind;
    unsigned count = (unsigned)(argc - (int)named - optind);
    if (count < command->least || count > command->most) {
        usage("%s wants %s", command->name, command->arguments[0] != '\0' ? command->arguments : "no words");
    }
    program->take_words(settings, command, count, words);
    return command;
}
