"""Rate of a convolution's weight gradient, torch's kernel beside ours, over the shapes of a ResNet on small images.

    python -m benchmarks.weight_gradient [--images 256] [--dtype bfloat16 --out FILE]

In GFLOP/s (a multiplication and an addition are two), best of some calls; `pays` is what `encoders.fast.quick_conv`
decides from the shape alone. `forward` is what the processor reaches in the same convolution's forward pass.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.in_one_line import in_one_line
from cpchub.encoders.fast.quick_conv import pays, weight_gradient

# channels in and out, side of the map, kernel, stride: every kind that ResNet-18 and -50 have at 32 to 128 pixels
SHAPES = [
    *((c, c, side, 3, 1) for c, sides in ((64, (32, 16, 8)), (128, (16, 8, 4)), (256, (8, 4, 2))) for side in sides),
    *((512, 512, side, 3, 1) for side in (4, 2, 1)),
    *((c, 2 * c, side, 3, 2) for c, sides in ((64, (32, 8)), (128, (16, 4)), (256, (8, 2))) for side in sides),
    *((c, k, side, 1, 1) for c, k, side in ((64, 256, 8), (256, 64, 8), (512, 128, 4), (1024, 256, 2), (2048, 512, 1))),
]


def fastest(call: Callable[[], Any], seconds: float = 0.5) -> float:
    """Seconds of the fastest call."""
    call()
    best, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - started)
    return best


def measure(
    channels: int, outputs: int, side: int, kernel: int, stride: int, images: int, dtype: torch.dtype
) -> dict[str, Any]:
    """One row of the table."""
    convolution = nn.Conv2d(channels, outputs, kernel, stride, kernel // 2, bias=False, dtype=dtype)
    convolution = convolution.to(memory_format=torch.channels_last)
    x = torch.randn(images, channels, side, side, dtype=dtype).contiguous(memory_format=torch.channels_last)
    gradient = torch.randn_like(convolution(x))
    geometry: Any = (convolution.stride, convolution.padding)

    def theirs() -> Tensor:
        found: Tensor = torch.ops.aten.convolution_backward(
            gradient, x, convolution.weight, None, *geometry, (1, 1), False, (0, 0), 1, (False, True, False)
        )[1]
        return found

    def ours() -> Tensor:
        return weight_gradient(x, gradient, (kernel, kernel), *geometry)

    near = 1e-3 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(ours(), theirs(), rtol=near, atol=near * float(theirs().abs().max()))
    places = gradient.shape[2] * gradient.shape[3]
    work = 2e-9 * images * channels * outputs * kernel**2 * places
    rates = {"forward": lambda: convolution(x), "torch": theirs, "cpchub": ours}
    return {
        "shape": f"{channels} -> {outputs}, {side} x {side}, {kernel} x {kernel} / {stride}",
        "gflops": {name: round(work / fastest(call)) for name, call in rates.items()},
        "pays": pays(places, dtype),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "weight_gradient.json")
    options = parser.parse_args()
    print(f"{'':<34}{'forward':>9}{'torch':>9}{'cpchub':>9}")
    rows = []
    with torch.no_grad():
        for shape in SHAPES:
            row = measure(*shape, options.images, getattr(torch, options.dtype))
            rows.append(row)
            found = "".join(f"{rate:9}" for rate in row["gflops"].values())
            print(f"{row['shape']:<34}{found}  {'pays' if row['pays'] else ''}", flush=True)
    report = {
        "pictures": options.images,
        "dtype": options.dtype,
        "threads": torch.get_num_threads(),
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "rows": rows,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    in_one_line(main)
