/* clients.h - those for whom the cluster is there: they write and read, and remember what they were told. */

#ifndef TESTS_SIM_CLIENTS_H
#define TESTS_SIM_CLIENTS_H

#include "tests/sim/history.h"
#include "tests/sim/world.h"

struct clients;

struct clients *clients_new(struct world *world, unsigned count, uint64_t pause_ns);
void clients_free(struct clients *clients);

/* Nothing new is asked for from now on. */
void clients_stop(struct clients *clients);
void clients_go_on(struct clients *clients);
bool clients_are_idle(const struct clients *clients);
uint64_t clients_done(const struct clients *clients); /* Operations that returned. */
/* NULL, or why what they were told cannot have been. */
const char *clients_check(struct clients *clients, bool *gave_up);
uint64_t clients_operations(const struct clients *clients);

#endif
