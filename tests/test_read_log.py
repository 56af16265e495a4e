#!/usr/bin/env python3
"""The independent reader against logs made here, row by row of FORMAT.md's table, and its XXH3 against known vectors.

The logs come from a tiny writer of segments in this file, so that nothing is shared with the library; READ_LOG_KEEP=DIR keeps
every log made, for another reader to judge.
"""
import contextlib
import io
import json
import os
import random
import shutil
import struct
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import read_log  # noqa: E402

INPUT = bytes((i * 7 + (i >> 5) * 13 + 3) & 255 for i in range(5000))
VECTORS = [  # length, seed, hash
    (0, 0, 0x2d06800538d394c2),
    (5, 0, 0x998620e10e3a4b37),
    (15, 0, 0x9ec169f4a98231c1),
    (33, 0, 0x0959dae5ba2de6c4),
    (100, 0, 0xb474b84745bb9ac9),
    (160, 0, 0xe30b523ebcba175d),
    (256, 0, 0x7be69ae2580df6ba),
    (1024, 0, 0x247651d2c4af1d65),
    (2047, 0, 0x0c32ccf06d91d844),
    (1, 1, 0x49787df7898ccbb7),
    (7, 1, 0x3f83d74dda204260),
    (16, 1, 0xf6a6d83d8ce63bd4),
    (64, 1, 0x7d446902a37338d4),
    (128, 1, 0xcb347c54f21adaaa),
    (200, 1, 0x5362e537718e7c97),
    (300, 1, 0xaed5f4a885903e8f),
    (1025, 1, 0x016d059a9d4d6ba3),
    (2048, 1, 0xdbaec779e7aebf2c),
    (2, 8602275705535160676, 0x7c4bde222b49dbb6),
    (8, 8602275705535160676, 0x078d513491b22ad1),
    (17, 8602275705535160676, 0xcbf03e6bf3ef1e9b),
    (65, 8602275705535160676, 0x2c08c718e7e313df),
    (129, 8602275705535160676, 0x7086f4c5db41842e),
    (239, 8602275705535160676, 0xb8b994ef294fbd61),
    (504, 8602275705535160676, 0xb0b7409c156bd474),
    (1087, 8602275705535160676, 0xc4a7610a7151baa2),
    (3000, 8602275705535160676, 0x6c7bebbc83095452),
    (3, 18364758544493064720, 0x5301ee06368e003d),
    (9, 18364758544493064720, 0xa6eabff1ce3a09fb),
    (31, 18364758544493064720, 0xb213d4b2117049e9),
    (96, 18364758544493064720, 0x2ad7e89593296a82),
    (130, 18364758544493064720, 0x036e02edd8bcd275),
    (240, 18364758544493064720, 0x65837577f86a48ad),
    (512, 18364758544493064720, 0x566becced1371b61),
    (1088, 18364758544493064720, 0x196f0114b0c9a201),
    (4999, 18364758544493064720, 0x35749240d3c38907),
]


class Xxh3(unittest.TestCase):
    def test_vectors(self):
        for length, seed, expected in VECTORS:
            self.assertEqual(read_log.xxh3(INPUT[:length], seed), expected, (length, seed))

    def test_a_flipped_bit_changes_the_hash(self):
        for length in (1, 8, 16, 100, 200, 1000):
            for bit in (0, 7, 8 * length - 1):
                flipped = bytearray(INPUT[:length])
                flipped[bit // 8] ^= 1 << bit % 8
                self.assertNotEqual(read_log.xxh3(bytes(flipped), 5), read_log.xxh3(INPUT[:length], 5))


class Usage(unittest.TestCase):
    def test_wrong_arguments(self):
        stderr, sys.stderr = sys.stderr, open(os.devnull, "w")
        try:
            self.assertEqual(read_log.main([]), 2)
            self.assertEqual(read_log.main(["--nonsense", "x"]), 2)
            self.assertEqual(read_log.main(["/nonexistent"]), 3)
        finally:
            sys.stderr.close()
            sys.stderr = stderr


# --- a tiny writer, for tests only -----------------------------------------------------------------------------------------------

UUID = bytes(range(1, 17))
MODEL_FIELDS = ("number", "chain", "salt", "segment", "offset", "last_offset", "next", "start", "low", "opening", "doubt", "meta", "written")


def sector(content):
    content = content.ljust(504, b"\0")
    return content + struct.pack("<Q", read_log.xxh3(content, read_log.H))


def words(*values):
    return struct.pack(f"<{len(values)}Q", *values)


def identity(segment, size, prefill=1, shift=9, major=1, must=0, uuid=UUID):
    return sector(b"WALSEGM1" + struct.pack("<HHIIBBH", major, 0, must, 0, shift, prefill, 0) + uuid + words(segment, size) + struct.pack("<II", 3072, 2))


def record(payload, salt, segment, offset, index, kind=1, tag=None):
    tag = index * 10 if tag is None else tag
    mask = read_log.M64
    seed = read_log.rotl((salt + segment * 0x9E3779B97F4A7C15) & mask, 29) ^ (offset * 0xC2B2AE3D27D4EB4F & mask)
    seed = (read_log.rotl(seed, 31) + index * 0x165667B19E3779F9) & mask
    seed = (read_log.rotl(seed ^ (len(payload) | kind << 32), 23) + tag * 0x9E3779B97F4A7C15) & mask
    content = struct.pack("<QIHHQ", read_log.xxh3(payload, seed), len(payload), kind, 0, tag) + payload
    return content + bytes(-len(content) % 8)


class Batch:
    """Where a batch stands, and what the one behind it must name."""

    def __init__(self, segment, offset, head_bytes, used, padded, checksum):
        self.segment, self.offset, self.head_bytes, self.used, self.padded, self.checksum = segment, offset, head_bytes, used, padded, checksum


class LogWriter:
    """Writes segments as FORMAT.md says; `wrong` overrides header fields, so that a test can write what no writer writes."""

    def __init__(self, block=512, blocks=16, prefill=1):
        self.block, self.size, self.prefill = block, block * blocks, prefill
        self.files, self.model = {}, {}
        self.number, self.chain, self.salt, self.next = 1, 0, 0x5A17, 1
        self.start, self.doubt, self.meta = (1, 1), 0, None
        self.make_file(1)
        self.begin(1)
        self.anchor(pred=0, pred_end=0, pred_last=0, low=1)

    # Files.

    def make_file(self, segment, old=b"", prefill=None):
        prefill = prefill or (2 if old else self.prefill)
        first = identity(segment, self.size, prefill, self.block.bit_length() - 1).ljust(self.block, b"\0")
        self.files[segment] = bytearray(first + (old[self.block:] if old else bytes(self.size - self.block)))

    def recycle(self, segment, new):
        self.make_file(new, bytes(self.files.pop(segment)))

    def begin(self, segment):
        self.segment, self.offset, self.last_offset, self.opening, self.low, self.written = segment, self.block, 0, self.next, self.next, 0

    def state(self):
        return {name: getattr(self, name) for name in MODEL_FIELDS}, dict(self.model)

    def back_to(self, state):
        for name, value in state[0].items():
            setattr(self, name, value)
        self.model = dict(state[1])

    # Batches.

    def batch(self, kind, control=b"", payloads=(), first=None, meta=None, flags=0, mark=None, **wrong):
        room = (80 + len(control) + len(meta or b"") + 7) // 8 * 8
        first = self.next if first is None else first
        body, at = b"", self.offset + room
        for index, payload in enumerate(payloads, first):
            one = record(payload, wrong.get("salt", self.salt), self.segment, at + len(body), index)
            body += one
        fields = {"kind": kind, "flags": flags, "head": room, "salt": self.salt, "segment": self.segment, "place": self.offset // self.block,
                  "used": room + len(body), "number": self.number, "mark": self.number - 1 if mark is None else mark, "chain": self.chain,
                  "first": first, "count": len(payloads), "meta": 0xFFFF if meta is None else len(meta), "zero": 0, **wrong}
        head = (b"WBCH" + struct.pack("<BBHQQIIQQQQIHH", *fields.values()) + control + (meta or b"")).ljust(room - 8, b"\0")
        checksum = read_log.xxh3(head, read_log.H)
        content = words(checksum) + head + body
        padded = -(-len(content) // self.block) * self.block
        assert self.offset + padded <= self.size - self.block or wrong, "the test's segment is too small"
        self.files[self.segment][self.offset:self.offset + padded] = content.ljust(padded, b"\0")
        done = Batch(self.segment, self.offset, room, len(content), padded, checksum)
        self.number, self.chain, self.last_offset = fields["number"] + 1, checksum, self.offset
        self.offset += padded
        self.low = min(self.low, first)
        self.meta = self.meta if meta is None else meta
        return done

    def data(self, *payloads, kind=read_log.DATA, first=None, **more):
        first = self.next if first is None else first
        done = self.batch(kind, words(1, 2, 3), payloads, first, **more)
        self.model = {index: payload for index, payload in self.model.items() if index < first}
        self.model.update(enumerate(payloads, first))
        self.next, self.written = first + len(payloads), self.written + len(payloads)
        return done

    def truncate(self, first, *payloads, **more):
        return self.data(*payloads, kind=read_log.TRUNCATE, first=first, **more)

    def begin_log_at(self, index, segment=None, **more):
        done = self.batch(read_log.START, words(index, segment or self.segment), **more)
        self.start, self.next = (index, segment or self.segment), max(self.next, index)
        return done

    def mark(self, **more):
        return self.batch(read_log.MARK, **more)

    def close(self, **more):
        return self.batch(read_log.CLOSE, **more)

    def anchor(self, pred, pred_end, pred_last, low, flags=0, **more):
        more = {"meta": self.meta, **more}
        control = UUID + words(pred, pred_end, pred_last, self.start[0], self.start[1], low, self.doubt, 0, 0) + struct.pack("<II", 0, 0) + words(0)
        return self.batch(read_log.ANCHOR, control, flags=flags, **more)

    def reopen(self, flags=read_log.ZEROED, **more):
        self.salt += 0x1001
        return self.anchor(self.segment, self.offset, self.last_offset, self.low, flags, **more)

    def seal(self, segment=None, end=None, last=None):
        at = self.size - self.block
        content = b"WALSEAL1" + UUID + words(segment or self.segment, self.salt, last or self.number - 1, self.chain, self.last_offset, end or self.offset,
                                             self.opening, self.next - 1, self.low, self.written, at)
        self.files[self.segment][at:at + 512] = sector(content)

    def roll(self, seal=True, anchor=True, **more):
        new = self.segment + 1
        if new not in self.files:
            self.make_file(new)
        if seal:
            self.seal()
        before = (self.segment, self.offset, self.last_offset, self.low)
        if anchor:
            self.salt += 0x101
            self.begin(new)
            return self.anchor(*before, **more)
        return None

    # Damage.

    def spoil(self, segment, offset, size=64, value=0xEE):
        self.files[segment][offset:offset + size] = bytes([value]) * size

    def lose(self, batch, first=0, past=None):
        """Sectors of a batch that never reached the disk."""
        past = batch.padded // 512 if past is None else past
        self.files[batch.segment][batch.offset + 512 * first:batch.offset + 512 * past] = bytes(512 * (past - first))

    def save(self, directory):
        for segment, content in self.files.items():
            with open(os.path.join(directory, f"{segment:020d}.wal"), "wb") as file:
                file.write(content)

    def live(self):
        return {index: payload for index, payload in self.model.items() if index >= self.start[0]}


# --- row by row --------------------------------------------------------------------------------------------------------------------

class Judged(unittest.TestCase):
    """Each test makes a log; check() saves it, lets the reader judge it, and compares."""

    def read(self, log, extra=()):
        keep = os.environ.get("READ_LOG_KEEP")  # A folder in which every log made here is kept, for another reader.
        directory = os.path.join(keep, f"{self.id().split('.')[-1]}-{len(os.listdir(keep)):04d}") if keep else tempfile.mkdtemp(prefix="wal-read-log-")
        os.makedirs(directory, exist_ok=True)
        try:
            log.save(directory)
            for name, content in extra:
                with open(os.path.join(directory, name), "wb") as file:
                    file.write(content)
            return read_log.Log(directory)
        finally:
            if not keep:
                shutil.rmtree(directory)

    def check(self, log, row, records=None, closed=False, extra=()):
        found = self.read(log, extra)
        self.assertEqual(found.row, row, found.place)
        self.assertEqual(found.closed, closed)
        if row in (10, 11):
            expected = log.live() if records is None else records
            self.assertEqual({index: one[2] for index, one in found.records.items()}, expected)
            self.assertEqual(found.missing, 0)
            for index, one in found.records.items():
                self.assertEqual(one[:2], (1, index * 10))
        return found

    def refused(self, log, extra=()):
        with self.assertRaises(read_log.NotALog):
            self.read(log, extra)


class Whole(Judged):
    """Y10: everything written was read, whatever it is made of."""

    def test_a_new_log(self):
        found = self.check(LogWriter(), 10)
        self.assertEqual((found.first, found.last, found.meta), (1, 0, None))

    def test_every_kind_in_one_segment(self):
        log = LogWriter()
        log.data(b"one", b"", b"three" * 40, meta=b"state 1")
        log.data(meta=b"")
        log.truncate(3, b"three again")
        log.truncate(4)
        log.begin_log_at(2)
        log.mark()
        log.data(b"x" * 700, flags=read_log.CLEARS_DOUBT)
        log.close()
        found = self.check(log, 10, closed=True)
        self.assertEqual((found.first, found.last, found.meta), (2, 4, b""))

    def test_a_mark_covers_the_last_batch(self):
        log = LogWriter()
        log.data(b"a")
        log.mark()
        self.check(log, 10)

    def test_several_segments(self):
        log = LogWriter()
        for segment in range(4):
            for i in range(3):
                log.data(b"%d/%d" % (segment, i), meta=b"m%d" % segment)
            log.roll()
        log.close()
        found = self.check(log, 10, closed=True)
        self.assertEqual((found.first, found.last, found.meta), (1, 12, b"m3"))

    def test_a_truncation_reaches_into_earlier_segments(self):
        log = LogWriter()
        log.data(*[b"old"] * 4)
        log.roll()
        log.data(b"older")
        log.roll()
        log.truncate(2, b"new 2")
        log.data(b"new 3")
        log.roll()
        log.data(b"new 4")
        log.close()
        self.check(log, 10, {1: b"old", 2: b"new 2", 3: b"new 3", 4: b"new 4"}, closed=True)

    def test_a_truncation_below_the_segments_first_index(self):
        log = LogWriter()
        log.data(b"a", b"b")
        log.roll()
        log.truncate(1, b"c")
        log.close()
        self.check(log, 10, {1: b"c"}, closed=True)

    def test_the_start_is_in_a_later_segment_and_files_below_it_may_be_gone(self):
        log = LogWriter()
        for _ in range(3):
            log.data(b"a", b"b")
            log.roll()
        log.begin_log_at(5, 3)
        log.close()
        self.check(log, 10, {5: b"a", 6: b"b"}, closed=True)
        del log.files[1]
        self.check(log, 10, {5: b"a", 6: b"b"}, closed=True)
        log.spoil(2, 512, 4096)
        self.check(log, 10, {5: b"a", 6: b"b"}, closed=True)

    def test_a_reset_beyond_the_end(self):
        log = LogWriter()
        log.data(b"a", b"b")
        log.begin_log_at(1000)
        found = self.check(log, 11, {})  # The start itself is under no mark yet.
        self.assertEqual((found.first, found.last), (1000, 999))
        log.data(b"k")
        log.roll()
        log.data(b"l")
        log.close()
        found = self.check(log, 10, {1000: b"k", 1001: b"l"}, closed=True)
        self.assertEqual((found.first, found.last), (1000, 1001))

    def test_recycled_files(self):
        log = LogWriter()
        for life in range(2):
            for i in range(6):
                log.data(b"old %d" % i)
            log.roll()
        log.begin_log_at(13)
        log.recycle(1, 4)
        log.recycle(2, 5)
        log.data(b"new 1")
        log.roll()
        log.data(b"new 2")
        log.close()
        self.check(log, 10, {13: b"new 1", 14: b"new 2"}, closed=True)

    def test_ready_segments_and_other_files_do_not_count(self):
        log = LogWriter()
        log.data(b"a")
        log.close()
        log.make_file(2)
        log.make_file(3)
        others = [("new-00000000000000000004.tmp", b"x"), ("lock", b""), ("00000000000000000000.wal", b"x"), ("5.wal", b"x"),
                  ("99999999999999999999.wal", b"x")]
        self.check(log, 10, closed=True, extra=others)

    def test_opened_many_times(self):
        log = LogWriter()
        for life in range(4):
            log.data(b"life %d" % life)
            log.close()
            log.reopen()
        self.check(log, 10)

    def test_a_block_of_every_size(self):
        for shift in range(9, 17):
            log = LogWriter(block=1 << shift)
            log.data(b"a" * 3000, meta=b"m")
            log.roll()
            log.close()
            self.check(log, 10, closed=True)

    def test_a_sealed_end_without_the_next_anchor(self):
        log = LogWriter()
        log.data(b"a")
        log.roll(anchor=False)
        self.check(log, 11)
        log = LogWriter()
        log.data(b"a")
        log.mark()
        log.roll(anchor=False)
        self.check(log, 10)

    def test_a_roll_without_a_readable_seal(self):
        log = LogWriter()
        log.data(b"a")
        log.roll(seal=False)
        log.close()
        self.check(log, 10, closed=True)

    def test_a_forced_anchor_jumps_and_what_it_cut_is_dead(self):
        log = LogWriter()
        log.data(b"a")
        cut = log.state()
        log.data(b"lost", b"lost too")
        log.mark()
        jump = log.number
        log.back_to(cut)
        log.number, log.doubt = jump, 2
        log.reopen(flags=read_log.FORCED)
        found = self.check(log, 10)
        self.assertEqual(found.doubt, 2)
        log.data(b"b", flags=read_log.CLEARS_DOUBT)
        log.close()
        self.assertEqual(self.check(log, 10, closed=True).doubt, 0)

    def test_batches_behind_a_named_end_are_dead(self):
        """Accepted while the batch could not be read; now it reads again, but the log went on elsewhere."""
        log = LogWriter()
        log.data(b"a")
        cut = log.state()
        log.data(b"dead", b"dead too")
        jump = log.number
        log.back_to(cut)
        log.number = jump
        log.roll(seal=False, flags=read_log.FORCED)
        log.data(b"b")
        log.close()
        self.check(log, 10, {1: b"a", 2: b"b"}, closed=True)

    def test_segments_between_a_forced_anchor_and_its_predecessor_are_dead(self):
        log = LogWriter()
        log.data(b"a")
        cut = log.state()
        log.roll()
        log.data(b"dead")
        jump = log.number
        log.back_to(cut)
        before = (log.segment, log.offset, log.last_offset, log.low)
        log.number, log.salt = jump, 0xF0F0
        log.make_file(3)
        log.begin(3)
        log.anchor(*before, flags=read_log.FORCED)
        log.data(b"b")
        log.close()
        self.check(log, 10, {1: b"a", 2: b"b"}, closed=True)
        del log.files[2]
        self.check(log, 10, {1: b"a", 2: b"b"}, closed=True)


class Torn(Judged):
    """Y11: explained by the cut."""

    def test_the_last_batch_is_under_no_mark(self):
        log = LogWriter()
        log.data(b"a")
        self.check(log, 11)

    def test_nothing_or_a_part_of_the_last_batch_is_there(self):
        for first, past in ((0, None), (0, 1), (1, None), (1, 2), (2, 3)):
            log = LogWriter()
            log.data(b"a")
            log.mark()
            kept = log.live()
            log.lose(log.data(b"b" * 400, b"c" * 500, b"d" * 500), first, past)
            # A lost first sector leaves the rest; a lost other one leaves a header of this run at the end.
            self.check(log, 10 if first == 0 else 11, kept)

    def test_the_first_of_two_in_flight_is_lost(self):
        log = LogWriter()
        log.data(b"a")
        kept = log.live()
        lost = log.data(b"b", mark=2)
        log.data(b"c", mark=2)
        log.lose(lost)
        self.check(log, 11, kept)

    def test_old_content_of_a_recycled_file_is_no_evidence(self):
        log = LogWriter()
        for i in range(10):
            log.data(b"old %d" % i)
        log.roll()
        log.begin_log_at(11)
        log.recycle(1, 3)
        log.data(b"k")
        log.roll()
        log.lose(log.data(b"torn" * 400), 1, 2)
        log.spoil(3, 512 * 9, 1024)
        self.check(log, 11, {11: b"k"})

    def test_what_was_cut_does_not_come_back(self):
        log = LogWriter()
        log.data(b"a")
        cut = log.state()
        lost = log.data(b"torn" * 300)
        log.data(b"behind it", mark=2)
        log.lose(lost, 0, 1)
        log.back_to(cut)
        log.reopen(flags=0)
        self.check(log, 10, {1: b"a"})
        log.data(b"b")
        self.check(log, 11, {1: b"a", 2: b"b"})


class Corrupt(Judged):
    """Y2 to Y6 and Y8."""

    def three(self):
        log = LogWriter()
        for _ in range(3):
            log.data(b"a", b"b")
            last = log.data(b"c")
            log.roll()
        log.close()
        return log, last

    def test_y2_no_beginning(self):
        log = LogWriter()
        log.data(b"a")
        log.spoil(1, 512 + 100)
        self.check(log, 2)
        log = LogWriter()
        log.lose(Batch(1, 512, 0, 0, 512, 0))
        self.check(log, 2)

    def test_y3_a_segment_is_missing_or_has_no_beginning(self):
        for segment in (1, 2, 3):
            log, _ = self.three()
            del log.files[segment]
            self.check(log, 3)
            log, _ = self.three()
            log.spoil(segment, 512 + 20)
            self.check(log, 3)

    def test_y3_files_are_swapped(self):
        log, _ = self.three()
        log.files[2], log.files[3] = log.files[3], log.files[2]
        self.check(log, 3)
        log, _ = self.three()
        log.files[4], log.files[3] = log.files[3], log.files[4]
        self.check(log, 3)

    def test_y3_a_copy_stands_behind_the_end(self):
        log, _ = self.three()
        log.files[5] = bytearray(log.files[2])
        self.check(log, 3)

    def test_y4_a_segment_does_not_end_as_the_next_one_says(self):
        log, last = self.three()
        log.spoil(3, last.offset + 16, 1)
        self.check(log, 4)
        for wrong in ({"pred_end": 5120}, {"pred_last": 512}, {"chain": 77}, {"number": 99}):
            log = LogWriter()
            log.data(b"a")
            log.make_file(2)
            log.seal()
            before = {"pred": 1, "pred_end": log.offset, "pred_last": log.last_offset, "low": 1, **wrong}
            log.begin(2)
            log.salt += 1
            log.anchor(**before)
            log.close()
            self.check(log, 4)

    def test_y5_the_newest_is_missing(self):
        log, _ = self.three()
        del log.files[4]
        self.check(log, 5)

    def test_y6_a_covered_batch_does_not_read(self):
        for damage in range(3):
            log = LogWriter()
            batches = [log.data(b"a" * 300), log.data(b"b" * 700), log.data(b"c")]
            log.mark()
            log.spoil(1, batches[damage].offset + (120, 600, 24)[damage], 8)
            self.check(log, 6)
            log.lose(batches[damage])
            self.check(log, 6)

    def test_y6_the_mark_is_in_a_file_behind(self):
        log = LogWriter()
        log.data(b"a")
        log.roll()
        log.data(b"b")
        log.spoil(2, 512 + 30)
        self.check(log, 6)

    def test_y6_the_seal_is_the_mark(self):
        log = LogWriter()
        last = log.data(b"a")
        log.roll(anchor=False)
        log.spoil(1, last.offset + 116, 4)
        self.check(log, 6)

    def test_y6_behind_a_close(self):
        log = LogWriter()
        log.data(b"a")
        log.close()
        anchor = log.reopen()
        log.data(b"b")
        log.spoil(1, anchor.offset + 50)
        self.check(log, 6)

    def test_y8_a_batch_of_this_run_that_does_not_belong(self):
        for wrong in ({"number": 9}, {"chain": 1}, {"first": 5}, {"used": 512 * 15}, {"number": 1, "mark": 0}):
            log = LogWriter()
            log.data(b"a")
            log.data(b"b", **{"mark": 1, **wrong})
            self.check(log, 8)
        log = LogWriter()
        log.data(b"a")
        log.truncate(9, b"b")
        self.check(log, 8)
        log = LogWriter()
        log.data(b"a", b"b")
        log.begin_log_at(2)
        log.truncate(1, b"c")
        self.check(log, 8)

    def test_y8_an_anchor_that_does_not_belong(self):
        log = LogWriter()
        log.data(b"a")
        log.reopen(chain=5)
        self.check(log, 8)


class Uncertain(Judged):
    """Y9."""

    def with_batch(self, prefill, flags=None):
        log = LogWriter(prefill=prefill)
        log.data(b"a")
        log.mark()
        if flags is not None:
            log.reopen(flags=flags)
        return log, log.data(b"b" * 1200, b"c" * 600)

    def test_a_wrong_header_where_zeros_were(self):
        for prefill, flags, row in ((1, None, 9), (1, read_log.ZEROED, 9), (1, 0, 10), (2, None, 10), (2, read_log.ZEROED, 10)):
            log, last = self.with_batch(prefill, flags)
            log.spoil(1, last.offset + 40, 8)
            self.check(log, row, {1: b"a"})

    def test_a_wrong_record_of_which_nothing_is_missing(self):
        for offset in (104, 150, 600, 1100, 1500, 1900):
            for prefill, row in ((1, 9), (2, 11)):
                log, last = self.with_batch(prefill)
                log.spoil(1, last.offset + offset, 4)
                self.check(log, row, {1: b"a"})

    def test_a_missing_sector_excuses_its_record_only(self):
        log, last = self.with_batch(1)
        log.lose(last, 1, 2)
        self.check(log, 11, {1: b"a"})
        log.spoil(1, last.offset + 1500, 4)  # The second record, all of which is there.
        self.check(log, 9)

    def test_a_file_that_ends_early(self):
        log, last = self.with_batch(1)
        del log.files[1][last.offset + 1024:]
        self.check(log, 9)
        log = LogWriter()
        log.data(b"a")
        log.close()
        del log.files[1][-512:]
        self.check(log, 9)


class ShortFiles(unittest.TestCase):
    """A file reads as zeros behind its end, wherever in a sector that is."""

    def judge(self, golden, segment, size):
        with tempfile.TemporaryDirectory() as folder:
            path = shutil.copytree("tests/golden/v1.0-" + golden, os.path.join(folder, "log"))
            os.truncate(os.path.join(path, f"{segment:020d}.wal"), size)
            out = io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
                code = read_log.main(["--json", path])
            return json.loads(out.getvalue())["row"] if out.getvalue() else code

    def test_no_size_of_a_file_is_too_short_to_be_judged(self):
        for segment in (7, 8, 9):
            for size in (*range(0, 16), 100, 503, 504, 505, 511, 513, 600, 1000, 1023, 4000, 6154, 7679, 7681, 7700, 8191):
                self.assertIn(self.judge("closed", segment, size), (*range(2, 12), 3), (segment, size))

    def test_a_header_whose_sector_is_cut_off_behind_it_still_reads(self):
        self.assertEqual(self.judge("closed", 7, 1000), 4)  # Its opening anchor reads; the end that the next one names does not.
        self.assertEqual(self.judge("closed", 7, 530), 3)
        self.assertEqual(self.judge("corrupt", 5, 7000), 6)


class NoLog(Judged):
    """Y1."""

    def test_nothing_there(self):
        log = LogWriter()
        log.files = {}
        self.refused(log)
        self.refused(log, [("00000000000000000001.wal", b"")])
        self.refused(log, [("00000000000000000001.wal", bytes(8192))])

    def test_newer_or_unknown(self):
        for wrong in ({"major": 2}, {"must": 1}, {"must": 1 << 31}):
            log = LogWriter()
            log.files[1][:512] = identity(1, log.size, **wrong)
            self.refused(log)

    def test_another_logs_file(self):
        log = LogWriter()
        log.roll()
        log.files[2][:512] = identity(2, log.size, uuid=bytes(16))
        self.refused(log)


class Damage(Judged):
    def test_no_damaged_byte_of_a_closed_log_is_a_lie(self):
        """In every segment, every structure: the records as they were, or not a word of being whole."""
        log = LogWriter()
        log.data(b"one" * 50, b"two", meta=b"state")
        log.truncate(2, b"two again")
        log.roll()
        log.data(b"three" * 120)
        log.reopen()
        log.data(b"four")
        log.close()
        whole = {index: bytes(payload) for index, payload in log.live().items()}
        for segment in (1, 2):
            written = log.size if segment == 1 else log.offset
            for offset in list(range(0, written, 11)) + list(range(log.size - 512, log.size, 11)):
                log.files[segment][offset] ^= 1 << offset % 8
                try:
                    found = self.read(log)
                    told = {index: one[2] for index, one in found.records.items()}
                    self.assertTrue(told.items() <= whole.items(), (segment, offset))
                    if found.verdict in ("clean", "torn") and not found.missing:
                        self.assertEqual((told, found.meta), (whole, b"state"), (segment, offset))
                except read_log.NotALog:
                    self.assertLess(offset, 512)
                log.files[segment][offset] ^= 1 << offset % 8

    def test_a_record_lost_in_a_sealed_segment_is_told(self):
        log = LogWriter()
        log.data(b"a")
        middle = log.data(b"b" * 300)
        log.data(b"c")
        log.roll()
        log.data(b"d")
        log.close()
        log.spoil(1, middle.offset + 200, 4)
        found = self.read(log)
        self.assertEqual((found.row, found.missing, sorted(found.records)), (10, 3, [4]))

    def test_a_lost_truncation_does_not_bring_back_what_it_cut(self):
        for behind in (False, True):
            for damage in ("record", "header", "zeros"):
                log = LogWriter()
                log.data(b"old 1")
                log.roll()
                log.data(b"old 2", b"old 3")
                lost = log.truncate(1, b"new 1", b"new 2", b"new 3")
                if behind:
                    log.data(b"new 4")
                log.roll()
                log.data(b"last")
                log.close()
                live = log.live()
                if damage == "zeros":
                    log.lose(lost)
                else:
                    log.spoil(2, lost.offset + (40 if damage == "header" else lost.head_bytes + 24), 4)
                found = self.read(log)
                self.assertEqual(found.row, 10 if behind or damage == "record" else 4)
                told = {index: one[2] for index, one in found.records.items()}
                self.assertTrue(told.items() <= live.items(), told)
                self.assertEqual(found.missing, len(live) - 1 if found.row == 10 else 0)


class RandomWork(Judged):
    def step(self, log, dice):
        if log.offset > log.size - 6 * log.block:
            log.roll()
        first, past = log.start[0], log.next
        what = dice.randrange(12)
        payloads = [bytes([65 + dice.randrange(26)]) * dice.randrange(0, 300) for _ in range(dice.randrange(4))]
        if what < 5:
            log.data(*payloads, meta=dice.choice([None, b"", b"meta" * dice.randrange(60)]))
        elif what < 8:
            log.truncate(dice.randrange(max(first, past - 6), past + 1), *payloads)
        elif what == 8:
            log.mark()
        elif what == 9:
            log.roll()
        elif what == 10:
            log.reopen(flags=dice.choice([0, read_log.ZEROED]))
        else:
            index = past + 5 if dice.randrange(4) == 0 else dice.randrange(first, past + 1)
            log.begin_log_at(index, log.segment if index > past - 1 else log.start[1])

    def test_random_work_reads_back(self):
        for seed in range(60):
            dice = random.Random(seed)
            log = LogWriter(prefill=1 + seed % 2)
            for _ in range(dice.randrange(1, 60)):
                self.step(log, dice)
            if log.offset > log.size - 2 * log.block:
                log.roll()
            log.close()
            found = self.check(log, 10, closed=True)
            self.assertEqual(found.meta, log.meta)
            self.assertEqual((found.first, found.last), (log.start[0], log.next - 1))


class CommandLine(unittest.TestCase):
    def run_on(self, log, *flags):
        with tempfile.TemporaryDirectory() as directory:
            log.save(directory)
            with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()):
                code = read_log.main([directory, *flags])
            return code, out.getvalue()

    def test_lines_codes_and_options(self):
        log = LogWriter()
        log.data(b"\x01\x02", b"", meta=b"\xab")
        log.close()
        code, text = self.run_on(log)
        self.assertEqual(code, 0)
        lines = text.splitlines()
        self.assertTrue(lines[0].startswith("clean closed row Y10 records 1..2 doubt 0 metadata ab end "))
        self.assertEqual([line.split()[:4] for line in lines[1:]], [["1", "1", "10", "2"], ["2", "1", "20", "0"]])
        self.assertEqual(self.run_on(log, "--summary")[1], lines[0] + "\n")
        self.assertEqual(self.run_on(log, "--payload")[1].splitlines()[1:], ["1 1 10 2 0102", "2 1 20 0 -"])
        told = json.loads(self.run_on(log, "--json", "--payload")[1])
        self.assertEqual((told["verdict"], told["row"], told["metadata"], told["records"][0]), ("clean", 10, "ab", [1, 1, 10, 2, "0102"]))
        log.spoil(1, 1024 + 30)
        self.assertEqual(self.run_on(log)[0], 1)
        log.files[1] = bytearray(8192)
        self.assertEqual(self.run_on(log)[0], 3)

    def test_a_record_that_does_not_read_is_told(self):
        log = LogWriter()
        middle = log.data(b"a" * 300)
        log.data(b"b")
        log.roll()
        log.close()
        log.spoil(1, middle.offset + 200, 4)
        code, text = self.run_on(log)
        self.assertEqual(code, 1)
        self.assertEqual(text.splitlines()[-1], "unreadable: 2 live records in sealed segments")


if __name__ == "__main__":
    unittest.main()
