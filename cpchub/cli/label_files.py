"""What the commands on labels share: where the labels come from, and what is said of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cpchub.cli.base import check_out, say
from cpchub.common.words import counted, listed
from cpchub.errors import OutputError

if TYPE_CHECKING:
    from cpchub.collection.collection import Collection

FOLDERS = "folders"


def check_out_beside(out: Path | None, labels: str | None) -> None:
    """Raise OutputError for an output that cannot be written, or that is the file of the labels."""
    check_out(out)
    if out is not None and labels is not None and out.resolve() == Path(labels).resolve():
        raise OutputError(f"{out} is the file of the labels; give --out another name")


def labels_from(given: str | None, collection: Collection) -> dict[str, str]:
    """Labels by path: of a CSV, or of the class folders of the collection; what is left aside is said.

    Raises LabelError.
    """
    from cpchub.fewlabels.given_labels import labels_of_folders, read_label_file

    if given == FOLDERS:
        labels = labels_of_folders(collection)
        if without := len(collection) - len(labels):
            say(f"Without a label: {counted(without, 'image')} in no class folder")
        return labels
    read = read_label_file(given or "")
    if read.left_aside:
        say(f"{counted(len(read.by_path), 'label')} in {given}; left aside: {listed(read.left_aside)}")
    return read.by_path
