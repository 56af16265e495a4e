/* rehearse.h - a disk on which a log can be changed, and nothing of it reaches the disk below.
 *
 * So that what the library would make of a log can be seen before it does it. */

#ifndef TOOLS_REHEARSE_H
#define TOOLS_REHEARSE_H

#include "wal/io.h"

/* The log's directory as it is now; what is written, made, renamed or removed is kept in memory. No lock is taken or
 * asked for. 0 or a negative errno; *io_out is to be destroyed. */
int rehearsal_disk(const char *directory, struct wal_io **io_out);

#endif
