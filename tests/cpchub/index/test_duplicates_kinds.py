"""What is a duplicate, in folders as people have them: twins of everything, fades, long images, drawings."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from cpchub.collection.import_vectors import import_vectors
from cpchub.embedding.job import embed
from cpchub.index import Index
from cpchub.index.duplicates import Duplicates, find_duplicates
from tests.cpchub.images import TinyEncoder, an_image, save
from tests.cpchub.index.copies import MiddleEncoder, found_in, groups, kept, photos, shrunk


class TestTwins:
    """Copies are found however many images have one."""

    @pytest.mark.parametrize("count", [2, 3, 6, 12, 60])
    def test_every_image_with_a_copy_of_half_the_size(self, tmp_path: Path, count: int) -> None:
        folder = photos(tmp_path / "photos", count)
        pairs = shrunk(folder, count)
        found = found_in(folder)
        assert groups(found) == pairs
        assert all(len(path) == len("000.png") for path in kept(found))

    def test_every_image_with_three_copies(self, tmp_path: Path) -> None:
        folder = photos(tmp_path / "photos", 15)
        for number in range(15):
            for quality in (95, 80, 60):
                save(an_image(number, (48, 40)), folder / f"{number:03d}-{quality}.jpg", quality=quality)
        assert sorted(map(len, groups(found_in(folder)))) == [4] * 15

    def test_copies_are_found_by_vectors_alone_where_there_are_no_images(self, tmp_path: Path) -> None:
        random = np.random.default_rng(0)
        vectors = random.normal(size=(60, 32))
        twins = vectors + 0.03 * random.normal(size=(60, 32))
        names = [f"{i}.jpg" for i in range(120)]
        index = Index.build(import_vectors(tmp_path, np.concatenate([vectors, twins]), names, source=tmp_path))
        found = find_duplicates(index, progress=False)
        assert groups(found) == {frozenset({f"{i}.jpg", f"{i + 60}.jpg"}) for i in range(60)}
        assert found.table["difference"].null_count == 120
        assert any("by the encoder alone" in note and "(60)" in note for note in found.notes)

    def test_clusters_of_vectors_without_images_are_no_copies(self, tmp_path: Path) -> None:
        random = np.random.default_rng(0)
        vectors = np.repeat(random.normal(size=(10, 32)), 30, axis=0) + 0.02 * random.normal(size=(300, 32))
        index = Index.build(import_vectors(tmp_path, vectors, [f"{i}.jpg" for i in range(300)], source=tmp_path))
        assert groups(find_duplicates(index, progress=False)) == set()

    def test_a_folder_of_copies_of_one_image(self, tmp_path: Path) -> None:
        """No two are different, so the images tell no usual distance."""
        for quality in range(40, 70):
            save(an_image(7, (48, 40)), tmp_path / "photos" / f"{quality}.jpg", quality=quality)
        found = found_in(tmp_path / "photos")
        assert [len(group) for group in groups(found)] == [30]
        assert "no two are different as whole images" in found.how

    def test_where_none_is_found_a_value_to_try_is_named(self, tmp_path: Path) -> None:
        found = found_in(photos(tmp_path / "photos", 30))
        assert groups(found) == set()
        value = float(found.notes[-1].rpartition("threshold ")[2].split()[0])
        assert len(groups(found_in(tmp_path / "photos", threshold=value, confirm=False))) >= 1

    def test_two_crowds_of_copies_find_each_other(self, tmp_path: Path) -> None:
        """Each of 15 copies has 14 nearer others than any of the smaller size."""
        folder = photos(tmp_path / "photos", 30)
        for name, size in (("large", (48, 40)), ("small", (24, 20))):
            first = save(an_image(700, (48, 40)).resize(size), folder / f"{name}-00.png")
            for copy in range(1, 15):
                shutil.copy(first, folder / f"{name}-{copy:02d}.png")
        found = found_in(folder)
        assert [len(group) for group in groups(found)] == [30]
        assert kept(found) == ["large-00.png"]


class TestChains:
    """What is listed as superfluous is near what is kept."""

    @pytest.fixture(scope="class")
    @classmethod
    def fade(cls, tmp_path_factory: pytest.TempPathFactory) -> Duplicates:
        """100 frames from one image to another one, among 30 others."""
        folder = photos(tmp_path_factory.mktemp("fade") / "photos", 30)
        first, last = an_image(800, (48, 40)), an_image(801, (48, 40))
        for number in range(100):
            save(Image.blend(first, last, number / 99), folder / f"frame-{number:03d}.png")
        return found_in(folder)

    def test_all_frames_of_a_fade_are_near_the_frame_that_is_kept(self, fade: Duplicates) -> None:
        frames = [row for row in fade.table.to_pylist() if row["path"].startswith("frame")]
        assert len(frames) > 90
        assert min(row["similarity"] for row in frames) >= fade.threshold
        assert max(row["difference"] for row in frames) <= 1
        assert 5 < len(kept(fade)) < 50

    def test_a_column_says_how_near_each_is_to_the_one_that_is_kept(self, fade: Duplicates) -> None:
        for group in set(fade.table["group"].to_pylist()):
            first, *others = [row for row in fade.table.to_pylist() if row["group"] == group]
            assert [first["keep"], *(row["keep"] for row in others)] == [True] + [False] * len(others)
            assert first["similarity"] == max(row["similarity"] for row in others)
            away = [abs(int(row["path"][6:9]) - int(first["path"][6:9])) for row in others]
            assert away[0] == 1
            assert away[-1] == max(away)

    def test_a_chain_of_vectors_is_no_single_group(self, tmp_path: Path) -> None:
        angles = np.linspace(0, np.pi / 2, 60)
        vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        index = Index.build(import_vectors(tmp_path, vectors, [f"{i:02d}.jpg" for i in range(60)], source=tmp_path))
        found = find_duplicates(index, threshold=0.995, progress=False)
        assert min(found.table["similarity"].to_pylist()) >= 0.995
        assert found.groups > 5


class TestWholeImages:
    """Images that share what the encoder sees are no duplicates."""

    @pytest.mark.parametrize("sides", ["colours", "noise", "shapes"])
    def test_strips_with_the_same_middle_are_no_duplicates(self, tmp_path: Path, sides: str) -> None:
        folder, random = photos(tmp_path / "photos", 30), np.random.default_rng(0)
        for number in range(20):
            if sides == "noise":
                strip = Image.fromarray(random.integers(0, 256, (100, 300, 3), dtype=np.uint8))
            elif sides == "shapes":
                strip = an_image(2000 + number, (300, 100))
            else:
                strip = Image.new("RGB", (300, 100), f"hsl({18 * number},80%,50%)")
            strip.paste(an_image(1000, (100, 100)), (100, 0))
            save(strip, folder / f"strip-{number:02d}.png")
        strip.resize((150, 50)).save(folder / "strip-19-small.png")
        found = found_in(folder, MiddleEncoder())
        assert groups(found) == {frozenset({"strip-19.png", "strip-19-small.png"})}
        assert any("differ as whole images" in note for note in found.notes)
        alone = found_in(folder, MiddleEncoder(), confirm=False)
        assert max(map(len, groups(alone))) == 21

    def test_many_images_that_the_encoder_finds_alike_are_compared_with_their_neighbours(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("cpchub.index.near_groups.MANY", 5)
        folder = photos(tmp_path / "photos", 40)
        pairs = shrunk(folder, 20)
        found = found_in(folder, threshold=0.01)
        assert groups(found) == pairs
        assert any("differ as whole images" in note for note in found.notes)

    def test_an_image_and_its_middle_are_no_duplicates(self, tmp_path: Path) -> None:
        folder = photos(tmp_path / "photos", 30)
        strip = an_image(900, (300, 100))
        save(strip, folder / "strip.png")
        save(strip.crop((100, 0, 200, 100)), folder / "middle.png")
        save(an_image(901, (100, 300)), folder / "tall.png")
        save(an_image(901, (100, 300)).crop((0, 100, 100, 200)), folder / "tall-middle.png")
        assert groups(found_in(folder, MiddleEncoder())) == set()

    @pytest.mark.parametrize("change", ["grey", "bright", "cropped", "jpeg", "palette"])
    def test_copies_that_were_changed_a_little_are_duplicates(self, tmp_path: Path, change: str) -> None:
        folder = photos(tmp_path / "photos", 30)
        original = an_image(900, (200, 160))
        copies = {
            "grey": original.convert("L"),
            "bright": original.point(lambda value: min(255, round(value * 1.06))),
            "cropped": original.crop((4, 3, 196, 157)),
            "jpeg": original,
            "palette": original.convert("P"),
        }
        save(original, folder / "original.png")
        save(copies[change], folder / ("copy.jpg" if change == "jpeg" else "copy.png"))
        found = found_in(folder, threshold=0.2)
        assert {Path(path).stem for path in found.table["path"].to_pylist()} == {"original", "copy"}

    def test_an_image_that_cannot_be_read_any_more_is_judged_by_the_encoder(self, tmp_path: Path) -> None:
        folder = photos(tmp_path / "photos", 30)
        pairs = shrunk(folder, 2)
        index = Index.build(embed(folder, tmp_path / "out", TinyEncoder(), progress=False))
        shutil.rmtree(folder)
        found = find_duplicates(index, progress=False)
        assert groups(found) == pairs
        assert any("by the encoder alone" in note for note in found.notes)


class TestDrawings:
    @pytest.mark.parametrize("colour", ["white", "black"])
    def test_drawings_on_a_transparent_ground_are_no_duplicates(self, tmp_path: Path, colour: str) -> None:
        folder = tmp_path / "drawings"
        for number in range(20):
            image = Image.new("RGBA", (64, 64), (255, 255, 255, 0))
            corners = np.random.default_rng(number).integers(0, 64, (4, 2))
            ImageDraw.Draw(image).line([tuple(corner) for corner in corners.tolist()], fill=colour, width=5)
            save(image, folder / f"{number:02d}.png")
            if number == 3:
                save(image, folder / "03-copy.webp", lossless=True)
        assert groups(found_in(folder)) == {frozenset({"03.png", "03-copy.webp"})}
