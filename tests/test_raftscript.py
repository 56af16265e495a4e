"""raftscript from outside: every scenario holds, and a difference is found."""

import glob
import os
import shutil
import subprocess
import tempfile
import unittest

RAFTSCRIPT = os.path.join(os.environ.get("OUT", "build"), "bin", "raftscript")
SCENARIOS = sorted(glob.glob("tests/scenarios/*.txt"))


def run(*arguments, code=0):
    done = subprocess.run([RAFTSCRIPT, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == code, (arguments, done.returncode, done.stdout[-2000:], done.stderr)
    return done.stdout, done.stderr


class Scenarios(unittest.TestCase):
    def test_all_scenarios_hold(self):
        self.assertGreaterEqual(len(SCENARIOS), 40)
        out, _ = run("--check", *SCENARIOS)
        self.assertEqual(len(out.splitlines()), len(SCENARIOS))

    def test_every_scenario_says_what_it_shows_and_no_invariant_is_broken(self):
        for path in SCENARIOS:
            with open(path, encoding="utf-8") as file:
                text = file.read()
            self.assertTrue(text.startswith("# "), path)
            for word in ("BROKEN", "unknown command", "unknown input", "not stable"):
                self.assertNotIn(word, text, path)

    def test_what_is_printed_is_the_file_itself(self):
        for path in SCENARIOS:
            with open(path, encoding="utf-8") as file:
                self.assertEqual(run(path)[0], file.read(), path)


class Files(unittest.TestCase):
    def setUp(self):
        os.makedirs("build/tmp", exist_ok=True)
        self.folder = tempfile.mkdtemp(prefix="raftscript-", dir="build/tmp")
        self.addCleanup(shutil.rmtree, self.folder, True)

    def script(self, text):
        path = os.path.join(self.folder, "a.txt")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def test_arguments_that_nobody_can_read_are_told(self):
        for line, odd in (("add-nodes 18446744073709551615", "18446744073709551615"), ("add-nodes 2x", "2x"),
                          ("add-nodes 1 voters=(1) index=18446744073709551615", "18446744073709551615"),
                          ("add-nodes 1 voters=(a)", "a"), ("add-nodes 1 vters=(1)", "vters"),
                          ("add-nodes 1 index=-1", "-1"), ("deliver-msgs 1 drop=(1x)", "1x")):
            out, _ = run(self.script(line + "\n----\n"))
            self.assertIn("unknown argument: " + odd + "\n", out, line)
        out, _ = run(self.script("add-nodes 1 voters=(1)\n----\n\nadd-nodes 1099511627776\n----\n\n"
                                 "crash 1\n----\n\nrestart 1 tail=gone\n----\n"))
        self.assertIn("add-nodes wants 1 to 11 nodes", out)
        self.assertIn("tail=gone: exact, lost or uncertain", out)

    def test_a_difference_is_found_in_each_scenario(self):
        for path in SCENARIOS:
            with open(path, encoding="utf-8") as file:
                lines = file.read().split("\n")
            last = max(i for i, line in enumerate(lines) if line)  # The last line of the last output.
            lines[last] += "0"
            changed = self.script("\n".join(lines))
            out, _ = run("--check", changed, code=1)
            self.assertIn(changed + ":", out)
            self.assertIn("+ " + lines[last][:-1], out)

    def test_lines_of_another_log_and_the_commit_in_a_status_are_not_compared(self):
        path = self.script(
            "add-nodes 1 voters=(1)\n----\nINFO 1 became follower at term 0\n\ncampaign 1\n----\nDEBUG x\n\n"
            "stabilize log-level=none\n----\nok\n\nstatus 1\n----\n1: StateReplicate match=1 commit=0 next=2\n"
        )
        run("--check", path)
        with open(path, encoding="utf-8") as file:
            text = file.read().replace("next=2", "next=3")
        run("--check", self.script(text), code=1)

    def test_output_with_blank_lines_stands_between_rulers(self):
        path = self.script("vote cfg=(1) votes=(y)\n----\n----\nVoteWon\n----\n----\n\nvote cfg=(1) votes=(n)\n----\nVoteLost\n")
        self.assertIn("2 cases, 0 differ", run("--check", path)[0])

    def test_write_puts_the_actual_output_in_place(self):
        path = self.script("# why\nvote cfg=(1,2,3) votes=(y y _)\n----\nwrong\n")
        run("--check", path, code=1)
        run("--write", path)
        run("--check", path)
        with open(path, encoding="utf-8") as file:
            self.assertEqual(file.read(), "# why\nvote cfg=(1,2,3) votes=(y y _)\n----\nVoteWon\n\n")

    def test_what_makes_no_sense_is_told_with_its_line(self):
        self.assertIn(":2: a command without ----", run("--check", self.script("# x\ncampaign 1\n"), code=3)[1])
        self.assertIn(":1: arguments", run(self.script("vote cfg=(1,2\n----\n"), code=3)[1])
        self.assertIn("does not end", run(self.script("vote cfg=(1)\n----\n----\nx\n"), code=3)[1])
        self.assertIn("No such file", run(os.path.join(self.folder, "none"), code=3)[1])
        self.assertIn("unknown command: dance", run(self.script("dance 1\n----\n"))[0])
        for text in ("campaign 9\n----\n", "restart 1\n----\n", "raft-log\n----\n", "propose 1\n----\n", "add-nodes 99\n----\n",
                     "add-nodes\n----\n", "compact 1\n----\n", "deliver-msgs 3\n----\n", "transfer-leadership\n----\n",
                     "add-nodes 1 voters=(1)\n----\n\npropose-conf-change 1\nx9\n----\n\nrestart 1 hole=(5,6)\n----\n\n"
                     "crash 1\n----\n\nrestart 1 hole=(5,6)\n----\n\nsend-snapshot 1 1\n----\n"):
            run(self.script(text))

    def test_usage(self):
        self.assertIn("add-nodes", run("--help")[0])
        self.assertIn("no option '--chek'", run("--chek", "x", code=2)[1])
        run(code=2)
        run("--check", "--write", "x", code=2)


if __name__ == "__main__":
    unittest.main()
