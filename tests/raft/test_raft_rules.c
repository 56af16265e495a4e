/* test_raft_rules.c - the stories of directed.c, each a test. */

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

int main(void)
{
    struct CMUnitTest *tests = calloc(directed_count, sizeof(*tests));
    for (unsigned i = 0; i < directed_count; i++) {
        tests[i] = (struct CMUnitTest){.name = directed_tests[i].name,
                                       .test_func = run_one,
                                       .initial_state = (void *)(uintptr_t)&directed_tests[i]};
    }
    int failed = _cmocka_run_group_tests("rules", tests, directed_count, NULL, NULL);
    free(tests);
    return failed;
}
