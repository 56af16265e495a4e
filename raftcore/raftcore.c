/* raftcore.c - a core's beginning and end, and what it tells of itself.
 *
 * The happy path: options are held against their limits and completed, memory is taken as the core needs it, and given
 * back at the end.
 *
 * What can fail: an option that makes no sense, memory.
 *
 * Invariants: everything that is told is a copy.
 *
 * May include: core.h. */

#include "raftcore/core.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

/* --- beginning and end --------------------------------------------------------------------------- */

static void use_default_u64(uint64_t *option, uint64_t value)
{
    *option = *option == 0 ? value : *option;
}

static void use_default_u32(uint32_t *option, uint32_t value)
{
    *option = *option == 0 ? value : *option;
}

static void complete(struct raftcore_options *options)
{
    use_default_u64(&options->election_timeout_ns, 1000000000U);
    use_default_u64(&options->heartbeat_ns, options->election_timeout_ns / 10);
    use_default_u64(&options->resend_ns, options->election_timeout_ns);
    use_default_u64(&options->disk_stall_ns, 2 * options->election_timeout_ns);
    use_default_u64(&options->clock_drift_ns, options->election_timeout_ns / 10);
    use_default_u32(&options->message_bytes, 1U << 20);
    use_default_u32(&options->message_entries, 4096);
    use_default_u32(&options->window_messages, 256);
    use_default_u32(&options->piece_bytes, 256U << 10);
    use_default_u64(&options->window_bytes, 16U << 20);
    use_default_u64(&options->uncommitted_bytes, 64U << 20);
    use_default_u64(&options->unapplied_bytes, 64U << 20);
    use_default_u64(&options->cache_bytes, 16U << 20);
    use_default_u32(&options->units_max, 1024);
    use_default_u32(&options->reads_max, 4096);
}

static bool options_are_right(const struct raftcore_options *options)
{
    uint64_t hour_ns = 3600ULL * 1000000000U;
    return options->id != 0 && options->id != RAFTCORE_VOTE_SPENT && options->log_id != 0 &&
           options->message_bytes <= ENTRY_BYTES_MAX && options->piece_bytes <= ENTRY_BYTES_MAX &&
           options->message_entries >= 2 && options->election_timeout_ns <= hour_ns && options->heartbeat_ns > 0 &&
           options->heartbeat_ns < options->election_timeout_ns &&
           options->clock_drift_ns < options->election_timeout_ns && options->message_entries <= RAFTCORE_ENTRIES_MAX &&
           options->units_max <= 1U << 20 && options->reads_max <= 1U << 20 && options->window_messages <= 1U << 20 &&
           !(options->lease_reads && options->no_check_quorum);
}

int raftcore_new(struct raftcore **core, const struct raftcore_options *options)
{
    *core = NULL;
    if (options->size != sizeof(*options)) {
        return -EINVAL;
    }
    struct raftcore_options completed = *options;
    complete(&completed);
    if (!options_are_right(&completed)) {
        return -EINVAL;
    }
    struct memory memory = {.allocator = completed.allocator};
    struct raftcore *made = memory_resize(&memory, NULL, 0, sizeof(*made));
    if (made == NULL) {
        return -ENOMEM;
    }
    made->memory = memory;
    made->options = completed;
    made->random = completed.seed;
    made->election_at_ns = RAFTCORE_INFINITY;
    *core = made;
    return 0;
}

static void free_own_payloads(struct raftcore *core)
{
    for (uint64_t index = core->log.held_first; core->started && index <= core->log.last_index; index++) {
        const struct raftcore_entry *entry = log_held(&core->log, index);
        if (entry->reserved != 0) {
            persist_release(core, entry);
        }
    }
    persist_free_payloads(core);
}

static void give_back(struct raftcore *core, void *array, uint32_t capacity, size_t item_bytes)
{
    memory_resize(&core->memory, array, capacity * item_bytes, 0);
}

void raftcore_free(struct raftcore *core)
{
    if (core == NULL) {
        return;
    }
    free_own_payloads(core);
    log_free(&core->log);
    for (uint32_t i = 0; i < core->peer_count; i++) {
        progress_free(&core->peers[i], &core->memory);
    }
    struct outputs *out = &core->out;
    give_back(core, core->peers, core->peer_capacity, sizeof(*core->peers));
    give_back(core, core->stack, core->stack_capacity, sizeof(*core->stack));
    give_back(core, core->flights, core->flight_capacity, sizeof(*core->flights));
    give_back(core, core->waiting, core->waiting_capacity, sizeof(*core->waiting));
    give_back(core, core->reads, core->read_capacity, sizeof(*core->reads));
    give_back(core, core->messages, core->message_capacity, sizeof(*core->messages));
    give_back(core, out->loads, out->load_capacity, sizeof(*out->loads));
    give_back(core, out->reads, out->read_capacity, sizeof(*out->reads));
    give_back(core, out->proposals, out->proposal_capacity, sizeof(*out->proposals));
    give_back(core, out->released, out->released_capacity, sizeof(*out->released));
    give_back(core, out->copies, out->copy_capacity, sizeof(*out->copies));
    give_back(core, core->sent_configuration, core->sent_configuration != NULL, sizeof(*core->sent_configuration));
    give_back(core, core->received_configuration, core->received_configuration != NULL,
              sizeof(*core->received_configuration));
    give_back(core, core->holes, core->holes == NULL ? 0 : RAFTCORE_HOLES_MAX, sizeof(*core->holes));
    struct memory memory = core->memory;
    memory_resize(&memory, core, sizeof(*core), 0);
}

/* --- looking ahead ------------------------------------------------------------------------------- */

enum { LINE_BYTES = 64, PREFETCH_BYTES_MAX = 512 };

/* Else the end of what is looked at would be left out, and nothing would say so. */
_Static_assert(offsetof(struct raftcore, options.uncommitted_bytes) <= PREFETCH_BYTES_MAX, "the front of a core");
_Static_assert(offsetof(struct raftcore, output.load_count) - offsetof(struct raftcore, log.last_index) <=
                   PREFETCH_BYTES_MAX,
               "a core's log and output");
_Static_assert(offsetof(struct progress, inflight_capacity) <= PREFETCH_BYTES_MAX, "the front of a peer's record");

/* Of memory that may begin anywhere in a line, and may be none (a core that has not sent yet has no messages). Numbers,
 * for a line begins where no object does, and a pointer must not be made to there. */
static void prefetch(const void *memory, size_t bytes)
{
    uintptr_t first = (uintptr_t)memory;
    uintptr_t end = first + (bytes < PREFETCH_BYTES_MAX ? bytes : PREFETCH_BYTES_MAX);
    for (uintptr_t line = first - first % LINE_BYTES; line < end; line += LINE_BYTES) {
        __builtin_prefetch((const void *)line, 1);
    }
}

void raftcore_prefetch(const struct raftcore *core, bool is_near)
{
    bool leads = is_near && core_is_leader(core);
    if (!is_near) { /* What core.h puts in front; in it lies something that is large. */
        prefetch(core, offsetof(struct raftcore, options.uncommitted_bytes));
        prefetch((const char *)core + offsetof(struct raftcore, log.last_index),
                 offsetof(struct raftcore, output.load_count) - offsetof(struct raftcore, log.last_index));
    } else {
        prefetch(core->messages, (leads ? core->peer_count : 1) * sizeof(*core->messages));
    }
    for (uint32_t i = 0; leads && i < core->peer_count && i < RAFTCORE_MEMBERS_MAX; i++) {
        prefetch(&core->peers[i], offsetof(struct progress, inflight_capacity));
    }
    if (leads) {
        prefetch(&core->stack[core->stack_count - 1], offsetof(struct stacked, configuration.members) +
                                                          (core->peer_count + 1) * sizeof(struct raftcore_member));
    }
}

/* --- telling ------------------------------------------------------------------------------------- */

enum raftcore_outcome raftcore_outcome(const struct raftcore *core, uint64_t index, uint64_t term)
{
    uint64_t found;
    if (!core->started || index > core->log.last_index) {
        return RAFTCORE_OUTCOME_PENDING; /* Gone here; another node may have it, until something is committed there. */
    }
    if (log_term(&core->log, index, &found)) {
        if (index > core->hard.commit) {
            return RAFTCORE_OUTCOME_PENDING;
        }
        return found == term ? RAFTCORE_OUTCOME_COMMITTED : RAFTCORE_OUTCOME_SUPERSEDED;
    }
    /* Below the log: the entry that the log begins behind tells what its term tells. */
    if (core->log.before_term == term) {
        return RAFTCORE_OUTCOME_COMMITTED; /* The leader of that term had both. */
    }
    bool is_older = core->log.before_term != 0 && core->log.before_term < term; /* 0: nobody here knows. */
    return is_older ? RAFTCORE_OUTCOME_SUPERSEDED : RAFTCORE_OUTCOME_UNKNOWN;
}

bool raftcore_entry(const struct raftcore *core, uint64_t index, struct raftcore_entry *entry)
{
    const struct raftcore_entry *held = core->started ? log_held(&core->log, index) : NULL;
    if (held == NULL) {
        return false;
    }
    *entry = *held;
    entry->reserved = 0;
    return true;
}

bool raftcore_term(const struct raftcore *core, uint64_t index, uint64_t *term)
{
    return core->started && log_term(&core->log, index, term);
}

bool raftcore_configuration_at(const struct raftcore *core, uint64_t index,
                               struct raftcore_configuration *configuration)
{
    for (uint32_t i = core->stack_count; i-- > 0;) {
        if (core->stack[i].index <= index) {
            *configuration = core->stack[i].configuration;
            return true;
        }
    }
    return false;
}

static void peer_status(const struct raftcore *core, const struct progress *peer, struct raftcore_peer_status *status)
{
    const struct raftcore_member *member = configuration_find(core_configuration(core), peer->id);
    *status = (struct raftcore_peer_status){
        .id = peer->id,
        .match = peer->match,
        .next = peer->next,
        .session = peer->session,
        .heard_ns = peer->heard ? peer->heard_ns : 0,
        .snapshot_index = peer->snapshot.index,
        .snapshot_offset = peer->snapshot_taken,
        .inflight_bytes = peer->inflight_bytes,
        .inflight = peer->inflight_count,
        .state = peer->state,
        .flags = member == NULL ? 0 : member->flags,
        .paused = progress_is_paused(peer, core->options.window_messages, core->options.window_bytes),
        .active = peer->heard && core->now_ns - peer->heard_ns < core->options.election_timeout_ns,
        .caught_up = peer->caught_up,
        .damaged = peer->damaged};
}

void raftcore_status(const struct raftcore *core, struct raftcore_status *status)
{
    *status = (struct raftcore_status){.id = core->options.id,
                                       .session = core->session,
                                       .leader = core->leader,
                                       .role = core->role,
                                       .broken = core->broken,
                                       .hard_state = core->hard,
                                       .term_limit_in_force = core->limit_in_force,
                                       .first_index = core->log.first_index,
                                       .last_index = core->log.last_index,
                                       .last_term = log_last_term(&core->log),
                                       .durable_index = core->durable_index,
                                       .applied = core->applied,
                                       .snapshot = core->snapshot,
                                       .last_sequence = core->last_sequence,
                                       .durable_sequence = core->durable_sequence,
                                       .waiting_messages = core->waiting_count,
                                       .uncommitted_bytes = core_is_leader(core) ? core->uncommitted_bytes : 0,
                                       .unapplied_bytes = core->unapplied_bytes,
                                       .cached_bytes = core->log.held_bytes,
                                       .hole_count = core->hole_count,
                                       .transfer_to = core->transfer_to,
                                       .elections = core->elections,
                                       .terms_led = core->terms_led,
                                       .messages_sent = core->messages_sent,
                                       .messages_refused = core->messages_refused,
                                       .clock_went_back = core->clock_went_back,
                                       .memory_bytes = core->memory.bytes};
    if (core->hole_count > 0) {
        memcpy(status->holes, core->holes, core->hole_count * sizeof(*core->holes));
    }
    memcpy(status->refusals, core->refusals, sizeof(status->refusals));
    status->refusals[0] = core->accepted;
    if (core->stack_count > 0) {
        status->configuration = *core_configuration(core);
        status->configuration_index = core_configuration_index(core);
    }
    for (uint32_t i = 0; core_is_leader(core) && i < core->peer_count && i < RAFTCORE_MEMBERS_MAX; i++) {
        peer_status(core, &core->peers[i], &status->peers[status->peer_count++]);
    }
}
