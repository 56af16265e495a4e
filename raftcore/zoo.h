/* zoo.h - what the tests may break inside the core; in any other build all of it is the constant 0.
 *
 * ZOO(name)    with -DWAL_ZOO: true when the seeded bug of that name was chosen (raftcore_zoo = ZOO_name). Each stands
 * where a rule is kept, and breaks it; tests must catch each one.
 *
 * May include: nothing of the project. */

#ifndef RAFTCORE_ZOO_H
#define RAFTCORE_ZOO_H

/* name, the rule that it breaks, in words */
#define ZOO_LIST(X)                                                                                           \
    X(vote_at_once, "A8: a vote is answered before it is durable")                                            \
    X(vote_twice, "A8: a second candidate gets the vote of the same term")                                    \
    X(request_at_once, "A9: votes are asked for before the own vote is durable")                              \
    X(answer_at_once, "A12: an append is answered before it is durable")                                      \
    X(durable_index_not_lowered, "A17: a truncation leaves the durable index")                                \
    X(self_counted_at_issue, "A18: the leader counts its own entries before they are durable")                \
    X(old_term_committed, "A19: an entry of an earlier term is committed by counting")                        \
    X(commit_beyond_message, "A20: the follower's commit goes beyond what the message vouches for")           \
    X(applied_before_durable, "A21: entries are given out before they are durable here")                      \
    X(cut_on_match, "A25: the follower cuts behind the matching entry before it appends")                     \
    X(snapshot_keeps_any_suffix, "A27: entries behind a snapshot stay whatever their history")                \
    X(log_not_compared, "5.4.1: the candidate's log is not compared")                                         \
    X(last_term_not_compared, "5.4.1: the longer log wins, whatever its term")                                \
    X(previous_not_checked, "5.3: the entry before the first one is not compared")                            \
    X(term_not_limited, "B2: the term of an uncertain tail is the one that can be read")                      \
    X(floor_forgotten, "B5: the floor is not in later units")                                                 \
    X(floor_from_what_reads, "B6: the floor is the last entry that can be read")                              \
    X(uncertain_taken_as_absent, "B7: an uncertain tail is taken as the end")                                 \
    X(commit_of_uncertain_believed, "A22, B3: behind an uncertain end the commit index is believed")          \
    X(hole_taken_as_end, "B7: a hole is taken as the end of the log")                                         \
    X(hole_acknowledged, "B7: entries at and behind a hole are acknowledged")                                 \
    X(old_answers_counted, "B9, C17: answers to an earlier record of the peer count")                         \
    X(hole_filled_in_part, "B12a: a part of a hole is stored in front of what stands behind it")              \
    X(configuration_at_commit, "C1: a follower takes a configuration up when it is committed")                \
    X(configuration_not_rolled_back, "C2: a truncated configuration stays in force")                          \
    X(change_before_commit, "C3a: a new leader changes the members before an entry of its term is committed") \
    X(change_while_pending, "C3b: a second change before the first is committed")                             \
    X(many_at_once, "C4: a simple change alters many voters")                                                 \
    X(one_side_counts, "C5: in a joint configuration the new side alone decides")                             \
    X(left_early, "C6: the joint configuration is left before it is committed")                               \
    X(learner_counts, "C12: learners count")                                                                  \
    X(leader_counts_itself, "C10: a leader that is no member counts itself")                                  \
    X(snapshot_keeps_configurations, "C13: configurations above an installed snapshot stay")                  \
    X(pre_vote_changes_term, "a pre-vote request changes the term")                                           \
    X(pre_vote_counted_as_vote, "the answer to a pre-vote counts as a vote")                                  \
    X(read_without_round, "E2: a read is answered without asking whether the leader still leads")             \
    X(read_before_commit, "E1: a read is answered before an entry of the term is committed")                  \
    X(round_of_earlier_read, "E2: a round that began before the read confirms it")                            \
    X(lease_without_start, "A32, E3: a lease lasts from the answer on, not from the question")

/* The same across the seam: storage, snapshots, and what joins them to the core. */
#define ZOO_SEAM_LIST(X)                                                                             \
    X(vote_told_early, "A8: a vote counts as durable when the log has taken it")                     \
    X(follower_told_early, "A12: a follower's entries count as durable when the log has taken them") \
    X(leader_told_early, "A18: a leader's entries count as durable when the log has taken them")     \
    X(truncation_told_early, "A17: a truncation counts as durable when the log has taken it")        \
    X(term_and_vote_apart, "A2: the vote is not in the append that holds its term")                  \
    X(compacted_before_snapshot, "A27: the log is compacted before the snapshot is durable")         \
    X(snapshot_not_synced, "A27: a snapshot gets its name before its bytes are durable")             \
    X(snapshot_directory_not_synced, "A27: a snapshot counts before its name is durable")            \
    X(snapshots_believed_at_once, "A23: a start believes names of snapshots that are not durable")   \
    X(snapshot_with_newer_members, "C13: a snapshot holds a configuration from behind its index")    \
    X(damaged_entry_taken_as_end, "B7, B8: the log is cut where an entry does not read")             \
    X(restart_forgets_uncertain, "B3, B4: a start forgets that the end of the log is uncertain")     \
    X(snapshot_of_later_state, "a snapshot is named by an index below what its state holds")

#ifdef WAL_ZOO
enum {
    ZOO_none,
#define ZOO_NAME(name, text) ZOO_##name,
    ZOO_LIST(ZOO_NAME) ZOO_SEAM_LIST(ZOO_NAME)
#undef ZOO_NAME
};
extern int raftcore_zoo;
#define ZOO(name) (raftcore_zoo == ZOO_##name)
#else
#define ZOO(name) 0
#endif

#endif
