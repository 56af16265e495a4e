/* crash_damage.c - what ends a script of crash_traces.c: damage to what is durable, and to what is being read.
 *
 * The happy path: the disk is copied with all that is on it, each sector of the copy is changed in each way in turn
 * (zeros, garbage, one bit, the bytes of another sector), or a file vanishes, or a head is forged under a right
 * checksum; the log is opened, or read where it is open already, and what it says is classified: reported      open
 * refuses, or a read fails harmless      everything acknowledged is there irreducible   acknowledged data is gone, and
 * nothing left on the disk proves that it was there
 *
 * What can fail: anything else, told with the damage that did it: data that nobody wrote, a state that the log never
 * had, acknowledged data gone silently while something proves it (crash_proof.h).
 *
 * Invariants: every damage is made to a copy, or undone; all are tried, in the order of files, offsets and kinds.
 *
 * May include: crash_life.h, crash_proof.h. */

#define _GNU_SOURCE
#include "tests/crash_life.h"

#include "tests/crash_proof.h"
#include "wal/check.h"
#include "wal/format.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* --- damage on the disk -------------------------------------------------------------------------- */

/* Opens what was damaged, and classifies; takes the image. `at_open`: a read that fails later is too late. */
static void examine_damaged(struct life *life, struct sim_disk *image, bool vanished, bool at_open, const char *how)
{
    struct traces *traces = life->traces;
    struct proof proof = crash_look_for_proof(image, BLOCK_BYTES);
    struct wal_options options = life_options(life, 0);
    struct wal_verdict verdict;
    struct wal *log = NULL;
    traces->images++;
    traces->damaged++;
    if (wal_open_io(sim_disk_io(image), &options, &log, &verdict) != 0) {
        traces->reported++;
        sim_disk_destroy(image);
        return;
    }
    struct state found;
    char why[300] = "";
    char detail[600];
    int read = model_read(log, &found, why, sizeof(why));
    unsigned acknowledged = life->acknowledged;
    (void)snprintf(detail, sizeof(detail),
                   "%s; row Y%d, batch %" PRIu64 " expected at %" PRIu64 ":%" PRIu64 ", highest mark left %" PRIu64
                   " %.200s",
                   how, verdict.row, verdict.batch, verdict.segment, verdict.offset, proof.highest_mark, why);
    if (read > 0) {
        life_fail(life, "wrong data passed as valid", detail);
    } else if (read < 0 && at_open) {
        life_fail(life, "a segment's last batch does not read, and open was silent", detail);
    } else if (read < 0) {
        traces->reported++;
    } else if (life_match(life->history, acknowledged, &found) >= 0) {
        traces->harmless++;
    } else if (life_match(life->history, 0, &found) < 0) {
        life_fail(life, "damage made a state that the log never had", detail);
    } else if (proof.highest_mark >= verdict.batch || proof.sealed_without_next || vanished || verdict.closed) {
        life_fail(life, "damage under a mark was passed off as the end", detail);
    } else {
        traces->lies_irreducible++;
    }
    (void)!wal_close(log);
    sim_disk_destroy(image);
}

/* All that is on the disk now, durable. */
static struct sim_disk *copy_of(const struct life *life)
{
    struct sim_disk *kept = sim_disk_kill(life->disk, NULL, life_choose_none, NULL);
    uint64_t all = UINT64_MAX;
    struct sim_disk *copy = sim_disk_cut(kept, NULL, life_choose_counted, &all);
    sim_disk_destroy(kept);
    return copy;
}

enum damage { DAMAGE_ZEROS, DAMAGE_GARBAGE, DAMAGE_BIT, DAMAGE_OTHER_SECTOR };

static void damage_sector(struct sim_disk *image, unsigned file, uint64_t offset, enum damage kind,
                          uint64_t other_offset)
{
    uint64_t bytes;
    const uint8_t *content = sim_disk_file_bytes(image, file, &bytes);
    uint8_t sector[BLOCK_BYTES];
    memcpy(sector, content + offset, sizeof(sector));
    if (kind == DAMAGE_ZEROS) {
        memset(sector, 0, sizeof(sector));
    } else if (kind == DAMAGE_GARBAGE) {
        memset(sector, 0xa7, sizeof(sector));
    } else if (kind == DAMAGE_BIT) {
        sector[46] ^= 4;
    } else {
        memcpy(sector, content + other_offset, sizeof(sector));
    }
    sim_disk_damage(image, file, offset, sector);
}

/* Is this the head of the last batch of a segment that is sealed and in use? */
static bool ends_a_sealed_segment(const struct life *life, struct sim_disk *disk, unsigned file, uint64_t offset)
{
    uint64_t bytes;
    const uint8_t *content = sim_disk_file_bytes(disk, file, &bytes);
    struct format_seal seal;
    return bytes >= BLOCK_BYTES && format_seal_decode(content + bytes - BLOCK_BYTES, &seal) == FORMAT_OK &&
           seal.segment == format_segment_of_name(sim_disk_file_name(disk, file)) && seal.last_offset == offset &&
           life->history->states[life->acknowledged].start == 1;
}

static void each_damage_of(struct life *life, struct sim_disk *whole, unsigned file, uint64_t offset)
{
    static const uint8_t zeros[BLOCK_BYTES];
    uint64_t bytes;
    const uint8_t *content = sim_disk_file_bytes(whole, file, &bytes);
    if (memcmp(content + offset, zeros, BLOCK_BYTES) == 0) {
        return;
    }
    bool at_open = ends_a_sealed_segment(life, whole, file, offset);
    for (unsigned kind = DAMAGE_ZEROS; kind < DAMAGE_OTHER_SECTOR + bytes / BLOCK_BYTES && !life->traces->failed;
         kind++) {
        uint64_t other = kind >= DAMAGE_OTHER_SECTOR ? (kind - DAMAGE_OTHER_SECTOR) * BLOCK_BYTES : 0;
        if (memcmp(content + offset, content + other, BLOCK_BYTES) == 0 ||
            (other != 0 && memcmp(content + other, zeros, BLOCK_BYTES) == 0)) {
            continue; /* The same bytes; or zeros once more. */
        }
        struct sim_disk *image = sim_disk_kill(whole, NULL, life_choose_none, NULL);
        damage_sector(image, file, offset, kind < DAMAGE_OTHER_SECTOR ? (enum damage)kind : DAMAGE_OTHER_SECTOR, other);
        char how[100];
        (void)snprintf(how, sizeof(how), "sector at %s:%" PRIu64 " damaged, kind %u from %" PRIu64,
                       sim_disk_file_name(whole, file), offset, kind < DAMAGE_OTHER_SECTOR ? kind : DAMAGE_OTHER_SECTOR,
                       other);
        examine_damaged(life, image, false, at_open, how);
    }
}

void damage_each_sector(struct life *life)
{
    struct sim_disk *whole = copy_of(life);
    for (unsigned file = 0; file < sim_disk_file_count(whole); file++) {
        uint64_t bytes;
        (void)sim_disk_file_bytes(whole, file, &bytes);
        for (uint64_t offset = 0; offset < bytes && !life->traces->failed; offset += BLOCK_BYTES) {
            each_damage_of(life, whole, file, offset);
        }
    }
    sim_disk_destroy(whole);
}

void damage_each_file(struct life *life)
{
    struct sim_disk *whole = sim_disk_cut(life->disk, NULL, life_choose_none, NULL);
    for (unsigned file = 0; file < sim_disk_file_count(whole) && !life->traces->failed; file++) {
        struct sim_disk *image = sim_disk_cut(life->disk, NULL, life_choose_none, NULL);
        char how[100];
        (void)snprintf(how, sizeof(how), "file %s gone", sim_disk_file_name(whole, file));
        sim_disk_vanish(image, file);
        examine_damaged(life, image, true, true, how);
    }
    sim_disk_destroy(whole);
}

void damage_each_read(struct life *life)
{
    struct sim_disk *whole = copy_of(life);
    for (unsigned file = 0; file < sim_disk_file_count(whole); file++) {
        uint64_t bytes;
        (void)sim_disk_file_bytes(whole, file, &bytes);
        for (uint64_t offset = 0; offset < bytes && !life_has_enough(life); offset += BLOCK_BYTES) {
            struct birth birth = {.at = "", .image = sim_disk_kill(whole, NULL, life_choose_none, NULL)};
            sim_disk_bad_sector(birth.image, file, offset, true);
            struct wal_options options = life_options(life, 0);
            struct wal *log = NULL;
            int status = wal_open_io(sim_disk_io(birth.image), &options, &log, NULL);
            (void)!wal_close(log);
            struct sim_disk *after = sim_disk_kill(birth.image, NULL, life_choose_none, NULL);
            sim_disk_destroy(birth.image);
            birth.image = after;
            life->traces->reported += status != 0;
            life_live(life, life->history, life->acknowledged, &birth);
        }
    }
    sim_disk_destroy(whole);
}

void damage_under_an_open_log(struct life *life)
{
    struct state before;
    struct state found;
    char why[256] = "";
    CHECK(model_read(life->log, &before, why, sizeof(why)) == 0);
    for (unsigned file = 0; file < sim_disk_file_count(life->disk); file++) {
        uint64_t bytes;
        (void)sim_disk_file_bytes(life->disk, file, &bytes);
        for (uint64_t offset = 0; offset < bytes && !life_has_enough(life); offset += BLOCK_BYTES) {
            uint8_t old[BLOCK_BYTES];
            memcpy(old, sim_disk_file_bytes(life->disk, file, &bytes) + offset, sizeof(old));
            damage_sector(life->disk, file, offset, DAMAGE_BIT, 0);
            life->traces->images++;
            int read = model_read(life->log, &found, why, sizeof(why));
            life->traces->reported += read < 0;
            life->traces->harmless += read == 0;
            if (read > 0 || (read == 0 && !model_equal(&before, &found))) {
                life_fail(life, "a read returned what was never written", why);
            }
            sim_disk_damage(life->disk, file, offset, old);
        }
    }
}

/* --- forging ------------------------------------------------------------------------------------- */

/* Changes one thing in a head and makes its checksum right again. */
static bool forge(struct format_head *head, unsigned way)
{
    if (way == 0) {
        head->number++;
    } else if (way == 1) {
        head->chain++;
    } else if (way == 2 && head->first_index > 1 && head->kind == BATCH_TRUNCATE) {
        head->first_index--;
    } else if (way == 3) {
        head->salt++;
    } else if (way == 4 && head->kind == BATCH_DATA) {
        head->first_index++;
    } else if (way == 5 && head->kind == BATCH_DATA && head->first_index > 1) {
        head->kind = BATCH_TRUNCATE;
        head->first_index--;
    } else {
        return false;
    }
    return true;
}

void damage_each_forgery(struct life *life)
{
    struct sim_disk *whole = copy_of(life);
    uint64_t bytes;
    unsigned last_file = 0;
    uint64_t last_offset = 0;
    for (unsigned file = 0; file < sim_disk_file_count(whole); file++) {
        const uint8_t *content = sim_disk_file_bytes(whole, file, &bytes);
        for (uint64_t offset = 2 * BLOCK_BYTES; offset < bytes; offset += BLOCK_BYTES) {
            struct format_head head;
            if (format_head_decode(content + offset, BLOCK_BYTES, &head) == FORMAT_OK && offset > last_offset) {
                last_offset = offset;
                last_file = file;
            }
        }
    }
    for (unsigned way = 0; way < 6 && last_offset != 0 && !life_has_enough(life); way++) {
        struct sim_disk *image = sim_disk_kill(whole, NULL, life_choose_none, NULL);
        uint8_t sector[BLOCK_BYTES];
        struct format_head head;
        memcpy(sector, sim_disk_file_bytes(image, last_file, &bytes) + last_offset, sizeof(sector));
        CHECK(format_head_decode(sector, BLOCK_BYTES, &head) == FORMAT_OK);
        if (!forge(&head, way)) {
            sim_disk_destroy(image);
            continue;
        }
        format_head_encode(&head, sector);
        sim_disk_damage(image, last_file, last_offset, sector);
        struct wal_options options = life_options(life, 0);
        struct wal *log = NULL;
        struct wal_verdict verdict;
        life->traces->images++;
        int status = wal_open_io(sim_disk_io(image), &options, &log, &verdict);
        struct state found;
        char why[256] = "";
        if (status == 0 && model_read(log, &found, why, sizeof(why)) >= 0 &&
            (life_match(life->history, 0, &found) < 0 ||
             life_match(life->history, life->history->operations, &found) >= 0)) {
            char detail[64];
            (void)snprintf(detail, sizeof(detail), "way %u", way);
            life_fail(life, "a forged head was believed", detail);
        }
        (void)!wal_close(log);
        sim_disk_destroy(image);
    }
    sim_disk_destroy(whole);
}

void damage_each_and_accept(struct life *life, const char *at)
{
    struct sim_disk *whole = copy_of(life);
    for (unsigned file = 0; file < sim_disk_file_count(whole); file++) {
        uint64_t bytes;
        (void)sim_disk_file_bytes(whole, file, &bytes);
        for (uint64_t offset = 0; offset < bytes && !life_has_enough(life); offset += BLOCK_BYTES) {
            struct sim_disk *image = sim_disk_kill(whole, NULL, life_choose_none, NULL);
            damage_sector(image, file, offset, DAMAGE_GARBAGE, 0);
            struct wal_options options = life_options(life, 0);
            struct wal *log = NULL;
            struct sim_disk *probe = sim_disk_kill(image, NULL, life_choose_none, NULL);
            int status = wal_open_io(sim_disk_io(probe), &options, &log, NULL);
            (void)!wal_close(log);
            sim_disk_destroy(probe);
            if (status != WAL_ECORRUPT && status != WAL_EUNCERTAIN) {
                sim_disk_destroy(image);
                continue;
            }
            struct birth birth = {at, image, life->branch_in_opening, WAL_ACCEPT_CORRUPT | WAL_ACCEPT_UNCERTAIN, false};
            life_live(life, life->history, life->acknowledged, &birth);
        }
    }
    sim_disk_destroy(whole);
}
