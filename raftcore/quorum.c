/* quorum.c - majorities: what a configuration has agreed on.
 *
 * The happy path: the values of one side's voters are sorted into a small array; the one that a majority has reached is
 * the answer; of two sides it is the smaller.
 *
 * What can fail: nothing.
 *
 * Invariants: a joint configuration never agrees on more than each of its sides alone.
 *
 * May include: quorum.h, zoo.h. */

#include "raftcore/quorum.h"

#include "raftcore/zoo.h"

static uint64_t reached_by(const struct raftcore_configuration *configuration, const uint64_t *values, uint32_t side)
{
    uint64_t falling[RAFTCORE_MEMBERS_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < configuration->count; i++) {
        bool is_counted_learner =
            ZOO(learner_counts) && side == RAFTCORE_VOTER && (configuration->members[i].flags & RAFTCORE_LEARNER) != 0;
        if ((configuration->members[i].flags & side) == 0 && !is_counted_learner) {
            continue;
        }
        uint32_t at = count++;
        while (at > 0 && falling[at - 1] < values[i]) {
            falling[at] = falling[at - 1];
            at--;
        }
        falling[at] = values[i];
    }
    return count == 0 ? RAFTCORE_INFINITY : falling[count / 2]; /* count / 2 + 1 of them have it. */
}

uint64_t quorum_reached(const struct raftcore_configuration *configuration, const uint64_t *values)
{
    uint64_t with_new = reached_by(configuration, values, RAFTCORE_VOTER);
    uint64_t with_old = reached_by(configuration, values, RAFTCORE_VOTER_OLD);
    if (ZOO(one_side_counts)) {
        return with_new;
    }
    return with_new < with_old ? with_new : with_old;
}

static enum quorum_result votes_of(const struct raftcore_configuration *configuration, const enum quorum_vote *votes,
                                   uint32_t side)
{
    uint32_t count = 0, yes = 0, no = 0;
    for (uint32_t i = 0; i < configuration->count; i++) {
        bool is_counted_learner =
            ZOO(learner_counts) && side == RAFTCORE_VOTER && (configuration->members[i].flags & RAFTCORE_LEARNER) != 0;
        if ((configuration->members[i].flags & side) != 0 || is_counted_learner) {
            count++;
            yes += votes[i] == QUORUM_YES;
            no += votes[i] == QUORUM_NO;
        }
    }
    uint32_t majority = count / 2 + 1;
    if (count == 0 || yes >= majority) {
        return QUORUM_WON;
    }
    return count - no >= majority ? QUORUM_PENDING : QUORUM_LOST;
}

enum quorum_result quorum_votes(const struct raftcore_configuration *configuration, const enum quorum_vote *votes)
{
    enum quorum_result with_new = votes_of(configuration, votes, RAFTCORE_VOTER);
    enum quorum_result with_old = votes_of(configuration, votes, RAFTCORE_VOTER_OLD);
    if (with_new == with_old || ZOO(one_side_counts)) {
        return with_new;
    }
    return with_new == QUORUM_LOST || with_old == QUORUM_LOST ? QUORUM_LOST : QUORUM_PENDING;
}
