/* recover.h - from a directory to a verdict, and the state from which the log goes on.
 *
 * May include: look.h. */

#ifndef WAL_RECOVER_H
#define WAL_RECOVER_H

#include "wal/look.h"

/* Lists the segment files into the table (all RETIRED, sizes unknown), in order. WAL_ENOENT: there is none. */
int recover_list(struct recovery *recovery);

/* Finds block size, uuid and T from identities and opening anchors; works before anything was flushed, to learn what to
 * flush. WAL_ENOTLOG, WAL_ENEWER, WAL_EFOREIGN. recovery->tail NULL: no segment has a beginning (Y2). */
int recover_find_tail(struct recovery *recovery);

/* Walks, looks for evidence, judges. The table's segments have their states and facts; *verdict is complete but for
 * `flushed` and `accepted`. 0 whatever the verdict; an error when no verdict could be reached. Writes nothing. */
int recover_judge(struct recovery *recovery, struct wal_verdict *verdict);

#endif
