/* peer_rocksdb.c - RocksDB: puts of numbered records, each write synced in its write-ahead log.
 *
 * The happy path: open with a memtable larger than a run fills, so that nothing is flushed beside the work, without
 * compression and compaction; each operation fills a write batch and calls rocksdb_write with sync on. Callers are
 * gathered into groups by RocksDB itself: that is its group commit.
 *
 * Log files are fresh ones that grow, RocksDB's default. It could write over recycled ones, which costs less a sync,
 * but takes that only with a recovery mode that skips over damage: another promise, so another thing to measure.
 *
 * What can fail: opening, and each write, said with RocksDB's own words. Any of them ends the program.
 *
 * Invariants: a caller has a write batch of its own; keys are never given twice, and grow. */

#define _GNU_SOURCE
#include "bench/peers/peer.h"

#include <endian.h>
#include <rocksdb/c.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const size_t memtable_bytes = (size_t)3 << 30;

struct rocksdb {
    const struct peer_options *options;
    rocksdb_t *database;
    rocksdb_writeoptions_t *synced;
    rocksdb_writebatch_t **batches; /* By caller. */
    _Atomic uint64_t next_id;
    const char *payload;
};

static void append(void *peer, unsigned caller)
{
    struct rocksdb *rocksdb = peer;
    const struct peer_options *options = rocksdb->options;
    rocksdb_writebatch_t *batch = rocksdb->batches[caller];
    uint64_t first = atomic_fetch_add(&rocksdb->next_id, options->batch);
    char *error = NULL;
    rocksdb_writebatch_clear(batch);
    for (unsigned i = 0; i < options->batch; i++) {
        uint64_t key = htobe64(first + i);
        rocksdb_writebatch_put(batch, (const char *)&key, sizeof(key), rocksdb->payload + i * options->size_bytes,
                               options->size_bytes);
    }
    rocksdb_write(rocksdb->database, rocksdb->synced, batch, &error);
    if (error != NULL)
        peer_failed("rocksdb_write", error);
}

static void open_database(struct rocksdb *rocksdb)
{
    rocksdb_options_t *settings = rocksdb_options_create();
    char *error = NULL;
    rocksdb_options_set_create_if_missing(settings, 1);
    rocksdb_options_set_write_buffer_size(settings, memtable_bytes);
    rocksdb_options_set_compression(settings, rocksdb_no_compression);
    rocksdb_options_set_disable_auto_compactions(settings, 1);
    rocksdb->database = rocksdb_open(settings, rocksdb->options->directory, &error);
    if (error != NULL)
        peer_failed("rocksdb_open", error);
    rocksdb_options_destroy(settings);
    rocksdb->synced = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(rocksdb->synced, 1);
    rocksdb->batches = peer_memory(rocksdb->options->threads, sizeof(*rocksdb->batches));
    for (unsigned i = 0; i < rocksdb->options->threads; i++)
        rocksdb->batches[i] = rocksdb_writebatch_create();
}

/* A longer run than the memtable holds is still a measurement, of a little more; the answer says so. */
static bool has_flushed(struct rocksdb *rocksdb)
{
    char *files = rocksdb_property_value(rocksdb->database, "rocksdb.num-files-at-level0");
    uint64_t waiting = 0;
    (void)rocksdb_property_int(rocksdb->database, "rocksdb.num-immutable-mem-table", &waiting);
    bool flushed = waiting != 0 || (files != NULL && strtoull(files, NULL, 10) != 0);
    rocksdb_free(files);
    return flushed;
}

/* The C interface does not tell it; RocksDB writes it at the top of the journal that it keeps of itself. */
static void read_version(const struct peer_options *options, char version[32])
{
    char *path = peer_path(options, "LOG"), line[512];
    FILE *journal = fopen(path, "r");
    snprintf(version, 32, "not told");
    for (int i = 0; journal != NULL && i < 16 && fgets(line, sizeof(line), journal) != NULL; i++) {
        static const char mark[] = "RocksDB version: ";
        const char *found = strstr(line, mark);
        if (found != NULL && sscanf(found + sizeof(mark) - 1, "%31[0-9.]", version) == 1)
            break;
    }
    if (journal != NULL)
        fclose(journal);
    free(path);
}

static void close_database(struct rocksdb *rocksdb)
{
    for (unsigned i = 0; i < rocksdb->options->threads; i++)
        rocksdb_writebatch_destroy(rocksdb->batches[i]);
    free(rocksdb->batches);
    rocksdb_writeoptions_destroy(rocksdb->synced);
    rocksdb_close(rocksdb->database);
}

int main(int argc, char *argv[])
{
    static struct peer_window window;
    struct peer_options options;
    char version[32];
    peer_begin(argc, argv, &options);
    unsigned char *payload = peer_payload(&options);
    struct rocksdb rocksdb = {.options = &options, .payload = (const char *)payload};
    open_database(&rocksdb);
    peer_run_threads(&options, append, &rocksdb, &window);
    const char *what = has_flushed(&rocksdb) ? "rocksdb_write, sync on, fresh log files; memtables were flushed beside"
                                             : "rocksdb_write, sync on, WAL only, fresh log files";
    close_database(&rocksdb);
    read_version(&options, version);
    peer_answer(&options, &(struct peer_name){"rocksdb", version, what}, &window);
    free(payload);
    return 0;
}
