/* core.h - the core from inside: its state, and the few verbs by which the concepts call one another.
 *
 * Handlers change state and mark what is owed; step.c's finish() pays, in a fixed order: commit, appends, the unit, the
 * messages, the deadline. So one event makes one unit, however many handlers it went through.
 *
 * May include: log.h, progress.h, quorum.h, zoo.h. */

#ifndef RAFTCORE_CORE_H
#define RAFTCORE_CORE_H

#include "raftcore/log.h"
#include "raftcore/progress.h"
#include "raftcore/quorum.h"
#include "raftcore/zoo.h"

enum {
    PEERS_MAX = 2 * RAFTCORE_MEMBERS_MAX, /* Members, and removed ones that do not know it yet. */
    BROKEN_TEXT_BYTES = 200,
    TERM_LIMIT_STEP = 1024,    /* A term limit is raised by this, */
    TERM_LIMIT_MARGIN = 512,   /* when less than this is left (B2). */
    ENTRY_BYTES_MAX = 1 << 28, /* Of one entry's payload, and of a message's in all: what the codec can hold. */
    FLIGHTS_MIN = 2, /* There is room for so many, always: one becomes durable while the other takes what comes. One
                        alone would grow with each unit, and never be durable to its end. */
    ROUND_TIMES = 16 /* Heartbeat rounds whose sending time is remembered, for leases. */
};

/* Terms of honest nodes are never so far apart: one that is made up must not take all that are left. */
#define TERM_JUMP_MAX (UINT64_C(1) << 40)

/* What this step wants durable. */
struct draft {
    bool hard_state;
    bool install;
    bool keep_suffix;
    uint64_t truncate_from; /* 0: nothing. */
    uint64_t first_index;   /* Of the entries appended; 0: none. */
};

/* A unit on its way; or, when there was no memory for another, several that follow one another. */
struct flight {
    uint64_t sequence;      /* Of the last of them. */
    uint64_t first_touched; /* The lowest index that it changes; RAFTCORE_INFINITY: none. */
    uint64_t last_index;    /* Of the log behind it. */
    uint64_t issued_ns;     /* Of the first; or when some of them were last durable. */
};

/* The payload of a configuration entry of the core's own; entries point to its bytes. */
struct own_payload {
    struct own_payload *next; /* Among those to be freed. */
    size_t size;
    uint8_t bytes[];
};

struct waiting {
    uint64_t after;
    struct raftcore_message message;
};

/* A configuration and the index of its entry; of the lowest one the snapshot's. */
struct stacked {
    uint64_t index;
    struct raftcore_configuration configuration;
};

enum read_state {
    READ_QUEUED,    /* Waits for a commit of this term, or for a leader's answer. */
    READ_IN_ROUND,  /* Waits for the round's majority. */
    READ_CONFIRMED, /* Waits for being applied. */
    READ_DONE
};

struct read {
    uint64_t context;
    uint64_t from;  /* 0: the caller; else the follower that asks. */
    uint64_t round; /* That must be confirmed. */
    uint64_t index; /* That must be applied. */
    uint64_t since_ns;
    uint64_t own_context; /* Of a read handed on to the leader: what its answer will name. */
    uint64_t from_session;
    enum read_state state;
};

/* A snapshot that comes in. */
struct receiving {
    struct raftcore_snapshot snapshot; /* index 0: none. Its configuration: received_configuration. */
    uint64_t taken;                    /* Bytes. */
    uint64_t from;                     /* Who sends it, */
    uint64_t stream;                   /* and how the answer names it. */
    uint64_t session;
    uint64_t term;
    bool written; /* All of it is with the caller. */
};

/* Entries that another node's hole lacks, being read back for it. */
struct serving {
    uint64_t to; /* 0: none. */
    uint64_t first, last;
    uint64_t since_ns;
    struct raftcore_message answer;
};

/* What the output's arrays stand in; they keep their room from step to step. The output says how much is in them. */
struct outputs {
    struct raftcore_load *loads;
    struct raftcore_read_result *reads;
    struct raftcore_proposal_result *proposals;
    struct raftcore_entry *released;
    struct raftcore_entry *copies; /* Entries of messages that are not in the log's row. */
    uint32_t load_capacity, read_capacity, proposal_capacity, released_capacity, copy_capacity;
};

/* What a core without traffic looks at stands in front, in as few cache lines as hold it: a host of ten thousand idle
 * groups finds none of them in its cache, and most of what a heartbeat costs there is the lines that it touches. What
 * is large, or looked at with traffic only, stands behind. Such hosts and raftcore_prefetch rely on this order. */
struct raftcore {
    uint64_t now_ns;
    uint32_t role;
    uint32_t role_before; /* At the beginning of this step. */
    uint16_t broken;      /* 0, or a reason. */
    bool started;
    bool quiet;         /* The last output held nothing but a deadline. */
    bool only_messages; /* The last output held messages or none, and what every output says. */
    bool gives_more;    /* This output has a unit, a piece or a splice: told without touching the lines of these. */
    bool owes_appends;  /* finish() looks at every peer. */
    bool owes_round;    /* A read waits for a round. */
    bool owes_commit;   /* Everybody is told of the commit, busy or not. */
    bool retires;       /* Its removal is committed: it leads no longer than this step (C10). */
    bool heard_leader;
    bool campaign_waits; /* Its requests have not left yet (A11). */
    bool snapshot_damaged;
    bool splicing;
    uint32_t hole_count, read_count;
    struct own_payload *to_free; /* Those that this output may still point to, and nothing else does. */
    uint64_t session;
    uint64_t accepted; /* Events. */

    struct raftcore_hard_state hard; /* As issued, like log and stack. */
    uint64_t last_sequence, durable_sequence;

    uint64_t recovery_sequence; /* Nothing is said before it is durable (B4). */
    uint32_t flight_head, flight_count, flight_capacity;
    uint32_t stack_count;
    uint64_t heard_leader_ns; /* When one of this term was last heard, or voted for; 0: never. */
    uint64_t election_at_ns;  /* RAFTCORE_INFINITY: no timer runs. */
    uint64_t random;
    uint64_t unapplied_bytes; /* Committed and not applied; what is not committed must never hold up what would commit
                                 it. */
    uint64_t messages_sent;

    uint64_t given; /* Entries up to here have been given out for applying. */
    uint64_t leader;
    struct raftcore_message *messages; /* Of the output; they keep their room from step to step. */
    uint32_t message_capacity;
    uint32_t peer_count;
    uint32_t copy_count; /* In out.copies. */
    uint32_t quarantined_count;
    struct draft draft;

    /* The leader's (replicate.c). */
    struct progress *peers; /* Ids rising; without this node. */
    struct stacked *stack;  /* Every role's: configurations, indexes rising; the last one is in force (C1, C2). */
    uint64_t heartbeat_at_ns;
    uint64_t quorum_at_ns;
    uint64_t round;           /* Heartbeat rounds begun. */
    uint64_t round_confirmed; /* Answered by a majority. */
    uint64_t lease_until_ns;
    uint64_t transfer_to; /* 0: none. */

    struct raftcore_options options;
    struct log log;
    struct raftcore_output output;

    /* --- seldom, from here on --- */
    struct memory memory;
    char broken_text[BROKEN_TEXT_BYTES];
    struct raftcore_snapshot snapshot;
    uint64_t applied;
    uint32_t stack_capacity, peer_capacity;
    struct outputs out;

    /* persist.c. */
    struct flight *flights;  /* Ring, oldest first. */
    uint64_t durable_index;  /* A17. */
    uint64_t durable_last;   /* Last index behind the newest durable unit. */
    uint64_t term_sequence;  /* The unit since which the term holds, */
    uint64_t vote_sequence;  /* and since which term and vote hold. */
    uint64_t limit_in_force; /* B2. */
    uint64_t limit_sequence; /* The unit that raised the term limit last; in force when it is covered. */
    uint64_t covered_sequence;
    struct waiting *waiting; /* Ring, oldest first. */
    uint32_t waiting_head, waiting_count, waiting_capacity;

    /* election.c. */
    uint64_t no_votes_until_ns;                   /* A32. */
    enum quorum_vote votes[RAFTCORE_MEMBERS_MAX]; /* Of the configuration's members. */
    uint64_t campaign;                            /* Number of the campaign; its requests and answers carry it. */
    uint64_t campaign_sequence;                   /* Its unit. */
    uint64_t ask_again_ns;                        /* When those that did not answer are asked again. */
    bool campaign_is_transfer;
    bool campaign_is_roll_call;
    uint64_t quarantined[8]; /* Peers that broke a rule in this term. */

    /* replicate.c, transfer.c. */
    uint64_t stream;
    uint64_t term_first_index; /* Of the no-op. */
    uint64_t round_sent_ns[ROUND_TIMES];
    bool lease_is_void; /* Somebody was told to campaign: from then on a majority may not wait for this leader. */
    bool transfer_sent;
    uint64_t transfer_until_ns;
    uint64_t uncommitted_bytes;

    /* read.c. */
    struct read *reads;
    uint32_t read_capacity;
    uint64_t read_context;

    /* Snapshots and damage (snapshot.c, repair.c). */
    struct receiving receiving;
    struct raftcore_configuration *received_configuration; /* Taken with the first snapshot that comes in, */
    struct raftcore_configuration *sent_configuration;     /* that is sent (of the pieces in this output), */
    struct raftcore_hole *holes;                           /* and with the first hole: RAFTCORE_HOLES_MAX of them. */
    struct raftcore_snapshot installed;                    /* Of draft.install. */
    uint64_t fetch_at_ns;                                  /* When a hole is asked for next. */
    uint64_t fetch_peer;                                   /* Who was asked last. */
    uint64_t cover_at_ns; /* When more is done about a hole that nobody has filled: a snapshot, another leader. */
    struct serving serving;
    uint32_t serve_count; /* Entries that are read back for one answer; 0: as many as a message may have. */

    /* Counted. */
    uint64_t elections, terms_led, messages_refused, clock_went_back;
    uint64_t refusals[RAFTCORE_REASONS]; /* [0] stays 0: `accepted`, which every step counts, stands in front. */
};

/* --- an invariant of its own (check.c) ------------------------------------------------------------ */

/* True if it holds. Else the core is broken from now on; the caller returns without touching anything more. */
#define HOLDS(core, condition) \
    (__builtin_expect(!!(condition), 1) || (core_break((core), __FILE__, __LINE__, #condition), false))
void core_break(struct raftcore *core, const char *file, int line, const char *what);

/* --- who we are ----------------------------------------------------------------------------------- */

static inline const struct raftcore_configuration *core_configuration(const struct raftcore *core)
{
    return &core->stack[core->stack_count - 1].configuration;
}

static inline uint64_t core_configuration_index(const struct raftcore *core)
{
    return core->stack[core->stack_count - 1].index;
}

static inline bool core_is_leader(const struct raftcore *core)
{
    return core->role == RAFTCORE_LEADER;
}

/* Voter of the newest configuration, with the log that it names. */
bool core_is_voter(const struct raftcore *core);

/* (term, index) a is at least b. */
static inline bool at_least(uint64_t term_a, uint64_t index_a, uint64_t term_b, uint64_t index_b)
{
    return term_a > term_b || (term_a == term_b && index_a >= index_b);
}

/* --- persist.c ------------------------------------------------------------------------------------ */

uint64_t persist_draft_sequence(const struct raftcore *core); /* Of the unit that this step will make. */
bool persist_has_room(const struct raftcore *core);
void persist_term(struct raftcore *core, uint64_t term, uint64_t vote); /* Sets both, and drafts them. */
void persist_vote(struct raftcore *core, uint64_t vote);
void persist_limit(struct raftcore *core, uint64_t limit);
bool persist_reserve(struct raftcore *core, uint64_t count, uint64_t terms); /* Room for entries. */
void persist_push(struct raftcore *core, const struct raftcore_entry *entry);
void persist_truncate(struct raftcore *core, uint64_t from);
struct own_payload *persist_take_payload(struct raftcore *core, size_t bytes); /* NULL: no memory. */
/* Gives back what is to be freed. */
void persist_free_payloads(struct raftcore *core);
/* An entry that nothing points to any more, but for this output. */
void persist_release(struct raftcore *core, const struct raftcore_entry *entry);
uint64_t persist_after_match(const struct raftcore *core, uint64_t index); /* A12. */
int persist_done(struct raftcore *core, uint64_t sequence, uint64_t covered);
void persist_unit(struct raftcore *core); /* Of finish(). */
void persist_release_messages(struct raftcore *core);
void persist_let_go(struct raftcore *core);
void persist_compact(struct raftcore *core, uint64_t first_kept);
/* The log becomes the snapshot and, with keep_suffix, what stands behind it. */
void persist_install(struct raftcore *core, const struct raftcore_snapshot *snapshot, bool keep_suffix);

/* --- message.c ------------------------------------------------------------------------------------ */

/* A message with the sender's fields filled in. */
struct raftcore_message message_to(const struct raftcore *core, uint64_t to, enum raftcore_message_kind kind);
/* Into the output, or, when `after` is not durable yet, into the row of those that wait. */
void message_send(struct raftcore *core, const struct raftcore_message *message, uint64_t after);
/* Refuses a request, now. */
void message_refuse(struct raftcore *core, const struct raftcore_message *request, uint16_t reason);
/* Copies entries to where they stay until the next step; NULL: no memory. */
const struct raftcore_entry *message_copy_entries(struct raftcore *core, const struct raftcore_entry *entries,
                                                  uint32_t count);

/* --- election.c ----------------------------------------------------------------------------------- */

void become_follower(struct raftcore *core, uint64_t term, uint64_t leader);
/* Enters a term that a message has; false: it is above the limit in force, and the message must wait (B2). */
bool enter_term(struct raftcore *core, uint64_t term, uint64_t leader);
void heard_leader(struct raftcore *core, uint64_t leader);
bool leader_is_alive(const struct raftcore *core);
int campaign(struct raftcore *core, bool at_once, bool is_transfer, bool is_roll_call);
void election_time(struct raftcore *core);
void election_requests_left(struct raftcore *core);
void election_persisted(struct raftcore *core);
int on_pre_vote_request(struct raftcore *core, const struct raftcore_message *message);
int on_vote_request(struct raftcore *core, const struct raftcore_message *message);
int on_vote_answer(struct raftcore *core, const struct raftcore_message *message);
bool may_campaign(const struct raftcore *core);
uint64_t random_below(struct raftcore *core, uint64_t bound);

/* --- replicate.c ---------------------------------------------------------------------------------- */

struct progress *peer_find(struct raftcore *core, uint64_t id);
void replicate_begin(struct raftcore *core);   /* A new leader. */
void replicate_members(struct raftcore *core); /* The configuration changed: records come and go. */
void replicate_time(struct raftcore *core);
void replicate_commit(struct raftcore *core);
void replicate_pay(struct raftcore *core); /* Of finish(): appends, heartbeats, snapshots that are owed. */
void commit_to(struct raftcore *core, uint64_t index);
int on_append(struct raftcore *core, const struct raftcore_message *message);
int on_append_answer(struct raftcore *core, const struct raftcore_message *message);
int on_heartbeat(struct raftcore *core, const struct raftcore_message *message);
int on_heartbeat_answer(struct raftcore *core, const struct raftcore_message *message);
int on_loaded(struct raftcore *core, const struct raftcore_event *event);
int propose(struct raftcore *core, const struct raftcore_entry *entries, uint32_t count, uint64_t *first_index);
int on_propose(struct raftcore *core, const struct raftcore_event *event);
int on_proposal(struct raftcore *core, const struct raftcore_message *message);
int on_proposal_answer(struct raftcore *core, const struct raftcore_message *message);
struct progress *peer_of_answer(struct raftcore *core, const struct raftcore_message *message);

/* A leader of this term speaks: it is followed. False: there is another one already, which one of them has faked. */
bool follow_leader(struct raftcore *core, const struct raftcore_message *message);
/* An answer with what every answer of a follower's says. */
struct raftcore_message follow_answer(const struct raftcore *core, const struct raftcore_message *message,
                                      enum raftcore_message_kind kind);
int quarantine(struct raftcore *core, const struct raftcore_message *message);
void replicate_confirm_rounds(struct raftcore *core);

/* --- member.c ------------------------------------------------------------------------------------- */

int on_change(struct raftcore *core, const struct raftcore_event *event);
bool member_entry_is_right(const struct raftcore_entry *entry, struct raftcore_configuration *configuration);
bool member_reserve(struct raftcore *core, uint64_t count);
/* The leader makes the first learner that is to be a voter, and has caught up, one. */
void member_promote(struct raftcore *core);
/* Of an entry that did not read before: into its place on the stack, for which there is room. */
void member_insert(struct raftcore *core, uint64_t index, const struct raftcore_configuration *configuration);
void member_push(struct raftcore *core, uint64_t index, const struct raftcore_configuration *configuration);
void member_truncate(struct raftcore *core, uint64_t from);
void member_compact(struct raftcore *core, uint64_t to);
void member_committed(struct raftcore *core);            /* The commit index moved. */
void member_matched(struct raftcore *core, uint64_t id); /* A peer has more than before. */
void configuration_in_force_changed(struct raftcore *core);

/* --- snapshot.c ----------------------------------------------------------------------------------- */

void snapshot_send(struct raftcore *core, struct progress *peer);
int on_snapshot(struct raftcore *core, const struct raftcore_message *message);
int on_snapshot_answer(struct raftcore *core, const struct raftcore_message *message);
int on_snapshot_taken(struct raftcore *core, const struct raftcore_event *event);
int on_snapshot_written(struct raftcore *core, const struct raftcore_event *event);

/* --- read.c --------------------------------------------------------------------------------------- */

int on_read(struct raftcore *core, const struct raftcore_event *event);
int on_read_request(struct raftcore *core, const struct raftcore_message *message);
int on_read_answer(struct raftcore *core, const struct raftcore_message *message);
void read_advance(struct raftcore *core);
void read_fail_all(struct raftcore *core, uint16_t reason);

/* --- transfer.c ----------------------------------------------------------------------------------- */

int on_transfer(struct raftcore *core, const struct raftcore_event *event);
int on_timeout_now(struct raftcore *core, const struct raftcore_message *message);
void transfer_time(struct raftcore *core);
void transfer_advance(struct raftcore *core);
void transfer_to_best(struct raftcore *core); /* Offered at once, without waiting for anything. */

/* --- repair.c ------------------------------------------------------------------------------------- */

int on_start(struct raftcore *core, const struct raftcore_event *event);
bool is_floored(const struct raftcore *core);
bool is_whole(const struct raftcore *core);
/* Nothing at or above it can be read; RAFTCORE_INFINITY: no hole. */
uint64_t first_hole(const struct raftcore *core);
/* The same, of the holes that end above an index. */
uint64_t first_hole_above(const struct raftcore *core, uint64_t index);
bool repair_is_lost(const struct raftcore *core, uint64_t index);
/* Behind it this node votes for nobody who may lack what it has now. */
void repair_raise_floor(struct raftcore *core);
/* Holes that the snapshot covers go, and the log begins behind them. */
void repair_by_snapshot(struct raftcore *core);
void repair_time(struct raftcore *core);
void repair_log_changed(struct raftcore *core, uint64_t from); /* Entries from here on are gone. */
/* Where to take a message's entries from when it reaches into a hole; behind its last: nowhere (B12a). */
uint64_t repair_difference(struct raftcore *core, const struct raftcore_message *message);
void repair_covered(struct raftcore *core, uint64_t to); /* A snapshot stands for entries up to here. */
int on_hole_found(struct raftcore *core, const struct raftcore_event *event);
int on_spliced(struct raftcore *core, const struct raftcore_event *event);
int repair_loaded(struct raftcore *core, const struct raftcore_event *event);
int on_fetch(struct raftcore *core, const struct raftcore_message *message);
int on_fetch_answer(struct raftcore *core, const struct raftcore_message *message);

#endif
