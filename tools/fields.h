/* fields.h - every field of the format, as a table: what hex and explain name, and what format prints. */

#ifndef TOOLS_FIELDS_H
#define TOOLS_FIELDS_H

#include <stdint.h>

enum field_look { FIELD_NUMBER, FIELD_HEX, FIELD_TEXT, FIELD_BYTES, FIELD_KIND, FIELD_FLAGS };

struct field {
    const char *name;
    uint16_t offset; /* From the start of its structure. */
    uint16_t size;
    enum field_look look;
    const char *about;
};

struct structure {
    const char *name;
    const char *place;
    const struct field *fields;
    unsigned count;
};

enum structure_id {
    STRUCTURE_IDENTITY,
    STRUCTURE_SEAL,
    STRUCTURE_HEAD,
    STRUCTURE_TAGS,
    STRUCTURE_START,
    STRUCTURE_ANCHOR,
    STRUCTURE_RECORD,
    STRUCTURES
};

extern const struct structure structures[STRUCTURES];

/* Little-endian, of 1 to 8 bytes. */
uint64_t field_value(const uint8_t *structure, const struct field *field);

#endif
