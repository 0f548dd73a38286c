"""What this machine's processor computes fast. Nothing here imports torch."""

from __future__ import annotations

import hashlib
import os
import platform
from functools import cache
from pathlib import Path


def cores() -> int:
    """The cores that this process may use: real ones, as torch counts them, and at most OMP_NUM_THREADS."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = {name: int(value) for name, value in _first_core().items() if name in ("siblings", "cpu cores")}
    threads_of_a_core = max(1, count.get("siblings", 1) // max(1, count.get("cpu cores", 1)))
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return max(1, min(usable // threads_of_a_core, int(asked) if asked.isdecimal() and int(asked) else usable))


def cpu_has_bfloat16() -> bool:
    """Whether the CPU multiplies in bfloat16 (AVX512-BF16 or AMX); emulated, it is slower than float32."""
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(_facts().split())


def cpu_has_avx512() -> bool:
    """Whether the CPU works on 16 float32 numbers at once."""
    return "avx512f" in _facts().split()


@cache
def cpu_identity() -> str:
    """16 hex digits that stand for the kind of processor and what it can do."""
    return hashlib.sha256(f"{platform.machine()} {_facts()}".encode()).hexdigest()[:16]


def _facts() -> str:
    """Model and features of the first core."""
    return "\n".join(f"{name}: {_first_core().get(name, '')}" for name in ("model name", "flags", "Features"))


@cache
def _first_core() -> dict[str, str]:
    """What Linux says of the first core, by name; empty on other systems."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        return {}
    pairs = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def has_gpu() -> bool:
    """Whether there may be a GPU that torch could use; without torch only the drivers' devices tell."""
    return Path("/dev/kfd").exists() or any(Path("/dev").glob("nvidia[0-9]*"))
