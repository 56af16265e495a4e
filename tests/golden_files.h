/* golden_files.h - the golden logs in memory, for fuzzers that change them. */

#ifndef TESTS_GOLDEN_FILES_H
#define TESTS_GOLDEN_FILES_H

#include <stddef.h>
#include <stdint.h>

enum { GOLDEN_FILES_MAX = 12, GOLDEN_FILE_BYTES = 8192, GOLDEN_LOGS = 5 };

struct golden_files {
    unsigned count;
    char names[GOLDEN_FILES_MAX][32];
    uint8_t bytes[GOLDEN_FILES_MAX][GOLDEN_FILE_BYTES];
};

/* One of the GOLDEN_LOGS, loaded when it is first asked for. */
const struct golden_files *golden_load(unsigned which);

/* The golden log with changes, valid until the next call. Four bytes each: file, offset (two), value. With mend,
 * checksums of heads, identities and seals are put right, so that forged fields get through. */
const struct golden_files *golden_change(unsigned which, const uint8_t *changes, size_t size, int mend);

#endif
