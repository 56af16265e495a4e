/* fuzz_raft.c - any bytes into the codec, and any messages into a core.
 *
 * Byte 0 chooses. A message that decodes encodes to the same bytes. A core that gets whatever messages, from whomever,
 * breaks no invariant of its own and never aborts: what makes no sense is refused, and who breaks the protocol is
 * quarantined. */

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "raftcore/codec.h"
#include "raftcore/raftcore.h"
#include "tests/fuzz.h"
#include "wal/bytes.h"
#include "wal/check.h"

#include <stdlib.h>

enum { ENTRIES = 64 };

static void fuzz_configuration(const uint8_t *bytes, size_t size)
{
    struct raftcore_configuration configuration;
    uint8_t again[CODEC_CONFIGURATION_BYTES_MAX];
    if (codec_decode_configuration(bytes, size, &configuration)) {
        CHECK(codec_configuration_bytes(&configuration) == size);
        codec_encode_configuration(&configuration, again);
        CHECK(memcmp(again, bytes, size) == 0);
    }
}

static void fuzz_message(uint8_t *bytes, size_t size, bool mend)
{
    struct raftcore_message message;
    struct raftcore_entry entries[ENTRIES];
    struct raftcore_configuration configuration;
    if (mend && size >= CODEC_HEADER_BYTES) {
        store_u32_le(bytes + 8, (uint32_t)size);
        store_u16_le(bytes + 12, CODEC_VERSION);
        codec_seal(bytes, size);
    }
    if (codec_decode_message(bytes, size, &message, entries, ENTRIES, &configuration) == 0) {
        CHECK(codec_message_bytes(&message) == size);
        uint8_t *again = malloc(size);
        CHECK(again != NULL);
        (void)codec_encode_message(&message, again);
        CHECK(memcmp(again, bytes, size) == 0);
        free(again);
    }
}

/* --- a core --------------------------------------------------------------------------------------- */

struct input {
    const uint8_t *bytes;
    size_t left;
};

static uint8_t take(struct input *input)
{
    if (input->left == 0) {
        return 0;
    }
    input->left--;
    return *input->bytes++;
}

/* Mostly small, now and then anything. */
static uint64_t number(struct input *input)
{
    uint8_t byte = take(input);
    if (byte < 240) {
        return byte % 16;
    }
    uint64_t wide = 0;
    for (unsigned i = 0; i < 8; i++) {
        wide = wide << 8 | take(input);
    }
    return wide;
}

static void receive(struct raftcore *core, struct input *input, uint64_t now_ns)
{
    static const uint8_t payload[64];
    struct raftcore_configuration configuration = {.count = take(input) % 4};
    struct raftcore_entry entries[4];
    const struct raftcore_output *output;
    for (uint32_t i = 0; i < configuration.count; i++) {
        configuration.members[i] = (struct raftcore_member){.id = number(input), .flags = take(input) % 32};
    }
    struct raftcore_message message = {.kind = (uint16_t)(take(input) % (RAFTCORE_MESSAGE_KINDS + 1)),
                                       .flags = take(input) % 32,
                                       .reason = take(input) % RAFTCORE_REASONS,
                                       .from = 1 + take(input) % 4,
                                       .to = 1,
                                       .log_id = take(input) % 4,
                                       .session = take(input) % 3,
                                       .to_session = take(input) % 8 == 0 ? 5 : 7,
                                       .term = number(input),
                                       .stream = number(input),
                                       .index = number(input),
                                       .log_term = number(input),
                                       .commit = number(input),
                                       .hint_index = number(input),
                                       .hint_term = number(input),
                                       .round = number(input),
                                       .context = number(input),
                                       .credit = number(input),
                                       .snapshot_id = number(input),
                                       .snapshot_bytes = number(input),
                                       .offset = number(input),
                                       .configuration = take(input) % 2 == 0 ? &configuration : NULL,
                                       .piece = payload,
                                       .piece_bytes = take(input) % 64,
                                       .entries = entries,
                                       .entry_count = take(input) % 5};
    for (uint32_t i = 0; i < message.entry_count; i++) {
        entries[i] = (struct raftcore_entry){
            .term = number(input), .data = payload, .size = take(input) % 64, .type = take(input) % 4};
    }
    struct raftcore_event event = {.kind = RAFTCORE_RECEIVE, .now_ns = now_ns, .receive = &message};
    (void)raftcore_step(core, &event, &output);
}

static void fuzz_core(struct input *input)
{
    struct raftcore_options options = {.size = sizeof(options), .id = 1, .log_id = 1, .check_everything = true};
    struct raftcore *core;
    const struct raftcore_output *output;
    CHECK(raftcore_new(&core, &options) == 0);
    struct raftcore_start start = {.session = 7,
                                   .hard_state = {.term_limit = 1024},
                                   .first_index = 1,
                                   .configuration = {.count = 3,
                                                     .members = {{.id = 1, .flags = RAFTCORE_VOTER},
                                                                 {.id = 2, .flags = RAFTCORE_VOTER},
                                                                 {.id = 3, .flags = RAFTCORE_VOTER}}}};
    struct raftcore_event event = {.kind = RAFTCORE_START, .now_ns = 1, .start = &start};
    uint64_t now_ns = 1, sequence = 0;
    CHECK(raftcore_step(core, &event, &output) == 0);
    while (input->left > 0 && raftcore_broken(core) == NULL) {
        struct raftcore_status status;
        raftcore_status(core, &status);
        sequence = status.last_sequence;
        switch (take(input) % 6) {
        case 0:
        case 1:
        case 2:
            receive(core, input, now_ns);
            break;
        case 3:
            event = (struct raftcore_event){.kind = RAFTCORE_PERSISTED, .now_ns = now_ns};
            event.persisted.sequence = event.persisted.covered = sequence;
            (void)raftcore_step(core, &event, &output);
            break;
        case 4:
            now_ns += take(input) * 20000000ULL;
            event = (struct raftcore_event){.kind = RAFTCORE_TIME, .now_ns = now_ns};
            (void)raftcore_step(core, &event, &output);
            break;
        default: { /* The caller's events, with whatever is in them. */
            event = (struct raftcore_event){.kind = RAFTCORE_APPLIED, .now_ns = now_ns};
            uint8_t which = take(input);
            event.kind = which % 3 == 0 ? RAFTCORE_APPLIED : which % 3 == 1 ? RAFTCORE_CAMPAIGN : RAFTCORE_READ;
            event.applied.index = which % 3 == 0 ? status.applied + which % 4 : 0;
            (void)raftcore_step(core, &event, &output);
        }
        }
    }
    if (raftcore_broken(core) != NULL) {
        fprintf(stderr, "%s\n", raftcore_broken(core));
        abort();
    }
    raftcore_free(core);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    uint8_t *copy = malloc(size);
    CHECK(copy != NULL);
    memcpy(copy, data + 1, size - 1);
    struct input input = {.bytes = copy, .left = size - 1};
    switch (data[0] % 4) {
    case 0:
        fuzz_configuration(copy, size - 1);
        break;
    case 1:
        fuzz_message(copy, size - 1, (data[0] & 0x80) != 0);
        break;
    default:
        fuzz_core(&input);
    }
    free(copy);
    return 0;
}
