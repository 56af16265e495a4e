/* directed.h - rules that chance finds too seldom, each with the shortest story that breaks when the rule is not kept.
 */

#ifndef TESTS_RAFT_DIRECTED_H
#define TESTS_RAFT_DIRECTED_H

struct directed {
    const char *name;
    const char *(*run)(void); /* NULL: it held; else what did not. */
};

extern const struct directed directed_tests[];
extern const unsigned directed_count;

/* Those that no other test missed (directed_rules.c). */
extern const struct directed directed_rules[];
extern const unsigned directed_rules_count;

/* What a review found (directed_found.c). */
extern const struct directed directed_found[];
extern const unsigned directed_found_count;

#endif
