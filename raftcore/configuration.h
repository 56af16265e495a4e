/* configuration.h - who belongs to the cluster, as data, and how it may change.
 *
 * Pure. A configuration is a row of members with rising ids; one is joint when a member is a voter of the old side.
 *
 * May include: raftcore.h. */

#ifndef RAFTCORE_CONFIGURATION_H
#define RAFTCORE_CONFIGURATION_H

#include "raftcore/raftcore.h"

enum { CONFIGURATION_TEXT_BYTES = 4 * (24 + RAFTCORE_MEMBERS_MAX * 21) };

/* NULL: not a member. */
const struct raftcore_member *configuration_find(const struct raftcore_configuration *configuration, uint64_t id);

bool configuration_is_joint(const struct raftcore_configuration *configuration);

/* A voter of either side. */
bool configuration_is_voter(const struct raftcore_configuration *configuration, uint64_t id);

/* A voter of either side with that log (B1: a voter is an id and a log). */
bool configuration_is_voter_with_log(const struct raftcore_configuration *configuration, uint64_t id, uint64_t log_id);

bool configuration_equal(const struct raftcore_configuration *a, const struct raftcore_configuration *b);

/* 0, or the reason why it cannot be one: ids not rising, no flags or flags that exclude another, no voters. An empty
 * one (no members at all) is right: nobody belongs to anything yet. */
int configuration_check(const struct raftcore_configuration *configuration);

/* The three ways of changing (thesis 4; C4, C5). 0 and *after; or a reason, *after undefined. after may not be before.
 * Changes with id 0 change nothing. */
int configuration_simple(const struct raftcore_configuration *before, const struct raftcore_change *changes,
                         uint32_t count, struct raftcore_configuration *after);
int configuration_enter_joint(const struct raftcore_configuration *before, bool leave_automatically,
                              const struct raftcore_change *changes, uint32_t count,
                              struct raftcore_configuration *after);
int configuration_leave_joint(const struct raftcore_configuration *before, struct raftcore_configuration *after);

/* The one that fits: leave with no changes in a joint configuration; simple when at most one voter changes and the
 * transition allows it; else joint. */
int configuration_change(const struct raftcore_configuration *before, const struct raftcore_change *changes,
                         uint32_t count, uint32_t transition, struct raftcore_configuration *after);

/* "voters=(1 2 3)&&(1 2) learners=(4) learners_next=(5) autoleave". Returns text. */
const char *configuration_text(const struct raftcore_configuration *configuration, char text[CONFIGURATION_TEXT_BYTES]);

#endif
