/* script_commands.h - the commands of a script that have to do with nodes.
 *
 * May include: script_file.h, script_nodes.h. */

#ifndef TESTS_RAFT_SCRIPT_COMMANDS_H
#define TESTS_RAFT_SCRIPT_COMMANDS_H

#include "tests/raft/script_file.h"
#include "tests/raft/script_nodes.h"

/* What a script's commands work on. */
struct script_player {
    struct script_nodes *nodes;
    bool silent; /* log-level none: every command prints "ok". */
};

/* False: there is no such command. */
bool script_commands_run(struct script_player *player, const struct script_case *script_case, FILE *out);

/* All commands with what they do, a line each. */
void script_commands_help(FILE *out);

#endif
