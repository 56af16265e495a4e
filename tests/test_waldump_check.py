#!/usr/bin/env python3
"""waldump verify says what it has read, what it has not, and a next command that works."""
import json
import os
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from test_waldump import GOLDEN, WALDUMP, Scratch, change, content, rows, run  # noqa: E402


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

    def test_an_end_that_one_segment_cannot_judge_is_not_passed_as_good(self):
        torn = self.begun(self.golden("torn"))[-1]
        self.invert(torn, 0xe00 - 512, 512)
        row, = rows("verify", torn, code=1)
        self.assertEqual(row["outcome"], "torn")
        out, _ = run("verify", torn, code=1)
        self.assertNotIn("normal after a crash", out.decode())


if __name__ == "__main__":
    unittest.main()
