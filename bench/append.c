/* append.c - walbench append: the log itself, by threads, by outstanding appends, by size of record, or at a rate.
 *
 * Every combination of the lists. With --rate appends are due at that rate, whether earlier ones are durable or not,
 * and are timed from when they were due: a stall is charged to all that it held up. */

#define _GNU_SOURCE
#include "bench/session.h"

#include <string.h>

static bool add(struct session *session, unsigned threads, unsigned outstanding, uint32_t size_bytes, double rate_per_s)
{
    const struct settings *settings = session->settings;
    struct row *row = session_add_log(session, threads, outstanding, size_bytes, settings->records, rate_per_s);
    char batch[32] = "", size[32];
    if (row == NULL)
        return false;
    row->section = rate_per_s > 0 ? "the log at a fixed rate, timed from when each append was due"
                   : threads > 0  ? "the log, blocking threads"
                                  : "the log, one event loop";
    row->base = threads == 1 && size_bytes == (settings->sizes.count != 0 ? settings->sizes.values[0] : 128);
    if (settings->records > 1)
        snprintf(batch, sizeof(batch), "%u x ", settings->records);
    snprintf(size, sizeof(size), "%s%u B", batch, size_bytes);
    if (rate_per_s > 0)
        snprintf(row->label, sizeof(row->label), "%.0f a second, %s", rate_per_s, size);
    else if (threads > 0)
        snprintf(row->label, sizeof(row->label), "%u thread%s, %s", threads, threads > 1 ? "s" : "", size);
    else
        snprintf(row->label, sizeof(row->label), "%u outstanding, %s", outstanding, size);
    return true;
}

static bool plan(struct session *session)
{
    static const unsigned threads_usual[] = {1, 4, 16, 64}, outstanding_usual[] = {64, 1024};
    const struct settings *settings = session->settings;
    bool listed = settings->threads.count != 0 || settings->outstanding.count != 0;
    unsigned threads = settings->threads.count != 0 ? settings->threads.count : listed ? 0 : 4;
    unsigned outstanding = settings->outstanding.count != 0 ? settings->outstanding.count : listed ? 0 : 2;
    for (unsigned size = 0; size < list_count(&settings->sizes, 1); size++) {
        uint32_t size_bytes = settings->sizes.count != 0 ? (uint32_t)settings->sizes.values[size] : 128;
        if (settings->rate_per_s > 0) {
            if (!add(session, 0, ENGINE_OUTSTANDING_MAX, size_bytes, settings->rate_per_s))
                return false;
            continue;
        }
        for (unsigned i = 0; i < threads; i++)
            if (!add(session, settings->threads.count != 0 ? (unsigned)settings->threads.values[i] : threads_usual[i],
                     0, size_bytes, 0))
                return false;
        for (unsigned i = 0; i < outstanding; i++)
            if (!add(session, 0,
                     settings->outstanding.count != 0 ? (unsigned)settings->outstanding.values[i]
                                                      : outstanding_usual[i],
                     size_bytes, 0))
                return false;
    }
    return true;
}

int command_append(struct settings *settings)
{
    struct session session = {0};
    int code = session_begin(&session, settings, "append", 0);
    if (code == EXIT_MEASURED)
        code = plan(&session) ? session_measure(&session) : EXIT_SETUP;
    return session_end(&session, code);
}
