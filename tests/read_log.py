#!/usr/bin/env python3
"""An independent reader of the log, written from wal/FORMAT.md alone; standard library only.

    read_log.py DIR [--summary] [--json] [--payload]

Recovers the log as FORMAT.md sections 5 to 7 say, reading only, and prints the verdict, the row, the metadata in force and every live record
(index, type, tag, length, XXH3 of the payload with seed 0; with --payload the payload itself, in hex). XXH3 is written out here from its public specification, so that nothing is
shared with the library: neither code nor hash.

Exit code: 0 clean or torn, 1 corrupt or uncertain, or a live record in a sealed segment does not read (the table judges T, and of the
segments before it only where they join), 2 usage, 3 not a log, or unreadable.
"""
import json
import os
import re
import struct
import sys

M64 = (1 << 64) - 1

# --- XXH3-64 -------------------------------------------------------------------------------------------------------------------

P32_1, P32_2, P32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
P64_1, P64_2, P64_3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
P64_4, P64_5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221"
    "b8084674f743248ee03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb"
    "170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e")


def u32(data, at=0):
    return struct.unpack_from("<I", data, at)[0]


def u64(data, at=0):
    return struct.unpack_from("<Q", data, at)[0]


def rotl(value, bits):
    return ((value << bits) | (value >> (64 - bits))) & M64


def swap64(value):
    return int.from_bytes(value.to_bytes(8, "little"), "big")


def fold_multiply(a, b):
    product = a * b
    return (product & M64) ^ (product >> 64)


def avalanche(h):
    h ^= h >> 37
    h = h * 0x165667919E3779F9 & M64
    return h ^ (h >> 32)


def avalanche_xxh64(h):
    h ^= h >> 33
    h = h * P64_2 & M64
    h ^= h >> 29
    h = h * P64_3 & M64
    return h ^ (h >> 32)


def mix16(data, at, secret, secret_at, seed):
    low = u64(data, at) ^ ((u64(secret, secret_at) + seed) & M64)
    high = u64(data, at + 8) ^ ((u64(secret, secret_at + 8) - seed) & M64)
    return fold_multiply(low, high)


def xxh3_short(data, seed):
    n = len(data)
    if n > 8:
        flip1 = ((u64(SECRET, 24) ^ u64(SECRET, 32)) + seed) & M64
        flip2 = ((u64(SECRET, 40) ^ u64(SECRET, 48)) - seed) & M64
        low, high = u64(data) ^ flip1, u64(data, n - 8) ^ flip2
        return avalanche((n + swap64(low) + high + fold_multiply(low, high)) & M64)
    if n >= 4:
        seed ^= int.from_bytes((seed & 0xFFFFFFFF).to_bytes(4, "little"), "big") << 32
        flip = ((u64(SECRET, 8) ^ u64(SECRET, 16)) - seed) & M64
        h = (u32(data, n - 4) + (u32(data) << 32)) ^ flip
        h ^= rotl(h, 49) ^ rotl(h, 24)
        h = h * 0x9FB21C651E98DF25 & M64
        h ^= ((h >> 35) + n) & M64
        h = h * 0x9FB21C651E98DF25 & M64
        return h ^ (h >> 28)
    if n > 0:
        combined = (data[0] << 16) | (data[n >> 1] << 24) | data[n - 1] | (n << 8)
        return avalanche_xxh64(combined ^ (((u32(SECRET) ^ u32(SECRET, 4)) + seed) & M64))
    return avalanche_xxh64(seed ^ u64(SECRET, 56) ^ u64(SECRET, 64))


def xxh3_middle(data, seed):
    n = len(data)
    total = n * P64_1 & M64
    if n <= 128:
        for i in range((n - 1) // 32, -1, -1):
            total += mix16(data, 16 * i, SECRET, 32 * i, seed)
            total += mix16(data, n - 16 * (i + 1), SECRET, 32 * i + 16, seed)
        return avalanche(total & M64)
    for i in range(8):
        total += mix16(data, 16 * i, SECRET, 16 * i, seed)
    total = avalanche(total & M64)
    for i in range(8, n // 16):
        total += mix16(data, 16 * i, SECRET, 16 * (i - 8) + 3, seed)
    total += mix16(data, n - 16, SECRET, 136 - 17, seed)
    return avalanche(total & M64)


def accumulate(lanes, data, at, secret, secret_at):
    words = struct.unpack_from("<8Q", data, at)
    keys = struct.unpack_from("<8Q", secret, secret_at)
    for i in range(8):
        key = words[i] ^ keys[i]
        lanes[i ^ 1] = (lanes[i ^ 1] + words[i]) & M64
        lanes[i] = (lanes[i] + (key & 0xFFFFFFFF) * (key >> 32)) & M64


def xxh3_long(data, seed):
    secret = SECRET
    if seed:
        secret = b"".join(struct.pack("<QQ", (u64(SECRET, i) + seed) & M64, (u64(SECRET, i + 8) - seed) & M64) for i in range(0, 192, 16))
    lanes = [P32_3, P64_1, P64_2, P64_3, P64_4, P32_2, P64_5, P32_1]
    n, stripes = len(data), (len(secret) - 64) // 8
    block = 64 * stripes
    blocks = (n - 1) // block
    for b in range(blocks):
        for s in range(stripes):
            accumulate(lanes, data, b * block + 64 * s, secret, 8 * s)
        keys = struct.unpack_from("<8Q", secret, len(secret) - 64)
        lanes = [((lane ^ (lane >> 47) ^ key) * P32_1) & M64 for lane, key in zip(lanes, keys)]
    for s in range((n - 1 - blocks * block) // 64):
        accumulate(lanes, data, blocks * block + 64 * s, secret, 8 * s)
    accumulate(lanes, data, n - 64, secret, len(secret) - 64 - 7)
    total = n * P64_1
    for i in range(4):
        total += fold_multiply(lanes[2 * i] ^ u64(secret, 11 + 16 * i), lanes[2 * i + 1] ^ u64(secret, 19 + 16 * i))
    return avalanche(total & M64)


def xxh3(data, seed=0):
    if len(data) <= 16:
        return xxh3_short(data, seed)
    return xxh3_middle(data, seed) if len(data) <= 240 else xxh3_long(data, seed)


# --- structures ------------------------------------------------------------------------------------------------------------------

H = 0x77616C2D68656164
SECTOR = 512
DATA, TRUNCATE, MARK, CLOSE, START, ANCHOR = 1, 2, 3, 4, 5, 6
CONTROL = {DATA: 24, TRUNCATE: 24, MARK: 0, CLOSE: 0, START: 16, ANCHOR: 104}
FORCED, ZEROED, CLEARS_DOUBT = 1, 2, 4
NUMBER_MAX = (1 << 63) - 1  # Of a batch, a segment, a record.


class NotALog(Exception):
    """Row Y1."""


class Head:
    """A batch header that decoded; `checksum` is the next one's chain."""

    def __init__(self, data):
        (self.checksum, magic, self.kind, self.flags, self.head_bytes, self.salt, self.segment, self.place, self.used, self.number,
         self.mark, self.chain, self.first, self.count, meta, zero) = struct.unpack_from("<QIBBHQQIIQQQQIHH", data)
        self.ok = False
        if magic != 0x48434257 or not 80 <= self.head_bytes <= 512 or xxh3(bytes(data[8:self.head_bytes]), H) != self.checksum:
            return
        if self.kind not in CONTROL or zero or self.flags & ~7:
            return
        at = 80 + CONTROL[self.kind]
        self.meta = None if meta == 0xFFFF else bytes(data[at:at + meta])
        if self.kind == START:
            self.start = struct.unpack_from("<QQ", data, 80)
        elif self.kind == ANCHOR:
            self.uuid = bytes(data[80:96])
            (self.pred, self.pred_end, self.pred_last, start, start_segment, self.low, self.doubt) = struct.unpack_from("<7Q", data, 96)
            self.start = (start, start_segment)
        limits = 0 < self.segment <= NUMBER_MAX and self.number <= NUMBER_MAX and 0 < self.first <= NUMBER_MAX + 1
        if self.kind in (START, ANCHOR) and self.start[0] > NUMBER_MAX + 1:
            limits = False
        self.ok = limits and self.number > self.mark and self.salt != 0


class Segment:
    def __init__(self, path, name_number):
        with open(path, "rb") as file:
            self.data = file.read()
        self.number = name_number
        self.size = len(self.data)
        self.identity = None
        sector = self.data[:SECTOR].ljust(SECTOR, b"\0")  # Behind its end a file reads as zeros.
        if sector[:8] == b"WALSEGM1" and xxh3(sector[:504], H) == u64(sector, 504):
            major, _, must = struct.unpack_from("<HHI", sector, 8)
            if major > 1 or must:
                raise NotALog(f"segment {name_number} has a newer format")
            self.identity = {"shift": sector[20], "prefill": sector[21], "uuid": sector[24:40], "segment": u64(sector, 40),
                             "bytes": u64(sector, 48), "batch_max": u32(sector, 56), "in_flight": u32(sector, 60)}
            self.size = self.identity["bytes"]

    def ends_early(self):
        """The file is shorter than its identity says: what is missing is a read error."""
        return len(self.data) < self.size

    def head(self, offset, block):
        """The self-valid header at an offset, or None."""
        sector = self.data[offset:offset + SECTOR].ljust(SECTOR, b"\0")
        if offset + SECTOR > self.size or u32(sector, 8) != 0x48434257:
            return None
        head = Head(sector)
        return head if head.ok and head.segment == self.number and head.place == offset // block else None

    def anchor(self, block):
        head = self.head(block, block)
        return head if head and head.kind == ANCHOR else None

    def seal(self, block):
        at = self.size - block
        sector = self.data[at:at + SECTOR].ljust(SECTOR, b"\0") if at >= 0 else bytes(SECTOR)
        if sector[:8] != b"WALSEAL1" or xxh3(sector[:504], H) != u64(sector, 504) or u64(sector, 24) != self.number or u64(sector, 104) != at:
            return None
        if not 0 < u64(sector, 40) <= NUMBER_MAX:
            return None
        return {"last": u64(sector, 40), "end": u64(sector, 64)}


def record_at(data, at, end, salt, segment, index):
    """(type, tag, payload, next offset) of a record that verifies, else None."""
    if min(end, len(data)) - at < 24:
        return None
    checksum, length, kind, flags, tag = struct.unpack_from("<QIHHQ", data, at)
    following = at + (24 + length + 7) // 8 * 8
    if following > min(end, len(data)) or kind == 0 or flags:
        return None
    seed = rotl((salt + segment * 0x9E3779B97F4A7C15) & M64, 29) ^ (at * 0xC2B2AE3D27D4EB4F & M64)
    seed = (rotl(seed, 31) + index * 0x165667B19E3779F9) & M64
    seed = (rotl(seed ^ (length | kind << 32 | flags << 48), 23) + tag * 0x9E3779B97F4A7C15) & M64
    payload = bytes(data[at + 24:at + 24 + length])
    return (kind, tag, payload, following) if xxh3(payload, seed) == checksum else None


# --- the walk ----------------------------------------------------------------------------------------------------------------------

class Walk:
    """One segment, from its opening anchor to the place where a batch does not fit, or to the end that the anchor behind it names."""

    def __init__(self, segment, block, named_end=None):
        self.segment, self.block = segment, block
        self.end = segment.size - block if named_end is None else min(named_end, segment.size - block)
        anchor = segment.anchor(block)
        self.offset, self.number, self.chain, self.salt = block, anchor.number, anchor.chain, anchor.salt
        self.next, self.start, self.doubt, self.meta = anchor.first, anchor.start, 0, None
        self.low, self.mark, self.content, self.kind, self.unzeroed = anchor.first, 0, 0, 0, False
        self.records = {}  # index: (type, tag, payload)
        self.stop, self.stop_head = "", None
        while self.step():
            pass

    def fits(self, head):
        anchor = head.kind == ANCHOR
        if head.salt != self.salt and not anchor:
            return "another run"
        if head.number != self.number and not (anchor and head.flags & FORCED and head.number > self.number):
            return "number"
        if head.chain != self.chain:
            return "chain"
        if (head.kind == TRUNCATE and not self.start[0] <= head.first <= self.next) or (head.kind != TRUNCATE and head.first != self.next):
            return "first index"
        if self.padded(head) > self.end - self.offset:
            return "size"
        return "kind" if self.offset == self.block and not anchor else ""

    def padded(self, head):
        return (head.used + self.block - 1) // self.block * self.block

    def step(self):
        self.stop_head = None
        if self.offset >= self.end:
            self.stop = "full"
            return False
        head = self.stop_head = self.segment.head(self.offset, self.block)
        if head is None:
            self.stop = "no header"
            return False
        self.stop = self.fits(head)
        if self.stop:
            return False
        found, at, end = {}, self.offset + head.head_bytes, self.offset + head.used
        for index in range(head.first, head.first + head.count):
            record = record_at(self.segment.data, at, end, head.salt, self.segment.number, index)
            if record is None:
                self.stop = "record"
                return False
            found[index] = record[:3]
            at = record[3]
        if at != end:
            self.stop = "record"
            return False
        self.take(head, found)
        return True

    def take(self, head, found):
        if head.kind == ANCHOR:
            self.unzeroed |= self.offset != self.block and not head.flags & ZEROED
            self.salt, self.start, self.doubt = head.salt, head.start, head.doubt
        elif head.kind == START:
            self.start = head.start
            self.next = max(self.next, head.start[0])
        elif head.kind in (DATA, TRUNCATE):
            if head.kind == TRUNCATE:
                self.records = {i: r for i, r in self.records.items() if i < head.first}
            self.records.update(found)
            self.next = head.first + head.count
        if head.kind in (DATA, TRUNCATE, START):
            self.content = head.number
        if head.flags & CLEARS_DOUBT:
            self.doubt = 0
        if head.meta is not None:
            self.meta = head.meta
        self.low, self.mark, self.kind = min(self.low, head.first), max(self.mark, head.mark), head.kind
        self.offset += self.padded(head)
        self.number, self.chain = head.number + 1, head.checksum


# --- recovery -----------------------------------------------------------------------------------------------------------------------

class Log:
    def __init__(self, directory):
        self.segments = {}
        for name in os.listdir(directory):
            if re.fullmatch(r"\d{20}\.wal", name) and 0 < int(name[:20]) <= NUMBER_MAX:
                self.segments[int(name[:20])] = Segment(os.path.join(directory, name), int(name[:20]))
        self.block, self.uuid = self.shape()
        if any(s.identity and s.identity["uuid"] != self.uuid for s in self.segments.values()):
            raise NotALog("segments of different logs")
        self.place, self.records, self.first, self.last, self.meta, self.doubt = "", {}, 1, 0, None, 0
        self.row, self.closed = self.judge()
        self.verdict = {9: "uncertain", 10: "clean", 11: "torn"}.get(self.row, "corrupt")
        self.missing = self.last + 1 - self.first - len(self.records) if self.row in (10, 11) else 0

    def shape(self):
        """Block size and uuid: of the newest identity that reads, or else of an anchor, which knows its own place."""
        newest_first = [self.segments[number] for number in sorted(self.segments, reverse=True)]
        for segment in newest_first:
            if segment.identity:
                return 1 << segment.identity["shift"], segment.identity["uuid"]
        for shift in range(9, 17):
            for segment in newest_first:
                anchor = segment.anchor(1 << shift)
                if anchor:
                    return 1 << shift, anchor.uuid
        raise NotALog("no readable identity or beginning in any segment")

    def opening_anchor(self, segment):
        anchor = segment.anchor(self.block)
        if anchor and not segment.identity:
            segment.size = max(segment.size, 16 * self.block)
        if anchor and anchor.uuid != self.uuid:
            raise NotALog(f"segment {segment.number} belongs to another log")
        return anchor

    def judge(self):
        row, closed = self.find_row()
        if row in (5, 6, 7, 8, 9):
            self.adopt_durable_start()
        return row, closed

    def adopt_durable_start(self):
        """Of the starts stated behind the walk's end those that were durable: an anchor says its chain's, a mark covers a START."""
        walk, start = self.walk, self.walk.start
        mark = self.highest_mark(self.tail.seal(self.block))
        later = [(s, self.block) for n, s in self.segments.items() if n > self.tail.number]
        for segment, offset in [(self.tail, walk.offset)] + later:
            for head in self.heads(segment, offset):
                told = head.kind == ANCHOR or (head.kind == START and head.number <= mark)
                if told and head.number >= walk.number and head.start[0] > start[0] and head.start[1] <= segment.number:
                    start = head.start
        self.first, self.last = start[0], max(walk.next, start[0]) - 1

    def find_row(self):
        begun = [n for n in sorted(self.segments) if self.opening_anchor(self.segments[n])]
        if not begun:
            return 2, False
        self.tail = self.segments[begun[-1]]
        walk = self.walk = Walk(self.tail, self.block)
        self.first, self.last, self.meta, self.doubt = walk.start[0], walk.next - 1, walk.meta, walk.doubt
        self.place = f"segment {self.tail.number} offset {walk.offset} batch {walk.number}"
        for number, segment in self.segments.items():
            if number >= self.tail.number and segment.identity and segment.identity["segment"] != number:
                return 3, False
        row = self.down_the_chain()
        if row == 3 and self.later_start():
            row = self.down_the_chain() and 3
            if not row:
                return 6, False  # What lay below that start was removed because it was durable.
            walk.start = walk.start_before
        if row:
            return row, False
        sealed = self.tail.seal(self.block)
        if sealed and self.tail.number + 1 not in self.segments:
            return 5, False
        if self.highest_mark(sealed) >= walk.number:
            return 6, False
        head = walk.stop_head
        if head and walk.stop != "record" and (head.salt == walk.salt or (head.kind == ANCHOR and head.number >= walk.number)):
            return 8, False
        if self.tail.ends_early() or self.proof_of_damage() or (sealed and self.next_is_damaged()):
            return 9, False
        run_behind = any(h.salt == walk.salt for h in self.heads(self.tail, walk.offset))
        if walk.content <= walk.mark and not run_behind:
            return 10, walk.kind == CLOSE
        return 11, False

    def next_is_damaged(self):
        """Behind a sealed T the next file was complete before T's seal was written."""
        after = self.segments[self.tail.number + 1]
        return not after.identity or after.ends_early()

    def later_start(self):
        """The newest start behind the walk's end in T, in a batch that can only have come later. True: it was taken."""
        walk = self.walk
        walk.start_before = walk.start
        for head in self.heads(self.tail, walk.offset + self.block):
            if head.number >= walk.number and head.kind in (START, ANCHOR) and head.start[0] > walk.start[0] and head.start[1] <= self.tail.number:
                walk.start = head.start
        self.first, self.last, self.records = walk.start[0], max(walk.next, walk.start[0]) - 1, {}
        return walk.start != walk.start_before

    def heads(self, segment, offset):
        while offset < segment.size - self.block:
            head = segment.head(offset, self.block)
            if head:
                yield head
            offset += self.block

    def highest_mark(self, sealed):
        marks = [h.mark for h in self.heads(self.tail, self.walk.offset)] + ([sealed["last"]] if sealed else [])
        for number, segment in self.segments.items():
            if number > self.tail.number:
                marks += [h.mark for h in self.heads(segment, self.block)]
                seal = segment.seal(self.block)
                marks += [seal["last"]] if seal else []
        return max(marks, default=0)

    def proof_of_damage(self):
        walk = self.walk
        if not self.tail.identity or self.tail.identity["prefill"] != 1 or walk.unzeroed or walk.stop == "full":
            return False
        if walk.stop_head is None:
            return any(self.tail.data[walk.offset:walk.offset + SECTOR])
        if walk.stop != "record":
            return False
        head, data = walk.stop_head, self.tail.data
        at, end = walk.offset + head.head_bytes, walk.offset + head.used

        def touches_zero(first, past):
            return any(not any(data[s:s + SECTOR]) for s in range(first // SECTOR * SECTOR, past, SECTOR))
        for index in range(head.first, head.first + head.count):
            if end - at < 24:
                return True
            if touches_zero(at, at + 24):
                return False
            past = at + (24 + u32(data, at + 8) + 7) // 8 * 8
            if past > end:
                return True
            if record_at(data, at, end, head.salt, self.tail.number, index) is None and not touches_zero(at, past):
                return True
            at = past
        return False

    def down_the_chain(self):
        """Steps from T to the start segment; 0, or the row of what is wrong. Collects the live records on the way."""
        start_index, start_segment = self.walk.start
        walk, limit, low = self.walk, 1 << 64, self.walk.low
        while True:
            for index, record in walk.records.items():
                if start_index <= index < limit:
                    self.records[index] = record
            limit = min(limit, low)
            if walk.segment.number <= start_segment:
                return 0 if walk.segment.number == start_segment else 3
            anchor = walk.segment.anchor(self.block)
            lower = self.segments.get(anchor.pred)
            if lower is None or anchor.pred >= walk.segment.number:
                return 3
            if lower.identity and lower.identity["segment"] != lower.number:
                return 3
            if self.opening_anchor(lower) is None:
                return 3
            last = lower.head(anchor.pred_last, self.block)
            if last is None or last.checksum != anchor.chain or (last.number + 1 != anchor.number and not anchor.flags & FORCED):
                return 4
            if anchor.pred_last + (last.used + self.block - 1) // self.block * self.block != anchor.pred_end:
                return 4
            walk, limit, low = Walk(lower, self.block, anchor.pred_end), min(limit, anchor.first), anchor.low
            if walk.offset != anchor.pred_end:
                walk.records = {}  # What does not read may have been a truncation: nothing in front of it is known to be live.


def main(arguments):
    flags = [a for a in arguments if a.startswith("--")]
    paths = [a for a in arguments if not a.startswith("--")]
    if len(paths) != 1 or set(flags) - {"--summary", "--json", "--payload"}:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        log = Log(paths[0])
    except (NotALog, OSError) as error:
        print(f"read_log: {error}", file=sys.stderr)
        return 3
    whole = "--payload" in flags
    records = []
    for index, (kind, tag, payload) in sorted(log.records.items()):
        records.append((index, kind, tag, len(payload), payload.hex() or "-" if whole else f"{xxh3(payload):016x}"))
    if "--json" in flags:
        json.dump({"verdict": log.verdict, "row": log.row, "closed": log.closed, "first": log.first, "last": log.last, "doubt": log.doubt,
                   "metadata": log.meta.hex() if log.meta is not None else None, "place": log.place, "unreadable": log.missing, "records": [] if "--summary" in flags else records}, sys.stdout)
        print()
    else:
        print(f"{log.verdict}{' closed' if log.closed else ''} row Y{log.row} records {log.first}..{log.last} doubt {log.doubt} "
              f"metadata {log.meta.hex() if log.meta is not None else '-'} end {log.place}")
        if "--summary" not in flags:
            for record in records:
                print(*record)
        if log.missing:
            print(f"unreadable: {log.missing} live records in sealed segments")
    return 0 if log.verdict in ("clean", "torn") and not log.missing else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
