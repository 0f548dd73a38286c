"""The command that says what to label next: `label-next`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import arg

from cpchub.cli.base import CollectionFolder, Command, Out, check_out, say, write_csv
from cpchub.cli.label_files import LabelFiles, labels_from
from cpchub.cli.lines import line
from cpchub.cli.sheets import check_sheet, draw_next
from cpchub.common.words import counted, typed
from cpchub.errors import ArgumentError, LabelError, OutputError

if TYPE_CHECKING:
    from cpchub.fewlabels.choice.next_images import NextLabels

Strategy = Literal["auto", "typical", "margin", "density", "disagreement", "errors"]


@dataclass(frozen=True)
class LabelNext(Command):
    """Print the images whose labels would help most, and why: path, reason; without labels the most typical ones."""

    collection: CollectionFolder
    n: Annotated[int, arg(aliases=["-n"])] = 20
    """how many images"""
    labels: LabelFiles = ()
    """the labels so far: a CSV with the columns path,label; or "folders" for those of class folders; may be
    given again, and the later file counts where two differ"""
    out: Annotated[Path | None, Out] = None
    """new CSV to write for these images, columns path,label, to be filled in and given to --labels"""
    show: Annotated[Path | None, arg(metavar="PNG")] = None
    """write a contact sheet of the images to this PNG"""
    strategy: Strategy = "auto"
    """auto: typical images first, then typical ones that the labels leave in doubt; typical: typical and unlike the
    labelled ones; margin: two classes equally likely; density: the same, weighted by how many images are alike;
    disagreement: two classifiers differ; errors: labels that the others contradict, to be looked at again"""
    seed: int = 0
    """of the draw of the images that are compared, where there are more than 5,000"""

    def run(self) -> None:
        from cpchub.collection.collection import Collection

        check_out(self.out)
        check_sheet(self.show)
        if self.n < 1:
            raise ArgumentError(f"-n {self.n}: give the number of images to label next, 1 or more")
        if self.out is not None and self.out.exists():
            raise OutputError(f"{self.out} exists and may hold labels; give --out another name")
        collection = Collection.open(self.collection)
        labels = labels_from(self.labels, collection)
        from cpchub.fewlabels.choice.next_images import find_next_labels

        found = find_next_labels(collection, labels, self.n, strategy=self.strategy, seed=self.seed)
        if not found.without and self.strategy != "errors":
            raise LabelError(f"all {len(collection):,} images have a label; there is none to label next")
        for path, reason in zip(found.table["path"].to_pylist(), found.table["reason"].to_pylist(), strict=True):
            print(line(path, reason))
        self.tell(found)
        if self.show is not None and found.rows:
            more = not draw_next(collection, found.rows, self.show)
            say(f"Contact sheet: {self.show}" + (", with the first of them" if more else ""))
        if self.out is not None and found.rows:
            self.write(found)

    def tell(self, found: NextLabels) -> None:
        """Say of how many images these were chosen, and why there are fewer than asked for."""
        if self.strategy == "errors":
            say(f"{counted(len(found.rows), 'label')} in doubt, the worst first; look at them again")
            return
        say(f"{counted(len(found.rows), 'image')} to label next, the most helpful first, of {found.without:,} without")
        if found.looked_at < found.without:
            say(f"Compared: {found.looked_at:,} of them, drawn by --seed {self.seed}")
        if len(found.rows) < min(self.n, found.looked_at):
            say("The others are copies of these or of labelled images, and are left out")

    def write(self, found: NextLabels) -> None:
        """Write the CSV to be filled in, and say how it is given back."""
        import pyarrow as pa

        if self.out is None:
            return
        empty = pa.nulls(len(found.rows), pa.string())
        write_csv(pa.table({"path": found.table["path"], "label": empty}), self.out)
        files = [word for each in (*self.labels, self.out) for word in ("--labels", each)]
        say(f"Fill in the column label of {self.out}, then: {typed('classify', self.collection, *files)}")
