#!/usr/bin/env python3
"""waldump verify says what it has read, what it has not, and a next command that works."""
import json
import os
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from test_waldump import GOLDEN, WALDUMP, Scratch, change, content, export_lines, rows, run  # noqa: E402


class Check(Scratch):
    def begun(self, path):
        numbers = [row["segment"] for row in rows("ls", path) if row["state"] not in ("ready", "retired")]
        return [os.path.join(path, f"{number:020d}.wal") for number in numbers]

    def invert(self, file, offset, size):
        change(file, offset, bytes(byte ^ 0xff for byte in content(file)[offset:offset + size]))

    def test_a_segment_without_its_anchor_is_not_prepared(self):
        path, _ = self.small_log()
        file = self.begun(path)[1]
        self.invert(file, 4096, 512)
        row, = rows("verify", file, code=1)
        self.assertEqual(row["outcome"], "damaged")
        self.assertIn("opening anchor", row["text"])

    def test_what_was_not_read_is_not_called_read(self):
        path, _ = self.small_log()
        self.invert(self.begun(path)[1], 8192, 4096)
        row, = rows("verify", path)
        self.assertNotIn("everything", row["text"])
        self.assertIn("--deep", row["text"])
        self.assertEqual(rows("verify", "--deep", path, code=1)[0]["outcome"], "damaged")

    def test_the_next_command_works_in_a_shell(self):
        for name in ("b b", "it's", "-x", "a" * 200, "\u00e4" * 90):
            path = shutil.copytree(GOLDEN + "corrupt", self.path(name))
            here = os.getcwd()
            os.chdir(self.folder)
            try:
                row, = rows("verify", name if not name.startswith("-") else "./" + name, code=1)
                command = row["next"].split(";")[0]
                self.assertTrue(command.startswith("waldump explain"))
                done = subprocess.run(["sh", "-c", command], env=dict(os.environ, PATH=os.path.dirname(WALDUMP) + ":" + os.environ["PATH"]),
                                      capture_output=True, check=False)
                self.assertIn(done.returncode, (0, 1), done.stderr)
                self.assertNotEqual(done.stdout, b"")
            finally:
                os.chdir(here)
            shutil.rmtree(path)

    def test_a_missing_segment_is_to_be_looked_for(self):
        path, _ = self.small_log()
        file = self.begun(path)[1]
        os.remove(file)
        row, = rows("verify", path, code=1)
        self.assertIn(os.path.basename(file), row["next"])

    def test_paths_of_any_bytes(self):
        """Neither a terminal nor a parser gets them raw."""
        for name in (b"n\xff", b"x\x1b[31m", "\u00e9".encode(), b"a\nb"):
            path = os.path.join(self.folder.encode(), name)
            shutil.copytree((GOLDEN + "corrupt").encode(), path)
            for command in (["verify"], ["repair"], ["verify", "--json"], ["repair", "--json"], ["ls"], ["dump"], ["diff", path], ["meta"]):
                done = subprocess.run([WALDUMP, *command, path], capture_output=True, check=False)
                for stream in (done.stdout, done.stderr):
                    text = stream.decode("utf-8")  # Raises when it is none.
                    self.assertNotIn("\x1b", text, command)
                    self.assertNotIn("a\nb", text, command)
                if "--json" in command:
                    json.loads(done.stdout)
            shutil.rmtree(path)

    def test_paths_of_any_bytes_in_the_line_of_progress(self):
        path = os.path.join(self.folder.encode(), b"x\x1b[31m\a")
        shutil.copytree((GOLDEN + "closed").encode(), path)
        for command in (["verify", "--deep"], ["stat"], ["diff", path]):
            done = subprocess.run([WALDUMP, *command, "--progress=always", path], capture_output=True, check=True)
            self.assertNotIn(b"\x1b[31m", done.stderr, command)
            self.assertNotIn(b"\a", done.stderr, command)
            self.assertTrue(command[0] == "diff" or b"x\\x1b[31m\\x07" in done.stderr, done.stderr)

    def test_a_reader_that_goes_away_hides_no_damage(self):
        for command in ("verify", "dump"):
            with subprocess.Popen([WALDUMP, command, GOLDEN + "corrupt"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
                process.stdout.close()
                self.assertEqual(process.wait(10), 1, command)

    def test_a_doubt_in_force_is_told(self):
        out, _ = run("verify", GOLDEN + "doubt")
        self.assertIn("doubt", out.decode())
        self.assertGreater(rows("verify", GOLDEN + "doubt")[0]["doubt"], 0)

    def spares(self, path):
        return [os.path.join(path, row["file"]) for row in rows("ls", path) if row["state"] == "ready"]

    def test_a_spare_copy_is_a_note_wherever_it_is_looked_at(self):
        """The identity of a prepared segment, and that of a sealed one, which does not need it."""
        path, _ = self.small_log()
        for file, state in ((self.spares(path)[0], "ready"), (self.begun(path)[1], "sealed")):
            before = content(file)
            self.invert(file, 8, 4)
            row, = [row for row in rows("ls", path) if row["file"] == os.path.basename(file)]
            self.assertEqual(row["state"], state)
            self.assertIn("its identity does not read", row["note"])
            for more in ([], ["--deep"], ["--strict"]):
                row, = rows("verify", *more, path)
                self.assertEqual((row["outcome"], row["spare_copies_damaged"]), ("clean", 1))
                self.assertIn("note: 1 ", run("verify", *more, path)[0].decode())
            rows("stat", path)
            change(file, 0, before)

    def test_a_lost_begun_segment_is_no_spare(self):
        path, _ = self.small_log()
        file = self.begun(path)[-1]
        self.invert(file, 8, 4)
        self.invert(file, 4096, 512)
        self.assertIn(rows("verify", path, code=1)[0]["outcome"], ("uncertain", "damaged"))
        row, = [row for row in rows("ls", path, code=1) if row["file"] == os.path.basename(file)]
        self.assertEqual(row["state"], "damaged")

    def test_dead_space_is_no_damage_wherever_it_is_looked_at(self):
        path = self.golden("closed")
        dead = [row for row in rows("dump", "--view=physical", path) if row["what"] == "  record" and row["state"] == "dead"]
        row = next(row for row in dead if row["segment"] == 7)
        file = os.path.join(path, f"{7:020d}.wal")
        self.invert(file, row["offset"] + 24, 4)
        self.assertEqual(rows("verify", "--deep", path)[0]["outcome"], "clean")
        total, = rows("stat", path)
        self.assertEqual((total["bad_batches"], total["dead_bad_batches"]), (0, 1))
        self.assertEqual(rows("ls", path)[0]["state"], "sealed")
        one, = rows("verify", file)
        self.assertEqual(one["outcome"], "clean")
        self.assertIn("in dead space (truncated later) do not verify", one["text"])
        rows("stat", file)
        live = rows("dump", path)[0]
        self.invert(os.path.join(path, f"{live['segment']:020d}.wal"), live["offset"] + 24, 4)
        self.assertEqual(rows("verify", "--deep", path, code=1)[0]["outcome"], "damaged")

    def test_damage_that_is_needed_is_damage_in_one_segment_too(self):
        path, _ = self.small_log()
        victim = [row for row in rows("dump", path) if row["segment"] == 2][5]
        self.invert(self.begun(path)[1], victim["offset"] + 24, 4)
        for command in (["verify", "--deep"], ["stat"]):
            rows(*command, path, code=1)
            rows(command[0], self.begun(path)[1], code=1)
        alone = os.path.join(self.path("alone"), os.path.basename(self.begun(path)[1]))
        os.mkdir(self.path("alone"))
        shutil.copy(self.begun(path)[1], alone)
        self.assertEqual(rows("verify", alone, code=1)[0]["outcome"], "damaged")

    def test_stat_tells_live_records_from_truncated_ones(self):
        for name in ("closed", "torn", "reset", "doubt"):
            total, = rows("stat", GOLDEN + name)
            live = rows("dump", GOLDEN + name)
            self.assertEqual(total["live_records"], len(live), name)
            for row in rows("stat", "--by=segment", GOLDEN + name):
                self.assertEqual(row["live_records"], sum(1 for one in live if one["segment"] == row["segment"]), name)
            self.assertIn(f"({len(live)} live", run("stat", GOLDEN + name)[0].decode())
        self.assertIsNone(rows("stat", GOLDEN + "corrupt")[0]["live_records"])
        self.assertNotIn(" live,", run("stat", GOLDEN + "corrupt")[0].decode())

    def test_an_empty_log_has_no_records(self):
        run("import", self.path("empty"), data=export_lines([]))
        for command in (["verify"], ["verify", "--deep"], ["repair"]):
            out, _ = run(*command, self.path("empty"))
            self.assertIn("no records", out.decode())
            self.assertNotIn("records 1 to 0", out.decode())
        self.assertNotIn("records 1 to 0", rows("verify", self.path("empty"))[0]["text"])

    def test_an_interrupted_look_is_not_called_clean(self):
        if shutil.which("strace") is None:
            self.skipTest("no strace")
        path, _ = self.small_log()
        for target, place in ((path, "getdents64"), (self.begun(path)[1], "pread64")):
            for more in ([], ["--json"]):
                trace = ["strace", "-o", "/dev/null", "-P", os.path.realpath(target), "-e", f"trace={place}", "-e",
                         f"inject={place}:signal=INT:when=1"]
                done = subprocess.run([*trace, WALDUMP, "verify", "--deep", *more, target], capture_output=True, text=True, check=False,
                                      env=dict(os.environ, ASAN_OPTIONS="detect_leaks=0"))
                self.assertEqual(done.returncode, 130, done)
                self.assertNotIn("everything", done.stdout)
                if more:
                    self.assertEqual((json.loads(done.stdout)["outcome"], json.loads(done.stdout)["partial"]), ("interrupted", True))
                else:
                    self.assertIn(": INTERRUPTED, nothing bad so far", done.stdout)

    def test_an_end_that_one_segment_cannot_judge_is_not_passed_as_good(self):
        torn = self.begun(self.golden("torn"))[-1]
        self.invert(torn, 0xe00 - 512, 512)
        row, = rows("verify", torn, code=1)
        self.assertEqual(row["outcome"], "torn")
        out, _ = run("verify", torn, code=1)
        self.assertNotIn("normal after a crash", out.decode())


if __name__ == "__main__":
    unittest.main()
