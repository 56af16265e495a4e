/* test_io_posix.c - what only real files, a real kernel and a real ring have.
 *
 * Full disks, size limits, missing rights, system calls that a container forbids, owners that are killed; and the ring
 * with results changed on their way, because a kernel gives short writes, cancelled links and refused entries too
 * rarely to wait for them.
 *
 * Whatever changes the process (limits, user, filters, mounts) is done in a child: its exit code is the result. */

#define _GNU_SOURCE
#include "wal/io.h"

#include <liburing.h>

/* The backend once more, on a ring that this file stands in front of. */
static int scripted_submit(struct io_uring *ring);
static unsigned scripted_peek(struct io_uring *ring, struct io_uring_cqe **entries, unsigned count);
#define io_uring_submit scripted_submit
#define io_uring_peek_batch_cqe scripted_peek
#define wal_io_uring scripted_ring_disk
int scripted_ring_disk(const char *directory, unsigned flags, struct wal_io **io_out);
#include "wal/io_uring.c"
#undef io_uring_submit
#undef io_uring_peek_batch_cqe
#undef wal_io_uring

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
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCK = 4096, BLOCKS = 256, SKIPPED = 77, NOBODY = 65534 };

static char directory[256];
static uint8_t *memory; /* BLOCKS blocks, aligned. */

/* --- helpers ------------------------------------------------------------------------------------- */

static int setup(void **state)
{
    (void)state;
    struct stat status;
    const char *root = getenv("TMPDIR");
    if (root == NULL || root[0] == '\0') {
        root = stat("build/tmp", &status) == 0 && S_ISDIR(status.st_mode) ? "build/tmp" : "/tmp";
    }
    (void)snprintf(directory, sizeof(directory), "%s/test_io_posix.XXXXXX", root);
    memory = aligned_alloc(BLOCK, BLOCKS * BLOCK);
    if (memory == NULL || mkdtemp(directory) == NULL) {
        return -1;
    }
    memset(memory, 0x5a, BLOCKS * BLOCK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fdopendir(fd);
    for (struct dirent *entry = readdir(list); entry != NULL; entry = readdir(list)) {
        if (unlinkat(fd, entry->d_name, 0) != 0) {
            (void)unlinkat(fd, entry->d_name, AT_REMOVEDIR);
        }
    }
    (void)closedir(list);
    free(memory);
    return rmdir(directory);
}

/* For children, where an assertion of the test library has nowhere to jump to. */
#define REQUIRE(condition)                                                                \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            fprintf(stderr, "%s:%d: in the child: %s\n", __FILE__, __LINE__, #condition); \
            _exit(1);                                                                     \
        }                                                                                 \
    } while (0)

static void in_child(void (*body)(void))
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        body();
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == SKIPPED) {
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

static struct wal_io *make(unsigned flags)
{
    struct wal_io *io = NULL;
    REQUIRE(wal_io_posix(directory, flags, &io) == 0);
    return io;
}

static int create(struct wal_io *io, const char *name)
{
    int file = -1;
    REQUIRE(io->ops->open(io, name, WAL_IO_OPEN_WRITE | WAL_IO_OPEN_CREATE, &file) == 0);
    return file;
}

static struct wal_io_op make_op(enum wal_io_kind kind, int file, unsigned first, unsigned count)
{
    return (struct wal_io_op){
        .kind = kind, .file = file, .offset = (uint64_t)first * BLOCK, .size = count * BLOCK, .buffer = memory};
}

static uint64_t bytes_of(struct wal_io *io, int file)
{
    uint64_t bytes = UINT64_MAX;
    REQUIRE(io->ops->file_bytes(io, file, &bytes) == 0);
    return bytes;
}

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
        printf("skipped: no system call filters here\n");
        (void)fflush(stdout);
        _exit(SKIPPED);
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
    char path[300];
    struct wal_io *io = NULL;
    unsigned before = open_descriptors();
    for (unsigned i = 0; i < 2; i++) {
        int (*make_disk)(const char *, unsigned, struct wal_io **) = i == 0 ? wal_io_posix : scripted_ring_disk;
        (void)snprintf(path, sizeof(path), "%s/none", directory);
        assert_int_equal(make_disk(path, 0, &io), -ENOENT);
        (void)snprintf(path, sizeof(path), "%s/none/deeper", directory);
        assert_int_equal(make_disk(path, WAL_IO_DIRECTORY_CREATE, &io), -ENOENT);
        (void)snprintf(path, sizeof(path), "%s/file", directory);
        (void)close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        assert_int_equal(make_disk(path, 0, &io), -ENOTDIR);
        assert_int_equal(make_disk(path, WAL_IO_DIRECTORY_CREATE, &io), -ENOTDIR);
        assert_null(io);
    }
    (void)snprintf(path, sizeof(path), "%s/new", directory);
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
    char path[300];
    struct wal_io *io = make(0);
    int file = -1;
    (void)snprintf(path, sizeof(path), "%s/pipe", directory);
    assert_int_equal(mkfifo(path, 0600), 0);
    (void)snprintf(path, sizeof(path), "%s/folder", directory);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof(path), "%s/link", directory);
    assert_int_equal(symlink("target", path), 0);
    assert_int_equal(io->ops->close(io, create(io, "target")), 0);
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
    struct wal_io *io = make(0);
    assert_false(io->caps.asynchronous);
    assert_int_equal(io->caps.methods_submitted, 0);
    struct wal_io_op op = make_op(WAL_IO_READ, -1, 0, 1);
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
    int result = wal_io_posix(directory, 0, &io);
    if (result == -EACCES) {
        printf("skipped: the temporary directory is not for others\n");
        (void)fflush(stdout);
        _exit(SKIPPED);
    }
    REQUIRE(result == 0);
    int file = -1;
    REQUIRE(io->ops->open(io, "a", 0, &file) == 0);
    struct wal_io_op op = make_op(WAL_IO_READ, file, 0, 2);
    REQUIRE(io->ops->execute(io, &op) == 0);
    REQUIRE(op.moved_bytes == BLOCK);
    REQUIRE(io->ops->open(io, "a", WAL_IO_OPEN_WRITE, &file) == -EACCES);
    REQUIRE(io->ops->open(io, "b", WAL_IO_OPEN_WRITE | WAL_IO_OPEN_CREATE, &file) == -EACCES);
    REQUIRE(io->ops->unlink(io, "a") == -EACCES);
    REQUIRE(io->ops->rename(io, "a", "b") == -EACCES);
    REQUIRE(io->ops->sync_directory(io) == 0);
    io->ops->destroy(io);
    struct wal_io *other = NULL;
    char path[300];
    (void)snprintf(path, sizeof(path), "%s/new", directory);
    REQUIRE(wal_io_posix(path, WAL_IO_DIRECTORY_CREATE, &other) == -EACCES);
    REQUIRE(other == NULL);
}

static void without_permission(void **state)
{
    (void)state;
    struct wal_io *io = make(0);
    int file = create(io, "a");
    struct wal_io_op op = make_op(WAL_IO_WRITE_DURABLE, file, 0, 1);
    assert_int_equal(io->ops->execute(io, &op), 0);
    assert_int_equal(fchmod(file, 0444), 0);
    (void)io->ops->close(io, file);
    io->ops->destroy(io);
    assert_int_equal(chmod(directory, 0555), 0);
    in_child(read_as_nobody);
    assert_int_equal(chmod(directory, 0755), 0);
}

/* --- room ---------------------------------------------------------------------------------------- */

static void fill_a_small_disk(void)
{
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", directory, "tmpfs", 0, "size=512k") != 0) {
        printf("skipped: a small file system cannot be mounted here\n");
        (void)fflush(stdout);
        _exit(SKIPPED);
    }
    struct wal_io *io = make(0);
    int file = create(io, "a");
    REQUIRE(io->ops->allocate(io, file, 4 << 20) == -ENOSPC);
    REQUIRE(bytes_of(io, file) == 0);
    REQUIRE(io->ops->allocate(io, file, 64 * BLOCK) == 0);
    REQUIRE(io->ops->allocate(io, file, 4 << 20) == -ENOSPC);
    REQUIRE(bytes_of(io, file) == 64 * BLOCK); /* What the refused attempt took is given back. */

    int other = create(io, "b");
    struct wal_io_op op = make_op(WAL_IO_WRITE_DURABLE, other, 0, 100);
    op.method = WAL_IO_METHOD_FDATASYNC;
    REQUIRE(io->ops->execute(io, &op) == -ENOSPC);
    REQUIRE(op.moved_bytes < op.size);
    REQUIRE(op.sync_ns == 0); /* A write that fell short is not synced, and nothing is claimed. */

    op = make_op(WAL_IO_WRITE_DURABLE, file, 0, 64);
    REQUIRE(io->ops->execute(io, &op) == 0); /* Into the room reserved before. */
    REQUIRE(io->ops->unlink(io, "b") == 0 && io->ops->close(io, other) == 0);
    REQUIRE(io->ops->allocate(io, file, 100 * BLOCK) == 0);
    io->ops->destroy(io);
}

static void a_full_disk(void **state)
{
    (void)state;
    in_child(fill_a_small_disk);
}

static void write_beyond_a_limit(void)
{
    const struct rlimit limit = {3 * BLOCK, RLIM_INFINITY};
    REQUIRE(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    struct wal_io *io = make(0);
    for (unsigned method = WAL_IO_METHOD_DEFAULT; method <= WAL_IO_METHOD_LINKED; method++) {
        int file = create(io, "a");
        struct wal_io_op op = make_op(WAL_IO_WRITE_DURABLE, file, 1, 4);
        op.method = (enum wal_io_method)method;
        REQUIRE(io->ops->execute(io, &op) == -EFBIG);
        REQUIRE(op.moved_bytes == 2 * BLOCK); /* The kernel's short write, then its refusal. */
        REQUIRE(bytes_of(io, file) == 3 * BLOCK);
        REQUIRE(ftruncate(file, 0) == 0);
        REQUIRE(io->ops->close(io, file) == 0);
    }
    io->ops->destroy(io);
}

static void a_limit_on_file_size(void **state)
{
    (void)state;
    in_child(write_beyond_a_limit);
}

static void a_file_that_ends_inside_a_block(void **state)
{
    (void)state;
    for (unsigned flags = 0; flags <= WAL_IO_BUFFERED; flags += WAL_IO_BUFFERED) {
        struct wal_io *io = make(flags);
        int file = create(io, "a");
        struct wal_io_op op = make_op(WAL_IO_WRITE, file, 0, 3);
        assert_int_equal(io->ops->execute(io, &op), 0);
        assert_int_equal(ftruncate(file, 2 * BLOCK + 1000), 0);
        op = make_op(WAL_IO_READ, file, 0, 8);
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
        struct wal_io *io = make(0);
        REQUIRE(io->ops->lock_directory(io) == 0);
        REQUIRE(io->ops->lock_file(io, create(io, "a")) == 0);
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
    struct wal_io *io = make(0);
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
    REQUIRE(wal_io_uring(directory, 0, &io) == -EPERM);
    REQUIRE(io == NULL);
    REQUIRE(wal_io_posix(directory, 0, &io) == 0); /* The plain one is to be had. */
    io->ops->destroy(io);
}

static void make_a_ring_without_enter(void)
{
    forbid(SYS_io_uring_enter, EACCES);
    struct wal_io *io = NULL;
    int result = wal_io_uring(directory, 0, &io);
    REQUIRE(result == -EACCES || result == -EPERM || result == -ENOSYS);
    REQUIRE(io == NULL);
}

static void a_forbidden_ring(void **state)
{
    (void)state;
    in_child(make_a_ring_without_setup);
    in_child(make_a_ring_without_enter);
}

static void rename_without_the_flag(void)
{
    forbid(SYS_renameat2, ENOSYS);
    struct wal_io *io = make(0);
    REQUIRE(io->ops->close(io, create(io, "a")) == 0);
    REQUIRE(io->ops->close(io, create(io, "b")) == 0);
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
    struct wal_io *io = make(0);
    struct wal_io_op op = make_op(WAL_IO_WRITE_DURABLE, create(io, "a"), 0, 2);
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
    struct wal_io *io = make(0);
    int file = create(io, "a");
    forbid(SYS_fdatasync, EIO);
    struct wal_io_op op = make_op(WAL_IO_WRITE_DURABLE, file, 0, 2);
    op.method = WAL_IO_METHOD_FDATASYNC;
    REQUIRE(io->ops->execute(io, &op) == -EIO);
    op = make_op(WAL_IO_SYNC, file, 0, 1);
    REQUIRE(io->ops->execute(io, &op) == -EIO);
    io->ops->destroy(io);
}

static void allocate_without_fallocate(void)
{
    forbid(SYS_fallocate, EOPNOTSUPP);
    struct wal_io *io = make(0);
    int file = create(io, "a");
    REQUIRE(io->ops->allocate(io, file, 10 * BLOCK) == 0);
    REQUIRE(bytes_of(io, file) == 10 * BLOCK);
    io->ops->destroy(io);
}

static void what_an_old_file_system_lacks(void **state)
{
    (void)state;
    in_child(rename_without_the_flag);
    in_child(allocate_without_fallocate);
    in_child(write_without_dsync);
    in_child(sync_fails);
}

/* --- the ring, with results changed on their way ------------------------------------------------- */

/* What the kernel is made to say, and what it was asked. */
static struct script {
    int refuse_submits;     /* So many times: nothing is taken, -EAGAIN. */
    bool refuse_for_good;   /* Nothing is taken, -EPERM. */
    bool take_all_but_last; /* Once: the last entry is left in the queue. */
    bool write_half; /* Once: entries of a write ask for half of it only, so that the result is short, and no link
                        breaks. */
    int transfer_results[4]; /* In turn in place of the kernel's; 0: leave it. */
    int sync_results[4];
    unsigned transfer_next;
    unsigned sync_next;
    unsigned writes; /* Entries handed to the kernel. */
    unsigned syncs;
    unsigned empty;
    unsigned dsyncs;
    bool write_out;       /* A write was handed over, and its completion was not seen. */
    unsigned early_syncs; /* Unlinked syncs handed over while a write was out. */
} script;

static struct io_uring_sqe *queued(struct io_uring *ring, unsigned n)
{
    return &ring->sq.sqes[n & *ring->sq.kring_mask];
}

static void note_entries(struct io_uring *ring, unsigned from, unsigned to)
{
    bool linked = false;
    for (unsigned i = from; i != to; i++) {
        struct io_uring_sqe *entry = queued(ring, i);
        if (entry->opcode == IORING_OP_WRITE) {
            script.writes++;
            script.dsyncs += ((unsigned)entry->rw_flags & RWF_DSYNC) != 0;
            script.write_out = true;
            linked = (entry->flags & IOSQE_IO_LINK) != 0;
            if (script.write_half) {
                script.write_half = false;
                entry->len /= 2;
            }
        } else if (entry->opcode == IORING_OP_FSYNC) {
            script.syncs++;
            script.early_syncs += script.write_out && !linked;
            linked = false;
        } else {
            script.empty += entry->opcode == IORING_OP_NOP;
            linked = false;
        }
    }
}

static int scripted_submit(struct io_uring *ring)
{
    if (script.refuse_for_good) {
        return -EPERM;
    }
    if (script.refuse_submits > 0) {
        script.refuse_submits--;
        return -EAGAIN;
    }
    unsigned from = ring->sq.sqe_tail - io_uring_sq_ready(ring);
    unsigned hidden = script.take_all_but_last && ring->sq.sqe_tail - from > 1 ? 1 : 0;
    script.take_all_but_last = script.take_all_but_last && hidden == 0;
    ring->sq.sqe_tail -= hidden;
    note_entries(ring, from, ring->sq.sqe_tail);
    int result = io_uring_submit(ring);
    ring->sq.sqe_tail += hidden;
    return result;
}

static unsigned scripted_peek(struct io_uring *ring, struct io_uring_cqe **entries, unsigned count)
{
    unsigned seen = io_uring_peek_batch_cqe(ring, entries, count);
    for (unsigned i = 0; i < seen; i++) {
        unsigned out = (unsigned)entries[i]->user_data & OUT_MASK;
        int change = 0;
        if (out == TRANSFER_OUT) {
            script.write_out = false;
            change = script.transfer_next < 4 ? script.transfer_results[script.transfer_next++] : 0;
        } else if (out == SYNC_OUT) {
            change = script.sync_next < 4 ? script.sync_results[script.sync_next++] : 0;
        }
        entries[i]->res = change != 0 ? change : entries[i]->res;
    }
    return seen;
}

struct scripted_case {
    const char *name;
    struct script script;
    enum wal_io_method method;
    int result;
    unsigned writes, syncs, empty;
};

static const struct scripted_case scripted_cases[] = {
    {"dsync", {0}, WAL_IO_METHOD_DSYNC, 0, 1, 0, 0},
    {"linked", {0}, WAL_IO_METHOD_LINKED, 0, 1, 1, 0},
    {"write, then sync", {0}, WAL_IO_METHOD_FDATASYNC, 0, 1, 1, 0},
    {"dsync, short: every piece carries the flag",
     {.transfer_results = {BLOCK, BLOCK}},
     WAL_IO_METHOD_DSYNC,
     0,
     3,
     0,
     0},
    {"dsync is not known: fdatasync covers it", {.transfer_results = {-EOPNOTSUPP}}, WAL_IO_METHOD_DSYNC, 0, 2, 1, 0},
    {"dsync is not known for the rest", {.transfer_results = {BLOCK, -EOPNOTSUPP}}, WAL_IO_METHOD_DSYNC, 0, 3, 1, 0},
    {"linked, short: the rest has a sync of its own",
     {.transfer_results = {BLOCK}, .sync_results = {-ECANCELED}},
     WAL_IO_METHOD_LINKED,
     0,
     2,
     2,
     0},
    {"linked, short, and the link did not break: its sync counts for nothing",
     {.write_half = true},
     WAL_IO_METHOD_LINKED,
     0,
     2,
     2,
     0},
    {"the same, and the sync of the rest does not run: the first one covers nothing of it",
     {.write_half = true, .sync_results = {0, -ECANCELED}},
     WAL_IO_METHOD_LINKED,
     0,
     2,
     3,
     0},
    {"linked, interrupted",
     {.transfer_results = {-EINTR, -EAGAIN}, .sync_results = {-ECANCELED, -ECANCELED}},
     WAL_IO_METHOD_LINKED,
     0,
     3,
     3,
     0},
    {"linked, only the sync is cancelled", {.sync_results = {-ECANCELED}}, WAL_IO_METHOD_LINKED, 0, 1, 2, 0},
    {"linked, the sync's thread has ended", {.sync_results = {-EFAULT}}, WAL_IO_METHOD_LINKED, 0, 1, 2, 0},
    {"the write's thread has ended", {.transfer_results = {-ECANCELED, -EFAULT}}, WAL_IO_METHOD_DSYNC, 0, 3, 0, 0},
    {"linked, the sync fails", {.sync_results = {-EIO}}, WAL_IO_METHOD_LINKED, -EIO, 1, 1, 0},
    {"the sync after the write fails", {.sync_results = {-EIO}}, WAL_IO_METHOD_FDATASYNC, -EIO, 1, 1, 0},
    {"linked, the write fails",
     {.transfer_results = {-EIO}, .sync_results = {-ECANCELED}},
     WAL_IO_METHOD_LINKED,
     -EIO,
     1,
     1,
     0},
    {"linked, the write fails, and the sync does too",
     {.transfer_results = {-ENOSPC}, .sync_results = {-EIO}},
     WAL_IO_METHOD_LINKED,
     -ENOSPC,
     1,
     1,
     0},
    {"linked, the rest fails",
     {.transfer_results = {BLOCK, -ENOSPC}, .sync_results = {-ECANCELED, -ECANCELED}},
     WAL_IO_METHOD_LINKED,
     -ENOSPC,
     2,
     2,
     0},
    {"the write fails: no sync", {.transfer_results = {-EIO}}, WAL_IO_METHOD_FDATASYNC, -EIO, 1, 0, 0},
    {"the kernel has no memory at first", {.refuse_submits = 3}, WAL_IO_METHOD_LINKED, 0, 1, 1, 0},
    {"the kernel takes the write and not the sync", {.take_all_but_last = true}, WAL_IO_METHOD_LINKED, 0, 1, 1, 1},
    {"the same, and the write is short",
     {.take_all_but_last = true, .transfer_results = {BLOCK}},
     WAL_IO_METHOD_LINKED,
     0,
     2,
     1,
     1},
    {"the same, and the write fails",
     {.take_all_but_last = true, .transfer_results = {-EIO}},
     WAL_IO_METHOD_LINKED,
     -EIO,
     1,
     0,
     0},
};

static unsigned done_count;

static void count_done(struct wal_io_op *op)
{
    (void)op;
    done_count++;
}

static struct wal_io *make_scripted(void)
{
    struct wal_io *io = NULL;
    script = (struct script){0};
    int result = scripted_ring_disk(directory, 0, &io);
    if (result != 0) {
        print_message("skipped: no ring here: %s\n", strerror(-result));
        skip();
    }
    return io;
}

static void run_scripted(const struct scripted_case *run)
{
    struct wal_io *io = make_scripted();
    int file = create(io, "a");
    memset(memory, 0x77, 4 * BLOCK);
    struct wal_io_op op = make_op(WAL_IO_WRITE_DURABLE, file, 0, 4);
    op.method = run->method;
    op.done = count_done;
    done_count = 0;
    script = run->script;
    assert_int_equal(io->ops->submit(io, &op), 0);
    assert_int_equal(io->ops->poll(io, 1), 1);
    assert_int_equal(done_count, 1);
    if (op.result != run->result || script.writes != run->writes || script.syncs != run->syncs ||
        script.empty != run->empty || script.early_syncs != 0) {
        print_error("%s: result %d, %u writes, %u syncs (%u early), %u empty\n", run->name, op.result, script.writes,
                    script.syncs, script.early_syncs, script.empty);
        fail();
    }
    if (run->method == WAL_IO_METHOD_DSYNC) {
        assert_int_equal(script.dsyncs, script.syncs == 0 ? script.writes : script.writes - 1);
    }
    assert_true(op.result != 0 || op.moved_bytes == op.size);
    if (op.result == 0) {
        memset(memory, 0, 4 * BLOCK);
        struct wal_io_op back = make_op(WAL_IO_READ, file, 0, 4);
        assert_int_equal(io->ops->execute(io, &back), 0);
        assert_int_equal(back.moved_bytes, 4 * BLOCK);
        for (size_t i = 0; i < 4 * BLOCK; i++) {
            assert_int_equal(memory[i], 0x77);
        }
    }
    assert_int_equal(io->ops->close(io, file), 0);
    io->ops->destroy(io);
}

static void scripted_rings(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(scripted_cases) / sizeof(scripted_cases[0]); i++) {
        run_scripted(&scripted_cases[i]);
    }
}

/* The kernel takes nothing: submit gives the operation back, nothing of it is left in the queue, and the ring works
 * afterwards. */
static void a_ring_that_takes_nothing(void **state)
{
    (void)state;
    struct wal_io *io = make_scripted();
    int file = create(io, "a");
    struct wal_io_op op = make_op(WAL_IO_WRITE_DURABLE, file, 0, 4);
    op.method = WAL_IO_METHOD_LINKED;
    op.done = count_done;
    done_count = 0;
    for (unsigned round = 0; round < 100; round++) {
        script = (struct script){.refuse_for_good = true};
        assert_int_equal(io->ops->submit(io, &op), round < 64 ? -EPERM : -ENOMEM);
    }
    script = (struct script){.refuse_submits = 1000};
    assert_int_equal(io->ops->submit(io, &op), -ENOMEM);
    assert_int_equal(io->ops->poll(io, 1), 0); /* Nothing is in flight. */

    script = (struct script){0};
    assert_int_equal(io->ops->submit(io, &op), 0);
    assert_int_equal(io->ops->poll(io, 1), 1);
    assert_int_equal(op.result, 0);
    assert_int_equal(done_count, 1);
    assert_int_equal(script.writes, 1);
    assert_int_equal(script.syncs, 1);
    assert_int_equal(script.empty, 2 * 64);
    assert_int_equal(io->ops->close(io, file), 0);
    io->ops->destroy(io);
}

/* A rest that the kernel does not take ends the operation with an error; it is not lost. */
static void a_rest_that_is_not_taken(void **state)
{
    (void)state;
    struct wal_io *io = make_scripted();
    int file = create(io, "a");
    struct wal_io_op op = make_op(WAL_IO_WRITE_DURABLE, file, 0, 4);
    op.method = WAL_IO_METHOD_FDATASYNC;
    op.done = count_done;
    done_count = 0;
    assert_int_equal(io->ops->submit(io, &op), 0);
    script.refuse_for_good = true;
    assert_int_equal(io->ops->poll(io, 1), 1);
    assert_int_equal(op.result, -EPERM);
    assert_int_equal(op.moved_bytes, 4 * BLOCK);
    assert_int_equal(done_count, 1);
    assert_int_equal(io->ops->close(io, file), 0);
    io->ops->destroy(io);
}

/* The kernel's own short write in a linked pair. */
static void link_beyond_a_limit(void)
{
    const struct rlimit limit = {3 * BLOCK, RLIM_INFINITY};
    REQUIRE(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    struct wal_io *io = NULL;
    script = (struct script){0};
    if (scripted_ring_disk(directory, 0, &io) != 0) {
        printf("skipped: no ring here\n");
        (void)fflush(stdout);
        _exit(SKIPPED);
    }
    for (unsigned method = WAL_IO_METHOD_DEFAULT; method <= WAL_IO_METHOD_LINKED; method++) {
        int file = create(io, "a");
        struct wal_io_op op = make_op(WAL_IO_WRITE_DURABLE, file, 1, 4);
        op.method = (enum wal_io_method)method;
        op.done = count_done;
        REQUIRE(io->ops->submit(io, &op) == 0);
        REQUIRE(io->ops->poll(io, 1) == 1);
        REQUIRE(op.result == -EFBIG);
        REQUIRE(op.moved_bytes == 2 * BLOCK);
        REQUIRE(ftruncate(file, 0) == 0);
        REQUIRE(io->ops->close(io, file) == 0);
    }
    io->ops->destroy(io);
}

static void a_link_broken_by_the_kernel(void **state)
{
    (void)state;
    in_child(link_beyond_a_limit);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
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
        TEST(scripted_rings),
        TEST(a_ring_that_takes_nothing),
        TEST(a_rest_that_is_not_taken),
        TEST(a_link_broken_by_the_kernel),
    };
    return cmocka_run_group_tests_name("io_posix", tests, NULL, NULL);
}
