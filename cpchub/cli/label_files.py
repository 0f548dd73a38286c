"""What the commands on labels share: where the labels come from, and what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import UseAppendAction, arg

from cpchub.cli.base import check_out, say
from cpchub.common.words import counted, listed, some
from cpchub.errors import OutputError

if TYPE_CHECKING:
    from cpchub.collection.collection import Collection

FOLDERS = "folders"
LabelFiles = Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="folders|CSV")]


def check_out_beside(out: Path | None, labels: Sequence[str]) -> None:
    """Raise OutputError for an output that cannot be written, or that is a file of labels."""
    check_out(out)
    if out is not None and out.resolve() in [Path(each).resolve() for each in labels]:
        raise OutputError(f"{out} is the file of the labels; give --out another name")


def labels_from(given: Sequence[str], collection: Collection, *, several: bool = False) -> dict[str, str]:
    """Labels by path: of CSV files, or of the class folders of the collection. Of several the later one counts.

    several: a label of a CSV may be `a;b`, or `;` for none of the classes. What is left aside or replaced is said.
    Raises LabelError.
    """
    labels: dict[str, str] = {}
    for each in given:
        more = _labels_of(each, collection, several)
        replaced = [path for path, label in more.items() if labels.get(path, label) != label]
        if replaced:
            first = some(replaced, len(replaced), 1)
            say(f"{counted(len(replaced), 'label')} of {each} in place of another in an earlier file: {first}")
        labels |= more
    return labels


def _labels_of(given: str, collection: Collection, several: bool) -> dict[str, str]:
    from cpchub.fewlabels.given_labels import labels_of_folders, read_label_file

    if given == FOLDERS:
        labels = labels_of_folders(collection)
        if without := len(collection) - len(labels):
            say(f"Without a label: {counted(without, 'image')} in no class folder")
        return labels
    read = read_label_file(given, several=several)
    if read.left_aside:
        say(f"{counted(len(read.by_path), 'label')} in {given}; left aside: {listed(read.left_aside)}")
    return read.by_path
