/* configuration.c - who belongs to the cluster, as data, and how it may change.
 *
 * The happy path: one member is added or removed in a simple change; more than one voter goes through a joint
 * configuration, in which both sides must agree (Raft paper, section 6), and which is left by a change of its own.
 *
 * What can fail: a change that is not allowed gives a reason, and nothing else.
 *
 * Invariants: ids rise; a member is a voter of the new side, or a learner, or neither while it still is a voter of the
 * old side; a learner-to-be (LEARNER_NEXT) is a voter of the old side and not of the new; the new side has a voter.
 *
 * May include: configuration.h, zoo.h. */

#include "raftcore/configuration.h"

#include "raftcore/zoo.h"

#include <stdio.h>
#include <string.h>

/* --- looking ------------------------------------------------------------------------------------- */

/* The place of an id, or where it would stand. */
static uint32_t place_of(const struct raftcore_configuration *configuration, uint64_t id)
{
    uint32_t place = 0;
    while (place < configuration->count && configuration->members[place].id < id) {
        place++;
    }
    return place;
}

static bool stands_at(const struct raftcore_configuration *configuration, uint32_t place, uint64_t id)
{
    return place < configuration->count && configuration->members[place].id == id;
}

const struct raftcore_member *configuration_find(const struct raftcore_configuration *configuration, uint64_t id)
{
    uint32_t place = place_of(configuration, id);
    return stands_at(configuration, place, id) ? &configuration->members[place] : NULL;
}

static uint32_t count_of(const struct raftcore_configuration *configuration, uint32_t flag)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < configuration->count; i++) {
        found += (configuration->members[i].flags & flag) != 0;
    }
    return found;
}

bool configuration_is_joint(const struct raftcore_configuration *configuration)
{
    return count_of(configuration, RAFTCORE_VOTER_OLD) > 0;
}

bool configuration_is_voter(const struct raftcore_configuration *configuration, uint64_t id)
{
    const struct raftcore_member *member = configuration_find(configuration, id);
    return member != NULL && (member->flags & (RAFTCORE_VOTER | RAFTCORE_VOTER_OLD)) != 0;
}

bool configuration_is_voter_with_log(const struct raftcore_configuration *configuration, uint64_t id, uint64_t log_id)
{
    const struct raftcore_member *member = configuration_find(configuration, id);
    return configuration_is_voter(configuration, id) && (member->log_id == 0 || member->log_id == log_id);
}

bool configuration_equal(const struct raftcore_configuration *a, const struct raftcore_configuration *b)
{
    if (a->count != b->count || a->leave_automatically != b->leave_automatically) {
        return false;
    }
    for (uint32_t i = 0; i < a->count; i++) {
        const struct raftcore_member *one = &a->members[i];
        const struct raftcore_member *other = &b->members[i];
        if (one->id != other->id || one->log_id != other->log_id || one->flags != other->flags) {
            return false;
        }
    }
    return true;
}

static bool flags_fit(uint32_t flags)
{
    bool voter = (flags & RAFTCORE_VOTER) != 0;
    bool old = (flags & RAFTCORE_VOTER_OLD) != 0;
    bool learner = (flags & RAFTCORE_LEARNER) != 0;
    bool next = (flags & RAFTCORE_LEARNER_NEXT) != 0;
    bool promote = (flags & RAFTCORE_PROMOTE) != 0;
    uint32_t known = RAFTCORE_VOTER | RAFTCORE_VOTER_OLD | RAFTCORE_LEARNER | RAFTCORE_LEARNER_NEXT | RAFTCORE_PROMOTE;
    return (flags & ~known) == 0 && (voter || old || learner) && !(learner && (voter || old)) && !(next && !old) &&
           !(next && voter) && !(promote && !learner);
}

int configuration_check(const struct raftcore_configuration *configuration)
{
    if (configuration->count > RAFTCORE_MEMBERS_MAX) {
        return RAFTCORE_REASON_TOO_MANY;
    }
    uint64_t before = 0;
    for (uint32_t i = 0; i < configuration->count; i++) {
        const struct raftcore_member *member = &configuration->members[i];
        if (member->id <= before || member->id == RAFTCORE_VOTE_SPENT || !flags_fit(member->flags)) {
            return RAFTCORE_REASON_INVALID;
        }
        before = member->id;
    }
    if (configuration->leave_automatically && !configuration_is_joint(configuration)) {
        return RAFTCORE_REASON_INVALID;
    }
    return configuration->count == 0 || count_of(configuration, RAFTCORE_VOTER) > 0 ? 0 : RAFTCORE_REASON_NO_VOTERS;
}

/* --- changing ------------------------------------------------------------------------------------ */

static int insert(struct raftcore_configuration *configuration, uint32_t place, uint64_t id, uint64_t log_id)
{
    if (configuration->count == RAFTCORE_MEMBERS_MAX) {
        return RAFTCORE_REASON_TOO_MANY;
    }
    struct raftcore_member *at = &configuration->members[place];
    memmove(at + 1, at, (configuration->count - place) * sizeof(*at));
    *at = (struct raftcore_member){.id = id, .log_id = log_id};
    configuration->count++;
    return 0;
}

static void erase(struct raftcore_configuration *configuration, uint32_t place)
{
    struct raftcore_member *at = &configuration->members[place];
    configuration->count--;
    memmove(at, at + 1, (configuration->count - place) * sizeof(*at));
    configuration->members[configuration->count] = (struct raftcore_member){0};
}

static int change_one(struct raftcore_configuration *configuration, const struct raftcore_change *change)
{
    uint32_t place = place_of(configuration, change->id);
    bool known = stands_at(configuration, place, change->id);
    if (change->kind == RAFTCORE_REMOVE) {
        if (known && (configuration->members[place].flags & RAFTCORE_VOTER_OLD) != 0) {
            configuration->members[place].flags = RAFTCORE_VOTER_OLD; /* It counts until the joint one is left. */
        } else if (known) {
            erase(configuration, place);
        }
        return 0;
    }
    int reason = known ? 0 : insert(configuration, place, change->id, change->log_id);
    if (reason != 0) {
        return reason;
    }
    struct raftcore_member *member = &configuration->members[place];
    if (change->log_id != 0 && member->log_id != 0 && change->log_id != member->log_id) {
        return RAFTCORE_REASON_WRONG_LOG; /* Another log is another member: remove the one, then add the other (B1). */
    }
    uint32_t old = member->flags & RAFTCORE_VOTER_OLD;
    switch (change->kind) {
    case RAFTCORE_ADD_VOTER:
        member->flags = old | RAFTCORE_VOTER;
        break;
    case RAFTCORE_ADD_LEARNER:
        member->flags = old != 0 ? old | RAFTCORE_LEARNER_NEXT : (uint32_t)RAFTCORE_LEARNER;
        break;
    case RAFTCORE_ADD_AND_PROMOTE:
        if ((member->flags & (RAFTCORE_VOTER | RAFTCORE_VOTER_OLD)) != 0) {
            return RAFTCORE_REASON_INVALID; /* It is one already. */
        }
        member->flags = RAFTCORE_LEARNER | RAFTCORE_PROMOTE;
        break;
    default:
        return RAFTCORE_REASON_INVALID;
    }
    if (change->log_id != 0) {
        member->log_id = change->log_id;
    }
    return 0;
}

static int change_all(struct raftcore_configuration *configuration, const struct raftcore_change *changes,
                      uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        int reason = changes[i].id == 0 ? 0 : change_one(configuration, &changes[i]);
        if (reason != 0) {
            return reason;
        }
    }
    return count_of(configuration, RAFTCORE_VOTER) > 0 ? 0 : RAFTCORE_REASON_NO_VOTERS;
}

/* Voters of the new side of one that are not of the other's. */
static uint32_t voters_only_in(const struct raftcore_configuration *one, const struct raftcore_configuration *other)
{
    uint32_t only = 0;
    for (uint32_t i = 0; i < one->count; i++) {
        const struct raftcore_member *member = configuration_find(other, one->members[i].id);
        bool here = (one->members[i].flags & RAFTCORE_VOTER) != 0;
        bool there = member != NULL && (member->flags & RAFTCORE_VOTER) != 0;
        bool is_other = there && member->log_id != 0 && one->members[i].log_id != 0 &&
                        member->log_id != one->members[i].log_id; /* Another log is another voter (B1). */
        only += here && (!there || is_other);
    }
    return only;
}

/* C4: one voter comes, or one goes. */
static bool at_most_one_voter_changes(const struct raftcore_configuration *before,
                                      const struct raftcore_configuration *after)
{
    return voters_only_in(before, after) + voters_only_in(after, before) <= 1;
}

int configuration_simple(const struct raftcore_configuration *before, const struct raftcore_change *changes,
                         uint32_t count, struct raftcore_configuration *after)
{
    if (configuration_is_joint(before)) {
        return RAFTCORE_REASON_JOINT;
    }
    *after = *before;
    int reason = change_all(after, changes, count);
    if (reason != 0) {
        return reason;
    }
    return at_most_one_voter_changes(before, after) || ZOO(many_at_once) ? 0 : RAFTCORE_REASON_TOO_MANY;
}

int configuration_enter_joint(const struct raftcore_configuration *before, bool leave_automatically,
                              const struct raftcore_change *changes, uint32_t count,
                              struct raftcore_configuration *after)
{
    if (configuration_is_joint(before)) {
        return RAFTCORE_REASON_JOINT;
    }
    if (count_of(before, RAFTCORE_VOTER) == 0) {
        return RAFTCORE_REASON_NO_VOTERS;
    }
    *after = *before;
    for (uint32_t i = 0; i < after->count; i++) {
        if ((after->members[i].flags & RAFTCORE_VOTER) != 0) {
            after->members[i].flags |= RAFTCORE_VOTER_OLD;
        }
    }
    after->leave_automatically = leave_automatically;
    return change_all(after, changes, count);
}

int configuration_leave_joint(const struct raftcore_configuration *before, struct raftcore_configuration *after)
{
    if (!configuration_is_joint(before)) {
        return RAFTCORE_REASON_JOINT;
    }
    *after = *before;
    after->leave_automatically = false;
    for (uint32_t i = after->count; i-- > 0;) {
        struct raftcore_member *member = &after->members[i];
        uint32_t left = member->flags & ~(uint32_t)(RAFTCORE_VOTER_OLD | RAFTCORE_LEARNER_NEXT);
        if ((member->flags & RAFTCORE_LEARNER_NEXT) != 0) {
            left |= RAFTCORE_LEARNER;
        }
        member->flags = left;
        if (left == 0) {
            erase(after, i);
        }
    }
    return 0;
}

int configuration_change(const struct raftcore_configuration *before, const struct raftcore_change *changes,
                         uint32_t count, uint32_t transition, struct raftcore_configuration *after)
{
    if (transition > RAFTCORE_TRANSITION_EXPLICIT) {
        return RAFTCORE_REASON_INVALID;
    }
    if (count == 0) {
        return configuration_leave_joint(before, after);
    }
    if (transition == RAFTCORE_TRANSITION_AUTO) {
        int reason = configuration_simple(before, changes, count, after);
        if (reason != RAFTCORE_REASON_TOO_MANY || after->count > RAFTCORE_MEMBERS_MAX) {
            return reason;
        }
    }
    return configuration_enter_joint(before, transition != RAFTCORE_TRANSITION_EXPLICIT, changes, count, after);
}

/* --- in words ------------------------------------------------------------------------------------ */

struct text {
    char *at;
    size_t left;
};

static void put(struct text *text, const char *words, uint64_t number, bool with_number)
{
    int length = with_number ? snprintf(text->at, text->left, "%s%llu", words, (unsigned long long)number)
                             : snprintf(text->at, text->left, "%s", words);
    if (length > 0 && (size_t)length < text->left) {
        text->at += length;
        text->left -= (size_t)length;
    }
}

static void put_set(struct text *text, const struct raftcore_configuration *configuration, uint32_t flag)
{
    const char *before = "(";
    for (uint32_t i = 0; i < configuration->count; i++) {
        if ((configuration->members[i].flags & flag) != 0) {
            put(text, before, configuration->members[i].id, true);
            before = " ";
        }
    }
    put(text, before[0] == '(' ? "()" : ")", 0, false);
}

const char *configuration_text(const struct raftcore_configuration *configuration, char text[CONFIGURATION_TEXT_BYTES])
{
    struct text out = {.at = text, .left = CONFIGURATION_TEXT_BYTES};
    put(&out, "voters=", 0, false);
    put_set(&out, configuration, RAFTCORE_VOTER);
    if (configuration_is_joint(configuration)) {
        put(&out, "&&", 0, false);
        put_set(&out, configuration, RAFTCORE_VOTER_OLD);
    }
    if (count_of(configuration, RAFTCORE_LEARNER) > 0) {
        put(&out, " learners=", 0, false);
        put_set(&out, configuration, RAFTCORE_LEARNER);
    }
    if (count_of(configuration, RAFTCORE_LEARNER_NEXT) > 0) {
        put(&out, " learners_next=", 0, false);
        put_set(&out, configuration, RAFTCORE_LEARNER_NEXT);
    }
    if (configuration->leave_automatically) {
        put(&out, " autoleave", 0, false);
    }
    return text;
}
