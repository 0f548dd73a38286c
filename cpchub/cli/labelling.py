"""Commands that learn from a few labels: `classify`, `label-errors`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import arg

from cpchub.cli.base import CollectionFolder, Command, Out, Switch, say, write_csv
from cpchub.cli.estimates import (
    show_classes,
    show_estimate,
    tell_estimate,
    tell_labels_needed,
    tell_none_of_these,
)
from cpchub.cli.label_files import LabelFiles, check_out_beside, labels_from
from cpchub.cli.sheets import MOST_ROWS, check_sheet, draw_label_errors
from cpchub.common.files import check_free
from cpchub.common.words import counted, shares, some, typed
from cpchub.errors import ArgumentError

if TYPE_CHECKING:
    import pyarrow as pa

    from cpchub.collection.collection import Collection
    from cpchub.fewlabels.estimate import Estimate
    from cpchub.fewlabels.heads.head import Head
    from cpchub.fewlabels.how_many import LabelsNeeded

FOR_ONE_CLASS = ("--none-of-these", "--use-unlabelled", "--copy-to", "--target", "--plot")
Method = Literal["auto", "logistic", "ridge", "shrunk-means", "means", "knn"]


@dataclass(frozen=True)
class Classify(Command):
    """Classify the images of a collection from a few labels, or by a classifier that was saved."""

    collection: CollectionFolder
    labels: LabelFiles = ()
    """the labels of a few images of each class: a CSV with the columns path,label; paths as in the collection; or
    "folders" for those of class folders; may be given again"""
    out: Annotated[Path | None, Out] = None
    """CSV to write, columns path,predicted,confidence,label, and typical with --none-of-these; without it they are
    printed"""
    method: Method | None = None
    """the classifier; by default the one that predicts held-out labels best"""
    none_of_these: Annotated[float | None, arg(metavar="SHARE")] = None
    """answer "none of these" for images that resemble no labelled class; SHARE of those that do are answered so too:
    0.05 is one in twenty"""
    multi_label: Switch = False
    """an image may be of several classes, its label is `a;b` then, or of none, which is `;`; CSV columns
    path,predicted, p_CLASS for each class with its probability, and label"""
    use_unlabelled: Switch = False
    """spread the labels over the graph of nearest neighbours to the images without one, if that gains on held-out
    labels"""
    target: float | None = None
    """the accuracy for which to say how many more labels it takes; 0.95 by default"""
    plot: Annotated[Path | None, arg(metavar="PNG")] = None
    """draw the growth of the accuracy with the labels, up to the target, to this PNG"""
    save: Annotated[Path | None, arg(metavar="HEAD")] = None
    """folder to save the classifier in, for --head and `cpchub.load_classifier`"""
    head: Annotated[str | None, arg(metavar="HEAD")] = None
    """a classifier in place of --labels: the folder that --save wrote, or the org/name it was published as"""
    copy_to: Annotated[Path | None, arg(metavar="FOLDER")] = None
    """new folder to sort the images into, a folder a class: hard links, or copies where the disk cannot link"""

    def run(self) -> None:
        from cpchub.collection.collection import Collection

        self.check()
        collection = Collection.open(self.collection)
        from cpchub.fewlabels.classify import classify
        from cpchub.fewlabels.given_labels import classes_of
        from cpchub.fewlabels.heads.head import check_head_folder, load_classifier

        if self.save is not None:
            check_head_folder(self.save)
        if self.head is not None:
            head = load_classifier(self.head)
            if head.several is not None and self.copy_to is not None:
                raise ArgumentError(f"--copy-to sorts by one class an image, and {self.head} tells several")
            table = classify(collection, {}, head=head)
        else:
            table, head, estimate = self.learned(collection)
        write_csv(table, self.out)
        if self.out is not None:
            predicted = table["predicted"].to_pylist()
            if head.several is not None:
                predicted = [name for label in predicted for name in classes_of(label) or ["no class"]]
            say(f"{counted(table.num_rows, 'prediction')}: {self.out} ({shares(Counter(predicted))})")
        if head.none_of_these is not None:
            tell_none_of_these(table, head.none_of_these.level)
        if self.head is None and head.several is not None:
            show_classes(head.several)
        elif self.head is None:
            tell_estimate(estimate)
            if estimate is not None:
                if head.none_of_these is not None:
                    say("It is the accuracy on images of the labelled classes; those of others are not counted")
                show_estimate(estimate)
            tell_labels_needed(self.needed(collection, table, head), self.plot)
        if self.save is not None:
            again = typed("classify", "COLLECTION", "--head", head.save(self.save))
            say(f"Classifier: {self.save}. It is for vectors of {head.encoder['name']}: {again}")
            if self.use_unlabelled:
                say("It is that of the labels alone: the neighbours of the images belong to this collection")
        if self.copy_to is not None:
            sort_by(table, collection, self.copy_to)

    def learned(self, collection: Collection) -> tuple[pa.Table, Head, Estimate | None]:
        """The predictions from the labels, the classifier, and the estimated accuracy of the predictions."""
        from cpchub.fewlabels.auto import AutoClassifier
        from cpchub.fewlabels.classify import classify_and_estimate, classify_multi_label, classify_with_unlabelled

        labels = labels_from(self.labels, collection, several=self.multi_label)
        method = self.method or ("logistic" if self.multi_label else "auto")
        how = (labels, method, self.none_of_these)
        estimate = None
        if self.multi_label:
            table, head = classify_multi_label(collection, labels, method)
        elif self.use_unlabelled:
            table, head, gain = classify_with_unlabelled(collection, *how)
            estimate = gain.estimate
            say(gain.sentence())
        else:
            table, head = classify_and_estimate(collection, *how)
            estimate = head.estimate
        if isinstance(head.classifier, AutoClassifier):
            say(f"Method: {head.classifier.why_}")
        if not table["label"].null_count:
            say("Every image has a label already; the predictions show where the classifier sees it otherwise")
        return table, head, estimate

    def needed(self, collection: Collection, table: pa.Table, head: Head) -> LabelsNeeded | None:
        """How many more labels the target takes."""
        from cpchub.fewlabels.classify import labels_needed
        from cpchub.fewlabels.target import TARGET

        given = table.filter(table["label"].is_valid())
        labels = dict(zip(given["path"].to_pylist(), given["label"].to_pylist(), strict=True))
        return labels_needed(collection, labels, head, table, self.target or TARGET)

    def check(self) -> None:
        """What can be said of the flags alone. Raises ArgumentError and OutputError."""
        if bool(self.labels) == (self.head is not None):
            both = "gives both" if self.head is not None else "gives neither"
            raise ArgumentError(f"classify takes --labels CSV, or --head with a saved classifier; this {both}")
        learning = {"--save": self.save, "--method": self.method, "--none-of-these": self.none_of_these}
        learning |= {"--use-unlabelled": self.use_unlabelled or None, "--multi-label": self.multi_label or None}
        learning |= {"--target": self.target, "--plot": self.plot}
        given = [flag for flag, value in learning.items() if value is not None]
        if self.head is not None and given:
            raise ArgumentError(
                f"{given[0]} goes with --labels; what --head names is a classifier that is learned already"
            )
        copying = ["--copy-to"] if self.copy_to is not None else []
        for_one_class = [flag for flag in [*given, *copying] if flag in FOR_ONE_CLASS]
        if self.multi_label and for_one_class:
            raise ArgumentError(
                f"{for_one_class[0]} is for one class an image, and --multi-label tells several, or none"
            )
        check_out_beside(self.out, self.labels)
        check_sheet(self.plot, "--plot")
        if self.target is not None and not 0 < self.target < 1:
            raise ArgumentError(f"--target {self.target:g}: give an accuracy between 0 and 1, such as 0.95")
        if self.copy_to is not None:
            check_free(self.copy_to, way_out="choose a new folder for the sorted images")


@dataclass(frozen=True)
class LabelErrors(Command):
    """List the labels that the other labels contradict, the worst first; nothing is changed."""

    collection: CollectionFolder
    labels: LabelFiles = ()
    """the labels: a CSV with the columns path,label; paths as in the collection; or "folders" for class folders; may be
    given again"""
    out: Annotated[Path | None, Out] = None
    """CSV to write, columns path,label,suggested,probability; without it they are printed"""
    show: Annotated[Path | None, arg(metavar="PNG")] = None
    """write a contact sheet to this PNG: each of the worst beside the labelled images that are nearest to it"""

    def run(self) -> None:
        from cpchub.collection.collection import Collection

        if not self.labels:
            raise ArgumentError("label-errors looks through labels; name a CSV of them, or folders, with --labels")
        check_out_beside(self.out, self.labels)
        check_sheet(self.show)
        collection = Collection.open(self.collection)
        labels = labels_from(self.labels, collection)
        from cpchub.fewlabels.label_errors import find_label_errors

        found = find_label_errors(collection, labels, shown=0 if self.show is None else MOST_ROWS)
        write_csv(found.table, self.out)
        doubted = counted(found.table.num_rows, "label")
        say(f"{doubted} of {found.tested:,} in doubt, the worst first" + (f": {self.out}" if self.out else ""))
        if found.alone:
            say(f"Not tested, since they have one label each: {some(found.alone)}")
        if self.show is not None and found.near:
            draw_label_errors(collection, found, self.show)
            more = found.table.num_rows > len(found.near)
            say(f"Contact sheet: {self.show}" + (f", with the worst {len(found.near):,}" if more else ""))


def sort_by(table: pa.Table, collection: Collection, folder: Path) -> None:
    """Sort the images by their labels, where they have one, and else by what was predicted; say what was done."""
    import pyarrow.compute as pc

    from cpchub.fewlabels.sorted_folder import sort_images

    done = sort_images(collection, pc.coalesce(table["label"], table["predicted"]).to_pylist(), folder)
    images = counted(sum(done.classes.values()), "image")
    say(f"Sorted: {images} in {folder}, {done.linked:,} of them as hard links ({shares(done.classes)})")
    if done.left_out:
        path, why = next(iter(done.left_out.items()))
        say(f"{counted(len(done.left_out), 'image')} could not be had and are left out; one is {path} ({why})")
