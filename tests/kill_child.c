/* kill_child.c - the life of a child of kill_wal: open, compare, append from all sides, perhaps close, and again,
 * until killed.
 *
 * The order of the journal is the order of the log because both are written under one mutex (accept()). Waiting
 * happens outside of it, by appending threads in wal_wait and by the event loop in wal_dispatch; what either learns
 * moves one number, lane->acknowledged, which never goes back. An open that returned counts as an acknowledgement of
 * all that it shows. */

#define _GNU_SOURCE

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/kill.h"

#include <stdio.h>

/* --- the child: one session ---------------------------------------------------------------------- */

struct session {
    struct wal *log;
    pthread_mutex_t accepting;
    uint64_t first, last;          /* As accepted; under the mutex. */
    uint64_t start;                /* Position of the first operation of this session. */
    _Atomic uint64_t first_ticket; /* Its ticket; 0: none was given out yet. */
    unsigned char *bytes;          /* RECORDS_MAX records; under the mutex. */
    _Atomic bool stop;
    uint64_t seed;
};

static struct operation plan(const struct session *session, uint64_t *random)
{
    struct operation operation = {.kind = APPEND, .metadata = draw(random, 5) == 0};
    uint64_t live = session->last + 1 - session->first;
    uint64_t dice = draw(random, 2000);
    operation.record_count = 1 + (uint32_t)draw(random, draw(random, 4) == 0 ? RECORDS_MAX : 2);
    if (dice < 60 && live > 0) {
        uint64_t back = draw(random, 2 + (dice == 0 ? live : 30));
        operation.kind = TRUNCATE;
        operation.index = session->last + 1 - (back < live ? back : live);
        operation.record_count = (uint32_t)draw(random, 4);
    } else if (!lane->stay_open && (dice < 70 || live > LIVE_MAX)) {
        operation = (struct operation){.kind = PREFIX, .index = session->first + draw(random, live + 1)};
        if (live > LIVE_MAX && operation.index < session->first + live / 2)
            operation.index += live / 2;
    } else if (!lane->stay_open && dice == 70) {
        operation = (struct operation){.kind = RESET, .index = session->last + 2 + draw(random, 50)};
    } else if (dice < 110 || live > RING / 2) {
        operation.metadata = true;
        operation.record_count = 0;
    }
    return operation;
}

/* Carries an operation out. at_once: with wal_commit where the operation is an append, so that it is durable on
 * return. */
static int perform(struct session *session, const struct operation *operation, uint32_t flags, bool at_once,
                   struct wal_receipt *receipt)
{
    struct wal_record records[RECORDS_MAX];
    unsigned char metadata[WAL_METADATA_BYTES_MAX + 8];
    uint64_t index = operation->kind == TRUNCATE ? operation->index : session->last + 1;
    struct wal_append append = {.records = records, .record_count = operation->record_count, .flags = flags};
    if (operation->kind == PREFIX)
        return wal_truncate_prefix(session->log, operation->index, receipt);
    if (operation->kind == RESET)
        return wal_reset(session->log, operation->index, receipt);
    if (operation->kind == TRUNCATE && operation->record_count == 0 && !operation->metadata)
        return wal_truncate_suffix(session->log, operation->index, receipt);
    for (uint32_t i = 0; i < operation->record_count; i++)
        records[i] = make_record(operation->id, index + i, session->bytes + (size_t)i * (RECORD_BYTES_MAX + 8));
    if (operation->kind == TRUNCATE) {
        append.flags |= WAL_APPEND_TRUNCATE;
        append.first_index = operation->index;
    }
    if (operation->metadata) {
        append.flags |= WAL_APPEND_METADATA;
        append.metadata = metadata;
        append.metadata_bytes = make_metadata(operation->id, metadata);
    }
    return at_once ? wal_commit(session->log, &append, receipt) : wal_append(session->log, &append, receipt);
}

/* Bytes of payload of an operation stay below what one batch holds: large records come alone. */
static void keep_below_a_batch(const struct session *session, struct operation *operation)
{
    uint64_t index = operation->kind == TRUNCATE ? operation->index : session->last + 1;
    uint32_t total = 0;
    for (uint32_t i = 0; i < operation->record_count; i++) {
        total += make_record(operation->id, index + i, session->bytes).size + 32;
        if (total > BATCH_BYTES_MAX / 2 && i > 0) {
            operation->record_count = i;
            return;
        }
    }
}

static void check_receipt(const struct session *session, const struct operation *operation, uint64_t position,
                          const struct wal_receipt *receipt)
{
    uint64_t first = session->last + 1 - operation->record_count; /* session->last is the new one. */
    if (receipt->ticket != session->first_ticket + (position - session->start))
        fail("ticket %" PRIu64 " for operation %" PRIu64 " of the session, whose first one had %" PRIu64,
             receipt->ticket, position - session->start, session->first_ticket);
    if (operation->record_count > 0 && (receipt->first_index != first || receipt->last_index != session->last))
        fail("receipt for [%" PRIu64 ", %" PRIu64 "], expected [%" PRIu64 ", %" PRIu64 "]", receipt->first_index,
             receipt->last_index, first, session->last);
}

/* Journal and log, in one order. False: the journal is full, or (with NO_WAIT) there was no room just now. */
static bool accept(struct session *session, uint64_t *random, uint32_t flags, bool at_once, uint64_t *position_out,
                   struct wal_receipt *receipt)
{
    pthread_mutex_lock(&session->accepting);
    uint64_t position = atomic_load(&lane->limit);
    if (position == JOURNAL_MAX) {
        atomic_store(&session->stop, true);
        pthread_mutex_unlock(&session->accepting);
        return false;
    }
    struct operation operation = plan(session, random);
    operation.id = atomic_fetch_add(&lane->next_id, 1);
    keep_below_a_batch(session, &operation);
    lane->journal[position] = operation;
    atomic_store(&lane->limit, position + 1);
    int result = perform(session, &operation, flags, at_once, receipt);
    if (result != 0) {
        if (result != WAL_EAGAIN || (flags & WAL_APPEND_NO_WAIT) == 0)
            fail_call(session->log, "append", result);
        atomic_store(&lane->limit, position);
        pthread_mutex_unlock(&session->accepting);
        return false;
    }
    if (position == session->start)
        session->first_ticket = receipt->ticket;
    if (operation.kind == PREFIX)
        session->first = operation.index;
    if (operation.kind == TRUNCATE)
        session->last = operation.index - 1;
    if (operation.kind == RESET) {
        session->first = operation.index;
        session->last = operation.index - 1;
    }
    session->last += operation.record_count;
    check_receipt(session, &operation, position, receipt);
    pthread_mutex_unlock(&session->accepting);
    atomic_fetch_add(&shared->counts.accepted, 1);
    *position_out = position;
    return true;
}

static void acknowledge(uint64_t end)
{
    uint64_t before = atomic_load(&lane->acknowledged);
    while (before < end && !atomic_compare_exchange_weak(&lane->acknowledged, &before, end))
        ;
    if (before < end)
        atomic_fetch_add(&shared->counts.acknowledged, end - before);
}

/* One of the records of an acknowledged operation, unless another operation has taken its place since. */
static void read_back(const struct session *session, const struct wal_receipt *receipt)
{
    unsigned char bytes[RECORD_BYTES_MAX + 8];
    struct wal_record record;
    int result = wal_read(session->log, receipt->last_index, bytes, sizeof(bytes), &record);
    if (result == WAL_ECOMPACTED || result == WAL_EBEYOND)
        return;
    if (result != 0)
        fail_call(session->log, "wal_read", result);
    check_record(&record, receipt->last_index);
    atomic_fetch_add(&shared->counts.read_back, 1);
}

static bool truncated_later(uint64_t position)
{
    for (uint64_t at = position + 1; at < atomic_load(&lane->limit); at++)
        if (lane->journal[at].kind == TRUNCATE || lane->journal[at].kind == RESET)
            return true;
    return false;
}

struct appender {
    struct session *session;
    pthread_t thread;
    uint64_t random;
};

static void *append_and_wait(void *argument)
{
    struct appender *appender = argument;
    struct session *session = appender->session;
    while (!atomic_load(&session->stop)) {
        uint64_t position;
        struct wal_receipt receipt;
        bool at_once = draw(&appender->random, 32) == 0;
        if (!accept(session, &appender->random, 0, at_once, &position, &receipt))
            continue;
        int result = wal_wait(session->log, receipt.ticket);
        if (result != 0 && !(result == WAL_ETRUNCATED && truncated_later(position)))
            fail_call(session->log, "wal_wait", result);
        acknowledge(position + 1);
        if (receipt.last_index >= receipt.first_index && draw(&appender->random, 8) == 0)
            read_back(session, &receipt);
    }
    return NULL;
}

static void take_progress(const struct session *session)
{
    struct wal_progress progress;
    int result = wal_dispatch(session->log, &progress);
    if (result != 0)
        fail_call(session->log, "wal_dispatch", result);
    uint64_t first_ticket = atomic_load(&session->first_ticket);
    if (first_ticket != 0 && progress.durable_ticket >= first_ticket)
        acknowledge(session->start + (progress.durable_ticket - first_ticket) + 1);
}

static void run_event_loop(struct session *session, uint64_t *random, uint64_t end_ns, bool maintain)
{
    int result;
    struct pollfd event = {.fd = wal_event_fd(session->log), .events = POLLIN};
    if (event.fd < 0)
        fail_call(session->log, "wal_event_fd", event.fd);
    while (clock_ns() < end_ns && !atomic_load(&session->stop)) {
        uint64_t position, room = 1 + draw(random, OUTSTANDING_MAX);
        struct wal_receipt receipt;
        while (room-- > 0 && accept(session, random, WAL_APPEND_NO_WAIT, false, &position, &receipt))
            ;
        if ((result = wal_submit(session->log)) != 0)
            fail_call(session->log, "wal_submit", result);
        poll(&event, 1, 1);
        take_progress(session);
        if (draw(random, 100) == 0) { /* Quiet for a moment: the helper thread writes its mark. */
            pthread_mutex_lock(&session->accepting);
            sleep_us(6000);
            pthread_mutex_unlock(&session->accepting);
        }
        if (maintain && (result = wal_maintain(session->log, 0, NULL)) != 0)
            fail_call(session->log, "wal_maintain", result);
    }
}

/* Everything at once until end_ns, then all of it waited for. */
static void run_session(struct session *session, uint64_t end_ns, bool maintain)
{
    static struct appender appenders[THREADS_MAX];
    uint64_t random = mix(session->seed);
    unsigned threads =
        maintain ? 0 : settings.threads; /* Without a helper thread a waiter could wait for this very loop. */
    for (unsigned i = 0; i < threads; i++) {
        appenders[i] = (struct appender){.session = session, .random = mix(session->seed + 1 + i)};
        if (pthread_create(&appenders[i].thread, NULL, append_and_wait, &appenders[i]) != 0)
            fail("pthread_create");
    }
    run_event_loop(session, &random, end_ns, maintain);
    atomic_store(&session->stop, true);
    for (unsigned i = 0; i < threads; i++)
        pthread_join(appenders[i].thread, NULL);
}

/* What the library has to tell of failures goes to the terminal: a test that fails should say why. */
static void tell_error(void *context, enum wal_log_level level, const char *text)
{
    (void)context;
    if (level == WAL_LOG_ERROR)
        fprintf(stderr, "libwal: %s\n", text);
}

static struct wal_options choose_options(uint64_t *random, uint64_t life)
{
    struct wal_options options = WAL_OPTIONS_INIT;
    uint64_t shape = mix(settings.seed + 31 * life);
    options.flags = WAL_CREATE;
    options.log = tell_error;
    if (draw(random, 8) == 0)
        options.flags |= WAL_ZERO_RECYCLED;
    if (draw(random, 8) == 0)
        options.flags |= WAL_NO_THREADS;
    if (shape % 16 == 0)
        options.flags |= WAL_BUFFERED;
    options.segment_bytes = (uint64_t)65536 << draw(random, 3);
    options.batch_bytes_max = BATCH_BYTES_MAX;
    options.batches_in_flight_max = 1 + (uint32_t)draw(random, 3);
    options.segments_pool_max = 1 + (uint32_t)draw(random, 4);
    options.idle_mark_ms = 1 + (uint32_t)draw(random, 4);
    options.strategy = (enum wal_strategy)draw(random, 4);
    options.backend =
        settings.backend >= 0 ? (enum wal_backend)settings.backend : (enum wal_backend)(1 + draw(random, 2));
    return options;
}

static struct wal *open_and_judge(const struct wal_options *options)
{
    struct wal *log = NULL;
    static struct wal_verdict verdict;
    bool was_closed = atomic_exchange(&lane->closed, false);
    int result = wal_open(log_path, options, &log, &verdict);
    if (result != 0)
        fail("wal_open: %s (%d), row Y%d, %s", wal_strerror(result), result, verdict.row, verdict.text);
    if (verdict.kind != WAL_VERDICT_CLEAN && verdict.kind != WAL_VERDICT_TORN)
        fail("verdict %d, row Y%d, %s", (int)verdict.kind, verdict.row, verdict.text);
    if (was_closed && !verdict.closed)
        fail("closed in order, but the verdict does not say so: row Y%d, %s", verdict.row, verdict.text);
    atomic_fetch_add(verdict.kind == WAL_VERDICT_TORN ? &shared->counts.torn : &shared->counts.clean, 1);
    if (verdict.closed)
        atomic_fetch_add(&shared->counts.closed, 1);
    return log;
}

void child(struct model *model, uint64_t seed, uint64_t life)
{
    static struct found found;
    uint64_t random = mix(seed), position = 0;
    in_child = true;
    for (;;) {
        struct wal_options options = choose_options(&random, life);
        struct session session = {.accepting = PTHREAD_MUTEX_INITIALIZER, .seed = draw(&random, UINT64_MAX)};
        session.log = open_and_judge(&options);
        read_log(session.log, &found);
        uint64_t limit = atomic_load(&lane->limit);
        position = match(model, position, atomic_load(&lane->acknowledged), limit, &found);
        atomic_fetch_add(&shared->counts.operations_cut, limit - position);
        atomic_store(&lane->limit, position);
        acknowledge(position); /* What an open has shown counts as promised. */
        session.first = model->first;
        session.last = model->last;
        session.start = position;
        session.bytes = malloc((size_t)RECORDS_MAX * (RECORD_BYTES_MAX + 8));
        if (session.bytes == NULL)
            fail("out of memory");
        atomic_store(&lane->running, true);
        bool brief = !lane->stay_open && draw(&random, 3) == 0;
        uint64_t length_ns = brief ? draw(&random, 8000000) : UINT64_C(1000000) * (lane->stay_open ? 60000 : 100);
        run_session(&session, clock_ns() + length_ns, (options.flags & WAL_NO_THREADS) != 0);
        while (lane->stay_open)
            pause();
        atomic_store(&lane->running, false);
        int result = wal_close(session.log);
        if (result != 0)
            fail_call(NULL, "wal_close", result);
        acknowledge(atomic_load(&lane->limit));
        atomic_store(&lane->closed, true);
        atomic_fetch_add(&lane->sessions, 1);
        atomic_fetch_add(&shared->counts.sessions, 1);
        free(session.bytes);
        while (atomic_load(&lane->limit) == JOURNAL_MAX)
            pause();
    }
}
