"""Links within a source give each image once, and links out of it are followed only when asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpchub.errors import SourceError
from cpchub.media.rules import Rules
from tests.cpchub.media.embedded import embedded
from tests.cpchub.media.stored import put


class TestLinks:
    def test_the_path_of_the_real_folder_wins(self, tmp_path: Path) -> None:
        root = put(tmp_path / "photos", *[f"holiday/{number}.png" for number in range(20)])
        before = embedded(root, tmp_path / "out", labels="folders")
        (root / "00-best").symlink_to("holiday")
        after = embedded(root, tmp_path / "out")
        assert after.paths == before.paths
        assert (after.counts.unchanged, after.counts.renamed) == (20, 0)
        assert set(after.items["label"].to_pylist()) == {"holiday"}

    def test_a_link_to_the_folder_above_is_followed_only_when_asked(self, tmp_path: Path) -> None:
        put(tmp_path / "home", "private/secret.png", "photos/a.png")
        root = tmp_path / "home" / "photos"
        (root / "all").symlink_to("..")
        collection = embedded(root, tmp_path / "out")
        assert collection.paths == ["a.png"]
        assert collection.notes == (
            "1 link leads out of the source and was not followed: all; --follow-links follows it",
        )
        followed = embedded(root, tmp_path / "out", rules=Rules(follow_links=True))
        assert followed.paths == ["a.png", "all/private/secret.png"]

    def test_links_that_lead_in_circles_through_two_folders_outside_end(self, tmp_path: Path) -> None:
        put(tmp_path, "photos/a.png", "x/b.png", "y/c.png")
        for link, target in (("photos/x", "x"), ("x/y", "y"), ("y/x", "x"), ("y/photos", "photos")):
            (tmp_path / link).symlink_to(tmp_path / target)
        assert embedded(tmp_path / "photos", tmp_path / "out", rules=Rules(follow_links=True)).paths == [
            "a.png",
            "x/b.png",
            "x/y/c.png",
        ]

    def test_a_source_that_is_a_link_itself_is_entered(self, tmp_path: Path) -> None:
        put(tmp_path / "disk" / "photos", "a.png", "b/c.png")
        (tmp_path / "photos").symlink_to(tmp_path / "disk" / "photos")
        assert len(embedded(tmp_path / "photos", tmp_path / "out")) == 2

    def test_a_link_to_what_is_left_out_leaves_it_out(self, tmp_path: Path) -> None:
        root = put(tmp_path / "photos", "a.png", "raw/b.png", "@eaDir/c.png")
        (root / "best").symlink_to("raw")
        (root / "small").symlink_to("@eaDir")
        assert embedded(root, tmp_path / "out", rules=Rules(exclude=("raw",))).paths == ["a.png"]

    def test_where_only_links_are_the_way_out_is_told(self, tmp_path: Path) -> None:
        put(tmp_path / "disk", "cat/a.png", "dog/b.png")
        (tmp_path / "subset").mkdir()
        for name in ("cat", "dog"):
            (tmp_path / "subset" / name).symlink_to(tmp_path / "disk" / name)
        with pytest.raises(SourceError, match=r"2 links lead out of the source.*cat, dog; --follow-links"):
            embedded(tmp_path / "subset", tmp_path / "out")
