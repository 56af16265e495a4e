/* chain.h - the segments in front of T: do they join, and how far does a readable prefix go when they do not.
 *
 * May include: look.h. */

#ifndef WAL_CHAIN_H
#define WAL_CHAIN_H

#include "wal/look.h"

/* From T's opening anchor, recovery->opening_anchor, down to the start segment of recovery->walk. Each segment that
 * joins gets its state and facts; one that does not is told in recovery->seen and ends it. 0, or a failure without a
 * verdict. */
int chain_walk_down(struct recovery *recovery);

/* When a segment in front of T is missing: a start that stands behind damage in T may say why, since what lies below a
 * durable start is removed. If the chain holds from there, that is the start, and the damage in T is what is told. */
int chain_walk_to_later_start(struct recovery *recovery);

/* Behind damage in T a start may stand that was durable: it never goes back, whatever is lost in front of it. */
void chain_adopt_durable_start(struct recovery *recovery);

/* Rows Y3 and Y4: how far a readable prefix goes, from the start segment upwards. recovery->walk, cut_segment and
 * acceptable become the prefix's end. */
int chain_walk_up(struct recovery *recovery);

#endif
