/* thread.h - the library's own threads, and what is the same for all of them.
 *
 * May include: nothing of the project. */

#ifndef WAL_THREAD_H
#define WAL_THREAD_H

#include <pthread.h>

/* Starts a thread that has this name and blocks all signals: they are the program's, and none of its handlers may run
 * in a thread that it does not know of. 0, or a negative errno value; then *thread is not to be used. */
int thread_start(pthread_t *thread, const char *name, void *(*run)(void *context), void *context);

#endif
