#!/usr/bin/env python3
"""waldump on what a Raft node keeps: its metadata, its record types, its snapshot files, whole and damaged.

The files are written here, byte by byte, with the checksum of the independent reader (read_log.py). Standard library only.
"""
import base64
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from read_log import xxh3  # noqa: E402
from test_waldump import GOLDEN, WALDUMP, Scratch, change, content, export_lines, rows, run  # noqa: E402

MAGIC = 0x50414E5354464152
BLOCK, CHUNK = 4096, 65536
AT_VERSION, AT_INDEX, AT_STATE, AT_CHUNK, AT_TABLE, AT_FILE, AT_ID = 8, 16, 40, 48, 56, 64, 72
VOTER, VOTER_OLD, LEARNER, LEARNER_NEXT = 1, 2, 4, 8
THREE = ((1, VOTER), (2, VOTER), (3, VOTER))


def configuration(members, leaves=0, version=1):
    return struct.pack("<HHI", version, leaves, len(members)) + b"".join(struct.pack("<QQII", who, 0, flags, 0) for who, flags in members)


def padded(data):
    return data + bytes(-len(data) % BLOCK)


def sealed(block):
    block = bytearray(padded(bytes(block)))
    block[AT_ID:AT_ID + 8] = bytes(8)
    block[AT_ID:AT_ID + 8] = struct.pack("<Q", xxh3(bytes(block), 1) or 1)
    return bytes(block)


def file_bytes_of(state_bytes):
    chunks = -(-state_bytes // CHUNK)
    return 2 * BLOCK + (state_bytes + BLOCK - 1) // BLOCK * BLOCK + (8 * chunks + BLOCK - 1) // BLOCK * BLOCK


def header(state_bytes, table_checksum, index=100, term=7, cluster=9, members=THREE, leaves=0, version=1, file_bytes=None, more=b""):
    who = configuration(members, leaves) + more
    size = file_bytes_of(state_bytes) if file_bytes is None else file_bytes
    return sealed(struct.pack("<QIIQQQQIIQQQ", MAGIC, version, len(who), index, term, cluster, state_bytes, CHUNK, 0, table_checksum, size, 0) + who)


def snapshot(state, **fields):
    chunks = [state[at:at + CHUNK] for at in range(0, len(state), CHUNK)]
    table = b"".join(struct.pack("<Q", xxh3(chunk, number + 1)) for number, chunk in enumerate(chunks))
    head = header(len(state), xxh3(table, MAGIC), **fields)
    return head + padded(state) + padded(table) + head


def name_of(index, end=""):
    return f"snapshot-{index:016x}{end}"


def metadata(log_id=77, cluster=9, node=2, term=5, vote=3, commit=40, limit=1029, floor=(0, 0), before=(0, 0), building=0):
    return struct.pack("<13Q", 0x3154464152544D52, log_id, cluster, node, term, vote, commit, limit, *floor, *before, building).ljust(128, b"\0")


class Files(Scratch):
    def write(self, name, data):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
        return path

    def sparse(self, state):
        """A file as long as its header says, with nothing in it but that."""
        path = self.write(name_of(100), header(state, 1))
        try:
            os.truncate(path, file_bytes_of(state))
        except OSError as error:
            self.skipTest(str(error))
        return path

    def one(self, data, code, name=name_of(100)):
        """The row of one file with these bytes."""
        row, = rows("snapshot", self.write(name, data), "--cached", code=code)
        return row


class Snapshot(Files):
    def test_a_whole_one(self):
        state = random.Random(1).randbytes(2 * CHUNK + 5000)
        data = snapshot(state)
        row = self.one(data, 0)
        expected = {"outcome": "ok", "index": 100, "term": 7, "cluster_id": 9, "state_bytes": len(state), "chunks": 3, "chunks_checked": 3,
                    "file_bytes": len(data), "bytes": len(data), "configuration": "voters=(1 2 3)", "id": data[AT_ID:AT_ID + 8][::-1].hex(),
                    "first_header": True, "second_header": True, "table": True, "damaged_chunk": None, "offset": None, "text": "",
                    "file": name_of(100), "path": self.folder, "schema": "waldump.snapshot/1", "partial": False}
        self.assertEqual(row, expected)
        path = self.path(name_of(100))
        out, err = run("snapshot", path)
        self.assertEqual(err, "")
        self.assertTrue(out.decode().startswith(path + ": OK\n"))
        self.assertIn("3 of them read and checked", out.decode())
        self.assertEqual(rows("snapshot", path), [row])  # From the disk as from the cache.

    def test_the_id_is_the_nodes(self):
        """What raftcore itself wrote as the first file of a node of cluster 1."""
        row = self.one(snapshot(b"", index=0, term=0, cluster=1), 0, name_of(0))
        self.assertEqual((row["id"], row["chunks"], row["bytes"]), ("8ac44835e21d7123", 0, 8192))

    def test_configurations(self):
        for members, leaves, text in (((), 0, "voters=()"), (((5, VOTER), (9, LEARNER)), 0, "voters=(5) learners=(9)"),
                                      (((1, VOTER | VOTER_OLD), (2, VOTER_OLD | LEARNER_NEXT), (3, VOTER)), 1,
                                       "voters=(1 3)&&(1 2) learners_next=(2) autoleave"),
                                      (tuple((2 ** 64 - 40 + i, VOTER) for i in range(32)), 0, None)):
            row = self.one(snapshot(b"x", members=members, leaves=leaves), 0)
            self.assertEqual(row["configuration"], text or "voters=(" + " ".join(str(who) for who, _ in members) + ")")

    def test_sizes_at_the_borders(self):
        for size in (1, BLOCK - 1, BLOCK, BLOCK + 1, CHUNK - 1, CHUNK, CHUNK + 1, 16 * CHUNK, 16 * CHUNK + 1):
            row = self.one(snapshot(bytes([size % 251]) * size), 0)
            self.assertEqual((row["state_bytes"], row["chunks_checked"]), (size, -(-size // CHUNK)))

    def test_a_table_of_two_blocks(self):
        state = bytes(512 * CHUNK + 10)
        data = bytearray(snapshot(state))
        self.assertEqual(self.one(data, 0)["chunks_checked"], 513)
        at = BLOCK + 512 * CHUNK + 9
        data[at] ^= 1
        row = self.one(data, 1)
        self.assertEqual((row["outcome"], row["damaged_chunk"], row["offset"]), ("damaged", 512, BLOCK + 512 * CHUNK))


class Damage(Files):
    def test_every_byte(self):
        """Of a small file: each flip is reported, or is in padding."""
        data = snapshot(bytes(range(200)))
        padding = set(range(BLOCK + 200, 2 * BLOCK)) | set(range(2 * BLOCK + 8, 3 * BLOCK))
        places = list(range(len(data)))
        self.assertEqual(len(places), 4 * BLOCK)
        for batch in range(0, len(places), 1024):
            folder = f"flips-{batch}/"
            self.write(folder + name_of(100), data)
            for place in places[batch:batch + 1024]:
                flipped = bytearray(data)
                flipped[place] ^= 1 << place % 8
                self.write(f"{folder}{name_of(100)}-{place:05d}", flipped)
            found = rows("snapshot", self.path(folder), "--cached", code=0 if set(places[batch:batch + 1024]) <= padding else 1)
            self.assertEqual(len(found), 1025)
            for row in found[1:]:
                place = int(row["file"][-5:])
                self.assertEqual(row["outcome"], "ok" if place in padding else "damaged", row)
                if place not in padding:
                    self.assertEqual(row["offset"], place // BLOCK * BLOCK, row)
            shutil.rmtree(self.path(folder))

    def test_what_is_named(self):
        state = random.Random(2).randbytes(40 * CHUNK)
        data = snapshot(state)
        path = self.write(name_of(100), data)
        change(path, BLOCK + 17 * CHUNK + 5, b"\0\1\2\3")
        change(path, BLOCK + 30 * CHUNK, bytes(CHUNK))
        row, = rows("snapshot", path, code=1)
        self.assertEqual((row["outcome"], row["damaged_chunk"], row["offset"], row["table"]), ("damaged", 17, BLOCK + 17 * CHUNK, True))
        self.assertIn("chunk 17 at 0x%x" % (BLOCK + 17 * CHUNK), row["text"])
        self.assertIn("DAMAGED", run("snapshot", path, code=1)[0].decode())

    def test_a_chunk_in_anothers_place(self):
        data = snapshot(b"a" * CHUNK + b"b" * CHUNK)
        moved = data[:BLOCK] + data[BLOCK + CHUNK:BLOCK + 2 * CHUNK] + data[BLOCK:BLOCK + CHUNK] + data[BLOCK + 2 * CHUNK:]
        self.assertEqual(self.one(moved, 1)["damaged_chunk"], 0)

    def test_headers(self):
        data = snapshot(b"state" * 1000)
        row = self.one(bytes(BLOCK) + data[BLOCK:], 1)
        self.assertEqual((row["first_header"], row["second_header"], row["index"], row["chunks_checked"]), (False, True, 100, 1))
        row = self.one(data[:-BLOCK] + bytes(BLOCK), 1)
        self.assertEqual((row["first_header"], row["second_header"], row["offset"]), (True, False, len(data) - BLOCK))
        row = self.one(bytes(BLOCK) + data[BLOCK:-BLOCK] + bytes(BLOCK), 1)
        self.assertEqual((row["outcome"], row["index"], row["table"]), ("damaged", None, None))
        other = snapshot(b"State" * 1000)
        self.assertIn("is another one", self.one(data[:-BLOCK] + other[-BLOCK:], 1)["text"])
        self.assertIn("another index", self.one(data, 1, name_of(101))["text"])

    def test_truncation(self):
        data = snapshot(random.Random(3).randbytes(CHUNK + 6000))
        for size in sorted({0, 1, 7, 8, 80, BLOCK, len(data) - 1, *range(511, len(data), 3077), *range(0, len(data), BLOCK)}):
            row = self.one(data[:size], 1)
            self.assertEqual((row["outcome"], row["bytes"]), ("damaged", size))
            self.assertEqual(row["index"], 100 if size >= BLOCK else None)
        row = self.one(data + b"more", 1)
        self.assertIn("more than the", row["text"])
        self.assertEqual((row["offset"], row["chunks_checked"]), (len(data), 2))

    def test_claims(self):
        """Headers under a right checksum that say what cannot be."""
        for claim in (2 ** 46, 2 ** 46 - 1, 2 ** 40, 2 ** 32, 2 ** 32 - 1, 300000):
            head = header(claim, 1)
            for data in (head, head * 2, head * 3):
                row = self.one(data, 1)
                self.assertEqual((row["outcome"], row["state_bytes"]), ("damaged", claim))
        for claim in (2 ** 46 + 1, 2 ** 63, 2 ** 64 - 1):
            for size in (0, 2 * BLOCK, 2 ** 64 - BLOCK, 2 ** 64 - 1):
                self.assertEqual(self.one(header(claim, 1, file_bytes=size) * 2, 1)["state_bytes"], None)
        self.assertEqual(self.one(header(5, 1, file_bytes=0) * 2, 1)["index"], None)
        self.assertEqual(self.one(header(5, 1, members=tuple((i + 1, VOTER) for i in range(33))) * 2, 1)["index"], None)
        self.assertEqual(self.one(header(5, 1, more=b"12345678") * 2, 1)["index"], None)

    def test_any_bytes(self):
        """Hundreds of files of made-up bytes, under right checksums: an answer for each."""
        chance = random.Random(4)
        good = snapshot(b"some state")
        for number in range(400):
            head = bytearray(good[:BLOCK])
            for _ in range(chance.randrange(1, 6)):
                at = chance.randrange(8, 160)
                head[at:at + 8] = chance.choice((bytes(8), b"\xff" * 8, chance.randbytes(8), struct.pack("<Q", 1 << chance.randrange(64))))
            first = sealed(head[:BLOCK])
            second = first if number % 2 else good[:BLOCK]
            self.write(f"made/{name_of(number)}", first + good[BLOCK:-BLOCK] + second + chance.randbytes(chance.choice((0, 0, 5, BLOCK))))
        out = subprocess.run([WALDUMP, "snapshot", "--json", "--cached", self.path("made")], capture_output=True, check=False, timeout=60)
        self.assertIn(out.returncode, (1, 4), out.stderr)
        self.assertEqual(len(out.stdout.splitlines()), 400)
        self.assertLessEqual({json.loads(line)["outcome"] for line in out.stdout.splitlines()}, {"ok", "damaged", "newer"})

    def test_a_newer_version(self):
        data = snapshot(b"state", version=2)
        self.assertEqual(self.one(data, 4)["outcome"], "newer")
        self.assertIn("newer", run("snapshot", self.path(name_of(100)), code=4)[0].decode())
        old = snapshot(b"state")
        self.assertEqual(self.one(data[:BLOCK] + old[BLOCK:], 4)["outcome"], "newer")
        self.assertEqual(self.one(old[:-BLOCK] + data[-BLOCK:], 1)["outcome"], "damaged")

    def test_a_large_file_takes_no_memory(self):
        """Sparse: a TiB that the header means, and a table of 128 MiB that does not read."""
        state = 2 ** 40
        path = self.sparse(state)
        with subprocess.Popen([WALDUMP, "snapshot", "--json", path], stdout=subprocess.PIPE) as process:
            row = json.loads(process.stdout.read())
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(process.returncode, 1)
        self.assertEqual((row["table"], row["offset"]), (False, BLOCK + state))
        if "san" not in WALDUMP:
            self.assertLess(used.ru_maxrss, 64 << 10)  # KiB; Python's own, before the exec, is in it.


class Directories(Files):
    def node(self):
        for index, size in ((100, 5000), (0, 0), (4096, 70000)):
            self.write("node/snapshots/" + name_of(index), snapshot(b"s" * size, index=index))
        shutil.copytree(GOLDEN + "closed", self.path("node/log-3"))
        return self.path("node")

    def test_rising_and_from_the_nodes_directory(self):
        node = self.node()
        found = rows("snapshot", node)
        self.assertEqual([(row["index"], row["outcome"]) for row in found], [(0, "ok"), (100, "ok"), (4096, "ok")])
        self.assertEqual(found, rows("snapshot", node + "/snapshots"))
        text = run("snapshot", node)[0].decode().splitlines()
        self.assertEqual([line.split()[1] for line in text], ["outcome", "ok", "ok", "ok"])
        table = run("snapshot", node, "--format", "csv")[0].decode().splitlines()
        self.assertEqual({line.count(",") for line in table}, {table[0].count(",")})

    def test_half_made(self):
        node = self.node()
        whole = snapshot(b"n" * 9000, index=5000)
        self.write("node/snapshots/" + name_of(5000, ".new"), bytes(BLOCK) + whole[BLOCK:9000])
        self.write("node/snapshots/" + name_of(6000, ".in"), whole[:BLOCK])
        self.write("node/snapshots/" + name_of(5001, ".in"), b"")
        self.write("node/snapshots/" + name_of(5000, ".in"), whole)
        found = rows("snapshot", node)
        self.assertEqual([row["outcome"] for row in found], ["ok"] * 3 + ["half-made"] * 4)
        self.assertEqual([row["file"][-4:] for row in found[3:]], ["8.in", ".new", "9.in", "0.in"])
        self.assertIn("all of it is there", found[3]["text"])
        row, = rows("snapshot", node + "/snapshots/" + name_of(6000, ".in"))
        self.assertEqual(row["outcome"], "half-made")
        self.assertIn("HALF MADE", run("snapshot", node + "/snapshots/" + name_of(5000, ".new"))[0].decode())

    def test_other_names(self):
        node = self.node()
        self.write("node/snapshots/README", b"what these are")
        self.write("node/snapshots/copy of one", snapshot(b"x"))
        self.write("node/snapshots/" + name_of(100, ".bak"), snapshot(b"x"))
        self.write("node/snapshots/" + name_of(0xAB).upper().replace("SNAPSHOT", "snapshot"), snapshot(b"x"))
        found = {row["file"]: row for row in rows("snapshot", node)}
        self.assertEqual(found["README"]["outcome"], "not-a-snapshot")
        self.assertEqual(found["copy of one"]["outcome"], "ok")
        self.assertIn("removes it", found[name_of(100, ".bak")]["text"])
        self.assertIn("does not look at", found["snapshot-00000000000000AB"]["text"])
        self.assertEqual(len(found), 7)

    def test_the_nodes_own_sign_is_no_stranger(self):
        node = self.node()
        before = rows("snapshot", node)
        self.write("node/snapshots/log-begun", b"")
        self.assertEqual(rows("snapshot", node), before)

    def test_the_worst_is_the_exit_code(self):
        node = self.node()
        path = node + "/snapshots/" + name_of(100)
        change(path, BLOCK, b"S")
        self.assertEqual([row["outcome"] for row in rows("snapshot", node, code=1)], ["ok", "damaged", "ok"])
        self.write("node/snapshots/" + name_of(7), b"garbage" * 5000)
        self.assertEqual([row["outcome"] for row in rows("snapshot", node, code=1)], ["ok", "damaged", "damaged", "ok"])
        self.write("node/snapshots/" + name_of(8), snapshot(b"", index=8, version=3))
        self.assertEqual(len(rows("snapshot", node, code=4)), 5)
        for code, closed in ((4, node), (0, node + "/snapshots/" + name_of(0))):
            with subprocess.Popen([WALDUMP, "snapshot", closed], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
                process.stdout.close()
                self.assertEqual((process.wait(10), process.stderr.read()), (code, b""))

    def test_what_is_no_file(self):
        node = self.node()
        os.mkfifo(node + "/snapshots/" + name_of(9))
        os.mkdir(node + "/snapshots/" + name_of(10))
        os.mkdir(node + "/snapshots/other")
        os.mkfifo(node + "/snapshots/pipe")
        os.symlink("nowhere", node + "/snapshots/" + name_of(11))
        found = rows("snapshot", node, code=1)
        self.assertEqual([row["outcome"] for row in found], ["ok", "damaged", "damaged", "ok", "ok"])
        self.assertIn("a FIFO", found[1]["text"])

    def test_no_snapshots(self):
        os.mkdir(self.path("empty"))
        for path in (self.path("empty"), GOLDEN + "closed", "/dev/null/x", self.path("nosuch")):
            out, err = run("snapshot", path, code=3)
            self.assertEqual((out, len(err.splitlines())), (b"", 1))
        for data in (b"", b"x", b"y" * 100000, snapshot(b"")[1:]):
            self.assertEqual(self.one(data, 3, "some file")["outcome"], "not-a-snapshot")
        self.assertEqual(self.one(snapshot(b"")[:5000], 1, "some file")["outcome"], "damaged")
        self.assertEqual(self.one(snapshot(b"z"), 0, "some file")["outcome"], "ok")
        self.assertEqual(rows("snapshot", "/dev/null", code=3)[0]["text"], "a device, not a file")

    def test_an_unreadable_file(self):
        if os.geteuid() == 0:
            self.skipTest("root reads everything")
        node = self.node()
        os.chmod(node + "/snapshots/" + name_of(100), 0)
        self.assertEqual([row["outcome"] for row in rows("snapshot", node, code=3)], ["ok", "unreadable", "ok"])

    def test_progress_and_interruption(self):
        path = self.sparse(2 ** 41)
        with subprocess.Popen([WALDUMP, "snapshot", "--json", "--cached", "--progress=always", path], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as process:
            self.assertIn(b"snapshot", process.stderr.read(10))
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=20)
            self.assertEqual(process.returncode, 130)
        row = json.loads(out)
        self.assertEqual((row["outcome"], row["partial"], row["table"]), ("interrupted", True, None))

    def test_the_log_is_below(self):
        node = self.node()
        for words in (["verify"], ["ls"], ["dump"], ["tail"], ["stat"], ["meta"], ["export"], ["repair"], ["explain", "--offset", "1:0"]):
            _, err = run(*words, node, code=3)
            self.assertIn("the directory of a Raft node: its log is in log-3 below it", err, words)
        os.mkdir(node + "/log-4")
        self.assertRegex(run("get", node, 1, code=3)[1], r"log-[34], log-[34] below it \(one is a copy in the making\)")
        self.assertIn("waldump snapshot", run("ls", node + "/snapshots", code=3)[1])


class Log(Files):
    def log(self, raft, records=((2, 4, b""), (1, 4, b"put x"), (3, 5, configuration(THREE)), (0xFFFF, 5, b""), (9, 5, b"?"))):
        path = self.path("log-1")
        shutil.rmtree(path, ignore_errors=True)
        run("import", path, data=export_lines(records, metadata=None if raft is None else base64.b64encode(raft).decode()))
        return path

    def test_metadata(self):
        row, = rows("meta", self.log(metadata(floor=(4, 30), before=(11, 2), building=1)))
        raw = metadata(floor=(4, 30), before=(11, 2), building=1).hex()
        del row["uuid"]
        self.assertEqual(row, {"schema": "waldump.meta/1", "first": 1, "last": 5, "doubt": None, "bytes": 128, "format": "raftcore", "metadata": raw,
                               "node_id": 2, "cluster_id": 9, "log_id": 77, "term": 5, "vote": 3, "vote_spent": False, "commit": 40,
                               "term_limit": 1029, "floor_term": 4, "floor_index": 30, "before_index": 11, "before_term": 2, "building": True})
        text = run("meta", self.path("log-1"))[0].decode()
        for words in ("node           2 of cluster 9, log 77", "term           5\n", "vote           3\n", "term 4, index 30", "index 11, term 2",
                      "copy in the making", raw):
            self.assertIn(words, text)

    def test_votes(self):
        for vote, parsed, spent, words in ((0, None, False, "vote           none"), (2 ** 64 - 1, None, True, "vote           spent"),
                                           (2 ** 64 - 2, 2 ** 64 - 2, False, "vote           18446744073709551614")):
            path = self.log(metadata(vote=vote))
            row, = rows("meta", path)
            self.assertEqual((row["vote"], row["vote_spent"], row["building"]), (parsed, spent, False))
            self.assertIn(words, run("meta", path)[0].decode())
        head, line = run("meta", path, "--format", "csv")[0].decode().splitlines()
        self.assertEqual(head.count(","), line.count(","))
        self.assertTrue(head.startswith("first,last,doubt,bytes,format,metadata,"))

    def test_others_stay_as_they_were(self):
        keys = ["schema", "first", "last", "doubt", "bytes", "format", "metadata", "uuid"]
        for raft in (None, b"term 9", metadata()[:-1], metadata() + b"\0", b"\0" + metadata()[1:], metadata(node=0), metadata(log_id=0), b"\xff" * 128):
            row, = rows("meta", self.log(raft), code=1 if raft is None else 0)
            self.assertEqual((list(row), row["format"]), (keys, None if raft is None else "unknown"))
            self.assertIn("unknown(0x02)", run("dump", self.path("log-1"))[0].decode())

    def test_types_have_names(self):
        path = self.log(metadata())
        names = ["noop", "normal", "configuration", "hole", "unknown(0x09)"]
        for words in (["dump"], ["tail"]):
            lines = run(*words, path)[0].decode().splitlines()[1:]
            self.assertEqual([line.split()[3] for line in lines], names)
            self.assertEqual([row["type"] for row in rows(*words, path)], [2, 1, 3, 0xFFFF, 9])
        physical = run("dump", "--view=physical", path)[0].decode()
        for name in names:
            self.assertIn(f" {name} ", physical)
        self.assertIn(" configuration ", run("dump", "--type", "3", path)[0].decode())
        other = self.path("other")
        run("import", other, data=export_lines([(3, 4, b"")], metadata=base64.b64encode(metadata(node=3)).decode()))
        out, _ = run("diff", path, other, code=1)
        self.assertIn("type noop", out.decode())
        self.assertIn("type configuration", out.decode())
        self.assertIn("2 noop", run("dump", "--type", "list", path)[0].decode())

    def test_no_payload_of_a_state_is_shown(self):
        data = snapshot(b"a secret of the state machine")
        path = self.write(name_of(100), data)
        for words in ([], ["--json"], ["--format=csv"]):
            self.assertNotIn(b"secret", run("snapshot", path, *words)[0])
        self.assertEqual(content(path), data)


if __name__ == "__main__":
    unittest.main()
