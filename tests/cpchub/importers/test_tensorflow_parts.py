"""The parts of TensorFlow's files are read and checked: checksums, tables, numbers and fields."""

from __future__ import annotations

import random
from typing import ClassVar

import pytest

from cpchub.importers.readers.crc32c import BLOCK, crc32c
from cpchub.importers.readers.sstable import LONGEST_KEY, SNAPPY, STORED, entries
from cpchub.importers.readers.wire import DamagedError, fields, varint
from tests.cpchub.importers.leveldb import table


class TestChecksum:
    @pytest.mark.parametrize(
        ("data", "expected"),
        [
            (b"", 0),
            (b"123456789", 0xE3069283),
            (bytes(32), 0x8A9136AA),  # RFC 3720, section B.4
            (b"\xff" * 32, 0x62A8AB43),
            (bytes(range(32)), 0x46DD794E),
            (bytes(range(31, -1, -1)), 0x113FDB5C),
        ],
    )
    def test_it_is_that_of_the_standard(self, data: bytes, expected: int) -> None:
        assert crc32c(data) == expected

    @pytest.mark.parametrize("size", [1, 3, 5, 63, 64, 65, 4099, BLOCK + 777])
    def test_it_is_that_of_the_bits_one_after_another(self, size: int) -> None:
        data = random.Random(size).randbytes(size)
        assert crc32c(data) == bit_by_bit(data)


class TestTable:
    ROWS: ClassVar = {b"": b"\x08\x01", b"aa": b"1" * 300, b"ab": b"", b"b": bytes(1000)}

    @pytest.mark.parametrize("compression", [STORED, SNAPPY])
    def test_what_was_put_in_comes_out(self, compression: int) -> None:
        assert dict(entries(table(self.ROWS, compression))) == self.ROWS

    def test_keys_that_are_not_in_order_are_refused(self) -> None:
        with pytest.raises(DamagedError, match="not in order"):
            dict(entries(table({b"b": b"", b"a": b""})))

    def test_keys_cannot_grow_without_end(self) -> None:
        assert len(dict(entries(table({b"a" * LONGEST_KEY: b""})))) == 1
        with pytest.raises(DamagedError, match="a key has 4097 bytes"):
            list(entries(table({b"a" * (LONGEST_KEY + 1): b""})))

    def test_blocks_that_overlap_are_refused(self) -> None:
        whole = table({}, handles=2)  # the index names the same block, which is empty, twice
        with pytest.raises(DamagedError, match="overlap"):
            dict(entries(whole))

    def test_compressed_blocks_are_bounded_and_checked(self) -> None:
        huge = b"\xff\xff\xff\xff\x0f"  # 4 GB, it says
        with pytest.raises(DamagedError, match="4294967295 bytes"):
            dict(entries(table(self.ROWS, SNAPPY, compressed=huge)))
        with pytest.raises(DamagedError, match="cannot be decompressed"):
            dict(entries(table(self.ROWS, SNAPPY, compressed=b"\x20\x09\x09")))

    def test_an_unknown_compression_is_refused(self) -> None:
        with pytest.raises(DamagedError, match="compressed in a way"):
            dict(entries(table(self.ROWS, 7)))

    def test_random_bytes_with_a_good_footer_only_ever_raise_our_error(self) -> None:
        rng = random.Random(0)
        whole = table(self.ROWS)
        for _ in range(300):
            broken = bytearray(whole)
            for _ in range(rng.randint(1, 4)):
                broken[rng.randrange(len(broken) - 8)] = rng.randrange(256)
            try:
                rows = dict(entries(bytes(broken)))
            except DamagedError:
                continue
            assert rows == self.ROWS  # only the empty meta index was hit, which nobody reads


def test_numbers_of_more_than_64_bits_are_refused() -> None:
    assert varint(b"\xff" * 9 + b"\x01", 0) == (2**64 - 1, 10)
    for data in (b"\xff" * 9 + b"\x02", b"\x80" * 11):
        with pytest.raises(DamagedError, match="64 bits"):
            varint(data, 0)


def test_fields_of_all_kinds_are_read() -> None:
    message = b"\x08\x96\x01" + b"\x15\x01\x00\x00\x00" + b"\x19" + bytes(8) + b"\x22\x02ab"
    assert list(fields(message)) == [(1, 150), (2, 1), (3, 0), (4, b"ab")]


def bit_by_bit(data: bytes) -> int:
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF
