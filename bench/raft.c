/* raft.c - walbench raft: what Raft on this log costs beside the log by itself, and beside libraft's.
 *
 * The work: so many updates outstanding, the next when one is done. "The log" appends and waits; "one node" proposes,
 * appends, commits and applies; "three nodes" send to one another in memory, each with a log of its own on the same
 * disk, so what a disk of its own would give each of them is between the two. With --emulate each has a slow disk of
 * its own: what overlaps is seen there. Restarting opens a node with a log of 1 GiB behind a snapshot.
 *
 * What can fail: a node, which has said why. */

#define _GNU_SOURCE
#include "bench/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/raft_engine.h"

enum { RESTART_RECORD_BYTES = 1024 };

static void path_of(const struct session *session, const struct row *row, char path[4096])
{
    if (row->log_bytes != 0)
        snprintf(path, 4096, "%s/raft-restart-%lluM", session->directory, (unsigned long long)(row->log_bytes >> 20));
    else
        snprintf(path, 4096, "%s/raft-%u", session->directory, row->depth);
}

static int run_restart(struct row *row, const char *path)
{
    struct histogram once = {.count = 0};
    uint64_t took_ns = 0, entries = 0;
    int result = raft_engine_make(path, row->log_bytes, row->size_bytes);
    if (result != 0 || interrupted())
        return result;
    for (int turn = 0; turn < 2 && result == 0; turn++) /* The first one fills the cache. */
        result = raft_engine_restart(path, true, &took_ns, &entries);
    if (result == 0) {
        histogram_add(&once, took_ns, 1);
        row_add_round(row, &once, took_ns);
        row->records_done += entries;
        row->bytes += entries * row->size_bytes;
    }
    return result;
}

int raft_run(struct session *session, struct row *row)
{
    char path[4096];
    path_of(session, row, path);
    if (row->log_bytes != 0)
        return run_restart(row, path);
    const struct settings *settings = session->settings;
    const struct raft_load load = {.directory = path,
                                   .nodes = row->depth,
                                   .outstanding = row->outstanding,
                                   .record_bytes = row->size_bytes,
                                   .added_ns = row->emulated_ns,
                                   .seconds = settings->seconds / settings->rounds,
                                   .warm_seconds = settings->warm_seconds};
    struct raft_outcome *outcome = calloc(1, sizeof(*outcome));
    int result = outcome == NULL ? failed("memory", NULL, -ENOMEM) : raft_engine_run(&load, outcome);
    if (result == 0 && !interrupted() && outcome->operations > 0) {
        row_add_round(row, &outcome->latency, outcome->elapsed_ns);
        row->records_done += outcome->operations;
        row->bytes += outcome->operations * row->size_bytes;
        row->syncs += outcome->batches;
        row->cpu_ns += outcome->cpu_ns;
    }
    free(outcome);
    return result;
}

static bool add_raft(struct session *session, unsigned nodes, unsigned outstanding, uint32_t size_bytes)
{
    struct row *row = result_add(&session->result);
    if (row == NULL)
        return false;
    row->kind = ROW_RAFT;
    row->method = "raft";
    row->layout = "segments";
    row->engine = "libraftcore";
    row->direct = row->durable = true;
    row->depth = nodes;
    row->records = 1;
    row->outstanding = outstanding;
    row->size_bytes = size_bytes;
    row->emulated_ns = session->settings->emulated_ns;
    snprintf(row->id, sizeof(row->id), "raft.nodes%u.loop%u.%u", nodes, outstanding, size_bytes);
    snprintf(row->label, sizeof(row->label), "%s",
             nodes == 1              ? "one node: proposed until applied"
             : row->emulated_ns == 0 ? "three nodes, one disk for all"
                                     : "three nodes, a disk each");
    return true;
}

static bool add_peer(struct session *session, unsigned outstanding, uint32_t size_bytes)
{
    unsigned threads = outstanding < ENGINE_THREADS_MAX ? outstanding : ENGINE_THREADS_MAX;
    struct row *row = peers_add(session, "raft", threads, size_bytes, "raft_uv (libraft), one node");
    if (row != NULL && threads != outstanding)
        snprintf(row->label, sizeof(row->label), "raft_uv (libraft), %u outstanding", threads);
    if (row != NULL && session->settings->emulated_ns != 0)
        snprintf(row->skipped, sizeof(row->skipped), "its disk cannot be emulated");
    if (row != NULL && result_find(&session->result, row->id) != row)
        result_drop_last(&session->result); /* The same work, as threads have an end: it has its row. */
    return row != NULL;
}

static bool plan(struct session *session, unsigned outstanding, uint32_t size_bytes, char *section, size_t bytes)
{
    unsigned first = session->result.row_count;
    snprintf(section, bytes, "%u outstanding, %u bytes each", outstanding, size_bytes);
    struct row *log = session_add_log(session, 0, outstanding, size_bytes, 1, 0);
    if (log == NULL)
        return false;
    log->base = true;
    snprintf(log->label, sizeof(log->label), "the log: appended, durable");
    if (!add_raft(session, 1, outstanding, size_bytes) || !add_raft(session, 3, outstanding, size_bytes) ||
        !add_peer(session, outstanding, size_bytes))
        return false;
    for (unsigned i = first; i < session->result.row_count; i++)
        session->result.rows[i]->section = section;
    return true;
}

static bool add_restart(struct session *session, uint64_t bytes)
{
    struct row *row = result_add(&session->result);
    if (row == NULL)
        return false;
    row->kind = ROW_RAFT;
    row->method = "restart";
    row->layout = "warm";
    row->engine = "libraftcore";
    row->section = "restarting a node";
    row->size_bytes = RESTART_RECORD_BYTES;
    row->log_bytes = bytes;
    snprintf(row->id, sizeof(row->id), "raft.restart.warm.%lluM", (unsigned long long)(bytes >> 20));
    snprintf(row->label, sizeof(row->label), "a snapshot and a log of %llu MiB, warm",
             (unsigned long long)(bytes >> 20));
    return true;
}

int command_raft(struct settings *settings)
{
    static char sections[LIST_MAX * LIST_MAX][96];
    static const uint64_t outstanding_usual[] = {1, 64, 1024};
    struct session session = {0};
    static const uint64_t size_usual = UINT64_C(1) << 30;
    const uint64_t *sizes = settings->log_sizes.count != 0 ? settings->log_sizes.values : &size_usual;
    unsigned count = 0,
             restarts = list_count(&settings->log_sizes, settings->quick || settings->emulated_ns != 0 ? 0 : 1);
    uint64_t more_bytes = UINT64_C(8) << 30;
    for (unsigned i = 0; i < restarts; i++)
        more_bytes += 2 * sizes[i];
    int code = session_begin(&session, settings, "raft", more_bytes);
    bool added = code == EXIT_MEASURED;
    for (unsigned o = 0; added && o < list_count(&settings->outstanding, 3); o++)
        for (unsigned s = 0; added && s < list_count(&settings->sizes, 1); s++) {
            uint64_t outstanding =
                settings->outstanding.count != 0 ? settings->outstanding.values[o] : outstanding_usual[o];
            uint64_t size = settings->sizes.count != 0 ? settings->sizes.values[s] : 128;
            added = plan(&session, (unsigned)outstanding, (uint32_t)size, sections[count], sizeof(sections[0]));
            count++;
        }
    for (unsigned i = 0; added && i < restarts; i++)
        added = add_restart(&session, sizes[i]);
    if (code == EXIT_MEASURED && !added)
        code = EXIT_SETUP;
    if (code == EXIT_MEASURED)
        code = session_measure(&session);
    return session_end(&session, code);
}
