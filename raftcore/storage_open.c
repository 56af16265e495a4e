/* storage_open.c - what is on the disk, as the core's start.
 *
 * The happy path:
 *   1. the directories log-1, log-2 ...: of several the highest that is complete counts, the others go;
 *   2. the log is opened, and by that everything that will be read is durable (A23);
 *   3. its records are read, all of them: runs of terms, configurations above the snapshot, records that do not read;
 *   4. log and newest snapshot are brought together.
 *
 * What can fail, and what is done:
 *   - the log's end is uncertain: it is cut there, which leaves a doubt in the log; the core starts with an uncertain
 *     tail and makes its recovery unit, whose append ends the doubt (B3, B4). A crash in between finds the doubt again;
 *   - durable batches do not read, and others behind them do: nothing is cut. The log is copied, with a record that
 *     says so for each that is lost: a hole, with what stands behind it for an anchor (B8, B12);
 *   - durable batches at the end do not read: as an uncertain end (B12b);
 *   - records in the middle of a healthy log do not read: holes, where they are;
 *   - a cluster of one, where no peer could help: refused, until the operator says so (B17);
 *   - the newest snapshot does not read: the one before it, whose entries are still in the log; or none (B14);
 *   - a crash came between a received snapshot and its unit: what it calls for is done now (A28).
 *   - the disk is full: refused, with the disk as it was.
 * Every failure leaves the disk as it was, or one of the states above.
 *
 * Invariants: nothing that reads is cut; the start is one that the core accepts; metadata name this node, cluster and
 * log.
 *
 * May include: storage.h, configuration.h, zoo.h. */

#include "raftcore/storage.h"

#include "raftcore/configuration.h"
#include "raftcore/zoo.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { DIRECTORIES_MAX = 16 };

/* --- words --------------------------------------------------------------------------------------- */

int storage_tell(struct storage *storage, int status, const char *what, const char *detail)
{
    const char *word = wal_strerror(status);
    if (status > -1000) {
        word = status == -EXDEV ? "it belongs to another node or cluster" : word;
    }
    (void)snprintf(storage->text, sizeof(storage->text), "%s: %s%s%s", what, word, detail[0] == 0 ? "" : ": ", detail);
    storage->status = status;
    return status;
}

int storage_tell_log(struct storage *storage, int status, const char *what)
{
    char detail[WAL_VERDICT_TEXT_BYTES] = "";
    if (storage->log != NULL) {
        (void)wal_errmsg(storage->log, detail, sizeof(detail));
    }
    return storage_tell(storage, status, what, detail);
}

/* --- directories --------------------------------------------------------------------------------- */

int storage_open_directory(struct storage *storage, uint32_t number, bool make, struct wal_io **io)
{
    char name[32];
    (void)snprintf(name, sizeof(name), "log-%u", number);
    return storage->options.disk->ops->open(storage->options.disk, name, make, io);
}

struct wal_options storage_wal_options(const struct storage *storage, uint32_t more_flags)
{
    struct wal_options options = WAL_OPTIONS_INIT;
    if (storage->options.wal != NULL) {
        options = *storage->options.wal;
    }
    const uint32_t ours = WAL_CREATE | WAL_EXCLUSIVE | WAL_READ_ONLY | WAL_ACCEPT_UNCERTAIN | WAL_ACCEPT_CORRUPT;
    options.flags = (options.flags & ~ours) | more_flags;
    return options;
}

struct directories {
    uint32_t numbers[DIRECTORIES_MAX]; /* Rising. */
    uint32_t count;
};

bool storage_is_log_name(const char *name, unsigned *number)
{
    char again[32];
    if (sscanf(name, "log-%9u", number) != 1) {
        return false;
    }
    (void)snprintf(again, sizeof(again), "log-%u", *number);
    return strcmp(again, name) == 0 && *number != 0;
}

static int note_directory(void *context, const char *name)
{
    struct directories *found = context;
    unsigned number;
    if (!storage_is_log_name(name, &number)) {
        return 0;
    }
    if (found->count == DIRECTORIES_MAX) {
        return -EMFILE;
    }
    uint32_t at = found->count++;
    for (; at > 0 && found->numbers[at - 1] > number; at--) {
        found->numbers[at] = found->numbers[at - 1];
    }
    found->numbers[at] = number;
    return 0;
}

static void remove_directory(struct storage *storage, uint32_t number)
{
    char name[32];
    (void)snprintf(name, sizeof(name), "log-%u", number);
    (void)storage->options.disk->ops->remove(storage->options.disk, name);
}

static int load_metadata(struct wal *log, struct storage_metadata *metadata)
{
    uint8_t bytes[WAL_METADATA_BYTES_MAX];
    size_t size;
    int status = wal_metadata(log, bytes, sizeof(bytes), &size);
    if (status == 0 && !storage_decode_metadata(bytes, size, metadata)) {
        return -EBADMSG;
    }
    return status;
}

/* Does this directory hold a log that says that it is complete? One that cannot be judged is an error: nothing is
 * thrown away on a guess. */
static int is_complete(struct storage *storage, uint32_t number, bool *complete)
{
    struct wal_io *io;
    struct wal *log;
    struct storage_metadata metadata;
    *complete = false;
    int status = storage_open_directory(storage, number, false, &io);
    if (status != 0) {
        return status;
    }
    struct wal_options options = storage_wal_options(storage, WAL_READ_ONLY);
    status = wal_open_io(io, &options, &log, &storage->verdict);
    if (status == 0) {
        status = load_metadata(log, &metadata);
        *complete = status == 0 && !metadata.building;
        (void)wal_close(log);
    }
    io->ops->destroy(io);
    return status == WAL_ENOENT || status == WAL_ENOTLOG ? 0 : status; /* Barely begun. */
}

/* Of several directories the one that counts; the others go. Only a copy that was cut short leaves several. */
static int choose_directory(struct storage *storage, const struct directories *found)
{
    uint32_t chosen = found->numbers[0];
    for (uint32_t i = found->count; i-- > 1 && chosen == found->numbers[0];) {
        bool complete;
        int status = is_complete(storage, found->numbers[i], &complete);
        if (status != 0) {
            return storage_tell(storage, status, "one of several log directories cannot be judged",
                                storage->verdict.text);
        }
        chosen = complete ? found->numbers[i] : chosen;
    }
    for (uint32_t i = 0; i < found->count; i++) {
        if (found->numbers[i] != chosen) {
            remove_directory(storage, found->numbers[i]);
        }
    }
    storage->number = chosen;
    return 0;
}

/* --- damaged logs -------------------------------------------------------------------------------- */

static bool is_only_voter(const struct storage *storage, const struct raftcore_configuration *base)
{
    const struct raftcore_configuration *newest = base;
    if (storage->configuration_count > 0) {
        newest = &storage->configurations[storage->configuration_count - 1].configuration;
    }
    unsigned others = 0;
    bool is_voter = false;
    for (uint32_t i = 0; i < newest->count; i++) {
        bool votes = (newest->members[i].flags & (RAFTCORE_VOTER | RAFTCORE_VOTER_OLD)) != 0;
        is_voter = is_voter || (votes && newest->members[i].id == storage->options.id);
        others += votes && newest->members[i].id != storage->options.id;
    }
    return is_voter && others == 0;
}

/* The directory anew for each handle: an open that was refused leaves its lock with the old one. */
static int open_log(struct storage *storage, uint32_t more_flags)
{
    if (storage->io != NULL) {
        storage->io->ops->destroy(storage->io);
        storage->io = NULL;
    }
    bool make = (more_flags & WAL_CREATE) != 0;
    int opened = storage_open_directory(storage, storage->number, make, &storage->io);
    if (opened != 0) {
        return storage_tell(storage, opened, "the log's directory could not be opened", "");
    }
    struct wal_options options = storage_wal_options(storage, more_flags);
    int status = wal_open_io(storage->io, &options, &storage->log, &storage->verdict);
    return status == 0 ? 0 : storage_tell(storage, status, "the log could not be opened", storage->verdict.text);
}

/* Nothing is cut: what cannot be read is marked, in a copy; `damaged` is closed if it succeeds. Of an uncertain hard
 * state the copy holds what follows from it (B3), since no doubt is in it. */
static int copy_damaged(struct storage *storage, struct wal *damaged)
{
    int status = load_metadata(damaged, &storage->metadata);
    if (status != 0) {
        return storage_tell(storage, status, "the damaged log has no metadata that read", storage->verdict.text);
    }
    struct raftcore_hard_state *hard = &storage->metadata.hard;
    if (storage->uncertain) {
        hard->term = hard->floor_term = hard->term_limit;
        hard->vote = RAFTCORE_VOTE_SPENT;
        hard->floor_index = RAFTCORE_INFINITY;
        hard->commit = 0; /* Entries may have been replaced by some that are lost. */
    }
    struct wal_verdict verdict = storage->verdict;
    status = storage_copy(storage, damaged, storage->number + 1, NULL);
    if (status != 0) {
        return status;
    }
    (void)wal_close(damaged);
    storage->io->ops->destroy(storage->io);
    storage->io = NULL;
    storage->rebuilt = true;
    remove_directory(storage, storage->number);
    storage->number++;
    status = open_log(storage, 0);
    storage->verdict = verdict;
    return status;
}

static int open_damaged(struct storage *storage, const struct snapshot_info *base, int found)
{
    struct wal_verdict verdict = storage->verdict;
    struct wal *damaged;
    struct wal_options options = storage_wal_options(storage, WAL_READ_ONLY);
    int status = wal_open_io(storage->io, &options, &damaged, &storage->verdict);
    if (status != 0) {
        return storage_tell(storage, status, "the damaged log cannot be read at all", storage->verdict.text);
    }
    status = storage_scan(storage, damaged, base->header.index);
    storage_widen_holes(storage, base->header.index);
    bool reads_behind = storage->hole_count > (storage_ends_in_hole(storage) ? 1U : 0U);
    if (ZOO(damaged_entry_taken_as_end)) {
        reads_behind = false;
    }
    bool is_alone = status == 0 && is_only_voter(storage, &base->header.configuration);
    if (is_alone && !storage->options.accept_alone) {
        status = storage_tell(storage, found, "the only voter's log is damaged, and no peer can mend it", verdict.text);
    }
    reads_behind = reads_behind && !is_alone; /* Nobody could fill a hole. */
    if (status == 0 && found == WAL_ECORRUPT && reads_behind) {
        /* Only damage in front of a readable end leaves the hard state exact (B3). */
        storage->uncertain = verdict.row != 6 || storage_ends_in_hole(storage);
        for (uint32_t i = 0; i < storage->verdict.hole_count; i++) {
            storage->uncertain = storage->uncertain || storage->verdict.holes[i].end_index == 0;
        }
        status = copy_damaged(storage, damaged);
        if (!storage->rebuilt) {
            (void)wal_close(damaged);
        }
        return status;
    }
    (void)wal_close(damaged);
    if (status != 0) {
        return status;
    }
    status = open_log(storage, WAL_ACCEPT_UNCERTAIN | WAL_ACCEPT_CORRUPT);
    storage->uncertain = true;
    storage->verdict = status == 0 ? verdict : storage->verdict;
    return status;
}

/* --- a new log ----------------------------------------------------------------------------------- */

static uint64_t fold_uuid(const uint8_t uuid[16])
{
    uint64_t folded = 0;
    for (unsigned i = 0; i < 16; i++) {
        folded ^= (uint64_t)uuid[i] << 8 * (i % 8);
    }
    return folded == 0 ? 1 : folded;
}

/* A first node's log begins with an entry that holds its first members, the same on all of them: a node that joins
 * later and gets the log from its beginning must find them there. Then the metadata once more: what is reserved in them
 * must lie in front of another durable batch (B2). */
static int begin_log(struct storage *storage)
{
    const struct storage_options *options = &storage->options;
    const struct raftcore_configuration *members = &options->snapshots->list[0].header.configuration;
    uint8_t entry[CODEC_CONFIGURATION_BYTES_MAX];
    codec_encode_configuration(members, entry);
    const struct wal_record record = {.data = entry,
                                      .size = (uint32_t)codec_configuration_bytes(members),
                                      .type = RAFTCORE_ENTRY_CONFIGURATION + 1,
                                      .tag = 1};
    storage->metadata =
        (struct storage_metadata){.log_id = options->log_id != 0 ? options->log_id : fold_uuid(storage->verdict.uuid),
                                  .cluster_id = options->cluster_id,
                                  .id = options->id,
                                  .hard = {.term = members->count > 0, .term_limit = 1024}};
    uint8_t bytes[STORAGE_METADATA_BYTES];
    storage_encode_metadata(&storage->metadata, bytes);
    struct wal_append append = {.records = &record,
                                .record_count = members->count > 0,
                                .flags = WAL_APPEND_METADATA,
                                .metadata = bytes,
                                .metadata_bytes = sizeof(bytes)};
    storage->created = true;
    int status = wal_commit(storage->log, &append, NULL);
    append.record_count = 0;
    status = status == 0 ? wal_commit(storage->log, &append, NULL) : status;
    return status == 0 ? 0 : storage_tell_log(storage, status, "the new log could not be begun");
}

static int check_identity(struct storage *storage)
{
    const struct storage_options *options = &storage->options;
    int status = load_metadata(storage->log, &storage->metadata);
    bool is_empty = wal_last_index(storage->log) < wal_first_index(storage->log);
    if (status == WAL_ENOENT && is_empty && wal_first_index(storage->log) == 1 && options->create) {
        return begin_log(storage); /* A crash came between the log and its first metadata. */
    }
    if (status != 0) {
        return storage_tell(storage, status == WAL_ENOENT ? WAL_ENOTLOG : status, "no metadata of a node in the log",
                            "");
    }
    bool is_ours = storage->metadata.id == options->id && storage->metadata.cluster_id == options->cluster_id &&
                   (options->log_id == 0 || storage->metadata.log_id == options->log_id);
    if (!is_ours) {
        return storage_tell(storage, -EXDEV, "the log is another's", "check node id, cluster id and log id");
    }
    if (storage->metadata.building) {
        /* Its last metadata, complete, were in a tail that is gone: the log itself is whole up to there. */
        storage->metadata.building = false;
        storage->uncertain = true;
    }
    return 0;
}

/* --- log and snapshot ---------------------------------------------------------------------------- */

/* Whether what stands behind the snapshot joins it cannot be told, for the entry at its index does not read. It goes;
 * but it was acknowledged, and nobody who lacks it is to get this node's vote (B6, B11). */
static void keep_as_floor(struct storage *storage, uint64_t last)
{
    struct raftcore_hard_state *hard = &storage->metadata.hard;
    uint64_t term = 0;
    (void)storage_term_at(storage, last, &term);
    if (term > hard->floor_term || (term == hard->floor_term && last > hard->floor_index)) {
        hard->floor_term = term;
        hard->floor_index = last;
    }
}

/* The log is emptied and begins behind the snapshot (A27, A28). */
static int begin_behind(struct storage *storage, const struct snapshot_header *snapshot)
{
    struct wal *log = storage->log;
    storage->metadata.before_index = snapshot->index;
    storage->metadata.before_term = snapshot->term;
    int status = 0;
    if (wal_first_index(log) <= wal_last_index(log)) {
        uint8_t bytes[STORAGE_METADATA_BYTES];
        storage_encode_metadata(&storage->metadata, bytes);
        const struct wal_append append = {.flags = WAL_APPEND_METADATA | WAL_APPEND_TRUNCATE,
                                          .first_index = wal_first_index(log),
                                          .metadata = bytes,
                                          .metadata_bytes = sizeof(bytes)};
        status = wal_commit(log, &append, NULL);
    }
    if (status == 0 && wal_last_index(log) < snapshot->index) {
        struct wal_receipt receipt;
        status = wal_reset(log, snapshot->index + 1, &receipt);
        status = status == 0 ? wal_wait(log, receipt.ticket) : status;
    }
    storage->run_count = storage->configuration_count = storage->hole_count = 0;
    return status == 0 ? 0 : storage_tell_log(storage, status, "the log could not begin behind the snapshot");
}

/* Holes that end at or below the snapshot are nobody's need: the log begins behind them. */
static int drop_covered_holes(struct storage *storage, uint64_t snapshot_index)
{
    uint64_t first = 0;
    while (storage->hole_count > 0 && storage->holes[0].first <= snapshot_index) {
        struct raftcore_hole *hole = &storage->holes[0];
        if (hole->last > snapshot_index) {
            first = snapshot_index + 1;
            hole->first = snapshot_index + 1;
            break;
        }
        first = hole->last + 1;
        storage->hole_count--;
        memmove(storage->holes, storage->holes + 1, storage->hole_count * sizeof(*hole));
    }
    return first == 0 ? 0 : storage_compact(storage, first);
}

/* The runs of what is left of the log. */
static void clip_runs(struct storage *storage, uint64_t first)
{
    uint32_t gone = 0;
    while (gone + 1 < storage->run_count && storage->runs[gone + 1].first_index <= first) {
        gone++;
    }
    if (gone > 0) {
        storage->run_count -= gone;
        memmove(storage->runs, storage->runs + gone, storage->run_count * sizeof(*storage->runs));
    }
    if (storage->run_count > 0 && storage->runs[0].first_index < first) {
        storage->runs[0].first_index = first;
    }
}

/* A hole that ends the log, whose hard state is exact: what was in it is unknown, and the next append cuts it (B4). */
static void cut_hole_at_end(struct storage *storage, uint64_t *last)
{
    uint64_t from = storage->holes[--storage->hole_count].first;
    storage->cut_from = from;
    *last = from - 1;
    while (storage->run_count > 0 && storage->runs[storage->run_count - 1].first_index >= from) {
        storage->run_count--;
    }
    while (storage->configuration_count > 0 &&
           storage->configurations[storage->configuration_count - 1].index >= from) {
        storage->configuration_count--;
    }
}

/* The newest snapshot that the log joins. *damaged: there is none, and this is the newest whose header reads. */
static const struct snapshot_info *choose_snapshot(const struct storage *storage, bool *damaged)
{
    const struct snapshot_store *store = storage->options.snapshots;
    const struct snapshot_info *newest = snapshot_store_newest(store, UINT64_MAX);
    uint64_t first = wal_first_index(storage->log);
    *damaged = newest == NULL || first > newest->header.index + 1;
    if (*damaged && store->count > 0) {
        newest = &store->list[store->count - 1];
        if (first > newest->header.index + 1) {
            newest = NULL;
        }
    }
    return newest;
}

static int join(struct storage *storage, const struct snapshot_info *snapshot, bool damaged,
                struct raftcore_start *start)
{
    const struct snapshot_header *header = &snapshot->header;
    uint64_t first = wal_first_index(storage->log), last = wal_durable_index(storage->log), term;
    bool at_end = storage_ends_in_hole(storage);
    bool joins = last >= header->index;
    if (joins && first <= header->index) {
        bool knows = storage_term_at(storage, header->index, &term) && !storage_is_lost(storage, header->index);
        joins = knows ? term == header->term : storage->metadata.hard.commit >= header->index;
    }
    int status = 0;
    if (!joins) {
        if (storage_is_lost(storage, header->index)) {
            keep_as_floor(storage, last);
        }
        status = begin_behind(storage, header);
        at_end = false;
    } else if (at_end && storage->holes[storage->hole_count - 1].first > header->index) {
        cut_hole_at_end(storage, &last);
    } else if (at_end) {
        status = begin_behind(storage, header); /* It covers all that reads. */
    }
    status = status == 0 ? drop_covered_holes(storage, header->index) : status;
    if (status != 0) {
        return status;
    }
    first = wal_first_index(storage->log);
    last = storage->cut_from != 0 ? last : wal_last_index(storage->log);
    clip_runs(storage, first);
    uint32_t tail = at_end ? RAFTCORE_TAIL_ENTRIES_LOST : RAFTCORE_TAIL_EXACT;
    tail = storage->uncertain ? RAFTCORE_TAIL_UNCERTAIN : tail;
    *start = (struct raftcore_start){
        .hard_state = storage->metadata.hard,
        .snapshot = {.index = header->index, .term = header->term, .id = header->id, .bytes = header->file_bytes},
        .configuration = header->configuration,
        .first_index = first,
        .last_index = last,
        .runs = storage->runs,
        .run_count = storage->run_count,
        .configurations = storage->configurations,
        .configuration_count = storage->configuration_count,
        .before_term = storage->metadata.before_index == first - 1 ? storage->metadata.before_term : 0,
        .tail =
            ZOO(restart_forgets_uncertain) || ZOO(damaged_entry_taken_as_end) ? (uint32_t)RAFTCORE_TAIL_EXACT : tail,
        .hole_count = storage->hole_count,
        .holes = storage->holes,
        .snapshot_damaged = damaged};
    if (header->index == 0) {
        start->snapshot = (struct raftcore_snapshot){0};
    }
    return 0;
}

/* --- opening ------------------------------------------------------------------------------------- */

static int open_existing(struct storage *storage, const struct directories *found)
{
    const struct snapshot_store *store = storage->options.snapshots;
    if (store->count == 0) {
        return storage_tell(storage, WAL_ECORRUPT, "a log, but no snapshot whose header reads",
                            "restore a copy, or remove the node and add it anew");
    }
    const struct snapshot_info *base = snapshot_store_newest(store, UINT64_MAX);
    base = base != NULL ? base : &store->list[store->count - 1];
    int status = choose_directory(storage, found);
    if (status != 0) {
        return status;
    }
    status = open_log(storage, 0);
    if (status == WAL_ENOENT && storage->options.create && base->header.index == 0) {
        return open_log(storage, WAL_CREATE); /* A crash came between the directory and its first segment. */
    }
    if (status == WAL_EUNCERTAIN || status == WAL_ECORRUPT) {
        status = open_log(storage, 0); /* A read that failed once may succeed: nothing is decided by that. */
    }
    if (status == WAL_EUNCERTAIN || status == WAL_ECORRUPT) {
        status = open_damaged(storage, base, status);
    }
    return status;
}

static int make_log(struct storage *storage)
{
    if (!storage->options.create) {
        return storage_tell(storage, -ENOENT, "no log here", "");
    }
    const struct snapshot_info *newest = snapshot_store_newest(storage->options.snapshots, UINT64_MAX);
    if (newest == NULL || newest->header.index != 0) {
        return storage_tell(storage, WAL_ECORRUPT, "snapshots, but no log: it was lost, and with it the node's vote",
                            "remove the node, empty its directory, and add it anew");
    }
    storage->number = 1;
    return open_log(storage, WAL_CREATE);
}

/* A log that could not write its anchor, or has no room for more, can make nothing durable: better said now. */
static int try_to_append(struct storage *storage)
{
    uint8_t bytes[STORAGE_METADATA_BYTES];
    storage_encode_metadata(&storage->metadata, bytes);
    const struct wal_append append = {
        .flags = WAL_APPEND_METADATA | WAL_APPEND_NO_WAIT, .metadata = bytes, .metadata_bytes = sizeof(bytes)};
    struct wal_receipt receipt;
    int status = wal_append(storage->log, &append, &receipt);
    return status == WAL_EAGAIN ? 0 : status;
}

static int open_all(struct storage *storage, struct raftcore_start *start)
{
    struct directories found = {.count = 0};
    struct raftcore_disk *disk = storage->options.disk;
    int status = disk->ops->list(disk, note_directory, &found);
    if (status != 0) {
        return storage_tell(storage, status, "the node's directory could not be listed", "");
    }
    status = found.count == 0 ? make_log(storage) : open_existing(storage, &found);
    status = status == 0 ? check_identity(storage) : status;
    if (status != 0) {
        return status;
    }
    status = try_to_append(storage);
    if (status != 0) {
        return storage_tell_log(storage, status, "the log cannot be appended to");
    }
    bool damaged = false;
    const struct snapshot_info *snapshot = choose_snapshot(storage, &damaged);
    if (snapshot == NULL) {
        return storage_tell(storage, WAL_ECORRUPT, "no snapshot that the log joins has a header that reads",
                            "restore a copy, or remove the node and add it anew");
    }
    status = storage_scan(storage, storage->log, snapshot->header.index);
    if (status != 0) {
        return status;
    }
    storage_widen_holes(storage, snapshot->header.index);
    storage->uncertain = storage->uncertain || wal_doubt(storage->log) != 0;
    storage->clears_doubt = wal_doubt(storage->log) != 0;
    return join(storage, snapshot, damaged, start);
}

int storage_open(struct storage *storage, const struct storage_options *options, struct raftcore_start *start)
{
    *storage = (struct storage){.options = *options, .memory.allocator = options->allocator};
    int status = open_all(storage, start);
    if (status != 0) {
        (void)storage_close(storage);
    }
    return status;
}

void storage_started(struct storage *storage)
{
    memory_resize(&storage->memory, storage->runs, storage->run_capacity * sizeof(*storage->runs), 0);
    memory_resize(&storage->memory, storage->configurations,
                  storage->configuration_capacity * sizeof(*storage->configurations), 0);
    storage->runs = NULL;
    storage->configurations = NULL;
    storage->run_count = storage->run_capacity = 0;
    storage->configuration_count = storage->configuration_capacity = 0;
    storage->hole_count = 0;
}
