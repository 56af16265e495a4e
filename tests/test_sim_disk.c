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
#include <stdlib.h>
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

/* What each test works on: a disk and its file "a", open. */
struct subject {
    struct sim_disk *disk;
    struct wal_io *io;
    int file;
};

/* The directory is durable, and so are the file's SECTORS sectors, all zeros. */
static struct subject subject_make(void)
{
    struct subject subject = {.disk = sim_disk_create(NULL)};
    subject.io = sim_disk_io(subject.disk);
    subject.file = create(subject.disk, "a");
    assert_int_equal(execute(subject.disk, WAL_IO_WRITE_DURABLE, subject.file, 0, SECTORS, 0), 0);
    assert_int_equal(subject.io->ops->sync_directory(subject.io), 0);
    assert_int_equal(subject.io->ops->sync_parent(subject.io), 0);
    assert_int_equal(sim_disk_undecided(subject.disk), 0);
    return subject;
}

static int setup(void **state)
{
    struct subject *subject = malloc(sizeof(*subject));
    assert_non_null(subject);
    *subject = subject_make();
    *state = subject;
    return 0;
}

static int teardown(void **state)
{
    struct subject *subject = *state;
    sim_disk_destroy(subject->disk);
    free(subject);
    return 0;
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

/* A cut leaves so many different images, and among them these, with blanks between them. */
static void expect_images(const struct sim_disk *disk, unsigned count, const char *some)
{
    const struct images *images = all_cuts(disk);
    assert_int_equal(distinct(images), count);
    char text[32];
    for (size_t length; *some != '\0'; some += length + strspn(some + length, " ")) {
        length = strcspn(some, " ");
        assert_true(length < sizeof(text));
        memcpy(text, some, length);
        text[length] = '\0';
        if (!is_there(images, text)) {
            fail_msg("no image is %s", text);
        }
    }
}

static void ignore_done(struct wal_io_op *op)
{
    (void)op;
}

/* The operation is on its way; nobody asks when it is done. */
static void submit(struct sim_disk *disk, struct wal_io_op *op)
{
    op->done = ignore_done;
    assert_int_equal(sim_disk_io(disk)->ops->submit(sim_disk_io(disk), op), 0);
}

/* --- sectors ------------------------------------------------------------------------------------- */

static void each_sector_of_a_volatile_write_decides_for_itself(void **state)
{
    struct subject *subject = *state;
    assert_int_equal(execute(subject->disk, WAL_IO_WRITE, subject->file, 0, 3, 1), 0);
    assert_int_equal(sim_disk_undecided(subject->disk), 3);
    expect_images(subject->disk, 8, "0000 1110 0100 1010");
}

static void a_durable_write_is_in_every_image_and_takes_nothing_else_along(void **state)
{
    struct subject *subject = *state;
    assert_int_equal(execute(subject->disk, WAL_IO_WRITE, subject->file, 0, 1, 1), 0);
    assert_int_equal(execute(subject->disk, WAL_IO_WRITE_DURABLE, subject->file, 1, 2, 2), 0);
    expect_images(subject->disk, 2, "0220 1220");
}

static void a_sector_written_twice_may_keep_any_version(void **state)
{
    struct subject *subject = *state;
    assert_int_equal(execute(subject->disk, WAL_IO_WRITE, subject->file, 0, 1, 1), 0);
    assert_int_equal(execute(subject->disk, WAL_IO_WRITE, subject->file, 0, 1, 2), 0);
    expect_images(subject->disk, 3, "0000 1000 2000");
}

static void a_sync_covers_what_was_complete_when_it_was_handed_over(void **state)
{
    struct subject *subject = *state;
    sim_disk_hold(subject->disk, true);
    assert_int_equal(execute(subject->disk, WAL_IO_WRITE, subject->file, 0, 1, 1), 0);
    struct wal_io_op write = operation(WAL_IO_WRITE, subject->file, 1, 1, 2);
    struct wal_io_op sync = operation(WAL_IO_SYNC, subject->file, 0, 0, 3);
    submit(subject->disk, &write);
    submit(subject->disk, &sync);
    assert_int_equal(execute(subject->disk, WAL_IO_WRITE, subject->file, 2, 1, 4), 0);
    assert_int_equal(subject->io->ops->poll(subject->io, 2), 2);
    expect_images(subject->disk, 4, "1000 1240");
    assert_int_equal(execute(subject->disk, WAL_IO_SYNC, subject->file, 0, 0, 0), 0);
    expect_images(subject->disk, 1, "1240");
}

static void writes_in_flight_may_have_landed_in_part(void **state)
{
    struct subject *subject = *state;
    sim_disk_hold(subject->disk, true);
    struct wal_io_op first = operation(WAL_IO_WRITE_DURABLE, subject->file, 0, 2, 1);
    struct wal_io_op second = operation(WAL_IO_WRITE_DURABLE, subject->file, 2, 1, 2);
    submit(subject->disk, &first);
    submit(subject->disk, &second);
    expect_images(subject->disk, 8, "");
    assert_int_equal(sim_disk_in_flight(subject->disk), 2);
    sim_disk_release(subject->disk, 1); /* The second one first. */
    assert_int_equal(subject->io->ops->poll(subject->io, 0), 1);
    assert_int_equal(sim_disk_in_flight(subject->disk), 1);
    expect_images(subject->disk, 4, "0020 0120");
    assert_int_equal(subject->io->ops->poll(subject->io, 1), 1);
    expect_images(subject->disk, 1, "1120");
}

static void without_a_hold_the_chooser_orders_completions(void **state)
{
    (void)state;
    for (unsigned which = 0; which < 2; which++) {
        struct subject subject = subject_make();
        const struct sim_hooks hooks = {choose_fixed, NULL, &which};
        sim_disk_set_hooks(subject.disk, &hooks);
        struct wal_io_op first = operation(WAL_IO_WRITE_DURABLE, subject.file, 0, 1, 1);
        struct wal_io_op second = operation(WAL_IO_WRITE_DURABLE, subject.file, 1, 1, 2);
        submit(subject.disk, &first);
        submit(subject.disk, &second);
        assert_true(subject.io->ops->poll(subject.io, 1) >= 1);
        assert_false(is_there(all_cuts(subject.disk), which == 0 ? "0200" : "1000"));
        while (sim_disk_in_flight(subject.disk) != 0) {
            assert_true(subject.io->ops->poll(subject.io, 1) >= 1);
        }
        sim_disk_destroy(subject.disk);
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
    expect_images(disk, 2, "- 1");
    assert_int_equal(io->ops->sync_directory(io), 0);
    assert_false(is_there(all_cuts(disk), "-"));
    sim_disk_destroy(disk);
}

static void directory_operations_survive_in_any_subset(void **state)
{
    struct subject *subject = *state;
    int other = create(subject->disk, "b");
    assert_int_equal(execute(subject->disk, WAL_IO_WRITE_DURABLE, other, 0, 1, 7), 0);
    assert_int_equal(subject->io->ops->rename(subject->io, "b", "a"), -EEXIST);
    assert_int_equal(subject->io->ops->unlink(subject->io, "a"), 0);
    assert_int_equal(subject->io->ops->rename(subject->io, "b", "a"), 0);
    assert_int_equal(sim_disk_undecided(subject->disk), 3);
    /* The old file; gone, and the new one not there yet; all done. */
    expect_images(subject->disk, 3, "0000 - 7");
    assert_int_equal(subject->io->ops->sync_directory(subject->io), 0);
    expect_images(subject->disk, 1, "");
}

static void growth_is_volatile_until_the_file_is_synced(void **state)
{
    struct subject *subject = *state;
    assert_int_equal(subject->io->ops->allocate(subject->io, subject->file, 6 * SIM_SECTOR_BYTES), 0);
    const struct images *images = all_cuts(subject->disk);
    assert_true(is_there(images, "0000") && is_there(images, "000000"));
    assert_int_equal(execute(subject->disk, WAL_IO_SYNC, subject->file, 0, 0, 0), 0);
    assert_false(is_there(all_cuts(subject->disk), "0000"));
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
    struct subject *subject = *state;
    sim_disk_set_room(subject->disk, 6 * SIM_SECTOR_BYTES);
    int other = create(subject->disk, "b");
    assert_int_equal(subject->io->ops->allocate(subject->io, other, 3 * SIM_SECTOR_BYTES), -ENOSPC);
    assert_int_equal(subject->io->ops->allocate(subject->io, other, 2 * SIM_SECTOR_BYTES), 0);
    assert_int_equal(subject->io->ops->unlink(subject->io, "a"), 0);
    assert_int_equal(subject->io->ops->allocate(subject->io, other, 6 * SIM_SECTOR_BYTES), 0);
}

/* --- kills --------------------------------------------------------------------------------------- */

static void a_kill_keeps_the_cache_and_it_stays_volatile(void **state)
{
    struct subject *subject = *state;
    assert_int_equal(execute(subject->disk, WAL_IO_WRITE, subject->file, 0, 1, 1), 0);
    (void)create(subject->disk, "b");
    struct sim_disk *killed = sim_disk_kill(subject->disk, NULL, choose_first, NULL);
    assert_int_equal(sim_disk_file_count(killed), 2);
    assert_int_equal(sim_disk_undecided(killed), 2);
    const struct images *images = all_cuts(killed);
    assert_true(is_there(images, "0000") && is_there(images, "1000"));
    sim_disk_destroy(killed);
}

/* The disk after its owner was killed, with a durable write still on its way, and the file, open again. */
static struct subject killed_with_a_late_write(const struct subject *subject, struct wal_io_op *write)
{
    *write = operation(WAL_IO_WRITE_DURABLE, subject->file, 0, 1, 1);
    submit(subject->disk, write);
    unsigned late = 1;
    struct subject killed = {.disk = sim_disk_kill(subject->disk, NULL, choose_fixed, &late)};
    killed.io = sim_disk_io(killed.disk);
    assert_int_equal(killed.io->ops->open(killed.io, "a", WAL_IO_OPEN_WRITE, &killed.file), 0);
    return killed;
}

static void a_dead_owners_write_lands_late_until_the_file_is_locked(void **state)
{
    (void)state;
    for (unsigned lands = 0; lands < 2; lands++) {
        struct subject subject = subject_make();
        struct wal_io_op write;
        struct subject killed = killed_with_a_late_write(&subject, &write);
        assert_true(is_there(all_cuts(killed.disk), "1000"));
        unsigned choice = lands != 0 ? 0 : 1; /* Of lock_file: it lands first, or never. */
        const struct sim_hooks hooks = {choose_fixed, NULL, &choice};
        sim_disk_set_hooks(killed.disk, &hooks);
        assert_int_equal(killed.io->ops->lock_file(killed.io, killed.file), 0);
        assert_int_equal(execute(killed.disk, WAL_IO_WRITE_DURABLE, killed.file, 0, 1, 2), 0);
        choice = 0;
        assert_int_equal(execute(killed.disk, WAL_IO_SYNC, killed.file, 0, 0, 0), 0);
        expect_images(killed.disk, 1, "2000"); /* Nothing lands any more. */
        sim_disk_destroy(killed.disk);
        (void)subject.io->ops->poll(subject.io, 1);
        sim_disk_destroy(subject.disk);
    }
}

static void without_the_lock_a_dead_owner_overwrites(void **state)
{
    struct subject *subject = *state;
    struct wal_io_op write;
    struct subject killed = killed_with_a_late_write(subject, &write);
    unsigned never = 7;
    const struct sim_hooks quiet = {choose_fixed, NULL, &never};
    sim_disk_set_hooks(killed.disk, &quiet);
    assert_int_equal(execute(killed.disk, WAL_IO_WRITE_DURABLE, killed.file, 0, 1, 2), 0);
    assert_true(is_there(all_cuts(killed.disk), "1000")); /* Over what the new owner made durable. */
    sim_disk_destroy(killed.disk);
    (void)subject->io->ops->poll(subject->io, 1);
}

/* --- faults -------------------------------------------------------------------------------------- */

static void an_error_comes_when_it_was_asked_for(void **state)
{
    struct subject *subject = *state;
    sim_disk_fail(subject->disk, SIM_FAULT_ERROR, 2, EIO);
    assert_int_equal(execute(subject->disk, WAL_IO_WRITE, subject->file, 0, 1, 1), 0);
    assert_int_equal(execute(subject->disk, WAL_IO_WRITE, subject->file, 1, 1, 1), -EIO);
    assert_int_equal(execute(subject->disk, WAL_IO_WRITE, subject->file, 1, 1, 1), 0);
    sim_disk_fail(subject->disk, SIM_FAULT_FOR_EVER, 1, ENOSPC);
    assert_int_equal(execute(subject->disk, WAL_IO_SYNC, subject->file, 0, 0, 0), -ENOSPC);
    assert_int_equal(subject->io->ops->sync_directory(subject->io), -ENOSPC);
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
        struct subject subject = subject_make();
        const struct sim_hooks hooks = {choose_fixed, NULL, &choice};
        sim_disk_set_hooks(subject.disk, &hooks);
        sim_disk_fail(subject.disk, SIM_FAULT_ERROR, 1, EIO);
        assert_int_equal(execute(subject.disk, WAL_IO_WRITE_DURABLE, subject.file, 0, 1, 1), -EIO);
        uint8_t seen[SIM_SECTOR_BYTES];
        struct wal_io_op read = {.kind = WAL_IO_READ, .file = subject.file, .size = SIM_SECTOR_BYTES, .buffer = seen};
        assert_int_equal(subject.io->ops->execute(subject.io, &read), 0);
        const struct images *images = all_cuts(subject.disk);
        bool zero = is_there(images, "0000");
        bool one = is_there(images, "1000");
        lost = lost || (zero && !one && seen[0] == 0);
        kept = kept || (one && !zero);
        open = open || (one && zero);
        bool pretends = zero && !one && seen[0] == 1;
        if (pretends) { /* A good sync does not help, only looking past the cache does. */
            pretended = true;
            assert_int_equal(execute(subject.disk, WAL_IO_SYNC, subject.file, 0, 0, 0), 0);
            assert_false(is_there(all_cuts(subject.disk), "1000"));
            assert_int_equal(subject.io->ops->forget_cache(subject.io, subject.file), 0);
            assert_int_equal(subject.io->ops->execute(subject.io, &read), 0);
            assert_int_equal(seen[0], 0);
        }
        sim_disk_destroy(subject.disk);
    }
    assert_true(lost && kept && open && pretended);
}

static void a_lying_disk_makes_nothing_durable(void **state)
{
    struct subject *subject = *state;
    sim_disk_set_lying(subject->disk, true);
    assert_int_equal(execute(subject->disk, WAL_IO_WRITE_DURABLE, subject->file, 0, 1, 1), 0);
    assert_int_equal(execute(subject->disk, WAL_IO_SYNC, subject->file, 0, 0, 0), 0);
    assert_true(is_there(all_cuts(subject->disk), "0000"));
}

static void damage_is_durable_and_bad_sectors_are_bad(void **state)
{
    struct subject *subject = *state;
    uint8_t sector[SIM_SECTOR_BYTES];
    memset(sector, 5, sizeof(sector));
    sim_disk_damage(subject->disk, 0, SIM_SECTOR_BYTES, sector);
    expect_images(subject->disk, 1, "0500");
    struct wal_io_op read = {.kind = WAL_IO_READ,
                             .file = subject->file,
                             .offset = SIM_SECTOR_BYTES,
                             .size = sizeof(sector),
                             .buffer = sector};
    sim_disk_bad_sector(subject->disk, 0, SIM_SECTOR_BYTES, true);
    assert_int_equal(subject->io->ops->execute(subject->io, &read), 0);
    assert_int_not_equal(sector[0], 5); /* Once; */
    assert_int_equal(subject->io->ops->execute(subject->io, &read), 0);
    assert_int_equal(sector[0], 5);
    sim_disk_bad_sector(subject->disk, 0, SIM_SECTOR_BYTES, false);
    assert_int_equal(subject->io->ops->execute(subject->io, &read), -EIO); /* for ever. */
    assert_int_equal(subject->io->ops->execute(subject->io, &read), -EIO);
    sim_disk_vanish(subject->disk, 0);
    assert_true(is_there(all_cuts(subject->disk), "-"));
}

static void a_cut_leaves_its_source_alone(void **state)
{
    struct subject *subject = *state;
    assert_int_equal(execute(subject->disk, WAL_IO_WRITE, subject->file, 0, 2, 1), 0);
    for (unsigned i = 0; i < 3; i++) {
        expect_images(subject->disk, 4, "");
    }
    assert_int_equal(sim_disk_undecided(subject->disk), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_sector_of_a_volatile_write_decides_for_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(a_durable_write_is_in_every_image_and_takes_nothing_else_along, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_sector_written_twice_may_keep_any_version, setup, teardown),
        cmocka_unit_test_setup_teardown(a_sync_covers_what_was_complete_when_it_was_handed_over, setup, teardown),
        cmocka_unit_test_setup_teardown(writes_in_flight_may_have_landed_in_part, setup, teardown),
        cmocka_unit_test(without_a_hold_the_chooser_orders_completions),
        cmocka_unit_test(a_name_is_volatile_until_the_directory_is_synced),
        cmocka_unit_test_setup_teardown(directory_operations_survive_in_any_subset, setup, teardown),
        cmocka_unit_test_setup_teardown(growth_is_volatile_until_the_file_is_synced, setup, teardown),
        cmocka_unit_test(a_directory_whose_parent_was_never_synced_may_be_gone),
        cmocka_unit_test_setup_teardown(room_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(a_kill_keeps_the_cache_and_it_stays_volatile, setup, teardown),
        cmocka_unit_test(a_dead_owners_write_lands_late_until_the_file_is_locked),
        cmocka_unit_test_setup_teardown(without_the_lock_a_dead_owner_overwrites, setup, teardown),
        cmocka_unit_test_setup_teardown(an_error_comes_when_it_was_asked_for, setup, teardown),
        cmocka_unit_test(a_failed_write_may_have_done_anything),
        cmocka_unit_test_setup_teardown(a_lying_disk_makes_nothing_durable, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_is_durable_and_bad_sectors_are_bad, setup, teardown),
        cmocka_unit_test_setup_teardown(a_cut_leaves_its_source_alone, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
