"""CRC-32C, the checksum of TensorFlow's checkpoints and of LevelDB's tables, fast enough for gigabytes of weights.

A CRC is linear over GF(2), so the words of a block need not be taken one after another: the left word of each pair is
moved past the right one and added to it, for all pairs at once, until one word is left.
"""

from __future__ import annotations

from functools import cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Words: TypeAlias = npt.NDArray[np.uint32]

POLYNOMIAL = np.uint32(0x82F63B78)  # Castagnoli's, its bits reversed
BLOCK = 1 << 18  # bytes folded at once, so that the words stay in the cache
MASK_DELTA = 0xA282EAD8


def crc32c(data: bytes | bytearray | memoryview) -> int:
    """The CRC-32C of the bytes, as in RFC 3720: 0xE3069283 for b"123456789"."""
    view = memoryview(data).cast("B")
    register = np.uint32(0xFFFFFFFF)
    done = 0
    for size in _block_sizes(len(view)):
        block = np.zeros(_words_for(size), dtype="<u4")  # zeros in front leave a register that is zero as it is
        block.view(np.uint8)[block.nbytes - size :] = np.frombuffer(view[done : done + size], dtype=np.uint8)
        register = _after_zeros(register, size) ^ _fold(block)
        done += size
    return int(register) ^ 0xFFFFFFFF


def unmasked(stored: int) -> int:
    """The checksum behind a stored one; LevelDB masks them, since a CRC over bytes that hold their own CRC is weak."""
    rotated = (stored - MASK_DELTA) & 0xFFFFFFFF
    return ((rotated >> 17) | (rotated << 15)) & 0xFFFFFFFF


def _block_sizes(total: int) -> list[int]:
    return [BLOCK] * (total // BLOCK) + ([total % BLOCK] if total % BLOCK else [])


def _words_for(size: int) -> int:
    """The least power of two that holds `size` bytes, in words."""
    return 1 << max(0, (size - 1).bit_length() - 2)


def _fold(words: Words) -> np.uint32:
    """The register that starts at zero and takes in the words; their number is a power of two."""
    level = 2  # past 2 ** 2 bytes, one word
    while len(words) > 1:
        low, high = _tables(level)
        halves = words.view(np.uint16)
        moved = low.take(halves[0::4], mode="wrap")
        moved ^= high.take(halves[1::4], mode="wrap")
        words = moved ^ words[1::2]
        level += 1
    return _after_zeros(words[0], 4)


def _after_zeros(register: np.uint32, size: int) -> np.uint32:
    """The register once `size` zero bytes have gone through it."""
    for level in range(size.bit_length()):
        if size >> level & 1:
            low, high = _tables(level)
            register = np.uint32(low[int(register) & 0xFFFF] ^ high[int(register) >> 16])
    return register


@cache
def _tables(level: int) -> tuple[Words, Words]:
    """What 2 ** level zero bytes make of each low and of each high half of a register."""
    columns = _columns(level)
    return _spanned(columns[:16]), _spanned(columns[16:])


@cache
def _columns(level: int) -> Words:
    """What 2 ** level zero bytes make of each single bit of a register."""
    if level == 0:
        columns = np.left_shift(np.uint32(1), np.arange(32, dtype=np.uint32))
        for _ in range(8):
            columns = np.where(columns & np.uint32(1), (columns >> np.uint32(1)) ^ POLYNOMIAL, columns >> np.uint32(1))
        return columns
    low, high = _tables(level - 1)
    half_way = _columns(level - 1)
    return low[half_way & np.uint32(0xFFFF)] ^ high[half_way >> np.uint32(16)]


def _spanned(columns: Words) -> Words:
    """The sums of all subsets of 16 columns, in the order of the numbers whose bits choose them."""
    sums = np.zeros(1, dtype=np.uint32)
    for column in columns:
        sums = np.concatenate([sums, sums ^ column])
    return sums
