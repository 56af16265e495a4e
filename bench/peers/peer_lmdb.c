/* peer_lmdb.c - LMDB: a tree of records by number, a write transaction for each operation, durable when it commits.
 *
 * The happy path: open the environment with its default flags (each commit writes the pages, syncs them, and writes its
 * meta page through), and one database whose keys are integers; each operation puts its records at the end of the tree
 * and commits. Writers wait for each other on LMDB's own lock; it has no group commit.
 *
 * What can fail: every call; a map that is full is one of them. Any of them ends the program.
 *
 * Invariants: next_id is read and written only inside a write transaction, of which there is one at a time; ids only
 * grow, which is what MDB_APPEND asks for. */

#define _GNU_SOURCE
#include "bench/peers/peer.h"

#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>

/* Addresses, not memory: the file grows by what is written. More than any disk takes in the time of a run. */
static const size_t map_bytes = (size_t)256 << 30;

struct lmdb {
    const struct peer_options *options;
    MDB_env *environment;
    MDB_dbi records;
    size_t next_id;
    unsigned char *payload;
};

static void check(const char *what, int result)
{
    if (result != MDB_SUCCESS)
        peer_failed(what, mdb_strerror(result));
}

static void append(void *peer, unsigned caller)
{
    struct lmdb *lmdb = peer;
    const struct peer_options *options = lmdb->options;
    MDB_txn *transaction = NULL;
    (void)caller;
    check("mdb_txn_begin", mdb_txn_begin(lmdb->environment, NULL, 0, &transaction));
    for (unsigned i = 0; i < options->batch; i++) {
        size_t id = lmdb->next_id++;
        MDB_val key = {.mv_size = sizeof(id), .mv_data = &id};
        MDB_val record = {.mv_size = options->size_bytes, .mv_data = lmdb->payload + i * options->size_bytes};
        check("mdb_put", mdb_put(transaction, lmdb->records, &key, &record, MDB_APPEND));
    }
    check("mdb_txn_commit", mdb_txn_commit(transaction));
}

static void open_environment(struct lmdb *lmdb)
{
    MDB_txn *transaction = NULL;
    check("mdb_env_create", mdb_env_create(&lmdb->environment));
    check("mdb_env_set_mapsize", mdb_env_set_mapsize(lmdb->environment, map_bytes));
    check(lmdb->options->directory, mdb_env_open(lmdb->environment, lmdb->options->directory, 0, 0666));
    check("mdb_txn_begin", mdb_txn_begin(lmdb->environment, NULL, 0, &transaction));
    check("mdb_dbi_open", mdb_dbi_open(transaction, NULL, MDB_CREATE | MDB_INTEGERKEY, &lmdb->records));
    check("mdb_txn_commit", mdb_txn_commit(transaction));
}

int main(int argc, char *argv[])
{
    static struct peer_window window;
    struct peer_options options;
    char version[64];
    peer_begin(argc, argv, &options);
    struct lmdb lmdb = {.options = &options, .next_id = 1, .payload = peer_payload(&options)};
    open_environment(&lmdb);
    peer_run_threads(&options, append, &lmdb, &window);
    mdb_env_close(lmdb.environment);
    int major = 0, minor = 0, patch = 0;
    (void)mdb_version(&major, &minor, &patch);
    snprintf(version, sizeof(version), "%d.%d.%d", major, minor, patch);
    peer_answer(&options, &(struct peer_name){"lmdb", version, "mdb_put MDB_APPEND and mdb_txn_commit, default sync"},
                &window);
    free(lmdb.payload);
    return 0;
}
