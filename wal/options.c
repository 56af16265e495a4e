/* options.c - the caller's options: defaults and limits.
 *
 * The happy path: as much of the struct as the caller's header knew is copied, what is 0 gets its default, and every
 * limit is checked. Limits that depend on the log found or on the disk are checked by open.c.
 *
 * What can fail: WAL_EINVAL, with the option and its limit in words; nothing was touched.
 *
 * Invariants: behind this file no option is 0 that must not be, and each lies within its limits.
 *
 * May include: options.h, format.h, bytes.h. */

#include "wal/options.h"

#include "wal/bytes.h"
#include "wal/format.h"

enum {
    BLOCK_BYTES_DEFAULT = 4096,
    BATCH_BYTES_DEFAULT = 2 << 20,
    IN_FLIGHT_MAX = 4,
    SEGMENTS_READY_MAX = 16,
    SEGMENTS_POOL_MAX = 1024,
    SEGMENTS_MAX = 65536,
    IDLE_MARK_MS_MAX = 3600000
};
#define SEGMENT_BYTES_DEFAULT ((uint64_t)64 << 20)

static void fill_defaults(struct wal_options *options)
{
#define DEFAULT(field, value) options->field = options->field != 0 ? options->field : (value)
    DEFAULT(block_bytes, BLOCK_BYTES_DEFAULT);
    DEFAULT(segment_bytes, SEGMENT_BYTES_DEFAULT);
    if (options->batch_bytes_max == 0) {
        uint64_t fits_bytes = options->segment_bytes > 3 * (uint64_t)options->block_bytes
                                  ? options->segment_bytes - 3 * (uint64_t)options->block_bytes
                                  : 0;
        options->batch_bytes_max = fits_bytes < BATCH_BYTES_DEFAULT ? (uint32_t)fits_bytes : BATCH_BYTES_DEFAULT;
    }
    DEFAULT(batches_in_flight_max, 2);
    DEFAULT(segments_ready, 2);
    DEFAULT(segments_pool_max, 4);
    DEFAULT(segments_max, 4096);
    DEFAULT(segments_mapped_max, 8);
    DEFAULT(idle_mark_ms, 50);
#undef DEFAULT
}

static const char *wrong_option(const struct wal_options *options)
{
    const struct {
        bool wrong;
        const char *what;
    } checks[] = {
        {!is_power_of_two(options->block_bytes) || options->block_bytes < FORMAT_BLOCK_BYTES_MIN ||
             options->block_bytes > FORMAT_BLOCK_BYTES_MAX,
         "block_bytes must be a power of two, 512 to 65,536"},
        {options->block_bytes != 0 && options->segment_bytes % options->block_bytes != 0,
         "segment_bytes must be a whole number of blocks"},
        {options->segment_bytes < (uint64_t)FORMAT_SEGMENT_BLOCKS_MIN * options->block_bytes,
         "segment_bytes must be at least 16 blocks"},
        {options->segment_bytes >= FORMAT_SEGMENT_BYTES_MAX, "segment_bytes must be below 4 GiB"},
        {options->batch_bytes_max < 4 * (uint64_t)options->block_bytes, "batch_bytes_max must be at least 4 blocks"},
        {options->batch_bytes_max > options->segment_bytes - 3 * (uint64_t)options->block_bytes,
         "batch_bytes_max must be at most segment_bytes - 3 blocks"},
        {options->block_bytes != 0 && options->batch_bytes_max % options->block_bytes != 0,
         "batch_bytes_max must be a whole number of blocks"},
        {options->batches_in_flight_max > IN_FLIGHT_MAX, "batches_in_flight_max must be at most 4"},
        {options->segments_ready < 2 || options->segments_ready > SEGMENTS_READY_MAX, "segments_ready must be 2 to 16"},
        {options->segments_pool_max > SEGMENTS_POOL_MAX, "segments_pool_max must be at most 1,024"},
        {options->segments_max < 4 || options->segments_max > SEGMENTS_MAX, "segments_max must be 4 to 65,536"},
        {options->segments_mapped_max < 2, "segments_mapped_max must be at least 2"},
        {options->idle_mark_ms > IDLE_MARK_MS_MAX, "idle_mark_ms must be at most an hour"},
        {options->accept_metadata_bytes > WAL_METADATA_BYTES_MAX, "accept_metadata_bytes must be at most 256"},
        {options->accept_metadata == NULL && options->accept_metadata_bytes != 0,
         "accept_metadata_bytes without accept_metadata"},
        {(options->flags & WAL_READ_ONLY) != 0 && (options->flags & WAL_CREATE) != 0,
         "WAL_READ_ONLY and WAL_CREATE exclude each other"},
        {options->flags >= 2 * (uint32_t)WAL_ZERO_RECYCLED, "a flag that is not known"},
        {(unsigned)options->backend > WAL_BACKEND_URING, "a backend that is not known"},
        {(unsigned)options->strategy > WAL_STRATEGY_LINKED, "a strategy that is not known"},
        {options->allocator != NULL && (options->allocator->allocate == NULL || options->allocator->release == NULL),
         "an allocator without its functions"},
    };
    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
        if (checks[i].wrong) {
            return checks[i].what;
        }
    }
    return NULL;
}

int options_check(const struct wal_options *caller, struct wal_options *out, uint32_t *later_bytes_min,
                  struct report *report)
{
    *out = (struct wal_options){0};
    if (caller != NULL) {
        if (caller->options_bytes < sizeof(size_t) || caller->options_bytes > sizeof(*out)) {
            return report_set(
                report, WAL_EINVAL,
                "options_bytes is %zu: start from WAL_OPTIONS_INIT, and use the header of this library (%s)",
                caller->options_bytes, WAL_VERSION);
        }
        memcpy(out, caller, caller->options_bytes);
    }
    out->options_bytes = sizeof(*out);
    bool names_a_number = out->batches_in_flight_max != 0;
    fill_defaults(out);
    /* Small batches gain nothing from one behind the other at the disk, for each that waits takes in more meanwhile;
     * large ones do, and take nothing in. A caller who names a number knows better. */
    *later_bytes_min = names_a_number ? 0 : out->batch_bytes_max / 4;
    const char *wrong = wrong_option(out);
    return wrong == NULL ? 0 : report_set(report, WAL_EINVAL, "option: %s", wrong);
}
