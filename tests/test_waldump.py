#!/usr/bin/env python3
"""waldump as a stranger runs it: commands, options, exit codes, pipes, signals, damage, a log that is being written.

The golden logs are read and compared with the independent reader (read_log.py); larger logs are made with `waldump import`. OUT says where the
program is. Standard library only.
"""
import base64
import contextlib
import csv
import glob
import io
import json
import os
import re
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

WALDUMP = os.path.abspath(os.path.join(os.environ.get("OUT", "build"), "waldump"))
GOLDEN = "tests/golden/v1.0-"
HEAD_SEED = 0x77616c2d68656164
COMMANDS = ("verify", "ls", "dump", "tail", "get", "stat", "explain", "hex", "diff", "export", "import", "repair", "meta", "snapshot",
            "format")


def run(*arguments, data=None, code=0, timeout=60):
    """Runs it; the exit code must be `code`. Returns stdout as bytes, and stderr as text."""
    done = subprocess.run([WALDUMP, *map(str, arguments)], input=data, capture_output=True, timeout=timeout, check=False)
    if done.returncode != code:
        raise AssertionError(f"waldump {' '.join(map(str, arguments))}: exit {done.returncode}, not {code}\n"
                             f"{done.stdout.decode(errors='replace')[:2000]}\n{done.stderr.decode(errors='replace')[:2000]}")
    return done.stdout, done.stderr.decode()


def rows(*arguments, code=0):
    """What --json prints, parsed; each line must have a schema."""
    out, _ = run(*arguments, "--json", code=code)
    parsed = [json.loads(line) for line in out.decode().splitlines()]
    for row in parsed:
        assert re.fullmatch(r"waldump\.[a-z-]+/1", row["schema"]), row
    return parsed


def export_lines(records, first=1, metadata=None, **limits):
    """An export, made here: records are (type, tag, bytes)."""
    head = {"schema": "waldump.export/1", "kind": "log", "first": first, "last": first + len(records) - 1, "metadata": metadata, **limits}
    lines = [json.dumps(head)]
    for number, (kind, tag, data) in enumerate(records):
        lines.append(json.dumps({"schema": "waldump.export/1", "kind": "record", "index": first + number, "tag": tag, "type": kind,
                                 "data": base64.b64encode(data).decode()}))
    lines.append(json.dumps({"schema": "waldump.export/1", "kind": "end", "records": len(records)}))
    return ("\n".join(lines) + "\n").encode()


def content(path):
    with open(path, "rb") as file:
        return file.read()


def change(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


class Scratch(unittest.TestCase):
    def setUp(self):
        os.makedirs("build/tmp", exist_ok=True)
        self.folder = tempfile.mkdtemp(prefix="waldump-", dir="build/tmp")
        self.addCleanup(shutil.rmtree, self.folder, True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def golden(self, name):
        """A copy that may be changed."""
        path = self.path(name)
        shutil.copytree(GOLDEN + name, path)
        return path

    def small_log(self, name="log", count=300, size=700, segment_bytes=65536 + 4096):
        """A few segments: an import with small ones."""
        records = [(1 + number % 3, 1000 + number, bytes([number % 251]) * (size - number % 5)) for number in range(count)]
        path = self.path(name)
        run("import", path, data=export_lines(records, block_bytes=4096, segment_bytes=segment_bytes, batch_bytes_max=16384))
        return path, records

    def segments(self, path):
        return sorted(glob.glob(path + "/*.wal"))


class CommandLine(Scratch):
    def test_usage_errors_are_exit_2_and_one_line(self):
        for arguments in ([], ["nonsense"], ["dump"], ["dump", "a", "b"], ["get", "a"], ["dump", "--bogus", "a"], ["ls", "--deep", "a"],
                          ["dump", "--from", "x", "a"], ["dump", "--from", "-1", "a"], ["dump", "--type", "70000", "a"], ["--bogus"],
                          ["dump", "--view", "nosuch", "a"], ["dump", "--payload", "all", "a"], ["dump", "--min-size", "3x", "a"],
                          ["explain", "--offset", "7", "a"], ["explain", "--offset", "0:1", "a"], ["explain", GOLDEN + "closed"],
                          ["hex", GOLDEN + "closed"], ["get", GOLDEN + "closed", "x"], ["help", "nosuch"], ["format", "a"],
                          ["export", "--format=csv", "a"], ["verify", "--color=maybe", "a"], ["dump", "--from", "99999999999999999999", "a"]):
            out, err = run(*arguments, code=2)
            self.assertEqual(out, b"", arguments)
            self.assertTrue(1 <= len(err.strip().splitlines()) <= 2, (arguments, err))

    def test_help_goes_to_stdout_and_fits(self):
        for arguments in (["--help"], ["-h"], ["help"], ["dump", "--help"], ["help", "verify"]):
            out, err = run(*arguments)
            self.assertEqual(err, "")
            self.assertTrue(all(len(line) <= 80 for line in out.decode().splitlines()), out.decode())
        for command in COMMANDS:
            self.assertIn(command, run("--help")[0].decode())
            self.assertIn("Usage: waldump " + command, run("help", command)[0].decode())
        self.assertRegex(run("--version")[0].decode(), r"^waldump \d+\.\d+\.\d+ \(library \d+\.\d+\.\d+, format 1\.0\)$")

    def test_every_option_and_command_is_in_the_help_and_in_the_manual(self):
        with open("tools/waldump.c", encoding="utf-8") as file:
            source = file.read()
        options = re.findall(r"^    \{OPTION_\w+, \"([a-z-]+)\"", source, flags=re.M)
        commands = re.findall(r"^    \{[A-Z]+, \"([a-z]+)\"", source, flags=re.M)
        self.assertTrue(len(options) > 20 and sorted(commands) == sorted(COMMANDS))
        with open("tools/waldump.1", encoding="utf-8") as file:
            manual = file.read().replace("\\-", "-")
        for option in options:
            self.assertIn("--" + option, run("--help")[0].decode())
            self.assertIn("--" + option, manual)
        for command in commands:
            self.assertRegex(manual, rf"\.(BI|B) {command}\b")
        with open("tools/waldump.bash", encoding="utf-8") as file:
            completion = file.read()
        for command in commands:
            self.assertIn(command, completion)

    def test_the_transcript_in_the_readme_is_what_it_prints(self):
        with open("README.md", encoding="utf-8") as file:
            block = re.search(r"^```\n(\$ waldump .*?)^```$", file.read(), flags=re.M | re.S).group(1)
        steps = re.split(r"^\$ ", block, flags=re.M)[1:]
        self.assertGreaterEqual(len(steps), 5)
        path = os.path.dirname(WALDUMP) + os.pathsep + os.environ["PATH"]
        for step in steps:
            command, _, printed = step.partition("\n")
            done = subprocess.run(["sh", "-c", command], env=dict(os.environ, PATH=path), capture_output=True, text=True, check=False)
            self.assertEqual((done.stdout, done.stderr), (printed, ""), command)

    def test_completion(self):
        if shutil.which("bash") is None:
            self.skipTest("no bash")
        script = ("source tools/waldump.bash; PATH=%s:$PATH; COMP_WORDS=(%s); COMP_CWORD=%d; _waldump; printf '%%s\\n' \"${COMPREPLY[@]}\"")
        folder = os.path.dirname(WALDUMP)
        for words, wanted in ((["waldump", "ex"], {"explain", "export"}), (["waldump", "verify", "--st"], {"--strict"}),
                              (["waldump", "dump", "--view", "ph"], {"physical"}), (["waldump", "help", "exp"], {"explain", "export"}),
                              (["waldump", "dump", "--type", "l"], {"list"}), (["waldump", "dump", "--type", "=", "l"], {"list"}),
                              (["waldump", "dump", "--de"], set()), (["waldump", "dump", "--of"], set()),
                              (["waldump", "dump", "--li"], {"--limit"}), (["waldump", "hex", "--payload", "t"], set())):
            done = subprocess.run(["bash", "-c", script % (folder, " ".join(words), len(words) - 1)], capture_output=True, text=True, check=True)
            self.assertEqual(set(done.stdout.split()), wanted)

    def test_what_the_manual_points_to_is_installed(self):
        done = subprocess.run(["make", "-n", "install", "DESTDIR=" + self.path("stage"), "PREFIX=/usr"], capture_output=True, text=True, check=True)
        self.assertRegex(done.stdout, r"install -m 644 wal/FORMAT\.md \S*/stage/usr/share/doc/libwal\b")
        with open("tools/waldump.1", encoding="utf-8") as file:
            self.assertIn("share/doc/libwal", file.read())

    def test_hex_refuses_forms_that_it_does_not_have(self):
        path = GOLDEN + "torn"
        index = rows("dump", path)[0]["index"]
        for form in ("text", "base64"):
            self.assertIn("len, hex or none", run("hex", path, index, "--payload=" + form, code=2)[1])
        self.assertNotEqual(run("hex", path, index, "--payload=hex")[0], run("hex", path, index, "--payload=len")[0])

    def test_places_that_are_no_logs(self):
        os.mkdir(self.path("empty"))
        with open(self.path("file"), "w", encoding="utf-8") as handle:
            handle.write("hello")
        for command in ("ls", "verify", "dump", "stat", "meta", "tail", "export", "repair"):
            for path in (self.path("none"), self.path("empty"), self.path("file")):
                out, err = run(command, path, code=3)
                self.assertEqual(out, b"")
                self.assertIn("waldump: ", err)

    def test_a_reader_that_goes_away_is_no_error(self):
        path, _ = self.small_log(count=3000, size=100)
        for command in (["dump"], ["dump", "--json"], ["export"], ["dump", "--view=physical"]):
            done = subprocess.run(["bash", "-c", f"set -o pipefail; {WALDUMP} {' '.join(command)} {path} | head -1"], capture_output=True, text=True,
                                  check=False)
            self.assertEqual((done.returncode, done.stderr), (0, ""), command)

    def test_a_full_disk_under_the_output_is_exit_3(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([WALDUMP, "format"], stdout=full, stderr=subprocess.PIPE, check=False)
        self.assertEqual(done.returncode, 3)
        self.assertIn(b"No space", done.stderr)

    def test_progress_is_for_terminals(self):
        path, _ = self.small_log()
        self.assertEqual(run("verify", "--deep", path)[1], "")
        self.assertIn("%", run("verify", "--deep", "--progress=always", path)[1])


class Reading(Scratch):
    def test_the_log_view_is_what_the_independent_reader_finds(self):
        for name in ("closed", "torn", "reset", "doubt", "corrupt"):
            code = 1 if name == "corrupt" else 0
            done = subprocess.run([sys.executable, "tests/read_log.py", GOLDEN + name], capture_output=True, text=True, check=False)
            theirs = [line.split() for line in done.stdout.splitlines()[1:]]
            theirs = [line[:4] for line in theirs if len(line) == 5]
            ours = [[str(row["index"]), str(row["type"]), str(row["tag"]), str(row["size"])] for row in rows("dump", GOLDEN + name, code=code)]
            self.assertEqual(ours[:len(theirs)], theirs, name)
            self.assertTrue(theirs)

    def test_filters(self):
        path, records = self.small_log()
        everything = rows("dump", path)
        self.assertEqual([(row["index"], row["type"], row["tag"], row["size"]) for row in everything],
                         [(number + 1, kind, tag, len(data)) for number, (kind, tag, data) in enumerate(records)])
        index = [row["index"] for row in rows("dump", "--from", 17, "--to", 23, path)]
        self.assertEqual(index, list(range(17, 24)))
        self.assertEqual([row["index"] for row in rows("dump", "--from=17", "--to=23", "--reverse", path)], list(range(23, 16, -1)))
        self.assertEqual([row["index"] for row in rows("dump", "-n", 3, "--from", 290, path)], [290, 291, 292])
        self.assertEqual([row["index"] for row in rows("dump", "-n", 2, "--reverse", path)], [300, 299])
        self.assertEqual({row["type"] for row in rows("dump", "--type", "0x2,3", path)}, {2, 3})
        self.assertEqual([row["tag"] for row in rows("dump", "--tag", "1007,1009", path)], [1007, 1009])
        self.assertTrue(all(row["size"] >= 700 for row in rows("dump", "--min-size", 700, path)))
        self.assertEqual({row["segment"] for row in rows("dump", "--segment", 2, path)}, {2})
        self.assertEqual([row["index"] for row in rows("tail", "-n", 4, path)], [297, 298, 299, 300])
        self.assertEqual(len(rows("tail", path)), 10)
        run("dump", "--from", 301, path, code=1)

    def test_payloads_are_redacted_unless_asked_for(self):
        secret = b"\x00secret \xff\"\\,"
        path = self.path("log")
        run("import", path, data=export_lines([(7, 1, secret)]))
        for command in (["dump"], ["dump", "--json"], ["dump", "--view=physical"], ["hex", "--json"], ["tail"], ["stat"], ["ls"]):
            out, _ = run(command[0], path, *(["1"] if command[0] == "hex" else []), *command[1:])
            self.assertNotIn(b"secret", out)
            self.assertNotIn(secret.hex().encode(), out)
        row, = rows("dump", path)
        self.assertEqual(int(row["xxh3"], 16), read_log.xxh3(secret))
        self.assertIsNone(row["payload"])
        self.assertEqual(bytes.fromhex(rows("dump", "--payload=hex", path)[0]["payload"]), secret)
        self.assertEqual(base64.b64decode(rows("dump", "--payload=base64", path)[0]["payload"]), secret)
        self.assertEqual(rows("dump", "--payload=text", path)[0]["payload"].encode("latin-1"), secret)
        self.assertEqual(bytes.fromhex(rows("dump", "--payload=hex", "--max-payload=3", path)[0]["payload"]), secret[:3])
        table = list(csv.DictReader(io.StringIO(run("dump", "--format=csv", "--payload=text", path)[0].decode())))
        self.assertEqual(table[0]["payload"], '\\x00secret \\xff"\\x5c,')
        self.assertIn("unknown(0x07)", run("dump", path)[0].decode())
        self.assertIn(secret.hex(), "".join(row["bytes"] for row in rows("hex", path, 1, "--payload=hex") if row["field"] == "payload"))

    def test_get(self):
        path, records = self.small_log(count=5)
        self.assertEqual(run("get", path, 3)[0], records[2][2])
        for index in (0, 6, 2**64 - 1):
            self.assertEqual(run("get", path, index, code=1)[0], b"")

    def test_ls_and_stat_agree_with_what_was_written(self):
        path, records = self.small_log()
        listed = rows("ls", path)
        self.assertEqual([row["segment"] for row in listed], sorted(row["segment"] for row in listed))
        live = [row for row in listed if row["state"] in ("sealed", "open")]
        self.assertEqual(sum(row["records"] for row in live), len(records))
        self.assertEqual(live[-1]["last"], len(records))
        self.assertEqual([row["state"] for row in live], ["sealed"] * (len(live) - 1) + ["open"])
        total, = rows("stat", path)
        self.assertEqual((total["records"], total["payload_bytes"]), (len(records), sum(len(data) for _, _, data in records)))
        by_type = {row["type"]: row["records"] for row in rows("stat", "--by=type", path)}
        self.assertEqual(by_type, {kind: sum(1 for one in records if one[0] == kind) for kind in (1, 2, 3)})
        self.assertEqual(sum(row["records"] for row in rows("stat", "--by=segment", path)), len(records))
        self.assertEqual(sum(row["records"] for row in rows("stat", "--by=size", path)), len(records))
        self.assertIn("#", run("stat", path)[0].decode())

    def test_ls_reads_no_body_of_a_sealed_segment(self):
        if shutil.which("strace") is None:
            self.skipTest("no strace")
        path, _ = self.small_log(count=2000, size=3000, segment_bytes=1 << 20)
        trace = self.path("trace")
        for command in (["ls"], ["verify"]):
            subprocess.run(["strace", "-f", "-e", "trace=pread64,openat", "-o", trace, WALDUMP, *command, path], capture_output=True, check=True,
                           env=dict(os.environ, ASAN_OPTIONS="detect_leaks=0"))  # LeakSanitizer traces as well; two cannot.
            with open(trace, encoding="utf-8", errors="replace") as file:
                text = file.read()
            sealed = {row["file"] for row in rows("ls", path) if row["state"] == "sealed"}
            self.assertTrue(len(sealed) >= 4)
            opened = {}
            read = dict.fromkeys(sealed, 0)
            for line in text.splitlines():
                found = re.search(r'openat\(.*"([^"]*\.wal)".*= (\d+)$', line)
                if found:
                    opened[found.group(2)] = os.path.basename(found.group(1))
                found = re.search(r"pread64\((\d+),.*= (\d+)$", line)
                if found and opened.get(found.group(1)) in sealed:
                    read[opened[found.group(1)]] += int(found.group(2))
            # ls looks through a window of at most the file's three ends; verify reads sectors.
            self.assertTrue(all(count <= 128 << 10 for count in read.values()), (command, read))

    def test_physical_view_marks_the_dead(self):
        found = rows("dump", "--view=physical", GOLDEN + "torn")
        states = {row["state"] for row in found}
        self.assertEqual(states, {"chain", "live", "dead", "old"})
        live = [row["index"] for row in found if row["state"] == "live"]
        self.assertEqual(live, [row["index"] for row in rows("dump", GOLDEN + "torn")])
        single = rows("dump", self.segments(GOLDEN + "torn")[0])
        self.assertTrue(single and {row["segment"] for row in single} == {7})

    def test_meta(self):
        row, = rows("meta", GOLDEN + "doubt")
        self.assertEqual((row["first"], row["last"], row["doubt"], row["metadata"]), (13, 17, 15, "04" * 12))
        path, _ = self.small_log(count=1)
        row, = rows("meta", path, code=1)
        self.assertIsNone(row["metadata"])

    def test_format_says_the_constants(self):
        found = {row["constant"]: row["value"] for row in rows("format") if "constant" in row}
        self.assertEqual((found["sector_bytes"], found["header_bytes"], found["metadata_bytes_max"]), (512, 80, 256))
        self.assertTrue(any(row.get("field") == "predecessor_last" for row in rows("format")))

    def test_diff(self):
        path, records = self.small_log()
        same = self.path("same")
        run("import", same, data=export_lines(records[:200]))
        out, _ = run("diff", path, same)
        self.assertIn("has 100 more", out.decode())
        run("diff", "--strict", path, same, code=1)
        other = list(records)
        other[149] = (other[149][0], other[149][1], b"x" + other[149][2][1:])
        run("import", self.path("other"), data=export_lines(other))
        row, = rows("diff", path, self.path("other"), code=1)
        self.assertEqual((row["outcome"], row["index"], row["what"]), ("differ", 150, "payload"))
        for position, what in ((0, "type"), (1, "tag")):
            changed = list(records)
            one = list(changed[9])
            one[position] += 1
            changed[9] = tuple(one)
            run("import", self.path(what), data=export_lines(changed))
            row, = rows("diff", path, self.path(what), code=1)
            self.assertEqual((row["index"], row["what"]), (10, what))
        self.assertEqual(run("diff", "-q", path, self.path("other"), code=1)[0], b"")
        rows("diff", "--from", 151, path, self.path("other"))


class Exchange(Scratch):
    def test_a_round_trip_keeps_everything(self):
        records = [(1, 0, b""), (65535, 2**64 - 1, bytes(range(256))), (2, 7, os.urandom(100000)), (3, 8, b"\n\"\\")]
        first = self.path("first")
        run("import", first, data=export_lines(records, first=4000, metadata=base64.b64encode(b"term 9").decode()))
        exported, _ = run("export", first)
        second = self.path("second")
        run("import", second, data=exported)
        self.assertIn("no difference", run("diff", "--strict", first, second)[0].decode())
        row, = rows("meta", second)
        self.assertEqual((row["first"], row["last"], bytes.fromhex(row["metadata"])), (4000, 4003, b"term 9"))
        again, _ = run("export", second)
        strip = [json.loads(line) for line in exported.splitlines()[1:]]
        self.assertEqual([json.loads(line) for line in again.splitlines()[1:]], strip)
        self.assertIn("closed in order", run("verify", "--deep", second)[0].decode())

    def test_every_golden_log_goes_through(self):
        for name in ("closed", "torn", "reset", "doubt"):
            exported, _ = run("export", GOLDEN + name)
            run("import", self.path(name), data=exported)
            self.assertIn("no difference", run("diff", "--strict", GOLDEN + name, self.path(name))[0].decode())

    def test_an_empty_log_goes_through(self):
        run("import", self.path("empty"), data=export_lines([], first=77))
        self.assertEqual(rows("dump", self.path("empty")), [])
        exported, _ = run("export", self.path("empty"))
        run("import", self.path("again"), data=exported)
        row, = rows("meta", self.path("again"), code=1)
        self.assertEqual((row["first"], row["last"]), (77, 76))

    def test_what_import_refuses(self):
        good = export_lines([(1, 1, b"a"), (1, 2, b"b")]).decode().splitlines()
        bad = {
            "nothing": [], "no head": good[1:], "no end": good[:-1], "wrong count": good[:2] + good[3:], "gap": [good[0], good[2], good[3]],
            "behind the end": good + [good[1]], "two heads": [good[0]] + good, "no json": [good[0], "hello"],
            "type 0": [good[0], good[1].replace('"type": 1', '"type": 0')], "no base64": [good[0], good[1].replace('"data": "', '"data": "*')],
            "schema": [line.replace("export/1", "export/2") for line in good],
        }
        for name, lines in bad.items():
            _, err = run("import", self.path(name), data="".join(line + "\n" for line in lines).encode(), code=3)
            self.assertRegex(err, r"nothing came in: " if name == "nothing" else r"line \d+: ", name)
        path, _ = self.small_log(count=1)
        _, err = run("import", path, data=export_lines([(1, 1, b"a")]), code=3)
        self.assertIn("already", err)
        self.assertEqual(len(rows("dump", path)), 1)

    def test_damage_ends_an_export_without_its_last_line(self):
        out, err = run("export", GOLDEN + "corrupt", code=1)
        self.assertNotIn(b'"kind":"end"', out)
        self.assertIn("no last line", err)
        run("import", self.path("part"), data=out, code=3)


class Damage(Scratch):
    def test_outcomes_have_words_and_codes(self):
        for name, word, code, strict in (("closed", "CLEAN", 0, 0), ("torn", "TORN TAIL", 0, 1), ("corrupt", "DAMAGED", 1, 1)):
            for more in ([], ["--deep"]):
                out, _ = run("verify", *more, GOLDEN + name, code=code)
                self.assertIn(word, out.decode())
                self.assertEqual(run("verify", "-q", *more, GOLDEN + name, code=code)[0], b"")
            run("verify", "--strict", GOLDEN + name, code=strict)

    def test_an_uncertain_tail(self):
        path, _ = self.small_log()
        newest = [row for row in rows("ls", path) if row["state"] == "open"][0]
        file = os.path.join(path, newest["file"])
        before = content(file)
        # The CLOSE no longer reads, in a file that was zero before: something was written there, and it was damaged.
        change(file, newest["used"] - 4096, b"\xa5" * 64)
        row, = rows("verify", path, code=1)
        self.assertEqual((row["outcome"], row["row"]), ("uncertain", 9))
        out, _ = run("verify", path, code=1)
        self.assertIn("UNCERTAIN TAIL", out.decode())
        self.assertIn("would cut", run("repair", path, code=1)[0].decode())
        change(file, 0, before)
        self.assertEqual(rows("verify", path)[0]["outcome"], "clean")

    def test_damage_in_a_sealed_segment_is_found_by_deep_and_named(self):
        path, records = self.small_log()
        victim = [row for row in rows("dump", path) if row["segment"] == 2][5]
        file = self.segments(path)[1]
        change(file, victim["offset"] + 24 + 10, b"\x01")
        run("verify", path)  # Ends only.
        row, = rows("verify", "--deep", path, code=1)
        self.assertEqual((row["outcome"], row["segment"], row["offset"], row["index"]), ("damaged", 2, victim["offset"], victim["index"]))
        self.assertIn("waldump explain --offset 2:", row["next"])
        out, _ = run("explain", "--offset", f"2:{victim['offset']}", path)
        self.assertIn("does not verify", out.decode())
        shown, err = run("dump", "--json", path, code=1)
        indexes = [json.loads(line)["index"] for line in shown.splitlines()]
        self.assertNotIn(victim["index"], indexes)
        self.assertTrue(len(indexes) > len(records) - 40)
        self.assertIn("do not read", err)
        run("get", path, victim["index"], code=1)
        run("verify", file, code=1)
        self.assertTrue(any(row["state"] == "bad" for row in rows("dump", file)))

    def test_explain_knows_every_kind_of_place(self):
        wanted = {"7:0": "identity", "7:8000": "seal", "7:0x200": "anchor", "7:0x4a0": "record", "7:0x5f0": "padding", "8:0xe00": "never written",
                  "9:0x600": "earlier life", "10:0x400": ""}
        for place, word in wanted.items():
            out, _ = run("explain", "--offset", place, GOLDEN + "torn")
            self.assertIn(word, out.decode(), place)
            self.assertIn("Y11", out.decode())
        row, = rows("explain", "--offset", "00000000000000000008.wal:0xe00", GOLDEN + "torn")
        self.assertEqual((row["row"], row["segment"]), (11, 8))
        run("explain", "--offset", "99:0", GOLDEN + "torn", code=1)
        run("explain", "--offset", "7:99999", GOLDEN + "torn", code=1)

    def test_a_missing_a_swapped_and_a_foreign_segment(self):
        path, _ = self.small_log()
        files = self.segments(path)
        os.rename(files[1], self.path("kept"))
        row, = rows("verify", path, code=1)
        self.assertEqual((row["outcome"], row["row"]), ("damaged", 3))
        os.rename(self.path("kept"), files[1])
        os.rename(files[1], self.path("kept"))
        os.rename(files[2], files[1])
        os.rename(self.path("kept"), files[2])
        self.assertEqual(rows("verify", path, code=1)[0]["outcome"], "damaged")
        self.assertTrue(any("identity is segment" in row["note"] for row in rows("ls", path, code=1)))
        os.rename(files[2], self.path("kept"))
        os.rename(files[1], files[2])
        os.rename(self.path("kept"), files[1])
        run("verify", path)
        other, _ = self.small_log("other")
        shutil.copy(self.segments(other)[1], files[1])
        run("verify", path, code=3)

    def test_a_newer_format_is_exit_4(self):
        path = self.golden("closed")
        for file in self.segments(path):
            sector = bytearray(content(file)[:512])
            struct.pack_into("<H", sector, 8, 2)
            struct.pack_into("<Q", sector, 504, read_log.xxh3(bytes(sector[:504]), HEAD_SEED))
            change(file, 0, bytes(sector))
        for command in ("ls", "verify", "dump", "stat", "meta", "export", "repair"):
            self.assertIn("format", run(command, path, code=4)[1])

    def test_repair_is_dry_until_told_and_saves_first(self):
        path = self.golden("corrupt")
        before = {file: content(file) for file in self.segments(path)}
        out, _ = run("repair", path, code=1)
        self.assertIn("would cut", out.decode())
        self.assertEqual(before, {file: content(file) for file in self.segments(path)})
        backup = self.path("backup")
        kept = rows("dump", path, "--to", 14, code=1)
        out, _ = run("repair", "--apply", "--backup", backup, path)
        self.assertIn("doubt from index 15", out.decode())
        for file in os.listdir(backup):
            self.assertEqual(content(os.path.join(backup, file)), before[os.path.join(path, file)])
        self.assertIn("00000000000000000006.wal", os.listdir(backup))
        self.assertEqual(rows("verify", "--deep", path)[0]["outcome"], "clean")
        self.assertEqual([row["index"] for row in rows("dump", path)], [row["index"] for row in kept])
        self.assertEqual(rows("meta", path)[0]["doubt"], 15)
        run("repair", path)
        # A second time there is nothing to do; an existing copy is never written over.
        path = shutil.copytree(GOLDEN + "corrupt", self.path("second"))
        run("repair", "--apply", "--backup", backup, path, code=3)
        self.assertEqual(rows("verify", path, code=1)[0]["outcome"], "damaged")

    def test_a_log_in_order_is_not_repaired(self):
        for name in ("closed", "torn"):
            path = self.golden(name)
            before = {file: content(file) for file in self.segments(path)}
            out, _ = run("repair", "--apply", path)
            self.assertIn("nothing to repair", out.decode())
            self.assertEqual(before, {file: content(file) for file in self.segments(path)})


class Live(Scratch):
    def writer(self, path):
        """An import that is fed slowly: a log that grows."""
        process = subprocess.Popen([WALDUMP, "import", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process):
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()

    def feed(self, process, first, count, size=20000):
        for index in range(first, first + count):
            line = {"schema": "waldump.export/1", "kind": "record", "index": index, "tag": index, "type": 1,
                    "data": base64.b64encode(bytes([index % 256]) * size).decode()}
            process.stdin.write(json.dumps(line).encode() + b"\n")
        process.stdin.flush()

    def begin(self, path):
        process = self.writer(path)
        head = {"schema": "waldump.export/1", "kind": "log", "first": 1, "last": 0, "block_bytes": 4096, "segment_bytes": 1 << 20,
                "batch_bytes_max": 65536, "metadata": None}
        process.stdin.write(json.dumps(head).encode() + b"\n")
        self.feed(process, 1, 100)
        deadline = time.time() + 20
        while time.time() < deadline and subprocess.run([WALDUMP, "verify", "-q", path], capture_output=True, check=False).returncode != 0:
            time.sleep(0.05)
        return process

    def test_a_log_that_is_written_is_never_called_damaged(self):
        path = self.path("live")
        process = self.begin(path)
        index = 101
        for _ in range(25):
            self.feed(process, index, 40)
            index += 40
            row, = rows("verify", "--deep", path)
            self.assertIn(row["outcome"], ("clean", "in-use"))
            run("ls", path)
            found = [row["index"] for row in rows("dump", path)]
            self.assertEqual(found, list(range(1, len(found) + 1)))

    def test_follow_shows_each_record_once_until_interrupted(self):
        path = self.path("live")
        process = self.begin(path)
        with open(self.path("followed"), "wb") as file:
            follower = subprocess.Popen([WALDUMP, "tail", "-f", "-n", "5", "--json", path], stdout=file)
        time.sleep(0.3)
        for turn in range(10):
            self.feed(process, 101 + turn * 30, 30)
            time.sleep(0.05)
        deadline = time.time() + 20
        found = []
        while time.time() < deadline and (not found or found[-1] < 350):
            time.sleep(0.1)
            with open(self.path("followed"), "rb") as file:
                found = [json.loads(line)["index"] for line in file.read().splitlines(keepends=True) if line.endswith(b"\n")]
        follower.send_signal(signal.SIGINT)
        self.assertEqual(follower.wait(10), 130)
        self.assertTrue(found and found[-1] >= 350, found[-3:])
        self.assertEqual(found, list(range(found[0], found[0] + len(found))))

    def test_interrupted_long_work_says_so(self):
        path, _ = self.small_log(count=20000, size=200, segment_bytes=1 << 22)
        process = subprocess.Popen([WALDUMP, "dump", "--json", "--view=physical", path], stdout=subprocess.PIPE)
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        self.assertEqual(process.wait(20), 130)
        self.assertTrue(rest.endswith(b"\n"))
        process.stdout.close()


if __name__ == "__main__":
    unittest.main(verbosity=1)
