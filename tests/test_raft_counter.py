#!/usr/bin/env python3
"""raft_counter on the real disk: three nodes in one process, killed with -9, damaged, started again. What was applied stays, everywhere."""
import glob
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

COUNTER = os.path.abspath(os.path.join(os.environ.get("OUT", "build"), "raft_counter"))


class Counter(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(dir=os.environ.get("TEST_DIR", "build/tmp"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def count(self, additions):
        """Runs it to the end; all nodes must have the same sum, which is returned."""
        done = subprocess.run([COUNTER, self.folder, str(additions)], capture_output=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        sums = {line.split()[-1] for line in done.stdout.decode().splitlines()}
        self.assertEqual(len(sums), 1, done.stdout.decode())
        return int(sums.pop())

    def test_it_goes_on_where_it_was(self):
        self.assertEqual(self.count(1000), 1000)
        self.assertEqual(self.count(500), 1500)

    def test_killed_at_any_moment(self):
        dice = random.Random(7)
        before, seconds, at_work = self.count(100), 1.0, 0
        for _ in range(5):
            child = subprocess.Popen([COUNTER, self.folder, "100000000"], stdout=subprocess.DEVNULL)
            time.sleep(seconds + dice.random())
            child.send_signal(signal.SIGKILL)
            child.wait()
            after = self.count(1)
            self.assertGreater(after, before)
            if after > before + 1:
                at_work += 1
            else:
                seconds *= 2  # A busy machine: it had not begun to count yet.
            before = after
        self.assertGreater(at_work, 0)

    def test_damage_on_one_node_is_mended_by_the_others(self):
        total = self.count(5000)
        path = sorted(glob.glob(self.folder + "/node-2/log-*/*.wal"))[0]
        for place in (3, 40):
            with open(path, "r+b") as file:
                file.seek(4096 * place + 512)
                file.write(b"\xa5" * 512)
            self.assertEqual(self.count(10), total + 10)
            total += 10
            path = sorted(glob.glob(self.folder + "/node-2/log-*/*.wal"))[0]

    def test_a_lost_log_is_not_taken_for_a_new_node(self):
        self.count(100)
        shutil.rmtree(glob.glob(self.folder + "/node-3/log-*")[0])
        done = subprocess.run([COUNTER, self.folder, "1"], capture_output=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"the node's log is lost", done.stderr)

    def test_wrong_arguments(self):
        done = subprocess.run([COUNTER], capture_output=True, timeout=10, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"usage", done.stderr)


if __name__ == "__main__":
    os.makedirs("build/tmp", exist_ok=True)
    unittest.main()
