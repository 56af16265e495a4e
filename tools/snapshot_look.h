/* snapshot_look.h - is this file a snapshot, and does every byte of it read? */

#ifndef TOOLS_SNAPSHOT_LOOK_H
#define TOOLS_SNAPSHOT_LOOK_H

#include "raftcore/snapshot_file.h"

#include <stdbool.h>
#include <stdint.h>

/* By what is in it, whatever its name is. */
enum snapshot_content {
    SNAPSHOT_WHOLE,
    SNAPSHOT_DAMAGED,
    SNAPSHOT_NONE,       /* Neither place of a header holds one. */
    SNAPSHOT_NEWER,      /* Of a newer version of the format. */
    SNAPSHOT_UNREADABLE, /* The disk did not give some of it; or the file did not open. */
    SNAPSHOT_CUT_SHORT   /* The look was interrupted. */
};

struct snapshot_look {
    enum snapshot_content content;
    bool has_header; /* A header reads: */
    struct snapshot_header header;
    bool first_reads, second_reads; /* Which of them. */
    uint64_t bytes;                 /* Of the file. */
    bool table_checked, table_reads;
    uint64_t chunks_checked; /* From the first on; those before a damaged one read. */
    bool chunk_is_damaged;   /* Number chunks_checked. */
    bool has_offset;         /* Something is wrong; the lowest place: */
    uint64_t offset;
    bool gone; /* There is no such file (any more). */
    char text[640];
};

/* How far a look at several files has come, for the line that tells it. */
struct snapshot_span {
    uint64_t done_bytes, total_bytes;
};

/* Reads all of the file `name` in directory_fd; from the disk itself, or `cached`. */
void snapshot_look(int directory_fd, const char *name, bool cached, const struct snapshot_span *span,
                   struct snapshot_look *look);

#endif
