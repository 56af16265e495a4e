/* thread.c - the library's own threads, and what is the same for all of them.
 *
 * The happy path: the signals are blocked while the thread is made, which inherits that, and are as they were behind
 * it.
 *
 * What can fail: the system has no thread to give; nothing is left. A name that is not taken is no failure.
 *
 * Invariants: the caller's signals are as they were.
 *
 * May include: thread.h. */

#define _GNU_SOURCE
#include "wal/thread.h"

#include <signal.h>

int thread_start(pthread_t *thread, const char *name, void *(*run)(void *context), void *context)
{
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int result = pthread_create(thread, NULL, run, context);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (result == 0) {
        (void)pthread_setname_np(*thread, name);
    }
    return -result;
}
