/* scarce.h - memory that runs out when a test wants it to, and that counts what was not given back. */

#ifndef TESTS_RAFT_SCARCE_H
#define TESTS_RAFT_SCARCE_H

#include "raftcore/raftcore.h"

struct scarce {
    uint64_t asked;                     /* Requests for more, so far. */
    uint64_t refused;                   /* Of these. */
    uint64_t bytes;                     /* Held. */
    uint64_t refuse_from, refuse_until; /* Requests [from, until) are refused; the first is 1. */
    uint64_t one_in;                    /* Of so many one is refused, drawn by chance; 0: none. */
    uint64_t random;
};

/* Of raftcore_options; scarce stays where it is. */
struct raftcore_allocator scarce_allocator(struct scarce *scarce);

#endif
