/* text.c - reasons, roles and kinds in words.
 *
 * The happy path: a table.
 *
 * What can fail: nothing; every value has words, unknown ones too.
 *
 * Invariants: the tables are as long as the enums.
 *
 * The words are for people who read logs and dumps; programs compare the numbers.
 *
 * May include: raftcore.h. */

#include "raftcore/raftcore.h"

static const char *const reasons[RAFTCORE_REASONS] = {
    [RAFTCORE_REASON_NONE] = "none",
    [RAFTCORE_REASON_BROKEN] = "the core is broken: raftcore_broken tells why",
    [RAFTCORE_REASON_NOT_STARTED] = "not started",
    [RAFTCORE_REASON_INVALID] = "it makes no sense",
    [RAFTCORE_REASON_NOT_LEADER] = "no leader is known",
    [RAFTCORE_REASON_LEADER_ELSEWHERE] = "another node leads",
    [RAFTCORE_REASON_STALE_TERM] = "of an earlier term or campaign",
    [RAFTCORE_REASON_STALE_STREAM] = "an answer to what is forgotten",
    [RAFTCORE_REASON_TERM_LIMIT] = "the term is above the limit in force",
    [RAFTCORE_REASON_NOT_UP_TO_DATE] = "the candidate's log is behind",
    [RAFTCORE_REASON_VOTED] = "voted for another",
    [RAFTCORE_REASON_LEADER_ALIVE] = "a leader is alive",
    [RAFTCORE_REASON_NOT_A_MEMBER] = "not a member, or not one that may",
    [RAFTCORE_REASON_WRONG_LOG] = "that member has another log",
    [RAFTCORE_REASON_DAMAGED] = "the log is damaged",
    [RAFTCORE_REASON_MISMATCH] = "the logs part earlier",
    [RAFTCORE_REASON_QUARANTINED] = "the sender broke a rule of the protocol",
    [RAFTCORE_REASON_UNCOMMITTED_FULL] = "too many bytes wait for a commit",
    [RAFTCORE_REASON_UNAPPLIED_FULL] = "too many bytes wait for being applied",
    [RAFTCORE_REASON_PERSIST_FULL] = "too much waits for the disk",
    [RAFTCORE_REASON_TRANSFERRING] = "leadership is being handed on",
    [RAFTCORE_REASON_READS_FULL] = "too many reads wait",
    [RAFTCORE_REASON_NOT_COMMITTED] = "nothing of this term is committed yet",
    [RAFTCORE_REASON_CHANGE_PENDING] = "a configuration is not committed yet",
    [RAFTCORE_REASON_JOINT] = "joint, or not joint, when it must not be",
    [RAFTCORE_REASON_NO_VOTERS] = "no voters would be left",
    [RAFTCORE_REASON_TOO_MANY] = "too many",
    [RAFTCORE_REASON_NOT_CAUGHT_UP] = "a new voter has not caught up: add it as a learner first",
    [RAFTCORE_REASON_LEASES_OFF] = "lease reads are off",
    [RAFTCORE_REASON_LEADER_CHANGED] = "the leader stepped down or does not answer",
    [RAFTCORE_REASON_DISK_STALLED] = "the disk is stalled",
    [RAFTCORE_REASON_MEMORY] = "no memory",
};

const char *raftcore_reason_text(int reason)
{
    return reason >= 0 && reason < RAFTCORE_REASONS && reasons[reason] != 0 ? reasons[reason] : "unknown";
}

const char *raftcore_role_text(uint32_t role)
{
    static const char *const roles[] = {"follower", "pre-candidate", "candidate", "leader", "broken"};
    return role < sizeof(roles) / sizeof(roles[0]) ? roles[role] : "unknown";
}

const char *raftcore_message_kind_text(uint32_t kind)
{
    static const char *const kinds[RAFTCORE_MESSAGE_KINDS] = {
        "none",          "pre-vote request", "pre-vote answer",  "vote request",    "vote answer",     "append",
        "append answer", "heartbeat",        "heartbeat answer", "snapshot piece",  "snapshot answer", "timeout now",
        "read request",  "read answer",      "proposal",         "proposal answer", "fetch",           "fetch answer"};
    return kind < RAFTCORE_MESSAGE_KINDS ? kinds[kind] : "unknown";
}
