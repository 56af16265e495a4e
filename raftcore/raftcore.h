/* raftcore.h - a pure Raft state machine: events in, output out.
 *
 * GUARANTEES, for any number of crashes, lost, doubled, reordered and late messages, and any minority of nodes down
 *   one leader a term; no committed entry is lost or changed; every node applies the same entries in the same order;
 *   reads that are answered are linearizable. They hold if the caller does what the events and the output say: makes
 *   units durable in order and whole, reports them in order, sends only what an output holds.
 *   A crash may happen between any two calls.
 *
 * USE
 *   raftcore_new, one RAFTCORE_START, then steps for ever. Each step: fill an event, raftcore_step, then do what the
 *   output asks, in any order and in parallel, and answer later with events (persisted, loaded, applied ...). At
 *   output.deadline_ns at the latest step again, with RAFTCORE_TIME if nothing else happened.
 *
 * THREADS
 *   A core belongs to one thread at a time. Cores share nothing. No call blocks, prints, reads a clock or a variable
 *   of the environment.
 *
 * MEMORY
 *   From the allocator of the options; in steady state no step allocates. What an output points to is valid until the
 *   next step of that core. What an event points to is read in the step only, but for payloads: their bytes are the
 *   caller's and must stay where they are until the entry is in output.released.
 *
 * TIME
 *   Nanoseconds on a clock of the caller's that does not go back while the machine runs (CLOCK_BOOTTIME). A value below
 *   an earlier one counts as the earlier one.
 *
 * May include: nothing of the project. */

#ifndef RAFTCORE_H
#define RAFTCORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RAFTCORE_API __attribute__((visibility("default")))

struct raftcore;

enum {
    RAFTCORE_MEMBERS_MAX = 32,   /* Of one configuration, learners and both sides of a joint one included. */
    RAFTCORE_HOLES_MAX = 16,     /* Unreadable ranges of one log. */
    RAFTCORE_PEERS_NONE = 0,     /* No node has the id 0. */
    RAFTCORE_ENTRIES_MAX = 65536 /* In one message, one proposal, one unit. */
};

/* --- entries -------------------------------------------------------------------------------------- */

enum raftcore_entry_type {
    RAFTCORE_ENTRY_NORMAL = 0, /* The caller's. */
    RAFTCORE_ENTRY_NOOP = 1,   /* A new leader's first; no payload. */
    RAFTCORE_ENTRY_CONFIGURATION = 2
};

/* Its index is its place: of an array of entries the first index is told beside it. */
struct raftcore_entry {
    uint64_t term;
    const void *data; /* The caller's, or of a configuration entry the core's; NULL with size 0. */
    uint32_t size;
    uint16_t type;
    uint16_t reserved; /* 0. */
};

/* --- who counts ----------------------------------------------------------------------------------- */

enum raftcore_member_flags {
    RAFTCORE_VOTER = 1,        /* Of the configuration, or of the new one of a joint configuration. */
    RAFTCORE_VOTER_OLD = 2,    /* Of the old one of a joint configuration. */
    RAFTCORE_LEARNER = 4,      /* Gets entries, never counts. */
    RAFTCORE_LEARNER_NEXT = 8, /* Voter of the old one that becomes a learner when the joint configuration is left. */
    RAFTCORE_PROMOTE = 16      /* Learner that the leader makes a voter as soon as it has caught up. */
};

struct raftcore_member {
    uint64_t id;     /* Not 0. */
    uint64_t log_id; /* Of its log; 0: any. */
    uint32_t flags;
    uint32_t reserved; /* 0. */
};

struct raftcore_configuration {
    uint32_t count;
    bool leave_automatically;                             /* Of a joint one: the leader leaves it as soon as it may. */
    struct raftcore_member members[RAFTCORE_MEMBERS_MAX]; /* Ids rising. */
};

enum raftcore_change_kind {
    RAFTCORE_ADD_VOTER = 1,   /* Also makes a learner a voter. */
    RAFTCORE_ADD_LEARNER,     /* Also makes a voter a learner. */
    RAFTCORE_ADD_AND_PROMOTE, /* A learner that the leader promotes as soon as it has caught up. */
    RAFTCORE_REMOVE
};

struct raftcore_change {
    uint32_t kind;
    uint32_t reserved;
    uint64_t id;
    uint64_t log_id;
};

enum raftcore_transition {
    RAFTCORE_TRANSITION_AUTO,     /* Joint if more than one voter changes; left automatically. */
    RAFTCORE_TRANSITION_IMPLICIT, /* Joint; left automatically. */
    RAFTCORE_TRANSITION_EXPLICIT  /* Joint; left by a change of its own, with no changes in it. */
};

/* --- what must be durable ------------------------------------------------------------------------- */

struct raftcore_hard_state {
    uint64_t term;
    uint64_t vote; /* Of that term; 0: none; RAFTCORE_VOTE_SPENT: unknown, so nobody gets one. */
    uint64_t commit;
    uint64_t term_limit; /* No term above it was ever entered. */
    uint64_t floor_term; /* What the log may have held before damage: (0, 0) with a whole log. */
    uint64_t floor_index;
};

#define RAFTCORE_VOTE_SPENT UINT64_MAX
#define RAFTCORE_INFINITY UINT64_MAX

/* One snapshot file. id: a checksum of its content, or anything else that no other content has. */
struct raftcore_snapshot {
    uint64_t index; /* The last entry that it stands for; 0: there is none. */
    uint64_t term;
    uint64_t id;
    uint64_t bytes;
};

/* All of it is durable at once or not at all, units in the order of their sequences; truncation first, then the
 * entries. */
struct raftcore_unit {
    uint64_t sequence; /* 0: this step has none. */
    struct raftcore_hard_state hard_state;
    uint64_t truncate_from; /* Entries from here on go first; 0: none. */
    uint64_t first_index;   /* Of entries. */
    const struct raftcore_entry *entries;
    uint32_t entry_count;
    bool install_snapshot; /* The log becomes: this snapshot, and of its entries those that keep_suffix leaves. */
    bool keep_suffix;      /* Entries behind the snapshot stay; else all go. */
    struct raftcore_snapshot snapshot;
};

/* --- messages ------------------------------------------------------------------------------------- */

enum raftcore_message_kind {
    RAFTCORE_PRE_VOTE_REQUEST = 1,
    RAFTCORE_PRE_VOTE_ANSWER,
    RAFTCORE_VOTE_REQUEST,
    RAFTCORE_VOTE_ANSWER,
    RAFTCORE_APPEND,
    RAFTCORE_APPEND_ANSWER,
    RAFTCORE_HEARTBEAT,
    RAFTCORE_HEARTBEAT_ANSWER,
    RAFTCORE_SNAPSHOT,        /* A piece of a snapshot. */
    RAFTCORE_SNAPSHOT_ANSWER, /* Taken so far. */
    RAFTCORE_TIMEOUT_NOW,     /* Leadership is offered: campaign at once. */
    RAFTCORE_READ_REQUEST,    /* A follower's read. */
    RAFTCORE_READ_ANSWER,
    RAFTCORE_PROPOSAL, /* A follower's, handed on. */
    RAFTCORE_PROPOSAL_ANSWER,
    RAFTCORE_FETCH, /* Entries of a hole are asked for. */
    RAFTCORE_FETCH_ANSWER,
    RAFTCORE_MESSAGE_KINDS
};

enum raftcore_message_flags {
    RAFTCORE_REFUSED = 1,   /* Of an answer; reason says why. */
    RAFTCORE_TRANSFER = 2,  /* Of a vote request: the old leader wants it. */
    RAFTCORE_DAMAGED = 4,   /* The sender's log has a floor or a hole. */
    RAFTCORE_ROLL_CALL = 8, /* Of a vote request: every voter must grant, whatever it can read. */
    RAFTCORE_LAST_PIECE = 16
};

/* Why something was refused: of messages, proposals, reads. */
enum raftcore_reason {
    RAFTCORE_REASON_NONE = 0,
    RAFTCORE_REASON_BROKEN, /* raftcore_broken tells. */
    RAFTCORE_REASON_NOT_STARTED,
    RAFTCORE_REASON_INVALID,          /* The event or message makes no sense. */
    RAFTCORE_REASON_NOT_LEADER,       /* And no leader is known. */
    RAFTCORE_REASON_LEADER_ELSEWHERE, /* output.leader. */
    RAFTCORE_REASON_STALE_TERM,
    RAFTCORE_REASON_STALE_STREAM,   /* An answer to an earlier record of the peer. */
    RAFTCORE_REASON_TERM_LIMIT,     /* The term is above the limit in force. */
    RAFTCORE_REASON_NOT_UP_TO_DATE, /* The candidate's log is behind. */
    RAFTCORE_REASON_VOTED,          /* For another. */
    RAFTCORE_REASON_LEADER_ALIVE,   /* One was heard within the election timeout. */
    RAFTCORE_REASON_NOT_A_MEMBER,
    RAFTCORE_REASON_WRONG_LOG,        /* That member's log has another id. */
    RAFTCORE_REASON_DAMAGED,          /* The own log has a floor or a hole. */
    RAFTCORE_REASON_MISMATCH,         /* The entry before the first is another, or missing. */
    RAFTCORE_REASON_QUARANTINED,      /* The sender broke a rule of the protocol in this term. */
    RAFTCORE_REASON_UNCOMMITTED_FULL, /* Too many bytes wait for a commit. */
    RAFTCORE_REASON_UNAPPLIED_FULL,   /* Too many bytes wait for being applied. */
    RAFTCORE_REASON_PERSIST_FULL,     /* Too many units are on their way. */
    RAFTCORE_REASON_TRANSFERRING,
    RAFTCORE_REASON_READS_FULL,
    RAFTCORE_REASON_NOT_COMMITTED,  /* Nothing of this term is committed yet. */
    RAFTCORE_REASON_CHANGE_PENDING, /* A configuration is not committed yet. */
    RAFTCORE_REASON_JOINT,          /* Leave the joint configuration first; or there is none to leave. */
    RAFTCORE_REASON_NO_VOTERS,
    RAFTCORE_REASON_TOO_MANY, /* Members, entries or bytes. */
    RAFTCORE_REASON_NOT_CAUGHT_UP,
    RAFTCORE_REASON_LEASES_OFF,
    RAFTCORE_REASON_LEADER_CHANGED, /* The leader stepped down before it could answer. */
    RAFTCORE_REASON_DISK_STALLED,
    RAFTCORE_REASON_MEMORY,
    RAFTCORE_REASONS
};

/* One shape for all kinds; fields that a kind does not use are 0. */
struct raftcore_message {
    uint16_t kind;
    uint16_t flags;
    uint16_t reason;
    uint16_t reserved;
    uint64_t from, to;
    uint64_t log_id;     /* The sender's. */
    uint64_t session;    /* The sender's. */
    uint64_t to_session; /* The receiver's, as the sender knows it; 0: not known. */
    uint64_t term;       /* The sender's; of pre-votes the one that would come. */
    uint64_t stream;     /* The leader's record of the peer. */
    uint64_t index;      /* Requests for votes: the last one. Append: the one before the first. Append answer: the last
                            that matches, or the one that does not. Snapshot: its index. Fetch: the first wanted. Reads:
                            the index. */
    uint64_t log_term;   /* Of the entry at index. */
    uint64_t commit;
    uint64_t hint_index; /* Of a refused append: where to go on. Fetch: the anchor. */
    uint64_t hint_term;
    uint64_t round;   /* Elections: the campaign. Heartbeats: the round. */
    uint64_t context; /* Of a read or proposal that is handed on. */
    uint64_t credit;  /* Bytes of entries that the answering node takes, from the last that matches on. */
    uint64_t floor_term, floor_index; /* With RAFTCORE_DAMAGED. */
    uint64_t snapshot_id, snapshot_bytes;
    uint64_t offset;                                    /* Of the piece; of an answer: how much there is. */
    const struct raftcore_configuration *configuration; /* With a snapshot's first piece. */
    const struct raftcore_entry *entries;
    uint32_t entry_count;
    uint32_t piece_bytes;
    const void *piece; /* NULL in an output: the sender's transport reads it from the snapshot file. */
};

/* --- events --------------------------------------------------------------------------------------- */

enum raftcore_event_kind {
    RAFTCORE_START = 1,
    RAFTCORE_TIME,
    RAFTCORE_RECEIVE,
    RAFTCORE_PROPOSE,
    RAFTCORE_CHANGE,
    RAFTCORE_READ,
    RAFTCORE_TRANSFER_LEADERSHIP,
    RAFTCORE_CAMPAIGN,
    RAFTCORE_STEP_DOWN,
    RAFTCORE_PERSISTED,
    RAFTCORE_PERSIST_FAILED,
    RAFTCORE_LOADED,
    RAFTCORE_APPLIED,
    RAFTCORE_SNAPSHOT_TAKEN,   /* Of the own state, durable under its name. */
    RAFTCORE_SNAPSHOT_WRITTEN, /* All pieces of a received one, durable under its name. */
    RAFTCORE_HOLE_FOUND,       /* A stable entry does not read. */
    RAFTCORE_SPLICED,          /* The entries of output.splice are durable in their place. */
    RAFTCORE_UNREACHABLE,      /* Messages to a peer were lost. */
    RAFTCORE_EVENT_KINDS
};

/* A range of entries that exist but do not read. */
struct raftcore_hole {
    uint64_t first, last;
    uint64_t anchor_index; /* A readable entry behind it, or the last of it, whose term is known. */
    uint64_t anchor_term;
};

/* Entries [first_index, up to the next run) have this term. */
struct raftcore_run {
    uint64_t first_index;
    uint64_t term;
};

/* Which part of the end of the log is known. */
enum raftcore_tail {
    RAFTCORE_TAIL_EXACT = 0,    /* Hard state and last entry are what they were. */
    RAFTCORE_TAIL_ENTRIES_LOST, /* The hard state is exact, entries may be gone behind the last. */
    RAFTCORE_TAIL_UNCERTAIN     /* A newer hard state may be gone as well. */
};

/* A configuration entry that the log holds. */
struct raftcore_configuration_entry {
    uint64_t index;
    struct raftcore_configuration configuration;
};

/* What storage found. Everything that it read it has made durable again before this event (A23). */
struct raftcore_start {
    uint64_t session; /* Not 0; no earlier start of this log had it. */
    struct raftcore_hard_state hard_state;
    struct raftcore_snapshot snapshot;           /* The newest; index 0: none. */
    struct raftcore_configuration configuration; /* As of the snapshot; with none the first of all. */
    uint64_t first_index;                        /* Of the log; snapshot.index + 1, or less. */
    uint64_t last_index;                         /* first_index - 1: no entries. */
    const struct raftcore_run *runs; /* Of the entries [first_index, last_index]; rising. Those of a hole may be any. */
    uint32_t run_count;
    uint32_t configuration_count;
    const struct raftcore_configuration_entry *configurations; /* Of entries above the snapshot; rising. */
    uint64_t before_term; /* Of the entry before first_index, if it is not the snapshot's; 0: not known. */
    uint64_t applied;     /* What the state machine has; snapshot.index when it begins there. */
    uint32_t tail;        /* enum raftcore_tail. */
    uint32_t hole_count;
    const struct raftcore_hole *holes; /* Rising. */
    uint64_t floor_term, floor_index;  /* With RAFTCORE_TAIL_ENTRIES_LOST: what the last entry was, if known. */
    bool snapshot_damaged;             /* The log does not reach back to a snapshot that reads. */
};

struct raftcore_event {
    uint32_t kind;
    uint32_t reserved;
    uint64_t now_ns;
    union {
        const struct raftcore_start
            *start; /* Read within the step only, like everything else that an event points to. */
        const struct raftcore_message *receive;
        struct {
            const struct raftcore_entry *entries; /* term is ignored. */
            uint32_t count;
            uint64_t context; /* Comes back with the outcome. */
        } propose;
        struct {
            const struct raftcore_change *changes;
            uint32_t count;
            uint32_t transition; /* enum raftcore_transition. */
            bool unchecked;      /* Adds a voter that has not caught up. */
        } change;
        struct {
            uint64_t context;
            bool lease; /* By the lease, if the options allow it. */
        } read;
        struct {
            uint64_t to; /* 0: the best. */
        } transfer;
        struct {
            bool roll_call; /* The operator's word (B16). */
            bool at_once;   /* Without asking whether it would be granted. */
        } campaign;
        struct {
            uint64_t sequence; /* This unit and all before it are durable. */
            uint64_t covered;  /* And these lie in front of another durable batch. */
        } persisted;
        struct {
            uint64_t peer; /* From output.loads. */
            uint64_t first_index;
            const struct raftcore_entry *entries; /* NULL: not there, or they do not read. */
            uint32_t count;
        } loaded;
        struct {
            uint64_t index;
        } applied;
        struct {
            struct raftcore_snapshot snapshot;
            uint64_t keep; /* Taken: entries that stay in the log in front of it. */
            bool failed;   /* Written: it could not be; it is asked for again. */
        } snapshot;
        struct {
            struct raftcore_hole hole;
        } hole;
        struct {
            uint64_t first, last;
            bool failed;
        } spliced;
        struct {
            uint64_t peer;
        } unreachable;
    };
};

/* --- output --------------------------------------------------------------------------------------- */

enum raftcore_role { RAFTCORE_FOLLOWER, RAFTCORE_PRE_CANDIDATE, RAFTCORE_CANDIDATE, RAFTCORE_LEADER, RAFTCORE_BROKEN };

/* Entries [first, first + count) are wanted for a peer; the answer is RAFTCORE_LOADED, with as many from the first on
 * as fit in bytes, at least one; for RAFTCORE_PEERS_NONE at least two. */
struct raftcore_load {
    uint64_t peer;
    uint64_t first_index;
    uint32_t count;
    uint32_t bytes;
};

struct raftcore_read_result {
    uint64_t context;
    uint64_t index;  /* The state machine has applied this index, or more. */
    uint16_t reason; /* 0: the state machine may be read now. */
};

struct raftcore_proposal_result {
    uint64_t context;
    uint64_t
        first_index; /* With reason 0: its entries have these indexes, in this term. raftcore_outcome tells more. */
    uint64_t term;
    uint16_t reason;
};

/* A piece of a snapshot that has come in: to be written at offset of a file under a temporary name. Behind the last
 * one: check it, make it durable, give it its name, and say RAFTCORE_SNAPSHOT_WRITTEN. */
struct raftcore_piece {
    struct raftcore_snapshot snapshot; /* index 0: this step has none. */
    uint64_t offset;
    const void *data;
    uint32_t bytes;
    bool last;
    const struct raftcore_configuration *configuration; /* As of the snapshot. */
};

/* Entries of a hole that have come in: to be put in their place, durable, all or none; then RAFTCORE_SPLICED. */
struct raftcore_splice {
    uint64_t first_index;
    const struct raftcore_entry *entries;
    uint32_t count; /* 0: this step has none. */
};

/* raftcore_prefetch and idle hosts rely on this order: what every step fills in stands first, up to load_count. */
struct raftcore_output {
    uint64_t deadline_ns; /* Of the next step, at the latest; RAFTCORE_INFINITY: none. */
    uint64_t leader;      /* 0: not known. */
    uint32_t role;
    uint16_t refused; /* The event or its message was refused; enum raftcore_reason. */
    bool role_changed;
    bool configuration_changed;
    bool snapshot_wanted; /* A peer needs one, or the own log lost what is applied: the caller should take one. */
    uint32_t message_count;
    const struct raftcore_message *messages; /* May leave now, all of them. */
    uint64_t apply_from, apply_to; /* Entries [apply_from, apply_to) may be applied, each once; equal: none. */
    uint64_t restore_index;        /* The state machine is to be set to the snapshot of this index; 0: no. */
    uint64_t compact_to;           /* Entries below may be dropped; 0: nothing new. */
    uint32_t load_count;
    uint32_t read_count;
    uint32_t proposal_count;
    uint32_t released_count;
    const struct raftcore_load *loads;
    const struct raftcore_read_result *reads;
    const struct raftcore_proposal_result *proposals;
    /* Their payloads are not needed any more, once the messages and the unit of this output are done with. Entries that
     * were truncated while their unit is on its way are among them: storage that still reads them keeps them longer. */
    const struct raftcore_entry *released;
    struct raftcore_splice splice;
    struct raftcore_unit unit;
    struct raftcore_piece piece;
};

/* --- options -------------------------------------------------------------------------------------- */

struct raftcore_allocator {
    void *(*reallocate)(void *user, void *memory, size_t old_bytes, size_t new_bytes); /* new_bytes 0: frees. */
    void *user;
};

/* A field that is 0 has the default that stands behind it. What a core without traffic looks at stands first:
 * raftcore_prefetch relies on that. */
struct raftcore_options {
    size_t size;                  /* sizeof(struct raftcore_options). */
    uint64_t id;                  /* Of this node; not 0. */
    uint64_t log_id;              /* Of its log; not 0. */
    uint64_t election_timeout_ns; /* 1 s. Timers are drawn from [1, 2) times that. */
    uint64_t heartbeat_ns;        /* A tenth of the election timeout. */
    uint64_t clock_drift_ns;      /* Bound on what two clocks gain on another in one election timeout: a tenth of it. */
    bool no_pre_vote;
    bool no_check_quorum;
    bool lease_reads;       /* Allows them; then a node that starts grants no vote for one election timeout (A32). */
    bool no_forwarding;     /* Proposals at a follower are refused instead of handed on. (What is handed on may be lost
                               on its way, and then nobody is told: give up by a time of your own, and let commands
                               that may come twice have a name.) */
    bool stay_when_removed; /* A leader keeps leading behind its own removal. */
    bool check_everything;  /* raftcore_check behind every step. */
    uint64_t unapplied_bytes;   /* 64 MiB. */
    uint64_t uncommitted_bytes; /* 64 MiB. */
    uint64_t cache_bytes;       /* Of entries held for followers though durable: 16 MiB. */
    uint64_t window_bytes;      /* On their way to one peer: 16 MiB. */
    uint32_t window_messages;   /* Appends on their way to one peer: 256. */
    uint32_t message_bytes;     /* Of entries in one append: 1 MiB; one entry may be larger. */
    uint32_t message_entries;   /* 4,096. */
    uint32_t piece_bytes;       /* Of a snapshot: 256 KiB. */
    uint64_t resend_ns;         /* What is on its way so long is lost: one election timeout. */
    uint64_t disk_stall_ns;     /* A unit on its way so long makes a leader step down: two election timeouts. */
    uint32_t units_max;         /* On their way: 1,024. */
    uint32_t reads_max;         /* That wait: 4,096. */
    uint64_t seed;              /* Of the timeouts; best different on each node. */
    struct raftcore_allocator allocator; /* reallocate NULL: the C library's. */
};

/* --- calls ---------------------------------------------------------------------------------------- */

/* A new core; *core belongs to the caller until raftcore_free. 0; -EINVAL: an option makes no sense; -ENOMEM. */
RAFTCORE_API int raftcore_new(struct raftcore **core, const struct raftcore_options *options);

/* NULL is allowed. */
RAFTCORE_API void raftcore_free(struct raftcore *core);

/* Takes one event; *output is the core's and valid until the next step. 0; or the reason (enum raftcore_reason) why the
 * event was refused, as in output->refused: then nothing changed but what the output says. The output counts in both
 * cases. For want of memory only START, RECEIVE, PROPOSE, CHANGE, READ and HOLE_FOUND are refused, and all but RECEIVE
 * may be offered again: a message that was refused counts as taken or lost, and its sender may have been answered (of a
 * PROPOSAL, that it was refused). What tells of something that has happened (PERSISTED, LOADED, APPLIED...) never is
 * refused. */
RAFTCORE_API int raftcore_step(struct raftcore *core, const struct raftcore_event *event,
                               const struct raftcore_output **output);

/* For hosts of thousands of cores, where each step begins with waiting for memory: asks the processor for what the next
 * step of this core will look at, and changes nothing. Call it two cores or more ahead, then with is_near one or more
 * ahead, for what the core points to. The core must not be freed or stepped by another thread meanwhile. */
RAFTCORE_API void raftcore_prefetch(const struct raftcore *core, bool is_near);

enum raftcore_outcome {
    RAFTCORE_OUTCOME_PENDING, /* Not known yet; before START always. */
    RAFTCORE_OUTCOME_COMMITTED,
    RAFTCORE_OUTCOME_SUPERSEDED, /* Another entry is committed in its place: it never will be. */
    RAFTCORE_OUTCOME_UNKNOWN     /* Compacted away: either. */
};

/* What became of a proposal that was given this index and term. */
RAFTCORE_API enum raftcore_outcome raftcore_outcome(const struct raftcore *core, uint64_t index, uint64_t term);

/* The entry at an index, if it is in memory; its payload is valid until it is released. */
RAFTCORE_API bool raftcore_entry(const struct raftcore *core, uint64_t index, struct raftcore_entry *entry);

/* The term of the entry at an index, or of the snapshot that stands for it; false: the log does not reach so far. */
RAFTCORE_API bool raftcore_term(const struct raftcore *core, uint64_t index, uint64_t *term);

/* The configuration as of an index, for a snapshot of it; false: the log does not reach back so far. */
RAFTCORE_API bool raftcore_configuration_at(const struct raftcore *core, uint64_t index,
                                            struct raftcore_configuration *configuration);

enum raftcore_peer_state { RAFTCORE_PROBE, RAFTCORE_REPLICATE, RAFTCORE_SEND_SNAPSHOT };

struct raftcore_peer_status {
    uint64_t id;
    uint64_t match, next;
    uint64_t session;
    uint64_t heard_ns; /* When an answer last came in; 0: never. */
    uint64_t snapshot_index, snapshot_offset;
    uint64_t inflight_bytes;
    uint32_t inflight;
    uint32_t state; /* enum raftcore_peer_state. */
    uint32_t flags; /* enum raftcore_member_flags. */
    bool paused;    /* Nothing is sent until something comes in. */
    bool active;    /* Heard within the last election timeout. */
    bool caught_up;
    bool damaged;
};

struct raftcore_status {
    uint64_t id, session;
    uint64_t leader;
    uint32_t role;
    uint32_t broken; /* 0, or a reason; raftcore_broken has the words. */
    struct raftcore_hard_state hard_state;
    uint64_t term_limit_in_force;
    uint64_t first_index, last_index, last_term;
    uint64_t durable_index, applied;
    struct raftcore_snapshot snapshot;
    uint64_t last_sequence, durable_sequence;
    uint64_t waiting_messages;
    uint64_t uncommitted_bytes, unapplied_bytes, cached_bytes;
    uint32_t hole_count;
    struct raftcore_hole holes[RAFTCORE_HOLES_MAX];
    struct raftcore_configuration configuration;
    uint64_t configuration_index;
    uint64_t transfer_to;
    uint64_t elections, terms_led; /* Campaigns begun, won. */
    uint64_t messages_sent, messages_refused;
    uint64_t clock_went_back;
    uint64_t refusals[RAFTCORE_REASONS]; /* By reason; [0]: events that were not refused. */
    uint64_t memory_bytes;
    uint32_t peer_count;
    struct raftcore_peer_status peers[RAFTCORE_MEMBERS_MAX];
};

/* A copy of what there is to know. */
RAFTCORE_API void raftcore_status(const struct raftcore *core, struct raftcore_status *status);

/* NULL, or the invariant that does not hold any more, with file and line; the core's. */
RAFTCORE_API const char *raftcore_broken(const struct raftcore *core);

/* Checks everything that can be checked; NULL, or what does not hold; the core's. */
RAFTCORE_API const char *raftcore_check(const struct raftcore *core);

/* "not up to date", "leader"...; static. */
RAFTCORE_API const char *raftcore_reason_text(int reason);
RAFTCORE_API const char *raftcore_role_text(uint32_t role);
RAFTCORE_API const char *raftcore_message_kind_text(uint32_t kind);

#ifdef __cplusplus
}
#endif

#endif
