/* chain.c - the segments in front of T: do they join, and how far does a readable prefix go when they do not.
 *
 * The happy path: an opening anchor names its predecessor, where that one's last batch stands and that batch's
 * checksum. Going down, each segment costs its identity, its opening anchor, one batch header and its seal; bodies are
 * not read.
 *
 * What can fail: a file that cannot be opened, memory: no verdict, and never taken for a loss. A segment is missing, is
 * another one, or does not end as its successor says: noted for rows Y3 and Y4, with the place. Then the segments from
 * the start on are walked whole, upwards, to the last that joins and reads: T itself, when only a file behind it is
 * wrong.
 *
 * Invariants: a segment is believed only through the checksum in the anchor behind it; a forced anchor may jump in
 * numbers, never in the chain, and what it jumped over never comes back; start, doubt and metadata are T's, whatever
 * prefix is found.
 *
 * May include: chain.h, bytes.h, zoo.h. */

#include "wal/chain.h"

#include "wal/bytes.h"
#include "wal/zoo.h"

/* Is the predecessor's last batch where, and what, the anchor behind it says? */
static bool joins(struct recovery *recovery, struct segment *predecessor, const struct format_head *anchor)
{
    const struct format_anchor *said = &anchor->body.anchor;
    struct format_head last;
    if (look_head(recovery, predecessor, said->predecessor_last_offset, &last) != FORMAT_OK) {
        recovery_note_place(recovery, predecessor->number, said->predecessor_last_offset, anchor->number - 1, 0,
                            "the last batch of the segment does not read");
        return false;
    }
    bool forced = (anchor->flags & BATCH_FORCED) != 0;
    uint64_t end_offset = said->predecessor_last_offset + format_batch_padded_bytes(&last, recovery->shape.block_bytes);
    bool right = last.checksum == anchor->chain && (forced || last.number + 1 == anchor->number) &&
                 end_offset == said->predecessor_end_offset;
    if (!right) {
        recovery_note_place(recovery, predecessor->number, said->predecessor_last_offset, anchor->number - 1,
                            last.number,
                            "the segment does not end as its successor says (expected and found are batch numbers)");
    }
    return right;
}

/* Looks at the segment in front of `anchor`. NULL in *out: it cannot be used, and recovery->seen says why. */
static int step_back(struct recovery *recovery, const struct format_head *anchor, struct segment **out,
                     struct format_head *out_anchor)
{
    *out = NULL;
    const struct format_anchor *said = &anchor->body.anchor;
    uint64_t number = said->predecessor_segment;
    struct segment *segment = number < anchor->segment ? table_find(recovery->table, number) : NULL;
    if (segment == NULL) {
        recovery->seen.segment_missing = true;
        recovery_note_place(recovery, number, 0, number, 0, "the segment is missing (expected is its number)");
        return 0;
    }
    struct format_identity identity;
    enum format_verdict verdict;
    int status = look_identity(recovery, segment, &identity, &verdict);
    if (status != 0) {
        return status;
    }
    if (verdict == FORMAT_NEWER || verdict == FORMAT_UNKNOWN_FEATURE) {
        return look_refuse_format(recovery, number, verdict, &identity);
    }
    if (verdict == FORMAT_OK && memcmp(identity.uuid, recovery->shape.uuid, FORMAT_UUID_BYTES) != 0) {
        return look_refuse_foreign(recovery, number, identity.uuid);
    }
    if (verdict == FORMAT_OK && identity.segment != number && !ZOO(segment_in_checksums)) {
        recovery->seen.segment_missing = true;
        recovery_note_place(recovery, number, 0, number, identity.segment,
                            "the file holds another segment (expected and found are segment numbers)");
        return 0;
    }
    recovery->spare_copies_damaged += verdict != FORMAT_OK;
    if (!look_opening_anchor(recovery, segment, out_anchor)) {
        recovery->seen.segment_missing = true;
        recovery_note_place(recovery, number, recovery->shape.block_bytes, 0, 0,
                            "the segment's opening anchor does not read");
        return 0;
    }
    if (memcmp(out_anchor->body.anchor.uuid, recovery->shape.uuid, FORMAT_UUID_BYTES) != 0) {
        return look_refuse_foreign(recovery, number, out_anchor->body.anchor.uuid);
    }
    if (!joins(recovery, segment, anchor) && !ZOO(predecessor_check)) {
        recovery->seen.does_not_join = true;
        return 0;
    }
    *out = segment;
    return 0;
}

/* What an anchor says of the segment in front of it. */
static void note_facts(struct segment *segment, const struct format_head *own_anchor,
                       const struct format_head *next_anchor)
{
    const struct format_anchor *said = &next_anchor->body.anchor;
    segment->state = SEGMENT_SEALED;
    segment->predecessor = own_anchor->body.anchor.predecessor_segment;
    segment->opening_index = own_anchor->first_index;
    segment->end_index = next_anchor->first_index;
    segment->low = said->low;
    segment->salt = own_anchor->salt;
    segment->last_number = next_anchor->number - 1;
    segment->last_checksum = next_anchor->chain;
    segment->last_offset = said->predecessor_last_offset;
    segment->end_offset = said->predecessor_end_offset;
}

/* The seal of a sealed segment is a spare copy of what the anchor behind it says. */
static void count_spare_seal(struct recovery *recovery, struct segment *segment)
{
    uint64_t seal_offset = segment_seal_offset(segment, recovery->shape.block_bytes);
    struct format_seal seal;
    bool reads = look_sector(recovery, segment, seal_offset) == 0 &&
                 format_seal_decode(recovery->scratch, &seal) == FORMAT_OK && seal.segment == segment->number;
    recovery->spare_copies_damaged += !reads;
}

int chain_walk_down(struct recovery *recovery)
{
    struct format_head anchor = recovery->opening_anchor;
    struct segment *upper = recovery->tail;
    while (upper->number > recovery->walk.start.segment) {
        struct segment *lower;
        struct format_head lower_anchor;
        int status = step_back(recovery, &anchor, &lower, &lower_anchor);
        if (status != 0 || lower == NULL) {
            return status;
        }
        note_facts(lower, &lower_anchor, &anchor);
        count_spare_seal(recovery, lower);
        segment_close_file(recovery->io, lower);
        upper = lower;
        anchor = lower_anchor;
    }
    if (upper->number != recovery->walk.start.segment) {
        recovery->seen.segment_missing = true;
        recovery_note_place(recovery, recovery->walk.start.segment, 0, recovery->walk.start.segment, upper->number,
                            "the start segment is not on the chain (expected and found are segment numbers)");
    }
    return 0;
}

/* Is this segment the next one behind the walk? Behind a forced anchor's predecessor there is a gap of dead ones. */
static bool goes_on(const struct recovery *recovery, const struct walk *previous, const struct format_head *anchor)
{
    return anchor->body.anchor.predecessor_segment == recovery->cut_segment->number &&
           anchor->chain == previous->chain && anchor->body.anchor.predecessor_end_offset == previous->offset;
}

/* Walks one segment whole; it becomes the end of the prefix. */
static int walk_segment(struct recovery *recovery, struct segment *segment, const struct format_head *anchor)
{
    struct walk walk;
    struct scan_stop stop;
    if (segment->map.entries == NULL && recovery_take_map(recovery, segment) != 0) {
        return WAL_ENOMEM;
    }
    segment->map.count = 0;
    window_look_at(recovery->window, segment->file, segment->bytes);
    walk_begin(&walk, anchor, segment->bytes, recovery->shape.block_bytes);
    int status = scan_run(recovery->window, &walk, &segment->map, &stop);
    window_look_at(recovery->window, recovery->tail->file, recovery->tail->bytes); /* No read is left in this file. */
    if (status != 0) {
        return status;
    }
    recovery_note_walk(segment, &walk, SEGMENT_SEALED);
    segment->predecessor = anchor->body.anchor.predecessor_segment;
    recovery->walk = walk;
    recovery->stop = stop;
    recovery->cut_segment = segment;
    recovery->acceptable = true;
    return 0;
}

/* The beginning of a segment: does it read? A file that is not there any more does not, nor does one that has another's
 * identity. One that cannot be looked at is a failure: for want of a descriptor nothing is lost. */
static int look_at_beginning(struct recovery *recovery, struct segment *segment, struct format_head *anchor,
                             bool *reads)
{
    struct format_identity identity;
    enum format_verdict verdict;
    int status = look_identity(recovery, segment, &identity, &verdict);
    bool swapped =
        status == 0 && verdict == FORMAT_OK && identity.segment != segment->number && !ZOO(segment_in_checksums);
    *reads = status == 0 && !swapped && look_opening_anchor(recovery, segment, anchor);
    if (status == 0 && (verdict == FORMAT_NEWER || verdict == FORMAT_UNKNOWN_FEATURE)) {
        return look_refuse_format(recovery, segment->number, verdict, &identity);
    }
    return status == WAL_ENOENT ? 0 : status;
}

/* What was looked at on the way is let go: there may be more segments than descriptors. */
static void let_go(struct recovery *recovery, struct segment *segment)
{
    if (segment != recovery->tail && segment != recovery->cut_segment) {
        segment_close_file(recovery->io, segment);
        segment_give_map(recovery->table, segment);
    }
}

/* How far back the segments behind the cut went: each anchor tells the low of its predecessor. Of a segment that no
 * anchor tells of, anything may be lost. */
static int note_lowest_behind_cut(struct recovery *recovery, const struct walk *newest)
{
    struct scan_evidence *evidence = &recovery->evidence;
    const struct segment *cut = recovery->cut_segment;
    uint64_t lowest = newest->low;
    uint64_t told_to = cut->number;
    bool untold = false;
    if (evidence->lowest_index != 0 && evidence->lowest_index < lowest) {
        lowest = evidence->lowest_index;
    }
    for (uint32_t i = 0; i < recovery->table->count; i++) {
        struct segment *segment = recovery->table->list[i];
        struct format_head anchor;
        if (segment->number <= cut->number || segment->number > recovery->tail->number) {
            continue;
        }
        bool reads;
        int status = look_at_beginning(recovery, segment, &anchor, &reads);
        let_go(recovery, segment);
        if (status != 0) {
            return status;
        }
        if (!reads) {
            untold = true;
            continue;
        }
        uint64_t predecessor = anchor.body.anchor.predecessor_segment;
        bool of_cut = predecessor == cut->number;
        untold = untold || predecessor > told_to + 1; /* Two missing files in a row. */
        if (anchor.first_index < lowest) {
            lowest = anchor.first_index;
        }
        /* The low of the cut segment is also that of what was read of it: news only when it is lower, or the end is. */
        bool news = !of_cut || anchor.body.anchor.low < cut->low || anchor.first_index < recovery->walk.next_index;
        if (news && anchor.body.anchor.low < lowest) {
            lowest = anchor.body.anchor.low;
        }
        told_to = segment->number;
    }
    evidence->lowest_index = lowest;
    evidence->truncation_lost = evidence->truncation_lost || untold;
    return 0;
}

/* Marks what an accepted loss has removed: the segments between a forced anchor and the predecessor that it names. They
 * join their neighbours below as well as ever, so nothing else keeps them from coming back. A dead segment's own forced
 * anchor removed nothing that is not dead with it. */
static int mark_dead(struct recovery *recovery, uint64_t start_segment)
{
    uint64_t live_to = UINT64_MAX;
    for (uint32_t i = recovery->table->count; i-- > 0;) {
        struct segment *segment = recovery->table->list[i];
        struct format_head anchor = recovery->opening_anchor;
        segment->dead = segment->number > live_to;
        if (segment->number > recovery->tail->number || segment->number < start_segment || segment->dead) {
            continue;
        }
        bool reads = true;
        if (segment != recovery->tail) {
            int status = look_at_beginning(recovery, segment, &anchor, &reads);
            let_go(recovery, segment);
            if (status != 0) {
                return status;
            }
        }
        if (reads && (anchor.flags & BATCH_FORCED) != 0 && anchor.body.anchor.predecessor_segment < segment->number) {
            live_to = anchor.body.anchor.predecessor_segment;
        }
    }
    return 0;
}

/* Adds the segment to the prefix if it goes on from there; one that does not is lost, and a later one may still name
 * the prefix's end. *over: there is no prefix, for it begins with the start segment. */
static int try_segment(struct recovery *recovery, struct segment *segment, const struct walk *newest, bool *over)
{
    struct format_head anchor;
    bool reads;
    int status = look_at_beginning(recovery, segment, &anchor, &reads);
    if (status != 0) {
        return status;
    }
    if (!recovery->acceptable && (!reads || segment->number != newest->start.segment)) {
        *over = true;
        return 0;
    }
    if (!reads || (recovery->acceptable && !goes_on(recovery, &recovery->walk, &anchor))) {
        return 0;
    }
    struct segment *before = recovery->cut_segment;
    status = walk_segment(recovery, segment, &anchor);
    let_go(recovery, before);
    return status;
}

/* T has been walked already. When the prefix reaches it, all that reads is kept: what is wrong is a file behind it. */
static bool reach_tail(struct recovery *recovery, const struct walk *newest, const struct scan_stop *newest_stop)
{
    struct segment *tail = recovery->tail;
    bool begins = !recovery->acceptable && tail->number == newest->start.segment;
    if (recovery->stranger == tail->number) {
        return false; /* It would be a stranger in the chain of every later segment. */
    }
    if (!begins && !(recovery->acceptable && goes_on(recovery, &recovery->walk, &recovery->opening_anchor))) {
        return false;
    }
    recovery->walk = *newest;
    recovery->stop = *newest_stop;
    recovery->cut_segment = tail;
    recovery->acceptable = true;
    return true;
}

int chain_walk_up(struct recovery *recovery)
{
    const struct walk newest = recovery->walk;
    const struct scan_stop newest_stop = recovery->stop;
    bool over = false;
    recovery->acceptable = false;
    int status = mark_dead(recovery, newest.start.segment);
    for (uint32_t i = 0; status == 0 && i < recovery->table->count && !over; i++) {
        struct segment *segment = recovery->table->list[i];
        if (segment->number < newest.start.segment || segment->number >= recovery->tail->number || segment->dead) {
            continue;
        }
        status = try_segment(recovery, segment, &newest, &over);
        let_go(recovery, segment);
    }
    bool whole = status == 0 && !over && reach_tail(recovery, &newest, &newest_stop);
    if (status == 0 && recovery->acceptable && !whole) {
        status = note_lowest_behind_cut(recovery, &newest);
    }
    if (status == 0 && recovery->acceptable) {
        /* Start, doubt and metadata never go back: what T says of them holds, whatever records are lost. */
        recovery->walk.start = newest.start;
        recovery->walk.doubt_index = newest.doubt_index;
        recovery->walk.metadata_bytes = newest.metadata_bytes;
        memcpy(recovery->walk.metadata, newest.metadata, sizeof(newest.metadata));
        recovery_note_hole(recovery, &recovery->walk, recovery->cut_segment->number, NULL);
    }
    return status;
}

/* Below the start the files are none of the log's. */
static void retire_below(struct recovery *recovery, uint64_t segment_number)
{
    for (uint32_t i = 0; i < recovery->table->count; i++) {
        struct segment *segment = recovery->table->list[i];
        if (segment->number < segment_number && segment->state == SEGMENT_SEALED) {
            segment->state = SEGMENT_RETIRED;
        }
    }
}

void chain_adopt_durable_start(struct recovery *recovery)
{
    const struct scan_evidence *evidence = &recovery->evidence;
    const struct later_start *later = &evidence->anchor_start;
    if (evidence->batch_start.number <= evidence->highest_mark &&
        evidence->batch_start.start.index > later->start.index) {
        later = &evidence->batch_start;
    }
    if (later->number != 0) {
        recovery->walk.start = later->start;
        retire_below(recovery, later->start.segment);
    }
}

int chain_walk_to_later_start(struct recovery *recovery)
{
    const struct recovery before = *recovery;
    const struct later_start *anchor = &recovery->evidence.anchor_start;
    const struct later_start *batch = &recovery->evidence.batch_start;
    const struct later_start later = batch->start.index > anchor->start.index ? *batch : *anchor;
    if (later.number == 0 || later.start.segment > recovery->tail->number) {
        return 0;
    }
    retire_below(recovery, recovery->tail->number);
    recovery->walk.start = later.start;
    recovery->seen.segment_missing = false;
    recovery->place_known = false;
    recovery->spare_copies_damaged = recovery->spare_copies_of_tail;
    int status = chain_walk_down(recovery);
    if (status == 0 && !recovery->seen.segment_missing && !recovery->seen.does_not_join) {
        /* What lay below was removed because that start was durable: so was all that the walk misses before it. */
        recovery->seen.mark_beyond = true;
        if (later.number > recovery->evidence.highest_mark) {
            recovery->evidence.highest_mark = later.number;
            recovery->evidence.mark_segment = later.segment;
            recovery->evidence.mark_offset = later.offset;
        }
        return 0;
    }
    recovery->walk.start = before.walk.start;
    recovery->seen = before.seen;
    recovery->place_known = before.place_known;
    recovery->spare_copies_damaged = before.spare_copies_damaged;
    memcpy(recovery->place, before.place, sizeof(before.place));
    recovery->place_segment = before.place_segment;
    recovery->place_offset = before.place_offset;
    recovery->place_expected = before.place_expected;
    recovery->place_found = before.place_found;
    return status;
}
