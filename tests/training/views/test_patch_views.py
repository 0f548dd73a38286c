"""Views of patches: each is drawn by itself, shows nothing from outside, and its operations are torchvision's."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torchvision.transforms.v2.functional as tv
from torch import Generator, Tensor

from cpchub.architectures.patches import to_patches
from cpchub.errors import ArgumentError
from cpchub_training.recipes import Recipe
from cpchub_training.views import patch_colours
from cpchub_training.views.settings import NO_PATCH_VIEWS, PatchViews

GEOMETRY = {  # every operation that moves pixels, and none on colours
    "flip": PatchViews(flip=1.0, operations=0, elastic_p=0, histogram_p=0, distort_p=0, drop_colours_p=0, grey_p=0),
    "elastic": replace(NO_PATCH_VIEWS, elastic_p=1.0),
    "jitter": replace(NO_PATCH_VIEWS, jitter=2),
}


def some_images(n: int = 4, side: int = 32) -> Tensor:
    return torch.rand(n, 3, side, side, generator=Generator().manual_seed(0))


def seeded(seed: int = 1) -> Generator:
    return Generator().manual_seed(seed)


def test_without_operations_they_are_the_patches() -> None:
    x = some_images()
    views = NO_PATCH_VIEWS(x, 8, 4)
    assert torch.equal(views, to_patches(x, 8, 4))
    assert views.flatten(0, 2).is_contiguous(memory_format=torch.channels_last)


def test_a_flip_mirrors_each_patch_within_itself() -> None:
    x = some_images()
    torch.testing.assert_close(GEOMETRY["flip"](x, 8, 4), to_patches(x, 8, 4).flip(-1), atol=1e-5, rtol=0)


def test_half_of_the_patches_are_flipped_each_by_itself() -> None:
    x = some_images(8)
    patches = to_patches(x, 8, 4)
    views = replace(GEOMETRY["flip"], flip=0.5)(x, 8, 4, seeded())
    flipped = (views - patches.flip(-1)).abs().amax((3, 4, 5)) < 1e-5
    kept = (views - patches).abs().amax((3, 4, 5)) < 1e-5
    assert torch.all(flipped ^ kept)
    assert 0.4 < flipped.float().mean() < 0.6
    assert all(0 < grid.float().mean() < 1 for grid in flipped)  # both within one image


@pytest.mark.parametrize("name", [*GEOMETRY, "all"])
def test_a_patch_shows_nothing_from_outside_of_it(name: str) -> None:
    """The middle patch of an image whose other patches are bright stays dark."""
    x = torch.ones(200, 3, 24, 24)
    x[:, :, 8:16, 8:16] = 0
    views = replace(PatchViews(), histogram_p=0, distort_p=0, drop_colours_p=0, grey_p=0, operations=0)
    middle = (GEOMETRY.get(name) or views)(x, 8, 8, seeded())[:, 1, 1]
    assert middle.max() <= 0.5  # what is moved in from outside is mid-grey


def test_spatial_jitter_shows_a_smaller_crop_in_the_middle() -> None:
    x = some_images()
    views = GEOMETRY["jitter"](x, 8, 4, seeded())
    assert (views[..., 0, :] == 0.5).all()
    assert (views[..., :, -1] == 0.5).all()
    inner, patches = views[..., 1:7, 1:7], to_patches(x, 8, 4)
    offsets = torch.stack(
        [(inner - patches[..., y : y + 6, z : z + 6]).abs().amax((3, 4, 5)) < 1e-5 for y in range(3) for z in range(3)]
    )
    assert (offsets.sum(0) == 1).all()
    assert offsets.flatten(1).any(1).all()  # all nine places occur


def test_colours_are_dropped_to_one_channel() -> None:
    views = replace(NO_PATCH_VIEWS, drop_colours_p=1.0)(some_images(), 8, 4, seeded())
    assert ((views == 0.5).flatten(4).all(4).sum(3) == 2).all()


def test_grey_patches_have_three_equal_channels() -> None:
    views = replace(NO_PATCH_VIEWS, grey_p=1.0)(some_images(), 8, 4, seeded())
    torch.testing.assert_close(views, tv.rgb_to_grayscale(to_patches(some_images(), 8, 4), 3), atol=1e-3, rtol=0)


@pytest.mark.parametrize("field", ["elastic_p", "histogram_p"])
def test_a_share_of_the_batch_is_changed_and_the_rest_is_not(field: str) -> None:
    x = some_images(8)
    views = replace(NO_PATCH_VIEWS, **{field: 0.25})(x, 8, 4, seeded())
    changed = (views - to_patches(x, 8, 4)).abs().amax((3, 4, 5)) > 1e-5
    assert changed.sum() == pytest.approx(0.25 * 8 * 49, abs=1)


def test_views_repeat_with_their_seed_and_stay_in_range() -> None:
    x = some_images()
    first, again, other = (PatchViews()(x, 8, 4, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.min() >= 0
    assert first.max() <= 1


def test_an_image_smaller_than_a_patch_is_refused() -> None:
    with pytest.raises(ArgumentError, match="16 x 16"):
        PatchViews()(some_images(1, 16), 24, 8)


class TestColours:
    x = (some_images(6, 16) * 255).round() / 255

    def bytes_of(self) -> Tensor:
        return (self.x * 255).to(torch.uint8)

    def test_equalize_is_torchvisions(self) -> None:
        mine = patch_colours.equalize(self.x, None)
        torch.testing.assert_close(mine, tv.equalize(self.bytes_of()).float() / 255, atol=1 / 255 + 1e-6, rtol=0)

    def test_auto_contrast_is_torchvisions(self) -> None:
        torch.testing.assert_close(patch_colours.auto_contrast(self.x, None), tv.autocontrast(self.x))

    def test_posterize_keeps_four_to_eight_bits(self) -> None:
        mine = patch_colours.posterize(self.x, seeded())
        seen = set()
        for x, y in zip(self.bytes_of(), mine, strict=True):
            fits = {bits for bits in range(4, 9) if torch.allclose(y, tv.posterize(x, bits).float() / 255, atol=1e-4)}
            assert fits
            seen |= fits
        assert len(seen) > 1

    @pytest.mark.parametrize(
        ("name", "theirs"),
        [
            ("contrast", tv.adjust_contrast),
            ("colour", tv.adjust_saturation),
            ("brightness", tv.adjust_brightness),
            ("sharpness", tv.adjust_sharpness),
        ],
    )
    def test_blends_are_torchvisions_with_a_factor_a_patch(
        self, name: str, theirs: object, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        factors = torch.tensor([0.1, 0.5, 0.9, 1.0, 1.4, 1.9])
        monkeypatch.setattr(patch_colours, "_factor", lambda x, generator: factors.reshape(-1, 1, 1, 1))
        mine = getattr(patch_colours, name)(self.x, None).clamp(0, 1)
        expected = torch.stack([theirs(x, f.item()) for x, f in zip(self.x, factors, strict=True)])  # type: ignore[operator]
        torch.testing.assert_close(mine, expected, atol=1e-3, rtol=0)

    def test_a_changed_histogram_keeps_the_order_of_values(self) -> None:
        ramp = torch.linspace(0, 1, 64).reshape(1, 1, 8, 8).expand(5, 3, 8, 8)
        y = patch_colours.change_histogram(ramp, seeded()).flatten(2)
        assert (y.diff(dim=2) >= 0).all()
        torch.testing.assert_close(y[..., 0], torch.zeros(5, 3))
        torch.testing.assert_close(y[..., -1], torch.ones(5, 3))
        assert not torch.allclose(y[0], y[1])


def test_a_recipe_with_changed_patch_views_survives_json() -> None:
    recipe = Recipe("x", method="cpc_v2", n_views=1)
    changed = replace(recipe, cpc=replace(recipe.cpc, patches=replace(NO_PATCH_VIEWS, grey_p=0.5)))
    assert Recipe.from_dict(changed.to_dict()) == changed
