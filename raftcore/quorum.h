/* quorum.h - majorities: what a configuration has agreed on.
 *
 * Pure. Every decision that needs a majority (votes, commit, read rounds, check-quorum, leases) comes here, so that a
 * joint configuration is understood in one place (C5).
 *
 * May include: configuration.h. */

#ifndef RAFTCORE_QUORUM_H
#define RAFTCORE_QUORUM_H

#include "raftcore/configuration.h"

enum quorum_result { QUORUM_PENDING, QUORUM_WON, QUORUM_LOST };

enum quorum_vote { QUORUM_NOT_HEARD, QUORUM_YES, QUORUM_NO };

/* The highest value that a majority of each side has reached; values[i] belongs to members[i]. A side without voters
 * agrees to everything: RAFTCORE_INFINITY. */
uint64_t quorum_reached(const struct raftcore_configuration *configuration, const uint64_t *values);

/* votes[i] belongs to members[i]. Won: a majority of each side said yes. Lost: one side cannot come to that any more.
 */
enum quorum_result quorum_votes(const struct raftcore_configuration *configuration, const enum quorum_vote *votes);

#endif
