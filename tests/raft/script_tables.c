/* script_tables.c - cases of quorums and configuration changes.
 *
 * The happy path: `committed` and `vote` build a configuration, put the values beside its members, and ask quorum.h;
 * the other three ask configuration.h and keep what comes out for the next case.
 *
 * What can fail: a case that makes no sense prints what is wrong with it. */

#include "tests/raft/script_tables.h"

#include "raftcore/configuration.h"
#include "raftcore/quorum.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* --- quorums ------------------------------------------------------------------------------------- */

static void add_side(struct raftcore_configuration *configuration, const struct script_argument *argument,
                     uint32_t flag, uint64_t *order, unsigned *order_count)
{
    for (unsigned i = 0; argument != NULL && i < argument->count; i++) {
        if (strcmp(argument->values[i], "zero") == 0) {
            continue;
        }
        uint64_t id = strtoull(argument->values[i], NULL, 10);
        uint32_t at = 0;
        while (at < configuration->count && configuration->members[at].id < id) {
            at++;
        }
        bool known = at < configuration->count && configuration->members[at].id == id;
        if (!known && configuration->count == RAFTCORE_MEMBERS_MAX) {
            return;
        }
        if (!known) {
            memmove(&configuration->members[at + 1], &configuration->members[at],
                    (configuration->count - at) * sizeof(configuration->members[0]));
            configuration->members[at] = (struct raftcore_member){.id = id};
            configuration->count++;
            order[(*order_count)++] = id;
        }
        configuration->members[at].flags |= flag;
    }
}

/* The word beside a member: values stand in the order in which the ids are named first; "_" or none: not heard. */
static const char *value_of(const struct script_argument *values, const uint64_t *order, unsigned order_count,
                            uint64_t id)
{
    for (unsigned i = 0; i < order_count && values != NULL && i < values->count; i++) {
        if (order[i] == id && strcmp(values->values[i], "_") != 0) {
            return values->values[i];
        }
    }
    return NULL;
}

static void print_bars(const struct raftcore_configuration *configuration, const uint64_t *values, const bool *heard,
                       FILE *out)
{
    int width = (int)configuration->count;
    if (width == 0) {
        (void)fputs("<empty majority quorum>", out);
        return;
    }
    (void)fprintf(out, "%*s    idx\n", width, "");
    for (int i = 0; i < width; i++) {
        int below = 0;
        for (int k = 0; k < width; k++) {
            below += values[k] < values[i];
        }
        if (!heard[i]) {
            (void)fprintf(out, "?%*s", width, "");
        } else {
            for (int k = 0; k < below; k++) {
                (void)fputc('x', out);
            }
            (void)fprintf(out, ">%*s", width - below, "");
        }
        (void)fprintf(out, " %5" PRIu64 "    (id=%" PRIu64 ")\n", values[i], configuration->members[i].id);
    }
}

static void run_quorum(const struct script_case *script_case, FILE *out)
{
    struct raftcore_configuration configuration = {0};
    uint64_t order[RAFTCORE_MEMBERS_MAX], values[RAFTCORE_MEMBERS_MAX] = {0};
    bool heard[RAFTCORE_MEMBERS_MAX] = {0};
    enum quorum_vote votes[RAFTCORE_MEMBERS_MAX] = {0};
    unsigned order_count = 0;
    add_side(&configuration, script_find(script_case, "cfg"), RAFTCORE_VOTER, order, &order_count);
    add_side(&configuration, script_find(script_case, "cfgj"), RAFTCORE_VOTER_OLD, order, &order_count);
    bool is_vote = strcmp(script_case->command, "vote") == 0;
    const struct script_argument *words = script_find(script_case, is_vote ? "votes" : "idx");
    for (uint32_t i = 0; i < configuration.count; i++) {
        const char *word = value_of(words, order, order_count, configuration.members[i].id);
        heard[i] = word != NULL;
        values[i] = word == NULL ? 0 : strtoull(word, NULL, 10);
        votes[i] = word == NULL ? QUORUM_NOT_HEARD : word[0] == 'y' ? QUORUM_YES : QUORUM_NO;
    }
    if (is_vote) {
        static const char *const results[] = {"VotePending", "VoteWon", "VoteLost"};
        (void)fprintf(out, "%s\n", results[quorum_votes(&configuration, votes)]);
        return;
    }
    print_bars(&configuration, values, heard, out);
    uint64_t reached = quorum_reached(&configuration, values);
    if (reached == RAFTCORE_INFINITY) {
        (void)fputs("∞\n", out);
    } else {
        (void)fprintf(out, "%" PRIu64 "\n", reached);
    }
}

/* --- configuration changes ----------------------------------------------------------------------- */

int script_changes(const char *input, struct raftcore_change *changes, unsigned most, FILE *out)
{
    unsigned count = 0;
    while (input[strspn(input, " \t\r\n")] != 0) {
        input += strspn(input, " \t\r\n");
        char *end;
        uint64_t id = strtoull(input + 1, &end, 10);
        const char *kinds = "vlrup";
        const char *kind = strchr(kinds, input[0]);
        if (kind == NULL || end == input + 1 || count == most) {
            (void)fprintf(out, "unknown input: %.*s\n", (int)strcspn(input, " \t\r\n"), input);
            return -1;
        }
        static const uint32_t kind_of[] = {RAFTCORE_ADD_VOTER, RAFTCORE_ADD_LEARNER, RAFTCORE_REMOVE,
                                           RAFTCORE_ADD_VOTER, RAFTCORE_ADD_AND_PROMOTE};
        changes[count] = (struct raftcore_change){.kind = kind_of[kind - kinds], .id = input[0] == 'u' ? 0 : id};
        changes[count].log_id = changes[count].id == 0 ? 0 : 1000 + id;
        count++;
        input = end;
    }
    return (int)count;
}

static uint64_t *next_of(struct script_tables *tables, const struct raftcore_configuration *configuration, uint64_t id)
{
    const struct raftcore_member *member = configuration_find(configuration, id);
    return member == NULL ? NULL : &tables->next[member - configuration->members];
}

/* The members of the new configuration keep the command that brought them; new ones get this one. */
static void take_configuration(struct script_tables *tables, const struct raftcore_configuration *after)
{
    uint64_t next[RAFTCORE_MEMBERS_MAX] = {0};
    for (uint32_t i = 0; i < after->count; i++) {
        const uint64_t *known = next_of(tables, &tables->configuration, after->members[i].id);
        next[i] = known != NULL ? *known : tables->commands > 0 ? tables->commands : 1;
    }
    memcpy(tables->next, next, sizeof(next));
    tables->configuration = *after;
}

static void print_configuration(const struct script_tables *tables, FILE *out)
{
    char text[CONFIGURATION_TEXT_BYTES];
    (void)fprintf(out, "%s\n", configuration_text(&tables->configuration, text));
    for (uint32_t i = 0; i < tables->configuration.count; i++) {
        const struct raftcore_member *member = &tables->configuration.members[i];
        (void)fprintf(out, "%" PRIu64 ": StateProbe match=0 next=%" PRIu64 "%s\n", member->id, tables->next[i],
                      (member->flags & RAFTCORE_LEARNER) != 0 ? " learner" : "");
    }
}

/* The words of that grammar for our reasons. */
static const char *refusal(const struct script_tables *tables, const char *command, int reason)
{
    bool is_joint = configuration_is_joint(&tables->configuration);
    if (reason == RAFTCORE_REASON_NO_VOTERS) {
        return strcmp(command, "enter-joint") == 0 && tables->configuration.count == 0
                   ? "can't make a zero-voter config joint"
                   : "removed all voters";
    }
    if (strcmp(command, "leave-joint") == 0) {
        return "can't leave a non-joint config";
    }
    if (strcmp(command, "enter-joint") == 0 && is_joint) {
        return "config is already joint";
    }
    if (is_joint) {
        return "can't apply simple config change in joint config";
    }
    return reason == RAFTCORE_REASON_TOO_MANY ? "more than one voter changed without entering joint config"
                                              : raftcore_reason_text(reason);
}

static void run_change(struct script_tables *tables, const struct script_case *script_case, FILE *out)
{
    struct raftcore_change changes[RAFTCORE_MEMBERS_MAX];
    struct raftcore_configuration after;
    const char *command = script_case->command;
    int count = script_changes(script_case->input, changes, RAFTCORE_MEMBERS_MAX, out);
    int reason;
    if (count < 0) {
        return;
    }
    if (strcmp(command, "simple") == 0) {
        reason = configuration_simple(&tables->configuration, changes, (uint32_t)count, &after);
    } else if (strcmp(command, "enter-joint") == 0) {
        reason = configuration_enter_joint(&tables->configuration, script_flag(script_case, "autoleave", false),
                                           changes, (uint32_t)count, &after);
    } else {
        reason = configuration_leave_joint(&tables->configuration, &after);
    }
    if (reason == 0) {
        take_configuration(tables, &after);
        print_configuration(tables, out);
    } else {
        (void)fprintf(out, "%s\n", refusal(tables, command, reason));
    }
    tables->commands++;
}

bool script_tables_run(struct script_tables *tables, const struct script_case *script_case, FILE *out)
{
    const char *command = script_case->command;
    if (strcmp(command, "committed") == 0 || strcmp(command, "vote") == 0) {
        run_quorum(script_case, out);
        return true;
    }
    if (strcmp(command, "simple") == 0 || strcmp(command, "enter-joint") == 0 || strcmp(command, "leave-joint") == 0) {
        run_change(tables, script_case, out);
        return true;
    }
    return false;
}
