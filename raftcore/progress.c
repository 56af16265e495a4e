/* progress.c - what a leader knows of one peer, and what is on its way to it.
 *
 * The happy path: probe once, learn where the logs match, then send ahead: `next` moves with what is sent, `match` with
 * what is answered, and what lies between is on its way, counted in messages and bytes.
 *
 * What can fail: memory for the ring of what is on its way; then nothing is sent. A lost message is noticed by the next
 * refusal, or by time (replicate.c), and both lead back to PROBE.
 *
 * Invariants: match < next (A7 of the bug list: next below match); what is on its way lies in (match, next) while
 * replicating; match never falls within a record.
 *
 * May include: progress.h. */

#include "raftcore/progress.h"

static void forget_inflight(struct progress *progress)
{
    progress->inflight_head = 0;
    progress->inflight_count = 0;
    progress->inflight_bytes = 0;
}

void progress_begin(struct progress *progress, uint64_t id, uint64_t next, uint64_t stream, uint64_t now_ns)
{
    *progress = (struct progress){.id = id,
                                  .state = RAFTCORE_PROBE,
                                  .is_member = true,
                                  .next = next,
                                  .stream = stream,
                                  .credit = RAFTCORE_INFINITY,
                                  .catch_up_since_ns = now_ns,
                                  .catch_up_to = next - 1,
                                  .inflight = progress->inflight,
                                  .inflight_capacity = progress->inflight_capacity};
}

void progress_free(struct progress *progress, struct memory *memory)
{
    memory_resize(memory, progress->inflight, progress->inflight_capacity * sizeof(*progress->inflight), 0);
    *progress = (struct progress){0};
}

void progress_to_probe(struct progress *progress, uint64_t next)
{
    progress->state = RAFTCORE_PROBE;
    progress->probe_sent = false;
    progress->loading = false;
    progress->next = next > progress->match ? next : progress->match + 1;
    progress->snapshot = (struct raftcore_snapshot){0};
    forget_inflight(progress);
}

void progress_to_replicate(struct progress *progress)
{
    progress->state = RAFTCORE_REPLICATE;
    progress->probe_sent = false;
    progress->next = progress->match + 1;
    progress->snapshot = (struct raftcore_snapshot){0};
    forget_inflight(progress);
}

void progress_to_snapshot(struct progress *progress, const struct raftcore_snapshot *snapshot)
{
    progress->state = RAFTCORE_SEND_SNAPSHOT;
    progress->probe_sent = false;
    progress->loading = false;
    progress->snapshot = *snapshot;
    progress->snapshot_taken = 0;
    progress->snapshot_sent = 0;
    forget_inflight(progress);
}

bool progress_is_paused(const struct progress *progress, uint32_t window_messages, uint64_t window_bytes)
{
    if (progress->loading) {
        return true;
    }
    switch (progress->state) {
    case RAFTCORE_PROBE:
        return progress->probe_sent;
    case RAFTCORE_REPLICATE:
        return progress->inflight_count >= window_messages || progress->inflight_bytes >= window_bytes ||
               progress->inflight_bytes >= progress->credit;
    default:
        return true;
    }
}

static bool grow(struct progress *progress, struct memory *memory)
{
    uint32_t old_capacity = progress->inflight_capacity;
    if (!memory_reserve(memory, (void **)&progress->inflight, &progress->inflight_capacity, sizeof(*progress->inflight),
                        (uint64_t)old_capacity + 1)) {
        return false;
    }
    /* What wrapped around goes behind the old end: the capacity has at least doubled, so there is room. */
    for (uint32_t i = 0; i < progress->inflight_head; i++) {
        progress->inflight[old_capacity + i] = progress->inflight[i];
    }
    return true;
}

bool progress_sent(struct progress *progress, struct memory *memory, uint64_t last_index, uint64_t bytes,
                   uint64_t now_ns)
{
    if (progress->state == RAFTCORE_PROBE) {
        progress->probe_sent = true;
        progress->sent_ns = now_ns;
        return true;
    }
    if (progress->inflight_count == progress->inflight_capacity && !grow(progress, memory)) {
        return false;
    }
    uint32_t at = (progress->inflight_head + progress->inflight_count) % progress->inflight_capacity;
    progress->inflight[at] = (struct inflight){.last_index = last_index, .bytes = bytes, .sent_ns = now_ns};
    progress->inflight_count++;
    progress->inflight_bytes += bytes;
    progress->next = last_index + 1;
    progress->sent_ns = now_ns;
    return true;
}

bool progress_matched(struct progress *progress, uint64_t index)
{
    bool news = index > progress->match;
    if (news) {
        progress->match = index;
    }
    if (progress->next <= progress->match) {
        progress->next = progress->match + 1;
    }
    while (progress->inflight_count > 0 && progress->inflight[progress->inflight_head].last_index <= index) {
        progress->inflight_bytes -= progress->inflight[progress->inflight_head].bytes;
        progress->inflight_head = (progress->inflight_head + 1) % progress->inflight_capacity;
        progress->inflight_count--;
    }
    return news;
}

bool progress_refused(struct progress *progress, uint64_t refused, uint64_t hint)
{
    if (progress->state == RAFTCORE_REPLICATE) {
        if (refused <= progress->match) {
            return false; /* It has matched since. */
        }
        progress_to_probe(progress, progress->match + 1);
        return true;
    }
    if (progress->state != RAFTCORE_PROBE || refused + 1 != progress->next) {
        return false;
    }
    uint64_t next = (hint < refused ? hint : refused - 1) + 1;
    progress_to_probe(progress, refused == 0 ? 1 : next);
    return true;
}
