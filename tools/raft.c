/* raft.c - what a Raft node of raftcore keeps on the disk, by name: its directory, its files, its record types.
 *
 * The happy path: a node's directory holds log-N/, a log like any other, and snapshots/, with files that are named by
 * their index. Somebody who gives the node's directory where a log's is wanted is told where that is.
 *
 * What can fail: the directory may not open: then nothing is said here, as it was said before.
 *
 * Invariants: names are taken exactly as the node takes them (16 digits, small letters), so that what is told of a file
 * is what the node will do with it.
 *
 * May include: raft.h, emit.h. */

#define _GNU_SOURCE
#include "tools/raft.h"

#include "raftcore/raftcore.h"
#include "raftcore/storage_metadata.h"
#include "tools/emit.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

enum { INDEX_DIGITS = 16, NAME_BYTES_MAX = 31, LOGS_NAMED = 160 };

static const char first_of_name[] = "snapshot-";

const char *raft_type_text(uint16_t type)
{
    static const char *const names[] = {"normal", "noop", "configuration"};
    if (type == STORAGE_HOLE_TYPE) {
        return "hole";
    }
    return type >= 1 && type <= sizeof(names) / sizeof(names[0]) ? names[type - 1] : NULL;
}

enum raft_name raft_name_of(const char *name, uint64_t *index)
{
    size_t length = strlen(name), before = sizeof(first_of_name) - 1;
    const char *digits = name + before;
    *index = 0;
    if (strncmp(name, first_of_name, before) != 0 || strspn(digits, "0123456789abcdef") < INDEX_DIGITS ||
        length > NAME_BYTES_MAX) {
        return RAFT_NAME_OTHER;
    }
    for (unsigned i = 0; i < INDEX_DIGITS; i++) {
        *index = *index << 4 | (uint64_t)(digits[i] <= '9' ? digits[i] - '0' : digits[i] - 'a' + 10);
    }
    const char *end = digits + INDEX_DIGITS;
    return *end == '\0'                                          ? RAFT_NAME_SNAPSHOT
           : strcmp(end, ".new") == 0 || strcmp(end, ".in") == 0 ? RAFT_NAME_HALF
                                                                 : RAFT_NAME_SHADOW;
}

bool raft_is_sign(const char *name)
{
    return strcmp(name, "log-begun") == 0; /* That there is a log: raftcore/node_open.c. */
}

static bool is_log_name(const char *name)
{
    return strncmp(name, "log-", 4) == 0 && name[4] != '\0' && name[4 + strspn(name + 4, "0123456789")] == '\0';
}

void raft_hint(const char *directory)
{
    DIR *entries = opendir(directory);
    const struct dirent *entry;
    char logs[LOGS_NAMED] = "";
    unsigned log_count = 0, snapshot_count = 0;
    while (entries != NULL && (entry = readdir(entries)) != NULL) {
        uint64_t index;
        size_t used = strlen(logs), length = strlen(entry->d_name);
        snapshot_count += raft_name_of(entry->d_name, &index) != RAFT_NAME_OTHER;
        if (is_log_name(entry->d_name) && used + length + 3 < sizeof(logs)) {
            (void)snprintf(logs + used, sizeof(logs) - used, "%s%s", log_count++ == 0 ? "" : ", ", entry->d_name);
        }
    }
    if (entries != NULL) {
        (void)closedir(entries);
    }
    if (log_count != 0) {
        complain("%s is the directory of a Raft node: its log is in %s below it%s", directory, logs,
                 log_count == 1 ? "" : " (one is a copy in the making)");
    } else if (snapshot_count != 0) {
        complain("%s holds snapshots of a Raft node: waldump snapshot shows them", directory);
    }
}
