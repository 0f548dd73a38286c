"""An encoder as one file for other runtimes: ONNX, or torch's exported program. Each is run before it is put in place.

    cpchub.export_onnx(cpchub.load("simclr"), "simclr.onnx")

The file takes transformed images, as `encoder(x)` does. The transform is in the file, as JSON under the name
"cpchub": in ONNX's metadata (`session.get_modelmeta().custom_metadata_map`), in a program's `extra_files`.
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cpchub.catalog.spec import ModelSpec
from cpchub.common.extras import need
from cpchub.common.files import writing
from cpchub.encoders.encoder import Encoder
from cpchub.errors import ArgumentError, CpchubError, ExportError

Arrays: TypeAlias = list[npt.NDArray[np.float32]]
Run: TypeAlias = Callable[[Tensor], Arrays]
Write: TypeAlias = Callable[[nn.Module, Path, Tensor, Sequence[str]], None]  # file, example, names of the outputs

METADATA = "cpchub"
OPSET = 18  # the lowest that torch writes, and so the one that most runtimes read
TOLERANCE = 1e-4  # of the largest output, where that is above 1
INPUT = "images"


@dataclass(frozen=True)
class Exported:
    """What was written. `inputs` is [batch, C, H, W]; a name stands for a size that is free."""

    path: Path
    inputs: tuple[int | str, ...]
    outputs: tuple[str, ...]
    difference: float
    """largest absolute difference to the network in torch, over all outputs, on noise of another batch size"""


@dataclass(frozen=True)
class Exportable:
    """A network of transformed images `[B, C, H, W]`, on the CPU and in float32, and what its file says of it.

    outputs: their names. spec: of the encoder whose images it takes.
    """

    network: nn.Module
    spec: ModelSpec
    outputs: Sequence[str]
    facts: Mapping[str, Any]

    @staticmethod
    def of(encoder: Encoder) -> Exportable:
        """A copy of an encoder on the CPU, where torch computes in float32 to the end. Raises ArgumentError."""
        encoder.spec.check_takes_images("export")
        if encoder.dtype != torch.float32:
            raise ArgumentError(
                f"{encoder.spec.name} is loaded as {encoder.dtype}; load it with dtype='float32' to export it"
            )
        network = copy.deepcopy(encoder.model).eval().to("cpu")
        with torch.no_grad():
            outputs = network(_noise(encoder.spec, 2))
        names = [f"map_{index}" for index in range(len(outputs))]
        if isinstance(outputs, Tensor):
            names = ["logits" if encoder.num_classes else "features"]
        return Exportable(network, encoder.spec, names, _facts(encoder.spec))


def export_onnx(encoder: Encoder, path: str | Path, *, opset: int = OPSET, dynamic_size: bool = False) -> Exported:
    """Write the encoder's network as ONNX: "images" `[batch, C, H, W]` to "features" `[batch, D]`, for any batch.

    The output is "logits" where the network has a classifier, and "map_0", "map_1", ... with `features_only=True`.

    opset: version of ONNX's operators, 18 or newer.
    dynamic_size: height and width are free as well.

    Beyond 1.5 GB the weights stand in `path` + ".data" beside the file. Raises DependencyError without the extra
    `export`, ArgumentError, OutputError, NoSpaceError, and ExportError for a network that cannot be exported so or does
    not give the same under onnxruntime; nothing is written then.
    """
    need_onnx()
    return write_onnx(Exportable.of(encoder), path, opset=opset, dynamic_size=dynamic_size)


def need_onnx() -> None:
    """Raise DependencyError without the packages that write and run ONNX."""
    need("onnx", "onnxscript", "onnxruntime", extra="export")


def write_onnx(what: Exportable, path: str | Path, *, opset: int = OPSET, dynamic_size: bool = False) -> Exported:
    """Write a network as ONNX; arguments and errors are those of `export_onnx`."""
    if opset < OPSET:
        raise ArgumentError(f"opset is {opset}; use {OPSET} or newer, which torch writes")
    free = _free_sizes(dynamic_size)

    def write(network: nn.Module, file: Path, example: Tensor, names: Sequence[str]) -> None:
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            opset_version=opset,
            input_names=[INPUT],
            output_names=list(names),
            dynamic_shapes=(free,),
            verbose=False,
        )
        if program is None:  # only a path to write to makes torch return nothing
            raise ExportError(f"torch gave no ONNX program for {what.spec.name}")
        written = program.model.opset_imports.get("")
        if written != opset:
            raise ExportError(f"torch wrote opset {written} where {opset} was asked for; leave out opset")
        program.model.metadata_props[METADATA] = json.dumps(what.facts)
        program.save(file)

    return _export(what, Path(path), write, _onnx_runner, free)


def export_program(encoder: Encoder, path: str | Path, *, dynamic_size: bool = False) -> Exported:
    """Write the encoder's network as torch's exported program (`.pt2`), which `torch.export.load` reads.

    Inputs, outputs and errors are those of `export_onnx`; no other package is needed.
    """
    return write_program(Exportable.of(encoder), path, dynamic_size=dynamic_size)


def write_program(what: Exportable, path: str | Path, *, dynamic_size: bool = False) -> Exported:
    """Write a network as torch's exported program; arguments and errors are those of `export_program`."""
    free = _free_sizes(dynamic_size)

    def write(network: nn.Module, file: Path, example: Tensor, names: Sequence[str]) -> None:
        shapes = dict.fromkeys(free, torch.export.Dim.DYNAMIC)
        program = torch.export.export(network, (example,), dynamic_shapes=(shapes,))
        torch.export.save(program, file, extra_files={METADATA: json.dumps(what.facts)})

    return _export(what, Path(path), write, _program_runner, free)


def _export(
    what: Exportable,
    path: Path,
    write: Write,
    runner: Callable[[Path], Run],
    free: Mapping[int, str],
) -> Exported:
    """Write beside the target, compare with the network, and only then move into place."""
    if path.is_dir():
        raise ArgumentError(f"{path} is a folder; name a file in it")
    with torch.no_grad(), writing(path):
        example = _noise(what.spec, 2)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as scratch:
            file = Path(scratch) / path.name
            try:
                write(what.network, file, example, what.outputs)
            except CpchubError:
                raise
            except (RuntimeError, ValueError) as error:  # torch's own errors of exporting are RuntimeErrors
                raise ExportError(f"{what.spec.name} cannot be exported{_hint(free)}: {_first_line(error)}") from error
            difference = _compare(what, runner(file), free)
            for each in sorted(Path(scratch).iterdir(), key=lambda each: each == file):  # its weights first
                each.replace(path.with_name(each.name))
    inputs = tuple(free.get(axis, size) for axis, size in enumerate(example.shape))
    return Exported(path, inputs, tuple(what.outputs), difference)


def _compare(what: Exportable, run: Run, free: Mapping[int, str]) -> float:
    """The largest difference to the network; ExportError if it is too large, or NaN, or there is none to be had."""
    worst = 0.0
    for larger in (0, 32) if len(free) > 1 else (0,):
        x = _noise(what.spec, 3, larger=larger)
        try:
            outputs = run(x)
        except (RuntimeError, AssertionError) as error:  # a program's guards are assertions
            raise ExportError(
                f"the exported {what.spec.name} does not run on {tuple(x.shape)}{_hint(free)}: {_first_line(error)}"
            ) from error
        for expected, found in zip(_as_arrays(what.network(x)), outputs, strict=True):
            difference = float(np.abs(found - expected).max())
            if not difference <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
                raise ExportError(
                    f"the exported {what.spec.name} differs from the network by {difference:.2g}, more than "
                    f"{TOLERANCE:g}; it was not written"
                )
            worst = max(worst, difference)
    return worst


def _onnx_runner(file: Path) -> Run:
    import onnxruntime
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])

    def run(x: Tensor) -> Arrays:
        try:
            outputs: Arrays = session.run(None, {INPUT: x.numpy()})
        except (Fail, InvalidArgument, RuntimeException) as error:  # they derive from Exception alone
            raise RuntimeError(str(error)) from error
        return outputs

    return run


def _program_runner(file: Path) -> Run:
    program = torch.export.load(file).module()
    return lambda x: _as_arrays(program(x))


def _noise(spec: ModelSpec, count: int, *, larger: int = 0) -> Tensor:
    """Images of noise, transformed as the encoder's are, and `larger` pixels higher than those."""
    channels, height, width = spec.input_size
    pixels = torch.rand(
        (count, channels, height + larger, width + 2 * larger), generator=torch.Generator().manual_seed(0)
    )
    mean, std = (torch.tensor(values).reshape(-1, 1, 1) for values in (spec.mean, spec.std))
    return (pixels - mean) / std


def _free_sizes(dynamic_size: bool) -> dict[int, str]:
    return {0: "batch", 2: "height", 3: "width"} if dynamic_size else {0: "batch"}


def _as_arrays(outputs: Tensor | Sequence[Tensor]) -> Arrays:
    return [each.numpy() for each in ([outputs] if isinstance(outputs, Tensor) else outputs)]


def _facts(spec: ModelSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "architecture": spec.architecture,
        "fingerprint": spec.fingerprint,
        "weights_sha256": spec.weights_sha256,
        "license": spec.license,
        "dim": spec.dim,
        "transform": spec.transform,
    }


def _hint(free: Mapping[int, str]) -> str:
    return " for images of any size, perhaps it is without dynamic_size" if len(free) > 1 else ""


def _first_line(error: Exception) -> str:
    """torch explains itself on pages; the cause that is chained to ours has them."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
