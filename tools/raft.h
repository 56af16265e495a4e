/* raft.h - what a Raft node of raftcore keeps on the disk, by name: its directory, its files, its record types. */

#ifndef TOOLS_RAFT_H
#define TOOLS_RAFT_H

#include <stdbool.h>
#include <stdint.h>

/* "normal", "noop", "configuration", "hole"; NULL: no type of a node's. */
const char *raft_type_text(uint16_t type);

/* A directory without segments may be a node's: says on stderr where the log is, or that these are snapshots. */
void raft_hint(const char *directory);

/* Does a node keep this file beside its snapshots for a purpose of its own? */
bool raft_is_sign(const char *name);

enum raft_name {
    RAFT_NAME_OTHER,  /* The node does not look at it. */
    RAFT_NAME_SHADOW, /* snapshot-<16 hex digits> with something behind it: the node takes it for half made. */
    RAFT_NAME_HALF,   /* As the node calls what it is making: .new, .in. */
    RAFT_NAME_SNAPSHOT
};

/* What a file's name says; *index is 0 for others. */
enum raft_name raft_name_of(const char *name, uint64_t *index);

#endif
