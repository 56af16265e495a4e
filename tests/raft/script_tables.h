/* script_tables.h - cases of quorums and configuration changes: pure functions, no nodes.
 *
 * May include: script_file.h. */

#ifndef TESTS_RAFT_SCRIPT_TABLES_H
#define TESTS_RAFT_SCRIPT_TABLES_H

#include "raftcore/raftcore.h"
#include "tests/raft/script_file.h"

/* What `simple`, `enter-joint` and `leave-joint` change, one after the other. */
struct script_tables {
    struct raftcore_configuration configuration;
    uint64_t commands;                   /* Of these three, so far. */
    uint64_t next[RAFTCORE_MEMBERS_MAX]; /* By member: the command that brought it. */
};

/* False: the command is none of committed, vote, simple, enter-joint, leave-joint. */
bool script_tables_run(struct script_tables *tables, const struct script_case *script_case, FILE *out);

/* Takes "v1 l2 r3 u4 p5"; returns how many, or -1 with a word to `out`. `u` changes nothing: id 0; `p` is a learner
 * that is promoted when it has caught up. */
int script_changes(const char *input, struct raftcore_change *changes, unsigned most, FILE *out);

#endif
