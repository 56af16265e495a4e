/* peer_plain.c - the log that people write by hand: one file that grows, a lock, a write at its end, a sync.
 *
 * The happy path: create the file and make its name durable; each operation takes the lock, writes its records at the
 * end with one pwrite, calls fdatasync, gives the lock back. No headers, no checksums, no group commit: callers wait
 * for each other's syncs in turn.
 *
 * What can fail: the file, the write (a full disk, a limit), the sync. Any of them ends the program: after a failed
 * sync nothing is known about what was written.
 *
 * Invariants: end_offset is the end of what is durable whenever the lock is free. */

#define _GNU_SOURCE
#include "bench/peers/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

struct plain {
    int file;
    pthread_mutex_t lock;
    off_t end_offset;
    const unsigned char *payload;
    size_t payload_bytes;
};

static void append(void *peer, unsigned caller)
{
    struct plain *plain = peer;
    (void)caller;
    pthread_mutex_lock(&plain->lock);
    for (size_t done = 0; done < plain->payload_bytes;) {
        ssize_t wrote =
            pwrite(plain->file, plain->payload + done, plain->payload_bytes - done, plain->end_offset + (off_t)done);
        if (wrote < 0 && errno != EINTR)
            peer_failed_errno("pwrite", errno);
        done += wrote > 0 ? (size_t)wrote : 0;
    }
    if (fdatasync(plain->file) != 0)
        peer_failed_errno("fdatasync", errno);
    plain->end_offset += (off_t)plain->payload_bytes;
    pthread_mutex_unlock(&plain->lock);
}

/* A file whose name outlives a crash. */
static int create(const struct peer_options *options)
{
    char *path = peer_path(options, "log");
    int directory = open(options->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0)
        peer_failed_errno(options->directory, errno);
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file < 0)
        peer_failed_errno(path, errno);
    if (fsync(file) != 0 || fsync(directory) != 0)
        peer_failed_errno("fsync", errno);
    close(directory);
    free(path);
    return file;
}

int main(int argc, char *argv[])
{
    static struct peer_window window;
    struct peer_options options;
    struct utsname system;
    char version[sizeof(system.sysname) + sizeof(system.release)];
    peer_begin(argc, argv, &options);
    unsigned char *payload = peer_payload(&options);
    struct plain plain = {.file = create(&options),
                          .lock = PTHREAD_MUTEX_INITIALIZER,
                          .payload = payload,
                          .payload_bytes = options.size_bytes * options.batch};
    peer_run_threads(&options, append, &plain, &window);
    if (close(plain.file) != 0)
        peer_failed_errno("close", errno);
    if (uname(&system) != 0)
        peer_failed_errno("uname", errno);
    snprintf(version, sizeof(version), "%s %s", system.sysname, system.release);
    peer_answer(&options, &(struct peer_name){"plain", version, "pwrite and fdatasync, a lock"}, &window);
    free(payload);
    return 0;
}
