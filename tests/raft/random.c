/* random.c - the core alone under every fault there is, many seeds.
 *
 *   raft_random [--seeds A..B] [--trace]
 *
 * Exit code 0: all held; 1: one did not, and the line behind its failure replays it; 2: usage. */

#include "tests/raft/nemesis.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static double now_seconds(void)
{
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(int count, char **arguments)
{
    uint64_t first = 1, last = 200, failed = 0;
    bool trace = false;
    for (int i = 1; i < count; i++) {
        if (strcmp(arguments[i], "--trace") == 0) {
            trace = true;
        } else if (strcmp(arguments[i], "--seeds") == 0 && i + 1 < count &&
                   sscanf(arguments[i + 1], "%" SCNu64 "..%" SCNu64, &first, &last) == 2) {
            i++;
        } else {
            fprintf(stderr, "usage: raft_random [--seeds A..B] [--trace]\n");
            return 2;
        }
    }
    double began = now_seconds();
    struct nemesis_result result = {0};
    for (uint64_t seed = first; seed <= last; seed++) {
        if (!nemesis_run(seed, trace, &result)) {
            failed++;
            printf("seed %" PRIu64 ": %s\nreplay: raft_random --seeds %" PRIu64 "..%" PRIu64 " --trace\n", seed,
                   result.failure, seed, seed);
        }
    }
    printf("result: raft_random: seeds %" PRIu64 "..%" PRIu64 ": %" PRIu64 " failed, %" PRIu64
           " blocked by an entry that no other member holds; %" PRIu64 " steps, %" PRIu64 " entries committed, %" PRIu64
           " reads answered, %.0f steps a second\n",
           first, last, failed, result.blocked, result.steps, result.committed, result.reads,
           (double)result.steps / (now_seconds() - began));
    return failed == 0 ? 0 : 1;
}
