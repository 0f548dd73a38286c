"""How images are embedded: what a caller of `cpchub.embed_folder` may choose about the work itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from cpchub.encoders.protocols import Decode
from cpchub.errors import ArgumentError

DTYPES = ("float32", "float16")
On = Literal["ray"]


@dataclass(frozen=True)
class EmbedOptions:
    """Choices that change how fast and how small, not which images. Raises ArgumentError for a value out of range.

    batch_size: images a step of the network. workers: threads that read and decode, in each process.
    dtype: how vectors are stored; None: as the collection has them, float32 in a new one.
    processes, devices: work in several processes, on `devices` in turn; at least one process for each device.
    decode: "cpu" keeps JPEG files from being decoded on a GPU.
    on: "ray" works on the nodes of a Ray cluster: the one at `address` ("HOST:PORT", "auto"), or one of this machine.
    """

    batch_size: int = 64
    workers: int = 2
    dtype: str | None = None
    processes: int = 1
    devices: tuple[str, ...] = ()
    decode: Decode = "auto"
    on: On | None = None
    address: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "processes", max(self.processes, len(self.devices)))
        if self.batch_size < 1 or self.workers < 1 or self.processes < 1:
            raise ArgumentError(
                f"batch_size={self.batch_size}, workers={self.workers}, processes={self.processes}: "
                "each must be at least 1"
            )
        if self.decode not in get_args(Decode):
            raise ArgumentError(f"decode is {self.decode!r}; it can be {' or '.join(get_args(Decode))}")
        if self.on not in (None, *get_args(On)):
            raise ArgumentError(f"on is {self.on!r}; it can be {' or '.join(get_args(On))}")
        if self.on is None and self.address is not None:
            raise ArgumentError(f"address {self.address!r} is that of a Ray cluster, and needs on='ray' (--on ray)")
        if self.on is not None and self.devices:
            raise ArgumentError(f"devices {', '.join(self.devices)}: Ray chooses the GPUs itself; leave --devices out")
        if self.dtype not in (None, *DTYPES):
            raise ArgumentError(f"dtype is {self.dtype!r}; vectors are stored as {' or '.join(DTYPES)}")

    @property
    def in_this_process(self) -> bool:
        """Whether no other process is needed."""
        return self.on is None and self.processes == 1 and not self.devices
