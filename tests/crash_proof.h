/* crash_proof.h - what the bytes left on a damaged disk can prove about what was acknowledged.
 *
 * May include: sim_disk.h. */

#ifndef TESTS_CRASH_PROOF_H
#define TESTS_CRASH_PROOF_H

#include "tests/sim_disk.h"

struct proof {
    uint64_t highest_mark;    /* Batches up to this one were durable once. */
    bool sealed_without_next; /* A segment is sealed, and the one behind it is missing. */
};

/* Looks at every block (of block_bytes) of every file. */
struct proof crash_look_for_proof(struct sim_disk *image, uint32_t block_bytes);

#endif
