/* fuzz.h - the frame of the fuzzers: libFuzzer's entry, or with -DFUZZ_REPLAY a main that replays files and folders. */

#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#ifdef FUZZ_REPLAY
static int replay_file(const char *path)
{
    static uint8_t data[1 << 20];
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return -1;
    }
    size_t size = fread(data, 1, sizeof(data), file);
    (void)fclose(file);
    /* A copy of just that size, so that a read beyond it is seen. */
    uint8_t *exact = malloc(size != 0 ? size : 1);
    memcpy(exact, data, size);
    (void)LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    return 0;
}

int main(int count, char **arguments)
{
    unsigned replayed = 0;
    for (int i = 1; i < count; i++) {
        DIR *folder = opendir(arguments[i]);
        const struct dirent *entry;
        while (folder != NULL && (entry = readdir(folder)) != NULL) {
            char path[1024];
            (void)snprintf(path, sizeof(path), "%s/%s", arguments[i], entry->d_name);
            replayed += entry->d_name[0] != '.' && replay_file(path) == 0;
        }
        if (folder != NULL) {
            (void)closedir(folder);
        } else {
            replayed += replay_file(arguments[i]) == 0;
        }
    }
    printf("result: %u inputs replayed\n", replayed);
    return replayed != 0 ? 0 : 1;
}
#endif

#endif
