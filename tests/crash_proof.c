/* crash_proof.c - what the bytes left on a damaged disk can prove about what was acknowledged.
 *
 * The happy path: every block of every file is looked at, in no order; a head or a seal that stands where it says that
 * it stands carries a mark, and the highest one counts. A recovery that passes off less than this proves as the end of
 * the log has lied, and could have known.
 *
 * What can fail: nothing. What does not decode proves nothing.
 *
 * Invariants: this is not how recovery looks (it follows the chain), so that neither repeats the other's mistakes.
 *
 * May include: crash_proof.h. */

#include "tests/crash_proof.h"

#include "wal/format.h"

struct proof crash_look_for_proof(struct sim_disk *image, uint32_t block_bytes)
{
    struct proof proof = {0};
    uint64_t sealed = 0;
    uint64_t highest_file = 0;
    for (unsigned file = 0; file < sim_disk_file_count(image); file++) {
        uint64_t bytes;
        const uint8_t *content = sim_disk_file_bytes(image, file, &bytes);
        uint64_t segment = format_segment_of_name(sim_disk_file_name(image, file));
        highest_file = segment > highest_file ? segment : highest_file;
        for (uint64_t offset = block_bytes; segment != 0 && offset + block_bytes <= bytes; offset += block_bytes) {
            struct format_head head;
            struct format_seal seal;
            uint64_t mark = 0;
            if (format_head_decode(content + offset, block_bytes, &head) == FORMAT_OK &&
                format_head_is_self_valid(&head, segment, offset / block_bytes)) {
                mark = head.mark;
            } else if (format_seal_decode(content + offset, &seal) == FORMAT_OK && seal.segment == segment &&
                       seal.own_offset == offset) {
                mark = seal.last_number;
                sealed = segment > sealed ? segment : sealed;
            }
            proof.highest_mark = mark > proof.highest_mark ? mark : proof.highest_mark;
        }
    }
    proof.sealed_without_next = sealed != 0 && highest_file <= sealed;
    return proof;
}
