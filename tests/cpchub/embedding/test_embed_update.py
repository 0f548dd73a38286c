"""A collection stays in step with its source: only what changed is embedded."""

from __future__ import annotations

import os
from pathlib import Path

from tests.cpchub.embedding.runs import by_path, files_of, run
from tests.cpchub.images import TinyEncoder, an_image, folder_of_images, save


class TestKeepingInStep:
    def test_a_second_run_reads_nothing_and_changes_nothing(self, source: Path, tmp_path: Path) -> None:
        run(source, tmp_path / "out")
        before, encoder = files_of(tmp_path / "out"), TinyEncoder()
        collection = run(source, tmp_path / "out", encoder)
        assert (encoder.seen, collection.counts.unchanged) == (0, 10)
        assert files_of(tmp_path / "out") == before

    def test_only_what_changed_is_embedded(self, source: Path, tmp_path: Path) -> None:
        before = by_path(run(source, tmp_path / "out"))
        save(an_image(100), source / "new.png")
        save(an_image(101), source / "002.png")
        (source / "003.png").unlink()
        encoder = TinyEncoder()
        collection = run(source, tmp_path / "out", encoder)
        after, counts = by_path(collection), collection.counts
        assert encoder.seen == 2
        assert (counts.added, counts.removed, counts.unchanged) == (2, 2, 8)  # a changed image is a new one
        assert {path: after[path] for path in after if path in before and path != "002.png"} == {
            path: before[path] for path in before if path not in ("002.png", "003.png")
        }
        assert after["002.png"] != before["002.png"]
        fresh = by_path(run(source, tmp_path / "afresh"))
        assert {path: vector for path, (_, vector) in after.items()} == {p: vector for p, (_, vector) in fresh.items()}

    def test_a_renamed_or_touched_file_keeps_its_id_and_is_not_embedded_again(
        self, source: Path, tmp_path: Path
    ) -> None:
        before = by_path(run(source, tmp_path / "out"))
        (source / "sub").mkdir()
        (source / "001.png").rename(source / "sub" / "moved.png")
        os.utime(source / "002.png")
        encoder = TinyEncoder()
        collection = run(source, tmp_path / "out", encoder)
        assert (encoder.seen, collection.counts.renamed, collection.counts.unchanged) == (0, 1, 9)
        assert by_path(collection) == {path if path != "001.png" else "sub/moved.png": v for path, v in before.items()}

    def test_a_second_copy_of_a_renamed_file_is_an_image_of_its_own(self, source: Path, tmp_path: Path) -> None:
        before = by_path(run(source, tmp_path / "out"))
        content = (source / "001.png").read_bytes()
        (source / "001.png").unlink()
        for name in ("a.png", "b.png"):
            (source / name).write_bytes(content)
        after = by_path(run(source, tmp_path / "out"))
        assert after["a.png"] == before["001.png"]
        assert after["b.png"][1] == before["001.png"][1]
        assert after["b.png"][0] == 10

    def test_a_mended_image_leaves_the_list_of_failures(self, source: Path, tmp_path: Path) -> None:
        (source / "004.png").write_bytes(b"")
        assert len(run(source, tmp_path / "out")) == 9
        save(an_image(4), source / "004.png")
        collection = run(source, tmp_path / "out")
        assert len(collection) == 10
        assert collection.failures.num_rows == 0

    def test_ids_are_not_given_twice(self, source: Path, tmp_path: Path) -> None:
        run(source, tmp_path / "out")
        (source / "009.png").unlink()
        run(source, tmp_path / "out")
        save(an_image(50), source / "x.png")
        assert run(source, tmp_path / "out").items["id"].to_pylist() == [*range(9), 10]

    def test_a_source_that_was_moved_is_followed(self, source: Path, tmp_path: Path) -> None:
        run(source, tmp_path / "out")
        moved, encoder = source.rename(tmp_path / "elsewhere"), TinyEncoder()
        collection = run(moved, tmp_path / "out", encoder)
        assert encoder.seen == 0
        assert collection.path_of(0) == moved / "000.png"

    def test_a_source_that_was_moved_and_changed_is_followed(self, source: Path, tmp_path: Path) -> None:
        run(source, tmp_path / "out")
        for number in range(9):
            (source / f"{number:03d}.png").unlink()
        (source / "009.png").rename(source / "renamed.png")
        folder_of_images(source, 3, first=50)
        collection = run(source.rename(tmp_path / "elsewhere"), tmp_path / "out")
        assert (collection.counts.renamed, collection.counts.added, collection.counts.removed) == (1, 3, 9)

    def test_a_collection_inside_its_own_source_does_not_embed_itself(self, source: Path) -> None:
        run(source, source / "out")
        save(an_image(3), source / "out" / "contact_sheet.png")
        assert len(run(source, source / "out")) == 10
