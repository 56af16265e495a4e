/* count.c - stat: how much of what is in the log.
 *
 * The happy path: every segment is read, batch by batch; batches on its chain count, others are counted as dead.
 *
 * What can fail: reads: told with path and offset, exit code 3 at the end, and what reads is counted and shown. Batches
 * that do not verify are counted as bad, exit code 1; those whose records were truncated since apart, for nothing of
 * the log is in them.
 *
 * Invariants: retired segments, and those behind an accepted cut, count for nothing; no payload is held. */

#define _GNU_SOURCE
#include "tools/chain.h"
#include "tools/waldump.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 33, BAR_COLUMNS = 40 };

struct counts {
    uint64_t segments, batches, kinds[BATCH_ANCHOR + 1];
    uint64_t records, payload_bytes, used_bytes, padded_bytes;
    uint64_t live_records; /* Of the records those that were not truncated since, as far as that is known. */
    bool live_known;
    uint64_t dead_batches;     /* Not on the chain: earlier lives of the file, and what was cut. */
    uint64_t dead_bad_batches; /* On the chain, with a record that does not verify, but was truncated later. */
    uint64_t bad_batches;
    uint64_t records_by_size[BUCKETS]; /* [b]: payloads below 2^b bytes, and not below 2^(b-1). */
    uint64_t batches_by_size[BUCKETS];
    uint64_t *records_by_type; /* 65,536 of them. */
    uint64_t *bytes_by_type;
};

struct progress_span {
    uint64_t done_bytes;
    uint64_t total_bytes;
};

static unsigned bucket_of(uint64_t size)
{
    unsigned bucket = 0;
    while (bucket < BUCKETS - 1 && size >> bucket != 0) {
        bucket++;
    }
    return bucket;
}

static void count_batch(struct counts *counts, struct segment_file *file, const struct batch_look *look)
{
    uint64_t offset = 0;
    counts->batches++;
    counts->kinds[look->head.kind <= BATCH_ANCHOR ? look->head.kind : 0]++;
    counts->used_bytes += look->head.used_bytes;
    counts->padded_bytes += look->padded_bytes;
    counts->batches_by_size[bucket_of(look->padded_bytes)]++;
    for (uint32_t i = 0; i < look->head.record_count; i++) {
        struct format_record record;
        if (batch_record_check(file, look, i, &offset, &record) != FORMAT_OK) {
            return;
        }
        counts->records++;
        counts->payload_bytes += record.length;
        counts->records_by_size[bucket_of(record.length)]++;
        counts->records_by_type[record.type]++;
        counts->bytes_by_type[record.type] += record.length;
    }
}

/* What FORMAT.md section 6 makes of each segment: its records that no later truncation took, and that are not below the
 * start. False: it does not tell, of one segment alone or behind damage. */
static bool find_live(struct segments *segments, uint64_t *live)
{
    struct segment_file *newest = segments->single ? NULL : segments_newest_begun(segments);
    const struct segment_file *after = NULL;
    struct chain chain;
    struct behind behind;
    uint64_t end_index = UINT64_MAX;
    if (newest == NULL) {
        return false;
    }
    chain_begin(&chain, newest, segments->block_bytes);
    chain_walk(&chain, newest, segments->block_bytes);
    chain_look_behind(newest, segments->block_bytes, chain.offset, chain.salt, &behind);
    if (behind.highest_mark >= chain.number || chain.reason == CHAIN_BAD_RECORD) {
        return false; /* What is lost there may have truncated any of them. */
    }
    for (unsigned i = (unsigned)(newest - segments->list) + 1; i-- > 0;) {
        const struct segment_file *file = &segments->list[i];
        if (file->dead || file->number < chain.start.segment) {
            continue;
        }
        uint64_t low = chain.low;
        uint64_t next_index = chain.next_index;
        if (file->anchor_verdict != FORMAT_OK || segment_is_foreign(segments, file) ||
            (after != NULL && after->anchor.body.anchor.predecessor_segment != file->number)) {
            return false;
        }
        if (after != NULL) {
            low = after->anchor.body.anchor.low;
            next_index = after->anchor.first_index;
        }
        uint64_t first = low > chain.start.index ? low : chain.start.index;
        uint64_t end = next_index < end_index ? next_index : end_index;
        live[i] = end > first ? end - first : 0;
        end_index = low < end_index ? low : end_index;
        after = file;
    }
    return true;
}

/* Goes through one segment; batches on its chain count, others are counted as dead. */
static void count_segment(struct settings *settings, struct segments *segments, struct segment_file *file,
                          struct counts *counts, struct view_need *need, const struct progress_span *span)
{
    struct batch_look look;
    uint64_t end_offset = chain_end(segments, file);
    uint64_t offset = segments->block_bytes;
    counts->segments++;
    while (!interrupted() && file->size > segments->block_bytes &&
           batch_next(file, segments->block_bytes, &offset, file->size - segments->block_bytes, &look)) {
        bool whole = !look.cut_short && look.good_records == look.head.record_count;
        if (look.own && whole && look.offset < end_offset) {
            count_batch(counts, file, &look);
        } else {
            bool bad = look.own && !whole && look.offset < end_offset;
            uint64_t end_index = look.head.first_index + look.head.record_count;
            bool needed =
                bad && view_needs(need, segments->directory, look.head.first_index + look.good_records, end_index);
            counts->dead_batches++;
            counts->bad_batches += needed;
            counts->dead_bad_batches += bad && !needed;
        }
        offset = batch_behind(&look, segments->block_bytes);
        progress_tell(settings->path, span->done_bytes + offset, span->total_bytes);
    }
}

static void show_bar(const char *label, uint64_t count, uint64_t most)
{
    unsigned columns = most == 0 ? 0 : (unsigned)((double)count / (double)most * BAR_COLUMNS + 0.5);
    (void)printf("  %12s %12" PRIu64 "  %.*s\n", label, count, (int)(count != 0 && columns == 0 ? 1 : columns),
                 "########################################");
}

static void show_histogram(const char *title, const uint64_t counts[BUCKETS])
{
    uint64_t most = 0;
    for (unsigned i = 0; i < BUCKETS; i++) {
        most = counts[i] > most ? counts[i] : most;
    }
    (void)printf("\n%s\n", title);
    for (unsigned i = 0; i < BUCKETS; i++) {
        char label[32];
        if (counts[i] != 0) {
            (void)snprintf(label, sizeof(label), i == 0 ? "0" : "< %" PRIu64, (uint64_t)1 << i);
            show_bar(label, counts[i], most);
        }
    }
}

static double share(uint64_t part, uint64_t whole)
{
    return whole == 0 ? 0 : (double)part * 100 / (double)whole;
}

static void show_counts_text(const struct counts *counts)
{
    (void)printf("segments        %12" PRIu64 "\nbatches         %12" PRIu64 "  (", counts->segments, counts->batches);
    bool first = true;
    for (unsigned kind = BATCH_DATA; kind <= BATCH_ANCHOR; kind++) {
        if (counts->kinds[kind] != 0) {
            (void)printf("%s%" PRIu64 " %s", first ? "" : ", ", counts->kinds[kind], batch_kind_text((uint8_t)kind));
            first = false;
        }
    }
    (void)printf(")\nrecords         %12" PRIu64, counts->records);
    if (counts->live_known) {
        (void)printf("  (%" PRIu64 " live, the others were truncated)", counts->live_records);
    }
    (void)printf("\npayload bytes   %12" PRIu64 "\nbatch bytes     %12" PRIu64
                 "  (%.1f %% payload)\npadding bytes   %12" PRIu64
                 "  (%.1f %% of batch bytes)\nrecords a batch %12.1f  (data and truncate)\nnot on a chain  %12" PRIu64
                 "  batches of earlier lives of the files, or cut\nbad batches     %12" PRIu64 "  (and %" PRIu64
                 " in dead space, truncated: no damage)\n",
                 counts->payload_bytes, counts->padded_bytes, share(counts->payload_bytes, counts->padded_bytes),
                 counts->padded_bytes - counts->used_bytes,
                 share(counts->padded_bytes - counts->used_bytes, counts->padded_bytes),
                 counts->kinds[BATCH_DATA] + counts->kinds[BATCH_TRUNCATE] == 0
                     ? 0
                     : (double)counts->records / (double)(counts->kinds[BATCH_DATA] + counts->kinds[BATCH_TRUNCATE]),
                 counts->dead_batches, counts->bad_batches, counts->dead_bad_batches);
    show_histogram("payload bytes of a record", counts->records_by_size);
    show_histogram("bytes of a batch, padding included", counts->batches_by_size);
}

static void show_counts_row(struct settings *settings, const struct counts *counts, uint64_t segment)
{
    static const struct emit_column columns[] = {{"segment", 8},        {"batches", 10},     {"records", 12},
                                                 {"payload_bytes", 14}, {"batch_bytes", 14}, {"padding_bytes", 14},
                                                 {"dead_batches", 12},  {"bad_batches", 11}, {"live_records", 12}};
    struct emit *emit = &settings->emit;
    if (!emit->headed) {
        emit_begin(emit, "waldump.stat/1", columns, 9);
    }
    emit_row(emit);
    segment != 0 ? emit_u64(emit, "segment", segment) : emit_none(emit, "segment");
    emit_u64(emit, "batches", counts->batches);
    emit_u64(emit, "records", counts->records);
    emit_u64(emit, "payload_bytes", counts->payload_bytes);
    emit_u64(emit, "batch_bytes", counts->padded_bytes);
    emit_u64(emit, "padding_bytes", counts->padded_bytes - counts->used_bytes);
    emit_u64(emit, "dead_batches", counts->dead_batches);
    emit_u64(emit, "bad_batches", counts->bad_batches);
    counts->live_known ? emit_u64(emit, "live_records", counts->live_records) : emit_none(emit, "live_records");
    emit_u64(emit, "segments", counts->segments);
    emit_u64(emit, "dead_bad_batches", counts->dead_bad_batches);
    for (unsigned kind = BATCH_DATA; kind <= BATCH_ANCHOR; kind++) {
        emit_u64(emit, batch_kind_text((uint8_t)kind), counts->kinds[kind]);
    }
    emit_bool(emit, "partial", interrupted());
    emit_end(emit);
}

static void show_types(struct settings *settings, const struct counts *counts)
{
    static const struct emit_column columns[] = {{"type", -16}, {"records", 14}, {"payload_bytes", 16}};
    struct emit *emit = &settings->emit;
    emit_begin(emit, "waldump.stat-type/1", columns, 3);
    for (unsigned type = 0; type <= UINT16_MAX; type++) {
        char buffer[24];
        if (counts->records_by_type[type] == 0) {
            continue;
        }
        emit_row(emit);
        if (emit->format == EMIT_TEXT) {
            emit_text(emit, "type", type_text((uint16_t)type, settings->raft_types, buffer));
        } else {
            emit_u64(emit, "type", type);
        }
        emit_u64(emit, "records", counts->records_by_type[type]);
        emit_u64(emit, "payload_bytes", counts->bytes_by_type[type]);
        emit_end(emit);
    }
}

static void show_sizes(struct settings *settings, const struct counts *counts)
{
    static const struct emit_column columns[] = {{"below_bytes", 12}, {"records", 14}, {"batches", 14}};
    struct emit *emit = &settings->emit;
    emit_begin(emit, "waldump.stat-size/1", columns, 3);
    for (unsigned i = 0; i < BUCKETS; i++) {
        if (counts->records_by_size[i] == 0 && counts->batches_by_size[i] == 0) {
            continue;
        }
        emit_row(emit);
        emit_u64(emit, "below_bytes", (uint64_t)1 << i);
        emit_u64(emit, "records", counts->records_by_size[i]);
        emit_u64(emit, "batches", counts->batches_by_size[i]);
        emit_end(emit);
    }
}

static void show_counts(struct settings *settings, const struct counts *counts)
{
    if (settings->by == GROUP_TYPE) {
        show_types(settings, counts);
    } else if (settings->by == GROUP_SIZE) {
        show_sizes(settings, counts);
    } else if (settings->by == GROUP_NOTHING && settings->emit.format == EMIT_TEXT) {
        show_counts_text(counts);
    } else if (settings->by == GROUP_NOTHING) {
        show_counts_row(settings, counts, 0);
    }
}

/* One segment, with --by=segment a row of its own. live: of this segment; NULL: unknown. */
static void count_one(struct settings *settings, struct segments *segments, struct segment_file *file,
                      struct counts *counts, const uint64_t *live, struct view_need *need,
                      const struct progress_span *span)
{
    if (settings->by == GROUP_SEGMENT) {
        *counts = (struct counts){.records_by_type = counts->records_by_type, .bytes_by_type = counts->bytes_by_type};
    }
    counts->live_known = live != NULL;
    counts->live_records += live != NULL ? *live : 0;
    count_segment(settings, segments, file, counts, need, span);
    if (settings->by == GROUP_SEGMENT) {
        show_counts_row(settings, counts, file->number);
    }
}

/* What does not read does not stop the counting: it is told, and what reads is counted. */
static int count_all(struct settings *settings, struct segments *segments, struct counts *counts)
{
    int code = 0;
    uint64_t bad_batches = 0;
    struct progress_span span = {0, 0};
    struct view_need need = {.asked = false};
    uint64_t *live = calloc(segments->count + 1u, sizeof(*live));
    bool live_known = live != NULL && find_live(segments, live);
    for (unsigned i = 0; i < segments->count; i++) {
        span.total_bytes += segments->list[i].bytes;
    }
    uint64_t start = chain_start_segment(segments);
    for (unsigned i = 0; i < segments->count && !interrupted(); i++) {
        struct segment_file *file = &segments->list[i];
        bool wanted = settings->segment == 0 || file->number == settings->segment;
        if (file->number < start || file->dead || !wanted) {
            continue; /* Retired, or dead: nothing in it counts. */
        }
        count_one(settings, segments, file, counts, live_known ? &live[i] : NULL, &need, &span);
        bad_batches += settings->by == GROUP_SEGMENT ? counts->bad_batches : 0;
        span.done_bytes += file->bytes;
        if (file->gone) {
            complain("segment %" PRIu64 " was renamed or removed meanwhile: what was left of it is not counted",
                     file->number);
        }
        if (file->error != 0) {
            segments_tell_error(segments, file);
            code = EXIT_DISK;
        }
        code = file->odd != NULL && code == 0 ? EXIT_NEGATIVE : code;
    }
    view_need_close(&need);
    free(live);
    bad_batches += settings->by == GROUP_SEGMENT ? 0 : counts->bad_batches;
    return code == 0 && bad_batches != 0 ? EXIT_NEGATIVE : code;
}

int command_stat(struct settings *settings)
{
    struct segments segments;
    struct counts counts = {0};
    int code = segments_open(&segments, settings->path);
    code = code == 0 && settings->segment != 0 ? segments_want(&segments, settings->segment) : code;
    counts.records_by_type = calloc(UINT16_MAX + 1, sizeof(uint64_t));
    counts.bytes_by_type = calloc(UINT16_MAX + 1, sizeof(uint64_t));
    if (counts.records_by_type == NULL || counts.bytes_by_type == NULL) {
        complain("out of memory");
        code = EXIT_DISK;
    }
    if (code == 0) {
        code = count_all(settings, &segments, &counts);
        show_counts(settings, &counts);
    }
    free(counts.records_by_type);
    free(counts.bytes_by_type);
    segments_close(&segments);
    return code;
}
