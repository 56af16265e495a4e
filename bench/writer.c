/* writer.c - durable updates by hand.
 *
 * The happy path: open the row's file in the row's way; warm up; then, for a time, update after update: write at the
 * next place, make it durable by the row's method, count how long it took. `depth` updates are under way at once: as so
 * many threads for system calls, as so many entries of one ring for io_uring.
 *
 * The layouts: a file that grows (append); one whose blocks are reserved and not written (fallocated); one written over
 * (zeroed: with zeros before; recycled: with data before, and renamed).
 *
 * What can fail: any call. A method or a layout that this place does not have (no direct I/O, no ring) skips the row
 * with a reason; an error of the disk ends the run. A failed sync is never counted as an update.
 *
 * Invariants: an update counts when its sync has returned 0, and in no other case. */

#define _GNU_SOURCE
#include "bench/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bench/common.h"
#include "bench/emulate.h"
#include "wal/check.h"

enum method { NONE, FDATASYNC, FSYNC, O_DSYNC_WRITE, RWF_DSYNC_WRITE, URING_LINKED, URING_DSYNC };
enum layout { APPEND, FALLOCATED, ZEROED, RECYCLED };
enum { FILL_BYTES = 1 << 20, ALIGN_BYTES = 4096, DEPTH_MAX = 64 };

const char *const writer_methods[] = {"none",      "fdatasync",    "fsync",       "o_dsync",
                                      "rwf_dsync", "uring-linked", "uring-dsync", NULL};
const char *const writer_layouts[] = {"append", "fallocated", "zeroed", "recycled", NULL};

static const char *const method_texts[] = {
    "a write, and no sync: NOT durable, a power cut takes it",
    "write, then fdatasync: the data, and what is needed to find it",
    "write, then fsync: fdatasync and the file's times",
    "write into a file opened with O_DSYNC",
    "pwritev2 with RWF_DSYNC: O_DSYNC for one write",
    "io_uring: a write linked to an fdatasync, one system call for both",
    "io_uring: one write with RWF_DSYNC",
};
static const char *const layout_texts[] = {
    "the file grows: each sync also makes its new size and blocks durable",
    "blocks reserved by fallocate, never written: each sync also marks them as written",
    "written with zeros before: only data moves",
    "an old file, renamed and written over: only data moves",
};

static unsigned place_of(const char *word, const char *const *words)
{
    unsigned i = 0;
    while (words[i] != NULL && strcmp(words[i], word) != 0)
        i++;
    return i;
}

const char *writer_explain(const char *word)
{
    unsigned method = place_of(word, writer_methods), layout = place_of(word, writer_layouts);
    return writer_methods[method] != NULL   ? method_texts[method]
           : writer_layouts[layout] != NULL ? layout_texts[layout]
                                            : "";
}

bool writer_is_durable(const char *method)
{
    return strcmp(method, writer_methods[NONE]) != 0;
}

/* --- files --------------------------------------------------------------------------------------- */

static void file_path(char *path, size_t size, const char *directory, enum layout layout)
{
    snprintf(path, size, "%s/%s", directory, writer_layouts[layout]);
}

static void fill(unsigned char *bytes, size_t size, uint64_t seed)
{
    for (size_t i = 0; i + sizeof(uint64_t) <= size; i += sizeof(uint64_t)) {
        uint64_t value = random_next(&seed);
        memcpy(bytes + i, &value, sizeof(value));
    }
}

static int write_whole(const char *path, uint64_t file_bytes, bool zeros)
{
    unsigned char *buffer = NULL;
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file < 0)
        return failed(path, NULL, -errno);
    if (posix_memalign((void **)&buffer, ALIGN_BYTES, FILL_BYTES) != 0) {
        close(file);
        return failed("memory to fill a file", NULL, -ENOMEM);
    }
    int error = 0;
    for (uint64_t at = 0; at < file_bytes && error == 0 && !interrupted(); at += FILL_BYTES) {
        if (zeros)
            memset(buffer, 0, FILL_BYTES);
        else
            fill(buffer, FILL_BYTES, at);
        ssize_t moved = pwrite(file, buffer, FILL_BYTES, (off_t)at);
        error = moved < 0 ? errno : moved != FILL_BYTES ? ENOSPC : 0;
    }
    if (error == 0 && fsync(file) != 0)
        error = errno;
    free(buffer);
    if (close(file) != 0 && error == 0)
        error = errno;
    return error == 0 ? 0 : failed(path, NULL, -error);
}

int writer_prepare(const char *directory, uint64_t file_bytes)
{
    char path[4096];
    file_path(path, sizeof(path), directory, ZEROED);
    int result = write_whole(path, file_bytes, true);
    file_path(path, sizeof(path), directory, RECYCLED);
    return result != 0 ? result : write_whole(path, file_bytes, false);
}

/* As a log does with a segment of which nothing is wanted any more. */
static int recycle(const char *path)
{
    char other[4096 + 8];
    snprintf(other, sizeof(other), "%s.old", path);
    return rename(path, other) == 0 && rename(other, path) == 0 ? 0 : -errno;
}

static int reserve(int file, uint64_t file_bytes)
{
    if (fallocate(file, 0, 0, (off_t)file_bytes) != 0)
        return -errno;
    return fsync(file) == 0 ? 0 : -errno;
}

/* The file, or a negative errno. */
static int open_file(const struct row *row, enum method method, enum layout layout, const char *path,
                     uint64_t file_bytes)
{
    int flags = O_RDWR | O_CLOEXEC | (row->direct ? O_DIRECT : 0) | (method == O_DSYNC_WRITE ? O_DSYNC : 0);
    bool fresh = layout == APPEND || layout == FALLOCATED;
    if (fresh)
        (void)unlink(path);
    int result = layout == RECYCLED ? recycle(path) : 0;
    int file = result != 0 ? result : open(path, flags | (fresh ? O_CREAT | O_EXCL : 0), 0666);
    if (file < 0)
        return result != 0 ? result : -errno;
    result = layout == FALLOCATED ? reserve(file, file_bytes) : 0;
    if (result != 0)
        close(file);
    return result != 0 ? result : file;
}

/* --- one run ------------------------------------------------------------------------------------- */

struct run {
    const struct row *row;
    enum method method;
    int file;
    bool wraps;
    uint64_t places;
    _Atomic uint64_t next;
    uint64_t measure_from_ns, end_ns;
    _Atomic int error; /* errno of what failed first. */
    const char *_Atomic what;
};

/* The next place to write, or UINT64_MAX: the file is full. */
static uint64_t next_offset(struct run *run)
{
    uint64_t place = atomic_fetch_add_explicit(&run->next, 1, memory_order_relaxed);
    if (!run->wraps && place >= run->places)
        return UINT64_MAX;
    return place % run->places * run->row->size_bytes;
}

static bool fail(struct run *run, const char *what, int error)
{
    int none = 0;
    if (atomic_compare_exchange_strong(&run->error, &none, error))
        atomic_store(&run->what, what);
    return false;
}

static bool moved_whole(struct run *run, int64_t moved)
{
    if (moved == run->row->size_bytes)
        return true;
    return fail(run, "write", moved < 0 ? (int)-moved : ENOSPC);
}

struct writer {
    struct run *run;
    pthread_t thread;
    unsigned char *buffer;
    struct writing writing;
};

/* Write and sync, each timed. */
static bool update(struct writer *writer, uint64_t offset, uint64_t start_ns, bool measured)
{
    struct run *run = writer->run;
    struct iovec whole = {.iov_base = writer->buffer, .iov_len = run->row->size_bytes};
    int flags = run->method == RWF_DSYNC_WRITE ? RWF_DSYNC : 0;
    ssize_t moved = pwritev2(run->file, &whole, 1, (off_t)offset, flags);
    if (!moved_whole(run, moved < 0 ? -(int64_t)errno : moved))
        return false;
    uint64_t written_ns = clock_ns();
    bool two = run->method == FDATASYNC || run->method == FSYNC;
    if (run->method == FDATASYNC && fdatasync(run->file) != 0)
        return fail(run, "fdatasync", errno);
    if (run->method == FSYNC && fsync(run->file) != 0)
        return fail(run, "fsync", errno);
    if (run->row->emulated_ns != 0 && run->method != NONE)
        emulate_sync(run->row->emulated_ns);
    uint64_t end_ns = clock_ns();
    if (measured) {
        histogram_add(&writer->writing.latency, end_ns - start_ns, 1);
        writer->writing.syncs += run->method != NONE;
    }
    if (measured && (two || run->row->emulated_ns != 0)) {
        histogram_add(&writer->writing.write, written_ns - start_ns, 1);
        histogram_add(&writer->writing.sync, end_ns - written_ns, 1);
    }
    return true;
}

static void *write_in_a_loop(void *argument)
{
    struct writer *writer = argument;
    struct run *run = writer->run;
    for (uint64_t now = clock_ns(); now < run->end_ns && !interrupted(); now = clock_ns()) {
        uint64_t offset = next_offset(run);
        if (offset == UINT64_MAX || atomic_load_explicit(&run->error, memory_order_relaxed) != 0 ||
            !update(writer, offset, now, now >= run->measure_from_ns))
            break;
    }
    return NULL;
}

static int run_threads(struct run *run, struct writer *writers, struct writing *writing)
{
    unsigned started = 0, depth = run->row->depth;
    for (; started < depth; started++) {
        writers[started].run = run;
        fill(writers[started].buffer, run->row->size_bytes, started);
        if (depth > 1 && pthread_create(&writers[started].thread, NULL, write_in_a_loop, &writers[started]) != 0)
            break;
    }
    if (depth == 1)
        write_in_a_loop(&writers[0]);
    else if (started < depth)
        fail(run, "pthread_create", EAGAIN);
    for (unsigned i = 0; i < started && depth > 1; i++)
        pthread_join(writers[i].thread, NULL);
    for (unsigned i = 0; i < started; i++) {
        histogram_merge(&writing->latency, &writers[i].writing.latency);
        histogram_merge(&writing->write, &writers[i].writing.write);
        histogram_merge(&writing->sync, &writers[i].writing.sync);
        writing->syncs += writers[i].writing.syncs;
    }
    return 0;
}

/* --- a ring -------------------------------------------------------------------------------------- */

struct slot {
    uint64_t start_ns;
    bool written; /* The first of two entries is back. */
};

static bool queue_update(struct run *run, struct io_uring *ring, struct writer *writer, unsigned slot)
{
    uint64_t offset = next_offset(run);
    if (offset == UINT64_MAX)
        return false;
    struct io_uring_sqe *entry = io_uring_get_sqe(ring);
    CHECK(entry != NULL);
    io_uring_prep_write(entry, run->file, writer[slot].buffer, run->row->size_bytes, offset);
    entry->user_data = 2 * slot;
    if (run->method == URING_DSYNC) {
        entry->rw_flags = RWF_DSYNC;
        entry->user_data = 2 * slot + 1;
        return true;
    }
    entry->flags |= IOSQE_IO_LINK;
    entry = io_uring_get_sqe(ring);
    CHECK(entry != NULL);
    io_uring_prep_fsync(entry, run->file, IORING_FSYNC_DATASYNC);
    entry->user_data = 2 * slot + 1;
    return true;
}

/* True: the update of this slot is over, and durable. */
static bool take_completion(struct run *run, const struct io_uring_cqe *completion, unsigned *slot)
{
    bool last = completion->user_data % 2 == 1;
    *slot = (unsigned)(completion->user_data / 2);
    if (!last || run->method == URING_DSYNC)
        (void)moved_whole(run, completion->res);
    else if (completion->res != 0)
        (void)fail(run, "fdatasync in the ring", -completion->res);
    return last;
}

static void run_ring(struct run *run, struct io_uring *ring, struct writer *writers, struct writing *writing)
{
    struct slot slots[DEPTH_MAX] = {{0}};
    unsigned busy = 0, depth = run->row->depth;
    uint64_t now = clock_ns();
    for (unsigned slot = 0; slot < depth; slot++) {
        fill(writers[slot].buffer, run->row->size_bytes, slot);
        slots[slot].start_ns = now;
        busy += queue_update(run, ring, writers, slot);
    }
    while (busy > 0) {
        int result = io_uring_submit_and_wait(ring, 1);
        if (result < 0 && result != -EINTR && result != -EAGAIN) {
            (void)fail(run, "io_uring_enter", -result);
            return; /* The ring's end waits for what is under way. */
        }
        struct io_uring_cqe *completion;
        while (io_uring_peek_cqe(ring, &completion) == 0) {
            unsigned slot;
            bool over = take_completion(run, completion, &slot);
            io_uring_cqe_seen(ring, completion);
            if (!over)
                continue;
            busy--;
            if (run->row->emulated_ns != 0)
                emulate_sync(run->row->emulated_ns);
            now = clock_ns();
            if (run->error == 0 && slots[slot].start_ns >= run->measure_from_ns) {
                histogram_add(&writing->latency, now - slots[slot].start_ns, 1);
                writing->syncs++;
            }
            slots[slot].start_ns = now;
            if (run->error == 0 && now < run->end_ns && !interrupted())
                busy += queue_update(run, ring, writers, slot);
        }
    }
}

/* --- together ------------------------------------------------------------------------------------ */

static int run_timed(struct run *run, struct writer *writers, double warm_seconds, double seconds,
                     struct writing *writing, char *reason)
{
    struct io_uring ring;
    bool rings = run->method == URING_LINKED || run->method == URING_DSYNC;
    int result = rings ? io_uring_queue_init(2 * DEPTH_MAX, &ring, 0) : 0;
    if (result != 0) {
        snprintf(reason, WRITER_REASON_BYTES, "no io_uring here: %s", strerror(-result));
        return WRITER_SKIPPED;
    }
    uint64_t cpu_before_ns = cpu_ns();
    run->measure_from_ns = clock_ns() + (uint64_t)(warm_seconds * 1e9);
    run->end_ns = run->measure_from_ns + (uint64_t)(seconds * 1e9);
    if (rings) {
        run_ring(run, &ring, writers, writing);
        io_uring_queue_exit(&ring);
    } else {
        run_threads(run, writers, writing);
    }
    uint64_t now = clock_ns();
    writing->elapsed_ns = now > run->measure_from_ns ? now - run->measure_from_ns : 0;
    writing->cpu_ns = cpu_ns() - cpu_before_ns;
    int error = run->error;
    if (error == EOPNOTSUPP || error == ENOSYS) {
        snprintf(reason, WRITER_REASON_BYTES, "%s: %s", run->what, strerror(error));
        return WRITER_SKIPPED;
    }
    if (error == 0)
        return 0;
    char what[128];
    snprintf(what, sizeof(what), "%s: %s", run->row->id, run->what);
    return failed(what, NULL, -error);
}

static struct writer *make_writers(const struct row *row)
{
    struct writer *writers = calloc(row->depth, sizeof(*writers));
    for (unsigned i = 0; writers != NULL && i < row->depth; i++)
        if (posix_memalign((void **)&writers[i].buffer, ALIGN_BYTES, row->size_bytes) != 0)
            writers[i].buffer = NULL;
    return writers;
}

static bool buffers_are_there(const struct writer *writers, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (writers == NULL || writers[i].buffer == NULL)
            return false;
    return true;
}

static void free_writers(struct writer *writers, unsigned count)
{
    for (unsigned i = 0; writers != NULL && i < count; i++)
        free(writers[i].buffer);
    free(writers);
}

int writer_run(const struct row *row, const char *directory, uint64_t file_bytes, double warm_seconds, double seconds,
               struct writing *writing, char reason[WRITER_REASON_BYTES])
{
    char path[4096];
    enum layout layout = (enum layout)place_of(row->layout, writer_layouts);
    struct run run = {.row = row, .method = (enum method)place_of(row->method, writer_methods)};
    CHECK(row->kind == ROW_WRITE && row->depth >= 1 && row->depth <= DEPTH_MAX && row->size_bytes >= 1);
    CHECK(writer_layouts[layout] != NULL && writer_methods[run.method] != NULL);
    *writing = (struct writing){.syncs = 0};
    if (row->direct && row->size_bytes % 512 != 0) {
        snprintf(reason, WRITER_REASON_BYTES, "direct I/O wants multiples of the block, not %u bytes", row->size_bytes);
        return WRITER_SKIPPED;
    }
    file_path(path, sizeof(path), directory, layout);
    run.file = open_file(row, run.method, layout, path, file_bytes);
    if (run.file == -EINVAL || run.file == -EOPNOTSUPP) {
        snprintf(reason, WRITER_REASON_BYTES, "the file system has no %s",
                 layout == FALLOCATED && !row->direct ? "fallocate" : "direct I/O");
        return WRITER_SKIPPED;
    }
    if (run.file < 0)
        return failed(path, NULL, run.file);
    run.wraps = layout == ZEROED || layout == RECYCLED;
    run.places = file_bytes / row->size_bytes;
    struct writer *writers = make_writers(row);
    int result = !buffers_are_there(writers, row->depth)
                     ? failed("memory for the writers", NULL, -ENOMEM)
                     : run_timed(&run, writers, warm_seconds, seconds, writing, reason);
    free_writers(writers, row->depth);
    close(run.file);
    return result;
}
