#!/usr/bin/env python3
"""waldump's physical reading of odd, damaged and forged segment files: ls, stat, and the reader beneath them.

Logs are made with `waldump import`, or forged here byte by byte as wal/FORMAT.md has them. OUT says where the program is. Standard library only.
"""
import base64
import csv
import glob
import io
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import read_log  # noqa: E402

OUT = os.environ.get("OUT", "build")
WALDUMP = os.path.abspath(os.path.join(OUT, "waldump"))
SANITIZED = "san-" in OUT
HEAD_SEED = 0x77616c2d68656164
BLOCK = 4096
UUID = bytes(range(16))
MEMORY_KIB = 32 << 10  # Of addresses: the program and its libraries, all in all.

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* FAULT is NAME:FROM:TO: in files whose path holds NAME, those bytes do not read; with ONCE they are zero, at the first read alone. */
ssize_t pread(int fd, void *to, size_t size, off_t offset)
{
    static ssize_t (*real)(int, void *, size_t, off_t);
    static int done;
    char link[64], path[4096], name[64];
    long long from, end;
    real = real ? real : (ssize_t (*)(int, void *, size_t, off_t))dlsym(RTLD_NEXT, "pread");
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof(path) - 1);
    path[length < 0 ? 0 : length] = 0;
    const char *fault = getenv("FAULT");
    if (!fault || sscanf(fault, "%63[^:]:%lld:%lld", name, &from, &end) != 3 || !strstr(path, name) || offset >= end ||
        offset + (long long)size <= from)
        return real(fd, to, size, offset);
    if (getenv("ONCE")) {
        ssize_t got = real(fd, to, size, offset);
        for (long long at = from; !done && at < end; at++)
            if (at >= offset && at < offset + got)
                ((char *)to)[at - offset] = 0;
        done = 1;
        return got;
    }
    if (offset >= from) {
        errno = EIO;
        return -1;
    }
    return real(fd, to, (size_t)(from - offset), offset);
}
ssize_t pread64(int fd, void *to, size_t size, off_t offset)
{
    return pread(fd, to, size, offset);
}
"""


def run(*arguments, data=None, code=0, timeout=60, limits=None, environment=None):
    """Runs it; the exit code must be `code`. Returns stdout as bytes, and stderr as text."""
    command = [WALDUMP, *map(str, arguments)]
    if limits is not None:
        command = ["sh", "-c", f'{limits}; exec "$@"', "sh", *command]
    done = subprocess.run(command, input=data, capture_output=True, timeout=timeout, check=False, env=dict(os.environ, **(environment or {})))
    if done.returncode != code:
        raise AssertionError(f"waldump {' '.join(map(str, arguments))}: exit {done.returncode}, not {code}\n"
                             f"{done.stdout.decode(errors='replace')[:2000]}\n{done.stderr.decode(errors='replace')[:2000]}")
    return done.stdout, done.stderr.decode()


def rows(*arguments, **more):
    out, _ = run(*arguments, "--json", **more)
    return [json.loads(line) for line in out.decode().splitlines()]


def states(*arguments, **more):
    return {row["segment"]: row["state"] for row in rows("ls", *arguments, **more)}


def export_lines(records, first=1, **limits):
    head = {"schema": "waldump.export/1", "kind": "log", "first": first, "last": first + len(records) - 1, "metadata": None, **limits}
    lines = [json.dumps(head)]
    for number, data in enumerate(records):
        lines.append(json.dumps({"schema": "waldump.export/1", "kind": "record", "index": first + number, "tag": number, "type": 1,
                                 "data": base64.b64encode(data).decode()}))
    lines.append(json.dumps({"schema": "waldump.export/1", "kind": "end", "records": len(records)}))
    return ("\n".join(lines) + "\n").encode()


def change(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def spoil(path, offset, size):
    with open(path, "r+b") as file:
        file.seek(offset)
        bad = bytes(byte ^ 0x5a for byte in file.read(size))
        file.seek(offset)
        file.write(bad)


# --- forging ---

def identity(segment, segment_bytes, uuid=UUID):
    sector = b"WALSEGM1" + struct.pack("<HHIIBBH", 1, 0, 0, 0, BLOCK.bit_length() - 1, 1, 0) + uuid
    sector = (sector + struct.pack("<QQII", segment, segment_bytes, 1 << 20, 1)).ljust(504, b"\0")
    return sector + struct.pack("<Q", read_log.xxh3(sector, HEAD_SEED))


def head(kind, segment, place, used, number, mark, chain, first, count, body):
    """A batch head without metadata, and its checksum. The salt is 7."""
    size = 80 + len(body)
    rest = struct.pack("<IBBHQQIIQQQQIHH", 0x48434257, kind, 0, size, 7, segment, place, used, number, mark, chain, first, count, 0xffff, 0) + body
    checksum = read_log.xxh3(rest, HEAD_SEED)
    return struct.pack("<Q", checksum) + rest, checksum


def anchor(segment, number=1, chain=0, end=0, uuid=UUID):
    body = uuid + struct.pack("<QQQQQQQQQIIQ", segment - 1, end, end and BLOCK, 1, 1, 1, 0, 0, 0, 0, 0, 0)
    return head(6, segment, 1, 80 + len(body), number, 0, chain, 1, 0, body)


class Scratch(unittest.TestCase):
    def setUp(self):
        os.makedirs("build/tmp", exist_ok=True)
        self.folder = tempfile.mkdtemp(prefix="waldump-segments-", dir="build/tmp")
        self.addCleanup(shutil.rmtree, self.folder, True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def small_log(self, name="log", count=300, size=700):
        """Four sealed segments, an open one, a ready one."""
        path = self.path(name)
        records = [bytes([number % 251]) * (size - number % 5) for number in range(count)]
        run("import", path, data=export_lines(records, block_bytes=BLOCK, segment_bytes=17 * BLOCK, batch_bytes_max=16384))
        return path

    @staticmethod
    def file(path, number):
        return os.path.join(path, f"{number:020d}.wal")

    def newest(self, path):
        number, = [row["segment"] for row in rows("ls", path) if row["state"] == "open"]
        return number

    def forge(self, name, parts, size):
        """parts: number -> [(offset, bytes)]; the files are sparse."""
        path = self.path(name)
        os.mkdir(path)
        for number, pieces in parts.items():
            with open(self.file(path, number), "wb") as file:
                file.truncate(size)
                for offset, data in pieces:
                    file.seek(offset)
                    file.write(data)
        return path

    def shim(self):
        if shutil.which("cc") is None or SANITIZED:
            self.skipTest("no compiler, or a sanitizer that has to be loaded first")
        library = os.path.abspath(self.path("shim.so"))
        subprocess.run(["cc", "-shared", "-fPIC", "-w", "-o", library, "-x", "c", "-", "-ldl"], input=SHIM.encode(), check=True)
        return library


class Begun(Scratch):
    def test_a_damaged_opening_anchor_is_damage_and_not_a_prepared_segment(self):
        path = self.small_log()
        newest = self.newest(path)
        before = states(path)
        self.assertEqual(before[newest + 1], "ready")
        spoil(self.file(path, newest), BLOCK, 512)
        after = {row["segment"]: row for row in rows("ls", path, code=1)}
        self.assertEqual((after[newest]["state"], after[newest]["note"]), ("damaged", "its opening anchor does not read"))
        self.assertEqual({number: row["state"] for number, row in after.items() if number != newest},
                         {number: state for number, state in before.items() if number != newest})

    def test_in_a_sealed_segment_as_well_and_in_one_file_alone(self):
        path = self.small_log()
        spoil(self.file(path, 2), BLOCK, 512)
        self.assertEqual(states(path, code=1)[2], "damaged")
        self.assertEqual(states(self.file(path, 2), code=1), {2: "damaged"})
        self.assertEqual(states(self.file(path, self.newest_file(path))), {self.newest_file(path): "ready"})

    @staticmethod
    def newest_file(path):
        return max(int(os.path.basename(name)[:20]) for name in glob.glob(path + "/*.wal"))

    def test_only_a_batch_far_behind_tells_of_it(self):
        path = self.small_log()
        newest = self.newest(path)
        used = [row["used"] for row in rows("ls", path) if row["segment"] == newest][0]
        spoil(self.file(path, newest), BLOCK, used - 2 * BLOCK)  # All but the last batch.
        self.assertEqual(states(path, code=1)[newest], "damaged")

    def test_files_made_anew_under_their_own_number_are_ready(self):
        # Two anchors lost behind a segment that lost its end: the log goes on in that one, and the two wait with old batches of their very
        # numbers in them.
        path = self.small_log()
        newest = self.newest(path)
        spoil(self.file(path, newest - 2), 8 * BLOCK, 9 * BLOCK)
        spoil(self.file(path, newest - 1), BLOCK, 512)
        spoil(self.file(path, newest), BLOCK, 512)
        run("repair", "--apply", "--backup", self.path("saved"), path)
        found = states(path)
        self.assertEqual((found[newest - 2], found[newest - 1], found[newest]), ("open", "ready", "ready"))


class Order(Scratch):
    def test_what_lies_behind_an_accepted_cut_is_dead(self):
        path = self.small_log()
        newest = self.newest(path)
        before = {row["segment"]: row for row in rows("ls", path)}
        spoil(self.file(path, 2), BLOCK, 512)
        run("repair", "--apply", "--backup", self.path("saved"), path)
        found = {row["segment"]: row for row in rows("ls", path)}
        opened = max(before) + 1  # Past all names: no file is touched before the cut is a fact.
        dead = {number for number, row in found.items() if row["state"] == "dead"}
        self.assertTrue(set(range(2, newest + 1)) <= dead <= set(range(2, opened)), dead)
        self.assertEqual((found[1]["state"], found[opened]["state"]), ("sealed", "open"))
        total, = rows("stat", path)
        self.assertEqual(total["records"], before[1]["records"])
        listed = [row["segment"] for row in rows("stat", "--by=segment", path)]
        self.assertFalse(set(listed) & dead)
        live = {row["segment"] for row in rows("dump", "--view=physical", path) if row["state"] == "chain"}
        self.assertEqual(live, {1, opened})

    def test_missing_segments_have_a_row(self):
        path = self.small_log()
        newest = self.newest(path)
        for lost, first in (({3}, 3), ({2, 3}, 2), ({1}, 1), ({newest}, newest)):
            copy = self.path("lost" + "-".join(map(str, lost)))
            shutil.copytree(path, copy)
            for number in lost:
                os.unlink(self.file(copy, number))
            found = [row for row in rows("ls", copy, code=1) if row["state"] == "missing"]
            self.assertEqual([row["segment"] for row in found], [first], lost)
            self.assertIsNone(found[0]["bytes"])
            self.assertTrue(str(max(lost)) in found[0]["note"] or len(lost) == 1, found)
        table = list(csv.DictReader(io.StringIO(run("ls", "--format=csv", copy, code=1)[0].decode())))
        self.assertEqual([row["bytes"] for row in table if row["state"] == "missing"], [""])

    def test_a_foreign_file_with_the_highest_number_does_not_make_the_others_foreign(self):
        path = self.small_log()
        before = states(path)
        highest = max(before) + 1
        end = identity(highest, 17 * BLOCK, bytes(16)), anchor(highest, number=999, uuid=bytes(16))[0]
        other = self.forge("other", {highest: [(0, end[0]), (BLOCK, end[1])]}, 17 * BLOCK)
        shutil.copy(self.file(other, highest), path)
        found = {row["segment"]: row for row in rows("ls", path, code=1)}
        self.assertEqual((found[highest]["state"], found[highest]["note"]), ("damaged", "of another log"))
        self.assertEqual({number: row["state"] for number, row in found.items() if number != highest}, before)


class OddFiles(Scratch):
    def test_what_is_no_file_is_named_and_the_others_are_shown(self):
        path = self.small_log()
        highest = max(states(path))
        saved = os.path.getsize(self.file(path, 3))
        self.assertEqual(saved, 17 * BLOCK)
        os.unlink(self.file(path, 3))
        os.mkfifo(self.file(path, 3))
        os.mkdir(self.file(path, highest + 1))
        os.symlink("nowhere", self.file(path, highest + 2))
        out, err = run("ls", "--json", path, code=1)
        found = {row["segment"]: row for row in map(json.loads, out.decode().splitlines())}
        for number, what in ((3, "a FIFO"), (highest + 1, "a directory"), (highest + 2, "a symbolic link to nothing")):
            self.assertEqual(found[number]["state"], "damaged")
            self.assertIn(what, found[number]["note"])
            self.assertIn(f"{self.file(path, number)}: {what}", err)
        self.assertEqual(found[1]["state"], "sealed")
        out, err = run("stat", "--json", path, code=1)
        self.assertTrue(json.loads(out)["records"] > 0)
        self.assertIn("a FIFO", err)

    def test_what_does_not_open_is_exit_3_and_the_others_are_shown(self):
        path = self.small_log()
        os.unlink(self.file(path, 2))
        os.symlink(os.path.basename(self.file(path, 2)), self.file(path, 2))  # A link to itself.
        out, err = run("ls", "--json", path, code=3)
        found = {row["segment"]: row["state"] for row in map(json.loads, out.decode().splitlines())}
        self.assertEqual((found[1], found[2], found[3]), ("sealed", "damaged", "sealed"))
        self.assertIn(self.file(path, 2), err)

    def test_one_odd_file_alone_is_exit_3(self):
        os.mkfifo(self.file(self.folder, 5))
        self.assertIn("a FIFO", run("ls", self.file(self.folder, 5), code=3)[1])


class Disk(Scratch):
    def test_a_bad_sector_is_told_with_its_place_and_the_rest_is_counted(self):
        path = self.small_log()
        newest = self.newest(path)
        whole, = rows("stat", path)
        shim = self.shim()

        def fault(name, first, end, *command):
            return run(*command, path, code=3, environment={"LD_PRELOAD": shim, "FAULT": f"{name}:{first}:{end}"})

        out, err = fault("002.wal", 3 * BLOCK, 4 * BLOCK, "stat", "--json")
        counted = json.loads(out)
        self.assertTrue(0 < whole["records"] - counted["records"] < 30)
        self.assertEqual(counted["segments"], whole["segments"])
        self.assertIn(f"{self.file(path, 2)}: offset 0x3000: Input/output error", err)
        out, _ = fault("002.wal", 3 * BLOCK, 4 * BLOCK, "stat")
        self.assertIn(b"records", out)
        out, err = fault(f"{newest:03d}.wal", BLOCK, 2 * BLOCK, "ls", "--json")
        found = {row["segment"]: row["state"] for row in map(json.loads, out.decode().splitlines())}
        self.assertEqual(found[newest], "damaged")
        self.assertIn("offset 0x1000: Input/output error", err)
        out, err = fault("002.wal", 16 * BLOCK, 17 * BLOCK, "ls", "--json")
        self.assertIn("offset 0x10000: Input/output error", err)
        self.assertEqual(len(out.splitlines()), len(states(path)))

    def test_what_is_odd_is_looked_at_once_more(self):
        path = self.small_log()
        newest = self.newest(path)
        shim = self.shim()
        before = rows("ls", path)
        for number, offset in ((newest, BLOCK), (2, 0), (2, BLOCK), (2, 16 * BLOCK)):
            environment = {"LD_PRELOAD": shim, "FAULT": f"{number:03d}.wal:{offset}:{offset + 512}", "ONCE": "1"}
            self.assertEqual(rows("ls", path, environment=environment), before, (number, offset))


class Bounds(Scratch):
    def many(self, count):
        parts = {}
        for number in range(1, count + 1):
            parts[number] = [(0, identity(number, 16 * BLOCK)), (BLOCK, anchor(number, number, number - 1, 2 * BLOCK if number > 1 else 0)[0])]
        return self.forge("many", parts, 16 * BLOCK)

    def test_thousands_of_segments_need_few_descriptors_and_little_memory(self):
        path = self.many(2000)
        for command in ("ls", "stat"):
            run(command, path, limits="ulimit -n 64")
            if not SANITIZED:
                run(command, path, limits=f"ulimit -v {MEMORY_KIB}")

    def long_record(self, name, length):
        size = (1 << 32) - BLOCK
        opening, checksum = anchor(1)
        batch, _ = head(1, 1, 2, size - 3 * BLOCK, 2, 1, checksum, 1, 1, struct.pack("<QQQ", 0, 0, 0))
        record = struct.pack("<QIHHQ", 1, length, 1, 0, 1)
        return self.forge(name, {1: [(0, identity(1, size)), (BLOCK, opening), (2 * BLOCK, batch + record)]}, size)

    def test_a_forged_length_costs_no_memory(self):
        path = self.long_record("forged", 64 << 20)
        for command in ("ls", "stat"):
            run(command, path, limits=None if SANITIZED else f"ulimit -v {MEMORY_KIB}")

    @staticmethod
    def bytes_read(process):
        with open(f"/proc/{process.pid}/io", encoding="ascii") as file:
            return int(file.readline().split()[1])

    def test_interruption_ends_a_long_look(self):
        path = self.long_record("forged", (1 << 32) - 6 * BLOCK)
        process = subprocess.Popen([WALDUMP, "stat", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        deadline = time.time() + 20
        while self.bytes_read(process) < 64 << 20 and time.time() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        started = time.time()
        process.communicate(timeout=20)
        self.assertEqual(process.returncode, 130)
        self.assertLess(time.time() - started, 2)

    def test_no_segment_is_believed_to_be_larger_than_the_format_allows(self):
        path = self.path("sparse")
        os.mkdir(path)
        with open(self.file(path, 1), "wb") as file:
            try:
                file.truncate(1 << 40)
            except OSError:
                self.skipTest("no file of 1 TiB here, not even a sparse one")
            file.seek(BLOCK)
            file.write(anchor(1)[0])
            file.seek(1 << 35)
            file.write(anchor(1)[0])
        for command in ("ls", "stat"):
            started = time.time()
            run(command, path)
            self.assertLess(time.time() - started, 10, command)

    def test_a_record_longer_than_the_window_is_read_and_checked_whole(self):
        path = self.path("long")
        payload = os.urandom(5 << 20)
        run("import", path, data=export_lines([b"short", payload, b"short"], block_bytes=BLOCK, segment_bytes=16 << 20, batch_bytes_max=6 << 20))
        total, = rows("stat", path)
        self.assertEqual((total["records"], total["payload_bytes"], total["bad_batches"]), (3, len(payload) + 10, 0))
        shown = [row for row in rows("dump", "--view=physical", path) if row.get("index") == 2 and row["size"] == len(payload)]
        self.assertEqual([(int(row["xxh3"], 16), row["state"]) for row in shown], [(read_log.xxh3(payload), "live")])
        place, = [row["offset"] for row in rows("dump", path) if row["index"] == 2]
        change(self.file(path, 1), place + 24 + (4 << 20), b"spoiled")
        self.assertEqual(rows("stat", path)[0]["records"], 0)  # A batch counts whole, or not at all.
        self.assertEqual([row["index"] for row in rows("dump", self.file(path, 1)) if row["what"] == "  record" and row["state"] == "bad"], [2])

    def test_a_second_signal_ends_at_once(self):
        path = self.small_log()
        process = subprocess.Popen([WALDUMP, "tail", "-f", "--json", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        process.send_signal(signal.SIGINT)  # Both come when it goes on: before it can look at the first.
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=20)
        self.assertIn(process.returncode, (-signal.SIGINT, -signal.SIGTERM))


if __name__ == "__main__":
    unittest.main(verbosity=1)
