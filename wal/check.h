/* check.h - assertions that are always on.
 *
 * CHECK is for what only a bug of ours, or of the caller against a documented duty, can break; what the environment
 * can break is returned as an error. One condition each, so that the line says which.
 *
 * May include: nothing of the project. */

#ifndef WAL_CHECK_H
#define WAL_CHECK_H

#include <stdio.h>
#include <stdlib.h>

/* The only place in the library that prints: the program is about to stop. */
#define CHECK(condition)                                                                                    \
    do {                                                                                                    \
        if (__builtin_expect(!(condition), 0)) {                                                            \
            fprintf(stderr, "%s:%d: %s: broken invariant: %s\n", __FILE__, __LINE__, __func__, #condition); \
            abort();                                                                                        \
        }                                                                                                   \
    } while (0)

#endif
