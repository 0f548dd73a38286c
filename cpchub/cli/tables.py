"""Encoders in the terminal: the catalog as a table, a card as formatted text; plain lines where output is piped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markdown import Markdown
from rich.markup import escape
from rich.table import Table

from cpchub.catalog.families import measured, published
from cpchub.catalog.spec import CARD, ModelSpec
from cpchub.catalog.vocabulary import data_title, method_title
from cpchub.catalog.weights import where_the_weights_are
from cpchub.cli.lines import line
from cpchub.common.words import counted, shares, size

if TYPE_CHECKING:  # `cpchub models` waits for neither
    from cpchub.hub.release_plan import ReleasePlan
    from cpchub.hub.verify import FileCheck
    from cpchub.index.info import Info
    from cpchub_training.recipes import Recipe

COLUMNS = ("name", "status", "dim", "input", "method", "data", "kNN", "published", "licence", "weights")
FAILURES_SHOWN = 10
ONLY_PIPED = ("status", "input")  # `cpchub show` has them too


def models(specs: Sequence[ModelSpec]) -> None:
    """Print one line an encoder: every column with tabs between where output is piped, on a terminal what fits."""
    console = Console()
    if not console.is_terminal:
        for spec in specs:
            print("\t".join(_row(spec)))
        return
    if not specs:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    shown = [column for column in COLUMNS if column not in ONLY_PIPED]
    for column in shown:
        table.add_column(column, overflow="fold", no_wrap=column in ("name", "licence", "data"))
    for spec in specs:
        row = dict(zip(COLUMNS, _row(spec), strict=True)) | {"weights": where_the_weights_are(spec, host=False)}
        table.add_row(*(row[column] for column in shown))
    console.print(table)


def recipes(listed: Sequence[Recipe], word_for_data: Callable[[str], str]) -> None:
    """Print the names of recipes; on a terminal with method, network, images and epochs.

    word_for_data: from a method to the flag that names the images where the recipe names none.
    """
    console = Console()
    if not console.is_terminal:
        print("\n".join(each.name for each in listed))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("recipe", "method", "network", "images"):
        table.add_column(column, overflow="fold", no_wrap=column == "recipe")
    table.add_column("epochs", justify="right")
    for each in listed:
        images = each.data or f"yours, by --{word_for_data(each.method)}"
        table.add_row(each.name, method_title(each.method), each.backbone, images, str(each.epochs))
    console.print(table)


def info(facts: Info) -> None:
    """Print a line a fact, with a tab after its name, and a line for each image that could not be read.

    On a terminal the images that could not be read are a few.
    """
    classes = f"{len(facts.labels):,}: {shares(facts.labels)}" if facts.labels else "none"
    lines: list[tuple[str, ...]] = [
        ("images", f"{facts.images:,} of {facts.source}"),
        ("classes", classes),
        ("encoder", f"{facts.encoder}, vectors of {facts.dim:,} numbers in {facts.dtype}"),
        ("index", facts.search),
        ("disk", f"{size(sum(facts.disk.values()))}: " + ", ".join(f"{k} {size(v)}" for k, v in facts.disk.items())),
        ("failures", f"{len(facts.failures):,}"),
        *(("failure", path, reason) for path, reason in facts.failures),
    ]
    console = Console()
    if not console.is_terminal:
        for columns in lines:
            print(line(*columns))
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    fixed = len(lines) - len(facts.failures)
    for name, *values in lines[: fixed + FAILURES_SHOWN]:
        table.add_row(name, escape(": ".join(values)))
    console.print(table)
    if len(facts.failures) > FAILURES_SHOWN:
        print(f"and {len(facts.failures) - FAILURES_SHOWN:,} more, in its failures.parquet")


def plan(planned: ReleasePlan) -> None:
    """Print what publishing would do: a line about the repository, then one a file."""
    print(f"{planned.repo_id}: {'would be made' if planned.parent is None else f'on top of {planned.parent}'}")
    for name, change in planned.changes.items():
        record = planned.files.get(name)
        size = f"{record.size:,} bytes" if record is not None and record.size is not None else ""
        print(f"{change}\t{name}\t{size}".rstrip())


def checks(found: Sequence[FileCheck]) -> None:
    """Print a line a file: how it is, whose it is, and what is wrong with it."""
    for each in found:
        print(f"{each.state}\t{each.encoder}\t{each.path.name}\t{each.detail}".rstrip())


def sound(found: Sequence[FileCheck]) -> Iterator[str]:
    """What the checks of encoders without damage mean: nothing is wrong, and what a file without a record is."""
    fine = sum(check.state == "fine" for check in found)
    encoders = list(dict.fromkeys(check.encoder for check in found))
    whose = f"{encoders[0]} is" if len(encoders) == 1 else f"{len(encoders)} encoders are"
    if fine:
        yield f"All is well: {whose} as recorded ({counted(fine, 'file')} with a recorded hash)."
    else:
        yield "Nothing could be checked: no file has a recorded hash."
    without = sorted({check.path.name for check in found if check.state == "not on record"})
    if without:
        yield f"{', '.join(without)}: no hash is recorded before an encoder is published, so there is none to check."


def detection(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a line a way of using the encoder: its average precisions in per cent, mean and spread over the seeds."""
    metrics = [name for name in rows[0] if f"{name}_std" in rows[0]]
    print("\t".join(("encoder", "mode", *metrics)))
    for row in rows:
        spreads = ["" if row[f"{name}_std"] is None else f" ± {100 * row[f'{name}_std']:.1f}" for name in metrics]
        values = [f"{100 * row[name]:.1f}{spread}" for name, spread in zip(metrics, spreads, strict=True)]
        print("\t".join((row["encoder"], row["mode"], *values)))


def card(spec: ModelSpec) -> None:
    """Print the card of an encoder; one that has none yet is told in a few lines."""
    text = _card_text(spec) or _facts(spec)
    console = Console()
    if console.is_terminal:
        console.print(Markdown(text))
    else:
        print(text)


def _card_text(spec: ModelSpec) -> str | None:
    path = spec.folder / CARD if spec.folder else None
    if path is None or not path.is_file():
        return None
    from cpchub.hub.card import shown

    return shown(path.read_text(encoding="utf-8"))


def _facts(spec: ModelSpec) -> str:
    facts = [f"- {column}: {value}" for column, value in zip(COLUMNS, _row(spec), strict=True) if value]
    return "\n".join([f"# {spec.name}", "", spec.summary, "", *facts])


def _row(spec: ModelSpec) -> tuple[str, ...]:
    height, width = spec.input_size[1:]
    labels, accuracy = measured(spec)
    knn = f"{accuracy:.1%}" if labels else ""
    return (
        spec.name,
        spec.status,
        str(spec.dim),
        f"{height}x{width}",
        method_title(spec.method),
        data_title(spec.data),
        knn,
        f"{figure:.1%}" if (figure := published(spec)) is not None else "",
        spec.license.lower(),
        where_the_weights_are(spec),
    )
