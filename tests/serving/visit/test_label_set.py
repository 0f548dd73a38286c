"""Label sets on the disk: what is read back, two processes at once, and files that are something else."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest

from cpchub.errors import LabelError, OutputError
from cpchub.fewlabels.given_labels import read_labels
from cpchub_serving.visit.label_files import LabelFiles
from cpchub_serving.visit.label_set import UNSURE, LabelSet
from cpchub_serving.visit.label_sets import LabelSets
from cpchub_serving.visit.session import Session
from tests.serving.visit.clouds import PATHS, label_set


def test_labels_classes_and_unsure_images_are_there_after_a_restart(labels: LabelSet, tmp_path: Path) -> None:
    labels.change("me", {3: "dog", 1: "cat", 9: UNSURE})
    again = label_set(tmp_path)
    assert again.now.labels == {3: "dog", 1: "cat"}
    assert again.now.unsure == {9}
    assert again.now.classes == ("cat", "dog", "bird")


def test_the_file_is_what_cpchub_classify_reads(labels: LabelSet, tmp_path: Path) -> None:
    labels.change("me", {4: "cat", 8: "big, dog", 9: UNSURE})
    assert (tmp_path / "labels" / "default.csv").read_text() == 'path,label\n4.png,cat\n8.png,"big, dog"\n'
    assert read_labels(tmp_path / "labels" / "default.csv") == {"4.png": "cat", "8.png": "big, dog"}


def test_a_file_that_somebody_wrote_needs_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "default.csv").write_text("path,label\n./5.png,dog\n6.png,cat\n")
    labels = label_set(tmp_path)
    assert labels.now.labels == {5: "dog", 6: "cat"}
    assert labels.now.classes == ("dog", "cat")


def test_labels_of_images_that_the_collection_lacks_are_kept(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "default.csv").write_text("path,label\ngone.png,dog\n6.png,cat\n")
    labels = label_set(tmp_path)
    labels.change("me", {6: "dog", 7: UNSURE})
    labels.change("me", {7: "cat"})
    assert labels.now.labels == {6: "dog", 7: "cat"}
    found = read_labels(tmp_path / "labels" / "default.csv")
    assert found == {"gone.png": "dog", "6.png": "dog", "7.png": "cat"}


def test_two_processes_see_each_others_labels_and_lose_none(tmp_path: Path) -> None:
    one, other = label_set(tmp_path), label_set(tmp_path)
    visitor = Session("visitor")
    visitor.say(one, [1, 2], "cat")
    other.change("other", {2: "dog", 3: "bird"})
    one.change("one", {4: UNSURE})
    assert one.now.labels == other.refresh().labels == {1: "cat", 2: "dog", 3: "bird"}
    assert other.now.unsure == {4}
    assert other.now.classes == ("cat", "dog", "bird")
    visitor.undo(one)
    assert one.now.labels == {2: "dog", 3: "bird"}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("csv", "path;label\n1.png;cat\n", "path;label"),
        ("csv", "path,label,who\n1.png,cat,me\n", "import it"),
        ("csv", "", "none"),
        ("csv", "path,label\n1.png,cat\n1.png,dog\n", "line 3"),
        ("csv", "path,label\n1.png,cat\n./1.png,dog\n", "two spellings"),
        ("csv", "path,label\n1.png,\n", "line 2"),
        ("csv", 'path,label\n1.png,"cat\n', "cannot be read"),
        ("json", "{", "cannot be read"),
        ("json", '{"format": 1, "classes": [1], "unsure": []}', "cannot be read"),
        ("json", '{"format": 2, "classes": [], "unsure": []}', "upgrade"),
        ("json", "[]", "cannot be read"),
    ],
)
def test_a_file_that_is_no_label_set_is_an_error_in_words_and_stays_as_it_is(
    labels: LabelSet, tmp_path: Path, name: str, content: str, said: str
) -> None:
    labels.change("me", {5: "cat"})
    file = tmp_path / "labels" / f"default.{name}"
    file.write_text(content)
    with pytest.raises(LabelError, match=said) as refused:
        label_set(tmp_path)
    assert str(tmp_path) not in str(refused.value)
    with pytest.raises(LabelError):  # a server that has it open does not write over it either
        labels.change("me", {6: "dog"})
    assert file.read_text() == content
    assert labels.now.labels == {5: "cat"}


def test_what_cannot_be_written_is_not_shown_either(
    labels: LabelSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session("me")
    session.say(labels, [1], "cat")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("cpchub.common.files.os.fsync", full)
        for change in (lambda: session.say(labels, [2], "cat"), lambda: session.undo(labels)):
            with pytest.raises(OutputError) as refused:
                change()
            assert str(tmp_path) not in str(refused.value)
    assert labels.now.labels == label_set(tmp_path).now.labels == {1: "cat"}
    assert session.undo(labels)  # what failed can be tried again
    assert labels.now.labels == {}


@pytest.mark.parametrize("stop_at", [0, 1, 2])
@pytest.mark.parametrize("said", ["cat", UNSURE, None])
@pytest.mark.parametrize("before", ["dog", UNSURE, None])
def test_a_kill_between_two_files_leaves_the_state_before_or_after(
    tmp_path: Path, before: str | None, said: str | None, stop_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = label_set(tmp_path)
    labels.change("me", {1: "cat", 2: UNSURE, 3: before}, add=["bird"])
    writes = 0

    def killed(write: object) -> object:
        def write_or_die(self: LabelFiles, *args: object) -> None:
            nonlocal writes
            if writes == stop_at:
                raise KeyboardInterrupt
            writes += 1
            write(self, *args)

        return write_or_die

    for name in ("_write_csv", "_write_json"):
        monkeypatch.setattr(LabelFiles, name, killed(getattr(LabelFiles, name)))
    try:
        labels.change("me", {3: said})
    except KeyboardInterrupt:
        assert label_set(tmp_path).now.said(3) in (before, said)
    else:
        assert label_set(tmp_path).now.said(3) == said
    monkeypatch.undo()
    now = label_set(tmp_path).now
    assert (now.said(1), now.said(2)) == ("cat", UNSURE)
    assert "bird" in now.classes


# -- several sets


@pytest.fixture
def sets(tmp_path: Path) -> LabelSets:
    collection = SimpleNamespace(folder=tmp_path, mapped_items=pa.table({"path": PATHS}), location="", stored=None)
    return LabelSets(collection)


def test_sets_are_named_apart_and_found_again(sets: LabelSets) -> None:
    assert sets.names() == ["default"]
    sets.open("weather").change("me", {1: "sun"})
    sets.open("default").change("me", {1: "cat"})
    assert sets.names() == ["default", "weather"]
    assert sets.open("weather") is sets.open("weather")
    again = LabelSets(sets.collection)
    assert again.open("weather").now.labels == {1: "sun"}
    assert again.open("default").now.labels == {1: "cat"}


def test_to_look_at_a_set_writes_nothing(sets: LabelSets, tmp_path: Path) -> None:
    sets.open("new").refresh()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 61, " x", "x\n", "a\\b", "x."])
def test_a_name_that_is_a_place_or_none_is_refused(sets: LabelSets, name: str) -> None:
    with pytest.raises(LabelError, match="cannot name"):
        sets.open(name)


def test_two_names_that_differ_in_capital_letters_only_are_refused(sets: LabelSets) -> None:
    sets.open("Weather").change("me", {1: "sun"})
    with pytest.raises(LabelError, match="Weather"):
        sets.open("weather")


def test_the_json_file_says_what_the_csv_cannot(labels: LabelSet, tmp_path: Path) -> None:
    labels.change("me", {1: "cat", 2: UNSURE})
    found = json.loads((tmp_path / "labels" / "default.json").read_text())
    assert found == {"format": 1, "classes": ["cat", "dog", "bird"], "unsure": ["2.png"]}
