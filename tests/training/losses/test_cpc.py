"""CPC on grids of patches: the loss against loops and closed forms, what a context may see, directions, geometry."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

import cpchub.architectures  # noqa: F401  registers the networks
from cpchub.architectures.patches import to_patches
from cpchub.errors import RecipeError
from cpchub_training import recipes
from cpchub_training.losses import cpc_info_nce
from cpchub_training.methods.cpc import CPC, TURNS, MaskedContext
from cpchub_training.methods.cpc_v1 import CPCv1, PixelCNN
from cpchub_training.recipes.cpc_settings import CPCSettings

TINY = {"layers": [1, 1], "channels": [8, 12], "stem_chs": 8, "num_classes": 0}
SETTINGS = CPCSettings(context_blocks=2, context_width=6, target_dim=5, group=0)


def tiny(settings: CPCSettings = SETTINGS, kind: type[CPC] = CPC, **args: Any) -> CPC:
    """CPC on 7 x 7 patches of 8 pixels in images of 32, 12 features."""
    torch.manual_seed(0)
    backbone = timm.create_model("cpc_resnet20_small", **{**TINY, "patch_size": 8, "patch_stride": 4, **args})
    return kind(backbone, 12, 32, settings)


def grid(batch: int = 3, rows: int = 7) -> Tensor:
    return torch.randn(batch, 12, rows, rows, generator=torch.Generator().manual_seed(1))


class TestLoss:
    def test_predictions_of_zero_give_the_log_of_the_candidates(self) -> None:
        z = torch.randn(1, 16 * 36, 64)
        loss = cpc_info_nce(torch.zeros(1, 288, 64), z, torch.arange(288)[None])
        assert loss.item() == pytest.approx(math.log(16 * 36), abs=1e-6)
        assert loss.item() == pytest.approx(6.356108, abs=1e-6)

    def test_it_is_the_softmax_loss_written_as_three_loops(self) -> None:
        rng = np.random.default_rng(0)
        z_hat, z = rng.normal(size=(2, 9, 5)), rng.normal(size=(2, 14, 5))
        positive = rng.integers(0, 14, (2, 9))
        total = 0.0
        for g in range(2):
            for m in range(9):
                scores = [sum(z_hat[g, m, d] * z[g, n, d] for d in range(5)) for n in range(14)]
                total -= scores[positive[g, m]] - math.log(sum(math.exp(s) for s in scores))
        loss = cpc_info_nce(torch.from_numpy(z_hat), torch.from_numpy(z), torch.from_numpy(positive))
        assert loss.item() == pytest.approx(total / 18, rel=1e-6)

    def test_it_is_computed_in_float32_under_autocast(self) -> None:
        z = torch.randn(1, 50, 8, generator=torch.Generator().manual_seed(0))
        positive = torch.arange(50)[None]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = cpc_info_nce(z, z, positive)
        assert torch.equal(mixed, cpc_info_nce(z, z, positive))


class TestMethod:
    @pytest.fixture(autouse=True)
    def without_gradients(self) -> Iterator[None]:
        with torch.no_grad():
            yield

    def test_a_predictor_of_zeros_knows_nothing(self) -> None:
        method = tiny()
        for weight in method.W.parameters():
            weight.zero_()
        loss, seen = method([torch.rand(4, 3, 32, 32)])
        assert loss.item() == pytest.approx(math.log(4 * 49), abs=1e-5)
        assert method.chance(4) == pytest.approx(math.log(4 * 49))
        assert seen["information_bound"].item() == pytest.approx(0, abs=1e-5)

    @pytest.mark.parametrize("group", [0, 2])
    def test_it_is_the_loss_of_the_paper_cell_by_cell(self, group: int) -> None:
        """z_hat[i + k, j] = W_k c[i, j] against every z of the group, in loops over numpy arrays."""
        method = tiny(replace(SETTINGS, directions=2, offsets=2, emb_scale=0.3, group=group))
        z = grid(4)
        size = group or 4
        losses = []
        for direction in range(2):
            turned = z.flip((2, 3)) if direction else z  # half a turn
            c = method.context[direction](turned)
            target = method.target(turned).numpy()
            for number, k in enumerate((2, 3)):
                predictor: Any = method.W[direction]
                z_hat = (predictor[number](c) * 0.3).numpy()
                terms = []
                for b in range(4):
                    members = range(b // size * size, b // size * size + size)
                    everything = np.concatenate([target[m].reshape(5, -1) for m in members], axis=1)
                    for i in range(7 - k):
                        for j in range(7):
                            scores = z_hat[b, :, i, j] @ everything
                            true = z_hat[b, :, i, j] @ target[b, :, i + k, j]
                            terms.append(np.log(np.exp(scores).sum()) - true)
                losses.append(np.mean(terms))
        loss, candidates = method.predict(z)
        assert candidates == size * 49
        assert loss.item() == pytest.approx(np.mean(losses), rel=1e-5)

    @pytest.mark.parametrize("row", range(7))
    def test_context_rows_above_a_changed_row_stay_as_they_were(self, row: int) -> None:
        torch.manual_seed(0)
        context = MaskedContext(12, blocks=5, hidden=6)
        z = grid()
        changed = z.clone()
        changed[:, :, row] += 1
        before, after = context(z), context(changed)
        assert torch.equal(before[:, :, :row], after[:, :, :row])
        assert not torch.equal(before[:, :, row], after[:, :, row])

    def test_a_context_sees_all_columns_of_its_rows(self) -> None:
        torch.manual_seed(0)
        context = MaskedContext(12, blocks=5, hidden=6)
        z = grid()
        changed = z.clone()
        changed[:, :, 3, 0] += 1
        assert not torch.equal(context(z)[:, :, 3, 5], context(changed)[:, :, 3, 5])  # five blocks reach five columns

    @pytest.mark.parametrize("shared", [False, True])
    def test_four_directions_are_one_direction_on_turned_grids(self, shared: bool) -> None:
        four = tiny(replace(SETTINGS, directions=4, shared=shared))
        z = grid()
        losses = []
        for direction, turn in enumerate(TURNS):
            one = tiny(replace(SETTINGS, directions=1))
            part = 0 if shared else direction
            one.context[0].load_state_dict(four.context[part].state_dict())
            one.W[0].load_state_dict(four.W[part].state_dict())
            one.target.load_state_dict(four.target.state_dict())
            losses.append(one.predict(z.rot90(turn, (2, 3)))[0])
        torch.testing.assert_close(four.predict(z)[0], torch.stack(losses).mean())

    def test_patches_that_are_cut_already_are_the_patches_of_the_image(self) -> None:
        method = tiny()
        x = torch.rand(2, 3, 32, 32)
        torch.testing.assert_close(method([to_patches(x, 8, 4)])[0], method([x])[0])


class TestVersion1:
    @torch.no_grad()
    def test_a_pixel_cnn_sees_the_rows_above_and_its_own_from_the_left(self) -> None:
        torch.manual_seed(0)
        context = PixelCNN(12, blocks=5, hidden=6)
        z = grid()
        changed = z.clone()
        changed[:, :, 3, 4] += 1
        same = (context(z) == context(changed)).all(1).all(0)
        assert same[:3].all()
        assert same[3, :4].all()
        assert not same[3, 4]
        assert not same[4, 3]

    def test_it_predicts_five_rows_in_the_encoders_own_space(self) -> None:
        settings = recipes.get("cpc_v1_resnet101_imagenet").cpc
        method = tiny(replace(settings, context_width=6), CPCv1, norm_layer="none")
        assert list(method.offsets) == [2, 3, 4, 5, 6]
        loss, _ = method([torch.rand(2, 3, 32, 32)])
        loss.backward()
        assert isinstance(method.target, nn.Identity)
        assert not any("norm" in name for name, _ in method.backbone.named_parameters())
        assert all(p.grad is not None for p in method.W.parameters())


class TestGeometry:
    @pytest.mark.parametrize(
        ("side", "patch", "stride", "rows", "first"),
        [(260, 80, 36, 6, 3), (256, 64, 32, 7, 2), (32, 8, 4, 7, 2), (64, 16, 8, 7, 2), (96, 24, 12, 7, 2)],
    )
    def test_the_first_row_predicted_is_the_first_without_overlap(
        self, side: int, patch: int, stride: int, rows: int, first: int
    ) -> None:
        assert CPCSettings().grid(side, patch, stride) == (rows, range(first, first + 1))

    @pytest.mark.parametrize(
        ("settings", "geometry", "message"),
        [
            (CPCSettings(), (32, 40, 8), "patch of 40 pixels is larger than the 32 pixels"),
            (CPCSettings(), (32, 24, 16), r"\(32 - 24\) // 16 \+ 1 = 1 row"),
            (CPCSettings(offsets=6), (32, 8, 4), r"up to 6, but the last one asked for is 7 = 2 .* \+ 6"),
            (CPCSettings(first_offset=7), (32, 8, 4), r"7 = 7 \(--cpc.first-offset\)"),
            (CPCSettings(), (32, 24, 4), r"ceil\(24 / 4\)"),
        ],
    )
    def test_a_geometry_on_which_nothing_can_be_predicted_is_refused_with_the_arithmetic(
        self, settings: CPCSettings, geometry: tuple[int, int, int], message: str
    ) -> None:
        with pytest.raises(RecipeError, match=message):
            settings.grid(*geometry)

    def test_a_backbone_that_does_not_work_on_patches_is_refused(self) -> None:
        with pytest.raises(RecipeError, match="patch_size"):
            tiny(patch_size=0)

    def test_images_that_do_not_fall_into_groups_are_refused_with_the_arithmetic(self) -> None:
        with pytest.raises(RecipeError, match=r"20 = 1 x 16 \+ 4"):
            CPCSettings(group=16).groups(20)
        recipe = replace(recipes.get("cpc_resnet18_cifar10"), batch_size=96, accumulate=1, cpc=CPCSettings(group=64))
        with pytest.raises(RecipeError, match="groups of 64"):
            recipe.check(1000)

    def test_negatives_are_of_a_group_or_of_all_ranks_not_both(self) -> None:
        with pytest.raises(RecipeError, match=r"--cpc\.group 0"):
            replace(SETTINGS, group=16, all_ranks=True).check()
        with pytest.raises(RecipeError, match=r"--cpc\.emb-scale"):
            replace(SETTINGS, emb_scale=0.0).check()


CPC_RECIPES = [name for name in recipes.names() if recipes.get(name).method in ("cpc_v1", "cpc_v2")]


@pytest.mark.parametrize("name", CPC_RECIPES)
def test_every_recipe_of_cpc_fits_its_own_geometry(name: str) -> None:
    recipe = recipes.get(name)
    recipe.check(1_281_167)
    args = recipe.backbone_args
    recipe.cpc.grid(recipe.views.size, args["patch_size"], args["patch_stride"])
    assert type(recipe).from_dict(recipe.to_dict()) == recipe


def test_the_recipes_of_the_paper_are_there() -> None:
    assert {"cpc_resnet170_imagenet", "cpc_resnet161_imagenet", "cpc_resnet50_imagenet"} < set(CPC_RECIPES)
