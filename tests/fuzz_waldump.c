/* fuzz_waldump.c - any bytes in a log's files, under every reading command of waldump: no crash, no endless loop, no
 * memory beyond bounds, an exit code of the table.
 *
 * The input: byte 0 chooses the golden log (top bit: put checksums right), byte 1 the command and its form, then
 * changes of four bytes each, as in fuzz_recover.c. The files stand in memory. */

#define _GNU_SOURCE
#include "tests/dump_run.h"
#include "tests/fuzz.h"
#include "tests/golden_files.h"
#include "wal/check.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[64];

static void remove_directory(void)
{
    DIR *folder = opendir(directory);
    struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        (void)unlinkat(dirfd(folder), entry->d_name, 0);
    }
    if (folder != NULL) {
        (void)closedir(folder);
    }
    (void)rmdir(directory);
}

static void write_files(const struct golden_files *log)
{
    if (directory[0] == '\0') {
        (void)snprintf(directory, sizeof(directory), "%s/fuzz-waldump-%d",
                       access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", (int)getpid());
        CHECK(mkdir(directory, 0700) == 0 && atexit(remove_directory) == 0);
    }
    remove_directory();
    CHECK(mkdir(directory, 0700) == 0);
    for (unsigned i = 0; i < log->count; i++) {
        char path[128];
        (void)snprintf(path, sizeof(path), "%s/%s", directory, log->names[i]);
        int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        CHECK(file >= 0 && write(file, log->bytes[i], GOLDEN_FILE_BYTES) == GOLDEN_FILE_BYTES && close(file) == 0);
    }
}

static int run(struct settings *settings, unsigned which)
{
    static char path[160];
    static char place[32];
    char text[256];
    size_t length;
    static int (*const commands[])(struct settings *) = {command_ls,      command_dump, command_stat, command_verify,
                                                         command_explain, command_hex,  command_meta, command_export,
                                                         command_tail,    command_diff, command_get,  command_repair};
    const struct golden_files *log = golden_load(which % GOLDEN_LOGS);
    (void)snprintf(path, sizeof(path), "%s/%s", directory, log->names[which % log->count]);
    (void)snprintf(place, sizeof(place), "%u", which % 64);
    unsigned choice = which % (sizeof(commands) / sizeof(commands[0]));
    bool single = (which & 64) != 0 && (choice <= 5);
    settings->path = single ? path : directory;
    settings->second = commands[choice] == command_diff  ? "tests/golden/v1.0-closed"
                       : commands[choice] == command_get ? place
                                                         : NULL;
    return dump_run(commands[choice], settings, text, sizeof(text), &length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    const struct golden_files *log = golden_change(data[0] % GOLDEN_LOGS, data + 2, size - 2, (data[0] & 0x80) != 0);
    write_files(log);
    struct settings settings = dump_settings(directory);
    settings.view = (data[1] & 128) != 0 ? VIEW_PHYSICAL : VIEW_LOG;
    settings.deep = true;
    settings.payload = (data[1] & 128) != 0 ? PAYLOAD_TEXT : PAYLOAD_LEN;
    settings.emit.format = (data[0] & 64) != 0 ? EMIT_TEXT : (data[0] & 32) != 0 ? EMIT_CSV : EMIT_JSON;
    settings.by = (enum grouping)(data[1] % 4);
    settings.reverse = (data[0] & 16) != 0;
    settings.place_segment = format_segment_of_name(log->names[data[1] % log->count]);
    settings.place_offset = (uint64_t)data[size - 1] * 33;
    int code = run(&settings, data[1]);
    CHECK(code == EXIT_READABLE || code == EXIT_NEGATIVE || code == EXIT_USAGE || code == EXIT_DISK ||
          code == EXIT_NEWER);
    return 0;
}
