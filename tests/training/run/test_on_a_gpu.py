"""What would break or wait on a GPU, found without one: tensors that claim to be there, and hold no numbers.

An operation on tensors of two devices is an error among such tensors too; one for which the host would wait until the
GPU is idle is listed by `Waits`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode

from cpchub_training import data, methods, recipes
from cpchub_training.data.random_view import random_view
from cpchub_training.methods import DataFacts
from cpchub_training.recipes import MoCoSettings, Recipe
from cpchub_training.run import optimizers
from cpchub_training.run.backbone import build_backbone
from cpchub_training.run.saved_run import build_method
from cpchub_training.views import batched, patches

TINY = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]}
NAMES = [
    f"{name}_resnet18_cifar10_200e"
    for name in (
        "simclr", "moco_v2", "instdisc", "inva_spread", "cmc", "supcon", "rotation", "exemplar", "relative_position",
        "pseudo_label", "entropy_minimization", "vat", "uda",
    )
] + ["cpc_resnet18_cifar10"]  # fmt: skip
N_IMAGES, BATCH = 100, 8


class Waits(TorchDispatchMode):
    """Lists the operations that need a value of the GPU on the host, or copy without leaving the copy to the GPU."""

    ASKING = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "equal")

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        name, first = func.overloadpacket.__name__, args[0] if args else None
        if isinstance(first, Tensor):
            asks = name in self.ASKING and first.is_cuda
            to = kwargs.get("device") if name == "_to_copy" else None
            copies = to is not None and torch.device(to).type != first.device.type and not kwargs.get("non_blocking")
            mask = name in ("index", "index_put_") and any(i is not None and i.dtype == torch.bool for i in args[1])
            if asks or copies or mask:
                self.found.append(str(func))
        return func(*args, **kwargs)


def tiny(name: str) -> Recipe:
    recipe = recipes.get(name)
    args: dict[str, Any] = {**recipe.backbone_args, **TINY}
    if recipe.backbone == "colour_paths":
        args = {"path": "resnet18_cifar", "path_args": TINY, "space": "lab"}
    cpc = replace(recipe.cpc, group=4, context_blocks=1, context_width=8)
    return replace(
        recipe, backbone_args=args, cpc=cpc, projector_hidden=8, projector_dim=8, moco=MoCoSettings(queue_size=16)
    )


def on_gpu(recipe: Recipe) -> nn.Module:
    """The recipe's method with parameters and buffers that claim to be on a GPU. Only within `FakeTensorMode`."""
    with unset_fake_temporarily(), torch.device("meta"):
        method: nn.Module = build_method(recipe, build_backbone(recipe), DataFacts(N_IMAGES, 10))
    for module in method.modules():
        for name, p in module._parameters.items():
            if p is not None:
                moved = torch.empty(p.shape, device="cuda")
                module._parameters[name] = nn.Parameter(moved, requires_grad=p.requires_grad)
        for name, b in module._buffers.items():
            if b is not None:
                module._buffers[name] = torch.empty(b.shape, dtype=b.dtype, device="cuda")
    return method.train()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for module in (batched, patches):
        monkeypatch.setattr(module, "random_order", lambda n, generator: list(range(n)))  # no numbers, no order
    with FakeTensorMode():
        yield


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("fake")
def test_views_and_loss_stay_on_the_gpu_and_never_wait_for_it(name: str) -> None:
    recipe = tiny(name)
    method = on_gpu(recipe)
    images = torch.empty(BATCH, 3, 32, 32, dtype=torch.uint8, device="cuda")
    rows = torch.empty(BATCH, dtype=torch.long, device="cuda")
    with Waits() as waits:
        made = [random_view(images, recipe, None) for _ in range(recipe.n_views)]
        assert all(view.is_cuda for view in made)
        if recipe.method != "vat":  # its gradient within the loss cannot be taken of tensors without numbers
            loss, scalars = method(made, indices=rows, labels=rows)
            assert {each.device.type for each in (loss, *scalars.values())} == {"cuda"}
    assert not waits.found


@pytest.mark.usefixtures("fake")
def test_what_waits_is_found() -> None:
    x = torch.empty(4, device="cuda")
    for wait in (lambda: x.cpu(), lambda: torch.tensor([1.0, 2.0], device="cuda"), lambda: torch.zeros(3).to("cuda")):
        with Waits() as waits:
            wait()
        assert waits.found


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if recipes.get(name).compile])
def test_a_method_is_one_graph_and_is_compiled_once(name: str) -> None:
    recipe, graphs = tiny(name), 0

    def counting(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        nonlocal graphs
        graphs += 1
        return graph.forward

    torch._dynamo.reset()
    method: nn.Module = build_method(recipe, build_backbone(recipe), DataFacts(N_IMAGES, 10)).train()
    compiled: Any = torch.compile(method, backend=counting, fullgraph=True)
    images = torch.randint(0, 256, (BATCH, 3, 32, 32), dtype=torch.uint8)
    for step in range(3):
        generator = torch.Generator().manual_seed(step)
        made = [random_view(images, recipe, generator) for _ in range(recipe.n_views)]
        labels = torch.arange(BATCH) - (BATCH // 2 - step if methods.get(recipe.method).labels == "some" else 0)
        with torch.autocast("cpu", torch.bfloat16):
            loss, _ = compiled(made, indices=torch.randperm(N_IMAGES)[:BATCH], labels=labels.clamp(min=-1))
        loss.backward()
    assert graphs == 1


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.usefixtures("fake")
def test_optimizers_are_fused_where_they_can_be(optimizer: str) -> None:
    recipe = replace(tiny(NAMES[0]), optimizer=optimizer)  # type: ignore[arg-type]
    groups = optimizers.build(recipe, on_gpu(recipe)).param_groups
    assert all(group["fused"] for group in groups)


def test_a_data_set_goes_to_the_device_once() -> None:
    images, device = data.digits(), torch.device("meta")
    assert images._at(device) is images._at(device)
    assert images._at(device).device == device
    assert replace(images, labels=None)._copies == {}


def test_a_data_set_too_large_for_the_gpu_stays_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    images = data.digits()
    for memory in (images.images.nbytes, 4 * images.images.nbytes - 1):
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _, m=memory: SimpleNamespace(total_memory=m))
        assert images._at(torch.device("cuda")) is images.images
