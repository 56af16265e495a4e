/* script.c - raftscript: runs files of cases in the data-driven grammar, and prints or checks what comes out.
 *
 * The happy path: each file is read whole, its cases run one after the other on nodes of their own, and the file is
 * printed with the actual output; with --check it is only compared, with --write it is written anew.
 *
 * Exit codes: 0; 1 an output differs; 2 usage; 3 a file cannot be read or is malformed. */

#define _GNU_SOURCE
#include "tests/raft/script_commands.h"
#include "tests/raft/script_tables.h"
#include "wal/check.h"

#include <stdlib.h>
#include <string.h>

struct context {
    struct script_player player;
    struct script_tables tables;
};

static void run(void *user, const struct script_case *script_case, FILE *out)
{
    struct context *context = user;
    const char *odd = script_odd_argument(script_case);
    if (odd != NULL) {
        (void)fprintf(out, "unknown argument: %s\n", odd);
        return;
    }
    if (!script_tables_run(&context->tables, script_case, out) &&
        !script_commands_run(&context->player, script_case, out)) {
        (void)fprintf(out, "unknown command: %s\n", script_case->command);
    }
}

static void help(void)
{
    (void)fputs("Usage: raftscript [--check | --write] FILE...\n\n"
                "Runs scripts of cases: a command, lines of input, ----, what it prints.\n"
                "Without an option prints each file with the actual output.\n\n"
                "  --check    compare; print what differs, exit with 1 if anything does\n"
                "  --write    write the actual output into the file\n"
                "  --help     this help\n\n"
                "Commands of a script:\n",
                stdout);
    script_commands_help(stdout);
}

/* The caller's; NULL with a word on stderr. */
static char *read_file(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = NULL;
    size_t bytes = 0, capacity = 0;
    while (file != NULL) {
        if (capacity - bytes < 65536) {
            capacity += 1 << 20;
            text = realloc(text, capacity);
            CHECK(text != NULL);
        }
        size_t got = fread(text + bytes, 1, capacity - bytes - 1, file);
        bytes += got;
        if (got == 0) {
            break;
        }
    }
    if (file == NULL || ferror(file) != 0) {
        perror(path);
        free(text);
        text = NULL;
    } else {
        text[bytes] = 0;
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return text;
}

static int run_file(const char *path, bool check, bool write)
{
    char *text = read_file(path), *actual = NULL;
    size_t bytes = 0;
    if (text == NULL) {
        return 3;
    }
    FILE *out = open_memstream(&actual, &bytes);
    struct context context = {.player.nodes = script_nodes_new()};
    CHECK(out != NULL);
    struct script_result result = script_file_run(text, path, run, &context, out, check ? stdout : NULL);
    CHECK(fclose(out) == 0);
    script_nodes_free(context.player.nodes);
    int code = check && result.differences > 0 ? 1 : 0;
    if (result.malformed != NULL) {
        (void)fprintf(stderr, "%s:%u: %s\n", path, result.line, result.malformed);
        code = 3;
    } else if (write) {
        FILE *file = fopen(path, "w");
        if (file == NULL || fwrite(actual, 1, bytes, file) != bytes || fclose(file) != 0) {
            perror(path);
            code = 3;
        }
    } else if (check) {
        (void)printf("%-4s %s: %u cases, %u differ\n", code == 0 ? "ok" : "FAIL", path, result.cases,
                     result.differences);
    } else {
        (void)fputs(actual, stdout);
    }
    free(actual);
    free(text);
    return code;
}

int main(int argc, char **argv)
{
    int first = 1;
    bool check = false, write = false;
    for (; first < argc && argv[first][0] == '-'; first++) {
        if (strcmp(argv[first], "--help") == 0 || strcmp(argv[first], "-h") == 0) {
            help();
            return 0;
        }
        check |= strcmp(argv[first], "--check") == 0;
        write |= strcmp(argv[first], "--write") == 0;
        if (strcmp(argv[first], "--check") != 0 && strcmp(argv[first], "--write") != 0) {
            (void)fprintf(stderr, "raftscript: there is no option '%s'\nTry 'raftscript --help'.\n", argv[first]);
            return 2;
        }
    }
    if (first == argc || (check && write)) {
        (void)fputs("raftscript: which files, and --check or --write?\nTry 'raftscript --help'.\n", stderr);
        return 2;
    }
    int worst = 0;
    for (int i = first; i < argc; i++) {
        int code = run_file(argv[i], check, write);
        worst = code > worst ? code : worst;
    }
    return worst;
}
