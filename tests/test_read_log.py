#!/usr/bin/env python3
"""The reader's own XXH3 against vectors of the reference implementation (all length classes, four seeds)."""
import os
import sys
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


if __name__ == "__main__":
    unittest.main()
