"""A tensor as a checkpoint describes it: a window on a storage, which is a run of bytes elsewhere in the file."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cpchub.errors import ImportFormatError

STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "UntypedStorage": torch.uint8,  # counted in bytes; the tensor has the type
}
_DTYPES = {str(dtype).partition(".")[2]: dtype for dtype in STORAGES.values()}
_MAX_DIMS = 16
_MAX_SIDES_OF_AN_EMPTY_ONE = 2**31


@dataclass(frozen=True)
class StorageRecord:
    """`count` elements of a storage, from element `first`; `dtype` is None for a kind that is not read here."""

    key: str
    dtype: torch.dtype | None
    count: int
    first: int = 0

    @classmethod
    def of(cls, kind: str, key: str, count: int, view: Any = None, *_: Any) -> StorageRecord:
        """From the reference in a pickle; `view` is (key, first, count) for a part of another storage."""
        first = 0
        if isinstance(view, tuple) and len(view) == 3 and all(isinstance(each, int) for each in view[1:]):
            first, count = view[1:]
        if count < 0 or first < 0:
            raise ValueError(f"a storage of {count} elements from {first}")
        return cls(key, STORAGES.get(kind), count, first)


@dataclass(frozen=True)
class TensorRecord:
    """`shape` and `stride` in elements, from element `offset` of the storage's part."""

    storage: StorageRecord
    dtype: torch.dtype
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @classmethod
    def of(cls, storage: Any, offset: Any, shape: Any, stride: Any, dtype: str | None = None) -> TensorRecord | None:
        """From the arguments in a pickle; None where they are no plain tensor's. Nothing is read yet."""
        if not isinstance(storage, StorageRecord) or storage.dtype is None:
            return None
        kind = storage.dtype if dtype is None else _DTYPES.get(dtype)
        if kind is None or not isinstance(shape, tuple) or not isinstance(stride, tuple):
            return None
        if len(shape) != len(stride) or len(shape) > _MAX_DIMS:
            raise ValueError(f"a tensor with {len(shape)} sizes and {len(stride)} strides")
        if not all(type(each) is int for each in (offset, *shape, *stride)):
            return None
        record = cls(storage, kind, offset, shape, stride)
        record.check()
        return record

    @property
    def available(self) -> int:
        """How many elements of this tensor's type its part of the storage has."""
        size = self.storage.dtype.itemsize if self.storage.dtype else 1
        return self.storage.count * size // self.dtype.itemsize

    def check(self) -> None:
        """Raise ValueError for a tensor that reaches beyond its storage, or is larger than it."""
        if self.offset < 0 or min((*self.shape, *self.stride), default=0) < 0:
            raise ValueError("a tensor with a negative size")
        count = math.prod(side for side in self.shape if side)
        if 0 in self.shape:
            if count > _MAX_SIDES_OF_AN_EMPTY_ONE:
                raise ValueError("an empty tensor of impossible sides")
            return
        if count > self.available:  # also where strides of 0 repeat a small storage into a huge tensor
            raise ValueError("a tensor larger than its storage")
        if self.offset + sum((side - 1) * step for side, step in zip(self.shape, self.stride, strict=True)) >= (
            self.available
        ):
            raise ValueError("a tensor that reaches beyond its storage")

    def read(self, storage_bytes: Callable[[str], memoryview], where: str) -> Tensor:
        """The tensor, a view of the storage's bytes; ImportFormatError where they are too few."""
        if 0 in self.shape:
            return torch.empty(self.shape, dtype=self.dtype)
        content = storage_bytes(self.storage.key)
        unit = self.storage.dtype.itemsize if self.storage.dtype else 1
        start, length = self.storage.first * unit, self.storage.count * unit
        if start + length > len(content):
            raise ImportFormatError(
                f"{where} is damaged: storage {self.storage.key} has {len(content):,} bytes, {start + length:,} are "
                "needed. Fetch the file again"
            )
        part = content[start : start + length]
        if self.dtype == torch.bool and torch.frombuffer(part, dtype=torch.uint8).max() > 1:
            raise ImportFormatError(f"{where} is damaged: storage {self.storage.key} has values that are no bool")
        flat = torch.frombuffer(part, dtype=self.dtype, count=self.available)
        return flat.as_strided(self.shape, self.stride, self.offset)
