/* test_sim_disk.c - the simulated disk forgets whatever it may forget, and keeps what it must.
 *
 * Each test does a few operations, then looks at every image that a cut or a kill may leave: what is durable is in all
 * of them; what is not is missing in some and there in others, whatever its neighbours do. A disk that kept too much
 * would make the crash tests easy, and one that lost too much would make them wrong.
 *
 * Invariants: a byte pattern names the write that it came from, so each image says which writes are in it. */

#define _GNU_SOURCE
#include "tests/sim_disk.h"

#include <stdarg.h>
#include <stddef.h>

#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

enum { SECTORS = 4, IMAGES_MAX = 4096 };

/* --- helpers ------------------------------------------------------------------------------------- */

struct count {
    uint64_t combination;
    uint64_t combinations; /* Of the choices made: how many there are. */
};

/* A mixed-radix counter: all combinations, and no more. */
static unsigned choose_counted(void *context, unsigned options)
{
    struct count *count = context;
    unsigned answer = (unsigned)(count->combination % options);
    count->combination /= options;
    count->combinations *= options;
    return answer;
}

static unsigned choose_first(void *context, unsigned options)
{
    (void)context;
    (void)options;
    return 0;
}

static unsigned choose_fixed(void *context, unsigned options)
{
    unsigned answer = *(unsigned *)context;
    return answer < options ? answer : options - 1;
}

static uint8_t buffers[16][SECTORS * SIM_SECTOR_BYTES];

static struct wal_io_op operation(enum wal_io_kind kind, int file, uint64_t sector, uint32_t sectors, uint8_t pattern)
{
    uint8_t *buffer = buffers[pattern % 16];
    memset(buffer, pattern, (size_t)sectors * SIM_SECTOR_BYTES);
    return (struct wal_io_op){.kind = kind,
                              .file = file,
                              .offset = sector * SIM_SECTOR_BYTES,
                              .size = sectors * SIM_SECTOR_BYTES,
                              .buffer = buffer};
}

static int execute(struct sim_disk *disk, enum wal_io_kind kind, int file, uint64_t sector, uint32_t sectors,
                   uint8_t pattern)
{
    struct wal_io_op op = operation(kind, file, sector, sectors, pattern);
    return sim_disk_io(disk)->ops->execute(sim_disk_io(disk), &op);
}

static int create(struct sim_disk *disk, const char *name)
{
    int file;
    assert_int_equal(
        sim_disk_io(disk)->ops->open(sim_disk_io(disk), name, WAL_IO_OPEN_WRITE | WAL_IO_OPEN_CREATE, &file), 0);
    return file;
}

/* A disk whose directory is durable, with one file of SECTORS durable sectors of zeros, open. */
static struct sim_disk *disk_with_file(int *file)
{
    struct sim_disk *disk = sim_disk_create(NULL);
    *file = create(disk, "a");
    assert_int_equal(execute(disk, WAL_IO_WRITE_DURABLE, *file, 0, SECTORS, 0), 0);
    assert_int_equal(sim_disk_io(disk)->ops->sync_directory(sim_disk_io(disk)), 0);
    assert_int_equal(sim_disk_io(disk)->ops->sync_parent(sim_disk_io(disk)), 0);
    assert_int_equal(sim_disk_undecided(disk), 0);
    return disk;
}

/* What an image holds: the first byte of each sector of file "a", as digits; "-" without that file. */
static void describe(struct sim_disk *image, char text[32])
{
    strcpy(text, "-");
    for (unsigned i = 0; i < sim_disk_file_count(image); i++) {
        if (strcmp(sim_disk_file_name(image, i), "a") == 0) {
            uint64_t bytes;
            const uint8_t *content = sim_disk_file_bytes(image, i, &bytes);
            size_t length = 0;
            for (uint64_t at = 0; at < bytes && length < 30; at += SIM_SECTOR_BYTES) {
                text[length++] = (char)('0' + content[at]);
                assert_memory_equal(content + at, content + at + 1, SIM_SECTOR_BYTES - 1); /* Sectors are never torn. */
            }
            text[length] = '\0';
        }
    }
}

struct images {
    unsigned count;
    char text[IMAGES_MAX][32];
};

/* Every image of a cut. */
static const struct images *all_cuts(const struct sim_disk *disk)
{
    static struct images images;
    images.count = 0;
    uint64_t combinations = 1;
    for (uint64_t i = 0; i < combinations; i++) {
        struct count count = {i, 1};
        struct sim_disk *image = sim_disk_cut(disk, NULL, choose_counted, &count);
        assert_true(images.count < IMAGES_MAX);
        describe(image, images.text[images.count++]);
        combinations = count.combinations > combinations ? count.combinations : combinations;
        sim_disk_destroy(image);
    }
    return &images;
}

static bool is_there(const struct images *images, const char *text)
{
    for (unsigned i = 0; i < images->count; i++) {
        if (strcmp(images->text[i], text) == 0) {
            return true;
        }
    }
    return false;
}

static unsigned distinct(const struct images *images)
{
    unsigned count = 0;
    for (unsigned i = 0; i < images->count; i++) {
        unsigned first = 0;
        while (strcmp(images->text[first], images->text[i]) != 0) {
            first++;
        }
        count += first == i;
    }
    return count;
}

static void ignore_done(struct wal_io_op *op)
{
    (void)op;
}

/* --- sectors ------------------------------------------------------------------------------------- */

static void each_sector_of_a_volatile_write_decides_for_itself(void **state)
{
    (void)state;
    int file;
    struct sim_disk *disk = disk_with_file(&file);
    assert_int_equal(execute(disk, WAL_IO_WRITE, file, 0, 3, 1), 0);
    assert_int_equal(sim_disk_undecided(disk), 3);
    const struct images *images = all_cuts(disk);
    assert_int_equal(distinct(images), 8);
    assert_true(is_there(images, "0000") && is_there(images, "1110") && is_there(images, "0100") &&
                is_there(images, "1010"));
    sim_disk_destroy(disk);
}

static void a_durable_write_is_in_every_image_and_takes_nothing_else_along(void **state)
{
    (void)state;
    int file;
    struct sim_disk *disk = disk_with_file(&file);
    assert_int_equal(execute(disk, WAL_IO_WRITE, file, 0, 1, 1), 0);
    assert_int_equal(execute(disk, WAL_IO_WRITE_DURABLE, file, 1, 2, 2), 0);
    const struct images *images = all_cuts(disk);
    assert_int_equal(distinct(images), 2);
    assert_true(is_there(images, "0220") && is_there(images, "1220"));
    sim_disk_destroy(disk);
}

static void a_sector_written_twice_may_keep_any_version(void **state)
{
    (void)state;
    int file;
    struct sim_disk *disk = disk_with_file(&file);
    assert_int_equal(execute(disk, WAL_IO_WRITE, file, 0, 1, 1), 0);
    assert_int_equal(execute(disk, WAL_IO_WRITE, file, 0, 1, 2), 0);
    const struct images *images = all_cuts(disk);
    assert_int_equal(distinct(images), 3);
    assert_true(is_there(images, "0000") && is_there(images, "1000") && is_there(images, "2000"));
    sim_disk_destroy(disk);
}

static void a_sync_covers_what_was_complete_when_it_was_handed_over(void **state)
{
    (void)state;
    int file;
    struct sim_disk *disk = disk_with_file(&file);
    struct wal_io *io = sim_disk_io(disk);
    sim_disk_hold(disk, true);
    assert_int_equal(execute(disk, WAL_IO_WRITE, file, 0, 1, 1), 0);
    struct wal_io_op write = operation(WAL_IO_WRITE, file, 1, 1, 2);
    struct wal_io_op sync = operation(WAL_IO_SYNC, file, 0, 0, 3);
    write.done = sync.done = ignore_done;
    assert_int_equal(io->ops->submit(io, &write), 0);
    assert_int_equal(io->ops->submit(io, &sync), 0);
    assert_int_equal(execute(disk, WAL_IO_WRITE, file, 2, 1, 4), 0);
    assert_int_equal(io->ops->poll(io, 2), 2);
    const struct images *images = all_cuts(disk);
    assert_int_equal(distinct(images), 4);
    assert_true(is_there(images, "1000") && is_there(images, "1240"));
    assert_int_equal(execute(disk, WAL_IO_SYNC, file, 0, 0, 0), 0);
    images = all_cuts(disk);
    assert_int_equal(distinct(images), 1);
    assert_true(is_there(images, "1240"));
    sim_disk_destroy(disk);
}

static void writes_in_flight_may_have_landed_in_part(void **state)
{
    (void)state;
    int file;
    struct sim_disk *disk = disk_with_file(&file);
    struct wal_io *io = sim_disk_io(disk);
    sim_disk_hold(disk, true);
    struct wal_io_op first = operation(WAL_IO_WRITE_DURABLE, file, 0, 2, 1);
    struct wal_io_op second = operation(WAL_IO_WRITE_DURABLE, file, 2, 1, 2);
    first.done = second.done = ignore_done;
    assert_int_equal(io->ops->submit(io, &first), 0);
    assert_int_equal(io->ops->submit(io, &second), 0);
    assert_int_equal(distinct(all_cuts(disk)), 8);
    assert_int_equal(sim_disk_in_flight(disk), 2);
    sim_disk_release(disk, 1); /* The second one first. */
    assert_int_equal(io->ops->poll(io, 0), 1);
    assert_int_equal(sim_disk_in_flight(disk), 1);
    const struct images *images = all_cuts(disk);
    assert_int_equal(distinct(images), 4);
    assert_true(is_there(images, "0020") && is_there(images, "0120"));
    assert_int_equal(io->ops->poll(io, 1), 1);
    images = all_cuts(disk);
    assert_int_equal(distinct(images), 1);
    assert_true(is_there(images, "1120"));
    sim_disk_destroy(disk);
}

static void without_a_hold_the_chooser_orders_completions(void **state)
{
    (void)state;
    for (unsigned which = 0; which < 2; which++) {
        int file;
        struct sim_disk *disk = disk_with_file(&file);
        struct wal_io *io = sim_disk_io(disk);
        const struct sim_hooks hooks = {choose_fixed, NULL, &which};
        sim_disk_set_hooks(disk, &hooks);
        struct wal_io_op first = operation(WAL_IO_WRITE_DURABLE, file, 0, 1, 1);
        struct wal_io_op second = operation(WAL_IO_WRITE_DURABLE, file, 1, 1, 2);
        first.done = second.done = ignore_done;
        assert_int_equal(io->ops->submit(io, &first), 0);
        assert_int_equal(io->ops->submit(io, &second), 0);
        assert_true(io->ops->poll(io, 1) >= 1);
        assert_false(is_there(all_cuts(disk), which == 0 ? "0200" : "1000"));
        while (sim_disk_in_flight(disk) != 0) {
            assert_true(io->ops->poll(io, 1) >= 1);
        }
        sim_disk_destroy(disk);
    }
}

/* --- names and sizes ----------------------------------------------------------------------------- */

static void a_name_is_volatile_until_the_directory_is_synced(void **state)
{
    (void)state;
    struct sim_disk *disk = sim_disk_create(NULL);
    struct wal_io *io = sim_disk_io(disk);
    assert_int_equal(io->ops->sync_parent(io), 0);
    int file = create(disk, "a");
    assert_int_equal(execute(disk, WAL_IO_WRITE_DURABLE, file, 0, 1, 1), 0);
    const struct images *images = all_cuts(disk);
    assert_int_equal(distinct(images), 2);
    assert_true(is_there(images, "-") && is_there(images, "1"));
    assert_int_equal(io->ops->sync_directory(io), 0);
    assert_false(is_there(all_cuts(disk), "-"));
    sim_disk_destroy(disk);
}

static void directory_operations_survive_in_any_subset(void **state)
{
    (void)state;
    int file;
    struct sim_disk *disk = disk_with_file(&file);
    struct wal_io *io = sim_disk_io(disk);
    int other = create(disk, "b");
    assert_int_equal(execute(disk, WAL_IO_WRITE_DURABLE, other, 0, 1, 7), 0);
    assert_int_equal(io->ops->rename(io, "b", "a"), -EEXIST);
    assert_int_equal(io->ops->unlink(io, "a"), 0);
    assert_int_equal(io->ops->rename(io, "b", "a"), 0);
    assert_int_equal(sim_disk_undecided(disk), 3);
    const struct images *images = all_cuts(disk);
    assert_int_equal(distinct(images), 3);
    assert_true(is_there(images, "0000")); /* The old file; */
    assert_true(is_there(images, "-"));    /* gone, and the new one not there yet; */
    assert_true(is_there(images, "7"));    /* all done. */
    assert_int_equal(io->ops->sync_directory(io), 0);
    assert_int_equal(distinct(all_cuts(disk)), 1);
    sim_disk_destroy(disk);
}

static void growth_is_volatile_until_the_file_is_synced(void **state)
{
    (void)state;
    int file;
    struct sim_disk *disk = disk_with_file(&file);
    struct wal_io *io = sim_disk_io(disk);
    assert_int_equal(io->ops->allocate(io, file, 6 * SIM_SECTOR_BYTES), 0);
    const struct images *images = all_cuts(disk);
    assert_true(is_there(images, "0000") && is_there(images, "000000"));
    assert_int_equal(execute(disk, WAL_IO_SYNC, file, 0, 0, 0), 0);
    assert_false(is_there(all_cuts(disk), "0000"));
    sim_disk_destroy(disk);
}

static void a_directory_whose_parent_was_never_synced_may_be_gone(void **state)
{
    (void)state;
    struct sim_disk *disk = sim_disk_create(NULL);
    struct wal_io *io = sim_disk_io(disk);
    int file = create(disk, "a");
    assert_int_equal(execute(disk, WAL_IO_WRITE_DURABLE, file, 0, 1, 1), 0);
    assert_int_equal(io->ops->sync_directory(io), 0);
    const struct images *images = all_cuts(disk);
    assert_true(is_there(images, "-") && is_there(images, "1"));
    assert_int_equal(io->ops->sync_parent(io), 0);
    assert_false(is_there(all_cuts(disk), "-"));
    sim_disk_destroy(disk);
}

static void room_is_bounded(void **state)
{
    (void)state;
    int file;
    struct sim_disk *disk = disk_with_file(&file);
    struct wal_io *io = sim_disk_io(disk);
    sim_disk_set_room(disk, 6 * SIM_SECTOR_BYTES);
    int other = create(disk, "b");
    assert_int_equal(io->ops->allocate(io, other, 3 * SIM_SECTOR_BYTES), -ENOSPC);
    assert_int_equal(io->ops->allocate(io, other, 2 * SIM_SECTOR_BYTES), 0);
    assert_int_equal(io->ops->unlink(io, "a"), 0);
    assert_int_equal(io->ops->allocate(io, other, 6 * SIM_SECTOR_BYTES), 0);
    sim_disk_destroy(disk);
}

/* --- kills --------------------------------------------------------------------------------------- */

static void a_kill_keeps_the_cache_and_it_stays_volatile(void **state)
{
    (void)state;
    int file;
    struct sim_disk *disk = disk_with_file(&file);
    assert_int_equal(execute(disk, WAL_IO_WRITE, file, 0, 1, 1), 0);
    (void)create(disk, "b");
    struct sim_disk *killed = sim_disk_kill(disk, NULL, choose_first, NULL);
    assert_int_equal(sim_disk_file_count(killed), 2);
    assert_int_equal(sim_disk_undecided(killed), 2);
    const struct images *images = all_cuts(killed);
    assert_true(is_there(images, "0000") && is_there(images, "1000"));
    sim_disk_destroy(killed);
    sim_disk_destroy(disk);
}

static void a_dead_owners_write_lands_late_until_the_file_is_locked(void **state)
{
    (void)state;
    for (unsigned lands = 0; lands < 2; lands++) {
        int file;
        struct sim_disk *disk = disk_with_file(&file);
        struct wal_io_op write = operation(WAL_IO_WRITE_DURABLE, file, 0, 1, 1);
        write.done = ignore_done;
        assert_int_equal(sim_disk_io(disk)->ops->submit(sim_disk_io(disk), &write), 0);
        unsigned late = 1;
        struct sim_disk *killed = sim_disk_kill(disk, NULL, choose_fixed, &late);
        unsigned choice = lands != 0 ? 0 : 1; /* Of lock_file: it lands first, or never. */
        const struct sim_hooks hooks = {choose_fixed, NULL, &choice};
        struct wal_io *io = sim_disk_io(killed);
        int again;
        assert_int_equal(io->ops->open(io, "a", WAL_IO_OPEN_WRITE, &again), 0);
        assert_true(is_there(all_cuts(killed), "1000"));
        sim_disk_set_hooks(killed, &hooks);
        assert_int_equal(io->ops->lock_file(io, again), 0);
        assert_int_equal(execute(killed, WAL_IO_WRITE_DURABLE, again, 0, 1, 2), 0);
        choice = 0;
        assert_int_equal(execute(killed, WAL_IO_SYNC, again, 0, 0, 0), 0);
        const struct images *images = all_cuts(killed);
        assert_int_equal(distinct(images), 1);
        assert_true(is_there(images, "2000")); /* Nothing lands any more. */
        sim_disk_destroy(killed);
        (void)sim_disk_io(disk)->ops->poll(sim_disk_io(disk), 1);
        sim_disk_destroy(disk);
    }
}

static void without_the_lock_a_dead_owner_overwrites(void **state)
{
    (void)state;
    int file;
    struct sim_disk *disk = disk_with_file(&file);
    struct wal_io_op write = operation(WAL_IO_WRITE_DURABLE, file, 0, 1, 1);
    write.done = ignore_done;
    assert_int_equal(sim_disk_io(disk)->ops->submit(sim_disk_io(disk), &write), 0);
    unsigned late = 1;
    struct sim_disk *killed = sim_disk_kill(disk, NULL, choose_fixed, &late);
    struct wal_io *io = sim_disk_io(killed);
    int again;
    assert_int_equal(io->ops->open(io, "a", WAL_IO_OPEN_WRITE, &again), 0);
    unsigned never = 7;
    const struct sim_hooks quiet = {choose_fixed, NULL, &never};
    sim_disk_set_hooks(killed, &quiet);
    assert_int_equal(execute(killed, WAL_IO_WRITE_DURABLE, again, 0, 1, 2), 0);
    assert_true(is_there(all_cuts(killed), "1000")); /* Over what the new owner made durable. */
    sim_disk_destroy(killed);
    (void)sim_disk_io(disk)->ops->poll(sim_disk_io(disk), 1);
    sim_disk_destroy(disk);
}

/* --- faults -------------------------------------------------------------------------------------- */

static void an_error_comes_when_it_was_asked_for(void **state)
{
    (void)state;
    int file;
    struct sim_disk *disk = disk_with_file(&file);
    sim_disk_fail(disk, SIM_FAULT_ERROR, 2, EIO);
    assert_int_equal(execute(disk, WAL_IO_WRITE, file, 0, 1, 1), 0);
    assert_int_equal(execute(disk, WAL_IO_WRITE, file, 1, 1, 1), -EIO);
    assert_int_equal(execute(disk, WAL_IO_WRITE, file, 1, 1, 1), 0);
    sim_disk_fail(disk, SIM_FAULT_FOR_EVER, 1, ENOSPC);
    assert_int_equal(execute(disk, WAL_IO_SYNC, file, 0, 0, 0), -ENOSPC);
    assert_int_equal(sim_disk_io(disk)->ops->sync_directory(sim_disk_io(disk)), -ENOSPC);
    sim_disk_destroy(disk);
}

/* Lost, volatile, durable: each is possible; and seen in the cache, and nowhere else. */
static void a_failed_write_may_have_done_anything(void **state)
{
    (void)state;
    bool lost = false;
    bool kept = false;
    bool open = false;
    bool pretended = false;
    for (unsigned choice = 0; choice < 4; choice++) {
        int file;
        struct sim_disk *disk = disk_with_file(&file);
        const struct sim_hooks hooks = {choose_fixed, NULL, &choice};
        sim_disk_set_hooks(disk, &hooks);
        sim_disk_fail(disk, SIM_FAULT_ERROR, 1, EIO);
        assert_int_equal(execute(disk, WAL_IO_WRITE_DURABLE, file, 0, 1, 1), -EIO);
        uint8_t seen[SIM_SECTOR_BYTES];
        struct wal_io_op read = {.kind = WAL_IO_READ, .file = file, .size = SIM_SECTOR_BYTES, .buffer = seen};
        assert_int_equal(sim_disk_io(disk)->ops->execute(sim_disk_io(disk), &read), 0);
        const struct images *images = all_cuts(disk);
        bool zero = is_there(images, "0000");
        bool one = is_there(images, "1000");
        lost = lost || (zero && !one && seen[0] == 0);
        kept = kept || (one && !zero);
        open = open || (one && zero);
        bool pretends = zero && !one && seen[0] == 1;
        if (pretends) { /* A good sync does not help, only looking past the cache does. */
            pretended = true;
            assert_int_equal(execute(disk, WAL_IO_SYNC, file, 0, 0, 0), 0);
            assert_false(is_there(all_cuts(disk), "1000"));
            assert_int_equal(sim_disk_io(disk)->ops->forget_cache(sim_disk_io(disk), file), 0);
            assert_int_equal(sim_disk_io(disk)->ops->execute(sim_disk_io(disk), &read), 0);
            assert_int_equal(seen[0], 0);
        }
        sim_disk_destroy(disk);
    }
    assert_true(lost && kept && open && pretended);
}

static void a_lying_disk_makes_nothing_durable(void **state)
{
    (void)state;
    int file;
    struct sim_disk *disk = disk_with_file(&file);
    sim_disk_set_lying(disk, true);
    assert_int_equal(execute(disk, WAL_IO_WRITE_DURABLE, file, 0, 1, 1), 0);
    assert_int_equal(execute(disk, WAL_IO_SYNC, file, 0, 0, 0), 0);
    assert_true(is_there(all_cuts(disk), "0000"));
    sim_disk_destroy(disk);
}

static void damage_is_durable_and_bad_sectors_are_bad(void **state)
{
    (void)state;
    int file;
    struct sim_disk *disk = disk_with_file(&file);
    uint8_t sector[SIM_SECTOR_BYTES];
    memset(sector, 5, sizeof(sector));
    sim_disk_damage(disk, 0, SIM_SECTOR_BYTES, sector);
    const struct images *images = all_cuts(disk);
    assert_int_equal(distinct(images), 1);
    assert_true(is_there(images, "0500"));
    struct wal_io_op read = {
        .kind = WAL_IO_READ, .file = file, .offset = SIM_SECTOR_BYTES, .size = sizeof(sector), .buffer = sector};
    struct wal_io *io = sim_disk_io(disk);
    sim_disk_bad_sector(disk, 0, SIM_SECTOR_BYTES, true);
    assert_int_equal(io->ops->execute(io, &read), 0);
    assert_int_not_equal(sector[0], 5); /* Once; */
    assert_int_equal(io->ops->execute(io, &read), 0);
    assert_int_equal(sector[0], 5);
    sim_disk_bad_sector(disk, 0, SIM_SECTOR_BYTES, false);
    assert_int_equal(io->ops->execute(io, &read), -EIO); /* for ever. */
    assert_int_equal(io->ops->execute(io, &read), -EIO);
    sim_disk_vanish(disk, 0);
    assert_true(is_there(all_cuts(disk), "-"));
    sim_disk_destroy(disk);
}

static void a_cut_leaves_its_source_alone(void **state)
{
    (void)state;
    int file;
    struct sim_disk *disk = disk_with_file(&file);
    assert_int_equal(execute(disk, WAL_IO_WRITE, file, 0, 2, 1), 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(distinct(all_cuts(disk)), 4);
    }
    assert_int_equal(sim_disk_undecided(disk), 2);
    sim_disk_destroy(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_sector_of_a_volatile_write_decides_for_itself),
        cmocka_unit_test(a_durable_write_is_in_every_image_and_takes_nothing_else_along),
        cmocka_unit_test(a_sector_written_twice_may_keep_any_version),
        cmocka_unit_test(a_sync_covers_what_was_complete_when_it_was_handed_over),
        cmocka_unit_test(writes_in_flight_may_have_landed_in_part),
        cmocka_unit_test(without_a_hold_the_chooser_orders_completions),
        cmocka_unit_test(a_name_is_volatile_until_the_directory_is_synced),
        cmocka_unit_test(directory_operations_survive_in_any_subset),
        cmocka_unit_test(growth_is_volatile_until_the_file_is_synced),
        cmocka_unit_test(a_directory_whose_parent_was_never_synced_may_be_gone),
        cmocka_unit_test(room_is_bounded),
        cmocka_unit_test(a_kill_keeps_the_cache_and_it_stays_volatile),
        cmocka_unit_test(a_dead_owners_write_lands_late_until_the_file_is_locked),
        cmocka_unit_test(without_the_lock_a_dead_owner_overwrites),
        cmocka_unit_test(an_error_comes_when_it_was_asked_for),
        cmocka_unit_test(a_failed_write_may_have_done_anything),
        cmocka_unit_test(a_lying_disk_makes_nothing_durable),
        cmocka_unit_test(damage_is_durable_and_bad_sectors_are_bad),
        cmocka_unit_test(a_cut_leaves_its_source_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
