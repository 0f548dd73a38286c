"""LevelDB's sorted-string table, the file in which TensorFlow keeps the index of a checkpoint.

Blocks of entries, then a block of where those are, then a footer with where that one is. Within a block a key gives
only what differs from the key before it. (leveldb/doc/table_format.md; TensorFlow's copy is core/lib/io/format.h.)
"""

from __future__ import annotations

from collections.abc import Iterator

from pyarrow import Codec

from cpchub.importers.readers.crc32c import crc32c, unmasked
from cpchub.importers.readers.wire import DamagedError, taken, varint

FOOTER = 48
MAGIC = 0xDB4775248B80FB57
TRAILER = 5  # behind each block: how it is compressed, and the masked checksum of both
STORED, SNAPPY = 0, 1
LARGEST_BLOCK = 1 << 26  # decompressed; TensorFlow fills blocks to 256 KB
LONGEST_KEY = 1 << 12  # each key may be a byte longer than the one before it, at the price of four


def is_table(data: bytes) -> bool:
    """Whether a file ends as a table does."""
    return len(data) >= FOOTER and int.from_bytes(data[-8:], "little") == MAGIC


def entries(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Every key and value of a table, in the order of the keys. Raises DamagedError."""
    if not is_table(table):
        raise DamagedError("it does not end as a table does; it is cut off, or no index of a checkpoint")
    footer = table[-FOOTER:]
    _, at = _handle(footer, 0)  # the meta index; TensorFlow's is empty
    index, _ = _handle(footer, at)
    last: bytes | None = None
    end = 0
    for _, value in _block_entries(_block(table, index)):
        handle, _ = _handle(value, 0)
        if handle[0] < end:  # or a small file could be read for ever
            raise DamagedError("its blocks overlap")
        end = sum(handle)
        for key, value in _block_entries(_block(table, handle)):
            if last is not None and key <= last:
                raise DamagedError(f"its keys are not in order: {key!r} follows {last!r}")
            last = key
            yield key, value


def _handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    offset, at = varint(data, at)
    size, at = varint(data, at)
    return (offset, size), at


def _block(table: bytes, handle: tuple[int, int]) -> bytes:
    offset, size = handle
    block = taken(table, offset, size + TRAILER)
    contents, compression = block[:size], block[size]
    if crc32c(block[: size + 1]) != unmasked(int.from_bytes(block[size + 1 :], "little")):
        raise DamagedError(f"the block at {offset} does not have the checksum that is stored with it")
    if compression == STORED:
        return contents
    if compression == SNAPPY:
        return unsnapped(contents)
    raise DamagedError(f"the block at {offset} is compressed in a way ({compression}) that tables do not know")


def _block_entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    restarts = int.from_bytes(taken(block, len(block) - 4, 4), "little")
    end = len(block) - 4 * (restarts + 1)
    if end < 0:
        raise DamagedError(f"a block of {len(block)} bytes has {restarts} restarts")
    at, key = 0, b""
    while at < end:
        shared, at = varint(block, at)
        fresh, at = varint(block, at)
        size, at = varint(block, at)
        if shared > len(key) or at + fresh + size > end:
            raise DamagedError("an entry reaches over the end of its block")
        if shared + fresh > LONGEST_KEY:
            raise DamagedError(f"a key has {shared + fresh} bytes; none has more than {LONGEST_KEY}")
        key = key[:shared] + taken(block, at, fresh)
        yield key, taken(block, at + fresh, size)
        at += fresh + size


def unsnapped(data: bytes) -> bytes:
    """Decompress a block; TensorFlow writes none that is compressed, but its readers take them."""
    size, _ = varint(data, 0)
    if size > LARGEST_BLOCK:
        raise DamagedError(f"a block says that it has {size} bytes; none has more than {LARGEST_BLOCK}")
    try:
        return bytes(Codec("snappy").decompress(data, decompressed_size=size, asbytes=True))
    except OSError as error:
        raise DamagedError("a block cannot be decompressed") from error
