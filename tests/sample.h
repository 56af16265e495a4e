/* sample.h - records for tests, whose content follows from their tag: whoever reads one knows whether it is right.
 *
 *     sample_commit(log, 3); ... sample_range_is_right(log, 1, 3)
 *
 * May include: wal/wal.h. */

#ifndef TESTS_SAMPLE_H
#define TESTS_SAMPLE_H

#include "wal/wal.h"

enum { SAMPLE_BYTES_MAX = 300 };

/* Fills buffer and describes it. */
struct wal_record sample_record(uint64_t tag, uint8_t buffer[SAMPLE_BYTES_MAX]);
/* Does the content follow from the tag? */
bool sample_is_right(const struct wal_record *record);
/* One append of so many records (at most 64), their tags are their indexes. No wait. */
int sample_append(struct wal *log, uint32_t count, struct wal_receipt *receipt);
/* The same, durable. */
int sample_commit(struct wal *log, uint32_t count);
/* True when wal_read and a cursor give exactly first..last, each with its index as its tag. Tells the first difference
 * on stderr. */
bool sample_range_is_right(struct wal *log, uint64_t first, uint64_t last);

#endif
