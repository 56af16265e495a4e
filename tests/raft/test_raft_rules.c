/* test_raft_rules.c - the stories of directed*.c, each a test. */

#include "tests/raft/directed.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void run_one(void **state)
{
    const struct directed *test = *state;
    const char *wrong = test->run();
    if (wrong != NULL) {
        fail_msg("%s", wrong);
    }
}

static void add(struct CMUnitTest *tests, const struct directed *stories, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        tests[i] = (struct CMUnitTest){
            .name = stories[i].name, .test_func = run_one, .initial_state = (void *)(uintptr_t)&stories[i]};
    }
}

int main(void)
{
    unsigned count = directed_count + directed_rules_count + directed_found_count;
    struct CMUnitTest *tests = calloc(count, sizeof(*tests));
    add(tests, directed_tests, directed_count);
    add(tests + directed_count, directed_rules, directed_rules_count);
    add(tests + directed_count + directed_rules_count, directed_found, directed_found_count);
    int failed = _cmocka_run_group_tests("rules", tests, count, NULL, NULL);
    free(tests);
    return failed;
}
