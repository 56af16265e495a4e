/* storms.h - what goes wrong in the simulated cluster, and when. */

#ifndef TESTS_SIM_STORMS_H
#define TESTS_SIM_STORMS_H

#include "tests/sim/world.h"

struct storms;

/* A kind of weather is drawn from the world's seed. */
struct storms *storms_new(struct world *world);
void storms_free(struct storms *storms);
const char *storms_name(const struct storms *storms);
/* No more faults: all heals, all that are down start, lost nodes come back empty and are taken up again. */
void storms_end(struct storms *storms);

#endif
