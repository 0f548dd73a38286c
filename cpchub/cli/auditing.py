"""`cpchub audit`: a random sample to label, and the accuracy that it tells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

from cpchub.cli.base import CollectionFolder, Command, Out, say, write_csv
from cpchub.cli.label_files import LabelFiles, check_out_beside, labels_from
from cpchub.cli.sheets import check_sheet, draw_next
from cpchub.common.words import counted, typed
from cpchub.errors import ArgumentError, OutputError

if TYPE_CHECKING:
    from cpchub.collection.collection import Collection
    from cpchub.fewlabels.estimate import Share


@dataclass(frozen=True)
class Audit(Command):
    """Draw a random sample to label, or tell the accuracy of a classifier from its labels."""

    collection: CollectionFolder
    head: Annotated[str | None, arg(metavar="HEAD")] = None
    """the classifier, saved by `cpchub classify --save`; with it every class is in the sample by its predicted share"""
    labels: LabelFiles = ()
    """the labels of the sample, to tell the accuracy of --head: a CSV with the columns path,label; may be given
    again"""
    width: float | None = None
    """the width of the 90 % interval, which decides how many images are drawn; 0.1 by default"""
    without: Annotated[LabelFiles, arg(metavar="folders|CSV")] = ()
    """labels that the classifier has learned from; none of their images is drawn"""
    out: Annotated[Path | None, Out] = None
    """CSV to write, columns path,label, with the labels left to fill in; without it they are printed"""
    show: Annotated[Path | None, arg(metavar="PNG")] = None
    """write a contact sheet of the sample to this PNG"""
    seed: int = 0
    """another one draws another sample"""

    def run(self) -> None:
        from cpchub.collection.collection import Collection

        self.check()
        collection = Collection.open(self.collection)
        if self.labels:
            self.judge(collection)
        else:
            self.draw(collection)

    def check(self) -> None:
        """What can be said of the flags alone. Raises ArgumentError and OutputError."""
        if self.labels:
            if self.head is None:
                raise ArgumentError("the labels of a sample tell how good a classifier is; name it with --head")
            drawing = {"--width": self.width, "--out": self.out, "--show": self.show}
            extra = next((flag for flag, value in drawing.items() if value is not None), None)
            if extra is not None:
                raise ArgumentError(f"{extra} is for drawing a sample; --labels is of one that was drawn")
        if self.width is not None and not 0 < self.width < 1:
            raise ArgumentError(f"--width {self.width:g}: give the width of the interval between 0 and 1, such as 0.1")
        check_out_beside(self.out, self.without)
        if self.out is not None and self.out.exists():
            raise OutputError(f"{self.out} is there already, and may have labels; choose another name for the sample")
        check_sheet(self.show)

    def draw(self, collection: Collection) -> None:
        """Draw the sample, and say how many labels it takes and what to do with them."""
        import pyarrow as pa

        from cpchub.fewlabels.audit import UNKNOWN, WIDTH, draw_audit, head_to_audit, rows_to_audit, sample_size

        rows = rows_to_audit(collection, labels_from(self.without, collection))
        head = head_to_audit(self.head) if self.head is not None else None
        accuracy = UNKNOWN if head is None or head.estimate is None else nearest_half(head.estimate.accuracy)
        width = self.width or WIDTH
        count = sample_size(width, len(rows), accuracy)
        everything = [""] * len(collection) if head is None else head.classify(collection)["predicted"].to_pylist()
        sample = draw_audit([everything[row] for row in rows], rows, count, self.seed)
        paths = [collection.paths[row] for row in sample]
        write_csv(pa.table({"path": paths, "label": pa.array([""] * count, pa.string())}), self.out)
        say(
            f"{counted(count, 'image')} drawn at random of {len(rows):,}: so many labels tell an accuracy of about "
            f"{accuracy:.0%} within an interval {100 * width:.0f} points wide" + (f". {self.out}" if self.out else "")
        )
        if self.show is not None:
            whole = draw_next(collection, sample.tolist(), self.show)
            say(f"Contact sheet: {self.show}" + ("" if whole else ", with the first of them"))
        again = typed("audit", self.collection, "--head", self.head or "HEAD", "--labels", self.out or "CSV")
        say(f"Label all of them, by the images alone; then: {again}")

    def judge(self, collection: Collection) -> None:
        """Tell the accuracy."""
        from cpchub.fewlabels.audit import audit, head_to_audit, rows_to_audit, unknown_words

        labels = labels_from(self.labels, collection)
        images = len(rows_to_audit(collection, labels_from(self.without, collection)))
        found = audit(collection, head_to_audit(self.head or ""), labels, images)
        share = found.accuracy
        say(
            f"Accuracy: {share.value:.1%} (90 % interval {share.low:.1%} to {share.high:.1%}), from {share.right:,} "
            f"right of {counted(share.of, 'image')} drawn at random"
        )
        for name, each in found.classes.items():
            say(f"  {name}: {each.right:,} of {each.of:,} right ({each.low:.0%} to {each.high:.0%})")
        if found.unknown:
            say(unknown_words(found))


def nearest_half(share: Share) -> float:
    """The accuracy of an interval that takes most labels."""
    return min(max(0.5, share.low), share.high)
