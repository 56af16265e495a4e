/* batches.h - the batches of a segment, found block by block, whatever is in it.
 *
 * Dead or alive: what of it counts is for chain.h to say. */

#ifndef TOOLS_BATCHES_H
#define TOOLS_BATCHES_H

#include "wal/format.h"

#include <stdbool.h>
#include <stdint.h>

struct segment_file;

/* One batch, as found. */
struct batch_look {
    uint64_t offset;
    struct format_head head;
    bool own;              /* Self-valid: of this segment and this place. Else: of an earlier life of the file. */
    uint64_t padded_bytes; /* In whole blocks. */
    uint32_t good_records; /* Records that verify, from the first on; all of them: head.record_count. */
    enum format_verdict record_verdict; /* Of the first that does not. */
    uint64_t bad_offset;                /* And where it is. */
    bool cut_short;                     /* The batch says that it is longer than the segment. */
};

/* The next place at or behind *offset, and before end_offset, where a batch head decodes; its records are checked.
 * False: there is none. *offset moves to it. */
bool batch_next(struct segment_file *file, uint32_t block_bytes, uint64_t *offset, uint64_t end_offset,
                struct batch_look *look);

/* Where to look on behind a batch: behind all of it when it is whole, else at the next block. */
uint64_t batch_behind(const struct batch_look *look, uint32_t block_bytes);

/* Record `ordinal` of a batch, its header at *offset of the file (0: the first one; it moves to the next). The payload
 * stays valid until the next read of any segment. */
enum format_verdict batch_record(struct segment_file *file, const struct batch_look *look, uint32_t ordinal,
                                 uint64_t *offset, struct format_record *record);

/* The same without the payload (record->payload is NULL): in a window of 1 MiB, however long the record says it is. */
enum format_verdict batch_record_check(struct segment_file *file, const struct batch_look *look, uint32_t ordinal,
                                       uint64_t *offset, struct format_record *record);

const char *batch_kind_text(uint8_t kind);

#endif
