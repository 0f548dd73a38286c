"""What embedding refuses: nothing is written before the checks have passed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cpchub.collection.collection import Collection
from cpchub.common.files import only_writer
from cpchub.errors import (
    ArgumentError,
    CollectionError,
    EncoderMismatchError,
    LabelError,
    OutputError,
    SourceError,
)
from tests.cpchub.embedding.runs import files_of, run
from tests.cpchub.images import TinyEncoder, folder_of_images


class TestARefusal:
    """Nothing is written before the checks have passed."""

    def test_a_folder_without_images(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(SourceError, match="no images in"):
            run(tmp_path / "empty", tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_a_folder_in_which_every_image_is_broken(self, tmp_path: Path) -> None:
        (tmp_path / "photos").mkdir()
        (tmp_path / "photos" / "a.jpg").write_bytes(b"")
        with pytest.raises(SourceError, match=r"none of the 1 images .* a\.jpg: the file is empty"):
            run(tmp_path / "photos", tmp_path / "out")
        assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []

    def test_an_output_folder_with_other_content(self, source: Path, tmp_path: Path) -> None:
        (tmp_path / "thesis").mkdir()
        (tmp_path / "thesis" / "chapter1.tex").write_text("text")
        with pytest.raises(OutputError, match=r"other content \(chapter1\.tex\)"):
            run(source, tmp_path / "thesis")
        assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter1.tex"]
        with pytest.raises(OutputError, match="is a file"):
            run(source, tmp_path / "thesis" / "chapter1.tex")

    def test_hidden_files_are_not_content(self, source: Path, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / ".DS_Store").write_bytes(b"view settings")
        assert len(run(source, tmp_path / "out")) == 10
        assert (tmp_path / "out" / ".DS_Store").exists()

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"shards": [{"file": "../items.parquet", "rows": 1, "first_id": 0, "last_id": 0}]}, "one of shards"),
            ({"shards": [7]}, "one of shards is 7"),
            ({"dim": 24}, "ids and vectors of 24 dimensions"),
            ({"shards": []}, "has 0 vectors for 10 images"),
        ],
    )
    def test_a_manifest_that_was_edited(self, source: Path, tmp_path: Path, change: dict, reason: str) -> None:
        manifest = run(source, tmp_path / "out").folder / "manifest.json"
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | change))
        with pytest.raises(CollectionError, match=reason):
            Collection.open(tmp_path / "out").vectors()

    def test_a_folder_with_somebody_elses_manifest(self, source: Path, tmp_path: Path) -> None:
        (tmp_path / "app").mkdir()
        (tmp_path / "app" / "manifest.json").write_text('{"name": "web app"}')
        with pytest.raises(CollectionError, match="not the manifest of a collection"):
            run(source, tmp_path / "app")

    def test_another_encoder(self, source: Path, tmp_path: Path) -> None:
        run(source, tmp_path / "out")
        before = files_of(tmp_path / "out")
        with pytest.raises(EncoderMismatchError, match=r"embedded by 'tiny' .* not by 'other'"):
            run(source, tmp_path / "out", TinyEncoder("other", weights="cd" * 32))
        assert files_of(tmp_path / "out") == before

    def test_another_source_while_the_first_is_still_there(self, source: Path, tmp_path: Path) -> None:
        run(source, tmp_path / "out")
        with pytest.raises(OutputError, match=r"holds the images of .*photos"):
            run(folder_of_images(tmp_path / "more"), tmp_path / "out")

    def test_another_source_when_the_first_is_gone(self, source: Path, tmp_path: Path) -> None:
        run(source, tmp_path / "out")
        before = files_of(tmp_path / "out")
        source.rename(tmp_path / "unplugged")
        with pytest.raises(OutputError, match=r"photos, which is gone, and none of them is in .*more"):
            run(folder_of_images(tmp_path / "more", first=50), tmp_path / "out")
        assert files_of(tmp_path / "out") == before

    def test_a_folder_that_another_process_writes_to(self, source: Path, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        with only_writer(tmp_path / "out"), pytest.raises(OutputError, match="another process is writing"):
            run(source, tmp_path / "out")

    def test_settings_that_mean_nothing(self, source: Path, tmp_path: Path) -> None:
        with pytest.raises(LabelError, match="labels='names'"):
            run(source, tmp_path / "out", labels="names")
        with pytest.raises(ArgumentError, match="batch_size=0"):
            run(source, tmp_path / "out", batch_size=0)
        (tmp_path / "labels.csv").write_text("name,label\n000.png,cat\n")
        encoder = TinyEncoder()
        with pytest.raises(LabelError, match=r"no column named path \(its columns: name, label\)"):
            run(source, tmp_path / "out", encoder, labels=tmp_path / "labels.csv")
        assert encoder.seen == 0
        assert not (tmp_path / "out").exists()
