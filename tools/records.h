/* records.h - rows of records, as dump and tail print them. */

#ifndef TOOLS_RECORDS_H
#define TOOLS_RECORDS_H

#include "tools/waldump.h"

/* From now on rows are records of the log's view. */
void records_begin(struct settings *settings);

/* Shows the records [first, last] of the log that pass the filters, in the order asked for, at most settings->limit.
 * Ranges that do not read are told on stderr; *failed is 0, WAL_ECORRUPT after such ranges, or the status that ended
 * it. Returns how many were shown. */
uint64_t records_show(struct settings *settings, struct wal *log, uint64_t first, uint64_t last, int *failed);

#endif
