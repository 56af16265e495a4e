/* verdict.c - the recovery table.
 *
 * The order of the rows is the whole logic: errors first, then proofs of damage, then what may be damage, then what is
 * certainly not, and last everything else, which is a tear. The rows are exclusive because the first that holds is
 * taken, and exhaustive because the last asks nothing; a test goes through all 1,024 combinations.
 *
 * The happy path is Y10 and Y11: a correct writer cannot reach any other row by crashing.
 *
 * Invariants: every observation has one row, every row one verdict and one story.
 *
 * What can fail: nothing.
 *
 * May include: verdict.h, check.h. */

#include "wal/verdict.h"

#include "wal/check.h"

enum verdict_row verdict_row(const struct observation *seen)
{
    const bool holds[] = {
        [ROW_Y1] = seen->no_log,
        [ROW_Y2] = seen->no_beginning,
        [ROW_Y3] = seen->segment_missing,
        [ROW_Y4] = seen->does_not_join,
        [ROW_Y5] = seen->newest_missing,
        [ROW_Y6] = seen->mark_beyond,
        [ROW_Y7] = seen->known_beyond,
        [ROW_Y8] = seen->wrongly_written,
        [ROW_Y9] = seen->unreadable_or_proof,
        [ROW_Y10] = seen->covered_and_quiet,
        [ROW_Y11] = true,
    };
    enum verdict_row row = ROW_Y1;
    while (!holds[row]) {
        row++;
    }
    return row;
}

enum wal_verdict_kind verdict_kind(enum verdict_row row)
{
    switch (row) {
    case ROW_NONE:
    case ROW_Y1:
        return WAL_VERDICT_NONE;
    case ROW_Y9:
        return WAL_VERDICT_UNCERTAIN;
    case ROW_Y10:
        return WAL_VERDICT_CLEAN;
    case ROW_Y11:
        return WAL_VERDICT_TORN;
    case ROW_Y2:
    case ROW_Y3:
    case ROW_Y4:
    case ROW_Y5:
    case ROW_Y6:
    case ROW_Y7:
    case ROW_Y8:
        return WAL_VERDICT_CORRUPT;
    }
    CHECK(false);
    return WAL_VERDICT_NONE;
}

const char *verdict_story(enum verdict_row row)
{
    static const char *const stories[] = {
        [ROW_NONE] = "no judgement was reached",
        [ROW_Y1] = "not a log that can be opened here",
        [ROW_Y2] = "no segment has a readable beginning",
        [ROW_Y3] = "a segment is missing, or was swapped for another",
        [ROW_Y4] = "two segments do not join",
        [ROW_Y5] = "the newest segment is missing",
        [ROW_Y6] = "batches that were durable do not read",
        [ROW_Y7] = "the log ends before an index that the caller knows was durable",
        [ROW_Y8] = "a batch was written that does not belong where it stands",
        [ROW_Y9] = "the end of the log is damaged or unreadable, and may have held acknowledged records",
        [ROW_Y10] = "everything written was read",
        [ROW_Y11] = "the last batch in flight was cut by a crash",
    };
    return stories[row];
}

int verdict_status(enum wal_verdict_kind kind)
{
    switch (kind) {
    case WAL_VERDICT_UNCERTAIN:
        return WAL_EUNCERTAIN;
    case WAL_VERDICT_CORRUPT:
        return WAL_ECORRUPT;
    case WAL_VERDICT_NONE:
    case WAL_VERDICT_CLEAN:
    case WAL_VERDICT_TORN:
        break;
    }
    return 0;
}
