/* meta.c - the metadata in force, and the doubt.
 *
 * The happy path: the library opens the log read only and gives the newest metadata. Their meaning is their writer's:
 * what is not known is shown as bytes.
 *
 * What can fail: a log without metadata: exit code 1, said on stderr.
 *
 * Invariants: metadata are shown as bytes always: they are the operator's own, and small. */

#include "tools/waldump.h"

#include <inttypes.h>
#include <stdio.h>

int command_meta(struct settings *settings)
{
    static const struct emit_column columns[] = {{"first", -10}, {"last", -10},  {"doubt", -10},
                                                 {"bytes", 5},   {"format", -8}, {"metadata", 0}};
    struct emit *emit = &settings->emit;
    struct view_log view;
    uint8_t metadata[WAL_METADATA_BYTES_MAX];
    size_t bytes = 0;
    int code = view_open(&view, settings->path);
    if (view.log == NULL) {
        if (code == EXIT_NEGATIVE) {
            view_tell(&view);
        }
        return code;
    }
    view_tell(&view);
    int status = wal_metadata(view.log, metadata, sizeof(metadata), &bytes);
    emit_begin(emit, "waldump.meta/1", columns, 6);
    emit_row(emit);
    emit_u64(emit, "first", wal_first_index(view.log));
    emit_u64(emit, "last", wal_durable_index(view.log));
    if (wal_doubt(view.log) != 0) {
        emit_u64(emit, "doubt", wal_doubt(view.log));
    } else {
        emit_none(emit, "doubt");
    }
    if (status == 0) {
        emit_u64(emit, "bytes", bytes);
        emit_text(emit, "format", "unknown");
        emit_hex(emit, "metadata", metadata, bytes);
    } else {
        emit_none(emit, "bytes");
        emit_none(emit, "format");
        emit_none(emit, "metadata");
    }
    emit_hex(emit, "uuid", view.verdict.uuid, sizeof(view.verdict.uuid));
    emit_end(emit);
    if (status == WAL_ENOENT) {
        complain("%s: the log has no metadata", settings->path);
        code = EXIT_NEGATIVE;
    }
    view_close(&view);
    return code;
}
