/* test_io_posix.c - what only real files and a real kernel have.
 *
 * Full disks, size limits, missing rights, system calls that a container forbids, owners that are killed. The ring,
 * with results changed on their way, is in test_io_uring.c.
 *
 * Whatever changes the process (limits, user, filters, mounts) is done in a child: its exit code is the result.
 *
 * May include: posix_fixture.h, scratch.h. */

#define _GNU_SOURCE
#include "tests/posix_fixture.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { NOBODY = 65534 };

/* From here on the system call `number` fails with `error`; for ever, so in a child. */
static void forbid(unsigned number, unsigned error)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof(filter) / sizeof(filter[0]), .filter = filter};
    REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        skip_child("no system call filters here");
    }
}

static unsigned open_descriptors(void)
{
    unsigned count = 0;
    DIR *list = opendir("/proc/self/fd");
    assert_non_null(list);
    while (readdir(list) != NULL) {
        count++;
    }
    (void)closedir(list);
    return count;
}

/* --- the directory ------------------------------------------------------------------------------- */

static void a_directory_must_be_one(void **state)
{
    (void)state;
    char path[SCRATCH_PATH_BYTES];
    struct wal_io *io = NULL;
    unsigned before = open_descriptors();
    for (unsigned i = 0; i < 2; i++) {
        int (*make_disk)(const char *, unsigned, struct wal_io **) = i == 0 ? wal_io_posix : wal_io_uring;
        scratch_join(path, fixture_path, "none");
        assert_int_equal(make_disk(path, 0, &io), -ENOENT);
        scratch_join(path, fixture_path, "none/deeper");
        assert_int_equal(make_disk(path, WAL_IO_DIRECTORY_CREATE, &io), -ENOENT);
        scratch_join(path, fixture_path, "file");
        (void)close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        assert_int_equal(make_disk(path, 0, &io), -ENOTDIR);
        assert_int_equal(make_disk(path, WAL_IO_DIRECTORY_CREATE, &io), -ENOTDIR);
        assert_null(io);
    }
    scratch_join(path, fixture_path, "new");
    for (unsigned round = 0; round < 2; round++) {
        assert_int_equal(wal_io_posix(path, WAL_IO_DIRECTORY_CREATE, &io), 0);
        assert_int_equal(io->ops->sync_parent(io), 0);
        io->ops->destroy(io);
    }
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0700, 0700);
    assert_int_equal(open_descriptors(), before);
}

static void only_regular_files_of_the_directory(void **state)
{
    (void)state;
    char path[SCRATCH_PATH_BYTES];
    struct wal_io *io = plain_disk(0);
    int file = -1;
    scratch_join(path, fixture_path, "pipe");
    assert_int_equal(mkfifo(path, 0600), 0);
    scratch_join(path, fixture_path, "folder");
    assert_int_equal(mkdir(path, 0700), 0);
    scratch_join(path, fixture_path, "link");
    assert_int_equal(symlink("target", path), 0);
    assert_int_equal(io->ops->close(io, create_on(io, "target")), 0);
    unsigned before = open_descriptors();
    for (unsigned i = 0; i < 3; i++) {
        unsigned flags = i == 0 ? 0 : i == 1 ? WAL_IO_OPEN_WRITE : WAL_IO_OPEN_WRITE | WAL_IO_OPEN_CREATE;
        assert_true(io->ops->open(io, "pipe", flags, &file) < 0); /* And does not wait for a writer. */
        assert_int_equal(io->ops->open(io, "folder", flags, &file), -EISDIR);
        assert_int_equal(io->ops->open(io, "link", flags, &file), -ELOOP);
        assert_int_equal(io->ops->open(io, "../file", flags, &file), -EINVAL);
        assert_int_equal(io->ops->open(io, "/tmp/file", flags, &file), -EINVAL);
        assert_int_equal(io->ops->open(io, "..", flags, &file), -EINVAL);
        assert_int_equal(io->ops->open(io, "", flags, &file), -EINVAL);
    }
    assert_int_equal(io->ops->rename(io, "target", "../target"), -EINVAL);
    assert_int_equal(io->ops->unlink(io, "folder/x"), -EINVAL);
    assert_int_equal(io->ops->rename(io, "target", "link"), -EEXIST);
    assert_int_equal(file, -1);
    assert_int_equal(open_descriptors(), before);
    io->ops->destroy(io);
}

static void the_plain_disk_has_no_ring(void **state)
{
    (void)state;
    struct wal_io *io = plain_disk(0);
    assert_false(io->caps.asynchronous);
    assert_int_equal(io->caps.methods_submitted, 0);
    struct wal_io_op op = blocks_op(WAL_IO_READ, -1, 0, 1);
    assert_true(io->ops->submit(io, &op) < 0);
    assert_int_equal(io->ops->poll(io, 0), 0);
    assert_true(io->ops->poll(io, 1) < 0);
    assert_int_equal(io->ops->event_fd(io), -1);
    io->ops->destroy(io);
}

/* A reader without any right to write: direct I/O and its alignment are learnt from a file that is there. */
static void read_as_nobody(void)
{
    if (geteuid() == 0) {
        REQUIRE(setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
    }
    struct wal_io *io = NULL;
    int result = wal_io_posix(fixture_path, 0, &io);
    if (result == -EACCES) {
        skip_child("the temporary directory is not for others");
    }
    REQUIRE(result == 0);
    int file = -1;
    REQUIRE(io->ops->open(io, "a", 0, &file) == 0);
    struct wal_io_op op = blocks_op(WAL_IO_READ, file, 0, 2);
    REQUIRE(io->ops->execute(io, &op) == 0);
    REQUIRE(op.moved_bytes == BLOCK);
    REQUIRE(io->ops->open(io, "a", WAL_IO_OPEN_WRITE, &file) == -EACCES);
    REQUIRE(io->ops->open(io, "b", WAL_IO_OPEN_WRITE | WAL_IO_OPEN_CREATE, &file) == -EACCES);
    REQUIRE(io->ops->unlink(io, "a") == -EACCES);
    REQUIRE(io->ops->rename(io, "a", "b") == -EACCES);
    REQUIRE(io->ops->sync_directory(io) == 0);
    io->ops->destroy(io);
    struct wal_io *other = NULL;
    char path[SCRATCH_PATH_BYTES];
    scratch_join(path, fixture_path, "new");
    REQUIRE(wal_io_posix(path, WAL_IO_DIRECTORY_CREATE, &other) == -EACCES);
    REQUIRE(other == NULL);
}

static void without_permission(void **state)
{
    (void)state;
    struct wal_io *io = plain_disk(0);
    int file = create_on(io, "a");
    struct wal_io_op op = blocks_op(WAL_IO_WRITE_DURABLE, file, 0, 1);
    assert_int_equal(io->ops->execute(io, &op), 0);
    assert_int_equal(fchmod(file, 0444), 0);
    (void)io->ops->close(io, file);
    io->ops->destroy(io);
    assert_int_equal(chmod(fixture_path, 0555), 0);
    run_in_child(read_as_nobody);
    assert_int_equal(chmod(fixture_path, 0755), 0);
}

/* --- room ---------------------------------------------------------------------------------------- */

static void fill_a_small_disk(void)
{
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", fixture_path, "tmpfs", 0, "size=512k") != 0) {
        skip_child("a small file system cannot be mounted here");
    }
    struct wal_io *io = plain_disk(0);
    int file = create_on(io, "a");
    REQUIRE(io->ops->allocate(io, file, 4 << 20) == -ENOSPC);
    REQUIRE(bytes_on(io, file) == 0);
    REQUIRE(io->ops->allocate(io, file, 64 * BLOCK) == 0);
    REQUIRE(io->ops->allocate(io, file, 4 << 20) == -ENOSPC);
    REQUIRE(bytes_on(io, file) == 64 * BLOCK); /* What the refused attempt took is given back. */

    int other = create_on(io, "b");
    struct wal_io_op op = blocks_op(WAL_IO_WRITE_DURABLE, other, 0, 100);
    op.method = WAL_IO_METHOD_FDATASYNC;
    REQUIRE(io->ops->execute(io, &op) == -ENOSPC);
    REQUIRE(op.moved_bytes < op.size);
    REQUIRE(op.sync_ns == 0); /* A write that fell short is not synced, and nothing is claimed. */

    op = blocks_op(WAL_IO_WRITE_DURABLE, file, 0, 64);
    REQUIRE(io->ops->execute(io, &op) == 0); /* Into the room reserved before. */
    REQUIRE(io->ops->unlink(io, "b") == 0 && io->ops->close(io, other) == 0);
    REQUIRE(io->ops->allocate(io, file, 100 * BLOCK) == 0);
    io->ops->destroy(io);
}

static void a_full_disk(void **state)
{
    (void)state;
    run_in_child(fill_a_small_disk);
}

static int execute(struct wal_io *io, struct wal_io_op *op)
{
    return io->ops->execute(io, op);
}

static void write_beyond_a_limit(void)
{
    limit_file_bytes();
    struct wal_io *io = plain_disk(0);
    go_beyond_the_limit(io, execute);
    io->ops->destroy(io);
}

static void a_limit_on_file_size(void **state)
{
    (void)state;
    run_in_child(write_beyond_a_limit);
}

static void a_file_that_ends_inside_a_block(void **state)
{
    (void)state;
    for (unsigned flags = 0; flags <= WAL_IO_BUFFERED; flags += WAL_IO_BUFFERED) {
        struct wal_io *io = plain_disk(flags);
        int file = create_on(io, "a");
        struct wal_io_op op = blocks_op(WAL_IO_WRITE, file, 0, 3);
        assert_int_equal(io->ops->execute(io, &op), 0);
        assert_int_equal(ftruncate(file, 2 * BLOCK + 1000), 0);
        op = blocks_op(WAL_IO_READ, file, 0, 8);
        assert_int_equal(io->ops->execute(io, &op), 0);
        assert_int_equal(op.moved_bytes, 2 * BLOCK + 1000);
        (void)io->ops->close(io, file);
        io->ops->destroy(io);
    }
}

/* --- locks --------------------------------------------------------------------------------------- */

static pid_t start_owner(int ready)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        REQUIRE(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0); /* Nothing is left behind when a test fails. */
        struct wal_io *io = plain_disk(0);
        REQUIRE(io->ops->lock_directory(io) == 0);
        REQUIRE(io->ops->lock_file(io, create_on(io, "a")) == 0);
        REQUIRE(write(ready, "x", 1) == 1);
        (void)pause();
        _exit(0);
    }
    return child;
}

static void locks_end_with_a_killed_owner(void **state)
{
    (void)state;
    int ready[2];
    char byte;
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    pid_t child = start_owner(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    struct wal_io *io = plain_disk(0);
    assert_int_equal(io->ops->lock_directory(io), -EBUSY);
    assert_int_equal(kill(child, SIGKILL), 0);
    int file = -1;
    assert_int_equal(io->ops->open(io, "a", WAL_IO_OPEN_WRITE, &file), 0);
    assert_int_equal(io->ops->lock_file(io, file), 0); /* Waits for the owner to be gone, if need be. */
    int other = -1;
    assert_int_equal(io->ops->open(io, "a", WAL_IO_OPEN_WRITE, &other), 0);
    assert_int_equal(flock(other, LOCK_EX | LOCK_NB), -1);
    assert_int_equal(errno, EWOULDBLOCK);
    (void)io->ops->close(io, other);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(io->ops->lock_directory(io), 0);
    (void)io->ops->close(io, file);
    (void)close(ready[0]);
    (void)close(ready[1]);
    io->ops->destroy(io);
}

/* --- forbidden and missing system calls ---------------------------------------------------------- */

static void make_a_ring_without_setup(void)
{
    forbid(SYS_io_uring_setup, EPERM);
    struct wal_io *io = NULL;
    REQUIRE(wal_io_uring(fixture_path, 0, &io) == -EPERM);
    REQUIRE(io == NULL);
    REQUIRE(wal_io_posix(fixture_path, 0, &io) == 0); /* The plain one is to be had. */
    io->ops->destroy(io);
}

static void make_a_ring_without_enter(void)
{
    forbid(SYS_io_uring_enter, EACCES);
    struct wal_io *io = NULL;
    int result = wal_io_uring(fixture_path, 0, &io);
    REQUIRE(result == -EACCES || result == -EPERM || result == -ENOSYS);
    REQUIRE(io == NULL);
}

static void a_forbidden_ring(void **state)
{
    (void)state;
    run_in_child(make_a_ring_without_setup);
    run_in_child(make_a_ring_without_enter);
}

static void rename_without_the_flag(void)
{
    forbid(SYS_renameat2, ENOSYS);
    forbid(SYS_linkat, EPERM); /* Two names for one file, for a moment, are what a crash must not meet. */
    struct wal_io *io = plain_disk(0);
    REQUIRE(io->ops->close(io, create_on(io, "a")) == 0);
    REQUIRE(io->ops->close(io, create_on(io, "b")) == 0);
    REQUIRE(io->ops->rename(io, "a", "b") == -EEXIST);
    REQUIRE(io->ops->rename(io, "a", "c") == 0);
    int file = -1;
    REQUIRE(io->ops->open(io, "a", 0, &file) == -ENOENT);
    REQUIRE(io->ops->open(io, "c", 0, &file) == 0);
    io->ops->destroy(io);
}

static void write_without_dsync(void)
{
    forbid(SYS_pwritev2, EOPNOTSUPP);
    struct wal_io *io = plain_disk(0);
    struct wal_io_op op = blocks_op(WAL_IO_WRITE_DURABLE, create_on(io, "a"), 0, 2);
    op.method = WAL_IO_METHOD_DSYNC;
    for (unsigned round = 0; round < 2; round++) {
        REQUIRE(io->ops->execute(io, &op) == 0);
        REQUIRE(op.moved_bytes == 2 * BLOCK);
        REQUIRE(op.sync_ns != 0);
    }
    io->ops->destroy(io);
}

static void sync_fails(void)
{
    struct wal_io *io = plain_disk(0);
    int file = create_on(io, "a");
    forbid(SYS_fdatasync, EIO);
    struct wal_io_op op = blocks_op(WAL_IO_WRITE_DURABLE, file, 0, 2);
    op.method = WAL_IO_METHOD_FDATASYNC;
    REQUIRE(io->ops->execute(io, &op) == -EIO);
    op = blocks_op(WAL_IO_SYNC, file, 0, 1);
    REQUIRE(io->ops->execute(io, &op) == -EIO);
    io->ops->destroy(io);
}

static void allocate_without_fallocate(void)
{
    forbid(SYS_fallocate, EOPNOTSUPP);
    struct wal_io *io = plain_disk(0);
    int file = create_on(io, "a");
    REQUIRE(io->ops->allocate(io, file, 10 * BLOCK) == 0);
    REQUIRE(bytes_on(io, file) == 10 * BLOCK);
    io->ops->destroy(io);
}

static void what_an_old_file_system_lacks(void **state)
{
    (void)state;
    run_in_child(rename_without_the_flag);
    run_in_child(allocate_without_fallocate);
    run_in_child(write_without_dsync);
    run_in_child(sync_fails);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, posix_setup, posix_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_directory_must_be_one),
        TEST(only_regular_files_of_the_directory),
        TEST(the_plain_disk_has_no_ring),
        TEST(without_permission),
        TEST(a_full_disk),
        TEST(a_limit_on_file_size),
        TEST(a_file_that_ends_inside_a_block),
        TEST(locks_end_with_a_killed_owner),
        TEST(a_forbidden_ring),
        TEST(what_an_old_file_system_lacks),
    };
    return cmocka_run_group_tests_name("io_posix", tests, NULL, NULL);
}
