/* limits.c - what the device can do without a log: the numbers that the log is held to.
 *
 * fio is run as a child, one job a case, on a file that was written before, and its JSON is read; a loop of our own,
 * pwrite and fdatasync, says something where there is no fio. Both overwrite written blocks, as the log does with
 * prepared segments. Another one reads into huge pages, which fio takes only where they were set aside beforehand, and
 * looks at nothing: as fast as that, and no faster, can a log be verified.
 *
 * Of fio's JSON five numbers are wanted. Its writer is regular enough to look for the keys in their order: the
 * section of the direction, then "iops", "bw_bytes", and in "clat_ns" the two percentiles. A key that is missing
 * fails the case. */

#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"

enum { JSON_BYTES_MAX = 1 << 18, FILL_BYTES = 1 << 20 };

static void file_path(char *path, size_t size)
{
    snprintf(path, size, "%s/limit", settings.directory);
}

/* Writes the file once, so that later writes meet allocated, written blocks. */
int limits_prepare(void)
{
    char path[4096];
    void *buffer = NULL;
    int result = -1;
    file_path(path, sizeof(path));
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_DIRECT | O_CLOEXEC, 0666);
    if (file < 0 && errno == EINVAL) {
        fprintf(stderr, "bench_commit: this file system has no direct I/O; choose another with --dir\n");
        return -1;
    }
    if (file < 0 || posix_memalign(&buffer, 4096, FILL_BYTES) != 0)
        return failed(path, NULL, -errno);
    memset(buffer, 0x5a, FILL_BYTES);
    for (uint64_t at = 0; at < settings.file_bytes; at += FILL_BYTES)
        if (pwrite(file, buffer, FILL_BYTES, (off_t)at) != FILL_BYTES) {
            failed("writing the file of the limits", NULL, -errno);
            goto out;
        }
    result = fsync(file);
out:
    free(buffer);
    close(file);
    return result;
}

/* Starts fio with its output in a pipe; a shell splits the words of the job. */
static int run_fio(const char *words, char *json)
{
    char command[8192], path[4096];
    size_t size = 0;
    int status;
    file_path(path, sizeof(path));
    snprintf(command, sizeof(command),
             "exec fio --name=limit --filename='%s' --size=%llu --overwrite=1 --direct=1 --time_based --runtime=%g "
             "--output-format=json %s 2>&1",
             path, (unsigned long long)settings.file_bytes, settings.seconds < 1 ? 1 : settings.seconds, words);
    FILE *pipe = popen(command, "re");
    if (pipe == NULL)
        return failed("fio", NULL, -errno);
    size = fread(json, 1, JSON_BYTES_MAX - 1, pipe);
    json[size] = 0;
    status = pclose(pipe);
    if (interrupted())
        return -1;
    if (status != 0)
        fprintf(stderr, "bench_commit: fio %s: status %#x\n%.500s\n", words, (unsigned)status, json);
    return status == 0 ? 0 : -1;
}

/* The number behind `key` after *at, which moves there; -1 when it is not found. */
static double number_after(const char **at, const char *key)
{
    const char *found = *at == NULL ? NULL : strstr(*at, key);
    *at = found;
    if (found == NULL || (found = strchr(found + strlen(key), ':')) == NULL)
        return -1;
    return strtod(found + 1, NULL);
}

int limit_fio(const struct bench_case *self, struct sample *sample)
{
    char *json = malloc(JSON_BYTES_MAX);
    if (json == NULL || run_fio(self->argument, json) != 0) {
        free(json);
        return -1;
    }
    const char *at = strstr(json, strstr(self->argument, "--rw=read") != NULL ? "\"read\" : {" : "\"write\" : {");
    double bytes = number_after(&at, "\"bw_bytes\"");
    double rate = number_after(&at, "\"iops\"");
    if (at != NULL)
        at = strstr(at, "\"clat_ns\"");
    double p50 = number_after(&at, "\"50.000000\""), p99 = number_after(&at, "\"99.000000\"");
    free(json);
    if (bytes <= 0 || rate <= 0 || p50 < 0 || p99 < 0) {
        fprintf(stderr, "bench_commit: fio's output was not understood\n");
        return -1;
    }
    sample->operations_per_s = sample->records_per_s = rate;
    sample->bytes_per_s = bytes;
    sample->p50_ns = (uint64_t)p50;
    sample->p99_ns = (uint64_t)p99;
    return 0;
}

int limit_raw(const struct bench_case *self, struct sample *sample)
{
    char path[4096];
    void *buffer = NULL;
    struct histogram histogram = {.count = 0};
    file_path(path, sizeof(path));
    int file = open(path, O_WRONLY | O_DIRECT | O_CLOEXEC);
    if (file < 0 || posix_memalign(&buffer, 4096, self->record_bytes) != 0)
        return failed(path, NULL, -errno);
    memset(buffer, 0xa5, self->record_bytes);
    uint64_t start_ns = clock_ns(), before_ns = start_ns, end_ns = start_ns + (uint64_t)(settings.seconds * 1e9),
             at = 0;
    int result = 0;
    while (before_ns < end_ns && result == 0) {
        if (pwrite(file, buffer, self->record_bytes, (off_t)at) != (ssize_t)self->record_bytes || fdatasync(file) != 0)
            result = failed("a plain durable write", NULL, -errno);
        uint64_t after_ns = clock_ns();
        histogram_add(&histogram, after_ns - before_ns, 1);
        before_ns = after_ns;
        at = at + 2 * self->record_bytes > settings.file_bytes ? 0 : at + self->record_bytes;
    }
    sample->operations_per_s = sample->records_per_s = (double)histogram.count * 1e9 / (double)(before_ns - start_ns);
    sample->bytes_per_s = sample->records_per_s * self->record_bytes;
    sample_latency(sample, &histogram);
    free(buffer);
    close(file);
    return result;
}

/* --- reads into huge pages ----------------------------------------------------------------------- */

enum { READS_AT_ONCE = 4, HUGE_PAGE_BYTES = 2 << 20 };

struct reading {
    struct io_uring ring;
    struct histogram histogram;
    int file;
    uint32_t read_bytes;
    uint8_t *buffers; /* Of each read, a huge page. */
    uint64_t at, end_ns, started_ns[READS_AT_ONCE];
};

static void start_read(struct reading *reading, unsigned slot)
{
    struct io_uring_sqe *entry = io_uring_get_sqe(&reading->ring);
    io_uring_prep_read(entry, reading->file, reading->buffers + (size_t)slot * HUGE_PAGE_BYTES, reading->read_bytes,
                       reading->at);
    entry->user_data = slot;
    reading->started_ns[slot] = clock_ns();
    reading->at += reading->read_bytes;
    if (reading->at + reading->read_bytes > settings.file_bytes)
        reading->at = 0;
}

static int read_until_the_end(struct reading *reading)
{
    struct io_uring_cqe *completion;
    unsigned in_flight = 0;
    int result = 0;
    for (; in_flight < READS_AT_ONCE; in_flight++)
        start_read(reading, in_flight);
    while (in_flight > 0) {
        if (io_uring_submit_and_wait(&reading->ring, 1) < 0 || io_uring_peek_cqe(&reading->ring, &completion) != 0)
            continue; /* A signal. */
        unsigned slot = (unsigned)completion->user_data;
        if (completion->res != (int)reading->read_bytes)
            result = failed("a read", NULL, completion->res < 0 ? completion->res : -EIO);
        io_uring_cqe_seen(&reading->ring, completion);
        uint64_t now_ns = clock_ns();
        histogram_add(&reading->histogram, now_ns - reading->started_ns[slot], 1);
        if (now_ns < reading->end_ns && result == 0 && !interrupted())
            start_read(reading, slot);
        else
            in_flight--;
    }
    return result;
}

int limit_read(const struct bench_case *self, struct sample *sample)
{
    char path[4096];
    struct reading reading = {.read_bytes = self->record_bytes};
    size_t bytes = (size_t)READS_AT_ONCE * HUGE_PAGE_BYTES;
    file_path(path, sizeof(path));
    reading.file = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (reading.file < 0 || posix_memalign((void **)&reading.buffers, HUGE_PAGE_BYTES, bytes) != 0)
        return failed(path, NULL, -errno);
    (void)madvise(reading.buffers, bytes, MADV_HUGEPAGE);
    memset(reading.buffers, 1, bytes);
    int result = io_uring_queue_init(2 * READS_AT_ONCE, &reading.ring, 0);
    if (result != 0)
        return failed("io_uring", NULL, result);
    uint64_t start_ns = clock_ns();
    reading.end_ns = start_ns + (uint64_t)(settings.seconds * 1e9);
    result = read_until_the_end(&reading);
    sample->operations_per_s = sample->records_per_s =
        (double)reading.histogram.count * 1e9 / (double)(clock_ns() - start_ns);
    sample->bytes_per_s = sample->records_per_s * self->record_bytes;
    sample_latency(sample, &reading.histogram);
    io_uring_queue_exit(&reading.ring);
    free(reading.buffers);
    close(reading.file);
    return result;
}
