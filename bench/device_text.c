/* device_text.c - the facts of device.h in words: warnings, JSON, lines for people.
 *
 * The happy path: one pass over the facts for each of the three.
 *
 * What can fail: nothing here; writing is told by whoever owns the writer or the stream.
 *
 * Invariants: every key of the JSON is always there; a line has at most DEVICE_LINE_COLUMNS and no control characters,
 * whatever a mount point or a model is called.
 *
 * May include: device.h. */

#include "bench/device.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

enum { LABEL_COLUMNS = 13, LINE_BYTES = 2048 };

/* --- warnings ------------------------------------------------------------------------------------ */

struct warnings {
    char (*text)[DEVICE_WARNING_BYTES];
    unsigned count, most;
};

__attribute__((format(printf, 3, 4))) static void warn(struct warnings *warnings, bool applies, const char *format, ...)
{
    if (!applies || warnings->count == warnings->most)
        return;
    va_list values;
    va_start(values, format);
    vsnprintf(warnings->text[warnings->count++], DEVICE_WARNING_BYTES, format, values);
    va_end(values);
}

static bool has_option(const struct device_facts *facts, const char *option)
{
    size_t length = strlen(option);
    for (const char *at = facts->mount_options; *at != 0; at += strcspn(at, ","), at += *at == ',') {
        if (strcspn(at, ",") == length && strncmp(at, option, length) == 0)
            return true;
    }
    return false;
}

/* The type of the file system that holds the bytes. */
static const char *type_of(const struct device_facts *facts)
{
    return facts->fs_upper_type[0] != 0 ? facts->fs_upper_type : facts->fs_type;
}

unsigned device_warnings(const struct device_facts *facts, char text[][DEVICE_WARNING_BYTES], unsigned most)
{
    struct warnings warnings = {.text = text, .most = most};
    bool memory = facts->in_memory == DEVICE_YES, network = facts->network == DEVICE_YES;
    bool overlay = strcmp(facts->fs_type, "overlay") == 0;
    bool elsewhere = memory || network; /* There, no disk of ours answers for anything. */
    warn(&warnings, memory, "In memory (%s): nothing here survives a power cut, and no number here is that of a disk.",
         facts->device[0] != 0 ? facts->device : type_of(facts));
    warn(&warnings, network,
         "Reached over a network or from another system (%s): a flush is as honest as the far end, and times hold the "
         "way to it.",
         facts->transport[0] != 0 ? facts->transport : type_of(facts));
    warn(&warnings, facts->fs_type[0] == 0, "The file system of this path is not told: it may even be in memory.");
    warn(&warnings, overlay && facts->fs_upper_type[0] == 0,
         "An overlay whose upper directory is not visible from here: what is below it is not known, it may even be in "
         "memory.");
    warn(&warnings, has_option(facts, "nobarrier") || has_option(facts, "barrier=0"),
         "Mounted without barriers: a sync does not flush the disk's cache, so what was acknowledged may be lost in a "
         "power cut.");
    warn(&warnings, has_option(facts, "data=journal"),
         "Mounted with data=journal: data is written twice, into the journal first.");
    warn(&warnings, has_option(facts, "sync") || has_option(facts, "dirsync"),
         "Mounted sync or dirsync: writes are synced that nobody asked for.");
    warn(&warnings, facts->write_cache[0] == 0 && !elsewhere && facts->fs_type[0] != 0,
         "Whether the disk has a volatile write cache is not told: a fast sync may be one that does not reach it.");
    warn(&warnings, strcmp(facts->device_kind, "loop") == 0,
         "A loop device: below it is a file in another file system, which syncs in its own way.");
    warn(&warnings, facts->copy_on_write == DEVICE_YES,
         "Copy on write (%s): an overwrite is an allocation, so writing in place is as dear as growing.",
         type_of(facts));
    warn(&warnings, facts->direct_io == DEVICE_NO, "O_DIRECT is refused here: only writes through the page cache.");
    warn(&warnings, facts->virtual_machine == DEVICE_YES && !memory,
         "A virtual machine: a flush is as honest as the host that answers it.");
    warn(&warnings, facts->container == DEVICE_YES,
         "In a container: other containers may share this disk, and limits may apply that are not seen here.");
    return warnings.count;
}

/* --- JSON ---------------------------------------------------------------------------------------- */

static void put_text(struct json_writer *writer, const char *name, const char *text)
{
    json_put_name(writer, name);
    json_put_text(writer, text[0] == 0 ? NULL : text);
}

static void put_number(struct json_writer *writer, const char *name, uint64_t number, bool known)
{
    json_put_name(writer, name);
    if (known)
        json_put_u64(writer, number);
    else
        json_put_null(writer);
}

static void put_answer(struct json_writer *writer, const char *name, enum device_answer answer)
{
    json_put_name(writer, name);
    if (answer == DEVICE_UNKNOWN)
        json_put_null(writer);
    else
        json_put_bool(writer, answer == DEVICE_YES);
}

static void open_part(struct json_writer *writer, const char *name)
{
    json_put_name(writer, name);
    json_open_object(writer);
}

static void write_machine(const struct device_facts *facts, struct json_writer *writer)
{
    open_part(writer, "machine");
    put_text(writer, "kernel", facts->kernel);
    put_text(writer, "architecture", facts->machine);
    put_text(writer, "cpu", facts->cpu);
    put_number(writer, "cpus", facts->cpus, facts->cpus != 0);
    put_number(writer, "memory_bytes", facts->memory_bytes, facts->memory_bytes != 0);
    put_answer(writer, "virtual_machine", facts->virtual_machine);
    put_text(writer, "hypervisor", facts->hypervisor);
    put_answer(writer, "container", facts->container);
    put_text(writer, "container_told_by", facts->container_told);
    put_answer(writer, "io_uring", facts->io_uring);
    put_text(writer, "io_uring_reason", facts->io_uring_reason);
    json_close_object(writer);
}

static void write_file_system(const struct device_facts *facts, struct json_writer *writer)
{
    bool sized = facts->fs_block_bytes != 0; /* A full one has 0 bytes free. */
    open_part(writer, "file_system");
    put_text(writer, "type", facts->fs_type);
    put_text(writer, "upper_type", facts->fs_upper_type);
    put_text(writer, "mount_point", facts->mount_point);
    put_text(writer, "source", facts->mount_source);
    put_text(writer, "options", facts->mount_options);
    put_number(writer, "block_bytes", facts->fs_block_bytes, sized);
    put_number(writer, "free_bytes", facts->fs_free_bytes, sized);
    put_number(writer, "total_bytes", facts->fs_total_bytes, sized);
    put_answer(writer, "in_memory", facts->in_memory);
    put_answer(writer, "network", facts->network);
    put_answer(writer, "copy_on_write", facts->copy_on_write);
    put_answer(writer, "direct_io", facts->direct_io);
    put_text(writer, "direct_io_reason", facts->direct_io_reason);
    json_close_object(writer);
}

static void write_device(const struct device_facts *facts, struct json_writer *writer)
{
    open_part(writer, "device");
    put_text(writer, "name", facts->device);
    put_text(writer, "kind", facts->device_kind);
    put_text(writer, "below", facts->devices_below);
    put_text(writer, "disk", facts->disk);
    put_text(writer, "vendor", facts->vendor);
    put_text(writer, "model", facts->model);
    put_text(writer, "transport", facts->transport);
    put_text(writer, "write_cache", facts->write_cache);
    put_answer(writer, "fua", facts->fua);
    put_answer(writer, "rotational", facts->rotational);
    put_answer(writer, "discard", facts->discard);
    put_number(writer, "logical_block_bytes", facts->logical_block_bytes, facts->logical_block_bytes != 0);
    put_number(writer, "physical_block_bytes", facts->physical_block_bytes, facts->physical_block_bytes != 0);
    put_number(writer, "transfer_max_bytes", facts->transfer_max_bytes, facts->transfer_max_bytes != 0);
    put_text(writer, "scheduler", facts->scheduler);
    put_number(writer, "queue_depth", facts->queue_depth, facts->queue_depth != 0);
    json_close_object(writer);
}

void device_write_json(const struct device_facts *facts, struct json_writer *writer)
{
    char warnings[DEVICE_WARNINGS_MAX][DEVICE_WARNING_BYTES];
    unsigned count = device_warnings(facts, warnings, DEVICE_WARNINGS_MAX);
    json_open_object(writer);
    write_machine(facts, writer);
    write_file_system(facts, writer);
    write_device(facts, writer);
    json_put_name(writer, "warnings");
    json_open_array(writer);
    for (unsigned i = 0; i < count; i++)
        json_put_text(writer, warnings[i]);
    json_close_array(writer);
    json_close_object(writer);
}

/* --- lines --------------------------------------------------------------------------------------- */

struct line {
    char text[LINE_BYTES];
    size_t used;
};

/* Behind ", " unless it is the first. */
__attribute__((format(printf, 3, 4))) static void add(struct line *line, bool applies, const char *format, ...)
{
    if (!applies || line->used >= sizeof(line->text))
        return;
    if (line->used > 0)
        line->used += (size_t)snprintf(line->text + line->used, sizeof(line->text) - line->used, ", ");
    if (line->used >= sizeof(line->text))
        return;
    va_list values;
    va_start(values, format);
    line->used += (size_t)vsnprintf(line->text + line->used, sizeof(line->text) - line->used, format, values);
    va_end(values);
}

static void add_answer(struct line *line, enum device_answer answer, const char *yes, const char *no,
                       const char *unknown)
{
    const char *words = answer == DEVICE_YES ? yes : answer == DEVICE_NO ? no : unknown;
    add(line, words[0] != 0, "%s", words);
}

/* What does not fit ends in "...". A character counts as one column. */
static void print_line(const char *label, struct line *line, FILE *to)
{
    unsigned columns = LABEL_COLUMNS, total = LABEL_COLUMNS;
    for (const char *at = line->text; *at != 0; total++) {
        unsigned length = json_utf8_sequence(at);
        at += length > 0 ? length : 1;
    }
    unsigned end = total <= DEVICE_LINE_COLUMNS ? total : DEVICE_LINE_COLUMNS - 3;
    fprintf(to, "%-*s", LABEL_COLUMNS, label);
    for (const char *at = line->text; columns < end; columns++) {
        unsigned length = json_utf8_sequence(at);
        if (length == 0 || (unsigned char)*at < ' ' || *at == 0x7f)
            fputc('?', to);
        else
            fwrite(at, 1, length, to);
        at += length > 0 ? length : 1;
    }
    fputs(end < total ? "...\n" : "\n", to);
    *line = (struct line){.used = 0};
}

static double gibibytes(uint64_t bytes)
{
    return (double)bytes / (double)(1 << 30);
}

static void print_machine(const struct device_facts *facts, FILE *to)
{
    struct line line = {.used = 0};
    add(&line, true, "Linux%s%s%s%s", facts->kernel[0] != 0 ? " " : "", facts->kernel,
        facts->machine[0] != 0 ? " " : "", facts->machine);
    add(&line, facts->cpus != 0, "%u x %s", facts->cpus, facts->cpu[0] != 0 ? facts->cpu : "a CPU");
    add(&line, facts->memory_bytes != 0, "%.1f GiB", gibibytes(facts->memory_bytes));
    print_line("machine", &line, to);
    bool virtual_machine = facts->virtual_machine == DEVICE_YES, container = facts->container == DEVICE_YES;
    add(&line, virtual_machine, "virtual machine (%s)", facts->hypervisor);
    add_answer(&line, facts->virtual_machine, "", "no virtual machine", "virtual machine or not: not told");
    add(&line, container, "container (%s)", facts->container_told);
    add_answer(&line, facts->container, "", "no container", "container or not: not told");
    add_answer(&line, facts->io_uring, "io_uring works", "", "io_uring not tried");
    add(&line, facts->io_uring == DEVICE_NO, "no io_uring: %s", facts->io_uring_reason);
    print_line("", &line, to);
}

static void print_file_system(const struct device_facts *facts, FILE *to)
{
    struct line line = {.used = 0};
    bool upper = facts->fs_upper_type[0] != 0;
    if (facts->fs_type[0] == 0)
        add(&line, true, "not told");
    else
        add(&line, true, "%s%s%s at %s", facts->fs_type, upper ? " over " : "", facts->fs_upper_type,
            facts->mount_point);
    add(&line, facts->fs_block_bytes != 0, "%.1f of %.1f GiB free", gibibytes(facts->fs_free_bytes),
        gibibytes(facts->fs_total_bytes));
    add_answer(&line, facts->in_memory, "IN MEMORY", "", "");
    add_answer(&line, facts->network, "over a network", "", "");
    add_answer(&line, facts->copy_on_write, "copy on write", "", "");
    add_answer(&line, facts->direct_io, "O_DIRECT works", "no O_DIRECT", "O_DIRECT not known");
    add(&line, facts->mount_options[0] != 0, "%s", facts->mount_options);
    print_line("file system", &line, to);
}

static void print_device(const struct device_facts *facts, FILE *to)
{
    struct line line = {.used = 0};
    bool below = facts->devices_below[0] != 0;
    if (facts->device[0] == 0) {
        add(&line, true, "none, or not told");
        print_line("device", &line, to);
        return;
    }
    add(&line, true, "%s (%s%s%s)", facts->device, facts->device_kind, below ? " on " : "", facts->devices_below);
    add(&line, facts->transport[0] != 0, "%s", facts->transport);
    add(&line, facts->model[0] != 0, "\"%s%s%s\"", facts->vendor, facts->vendor[0] != 0 ? " " : "", facts->model);
    print_line("device", &line, to);
    if (facts->write_cache[0] != 0)
        add(&line, true, "cache: %s", facts->write_cache);
    else
        add(&line, true, "write cache not told");
    add_answer(&line, facts->fua, "FUA", "no FUA", "FUA not told");
    add(&line, facts->logical_block_bytes != 0, "sectors %" PRIu64 "/%" PRIu64, facts->logical_block_bytes,
        facts->physical_block_bytes);
    add_answer(&line, facts->rotational, "rotational", "not rotational", "");
    bool scheduled = strcmp(facts->scheduler, "none") != 0;
    add(&line, facts->scheduler[0] != 0, "%s", scheduled ? facts->scheduler : "no scheduler");
    add(&line, facts->queue_depth != 0, "%u deep", facts->queue_depth);
    print_line("", &line, to);
}

void device_print(const struct device_facts *facts, FILE *to)
{
    print_machine(facts, to);
    print_file_system(facts, to);
    print_device(facts, to);
}
