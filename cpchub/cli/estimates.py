"""How an estimated accuracy is told in the terminal: a sentence, a line a class, and what was taken for what."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from cpchub.cli.base import say
from cpchub.common.progress import remarks
from cpchub.common.words import counted, some

if TYPE_CHECKING:
    import pyarrow as pa

    from cpchub.fewlabels.estimate import Estimate, Share
    from cpchub.fewlabels.how_many import LabelsNeeded
    from cpchub.fewlabels.multi_label import MultiLabelEstimate

SHOWN = 12  # classes of a table; of more, the pairs that are confused most


def tell_estimate(estimate: Estimate | None) -> None:
    """Say the estimated accuracy and how far it can be trusted; or that there is none, and why."""
    if estimate is None:
        say("Accuracy: not known, since no class has two labels. Label a second image of a class")
        return
    share = estimate.accuracy
    say(
        f"Accuracy: about {share.value:.0%} (90 % interval {share.low:.0%} to {share.high:.0%}); {share.right:,} of "
        f"{counted(share.of, 'label')} right when held out"
    )
    say(
        "That holds if the labelled images are like the others. Images clicked because they are unsure are no random "
        "sample: `cpchub audit` draws one, for an accuracy that does not depend on the choice"
    )
    if estimate.alone:
        say(f"Not tested, since they have one label each: {some(estimate.alone)}")


def tell_labels_needed(found: LabelsNeeded | None, plot: Path | None) -> None:
    """Say how many more labels a target takes, and draw the growth of the accuracy where that is asked for."""
    if found is None:
        return
    say(found.sentence)
    if plot is not None:
        from cpchub.fewlabels.growth_plot import plot_labels_needed

        say(f"Growth of the accuracy: {plot_labels_needed(found, plot)}")


def tell_none_of_these(table: pa.Table, level: float) -> None:
    """Say how many images are of no class, and about how many resemble none among those without a label."""
    import pyarrow.compute as pc

    from cpchub.fewlabels.none_of_these import NONE, share_of_none

    none = pc.sum(pc.equal(table["predicted"], NONE)).as_py()
    say(
        f"None of these: {none:,} of {counted(table.num_rows, 'image')}. About {level:.0%} of the images of the "
        "labelled classes are among them, if the labelled images are like the others of their classes"
    )
    rest = table["typical"] if "label" not in table.column_names else table["typical"].filter(table["label"].is_null())
    if len(rest):
        share = share_of_none(rest.to_numpy(), level)
        say(f"Of the images without a label, about {share:.0%} or more are of no labelled class")


def show_estimate(estimate: Estimate) -> None:
    """Print recall and precision of each class and the confusion table, beside the results.

    Of many classes these are the ones that are found least, and the pairs that are confused most.
    """
    console = remarks()
    few = len(estimate.classes) <= SHOWN
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    table.add_column("class", overflow="fold")
    for column in ("labels", "recall", "precision", *(map(str, range(1, len(estimate.classes) + 1)) if few else ())):
        table.add_column(column, justify="right")
    numbered = list(enumerate(estimate.classes))
    if not few:
        say(f"The {SHOWN} of {len(numbered):,} classes that are found least:")
        numbered = sorted(numbered, key=lambda each: each[1].recall.value if each[1].recall else 1.0)[:SHOWN]
    for at, each in numbered:
        taken = [f"{cell:,}" if cell else "." for cell in estimate.confusion[at]] if few else []
        shares = (_share(each.recall), _share(each.precision))
        table.add_row(str(at + 1), escape(each.name), f"{each.labels:,}", *shares, *taken)
    console.print(table, highlight=False)
    if few:
        say("The columns with numbers: as which class the held-out labels of a line were predicted")
    else:
        _most_confused([each.name for each in estimate.classes], estimate)


def show_classes(estimate: MultiLabelEstimate) -> None:
    """Say how well several classes of an image are told, and print recall and precision of each class."""
    if estimate.macro_f1 is None:
        say("How good it is, is not known, since no class has two labels. Label a second image of a class")
        return
    say(
        f"Macro F1: about {estimate.macro_f1:.2f}, the mean of the classes' harmonic means of recall and precision on "
        "held-out labels"
    )
    console = remarks()
    table = Table("class", box=None, pad_edge=False, header_style="bold")
    for column in ("labels", "recall", "precision"):
        table.add_column(column, justify="right")
    shown = sorted(estimate.classes, key=lambda each: each.recall.value if each.recall else 1.0)
    if len(shown) > SHOWN:
        say(f"The {SHOWN} of {len(shown):,} classes that are found least:")
    else:
        shown = list(estimate.classes)
    for each in shown[:SHOWN]:
        table.add_row(escape(each.name), f"{each.labels:,}", _share(each.recall), _share(each.precision))
    console.print(table, highlight=False)
    if estimate.alone:
        say(f"Not tested, since they have one label each: {some(estimate.alone)}")


def _share(share: Share | None) -> str:
    return "-" if share is None else f"{share.value:.0%} ({100 * share.low:.0f}-{share.high:.0%})"


def _most_confused(names: list[str], estimate: Estimate) -> None:
    pairs = [
        (cell, names[given], names[taken])
        for given, row in enumerate(estimate.confusion)
        for taken, cell in enumerate(row)
        if cell and given != taken
    ]
    largest = sorted(pairs, key=lambda pair: -pair[0])[:SHOWN]
    if largest:
        say("Most confused: " + ", ".join(f"{given} taken for {taken} {cell:,}" for cell, given, taken in largest))
