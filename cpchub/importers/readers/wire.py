"""The few rules of protobuf's wire format that a checkpoint's index is written in."""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class DamagedError(Exception):
    """Bytes that are not what their place in the file asks for; whoever opened the file adds its name."""


def varint(data: bytes, at: int) -> tuple[int, int]:
    """The unsigned number at a position, seven bits a byte, and the position behind it."""
    value = 0
    for count in range(10):
        if at + count >= len(data):
            raise DamagedError("a number is cut off")
        byte = data[at + count]
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            if value >> 64:
                break
            return value, at + count + 1
    raise DamagedError("a number has more than 64 bits")


def taken(data: bytes, at: int, size: int) -> bytes:
    """`size` bytes from a position on, all of them."""
    if not 0 <= at <= at + size <= len(data):
        raise DamagedError(f"{size} bytes at {at} are outside of its {len(data)}")
    return data[at : at + size]


def fields(content: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message in their order: number, and value as a number or as bytes."""
    at = 0
    while at < len(content):
        tag, at = varint(content, at)
        number, kind = tag >> 3, tag & 7
        value: int | bytes
        if kind == VARINT:
            value, at = varint(content, at)
        elif kind == BYTES:
            size, at = varint(content, at)
            value = taken(content, at, size)
            at += size
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
            value = int.from_bytes(taken(content, at, size), "little")
            at += size
        else:
            raise DamagedError(f"a field is of kind {kind}, which no message here has")
        yield number, value


def number_of(value: int | bytes) -> int:
    """A field's value that is a number."""
    if isinstance(value, bytes):
        raise DamagedError("a field has bytes where a number belongs")
    return value


def message(value: int | bytes) -> bytes:
    """A field's value that is a message of its own, or text."""
    if isinstance(value, int):
        raise DamagedError("a field has a number where bytes belong")
    return value
