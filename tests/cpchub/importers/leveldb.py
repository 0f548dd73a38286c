"""Tables of LevelDB and messages of Protocol Buffers, written byte by byte for tests that damage them."""

from __future__ import annotations

import pyarrow as pa

from cpchub.importers.readers.crc32c import MASK_DELTA, crc32c
from cpchub.importers.readers.sstable import MAGIC, SNAPPY, STORED


def table(
    rows: dict[bytes, bytes], compression: int = STORED, compressed: bytes | None = None, handles: int = 1
) -> bytes:
    """A table of LevelDB's with one block, in the order of `rows`; no key is shortened."""
    written = b""

    def block(contents: bytes, kind: int = STORED) -> bytes:
        nonlocal written
        handle = number(len(written)) + number(len(contents))
        checksum = crc32c(contents + bytes([kind]))
        masked = ((checksum >> 15 | checksum << 17) + MASK_DELTA) & 0xFFFFFFFF
        written += contents + bytes([kind]) + masked.to_bytes(4, "little")
        return handle

    contents = listing(rows)
    if compression == SNAPPY:
        contents = compressed or pa.compress(contents, codec="snappy", asbytes=True)
    data = block(contents, compression)
    meta, index = block(listing({})), block(listing({b"z" * (count + 2): data for count in range(handles)}))
    return written + (meta + index).ljust(40, b"\0") + MAGIC.to_bytes(8, "little")


def listing(rows: dict[bytes, bytes]) -> bytes:
    body = b"".join(b"\0" + number(len(key)) + number(len(value)) + key + value for key, value in rows.items())
    return body + bytes(4) + (1).to_bytes(4, "little")


def graph(*children: dict[str, int], variable: str) -> bytes:
    """A TrackableObjectGraph of these objects, and behind them one that is a variable."""

    def message(tag: int, content: bytes) -> bytes:
        return bytes([tag << 3 | 2]) + number(len(content)) + content

    nodes = [
        b"".join(message(1, b"\x08" + number(child) + message(2, name.encode())) for name, child in each.items())
        for each in children
    ]
    nodes.append(message(2, message(1, b"VARIABLE_VALUE") + message(3, variable.encode())))
    return b"".join(message(1, node) for node in nodes)


def number(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])
