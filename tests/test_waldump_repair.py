#!/usr/bin/env python3
"""waldump repair takes nothing that it has not saved, says what would be lost, and does not call done what is not."""
import os
import shutil
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from test_waldump import Scratch, change, content, rows, run  # noqa: E402


class Repair(Scratch):
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

    def test_what_is_not_in_order_behind_the_cut_is_said(self):
        path, _ = self.small_log()
        files = self.segments(path)
        number = int(os.path.basename(files[-1])[:20])
        shutil.copy(files[1], os.path.join(path, f"{number + 4:020d}.wal"))
        out, err = run("repair", "--apply", "--backup", self.path("backup"), path, code=1)
        self.assertNotEqual(rows("verify", path, code=1)[0]["outcome"], "clean")
        self.assertTrue("move it away" in err or "cannot be cut" in err, err)

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


if __name__ == "__main__":
    unittest.main()
