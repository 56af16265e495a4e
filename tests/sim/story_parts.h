/* story_parts.h - the moves that stories are made of: time passes, a value is proposed, a node is cut off. */

#ifndef TESTS_SIM_STORY_PARTS_H
#define TESTS_SIM_STORY_PARTS_H

#include "tests/sim/world.h"

/* A world whose nodes are started. */
struct world *story_begin(const struct world_options *options);
/* Frees it. NULL: all held; else what did not, valid until the next story ends. */
const char *story_end(struct world *world);

void story_pass(struct world *world, uint64_t ns);
/* A command of this value, which is its number as well, and of so many more bytes; nothing, if the node is down. */
void story_propose(struct world *world, unsigned id, uint64_t value, uint32_t more_bytes);
/* From all others, and those from it. */
void story_isolate(struct world *world, unsigned id, bool isolated);
/* Another than this one leads; looked at every so often, for 10 s. 0: nobody does. */
unsigned story_wait_for_leader(struct world *world, unsigned not_this, uint64_t every_ns);
/* Whoever leads offers this one his office until it has it. False: it never has. */
bool story_hand_over(struct world *world, unsigned to);
/* Of what its state machine holds, now. False: it would not. */
bool story_take_snapshot(struct world *world, unsigned id);
/* All zero: it is down. Valid until the next call. */
const struct raftcore_status *story_status(struct world *world, unsigned id);
/* Faults end, who is down starts, a few more values are proposed; then all must have applied all. */
void story_come_together(struct world *world, uint64_t next_value);

#endif
