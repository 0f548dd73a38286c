"""Labels from a CSV that somebody brings, into a label set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cpchub.common.words import counted, some
from cpchub.errors import LabelError
from cpchub.fewlabels.given_labels import read_label_file
from cpchub.media.labels import places_of
from cpchub_serving.visit.label_set import LabelSet
from cpchub_serving.visit.session import Session, check_name


@dataclass(frozen=True)
class Imported:
    """What became of a file: labels taken over, paths that fit no image, and what was left aside, in words."""

    labels: int
    missing: tuple[str, ...]
    left_aside: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """What became of the file, in words."""
        said = f"{counted(self.labels, 'label')} imported."
        if self.missing:
            fit = "fits" if len(self.missing) == 1 else "fit"
            said += f" {counted(len(self.missing), 'path')} {fit} no image of this collection: {some(self.missing)}."
        return said + "".join(f" {each[:1].upper()}{each[1:]} left aside." for each in self.left_aside)


def import_labels(session: Session, labels: LabelSet, file: Path) -> Imported:
    """Take over the labels of a CSV with the columns path and label, as one step that `undo` takes back.

    They replace what the set said of these images. Raises LabelError for another file, naming it by its name alone, and
    where no path fits an image.
    """
    try:
        given = read_label_file(file)
    except LabelError as error:
        raise LabelError(str(error).replace(str(file), file.name)) from error
    for name in set(given.by_path.values()):
        check_name(name)
    rows = dict(zip(given.by_path, places_of(given.by_path, labels.paths, labels.location), strict=True))
    said = {row: given.by_path[path] for path, row in rows.items() if row is not None}
    missing = tuple(path for path, row in rows.items() if row is None)
    if not said:
        raise LabelError(
            f"No path of {file.name} is one of this collection: {missing[0]} against {labels.paths[0]}, for example."
        )
    session.take(labels, said)
    return Imported(len(said), missing, given.left_aside)
