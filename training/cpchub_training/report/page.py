"""The page: headline numbers, curves and figures of one or more encoders, with everything inside one HTML file."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from cpchub.common.files import replacing, writing
from cpchub.common.progress import Report
from cpchub.fewlabels.labels_saved import Saved
from cpchub.media.rules import NO_RULES, Rules
from cpchub_training.data.left_out import NAMED
from cpchub_training.evaluate.datasets import open_labelled
from cpchub_training.evaluate.in_words import in_words
from cpchub_training.evaluate.job import WAYS
from cpchub_training.evaluate.naming import file_names, home_of
from cpchub_training.report import figures
from cpchub_training.report.subject import Row, Subject, subjects_of

PAGE = "report.html"
HEADLINES = ("linear_probe", "knn_k200")


def report(
    names: Sequence[str],
    data_name: str,
    *,
    out: Path | None = None,
    cache: Path | None = None,
    rules: Rules = NO_RULES,
) -> Path:
    """Write `report.html` and its PNG files into `out` and return the page's path.

    Raises SourceError for an encoder that has not been measured on the data as it is now.
    """
    data = open_labelled(data_name, rules, cache)
    subjects = subjects_of(names, data, cache)
    folder = out or home_of(subjects[0].encoder.spec, names[0]) / "report"
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    curve = figures.label_efficiency(subjects, folder / "label_efficiency.png")
    drawn = []
    with Report("Drawing", len(subjects), unit="encoder", rate=False, left=False) as report:
        for subject, prefix in zip(subjects, file_names([subject.name for subject in subjects]), strict=True):
            report.note = subject.name
            drawn.append(figures.draw(subject, folder, prefix))
            report.advance()
    with replacing(folder / PAGE) as partial:
        partial.write_text(page(subjects, curve, drawn), encoding="utf-8")
    return folder / PAGE


def page(subjects: Sequence[Subject], curve: Path | None, drawn: Sequence[Mapping[str, Path | None]]) -> str:
    """The whole HTML."""
    title = " and ".join(subject.name for subject in subjects)
    parts = [_header(subjects, title)]
    if len(subjects) == 1:
        parts.append(_numbers(subjects[0]))
    else:
        parts.append(_comparison(subjects))
    if curve is not None:
        parts.append(_label_efficiency(subjects, curve))
    for subject, files in zip(subjects, drawn, strict=True):
        parts.append(_encoder(subject, files, alone=len(subjects) == 1))
    parts.append(_footer(subjects))
    css = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{css}</style></head><body><main>{''.join(parts)}</main></body></html>\n"
    )


def _header(subjects: Sequence[Subject], title: str) -> str:
    data = subjects[0].data
    if len(subjects) == 1:
        spec = subjects[0].encoder.spec
        lead = spec.summary or f"{spec.architecture}, {spec.dim} numbers an image."
    else:
        lead = f"{len(subjects)} encoders measured by the same protocols."
    lead += f" Measured on {len(data.test):,} test images of {data.name}, {len(data.classes)} classes."
    return f'<div class="brand">cpchub evaluation</div><h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p>'


def _numbers(subject: Subject) -> str:
    """The few numbers that a reader wants first."""
    cards: list[tuple[str, str, str]] = []
    for config in HEADLINES:
        if row := subject.value(config):
            what = "linear probe, all labels" if config == "linear_probe" else in_words(config, row["labels"])
            cards.append(("", _percent(row), what))
    by_way = subject.by_way
    if frozen := by_way.get("linear"):
        fewest = frozen[0]
        cards.append(("", _percent(fewest), f"frozen encoder, {fewest['labels']:,} labels"))
        rival = next((row for row in by_way.get("scratch", []) if row["labels"] == fewest["labels"]), None)
        if rival is not None:
            gap = 100 * (fewest["value"] - rival["value"])
            what = f"over training from scratch on the same {fewest['labels']:,} labels"
            cards.append(("main", f"{gap:+.1f} <small>points</small>", what))
        saved = [row for row in subject.saved if row["way"] == "linear"]
        if saved and saved[0]["labels"] == fewest["labels"]:
            cards.append(("main", _saved(saved[0]), f"labels saved at {fewest['labels']:,} labels"))
    made = "".join(f'<div class="number {kind}"><b>{value}</b><span>{what}</span></div>' for kind, value, what in cards)
    return f'<div class="numbers">{made}</div>'


def _comparison(subjects: Sequence[Subject]) -> str:
    configs = list(dict.fromkeys(row["config"] for subject in subjects for row in subject.rows))
    head = "".join(f'<th class="n">{escape(subject.name)}</th>' for subject in subjects)
    lines = []
    for config in configs:
        rows = [subject.value(config) for subject in subjects]
        best = max(row["value"] for row in rows if row)
        labels = next(row["labels"] for row in rows if row)
        cells = []
        for row in rows:
            text = _percent(row) if row else ""
            cells.append(f'<td class="n">{f"<b>{text}</b>" if row and row["value"] == best else text}</td>')
        words = escape(in_words(config, labels))
        lines.append(f'<tr><td>{words}</td><td class="n">{labels:,}</td>{"".join(cells)}</tr>')
    table = f'<table><tr><th>measurement</th><th class="n">labels</th>{head}</tr>{"".join(lines)}</table>'
    return f'<section><h2>Side by side</h2><div class="scroll">{table}</div></section>'


def _label_efficiency(subjects: Sequence[Subject], curve: Path) -> str:
    seeds = max(len(row["seeds"]) for subject in subjects for row in [*subject.rows, *subject.rivals])
    text = (
        f"Test accuracy against the number of labelled images, mean of {seeds} draws of the labels, "
        "with one standard deviation."
    )
    table = ""
    if any(subject.rivals for subject in subjects):
        text += " Labels saved says how many times more labels the same network needs when it is trained from scratch."
        table = "".join(_saved_table(subject) for subject in subjects)
    return f"<section><h2>What labels buy</h2><p>{text}</p>{_image(curve, half=True)}{table}</section>"


def _saved_table(subject: Subject) -> str:
    by_way = subject.by_way
    scratch = {row["labels"]: row for row in by_way.get("scratch", [])}
    saved = {(row["way"], row["labels"]): row for row in subject.saved}
    lines = []
    for way, rows in by_way.items():
        if way == "scratch":
            continue
        for row in rows:
            beside, factor = scratch.get(row["labels"]), saved.get((way, row["labels"]))
            lines.append(
                f'<tr><td>{escape(WAYS.get(way, way))}</td><td class="n">{row["labels"]:,}</td>'
                f'<td class="n">{_percent(row)}</td><td class="n">{_percent(beside) if beside else ""}</td>'
                f'<td class="n">{_saved(factor) if factor else ""}</td></tr>'
            )
    head = (
        '<tr><th>way</th><th class="n">labels</th><th class="n">accuracy</th><th class="n">from scratch</th>'
        '<th class="n">labels saved</th></tr>'
    )
    return f'<h3>{escape(subject.name)}</h3><div class="scroll"><table>{head}{"".join(lines)}</table></div>'


def _encoder(subject: Subject, files: Mapping[str, Path | None], alone: bool) -> str:
    heading = "h2" if alone else "h3"
    shown = [
        ("confusion", "What is taken for what", "Linear probe on all labels, test images; each row sums to 100 %."),
        (
            "neighbours",
            "Nearest neighbours",
            "A test image (framed) and the training images nearest to it. A class in brackets is another one.",
        ),
        (
            "before",
            "The same before training",
            "The same test images, and those nearest to them for this network with new weights, among "
            f"{figures.BEFORE:,} training images: what it was before it had learned anything.",
        ),
        (
            "map",
            "Map of the features",
            "Test images by t-SNE, coloured by class. Only who is near whom means something, not how far.",
        ),
        (
            "training",
            "Training",
            "The run that made the encoder. kNN is on training images: it says the run is alive.",
        ),
    ]
    parts = [] if alone else [f"<section><h2>{escape(subject.name)}</h2></section>"]
    for key, title, text in shown:
        path = files[key]
        if path is not None:
            image = _image(path, half=key in ("confusion", "map"))
            parts.append(f"<section><{heading}>{title}</{heading}><p>{text}</p>{image}</section>")
    return "".join([*parts, _measurements(subject, heading)])


def _measurements(subject: Subject, heading: str) -> str:
    lines = []
    for rows, kind in ((subject.rows, ""), (subject.rivals, "rival")):
        lines += [
            f'<tr class="{kind}"><td>{escape(in_words(row["config"], row["labels"]))}</td>'
            f'<td class="n">{row["labels"]:,}</td><td class="n">{_percent(row)}</td>'
            f'<td class="how">{escape(row["protocol"])}</td></tr>'
            for row in rows
        ]
    head = '<tr><th>measurement</th><th class="n">labels</th><th class="n">accuracy</th><th>protocol</th></tr>'
    note = " Shaded: training from scratch, which is not the encoder." if subject.rivals else ""
    return (
        f"<section><{heading}>All measurements</{heading}><p>As in <code>eval.json</code>; choices were made on "
        f'training images alone.{note}</p><div class="scroll"><table>{head}{"".join(lines)}</table></div></section>'
    )


def _footer(subjects: Sequence[Subject]) -> str:
    facts = subjects[0].evaluation
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    data = subjects[0].data.facts
    weights = "; ".join(f"{s.name} <code>{escape(str(s.evaluation['weights_sha256']))}</code>" for s in subjects)
    return (
        f"<footer><p>Measured {escape(str(facts['created']))} with {escape(versions)}. "
        f"Data {escape(str(data['name']))}: training <code>{data['train_digest']}</code>, "
        f"test <code>{data['test_digest']}</code>.{_left_out(subjects[0])} Weights: {weights}.</p></footer>"
    )


def _left_out(subject: Subject) -> str:
    """How many images cannot be read, and which, as far as a line holds them."""
    paths = [f"<code>{escape(path)}</code>" for path, _ in subject.data.left_out]
    if not paths:
        return ""
    more = "" if len(paths) <= NAMED else f" and {len(paths) - NAMED:,} more"
    return f" {len(paths):,} left out that cannot be read: {', '.join(paths[:NAMED])}{more}."


def _saved(row: Row) -> str:
    """Labels saved as people write it: 12x, ≥ 10x."""
    saved = str(Saved(row["labels"], row["accuracy"], row["factor"], row["bound"]))
    return saved.replace(">=", "≥").replace("<=", "≤")


def _percent(row: Row) -> str:
    spread = f" <small>± {100 * row['std']:.1f}</small>" if row.get("std") is not None else ""
    return f"{100 * row['value']:.1f}{spread} %"


def _image(path: Path, half: bool = False) -> str:
    encoded = base64.b64encode(path.read_bytes()).decode()
    kind: Any = ' class="half"' if half else ""
    return f'<figure{kind}><img alt="{escape(path.stem)}" src="data:image/png;base64,{encoded}"></figure>'
