/* stage.c - accepting.
 *
 * The happy path of an append: the limits are checked; it joins the open batch, or a new one is opened behind the last,
 * in the same segment or in the next ready one; its records are copied and checksummed in place; it gets its ticket and
 * indexes. All that under one lock, without a system call and without memory being taken.
 *
 * What makes a new batch: a truncation (a batch never has two base indexes), a START, metadata larger than the room set
 * aside, no more room in the batch or in the segment.
 *
 * What can fail: a limit, an unexpected index, no room in the queue or no ready segment (then the caller waits, or gets
 * WAL_EAGAIN), a full disk. Everything is decided before the first change: a refused append leaves nothing behind.
 *
 * The reserve: data is accepted only while, afterwards, at least one ready segment is left. START, TRUNCATE without
 * records, MARK and CLOSE may use that last one, but for its last blocks: those are for a START that frees a segment,
 * and for the CLOSE or the anchor in front of it (cut.c). So a full disk can always be truncated, and open finds room
 * for its anchor.
 *
 * Invariants: next_index and appended_ticket move here only; stage_offset is behind the last closed batch; at most one
 * batch is open: log->open, the last of the queue.
 *
 * May include: stage.h, commit.h, prepare.h, seal.h, bytes.h, check.h, zoo.h. */

#include "wal/stage.h"

#include "wal/bytes.h"
#include "wal/check.h"
#include "wal/commit.h"
#include "wal/prepare.h"
#include "wal/seal.h"
#include "wal/zoo.h"

#include <inttypes.h>

/* How much of a full disk's room a wish may take. */
enum room {
    ROOM_BEFORE_RESERVE, /* What leaves a ready segment. */
    ROOM_OF_RESERVE,     /* All but the last blocks. */
    ROOM_TO_THE_LAST
};

/* What the batch to be opened is for. */
struct wish {
    enum batch_kind kind;
    uint64_t record_bytes;
    uint32_t metadata_bytes;
    uint64_t first_index;
    uint64_t generation; /* Of the log when the wish was checked. */
    bool no_wait;
    enum room room;
};

static int refuse(struct wal *log)
{
    if (log->poison != 0) {
        return WAL_EPOISONED;
    }
    if (log->closing) {
        return WAL_ECLOSED;
    }
    if (log->unanchored) {
        return report_set(
            &log->report, WAL_ENOSPC,
            log->anchor_deferred
                ? "the disk had no room for more than truncating when the log was opened: truncate its "
                  "prefix, and appending resumes; or free space and open it again"
                : "the disk had no room for the anchor when the log was opened: it can only be read. Free "
                  "space and open it again");
    }
    return log->read_only ? WAL_EROFS : 0;
}

/* Does the wish fit behind the last batch, in the segment that is being filled? */
static bool fits_segment(const struct wal *log, const struct wish *wish, uint64_t need_bytes, uint32_t ready)
{
    uint64_t seal_offset = segment_seal_offset(log->stage_segment, log->shape.block_bytes);
    bool kept = wish->room != ROOM_TO_THE_LAST && ready == 0 && !ZOO(reserve_spent);
    uint64_t end_offset = seal_offset - (kept ? STAGE_LAST_BLOCKS * (uint64_t)log->shape.block_bytes : 0);
    return log->stage_offset < end_offset && need_bytes <= end_offset - log->stage_offset;
}

/* Waits for the preparer, or works in its place. 0: look again. */
static int wait_for_segment(struct wal *log, const struct wish *wish)
{
    (void)pthread_cond_signal(&log->helper_wake);
    if (log->no_room && !log->helper_started && !wish->no_wait) {
        (void)!prepare_inline(log); /* Nobody else would look whether there is room now. */
        if (!log->no_room || log->poison != 0) {
            return 0;
        }
    }
    if (log->no_room && log->no_room_status != WAL_ENOSPC) {
        log->report = log->no_room_report; /* Tried again soon; nothing was accepted. */
        return log->no_room_status;
    }
    if (log->no_room) {
        return report_set(
            &log->report, WAL_ENOSPC,
            "no room for a further segment on the disk (or segments_max reached); nothing was accepted. Free space, or "
            "truncate the log's prefix; appending resumes by itself");
    }
    if (wish->no_wait) {
        return WAL_EAGAIN;
    }
    log->counters.roll_waits++;
    if (!log->helper_started) {
        return prepare_inline(log);
    }
    commit_advance(log);
    return 0;
}

/* So many ready segments must be left behind the last batch of data. */
static uint32_t reserve_of_data(void)
{
    return ZOO(reserve_spent) ? 0 : 1;
}

/* One step towards a place for the wish: 0 and *found, or 0 and look again, or a refusal. */
static int find_place(struct wal *log, const struct wish *wish, uint64_t need_bytes, bool *found)
{
    *found = false;
    if (log->queue_tail - log->queue_head == log->batch_count) {
        if (wish->no_wait) {
            return WAL_EAGAIN;
        }
        log->counters.buffer_waits++;
        commit_advance(log);
        return 0;
    }
    uint32_t reserve = wish->room != ROOM_BEFORE_RESERVE ? 0 : reserve_of_data();
    uint32_t ready = log_ready_segments(log);
    if (fits_segment(log, wish, need_bytes, ready)) {
        if (ready >= reserve) {
            *found = true;
            return 0;
        }
        return wait_for_segment(log, wish);
    }
    struct segment *next = table_find(&log->table, log->stage_segment->number + 1);
    if (next == NULL || next->state != SEGMENT_READY || ready < reserve + 1) {
        return wait_for_segment(log, wish);
    }
    if (need_bytes > segment_seal_offset(next, log->shape.block_bytes) - 2 * (uint64_t)log->shape.block_bytes) {
        return report_set(&log->report, WAL_ETOOBIG,
                          "the append needs %" PRIu64 " bytes, more than segment %" PRIu64 " holds", need_bytes,
                          next->number);
    }
    next->staged = true;
    log->stage_segment = next;
    log->stage_offset = 2 * (uint64_t)log->shape.block_bytes;
    *found = true;
    return 0;
}

/* Opens a batch for the wish behind all others. */
static int open_batch(struct wal *log, const struct wish *wish)
{
    uint32_t metadata_room_bytes = (uint32_t)round_up(wish->metadata_bytes, 8);
    if (metadata_room_bytes < log->metadata_room_bytes) {
        metadata_room_bytes = log->metadata_room_bytes;
    }
    uint64_t need_bytes = format_head_bytes(wish->kind, metadata_room_bytes) + wish->record_bytes;
    /* Whether an append is too big must not depend on the metadata that the log has seen before. */
    uint64_t largest_bytes = format_head_bytes(wish->kind, FORMAT_METADATA_BYTES_MAX) + wish->record_bytes;
    if (largest_bytes > log->options.batch_bytes_max) {
        return report_set(&log->report, WAL_ETOOBIG,
                          "the append needs %" PRIu64 " bytes with room for metadata, batch_bytes_max is %u",
                          largest_bytes, log->options.batch_bytes_max);
    }
    for (bool found = false; !found;) {
        int refused = refuse(log);
        if (refused != 0) {
            return refused;
        }
        if (log->next_index != wish->first_index || log->generation != wish->generation) {
            return WAL_EAGAIN; /* The log moved on while we waited, at either end: check and decide anew. */
        }
        seal_close_open_batch(log);
        int status = find_place(log, wish, need_bytes, &found);
        if (status != 0) {
            return status;
        }
    }
    log->metadata_room_bytes = metadata_room_bytes;
    const struct batch_place place = {
        .segment = log->stage_segment->number,
        .salt = log->stage_segment == log->tail ? log->tail->salt : log->stage_segment->salt,
        .file_offset = log->stage_offset,
        .block_bytes = log->shape.block_bytes,
        .room_bytes = segment_seal_offset(log->stage_segment, log->shape.block_bytes) - log->stage_offset,
    };
    struct batch *batch = log_batch(log, log->queue_tail);
    CHECK(log->open == NULL);
    batch_open(batch, wish->kind, &place, wish->first_index, log->appended_ticket + 1, log->staged_tag,
               metadata_room_bytes);
    log->queue_tail++;
    log->open = batch;
    return 0;
}

/* The open batch when this append may join it. It is data, and the batch may be a truncation that was put into the
 * reserve. */
static struct batch *joinable(struct wal *log, uint64_t record_bytes, uint32_t metadata_bytes)
{
    struct batch *batch = log->open;
    if (batch == NULL) {
        return NULL;
    }
    bool data = batch->head.kind == BATCH_DATA || batch->head.kind == BATCH_TRUNCATE;
    if (batch->head.record_count == 0 && log_ready_segments(log) < reserve_of_data()) {
        return NULL; /* One with records was opened in front of the reserve, and stands there. */
    }
    return data && batch_has_room(batch, record_bytes, metadata_bytes) ? batch : NULL;
}

static void take_ticket(struct wal *log, struct wal_receipt *receipt, uint64_t first_index, uint64_t end_index)
{
    log->appended_ticket++;
    if (receipt != NULL) {
        *receipt = (struct wal_receipt){log->appended_ticket, first_index, end_index - 1};
    }
}

/* --- truncation ---------------------------------------------------------------------------------- */

static void note_truncated_run(struct wal *log, uint64_t first_ticket, uint64_t end_ticket)
{
    struct truncated_tickets *newest = &log->truncations[(log->truncation_count - 1) % LOG_TRUNCATIONS_KEPT];
    if (log->truncation_count != 0 && newest->end_ticket == first_ticket) {
        newest->end_ticket = end_ticket; /* It goes on in the next batch. */
    } else {
        log->truncations[log->truncation_count % LOG_TRUNCATIONS_KEPT] =
            (struct truncated_tickets){first_ticket, end_ticket};
        log->truncation_count++;
    }
    atomic_store_explicit(&log->truncated_end_ticket, end_ticket, memory_order_release);
}

/* Records from first_index on are gone before they were durable: those who wait for them are to be told so. Tickets
 * without records (metadata, a start) keep their meaning. */
static void note_truncated_tickets(struct wal *log, uint64_t first_index)
{
    for (uint64_t sequence = log->queue_head; sequence < log->queue_tail; sequence++) {
        const struct batch *batch = log_batch(log, sequence);
        if (batch->head.record_count == 0 || batch_end_index(batch) <= first_index) {
            continue;
        }
        uint32_t run = 0; /* Appends in a row that lose records. */
        for (uint32_t i = 0; i <= batch->append_count; i++) {
            uint32_t before = i > 0 ? batch->records_by_append[i - 1] : 0;
            bool loses = i < batch->append_count && batch->records_by_append[i] > before &&
                         batch->head.first_index + batch->records_by_append[i] > first_index;
            if (!loses && run != 0) {
                note_truncated_run(log, batch->first_ticket + i - run, batch->first_ticket + i);
            }
            run = loses ? run + 1 : 0;
        }
    }
}

static int stage_truncation(struct wal *log, const struct wal_append *append, uint64_t record_bytes)
{
    uint64_t end_index = log->next_index;
    struct wish wish = {.kind = BATCH_TRUNCATE,
                        .record_bytes = ZOO(truncation_apart) ? 0 : record_bytes,
                        .metadata_bytes = (append->flags & WAL_APPEND_METADATA) != 0 ? append->metadata_bytes : 0,
                        .first_index = end_index,
                        .generation = log->generation,
                        .no_wait = (append->flags & WAL_APPEND_NO_WAIT) != 0,
                        .room = append->record_count == 0 ? ROOM_OF_RESERVE : ROOM_BEFORE_RESERVE};
    int status = open_batch(log, &wish);
    if (status != 0) {
        return status;
    }
    struct batch *batch = log->open;
    batch->head.first_index = append->first_index;
    note_truncated_tickets(log, append->first_index);
    log->next_index = append->first_index;
    if (log->durable_end_index > append->first_index) {
        log->durable_end_index = append->first_index;
    }
    log->counters.truncations++;
    log->generation++;
    return 0;
}

/* --- appending ----------------------------------------------------------------------------------- */

/* What an append brings. */
struct load {
    uint64_t payload_bytes;
    uint64_t record_bytes; /* In the batch. */
};

static int check_append(struct wal *log, const struct wal_append *append, struct load *load)
{
    if (append->record_count != 0 && append->records == NULL) {
        return report_set(&log->report, WAL_EINVAL, "records is NULL, record_count is %u", append->record_count);
    }
    for (uint32_t i = 0; i < append->record_count; i++) {
        const struct wal_record *record = &append->records[i];
        if (record->type == 0 || (record->data == NULL && record->size != 0)) {
            return report_set(&log->report, WAL_EINVAL, "record %u of the append has type 0, or bytes but no data", i);
        }
        load->payload_bytes += record->size;
        load->record_bytes += format_record_bytes(record->size);
        if (load->record_bytes > log->options.batch_bytes_max) {
            return report_set(
                &log->report, WAL_ETOOBIG, "the append's records need %" PRIu64 " bytes%s, batch_bytes_max is %u",
                load->record_bytes, i + 1 < append->record_count ? " and more" : "", log->options.batch_bytes_max);
        }
    }
    if ((append->flags & WAL_APPEND_METADATA) != 0 && append->metadata == NULL && append->metadata_bytes != 0) {
        return report_set(&log->report, WAL_EINVAL, "metadata is NULL, metadata_bytes is %u", append->metadata_bytes);
    }
    if ((append->flags & WAL_APPEND_METADATA) != 0 && append->metadata_bytes > WAL_METADATA_BYTES_MAX) {
        return report_set(&log->report, WAL_ETOOBIG, "metadata of %u bytes, the limit is %u", append->metadata_bytes,
                          WAL_METADATA_BYTES_MAX);
    }
    uint32_t known = WAL_APPEND_METADATA | WAL_APPEND_TRUNCATE | WAL_APPEND_NO_WAIT | WAL_APPEND_CLEAR_DOUBT;
    bool empty = append->record_count == 0 &&
                 (append->flags & (WAL_APPEND_METADATA | WAL_APPEND_TRUNCATE | WAL_APPEND_CLEAR_DOUBT)) == 0;
    if ((append->flags & ~known) != 0 || empty) {
        return report_set(&log->report, WAL_EINVAL, "the append holds nothing, or a flag that is not known (0x%x)",
                          append->flags);
    }
    return 0;
}

static int check_index(struct wal *log, const struct wal_append *append)
{
    bool truncate = (append->flags & WAL_APPEND_TRUNCATE) != 0;
    uint64_t first_index = truncate ? append->first_index : log->next_index;
    if (first_index <= log->next_index && append->record_count > WAL_INDEX_MAX + 1 - first_index) {
        return report_set(&log->report, WAL_EINDEX,
                          "%u records from index %" PRIu64 " on would go beyond WAL_INDEX_MAX", append->record_count,
                          first_index);
    }
    uint64_t lowest = truncate ? log->start_index : log->next_index;
    if ((!truncate && append->first_index == 0) ||
        (append->first_index >= lowest && append->first_index <= log->next_index)) {
        return 0;
    }
    return report_set(&log->report, WAL_EINDEX, "first_index %" PRIu64 ", the log holds [%" PRIu64 ", %" PRIu64 ")",
                      append->first_index, log->start_index, log->next_index);
}

/* One attempt; WAL_EAGAIN from a log that moved on while we waited is tried again. */
static int try_append(struct wal *log, const struct wal_append *append, uint64_t record_bytes)
{
    int status = check_index(log, append);
    if (status != 0) {
        return status;
    }
    uint32_t metadata_bytes = (append->flags & WAL_APPEND_METADATA) != 0 ? append->metadata_bytes : 0;
    if ((append->flags & WAL_APPEND_TRUNCATE) != 0 && append->first_index < log->next_index) {
        status = stage_truncation(log, append, record_bytes);
        if (status != 0 || !ZOO(truncation_apart)) {
            return status;
        }
        seal_close_open_batch(log);
    }
    if (joinable(log, record_bytes, metadata_bytes) != NULL) {
        return 0;
    }
    const struct wish wish = {.kind = BATCH_DATA,
                              .record_bytes = record_bytes,
                              .metadata_bytes = metadata_bytes,
                              .first_index = log->next_index,
                              .generation = log->generation,
                              .no_wait = (append->flags & WAL_APPEND_NO_WAIT) != 0};
    return open_batch(log, &wish);
}

int stage_append(struct wal *log, const struct wal_append *append, struct wal_receipt *receipt)
{
    struct load load = {0};
    int status = check_append(log, append, &load);
    bool no_wait = (append->flags & WAL_APPEND_NO_WAIT) != 0;
    while (status == 0) {
        status = refuse(log);
        status = status == 0 ? try_append(log, append, load.record_bytes) : status;
        if (status != WAL_EAGAIN || no_wait) {
            break;
        }
        status = 0;
    }
    if (status != 0) {
        return status;
    }
    struct batch *batch = log->open;
    CHECK(batch->state == BATCH_OPEN && batch_end_index(batch) == log->next_index);
    if (batch->append_count == 0) {
        batch->opened_ns = now_ns();
    }
    uint64_t first_index = log->next_index;
    batch_add(batch, append);
    log->next_index += append->record_count;
    log->staged_tag = append->record_count != 0 ? append->records[append->record_count - 1].tag : log->staged_tag;
    log->counters.appends++;
    log->counters.records += append->record_count;
    log->counters.payload_bytes += load.payload_bytes;
    take_ticket(log, receipt, first_index, log->next_index);
    return 0;
}

/* --- the others ---------------------------------------------------------------------------------- */

/* The newest segment, as far as sealed, that can hold first_index. The record may lie in a later one that is not sealed
 * yet; but never before the start segment of an earlier START: what lies before that may be recycled already. */
static uint64_t start_segment_of(struct wal *log, uint64_t first_index)
{
    const struct segment *holding = table_holding(&log->table, first_index);
    return holding != NULL && holding->number > log->start_segment ? holding->number : log->start_segment;
}

static int check_start(struct wal *log, uint64_t first_index, bool reset)
{
    if (!reset && (first_index < log->start_index || first_index > log->next_index)) {
        return report_set(&log->report, WAL_EINDEX, "first_kept %" PRIu64 ", the log holds [%" PRIu64 ", %" PRIu64 ")",
                          first_index, log->start_index, log->next_index);
    }
    if (reset && first_index > WAL_INDEX_MAX) {
        return report_set(&log->report, WAL_EINDEX, "index %" PRIu64 " is beyond WAL_INDEX_MAX", first_index);
    }
    if (reset && first_index <= log->next_index) {
        return report_set(&log->report, WAL_EINDEX,
                          "next_index %" PRIu64 " of a reset must be above last + 1 = %" PRIu64, first_index,
                          log->next_index);
    }
    return 0;
}

/* Would a START at this index free a segment? Only such a one may use the last blocks of a full disk: others would
 * spend them for nothing. */
static bool frees_a_segment(struct wal *log, uint64_t first_index)
{
    uint64_t kept_number =
        first_index >= log->next_index ? log->stage_segment->number : start_segment_of(log, first_index);
    for (uint32_t i = 0; i < log->table.count; i++) {
        const struct segment *segment = log->table.list[i];
        if (segment->state == SEGMENT_SEALED && segment->number < kept_number) {
            return true;
        }
    }
    return false;
}

int stage_may_start(struct wal *log, uint64_t first_index, bool reset)
{
    int status = check_start(log, first_index, reset);
    if (status == 0 && !frees_a_segment(log, first_index)) {
        return report_set(&log->report, WAL_ENOSPC,
                          "the last blocks of a full disk are for truncations that free a segment, and this one frees "
                          "none; nothing was accepted. Keep fewer records, or free space and open the log again");
    }
    return status;
}

int stage_nothing(struct wal *log, struct wal_receipt *receipt)
{
    int status;
    do {
        status = commit_drain(log); /* Which may give up the lock behind the last batch. */
    } while (status == 0 && log->durable_ticket != log->appended_ticket);
    if (status == 0) {
        take_ticket(log, receipt, log->start_index, log->start_index);
        atomic_store_explicit(&log->durable_ticket, log->appended_ticket, memory_order_release);
        log->wakes.loop = log->loop_used;
    }
    return status;
}

int stage_start(struct wal *log, uint64_t first_index, bool reset, struct wal_receipt *receipt)
{
    int status;
    do {
        status = refuse(log);
        status = status == 0 ? check_start(log, first_index, reset) : status;
        if (status == 0) {
            const struct wish wish = {.kind = BATCH_START,
                                      .first_index = log->next_index,
                                      .generation = log->generation,
                                      .room = frees_a_segment(log, first_index) ? ROOM_TO_THE_LAST : ROOM_OF_RESERVE};
            status = open_batch(log, &wish);
        }
    } while (status == WAL_EAGAIN);
    if (status == WAL_ENOSPC && !reset && first_index == log->start_index) {
        return stage_nothing(log, receipt);
    }
    if (status != 0) {
        return status;
    }
    struct batch *batch = log->open;
    bool empties = first_index >= log->next_index;
    batch->head.body.start.index = first_index;
    batch->head.body.start.segment = empties ? batch->head.segment : start_segment_of(log, first_index);
    batch->opened_ns = now_ns();
    batch->records_by_append[batch->append_count++] = 0;
    if (reset) {
        note_truncated_tickets(log, 0);
        log->next_index = first_index;
    }
    log->start_index = first_index;
    log->start_segment = batch->head.body.start.segment;
    log->counters.starts++;
    log->generation++;
    take_ticket(log, receipt, first_index, first_index);
    seal_close_open_batch(log);
    if (ZOO(start_before_recycling)) {
        for (uint32_t i = 0; i < log->table.count; i++) {
            struct segment *segment = log->table.list[i];
            if (segment->state == SEGMENT_SEALED && segment->number < batch->head.body.start.segment) {
                segment->state = SEGMENT_RETIRED;
            }
        }
    }
    return 0;
}

int stage_control(struct wal *log, enum batch_kind kind)
{
    CHECK(kind == BATCH_MARK || kind == BATCH_CLOSE);
    /* A mark can wait for the next time. CLOSE cannot: it makes its segment itself when it must. */
    const struct wish wish = {.kind = kind,
                              .first_index = log->next_index,
                              .generation = log->generation,
                              .no_wait = kind == BATCH_MARK,
                              .room = kind == BATCH_MARK ? ROOM_OF_RESERVE : ROOM_TO_THE_LAST};
    int status = open_batch(log, &wish);
    if (status == 0) {
        seal_close_open_batch(log);
    }
    return status;
}
