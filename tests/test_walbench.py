#!/usr/bin/env python3
"""walbench as a stranger runs it: commands, options, exit codes, results, interrupts, full disks, no ring, no gnuplot.

Figures are never judged here, only that they agree with each other. OUT says where the program is. Standard library only.
"""
import contextlib
import csv
import ctypes
import fcntl
import glob
import io
import json
import os
import re
import resource
import shutil
import signal
import stat
import struct
import subprocess
import tempfile
import time
import unittest
import xml.etree.ElementTree

WALBENCH = os.path.abspath(os.path.join(os.environ.get("OUT", "build"), "walbench"))
COMMANDS = ("sync", "append", "recover", "peers", "raft", "compare", "plot", "probe", "explain")
SHORT = ("--time=20ms", "--warmup=0", "--rounds=1")


def forbid_rings():
    """In a child: io_uring_setup (425) fails with EPERM from here on, as in many containers."""
    code = b"".join(struct.pack("HBBI", *line) for line in ((0x20, 0, 0, 0), (0x15, 0, 1, 425), (0x06, 0, 0, 0x00050000 | 1),
                                                            (0x06, 0, 0, 0x7FFF0000)))
    text = ctypes.create_string_buffer(code)
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 4, ctypes.addressof(text)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) != 0 or libc.prctl(22, 2, program, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def small_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))


def run(*arguments, code=0, timeout=60, **more):
    """Runs it; the exit code must be `code`. Returns stdout and stderr."""
    done = subprocess.run([WALBENCH, *map(str, arguments)], capture_output=True, timeout=timeout, check=False, **more)
    if done.returncode != code:
        raise AssertionError(f"walbench {' '.join(map(str, arguments))}: exit {done.returncode}, not {code}\n"
                             f"{done.stdout.decode(errors='replace')[:2000]}\n{done.stderr.decode(errors='replace')[:2000]}")
    return done.stdout.decode(), done.stderr.decode()


def result(*arguments, **more):
    return json.loads(run(*arguments, "--json", **more)[0])


class Scratch(unittest.TestCase):
    """A directory on a disk; when the tree itself is on none, the program is told to measure all the same."""

    def setUp(self):
        os.makedirs("build/tmp", exist_ok=True)
        self.folder = tempfile.mkdtemp(prefix="walbench-", dir="build/tmp")
        self.addCleanup(shutil.rmtree, self.folder, True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def left_behind(self):
        return glob.glob(self.folder + "/walbench.*")

    def wait_until(self, happened, seconds=60):
        deadline = time.monotonic() + seconds
        while not happened():
            self.assertLess(time.monotonic(), deadline, "it did not happen")
            time.sleep(0.01)


class CommandLine(Scratch):
    def test_options_may_stand_before_the_command(self):
        self.assertEqual(json.loads(run("--json", "probe", self.folder)[0])["schema"], "walbench.probe/1")
        self.assertIn("append takes no --layout", run("--layout=zeroed", "append", code=2)[1])
        self.assertIn("unrecognized option '--bogus'", run("--bogus", "append", code=2)[1])
        self.assertIn("append: neither", run("--quick", "--", "append", code=3)[1])

    def test_usage_errors_are_exit_2_and_say_where_help_is(self):
        for arguments in (["--bogus"], ["sync", "a", "b"], ["compare", "a"], ["plot"], ["append", "--layout=append"], ["recover", "--json=1"],
                          ["--time=0"], ["--time=x"], ["--time=-1s"], ["--rounds=0"], ["--rounds=65"], ["--size=0"], ["--size=2M"], ["--size="],
                          ["--threads=0"], ["--threads=257"], ["--threads=1,,2"], ["--depth=65"], ["--method=write"], ["--layout=new"],
                          ["--direct=yes"], ["append", "--rate=0"], ["append", "--rate=10", "--threads=2"], ["--engine=aio", "append"],
                          ["--profile=oracle"], ["--assert=p99"], ["--assert=p99<10"], ["--emulate=tape"], ["--emulate=0"], ["--emulate=11s"],
                          ["--format=xml"], ["--progress=yes"], ["compare", "--stat=p98", "a", "b"], ["compare", "--max-regress=-1", "a", "b"], ["compare", "--max-regress=10", "a", "b"],
                          ["help", "nosuch"], ["peers", "--peers=oracle"], ["plot", "-o", "x.gif", "a"]):
            out, err = run(*arguments, code=2)
            self.assertEqual(out, "", arguments)
            self.assertTrue(1 <= len(err.strip().splitlines()) <= 2, (arguments, err))
            self.assertIn("walbench", err)
        self.assertEqual(self.left_behind(), [])

    def test_options_without_effect_are_refused(self):
        for arguments, reason in (
            (["--profile=etcd", "--method=fsync"], "--profile says"), (["--profile=etcd", "--layout=zeroed"], "--profile says"),
            (["--profile=etcd", "--size=100"], "--profile says"), (["--profile=etcd", "--depth=2"], "--profile says"),
            (["--profile=etcd", "--direct=direct"], "--profile says"), (["--method=fsync", "--engine=posix"], "--engine is of the log"),
            (["raft", "--emulate=hdd", "--log-size=16M"], "no restart"),
            (["append", "--records=10000", "--size=1M"], "at most 2096792 bytes"), (["peers", "--records=10000", "--size=1M"], "at most"),
            (["append", "--records=2048", "--size=100,1000"], "at most"),
            (["--method=fsync,none,fsync"], "--method: fsync is there twice"), (["append", "--threads=1,8,1"], "--threads: 1 is there twice"),
            (["append", "--size=4096,4k"], "--size: 4k is there twice"), (["peers", "--peers=lmdb,lmdb"], "--peers: lmdb is there twice"),
        ):
            out, err = run(*arguments, "--time=60m", self.folder, code=2)
            self.assertEqual(out, "")
            self.assertIn(reason, err)
        self.assertEqual(self.left_behind(), [])

    def test_more_rows_than_there_is_room_for_or_the_same_twice(self):
        sizes = ",".join(str(512 * i) for i in range(1, 17))
        out, err = run("--time=60m", "--method=fdatasync,fsync,o_dsync", "--layout=append,zeroed,recycled", "--size=" + sizes, self.folder, code=2)
        self.assertEqual((out, err), ("", "walbench: the lists make more than 256 rows: shorten them\n"))
        out, err = run("recover", "--log-size=1M,1500k", self.folder, code=2)
        self.assertEqual((out, err), ("", "walbench: two rows would be called open.cold.1M: the lists name the same thing twice\n"))
        self.assertEqual(self.left_behind(), [])

    def test_help_goes_to_stdout_and_fits(self):
        for arguments in (["--help"], ["-h"], ["help"], ["append", "--help"], ["help", "plot"]):
            out, err = run(*arguments)
            self.assertEqual(err, "")
            for line in out.splitlines():
                self.assertLessEqual(len(line), 80, line)
        for command in COMMANDS:
            self.assertIn("Usage: walbench " + command, run("help", command)[0])
        self.assertRegex(run("--version")[0], r"^walbench \d+\.\d+\.\d+ \(library \d+\.\d+\.\d+, results walbench\.result/1\)$")

    def test_every_option_and_command_is_in_the_help_and_in_the_manual(self):
        with open("bench/walbench.c", encoding="utf-8") as file:
            source = file.read()
        options = re.findall(r"^    \{OPTION_\w+, \"([a-z-]+)\"", source, flags=re.M)
        commands = re.findall(r"^    \{[A-Z]+, \"([a-z]+)\"", source, flags=re.M)
        self.assertTrue(len(options) > 25 and sorted(commands) == sorted(COMMANDS))
        with open("bench/walbench.1", encoding="utf-8") as file:
            manual = file.read().replace("\\-", "-")
        with open("bench/walbench.bash", encoding="utf-8") as file:
            completion = file.read()
        for option in options:
            self.assertRegex(run("--help")[0], rf"--{option}\b")
            self.assertRegex(manual, rf"--{option}\b")
        for command in commands:
            self.assertRegex(manual, rf"\.(BI|B) {command}\b")
            self.assertIn(command, completion)

    def complete(self, *words):
        """What bash offers behind these words; the last one is being typed. As bash does it, = is a word of its own."""
        split = [part for word in words for part in (re.split("(=)", word) if word.startswith("--") and "=" in word else [word])]
        if split[-1] == "" and len(split) > 1 and split[-2] == "=":
            split.pop()
        script = "source bench/walbench.bash; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _walbench; printf '%s\\n' \"${COMPREPLY[@]}\""
        done = subprocess.run(["bash", "-c", script, "bash", "walbench", *split], capture_output=True, check=True,
                              env=dict(os.environ, PATH=os.path.dirname(WALBENCH) + ":" + os.environ["PATH"]))
        self.assertEqual(done.stderr, b"")
        return done.stdout.decode().split()

    def test_completion(self):
        if shutil.which("bash") is None:
            self.skipTest("no bash")
        for command in COMMANDS:
            taken = set(re.findall(r"^  (?:-.,|   ) --([a-z-]+)", run("help", command)[0], flags=re.M))
            self.assertEqual({word[2:] for word in self.complete(command, "--")}, taken, command)
            self.assertEqual({word[2:] for word in self.complete("-q", command, "--")}, taken, command)
        self.assertEqual(set(self.complete("")) & {*COMMANDS, "help"}, {*COMMANDS, "help"})
        self.assertEqual(self.complete("help", "ap"), ["append"])
        self.assertIn("--layout", self.complete("--l"))
        self.assertEqual(self.complete("append", "--l"), [])
        self.assertEqual(self.complete("--layout=z"), ["zeroed"])
        self.assertEqual(self.complete("--layout=zeroed,re"), ["zeroed,recycled"])
        self.assertEqual(self.complete("-m", "fsync,none,f"), ["fsync,none,fdatasync"])
        self.assertEqual(self.complete("--method=a,"), [f"a,{word}" for word in ("none", "fdatasync", "fsync", "o_dsync", "rwf_dsync",
                                                                                "uring-linked", "uring-dsync")])
        self.assertEqual(self.complete("peers", "--peers=lmdb,r"), ["lmdb,raft", "lmdb,rocksdb"])

    def test_explain_without_a_file_names_all_words(self):
        out, _ = run("explain")
        for word in ("fdatasync", "uring-linked", "fallocated", "recycled", "etcd", "postgres", "hdd", "--assert"):
            self.assertIn(word, out)

    def test_stdout_that_is_gone_or_full(self):
        for command in (["explain"], ["probe", self.folder], ["probe", "--json", self.folder], [*SHORT, "--method=none", self.folder]):
            with subprocess.Popen([WALBENCH, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
                process.stdout.close()
                self.assertEqual((process.wait(60), process.stderr.read()), (0, b""), command)
            with open("/dev/full", "wb") as full:
                done = subprocess.run([WALBENCH, *command], stdout=full, stderr=subprocess.PIPE, check=False)
            self.assertEqual(done.returncode, 3, command)
            self.assertIn(b"No space left", done.stderr)


class Results(Scratch):
    def check_row(self, row):
        latency = row["latency_ns"]
        if row["skipped"] is not None:
            self.assertEqual(row["operations"], 0)
            return
        self.assertEqual(latency["count"], row["operations"])
        self.assertEqual(sum(bucket[2] for bucket in latency["histogram"]), row["operations"])
        if row["operations"] == 0:
            return
        self.assertTrue(latency["min"] <= latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["p999"] <= latency["max"], row["id"])
        self.assertTrue(latency["min"] <= latency["mean"] <= latency["max"])
        rank, seen = row["operations"] // 2, 0
        for low, high, count in latency["histogram"]:  # The percentile again, from the histogram alone.
            seen += count
            if seen > rank:
                self.assertTrue(low <= latency["p50"] <= high, (row["id"], low, high, latency["p50"]))
                break
        self.assertAlmostEqual(row["operations_per_s"], row["operations"] * 1e9 / row["elapsed_ns"], delta=1)
        if row["kind"] in ("write", "log"):
            self.assertEqual(row["records"], row["operations"] * row["records_per_operation"])
            self.assertEqual(row["bytes"], row["records"] * row["size_bytes"])

    def test_the_usual_run(self):
        document = result(*SHORT, self.folder)
        self.assertEqual(document["schema"], "walbench.result/1")
        self.assertEqual(document["argv"][1:], [*SHORT, self.folder, "--json"])
        self.assertEqual((document["command"], document["partial"], document["rounds"]), ("sync", False, 1))
        self.assertRegex(document["started"], r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        self.assertEqual({"machine", "file_system", "device", "warnings"}, set(document["environment"]))
        ids = [row["id"] for row in document["rows"]]
        self.assertEqual(len(ids), len(set(ids)))
        keys = {tuple(row) for row in document["rows"]}
        self.assertEqual(len(keys), 1)  # The same keys, in the same order.
        for row in document["rows"]:
            self.check_row(row)
        for method in ("fdatasync", "fsync", "o_dsync", "rwf_dsync", "uring-linked", "uring-dsync"):
            self.assertIn(f"{method}.zeroed.direct.4096.d1", ids)
        for layout in ("append", "fallocated", "recycled"):
            self.assertIn(f"fdatasync.{layout}.direct.4096.d1", ids)
        self.assertEqual([row["durable"] for row in document["rows"] if row["method"] == "none"], [False])
        for section in {row["section"] for row in document["rows"]}:  # Never two things at once.
            rows = [row for row in document["rows"] if row["section"] == section and row["kind"] == "write"]
            varied = [key for key in ("method", "layout", "direct", "size_bytes", "depth") if len({row[key] for row in rows}) > 1]
            self.assertLessEqual(len(varied), 1, section)
        self.assertTrue(document["sentence"].startswith("In one sentence"))
        self.assertIn("group commit makes", document["sentence"])
        self.assertEqual(self.left_behind(), [])

    def test_text_markdown_and_csv(self):
        out, err = run(*SHORT, "--quick", "--hist", self.folder)
        self.assertEqual(err, "")
        self.assertIn("NOT durable", out)
        self.assertIn("####", out)
        self.assertTrue(out.splitlines()[-1].startswith("In one sentence"))
        out, _ = run(*SHORT, "--quick", "--format=md", self.folder)
        self.assertGreater(len(re.findall(r"^\| .* \|$", out, flags=re.M)), 10)
        rows = list(csv.DictReader(io.StringIO(run(*SHORT, "--quick", "--format=csv", self.folder)[0])))
        self.assertTrue(all(int(row["operations"]) > 0 or row["skipped"] for row in rows) and len(rows) > 8)

    def test_lists_make_every_combination(self):
        document = result(*SHORT, "--method=fdatasync,none", "--layout=append,zeroed", "--size=4k,8k", "--depth=1,2", "--direct=buffered", self.folder)
        self.assertEqual(len({row["id"] for row in document["rows"]}), 16)
        self.assertEqual(len({row["label"] for row in document["rows"]}), 16)
        self.assertTrue(all(("NOT durable" in row["label"]) != row["durable"] for row in document["rows"]))
        self.assertTrue(all(not row["direct"] and row["kind"] == "write" for row in document["rows"]))
        for row in document["rows"]:
            self.check_row(row)
        document = result(*SHORT, "--size=1000", self.folder)  # Not a multiple of a block: direct I/O cannot.
        self.assertEqual([row["skipped"] is None for row in document["rows"]], [False, True])

    def test_lists_and_the_log(self):
        document = result(*SHORT, "--method=fdatasync", "--direct=direct", "--threads=2", "--outstanding=4", "--engine=posix", self.folder)
        self.assertEqual([row["id"] for row in document["rows"]],
                         ["fdatasync.zeroed.direct.4096.d1", "log.threads2.128", "log.loop4.128"])
        document = result(*SHORT, "--direct=buffered", "--threads=2", "--size=100,512", self.folder)
        self.assertEqual([row["id"] for row in document["rows"] if row["kind"] == "log"], ["log.threads2.100", "log.threads2.512"])
        self.assertEqual(len({row["label"] for row in document["rows"]}), 4)

    def test_the_largest_append(self):
        row, = result("append", *SHORT, "--records=2047", "--size=1000", "--threads=1", self.folder)["rows"]
        self.assertGreater(row["records"], 0)

    def test_kept_files_are_told(self):
        _, err = run(*SHORT, "--method=none", "--keep", self.folder)
        where, = self.left_behind()
        self.assertEqual(err, f"walbench: the files are kept in {where}\n")

    def test_append(self):
        document = result("append", *SHORT, "--threads=1,3", "--outstanding=16", "--size=100,3000", "--records=5", self.folder)
        self.assertEqual([row["id"] for row in document["rows"]],
                         [f"log.{how}.{size}x5" for size in (100, 3000) for how in ("threads1", "threads3", "loop16")])
        for row in document["rows"]:
            self.check_row(row)
            self.assertTrue(row["queue"]["count"] > 0 and row["write"]["count"] > 0 and row["syncs"] > 0)
        for engine in ("posix", "auto"):
            self.assertGreater(result("append", *SHORT, "--threads=2", "--engine=" + engine, self.folder)["rows"][0]["operations"], 0)

    def test_rate_is_timed_from_when_due(self):
        row, = result("append", "--time=200ms", "--warmup=0", "--rounds=1", "--rate=500", self.folder)["rows"]
        self.check_row(row)
        self.assertTrue(row["operations"] <= 110, row["operations"])
        row, = result("append", "--time=300ms", "--warmup=0", "--rounds=1", "--rate=2000", "--emulate=100ms", self.folder)["rows"]
        self.check_row(row)
        # Whoever is due while a sync of 100 ms goes on waits for the rest of it and for the next: the mean is above one sync.
        self.assertGreater(row["latency_ns"]["mean"], 100_000_000)
        self.assertGreater(row["unfinished"], 100)

    def test_recover(self):
        document = result("recover", *SHORT, "--log-size=4M", self.folder)
        self.assertEqual([row["id"] for row in document["rows"]], ["open.cold.4M", "open-crashed.cold.4M", "verify.cold.4M", "verify.warm.4M"])
        self.assertTrue(all(row["operations"] == 1 for row in document["rows"]))
        self.assertTrue(document["rows"][2]["bytes"] >= 4 << 20)

    def test_raft(self):
        document = result("raft", *SHORT, "--outstanding=1,32", "--log-size=4M,2M", self.folder, timeout=120)
        rows = {row["id"]: row for row in document["rows"]}
        self.assertEqual(list(rows), [name for outstanding in (1, 32)
                                      for name in (f"log.loop{outstanding}.128", f"raft.nodes1.loop{outstanding}.128",
                                                   f"raft.nodes3.loop{outstanding}.128", f"peer.raft.threads{outstanding}.128")] +
                         ["raft.restart.warm.4M", "raft.restart.warm.2M"])
        kinds = {"log": "log", "raft": "raft", "peer": "peer"}
        for name, row in rows.items():
            self.assertEqual(row["kind"], kinds[name.split(".")[0]], name)
            if not name.startswith("peer"):
                self.assertGreater(row["operations"], 0, name)
        self.assertGreater(rows["raft.restart.warm.4M"]["bytes"], 4 << 20)

    def test_plans_of_raft(self):
        """Told by the first assertion that no row could decide, before anything is measured."""
        _, err = run("raft", "--quick", "--log-size=3M,2M", "--assert=restart.3M.p50<1s", "--assert=restart.2M.p50<1s",
                     "--assert=nosuch.p50<1s", self.folder, code=2)
        self.assertIn("'nosuch.p50<1s': no row of this run has these words", err)
        # More callers than threads make the same work of a peer: one row, not two of one name.
        _, err = run("raft", "--outstanding=257,300", "--assert=threads256.p50<1s", "--assert=nosuch.p50<1s", self.folder, code=2)
        self.assertIn("'nosuch.p50<1s': no row of this run has these words", err)

    def test_raft_on_emulated_disks(self):
        document = result("raft", *SHORT[1:], "--time=600ms", "--outstanding=1", "--emulate=20ms", self.folder)
        rows = {row["id"]: row for row in document["rows"]}
        self.assertEqual(set(rows), {"log.loop1.128", "raft.nodes1.loop1.128", "raft.nodes3.loop1.128", "peer.raft.threads1.128"})
        self.assertIn("cannot be emulated", rows["peer.raft.threads1.128"]["skipped"])
        three = rows["raft.nodes3.loop1.128"]["latency_ns"]
        self.assertGreaterEqual(three["min"], 20000000)
        self.assertEqual(rows["raft.nodes3.loop1.128"]["emulated_ns"], 20000000)

    def test_emulation_is_added_and_labelled(self):
        out, _ = run(*SHORT, "--quick", "--emulate=3ms", self.folder)
        self.assertIn("EMULATED", out.splitlines()[-1])
        document = result(*SHORT, "--emulate=3ms", self.folder)
        self.assertEqual((document["emulated_ns"], document["emulated"]), (3000000, "3ms"))
        for row in document["rows"]:
            if row["operations"] and row["durable"]:
                self.assertGreaterEqual(row["latency_ns"]["min"], 3000000, row["id"])
                self.assertEqual(row["emulated_ns"], 3000000)
            if row["depth"] > 1:
                self.assertIsNotNone(row["skipped"])

    def test_output_file_and_probe(self):
        path = self.path("out.json")
        run(*SHORT, "--method=none", "-o", path, self.folder)
        with open(path, encoding="utf-8") as file:
            self.assertEqual(json.load(file)["schema"], "walbench.result/1")
        self.assertEqual(glob.glob(path + ".*"), [])
        for bad in ("/nonexistent/out.json", self.folder, path + "/x", "", "x" * 300, "x/" * 3000):  # Told before minutes go by.
            out, err = run("--time=60m", "--method=none", "-o", bad, self.folder, code=3)
            self.assertEqual(out, "", bad)
            self.assertTrue(err.startswith("walbench: " + bad), err)
        self.assertEqual(self.left_behind(), [])
        self.assertEqual(json.loads(run("probe", "--json", self.folder)[0])["schema"], "walbench.probe/1")
        self.assertIn("file system", run("probe", self.folder)[0])


    def test_output_into_what_is_no_regular_file(self):
        pipe = self.path("pipe")
        os.mkfifo(pipe)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 1 << 20)
        run(*SHORT, "--method=none", "--direct=buffered", "-o", pipe, self.folder)
        self.assertEqual(json.loads(os.read(reader, 1 << 20))["schema"], "walbench.result/1")
        self.assertTrue(stat.S_ISFIFO(os.lstat(pipe).st_mode))
        if os.geteuid() == 0:
            device = self.path("null")  # Not the machine's own: a fault here must break nothing.
            try:
                os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
                with open(device, "wb"):
                    pass
            except OSError:
                device = None
            if device is not None:
                run(*SHORT, "--method=none", "-o", device, self.folder)
                self.assertTrue(stat.S_ISCHR(os.lstat(device).st_mode))
        text = self.path("text")
        with open(text, "wb") as file:
            subprocess.run([WALBENCH, *SHORT, "--method=none", "-o", "/dev/stdout", self.folder], stdout=file, check=True)
        with open(text, encoding="utf-8") as file:
            table, _, document = file.read().partition("\n{")
        self.assertIn("In one sentence", table)
        self.assertEqual(json.loads("{" + document)["schema"], "walbench.result/1")

    def test_output_through_links(self):
        os.mkdir(self.path("there"))
        target, link, other = self.path("there/target.json"), self.path("link.json"), self.path("victim")
        os.symlink("there/target.json", link)  # Relative, and its target is not there yet.
        for wanted in (0o644, 0o600):
            run(*SHORT, "--method=none", "-o", link, self.folder, umask=0o022)
            self.assertEqual(os.readlink(link), "there/target.json")
            with open(target, encoding="utf-8") as file:
                self.assertEqual(json.load(file)["schema"], "walbench.result/1")
            if wanted == 0o644:
                self.assertEqual(stat.S_IMODE(os.stat(target).st_mode), wanted)
                os.chmod(target, 0o600)
        self.assertEqual(stat.S_IMODE(os.stat(target).st_mode), 0o600)
        with open(other, "w", encoding="utf-8") as file:
            file.write("mine")
        os.symlink("victim", self.path("out.json.part"))  # Nobody's names are guessed and followed.
        run(*SHORT, "--method=none", "-o", self.path("out.json"), self.folder)
        with open(other, encoding="utf-8") as file:
            self.assertEqual(file.read(), "mine")
        os.symlink("circle", self.path("circle"))
        self.assertIn("symbolic links", run(*SHORT, "-o", self.path("circle"), self.folder, code=3)[1])
        self.assertEqual(sorted(os.listdir(self.path("there"))), ["target.json"])


class Decisions(Scratch):
    def test_assertions_and_profiles(self):
        out, _ = run(*SHORT, "--method=none,fdatasync", "--assert=fdatasync.p99<1000s", "--assert", "none.rate > 1", self.folder)
        self.assertEqual(out.count("PASS"), 2)
        document = result(*SHORT, "--method=fdatasync", "--assert=p50<1ns", self.folder, code=1)
        self.assertEqual([row["ok"] for row in document["assertions"]], [False])
        _, err = run(*SHORT, "--method=fdatasync", "--assert=fsync.p50<1s", self.folder, code=2)
        self.assertIn("fsync.p50<1s", err)
        document = result(*SHORT, "--profile=etcd", "--emulate=15ms", self.folder, code=1)  # Its threshold is 10 ms.
        self.assertEqual([row["expression"] for row in document["assertions"]], ["profile.p99<10ms"])
        self.assertEqual(document["rows"][0]["id"], "fdatasync.append.buffered.2300.d1.profile")
        self.assertEqual(result(*SHORT, "--profile=postgres", self.folder)["assertions"], [])

    def test_what_no_row_can_decide_is_told_before_measuring(self):
        for words in ("fsync.p50<1s", "none.nosuch.rate>1"):
            out, err = run("--time=60m", "--method=fdatasync,none", "--assert=p99<1s", "--assert", words, self.folder, code=2)
            self.assertEqual(out, "")
            self.assertIn(words, err)
        run("--time=60m", "--method=none", "--assert=p99<1s", self.folder, code=2)  # Without words: a durable row.
        self.assertEqual(self.left_behind(), [])

    def test_rows_that_were_all_skipped(self):
        path = self.path("none.json")
        for arguments, reason in (
            (["--method=fdatasync", "--size=100", "--direct=direct", "--assert=p99<1us"], "direct I/O wants"),
            (["--method=uring-dsync", "--direct=direct"], "no io_uring"),
            (["--method=uring-dsync", "--depth=4", "--emulate=hdd"], "one thing durable at a time"),
            (["--layout=append", "--size=1M", "--warmup=60m", "--direct=buffered"], "the warm-up"),
        ):
            if os.path.exists(path):
                os.unlink(path)
            out, err = run(*SHORT, *arguments, "-o", path, self.folder, code=3, preexec_fn=forbid_rings)
            self.assertIn("nothing was measured", err)
            self.assertIn(reason, out)
            self.assertIn("nothing was measured", out.splitlines()[-1])
            with open(path, encoding="utf-8") as file:
                document = json.load(file)
            self.assertTrue(all(row["skipped"] and row["operations"] == 0 for row in document["rows"]) and document["rows"], arguments)
            self.assertEqual([(told["row"], told["value"], told["ok"]) for told in document["assertions"]],
                             [(None, None, False)] if "--assert=p99<1us" in arguments else [])

    def test_an_assertion_whose_rows_were_skipped_fails(self):
        arguments = (*SHORT, "--method=none", "--size=100", "--assert=direct.p50<1000s", "--assert=buffered.p50<1000s", self.folder)
        out, _ = run(*arguments, code=1)
        self.assertRegex(out, r"(?m)^UNDECIDED: direct\.p50<1000s \(")
        self.assertRegex(out, r"(?m)^PASS: buffered\.p50<1000s \(")

    def test_a_failing_assertion_is_told_beside_csv_and_json(self):
        arguments = (*SHORT, "--method=none", "--direct=buffered", "--assert=none.p50<1ns", "--assert=none.p50>1ns", self.folder)
        for form in ("csv", "json"):
            _, err = run("--format=" + form, *arguments, code=1)
            self.assertRegex(err, r"^walbench: FAIL: none\.p50<1ns \(none\.zeroed\.buffered\.4096\.d1: [^()]+\)\n$")
        self.assertEqual(run(*arguments, code=1)[1], "")  # It stands in the table's text.

    def test_the_value_of_an_assertion_has_its_unit(self):
        out, _ = run("append", *SHORT, "--rate=1000", "--assert=rate1000.p50<1000s", "--assert=rate1000.rate>0.001", self.folder)
        self.assertRegex(out, r"(?m)^PASS: rate1000\.p50<1000s \(log\.rate1000\.128: [0-9.]+ (ns|us|ms|s)\)$")
        self.assertRegex(out, r"(?m)^PASS: rate1000\.rate>0\.001 \(log\.rate1000\.128: [0-9.]+[kM]?\)$")

    def test_compare(self):
        old, new = self.path("old.json"), self.path("new.json")
        run(*SHORT, "--method=none,fdatasync", "--direct=both", "-o", old, self.folder)
        with open(old, encoding="utf-8") as file:
            document = json.load(file)
        self.assertEqual(run("compare", old, old)[0].splitlines()[-1], "4 rows compared, 0 worse by more than 10 %")
        document["rows"][1]["latency_ns"]["p50"] = document["rows"][1]["latency_ns"]["p50"] * 13 // 10
        document["rows"][0]["operations_per_s"] /= 2
        with open(new, "w", encoding="utf-8") as file:
            json.dump(document, file)
        self.assertIn("WORSE", run("compare", old, new, code=1)[0])
        run("compare", "--max-regress=40%", old, new)
        run("compare", "--stat=p99", old, new)
        told = json.loads(run("compare", "--stat=rate", "--json", old, new, code=1)[0])
        self.assertEqual((told["schema"], [row["worse"] for row in told["rows"]]), ("walbench.compare/1", [True, False, False, False]))
        run("compare", "--stat=rate", new, old)  # Faster is no regression.
        document["rows"] = [dict(document["rows"][0], id="other")]
        with open(new, "w", encoding="utf-8") as file:
            json.dump(document, file)
        self.assertIn("no row in common", run("compare", old, new, code=3)[1])

    def test_compare_tells_every_row_that_it_does_not_compare(self):
        old, new = self.path("old.json"), self.path("new.json")
        run(*SHORT, "--method=none,fdatasync", "-o", old, self.folder)
        with open(old, encoding="utf-8") as file:
            document = json.load(file)
        ids = [row["id"] for row in document["rows"]]

        def compare(change, code, *options):
            changed = json.loads(json.dumps(document))
            change(changed["rows"])
            with open(new, "w", encoding="utf-8") as file:
                json.dump(changed, file)
            return [run("compare", *options, *pair, code=code[at]) for at, pair in enumerate(((old, new), (new, old)))]

        (out, err), (back, back_err) = compare(lambda rows: rows.pop(1), (1, 0))
        self.assertIn(f"{ids[1]} is GONE", err)
        self.assertEqual(out.splitlines()[-1], "3 rows compared, 0 worse by more than 10 %, 1 gone")
        self.assertEqual((back.splitlines()[-1], back_err), ("3 rows compared, 0 worse by more than 10 %",
                                                             f"walbench: note: {ids[1]} is measured in the new result only\n"))
        (out, err), _ = compare(lambda rows: rows[2].update(skipped="not here", operations=0), (1, 0), "--json")
        self.assertIn(f"{ids[2]} is GONE: measured in the old result only: not here", err)
        self.assertEqual((json.loads(out)["compared"], json.loads(out)["gone"]), (3, 1))
        _, (_, err) = compare(lambda rows: rows[0]["latency_ns"].update(p50=0), (0, 0))
        self.assertEqual(err, f"walbench: note: {ids[0]} is not compared: its p50 is 0 in the old result\n")
        self.assertIn("write 10%", run("compare", "--max-regress=10", old, old, code=2)[1])
        for share in ("10%", "0.1", "1", "250%"):
            run("compare", "--max-regress=" + share, old, old)

    def test_files_that_are_no_results(self):
        path = self.path("bad.json")
        for text in ("", "{", "[]", '{"schema": "waldump.ls/1"}', '{"schema": 1}', "\x00\xff", "[" * 100000):
            with open(path, "w", encoding="latin-1") as file:
                file.write(text)
            for command in (["compare", path, path], ["plot", path, "-o", self.path("x.svg")], ["explain", path]):
                out, err = run(*command, code=3)
                self.assertTrue(out == "" and "bad.json" in err, (text, err))
        run("explain", self.path("nosuch"), code=3)

    def test_explain_reads_a_result(self):
        path = self.path("one.json")
        run(*SHORT, "--emulate=2ms", "--quick", "-o", path, self.folder)
        out, _ = run("explain", path)
        self.assertIn("EMULATED", out)
        self.assertIn("In one sentence", out)
        self.assertIn("When the file grows", out)

    def test_explain_does_not_contradict_itself(self):
        path = self.path("one.json")
        run(*SHORT, "--method=fdatasync,fsync,o_dsync", "--direct=direct", "-o", path, self.folder)
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
        for row, p50, rate in zip(document["rows"], (131000, 213000, 213000), (1000, 1170, 500)):
            row["latency_ns"]["p50"], row["records_per_s"] = p50, rate
        with open(path, "w", encoding="utf-8") as file:
            json.dump(document, file)
        out, _ = run("explain", path)
        self.assertIn("- By fsync: half of them within 213 us instead of 131 us, and yet 1.17 times as many a second, "
                      "as a few slow ones weigh on that.\n", out)
        self.assertIn("- By O_DSYNC: half of them within 213 us instead of 131 us, 0.5 times as many a second.\n", out)

    def test_plot(self):
        if shutil.which("gnuplot") is None:
            self.skipTest("no gnuplot")
        path = self.path("one.json")
        run(*SHORT, "--quick", "-o", path, self.folder)
        for picture in ("a.svg", "b.png"):
            out, _ = run("plot", path, path, "-o", self.path(picture))
            self.assertEqual(out.strip(), self.path(picture))
            self.assertTrue(os.path.getsize(self.path(picture)) > 5000)
        xml.etree.ElementTree.parse(self.path("a.svg"))
        self.assertTrue(os.path.exists(self.path("a.dat")) and os.path.exists(self.path("a.gp")))
        out, err = run("plot", path, "-o", self.path("c.svg"), env={"PATH": "/nonexistent"})
        self.assertIn("no gnuplot", err)
        self.assertTrue(os.path.exists(self.path("c.dat")) and not os.path.exists(self.path("c.svg")))


    def hostile_result(self):
        path = self.path("hostile.dat")
        run(*SHORT, "--method=none", "--direct=buffered", "-o", path, self.folder)
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
        touch = f"touch {self.path('ran')}"
        document["rows"][0].update(label=f"`{touch}`' title '`{touch}`\"`{touch}`\\\n!{touch}\r\x1b]0;x\x07\x7f {{/Symbol a_b^c}}", durable=True)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(document, file)
        return path

    def test_plot_runs_nothing_that_a_result_says(self):
        path, picture = self.hostile_result(), self.path("x.svg")
        run("plot", path, path, "-o", picture, env={"PATH": "/nonexistent"})
        for name in ("x.gp", "x.dat"):
            with open(self.path(name), "rb") as file:
                text = file.read()
            self.assertNotRegex(text, rb"[\x00-\x09\x0b-\x1f\x7f]")
            self.assertNotIn(b"\n!", text)
            outside = re.sub(rb"'(?:[^'\n]|'')*'", b"", text) if name == "x.gp" else text
            self.assertNotIn(b"`", outside)
        if shutil.which("gnuplot") is None:
            self.skipTest("no gnuplot")
        run("plot", path, path, "-o", picture)
        xml.etree.ElementTree.parse(picture)
        self.assertFalse(os.path.exists(self.path("ran")))

    def test_plot_refuses_names_that_harm(self):
        path = self.hostile_result()
        with open(path, "rb") as file:
            before = file.read()
        for picture in ("|touch ran.svg", "<ran.svg", "-x.svg", "a'b.svg", "a\nb.svg", "hostile.svg", "hostile.png"):
            _, err = run("plot", os.path.abspath(path), "-o", picture, cwd=self.folder, code=2)
            self.assertIn("-o: ", err)
        os.link(path, self.path("z.gp"))
        run("plot", path, "-o", self.path("z.svg"), code=2)
        os.link(path, self.path("y.svg"))
        run("plot", path, "-o", self.path("y.svg"), code=2)
        with open(path, "rb") as file:
            self.assertEqual(file.read(), before)
        self.assertEqual(sorted(os.listdir(self.folder)), ["hostile.dat", "y.svg", "z.gp"])


class Failures(Scratch):
    def test_interrupted(self):
        for command, number in (
            (["sync", "--time=5s"], signal.SIGINT),
            (["append", "--time=30s", "--rounds=1"], signal.SIGTERM),
            (["recover"], signal.SIGHUP),
            (["--emulate=hdd"], signal.SIGINT),
        ):
            with subprocess.Popen([WALBENCH, *command, "--json", self.folder], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
                time.sleep(1.5)
                process.send_signal(number)
                out, err = process.communicate(timeout=30)
            self.assertEqual(process.returncode, 130, (command, err))
            self.assertEqual(err, b"")
            document = json.loads(out)
            self.assertEqual((document["partial"], document["stopped_by"]), (True, "interrupted"))
            self.assertEqual(self.left_behind(), [])

    def test_interrupted_before_anything_was_measured(self):
        with subprocess.Popen([WALBENCH, "--time=60m", "--warmup=60m", self.folder], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            self.wait_until(self.left_behind)  # From here on signals are caught.
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        self.assertEqual((process.returncode, err), (130, b""))
        self.assertIn(b"PARTIAL: interrupted", out)
        self.assertIn(b"not reached", out)
        self.assertTrue(out.endswith(b"In one sentence: nothing was measured.\n"), out)
        self.assertEqual(self.left_behind(), [])

    def test_interrupted_on_a_slow_disk(self):
        with subprocess.Popen([WALBENCH, "append", "--emulate=10s", "--threads=64", "--rounds=1", self.folder],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            self.wait_until(lambda: glob.glob(self.folder + "/walbench.*/log/*"))
            time.sleep(2)  # Into the syncs, most likely; what is asserted holds in any case.
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=40)
        self.assertEqual((process.returncode, err), (130, b""))
        self.assertIn(b"PARTIAL: interrupted", out)
        self.assertEqual(self.left_behind(), [])

    def test_peers_that_do_not_end(self):
        tools, marks = self.path("tools"), self.path("marks")
        os.mkdir(tools)
        os.mkdir(marks)
        with open(tools + "/fio", "w", encoding="utf-8") as file:  # Deaf for long, as fio can be, and with a child.
            file.write(f"#!/bin/sh\ntrap '' TERM INT HUP\nsleep 90 &\necho $! >{os.path.abspath(marks)}/child.new\n"
                       f"mv {os.path.abspath(marks)}/child.new {os.path.abspath(marks)}/child\nsleep 90\n")
        os.chmod(tools + "/fio", 0o755)
        for signals in (1, 2):
            with subprocess.Popen([WALBENCH, "peers", *SHORT, "--peers=libwal", "--threads=1", self.folder], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, env={"PATH": os.path.abspath(tools) + ":" + os.environ["PATH"]}) as process:
                self.wait_until(lambda: os.path.exists(marks + "/child"))
                for _ in range(signals):
                    process.send_signal(signal.SIGTERM)
                    time.sleep(0.3)
                out, err = process.communicate(timeout=60)
            self.assertEqual((process.returncode, err), (130, b""))
            self.assertIn(b"PARTIAL: interrupted", out)
            self.assertEqual(self.left_behind(), [])
            with open(marks + "/child", encoding="utf-8") as file:
                child = int(file.read())
            os.unlink(marks + "/child")
            self.wait_until(lambda pid=child: not is_running(pid))

    def test_no_disk(self):
        if not os.path.isdir("/dev/shm"):
            self.skipTest("no /dev/shm")
        out, err = run(*SHORT, "/dev/shm", code=4)
        self.assertTrue(out == "" and "file system in memory" in err)
        document = result(*SHORT, "--quick", "--method=fdatasync", "--direct=buffered", "--force", "/dev/shm")
        self.assertIn("NOT a disk", document["plausibility"])
        self.assertEqual(glob.glob("/dev/shm/walbench.*"), [])

    def test_no_control_characters_of_names_reach_a_terminal(self):
        evil = "x\x1b]0;title\x07\x7f\x9b1mé"
        path = self.path(evil)
        with open(path, "w", encoding="utf-8") as file:
            file.write("{")
        full = self.path("a.json")
        run(*SHORT, "--method=none", "--direct=buffered", "-o", full, self.folder)
        with open(full, encoding="utf-8") as file:
            document = json.load(file)
        for key in ("started", "version", "sentence", "plausibility"):
            document[key] = evil
        document.update(partial=True, stopped_by=evil)
        document["environment"]["warnings"] = [evil]
        document["rows"][0]["id"] = evil
        document["rows"].append(dict(document["rows"][0], skipped=evil, operations=0))
        with open(full, "w", encoding="utf-8") as file:
            json.dump(document, file)
        for arguments, code in (([*SHORT, path + "/no"], 3), ([*SHORT, "-o", path + "/no", self.folder], 3), (["compare", path, path], 3),
                                (["explain", path], 3), (["plot", path, "-o", self.path("p.svg")], 3), (["--method=" + evil], 2),
                                (["peers", "--peers=" + evil], 2), (["probe", path + "/no"], 3), (["explain", full], 0),
                                (["compare", full, full], 0)):
            out, err = run(*arguments, code=code)
            self.assertNotRegex(out + err, r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", arguments)
            if code == 3:
                self.assertRegex(err, r"x\?\]0;title\?+1mé")

    def test_places_that_cannot_be_written(self):
        for path in ("/nonexistent", "/proc", "/etc/passwd", "/sys"):
            out, err = run(*SHORT, path, code=3)
            self.assertTrue(out == "" and err.startswith("walbench: "), (path, out, err))
        self.assertIn("nosuch: neither a command nor a directory", run("nosuch", code=3)[1])
        if os.geteuid() != 0:
            os.chmod(self.folder, 0o500)
            run(*SHORT, self.folder, code=3)

    def test_full_disk(self):
        out, err = run(*SHORT, self.folder, code=3, preexec_fn=small_files)  # Files of 1 MiB at most.
        self.assertIn("walbench: ", err)
        self.assertRegex(out, r"(?m)^PARTIAL: failed: .*: File too large;")
        self.assertNotIn("interrupted", out)
        path = self.path("failed.json")
        out, _ = run(*SHORT, "--json", "-o", path, self.folder, code=3, preexec_fn=small_files)
        self.assertIn("File too large", json.loads(out)["stopped_by"])
        self.assertIn("File too large", run("explain", path)[0])
        self.assertEqual(self.left_behind(), [])
        small = self.path("small")
        os.mkdir(small)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8M", "none", small], capture_output=True, check=False).returncode != 0:
            self.skipTest("no mount")
        try:
            self.assertIn("MiB free", run(*SHORT, "--force", small, code=3)[1])
            self.assertEqual(os.listdir(small), [])
        finally:
            subprocess.run(["umount", small], check=True)

    def test_no_ring(self):
        document = result(*SHORT, self.folder, preexec_fn=forbid_rings)
        for row in document["rows"]:
            if row["engine"] == "io_uring":
                self.assertIn("no io_uring", row["skipped"])
            else:
                self.assertGreater(row["operations"], 0, row["id"])
        _, err = run("append", *SHORT, "--engine=uring", self.folder, code=3, preexec_fn=forbid_rings)
        self.assertIn("wal_open", err)
        run("append", *SHORT, "--engine=posix", "--threads=2", self.folder, preexec_fn=forbid_rings)

    def test_peers_that_are_not_built_are_named(self):
        program = self.path("walbench")
        shutil.copy(WALBENCH, program)  # No peers beside it.
        done = subprocess.run([program, "peers", "--json", "--threads=2", *SHORT, self.folder], capture_output=True, check=True)
        rows = json.loads(done.stdout)["rows"]
        self.assertEqual({row["engine"]: row["skipped"] for row in rows if row["kind"] == "peer" and row["engine"] != "fio"},
                         dict.fromkeys(("raft", "rocksdb", "sqlite", "lmdb", "plain"), "not built: make bench-peers"))
        self.assertGreater(next(row for row in rows if row["kind"] == "log")["operations"], 0)


if __name__ == "__main__":
    with contextlib.suppress(FileNotFoundError):
        os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    unittest.main(verbosity=1)
