/* segment_read.h - bytes of segment files: one open file, one window, whatever the number of segments.
 *
 * For segments.c and batches.c; commands read through segments.h. */

#ifndef TOOLS_SEGMENT_READ_H
#define TOOLS_SEGMENT_READ_H

#include "tools/segments.h"

/* What a read of one piece asks for at most, but for a record that a right checksum vouches for. */
enum { SEGMENT_WINDOW_BYTES = 1 << 20 };

/* Looks whether the file of this number is there and can be read, and learns its size. False: it is gone. A thing that
 * is no regular file, or does not open, has file->odd from then on, and no bytes. */
bool segment_look_for(struct segment_file *file);

/* One sector and no more, past the window: a log may have thousands of segments. NULL: more than the segment has. */
const uint8_t *segment_sector_at(struct segment_file *file, uint64_t offset, uint8_t sector[FORMAT_SECTOR_BYTES]);

/* The next block at or behind a multiple of block_bytes that may hold something: holes of a sparse file are passed
 * over. Behind the last one: UINT64_MAX, rounded down to a block. */
uint64_t segment_next_data(struct segment_file *file, uint64_t offset, uint32_t block_bytes);

/* The open file and the window are given back. */
void segment_leave(void);

#endif
