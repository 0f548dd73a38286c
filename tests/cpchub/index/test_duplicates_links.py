"""An image that is reached by several ways is one image, and a file is kept before a link."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from cpchub.embedding.job import embed
from cpchub.index import Index
from cpchub.index.duplicates import find_duplicates
from tests.cpchub.images import TinyEncoder, an_image, save
from tests.cpchub.index.copies import found_in, groups, kept, photos


class TestLinks:
    """Links to one file are one image."""

    def test_a_file_with_a_link_and_a_hard_link_has_no_duplicate(self, tmp_path: Path) -> None:
        folder = photos(tmp_path / "photos", 30)
        (folder / "00-a-link.png").symlink_to("007.png")
        os.link(folder / "007.png", folder / "zz-hard-link.png")
        found = found_in(folder)
        assert groups(found) == set()
        assert "links and second names of files, which are the same image (2)" in found.notes[0]

    def test_a_copy_of_a_linked_file_is_beside_the_file_and_not_the_link(self, tmp_path: Path) -> None:
        folder = photos(tmp_path / "photos", 30)
        (folder / "00-a-link.png").symlink_to("007.png")
        os.link(folder / "007.png", folder / "zz-hard-link.png")
        shutil.copy(folder / "007.png", folder / "000-copy.png")
        found = found_in(folder)
        assert groups(found) == {frozenset({"007.png", "000-copy.png"})}
        assert kept(found) == ["007.png"]  # the links lead to it
        assert found.table["kind"].to_pylist() == ["exact", "exact"]

    @pytest.mark.parametrize("absolute", [True, False])
    def test_a_link_to_a_file_outside_is_never_kept_before_a_file(self, tmp_path: Path, absolute: bool) -> None:
        folder = photos(tmp_path / "photos", 30)
        outside = save(an_image(500, (96, 80)), tmp_path / "outside.png")
        (folder / "00-a-link.png").symlink_to(outside if absolute else "../outside.png")
        an_image(500, (96, 80)).resize((24, 20)).save(folder / "small.png")
        found = found_in(folder)
        assert groups(found) == {frozenset({"00-a-link.png", "small.png"})}
        assert kept(found) == ["small.png"]

    def test_two_links_to_one_file_outside_are_one_image(self, tmp_path: Path) -> None:
        folder = photos(tmp_path / "photos", 30)
        outside = save(an_image(500, (96, 80)), tmp_path / "outside.png")
        for name in ("a.png", "b.png"):
            (folder / name).symlink_to(outside)
        assert groups(found_in(folder)) == set()

    def test_a_link_in_a_chain_of_links_and_by_way_of_a_folder_is_the_file(self, tmp_path: Path) -> None:
        folder = photos(tmp_path / "photos", 30)
        (folder / "00-first.png").symlink_to("01-second.png")
        (folder / "01-second.png").symlink_to(folder / "007.png")
        save(an_image(600), tmp_path / "elsewhere" / "600.png")
        (folder / "by-folder").symlink_to(tmp_path / "elsewhere")
        (folder / "02-third.png").symlink_to("by-folder/600.png")
        assert groups(found_in(folder)) == set()

    def test_a_folder_that_is_itself_reached_by_a_link_holds_files(self, tmp_path: Path) -> None:
        folder = photos(tmp_path / "real", 30)
        shutil.copy(folder / "007.png", folder / "copy.png")
        (folder / "000-link.png").symlink_to("copy.png")
        (tmp_path / "photos").symlink_to(folder)
        assert groups(found_in(tmp_path / "photos")) == {frozenset({"007.png", "copy.png"})}
        assert kept(found_in(tmp_path / "photos")) == ["copy.png"]

    def test_a_list_that_names_a_file_twice_has_one_image(self, tmp_path: Path) -> None:
        folder = photos(tmp_path / "photos", 30)
        (folder / "000-link.png").symlink_to("007.png")
        paths = [*sorted(str(path) for path in folder.glob("*.png")), "photos/008.png", "photos/../photos/009.png"]
        listing = tmp_path / "list.txt"
        listing.write_text("\n".join(paths))
        index = Index.build(embed(listing, tmp_path / "out", TinyEncoder(), progress=False))
        assert groups(find_duplicates(index, progress=False)) == set()

    def test_a_copy_whose_original_is_gone_is_not_superfluous(self, tmp_path: Path) -> None:
        folder = photos(tmp_path / "photos", 30)
        for name in ("copy.png", "copy-too.png", "other-copy.png"):
            shutil.copy(folder / "007.png", folder / name)
        index = Index.build(embed(folder, tmp_path / "out", TinyEncoder(), progress=False))
        (folder / "007.png").unlink()
        save(an_image(900), folder / "copy.png")
        found = find_duplicates(index, progress=False)
        assert groups(found) == {frozenset({"copy-too.png", "other-copy.png"})}
        assert any("gone or changed since they were embedded (2)" in note for note in found.notes)
