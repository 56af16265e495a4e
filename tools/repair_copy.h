/* repair_copy.h - the copy that is made before a cut: whole, synced, read back; or gone again. */

#ifndef TOOLS_REPAIR_COPY_H
#define TOOLS_REPAIR_COPY_H

#include "tools/segments.h"
#include "wal/wal.h"

struct repair_copy {
    char path[4096]; /* Where it is, as it was named. */
    int fd;          /* Of that directory; -1: there is none. */
    bool is_new;     /* The directory was made for it. */
    uint64_t *numbers;
    unsigned count; /* Segments in it, the last one perhaps not whole. */
};

/* Copies what the cut that `seen` asks for may take, into backup (NULL: beside the log), which must be a new or an
 * empty directory outside of the log. 0, and the caller closes it; or an exit code, said why on stderr, and what was
 * copied is removed again, or named when that fails. Ends so when the user interrupts. */
int repair_copy_make(struct repair_copy *copy, const char *directory, const char *backup, struct segments *segments,
                     const struct wal_verdict *seen);

/* Takes it away: nothing was cut after all. */
void repair_copy_remove(struct repair_copy *copy);
void repair_copy_close(struct repair_copy *copy);

#endif
