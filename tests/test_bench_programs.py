#!/usr/bin/env python3
"""bench_raft and bench_commit run, count what they say, and refuse wrong arguments. No figure is judged here: only that there is one."""
import json
import os
import subprocess
import tempfile
import unittest

OUT = os.environ.get("OUT", "build")


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=100)


class BenchRaft(unittest.TestCase):
    def test_every_case_commits(self):
        done = run(f"{OUT}/bench_raft", "--seconds", "0.05", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        result = json.loads(done.stdout)
        self.assertEqual(result["schema"], "bench_raft/1")
        for name in ("batched_per_second", "single_per_second", "idle_ns_per_group_and_tick",
                     "idle_ns_with_prefetch", "idle_bytes_per_group"):
            self.assertGreater(result[name], 0, name)
        self.assertEqual(result["allocations"], 0, "the steady state allocates")

    def test_the_table_names_what_was_run(self):
        done = run(f"{OUT}/bench_raft", "--seconds", "0.02")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("one a message", done.stdout)
        self.assertIn("10000 idle groups of three", done.stdout)

    def test_wrong_arguments(self):
        for wrong in (["--seconds"], ["--seconds", "0"], ["--second", "1"], ["extra"]):
            done = run(f"{OUT}/bench_raft", *wrong)
            self.assertEqual(done.returncode, 2, wrong)
            self.assertIn("usage:", done.stderr)


class BenchCommit(unittest.TestCase):
    def test_a_short_run_has_its_rows(self):
        with tempfile.TemporaryDirectory(dir="build/tmp") as directory:
            done = run(f"{OUT}/bench_commit", "--dir", directory, "--seconds", "0.1", "--rounds", "1", "--seed", "1",
                       "--cases", "threads-1,loop-64", "--markdown")
            self.assertIn(done.returncode, (0, 1), done.stderr)  # 1: a floor is not reached, in a tenth of a second
            self.assertIn("| 1 blocking thread |", done.stdout)
            self.assertIn("| event loop, 64 outstanding |", done.stdout)
            self.assertEqual(os.listdir(directory), [], "it leaves files behind")


if __name__ == "__main__":
    os.makedirs("build/tmp", exist_ok=True)
    unittest.main(verbosity=0)
