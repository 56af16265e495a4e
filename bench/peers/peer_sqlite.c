/* peer_sqlite.c - SQLite: a table of records, a transaction for each operation, durable by its write-ahead log.
 *
 * The happy path: open the database, journal_mode=WAL and synchronous=FULL (a sync of the WAL at each commit), create
 * the table, prepare the statements; each operation inserts its records in one transaction. Checkpoints come as SQLite
 * makes them by itself, every 1000 pages, inside the commit that reaches the mark.
 *
 * All callers share one connection under a lock: SQLite has one writer at a time, and callers with a connection each
 * would only poll for the same lock.
 *
 * What can fail: every call, said with SQLite's own words. Any of them ends the program.
 *
 * Invariants: a statement is reset before the lock is given back; next_id is the id of the next record. */

#define _GNU_SOURCE
#include "bench/peers/peer.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

struct sqlite {
    const struct peer_options *options;
    sqlite3 *database;
    sqlite3_stmt *begin, *insert, *commit;
    pthread_mutex_t lock;
    sqlite3_int64 next_id;
    const unsigned char *payload;
};

_Noreturn static void failed(const struct sqlite *sqlite, const char *what)
{
    peer_failed(what, sqlite3_errmsg(sqlite->database));
}

/* A statement that gives no row. */
static void step(struct sqlite *sqlite, sqlite3_stmt *statement)
{
    if (sqlite3_step(statement) != SQLITE_DONE || sqlite3_reset(statement) != SQLITE_OK)
        failed(sqlite, sqlite3_sql(statement));
}

static void append(void *peer, unsigned caller)
{
    struct sqlite *sqlite = peer;
    const struct peer_options *options = sqlite->options;
    (void)caller;
    pthread_mutex_lock(&sqlite->lock);
    if (options->batch > 1)
        step(sqlite, sqlite->begin);
    for (unsigned i = 0; i < options->batch; i++) {
        const unsigned char *record = sqlite->payload + i * options->size_bytes;
        if (sqlite3_bind_int64(sqlite->insert, 1, sqlite->next_id++) != SQLITE_OK ||
            sqlite3_bind_blob64(sqlite->insert, 2, record, options->size_bytes, SQLITE_STATIC) != SQLITE_OK)
            failed(sqlite, "bind");
        step(sqlite, sqlite->insert);
    }
    if (options->batch > 1)
        step(sqlite, sqlite->commit);
    pthread_mutex_unlock(&sqlite->lock);
}

/* Runs a statement whose first value has to come out as wanted. */
static void demand(struct sqlite *sqlite, const char *sql, const char *wanted)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(sqlite->database, sql, -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW)
        failed(sqlite, sql);
    const char *value = (const char *)sqlite3_column_text(statement, 0);
    if (value == NULL || strcmp(value, wanted) != 0)
        peer_failed(sql, "did not take");
    if (sqlite3_finalize(statement) != SQLITE_OK)
        failed(sqlite, sql);
}

static void run(struct sqlite *sqlite, const char *sql)
{
    if (sqlite3_exec(sqlite->database, sql, NULL, NULL, NULL) != SQLITE_OK)
        failed(sqlite, sql);
}

static sqlite3_stmt *prepare(struct sqlite *sqlite, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v3(sqlite->database, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) != SQLITE_OK)
        failed(sqlite, sql);
    return statement;
}

static void open_database(struct sqlite *sqlite)
{
    char *path = peer_path(sqlite->options, "log.db");
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(path, &sqlite->database, flags, NULL) != SQLITE_OK)
        failed(sqlite, path);
    demand(sqlite, "PRAGMA journal_mode=WAL", "wal");
    run(sqlite, "PRAGMA synchronous=FULL");
    demand(sqlite, "PRAGMA synchronous", "2");
    run(sqlite, "CREATE TABLE log (id INTEGER PRIMARY KEY, record BLOB NOT NULL)");
    sqlite->begin = prepare(sqlite, "BEGIN");
    sqlite->insert = prepare(sqlite, "INSERT INTO log VALUES (?, ?)");
    sqlite->commit = prepare(sqlite, "COMMIT");
    free(path);
}

static void close_database(struct sqlite *sqlite)
{
    sqlite3_finalize(sqlite->begin);
    sqlite3_finalize(sqlite->insert);
    sqlite3_finalize(sqlite->commit);
    if (sqlite3_close(sqlite->database) != SQLITE_OK)
        failed(sqlite, "close");
}

int main(int argc, char *argv[])
{
    static struct peer_window window;
    struct peer_options options;
    peer_begin(argc, argv, &options);
    unsigned char *payload = peer_payload(&options);
    struct sqlite sqlite = {.options = &options, .lock = PTHREAD_MUTEX_INITIALIZER, .next_id = 1, .payload = payload};
    open_database(&sqlite);
    peer_run_threads(&options, append, &sqlite, &window);
    close_database(&sqlite);
    peer_answer(
        &options,
        &(struct peer_name){"sqlite", sqlite3_libversion(), "INSERT, journal_mode=WAL, synchronous=FULL, a lock"},
        &window);
    free(payload);
    return 0;
}
