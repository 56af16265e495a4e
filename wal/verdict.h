/* verdict.h - the recovery table: observations, one row, one decision. Pure.
 *
 * May include: wal.h. */

#ifndef WAL_VERDICT_H
#define WAL_VERDICT_H

#include "wal/wal.h"

/* What recovery saw. Each is a question that the bytes answer; several may be true at once. */
struct observation {
    bool no_log;              /* Y1: not a log, another's, newer, locked: an error before any judgement. */
    bool no_beginning;        /* Y2 */
    bool segment_missing;     /* Y3 */
    bool does_not_join;       /* Y4 */
    bool newest_missing;      /* Y5 */
    bool mark_beyond;         /* Y6: E >= c */
    bool known_beyond;        /* Y7 */
    bool wrongly_written;     /* Y8 */
    bool unreadable_or_proof; /* Y9 */
    bool covered_and_quiet;   /* Y10 */
};

enum verdict_row {
    ROW_NONE = 0,
    ROW_Y1,
    ROW_Y2,
    ROW_Y3,
    ROW_Y4,
    ROW_Y5,
    ROW_Y6,
    ROW_Y7,
    ROW_Y8,
    ROW_Y9,
    ROW_Y10,
    ROW_Y11
};

/* The first row that holds; always exactly one. */
enum verdict_row verdict_row(const struct observation *seen);

/* The verdict that a row gives. */
enum wal_verdict_kind verdict_kind(enum verdict_row row);

/* A few words: what the row means. */
const char *verdict_story(enum verdict_row row);

/* The result of an open that stops at this verdict. */
int verdict_status(enum wal_verdict_kind kind);

#endif
