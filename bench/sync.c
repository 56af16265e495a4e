/* sync.c - walbench sync: which rows.
 *
 * The usual plan changes one thing at a time from one update of 4 KiB, written directly over zeros, one at a time, by
 * write and fdatasync: the method; the layout; buffered; the depth of the queue. Below it stands what the log makes of
 * such a disk with many waiting. Lists on the command line make a plan of their own: every combination of them, and the
 * log only where threads or outstanding appends are listed too. A profile makes one of what that system writes. */

#define _GNU_SOURCE
#include "bench/session.h"

#include <string.h>

#include "bench/profile.h"
#include "bench/writer.h"

enum { BLOCK_BYTES = 4096, RECORD_BYTES = 128 };

static const char by_method[] = "one 4 KiB update at a time, direct, over zeros: the method";
static const char by_layout[] = "the same by write + fdatasync: the layout of the file";
static const char by_cache[] = "through the page cache, by write + fdatasync";
static const char by_depth[] = "several at once, each made durable by itself: the depth of the queue";
static const char not_durable[] = "without a sync: NOT durable, for comparison only";
static const char by_group[] = "group commit by this log, 128-byte records";

static bool add_write(struct session *session, const char *section, const char *method, const char *layout, bool direct,
                      uint32_t size_bytes, unsigned depth)
{
    struct row *row = result_add(&session->result);
    if (row == NULL)
        return false;
    row->kind = ROW_WRITE;
    row->section = section;
    row->method = method;
    row->layout = layout;
    row->engine = strncmp(method, "uring", 5) == 0 ? "io_uring" : "syscall";
    row->direct = direct;
    row->durable = writer_is_durable(method);
    row->size_bytes = size_bytes;
    row->depth = depth;
    row->emulated_ns = row->durable ? session->settings->emulated_ns : 0;
    snprintf(row->id, sizeof(row->id), "%s.%s.%s.%u.d%u", method, layout, direct ? "direct" : "buffered", size_bytes,
             depth);
    char size[24] = "", many[24] = "";
    if (session->settings->sizes.count > 1)
        snprintf(size, sizeof(size), ", %u B", size_bytes);
    if (depth > 1)
        snprintf(many, sizeof(many), ", %u at once", depth);
    snprintf(row->label, sizeof(row->label), "%s, %s%s%s%s%s", method, layout, direct ? "" : ", buffered", size, many,
             row->durable ? "" : "  NOT durable");
    if (row->emulated_ns != 0 && depth > 1)
        snprintf(row->skipped, sizeof(row->skipped), "an emulated disk makes one thing durable at a time");
    return true;
}

/* Of the section's first row, with which the others are compared; it may stand in a section before. */
static void mark_base(struct session *session, const char *section)
{
    for (unsigned i = 0; i < session->result.row_count; i++)
        if (strcmp(session->result.rows[i]->section, section) == 0) {
            session->result.rows[i]->base = true;
            return;
        }
}

static bool plan_methods(struct session *session)
{
    static const char *const methods[] = {"fdatasync", "fsync", "o_dsync", "rwf_dsync", "uring-linked", "uring-dsync"};
    unsigned count = session->settings->quick ? 3 : 6;
    for (unsigned i = 0; i < count; i++)
        if (!add_write(session, by_method, methods[i], "zeroed", true, BLOCK_BYTES, 1))
            return false;
    return true;
}

static bool plan_usual(struct session *session)
{
    bool quick = session->settings->quick;
    bool added = plan_methods(session);
    /* Zeroed stands above. */
    added = added && add_write(session, by_layout, "fdatasync", "recycled", true, BLOCK_BYTES, 1) &&
            (quick || add_write(session, by_layout, "fdatasync", "fallocated", true, BLOCK_BYTES, 1)) &&
            add_write(session, by_layout, "fdatasync", "append", true, BLOCK_BYTES, 1) &&
            add_write(session, by_cache, "fdatasync", "zeroed", false, BLOCK_BYTES, 1) &&
            (quick || add_write(session, by_cache, "fdatasync", "append", false, BLOCK_BYTES, 1));
    for (unsigned depth = 4; added && !quick && depth <= 16; depth *= 4)
        added = add_write(session, by_depth, "uring-dsync", "zeroed", true, BLOCK_BYTES, depth);
    added = added && add_write(session, not_durable, "none", "zeroed", true, BLOCK_BYTES, 1);
    mark_base(session, by_method);
    return added;
}

/* Every combination of what was listed; one value where nothing was. */
static bool plan_listed(struct session *session)
{
    static const char section[] = "one update at a time, as asked";
    const struct settings *settings = session->settings;
    unsigned methods = settings->methods.count != 0 ? settings->methods.count : 1;
    unsigned layouts = settings->layouts.count != 0 ? settings->layouts.count : 1;
    for (unsigned at = 0;; at++) {
        unsigned left = at;
        unsigned method = left % methods, layout = (left /= methods) % layouts;
        unsigned size = (left /= layouts) % list_count(&settings->sizes, 1);
        unsigned depth = (left /= list_count(&settings->sizes, 1)) % list_count(&settings->depths, 1);
        unsigned cached = (left /= list_count(&settings->depths, 1)) % 2;
        if (left > 1)
            break;
        if ((cached == 0 && settings->directness == BUFFERED_ONLY) ||
            (cached == 1 && settings->directness == DIRECT_ONLY))
            continue;
        if (!add_write(session, section, settings->methods.count != 0 ? settings->methods.words[method] : "fdatasync",
                       settings->layouts.count != 0 ? settings->layouts.words[layout] : "zeroed", cached == 0,
                       settings->sizes.count != 0 ? (uint32_t)settings->sizes.values[size] : BLOCK_BYTES,
                       settings->depths.count != 0 ? (unsigned)settings->depths.values[depth] : 1))
            return false;
    }
    mark_base(session, section);
    return true;
}

static bool plan_profile(struct session *session)
{
    const struct profile *profile = session->settings->profile;
    if (!add_write(session, profile->words, profile->method, profile->layout, profile->direct, profile->size_bytes, 1))
        return false;
    struct row *row = session->result.rows[session->result.row_count - 1];
    strncat(row->id, ".profile", sizeof(row->id) - strlen(row->id) - 1);
    row->base = true;
    const char *other = strcmp(profile->layout, "append") == 0 ? "zeroed" : "append";
    return add_write(session, profile->words, profile->method, other, profile->direct, profile->size_bytes, 1);
}

static bool add_group(struct session *session, unsigned threads, unsigned outstanding, uint32_t size_bytes,
                      const char *section)
{
    struct row *row = session_add_log(session, threads, outstanding, size_bytes, 1, 0);
    if (row == NULL)
        return false;
    row->section = section;
    row->base = threads == 1;
    if (threads > 0)
        snprintf(row->label, sizeof(row->label), "%u thread%s waiting", threads, threads > 1 ? "s" : "");
    else
        snprintf(row->label, sizeof(row->label), "one event loop, %u outstanding", outstanding);
    size_t used = strlen(row->label);
    if (session->settings->sizes.count != 0)
        snprintf(row->label + used, sizeof(row->label) - used, ", %u B", size_bytes);
    return true;
}

static bool plan_groups(struct session *session, uint32_t size_bytes, const char *section)
{
    static const unsigned threads_usual[] = {1, 8, 64}, outstanding_usual[] = {64, 1024};
    const struct settings *settings = session->settings;
    bool listed = settings->threads.count != 0 || settings->outstanding.count != 0;
    unsigned threads = settings->threads.count != 0 ? settings->threads.count : listed ? 0 : 3;
    unsigned outstanding = settings->outstanding.count != 0 ? settings->outstanding.count : listed ? 0 : 2;
    for (unsigned i = 0; i < threads; i++)
        if (!add_group(session, settings->threads.count != 0 ? (unsigned)settings->threads.values[i] : threads_usual[i],
                       0, size_bytes, section))
            return false;
    for (unsigned i = 0; i < outstanding; i++)
        if (!add_group(session, 0,
                       settings->outstanding.count != 0 ? (unsigned)settings->outstanding.values[i]
                                                        : outstanding_usual[i],
                       size_bytes, section))
            return false;
    return true;
}

/* Of the sizes that are listed, of the profile's, or of the usual one. */
static bool plan_all_groups(struct session *session)
{
    const struct settings *settings = session->settings;
    if (settings->profile != NULL)
        return plan_groups(session, settings->profile->size_bytes, "group commit by this log, records of that size");
    if (settings->sizes.count == 0)
        return plan_groups(session, RECORD_BYTES, by_group);
    for (unsigned i = 0; i < settings->sizes.count; i++)
        if (!plan_groups(session, (uint32_t)settings->sizes.values[i], "group commit by this log, by size of record"))
            return false;
    return true;
}

int command_sync(struct settings *settings)
{
    struct session session = {0};
    bool listed = lists_updates(settings);
    bool groups = !listed || settings->threads.count != 0 || settings->outstanding.count != 0;
    int code = session_begin(&session, settings, "sync", 0);
    if (code == EXIT_MEASURED) {
        bool planned = settings->profile != NULL ? plan_profile(&session)
                       : listed                  ? plan_listed(&session)
                                                 : plan_usual(&session);
        planned = planned && (!groups || plan_all_groups(&session));
        code = planned ? session_measure(&session) : EXIT_SETUP;
    }
    return session_end(&session, code);
}
