/* zoo_promises.h - promises that no crash shows: bounds on memory, and one writer.
 *
 * May include: nothing of the project. */

#ifndef TESTS_ZOO_PROMISES_H
#define TESTS_ZOO_PROMISES_H

#include <stdbool.h>
#include <stddef.h>

/* True: both are kept. Else what says which is not. */
bool zoo_promises(char *what, size_t size);

#endif
