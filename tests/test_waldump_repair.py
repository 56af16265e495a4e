#!/usr/bin/env python3
"""waldump repair takes nothing that it has not saved, says what would be lost, and does not call done what is not."""
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from test_waldump import GOLDEN, WALDUMP, Scratch, change, content, export_lines, rows, run  # noqa: E402


class Repair(Scratch):
    @classmethod
    def setUpClass(cls):
        """One log is made, with all its syncs; each test has a copy."""
        cls.logs = tempfile.mkdtemp(prefix="waldump-", dir="build/tmp")
        cls.addClassCleanup(shutil.rmtree, cls.logs, True)
        cls.log_made = None

    def small_log(self, name="log", **limits):
        if limits:
            return super().small_log(name, **limits)
        if self.log_made is None:
            path, records = super().small_log("first")
            type(self).log_made = (shutil.move(path, self.logs), records)
        return shutil.copytree(self.log_made[0], self.path(name)), self.log_made[1]

    def damaged(self, segment, offset=4096, size=512, name="log"):
        """A log of several segments; bytes of one are inverted. By default its opening anchor."""
        path, _ = self.small_log(name)
        begun = [row["segment"] for row in rows("ls", path) if row["state"] not in ("ready", "retired")]
        file = os.path.join(path, f"{begun[segment]:020d}.wal")
        old = content(file)[offset:offset + size]
        change(file, offset, bytes(byte ^ 0xff for byte in old))
        return path

    def check_everything_is_somewhere(self, path):
        """Every byte that was in a file is in that file still, or in its copy."""
        before = {os.path.basename(file): content(file) for file in self.segments(path)}
        backup = self.path("backup")
        run("repair", "--apply", "--backup", backup, path)
        for name, old in before.items():
            copy = os.path.join(backup, name)
            now = content(os.path.join(path, name)) if os.path.exists(os.path.join(path, name)) else b""
            if old != now and old[4096:].strip(b"\0"):  # A prepared file holds nothing: it may be made anew.
                self.assertTrue(os.path.exists(copy), f"{name} was changed, and not saved")
                self.assertEqual(content(copy), old, name)
        self.assertEqual(rows("verify", "--deep", path)[0]["outcome"], "clean")

    def test_a_newest_segment_without_its_anchor_is_saved(self):
        self.check_everything_is_somewhere(self.damaged(-1))

    def test_a_middle_segment_without_its_anchor_is_saved(self):
        self.check_everything_is_somewhere(self.damaged(2))

    def test_the_plan_counts_what_still_reads(self):
        path = self.damaged(2)
        readable = [row["index"] for row in rows("dump", path, code=1)]
        plan = rows("repair", path, code=1)[0]
        lost = [index for index in readable if index >= plan["index"]]
        self.assertGreater(len(lost), 0)
        self.assertGreaterEqual(plan["cut_records"], len(lost))
        out, _ = run("repair", path, code=1)
        self.assertIn("waldump export --from", out.decode())

    def test_a_file_that_does_not_belong_here_is_behind_the_log_once_it_is_cut(self):
        path, records = self.small_log()
        files = self.segments(path)
        number = int(os.path.basename(files[-1])[:20])
        shutil.copy(files[1], os.path.join(path, f"{number + 4:020d}.wal"))
        self.assertNotEqual(rows("verify", path, code=1)[0]["outcome"], "clean")
        run("repair", "--apply", "--backup", self.path("backup"), path)
        self.assertEqual(rows("verify", path)[0]["outcome"], "clean")
        self.assertEqual(len(rows("dump", path)), len(records))

    def test_a_lost_beginning_is_not_promised_to_be_cut(self):
        path, _ = self.small_log()
        os.remove(self.segments(path)[0])
        out, _ = run("repair", path, code=1)
        self.assertNotIn("repair --apply", out.decode())
        before = {file: content(file) for file in self.segments(path)}
        run("repair", "--apply", "--backup", self.path("backup"), path, code=1)
        self.assertEqual(before, {file: content(file) for file in self.segments(path)})

    def test_the_default_place_is_beside_the_log(self):
        path = self.damaged(-1)
        here = os.getcwd()
        os.chdir(path)
        try:
            os.environ["OUT"] = os.path.join(here, os.environ.get("OUT", "build"))
            run("repair", "--apply", ".")
        finally:
            os.chdir(here)
        self.assertEqual([name for name in os.listdir(path) if not name.endswith(".wal") and name != "lock"], [])
        self.assertTrue(any(name.startswith("log.cut-") for name in os.listdir(self.folder)), os.listdir(self.folder))

    def files_of(self, path):
        return {name: content(os.path.join(path, name)) for name in sorted(os.listdir(path))}

    def interrupted(self, path, place, signal):
        """The signal comes with a system call of the copy, so that it is not a matter of luck where."""
        trace = ["strace", "-o", "/dev/null", "-e", f"trace={place}", "-e", f"inject={place}:signal={signal}:when=1"]
        return subprocess.run([*trace, WALDUMP, "repair", "--apply", "--backup", self.path("backup"), path], capture_output=True, text=True,
                              check=False, env=dict(os.environ, ASAN_OPTIONS="detect_leaks=0"))

    def test_an_interrupt_before_the_cut_is_obeyed(self):
        if shutil.which("strace") is None:
            self.skipTest("no strace")
        path = self.damaged(2)
        before = self.files_of(path)
        for place, signal in (("mkdir", "INT"), ("fsync", "INT"), ("fsync", "TERM"), ("getdents64", "INT")):
            done = self.interrupted(path, place, signal)
            self.assertEqual((done.returncode, done.stdout), (130, ""), done)
            self.assertIn("interrupted; the log was not touched", done.stderr)
            self.assertEqual(self.files_of(path), before)
            self.assertFalse(os.path.exists(self.path("backup")), "half a copy was left")
        run("repair", "--apply", "--backup", self.path("backup"), path)

    def test_a_copy_goes_into_an_empty_directory_outside_of_the_log(self):
        path = self.damaged(2)
        before = self.files_of(path)
        other, _ = self.small_log("other")
        of_other = self.files_of(other)
        link = self.path("link")
        os.symlink("log", link)
        for backup, code in ((other, 3), (path, 2), (os.path.join(path, "copy"), 2), (os.path.join(link, "copy"), 2)):
            _, err = run("repair", "--apply", "--backup", backup, path, code=code)
            self.assertRegex(err, r"not empty|own directory")
            self.assertEqual(self.files_of(path), before, backup)
            self.assertEqual(self.files_of(other), of_other, backup)
        os.mkdir(self.path("new"))
        run("repair", "--apply", "--backup", self.path("new"), path)
        self.assertNotEqual(os.listdir(self.path("new")), [])

    def test_a_writer_is_seen_before_anything_is_copied(self):
        path = self.damaged(2)
        backup = self.path("backup")
        held = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        self.addCleanup(os.close, held)
        fcntl.flock(held, fcntl.LOCK_EX)
        _, err = run("repair", "--apply", "--backup", backup, path, code=3)
        self.assertIn(f"process {os.getpid()} has it open for writing", err)
        self.assertIn("the log was not touched", err)
        self.assertFalse(os.path.exists(backup))
        fcntl.flock(held, fcntl.LOCK_UN)
        run("repair", "--apply", "--backup", backup, path)

    def test_a_copy_that_failed_is_not_in_the_way_of_the_next(self):
        path = self.damaged(2)
        backup = self.path("backup")
        script = f"ulimit -f 64; trap '' XFSZ; exec {WALDUMP} repair --apply --backup {backup} {path}"  # A disk that takes no more.
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 3, done)
        self.assertIn("File too large", done.stderr)
        self.assertFalse(os.path.exists(backup))
        run("repair", "--apply", "--backup", backup, path)

    def test_the_next_command_keeps_the_backup_that_was_named(self):
        out, _ = run("repair", "--backup", self.path("my copy"), self.damaged(2), code=1)
        self.assertIn(f"waldump repair --apply --backup='{self.path('my copy')}' ", out.decode())

    def places(self, path, code):
        return {row["index"]: (row["segment"], row["offset"]) for row in rows("dump", path, code=code)}

    def check_the_plan(self, path, cut_records=None):
        """The plan says what the cut does: kept and lost records, those that are older ones, and the doubt."""
        before = self.places(path, 1)
        plan, = rows("repair", path, code=1)
        done, = rows("repair", "--apply", "--backup", self.path("backup"), path)
        after = self.places(path, 0)
        lost = sorted(index for index in before if after.get(index) != before[index])
        older = sorted(index for index in after if after[index] != before.get(index))
        self.assertEqual((plan["cut_records"], plan["older_records"]), (len(lost), len(older)))
        if lost:
            self.assertEqual((plan["cut_first"], plan["cut_last"]), (lost[0], lost[-1]))
        if older:
            self.assertEqual((plan["older_first"], plan["older_last"]), (older[0], older[-1]))
        if after:
            self.assertEqual((plan["keep_first"], plan["keep_last"]), (min(after), max(after)))
        self.assertEqual(plan["doubt"], rows("verify", path)[0]["doubt"])
        for name in ("keep_first", "keep_last", "doubt", "cut_records"):
            self.assertEqual(plan[name], done[name], name)
        if cut_records is not None:
            self.assertEqual(len(lost), cut_records)
        shutil.rmtree(self.path("backup"), True)

    def test_the_plan_is_what_the_cut_does(self):
        self.check_the_plan(self.damaged(2))
        self.check_the_plan(self.damaged(-1, name="newest"))
        self.check_the_plan(self.golden("corrupt"))

    def swap(self, one, other):
        os.rename(one, self.path("kept"))
        os.rename(other, one)
        os.rename(self.path("kept"), other)

    def test_a_place_above_the_newest_hides_no_loss(self):
        path = self.golden("reset")
        self.swap(os.path.join(path, f"{5:020d}.wal"), os.path.join(path, f"{8:020d}.wal"))
        out, _ = run("repair", path, code=1)
        self.assertIn("would keep: records 5000 to 5001", out.decode())
        self.assertNotIn("lost with it", out.decode())
        self.check_the_plan(path, cut_records=0)
        path, _ = self.small_log()
        files = self.segments(path)
        self.swap(files[1], files[-1])
        before = self.places(path, 1)
        plan, = rows("repair", path, code=1)
        lost = [index for index in before if index > plan["keep_last"]]
        self.assertGreater(len(lost), 0)
        self.assertEqual((plan["cut_records"], plan["cut_first"], plan["cut_last"]), (len(lost), lost[0], lost[-1]))

    def test_older_records_that_come_back_are_told(self):
        path = self.golden("closed")
        os.truncate(os.path.join(path, f"{7:020d}.wal"), 6154)
        out, _ = run("repair", path, code=1)
        self.assertIn("2 records that still read, between 37 and 38", out.decode())
        self.assertIn("between 37 and 40, would be older ones", out.decode())
        self.assertIn("would hold a doubt from index 37 on", out.decode())
        self.check_the_plan(path, cut_records=2)

    def test_large_limits_cost_a_dry_run_no_memory(self):
        if "san" in os.environ.get("OUT", "build"):
            self.skipTest("a sanitizer's shadow is larger than any bound")
        path = self.path("log")
        limits = {"block_bytes": 4096, "segment_bytes": 96 << 20, "batch_bytes_max": 64 << 20}
        records = [(1, number, b"x" * 100) for number in range(1, 9)]
        run("import", path, data=export_lines(records, **limits), timeout=120)
        last = rows("dump", path)[-1]
        change(os.path.join(path, f"{last['segment']:020d}.wal"), last["offset"] - 100, b"\xff" * 64)
        done = subprocess.run(["bash", "-c", f"ulimit -v 60000; exec {WALDUMP} repair --json {path}"], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 1, done)
        self.assertFalse(json.loads(done.stdout)["partial"])

    def test_a_dry_run_writes_nothing(self):
        path = self.damaged(2)
        before = self.files_of(path)
        around = sorted(os.listdir(self.folder))
        run("repair", path, code=1)
        self.assertEqual((self.files_of(path), sorted(os.listdir(self.folder))), (before, around))


if __name__ == "__main__":
    unittest.main()
