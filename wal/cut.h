/* cut.h - where a found log ends becomes a fact: the anchor of an open.
 *
 * May include: log.h, recover.h. */

#ifndef WAL_CUT_H
#define WAL_CUT_H

#include "wal/log.h"
#include "wal/recover.h"

/* The log is adopted, its ready segments equipped. Writes the anchor behind what recovery found, durable, so that
 * appending can go on; *verdict learns of an accepted loss. log->unanchored: the disk had no room, and that is no
 * failure. WAL_ECORRUPT: there is nothing to go on from; WAL_EUNSTABLE, WAL_EIO and its kin: the disk; a crash or
 * failure in here leaves the same observations to the next open. */
int cut_make(struct wal *log, struct recovery *recovery, struct wal_verdict *verdict);

/* The anchor that cut_make has put off on a full disk (log->anchor_deferred), now, durable. The lock held.
 * WAL_EPOISONED when its write fails. */
int cut_make_deferred(struct wal *log);

#endif
