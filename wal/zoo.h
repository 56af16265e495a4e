/* zoo.h - what the tests may switch inside the library; in any other build all of it is the constant 0, or nothing.
 *
 * ZOO(name)    with -DWAL_ZOO: true when the seeded bug of that name was chosen (wal_zoo = ZOO_name). Each stands where
 * a rule of FORMAT.md or DESIGN is kept, and breaks that rule; tests must catch each one. POINT(name)  with
 * -DWAL_POINTS: calls wal_point("name"), where a test kills the process.
 *
 * May include: nothing of the project. */

#ifndef WAL_ZOO_H
#define WAL_ZOO_H

/* name, the rule that it breaks, in words */
#define ZOO_LIST(X)                                                                                     \
    X(anchor_at_open, "a reopened log goes on without an anchor, under the old salt")                   \
    X(fresh_salt, "the anchor at open keeps the salt of the run before")                                \
    X(fresh_salt_and_chain, "old salt, and the chain is not checked")                                   \
    X(salt_in_record_seed, "record checksums are not seeded with the salt")                             \
    X(index_in_record_seed, "record checksums are not seeded with the index")                           \
    X(place_in_record_seed, "record checksums are not seeded with the place")                           \
    X(segment_in_checksums, "segment numbers are not checked: a recycled file's old batches pass")      \
    X(flush_before_believing, "open reads without flushing first")                                      \
    X(directory_flush_at_open, "open does not sync the directory before it believes names")             \
    X(mark_leads, "the mark is number - 1, not the highest durable one")                                \
    X(mark_is_an_index, "the mark is a record index")                                                   \
    X(acknowledged_out_of_order, "a completed batch counts before the ones in front of it")             \
    X(acknowledged_before_completion, "a batch counts as durable when it is submitted")                 \
    X(write_not_synced, "batches are written without being made durable")                               \
    X(roll_barrier, "the anchor of the next segment is submitted while the old one is in flight")       \
    X(seal_not_synced, "the seal is not awaited before the next segment is used")                       \
    X(anchor_not_awaited, "the first batch of a segment is submitted while its anchor is in flight")    \
    X(directory_sync_after_create, "a new segment's name is not synced")                                \
    X(directory_sync_after_rename, "a recycled segment's new name is not synced")                       \
    X(identity_not_synced, "a new segment's content is not synced before it is named")                  \
    X(start_before_recycling, "segments are recycled before the start batch is durable")                \
    X(metadata_carried, "the anchor does not carry the metadata in force")                              \
    X(start_carried, "the anchor does not carry the start")                                             \
    X(idle_mark_in_order, "the idle mark is not awaited before what follows")                           \
    X(batch_all_or_nothing, "the valid records of a torn batch are kept")                               \
    X(truncation_apart, "a truncation is a batch of its own in front of the records that came with it") \
    X(poison_forgotten, "a failed write leaves the handle usable, the place is used again")             \
    X(dead_owner_awaited, "open does not take the lock of the files being written")                     \
    X(any_later_header_is_proof, "any header behind the end counts as proof of damage")                 \
    X(low_truncation_refused, "a truncation below the segment's first index is refused at recovery")    \
    X(forced_anchor_jumps, "a forced anchor goes on with the next number")                              \
    X(evidence_scan, "nothing is looked for behind the end")                                            \
    X(look_behind_close, "nothing is looked for behind a CLOSE")                                        \
    X(seal, "no seal is written or looked for")                                                         \
    X(predecessor_check, "the anchor's predecessor is not checked")                                     \
    X(recycle_without_salt, "a segment taken into use keeps the salt of the run before")                \
    X(tail_cut_not_durable, "the anchor at open is not durable before open returns")                    \
    X(doubt_forgotten, "an accepted cut leaves no doubt in the log")                                    \
    X(second_read, "the doubtful place is not read a second time")                                      \
    X(zero_window, "the window behind the cut is not zeroed, but said to be")                           \
    X(reads_unverified, "a read does not check the record's checksum")                                  \
    X(reserve_spent, "data may use the last ready segment")                                             \
    X(batch_number_checked, "the walk does not check batch numbers")                                    \
    X(maps_kept, "maps of segments that were read are kept beyond segments_mapped_max")                 \
    X(directory_not_locked, "a writer does not take the directory's lock")

enum zoo_bug {
    ZOO_NONE = 0,
#define ZOO_ENUM(name, text) ZOO_##name,
    ZOO_LIST(ZOO_ENUM)
#undef ZOO_ENUM
        ZOO_COUNT
};

#ifdef WAL_ZOO
extern int wal_zoo; /* Defined by the test program. */
#define ZOO(bug) (wal_zoo == ZOO_##bug)
#else
#define ZOO(bug) 0
#endif

#ifdef WAL_POINTS
void wal_point(const char *name); /* Defined by the test program. */
#define POINT(name) wal_point(#name)
#else
#define POINT(name) ((void)0)
#endif

#endif
