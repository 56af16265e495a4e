#!/usr/bin/env python3
"""waldump's record commands: what is followed, what is taken in, and which numbers are meant."""
import base64
import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from test_waldump import GOLDEN, WALDUMP, Scratch, export_lines, rows, run  # noqa: E402


class Numbers(Scratch):
    def test_leading_zeros_are_decimal(self):
        path, _ = self.small_log()
        self.assertEqual(rows("dump", path, "--from", "010", "-n", "1")[0]["index"], 10)
        self.assertEqual(rows("dump", path, "--from", "0x10", "-n", "1")[0]["index"], 16)
        run("get", path, "010")
        run("get", path, "99999999999999999999", code=2)
        run("dump", path, "--from", "99999999999999999999", code=2)

    def test_a_directory_named_like_a_segment_is_a_log(self):
        path = shutil.copytree(GOLDEN + "torn", self.path("x.wal"))
        self.assertEqual([row["index"] for row in rows("dump", path)], [row["index"] for row in rows("dump", GOLDEN + "torn")])


class Ranges(Scratch):
    def test_from_above_to_is_a_usage_error(self):
        for command in ("dump", "export", "diff"):
            _, err = run(command, "--from", 50, "--to", 45, GOLDEN + "torn", *([GOLDEN + "torn"] if command == "diff" else []), code=2)
            self.assertIn("--from 50 is above --to 45", err)
        run("dump", "--to", 0, GOLDEN + "torn", code=2)
        for command in ("dump", "stat"):
            self.assertIn("numbered from 1", run(command, "--segment", 0, GOLDEN + "torn", code=2)[1])

    def test_what_is_not_there_is_told(self):
        path, _ = self.small_log()
        for command in ("dump", "export"):
            for limits in (["--from", 10000], ["--from", 301, "--to", 400]):
                self.assertIn("no index ", run(command, *limits, path, code=1)[1])
        self.assertIn("no index 5: the log holds", run("dump", "--to", 5, GOLDEN + "torn", code=1)[1])
        for command in (["dump"], ["stat"], ["dump", "--view=physical"]):
            out, err = run(*command, "--segment", 9999, path, code=1)
            self.assertEqual((out, err), (b"", f"waldump: {path}: there is no segment 9999\n"))
        self.assertIn("in segment 9", run("dump", "--segment", 9, GOLDEN + "torn")[1])

    def test_an_export_of_nothing_can_be_imported(self):
        path, _ = self.small_log()
        for limits, first in ((["--from", 10000], 301), (["--from", 302], 301), ([], 1)):
            source = path
            if not limits:
                source = self.path("empty")
                run("import", source, data=export_lines([]))
            out, _ = run("export", *limits, source, code=1 if limits else 0)
            target = self.path(f"new{first}-{len(limits)}-{limits[-1:]}")
            run("import", target, data=out)
            row, = rows("meta", target, code=1)
            self.assertEqual((row["first"], row["last"]), (first, first - 1))


class Keys(Scratch):
    def check_keys(self, found):
        by_schema = {}
        for row in found:
            by_schema.setdefault(row["schema"], set()).add(tuple(row))
        for schema, keys in by_schema.items():
            self.assertEqual(len(keys), 1, schema)
        return {schema: keys.pop() for schema, keys in by_schema.items()}

    def test_each_schema_has_one_set_of_keys(self):
        torn = GOLDEN + "torn"
        bad = self.golden("closed")
        live = rows("dump", bad)[0]
        with open(os.path.join(bad, f"{live['segment']:020d}.wal"), "r+b") as file:
            file.seek(live["offset"] + 24)
            file.write(b"\xff\xfe\xfd")
        found = []
        for path in (torn, bad):
            found += rows("dump", "--view=physical", path) + rows("dump", "--view=physical", "--payload=hex", path)
            found += rows("stat", path) + rows("stat", "--by=segment", path)
        found += rows("dump", torn) + rows("dump", "--payload=text", torn) + rows("tail", torn) + rows("get", torn, rows("dump", torn)[0]["index"])
        self.assertIn("bad", {row.get("state") for row in found})
        self.assertEqual(set(self.check_keys(found)), {"waldump.physical/1", "waldump.stat/1", "waldump.record/1"})

    def test_csv_has_as_many_cells_everywhere(self):
        for command in (["dump", "--view=physical"], ["dump", "--view=physical", "--payload=hex"], ["stat", "--by=segment"], ["format"], ["ls"]):
            out, _ = run(*command, "--format=csv", *([] if command == ["format"] else [GOLDEN + "torn"]))
            table = list(csv.reader(io.StringIO(out.decode())))
            self.assertEqual({len(row) for row in table}, {len(table[0])}, command)

    def test_every_command_speaks_json(self):
        path = self.path("log")
        payload = bytes(range(256))
        lines = export_lines([(1, 7, payload), (2, 8, b"")])
        out, _ = run("import", "--json", path, data=lines)
        row = json.loads(out)
        self.assertEqual((row["schema"], row["records"], row["first"], row["last"], row["complete"]), ("waldump.import/1", 2, 1, 2, True))
        out, _ = run("import", "--json", self.path("half"), data=b"".join(lines.splitlines(keepends=True)[:2]), code=3)
        self.assertEqual((json.loads(out)["records"], json.loads(out)["complete"]), (1, False))
        self.assertEqual(run("export", "--json", path)[0], run("export", path)[0])
        row, = rows("get", path, 1)
        self.assertEqual((row["index"], row["tag"], row["size"], base64.b64decode(row["payload"])), (1, 7, 256, payload))
        self.assertEqual(run("get", path, 1)[0], payload)


class Diff(Scratch):
    def pair(self):
        """The second one has another record 9, and five less."""
        records = [(1, number, b"x") for number in range(1, 21)]
        other = list(records)
        other[8] = (1, 9, b"y")
        run("import", self.path("a"), data=export_lines(records))
        run("import", self.path("b"), data=export_lines(other[:15]))
        return self.path("a"), self.path("b")

    def test_nothing_is_said_of_what_was_not_compared(self):
        a, b = self.pair()
        out, _ = run("diff", "--to", 8, a, b)
        self.assertIn("no difference there; of 1 to 15, which are in both, no others were compared", out.decode())
        self.assertNotIn(" more", out.decode())
        out, err = run("diff", "--from", 16, a, b, code=1)
        self.assertNotIn("no index is in both", out.decode())
        self.assertIn("--from and --to leave none", out.decode())
        self.assertIn("nothing was compared", err)
        self.assertEqual(rows("diff", "--from", 16, a, b, code=1)[0]["outcome"], "nothing")
        self.assertIn("has 5 more", run("diff", "--from", 1, a, a)[0].decode() + run("diff", "--from", 1, self.tail_cut(a), a)[0].decode())

    def tail_cut(self, path):
        out, _ = run("export", "--to", 15, path)
        run("import", self.path("cut"), data=out)
        return self.path("cut")

    def test_two_empty_logs_are_the_same(self):
        for name in ("one", "two"):
            run("import", self.path(name), data=export_lines([], first=7))
        self.assertIn("both are empty", run("diff", "--strict", self.path("one"), self.path("two"))[0].decode())

    def test_progress_counts_records(self):
        records = [(1, number, b"") for number in range(1, 5001)]
        run("import", self.path("many"), data=export_lines(records))
        _, err = run("diff", "--progress=always", self.path("many"), self.path("many"))
        self.assertRegex(err, r"4095 of 5000 records, 81 %")


class Import(Scratch):
    def refuse(self, lines, text):
        path = self.path("new")
        _, err = run("import", path, data=lines, code=3)
        self.assertIn(text, err)
        shutil.rmtree(path, ignore_errors=True)

    def changed(self, line, **members):
        lines = export_lines([(1, 7, b"a"), (1, 8, b"b")]).decode().splitlines()
        parsed = json.loads(lines[line])
        for name, value in members.items():
            if value is None:
                del parsed[name]
            else:
                parsed[name] = value
        lines[line] = json.dumps(parsed)
        return ("\n".join(lines) + "\n").encode()

    def test_nothing_is_guessed(self):
        self.refuse(self.changed(1, tag=None), "line 2: tag is missing")
        self.refuse(self.changed(1, tag="7"), "line 2: tag is no number")
        self.refuse(self.changed(0, first="1"), "line 1: first is no number")
        self.refuse(self.changed(0, last=3), "line 4: the records end at 2")
        self.refuse(self.changed(0, metadata=7), "line 1: metadata")
        twice = self.changed(1).replace(b'"tag": 7', b'"tag": 7, "tag": 9')
        self.refuse(twice, "twice")

    def test_an_index_that_no_log_has(self):
        for first in (2 ** 64 - 1, 2 ** 63, 0):
            self.refuse(self.changed(0, first=first, last=first), "line 1: no log has")
            self.assertFalse(os.path.exists(self.path("new")))


    def endless(self, name, head):
        """Feeds lines, and then one without an end. How much of it was taken, and what was said."""
        process = subprocess.Popen([WALDUMP, "import", self.path(name)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   bufsize=0)
        fed = 0
        try:
            process.stdin.write(head)
            while fed < 64 << 20:
                process.stdin.write(b"x" * 65536)
                fed += 65536
        except BrokenPipeError:
            pass
        process.stdin.close()
        process.stdin = None
        _, err = process.communicate(timeout=20)
        self.assertEqual(process.returncode, 3)
        return fed, err.decode()

    def test_a_line_without_an_end_is_not_read_to_its_end(self):
        fed, err = self.endless("new", b"")
        self.assertIn("line 1: longer than 65536 bytes", err)
        self.assertLess(fed, 1 << 20)
        head = export_lines([(1, 7, b"a"), (1, 8, b"b")], batch_bytes_max=65536, segment_bytes=1 << 20, block_bytes=4096)
        fed, err = self.endless("other", b"".join(head.splitlines(keepends=True)[:2]) + b'{"schema":"waldump.export/1","kind":"record","data":"')
        self.assertRegex(err, r"line 3: longer than \d+ bytes: no record of this log is\n.*holds 1 records")
        self.assertLess(fed, 1 << 20)

    def test_the_largest_record_of_a_log_goes_in(self):
        largest = os.urandom(65536 - 360 - 24)
        run("import", self.path("new"), data=export_lines([(1, 7, largest)], batch_bytes_max=65536, segment_bytes=1 << 20, block_bytes=4096))
        self.assertEqual(run("get", self.path("new"), 1)[0], largest)

    def test_input_that_does_not_read_is_told(self):
        folder = os.open(self.folder, os.O_RDONLY)
        self.addCleanup(os.close, folder)
        done = subprocess.run([WALDUMP, "import", self.path("new")], stdin=folder, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 3)
        self.assertIn("standard input: Is a directory", done.stderr)
        self.assertNotIn("nothing came in", done.stderr)


class Follow(Scratch):
    def test_records_that_took_the_place_of_others_are_shown(self):
        """A truncation with as many new records: the end does not tell."""
        path = self.path("log")
        first = [(1, number, b"old") for number in range(1, 21)]
        second = first[:14] + [(1, 100 + number, b"new") for number in range(15, 22)]
        run("import", path, data=export_lines(first))
        other = self.path("other")
        run("import", other, data=export_lines(second))
        process = subprocess.Popen([WALDUMP, "tail", "-f", "-n", "20", "--json", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        seen = [json.loads(process.stdout.readline()) for _ in range(20)]
        self.assertEqual(seen[-1]["tag"], 20)
        for name in sorted(os.listdir(other), reverse=True):  # In one poll the log is another one.
            os.replace(os.path.join(other, name), os.path.join(path, name))
        seen = [json.loads(process.stdout.readline()) for _ in range(7)]
        self.assertEqual([(row["index"], row["tag"]) for row in seen], [(number, 100 + number) for number in range(15, 22)])
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=10)
        self.assertIn(b"truncated from index 15 on", err)


if __name__ == "__main__":
    unittest.main()
