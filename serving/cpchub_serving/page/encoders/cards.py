"""The list of encoders and their cards, as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from cpchub.catalog.vocabulary import data_title
from cpchub.hub.card_sections import task_title
from cpchub.hub.card_tables import count
from cpchub_serving.page import markup
from cpchub_serving.page.encoders.curve import curve_of, svg
from cpchub_serving.visit.encoder_facts import Known
from cpchub_serving.visit.trial import Trial


def encoder_list(found: Sequence[Known], chosen: Sequence[str], own: str) -> str:
    """The encoders in two groups: those on this machine, and the others."""
    if not found:
        return markup.empty("No such encoder", "Fewer words find more. A Hub id or a model folder is not in this list.")
    groups = {
        "On this machine": [each for each in found if each.here],
        "To be fetched": [each for each in found if not each.here and each.spec.status != "recipe"],
        "Recipes without weights": [each for each in found if not each.here and each.spec.status == "recipe"],
    }
    listed = "".join(
        f'<h3 class="cpc-group">{title}</h3><ul class="cpc-encoders">'
        + "".join(_entry(each, each.name in chosen, each.name == own) for each in members)
        + "</ul>"
        for title, members in groups.items()
        if members
    )
    return f'<div class="cpc-catalog">{listed}</div>'


def _entry(known: Known, on: bool, own: bool) -> str:
    name = escape(known.name)
    mark = '<span class="cpc-own">this collection</span>' if own else ""
    below = " · ".join(part for part in (known.accuracy, f"{known.spec.dim:,} numbers") if part)
    return (
        f'<li><button type="button" class="cpc-encoder" data-act="card" data-arg="{name}" '
        f'aria-pressed="{"true" if on else "false"}"><b>{name}</b>{mark}<small>{escape(below)}</small></button></li>'
    )


def cards(chosen: Sequence[Known], own: str, sample: int) -> str:
    """The cards of the chosen encoders side by side. sample: the number of images that a trial embeds."""
    if not chosen:
        return markup.empty("No card is open", "Choose up to three encoders in the list to compare them.")
    return f'<div class="cpc-cards">{"".join(_card(each, own, sample) for each in chosen)}</div>'


def _card(known: Known, own: str, sample: int) -> str:
    name = escape(known.name)
    curve = curve_of(known.evaluation)
    if known.name == own:
        action = markup.note("This encoder embedded the collection.")
    elif known.can_be_tried:
        action = markup.button(f"Try on {sample:,} images", "try", known.name)
    else:
        action = markup.note("It has no weights yet: `cpchub train` makes them.")
    return (
        f'<article class="cpc-card" aria-label="{name}"><header><h3>{name}</h3>'
        f'<button type="button" class="cpc-remove" data-act="card" data-arg="{name}" '
        f'aria-label="Close {name}">×</button>'
        f"</header><p>{escape(known.spec.summary)}</p>{_facts(known)}"
        + (
            f"<h4>Accuracy with few labels, {escape(data_title(curve.data))}</h4>{svg(curve, known.name)}"
            if curve
            else ""
        )
        + (LEGEND if curve and curve.scratch else "")
        + _results(known)
        + f"{action}</article>"
    )


LEGEND = (
    '<p class="cpc-legend"><span class="cpc-frozen">frozen encoder</span>'
    '<span class="cpc-scratch">trained from scratch</span></p>'
)


def _facts(known: Known) -> str:
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in known.facts())
    return f"<dl>{rows}</dl>"


def _results(known: Known) -> str:
    """The best figure of each task; the curve has those of few labels."""
    best: dict[tuple[str, str], Mapping[str, Any]] = {}
    for row in known.evaluation.get("results", []):
        task = (row["dataset"], row["task"])
        if row["metric"] == "accuracy" and row["task"] != "low-label":
            best[task] = max(best.get(task, row), row, key=lambda each: float(each["value"]))
    if not best:
        return ""
    rows = "".join(
        f'<tr title="{escape(row["protocol"])}"><th scope=row>{escape(task_title(row))}, '
        f"{escape(data_title(row['dataset']))}</th><td>{escape(count(row.get('labels')))}</td>"
        f"<td>{row['value']:.1%}</td></tr>"
        for row in best.values()
    )
    return (
        '<table class="cpc-results"><thead><tr><th scope=col>Measured</th><th scope=col>Labels</th>'
        f"<th scope=col>Accuracy</th></tr></thead><tbody>{rows}</tbody></table>"
    )


def progress(trial: Trial) -> str:
    """How far a trial is, and a way to see that it goes on."""
    bar = (
        f'<progress max="1" value="{trial.job.progress.share:.3f}" aria-label="{escape(trial.in_words())}"></progress>'
    )
    said = f"<p>{escape(trial.in_words())}</p>"
    return f'<div class="cpc-progress" aria-live="polite">{said}{bar if trial.running else ""}</div>'


def verdict(agreement: tuple[float, float] | None, today: str, tried: str, count: int) -> str:
    """What the labels of the collection say of both encoders, in a sentence."""
    if agreement is None:
        return "The collection has no labels to judge by: look at what each finds."
    ours, theirs = agreement
    return (
        f"By a vote of the five nearest, {ours:.0%} of {count:,} images get their own label with {today}, "
        f"{theirs:.0%} with {tried}."
    )
