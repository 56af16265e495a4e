/* format_fixture.h - one of each thing that stands on disk, for the tests of its format.
 *
 * May include: wal/format.h. */

#ifndef TESTS_FORMAT_FIXTURE_H
#define TESTS_FORMAT_FIXTURE_H

#include "wal/format.h"

#define SALT 0x0123456789abcdefu

enum { SEGMENT = 3, SECTOR = FORMAT_SECTOR_BYTES, RECORD_OFFSET = 8296, RECORD_INDEX = 1001, KINDS = 6 };

extern const enum batch_kind kinds[KINDS];

struct format_identity example_identity(void);
struct format_seal example_seal(void);
/* A batch of each kind; DATA has two records and metadata, TRUNCATE neither. */
struct format_head example_head(enum batch_kind kind);
struct format_record example_record(const void *payload, uint32_t length);

/* "hello, log", 40 bytes, as the record RECORD_INDEX at RECORD_OFFSET of SEGMENT. */
void encode_example_record(uint8_t *to);
enum format_verdict decode_example_record(const uint8_t *from, uint64_t available);

/* Puts the checksum of an identity or a seal right again; of a head, head_bytes as it stands there, as far as a sector
 * goes. */
void mend_sector(uint8_t *sector);
void mend_head(uint8_t *sector);

/* A number by chance, the same ones in every run. */
uint64_t draw(void);

#endif
