"""The side pane of the Label tab: the classes with their counts, and how good the labels make the classifier."""

from __future__ import annotations

from html import escape

from cpchub.fewlabels.estimate import LEVEL, Estimate
from cpchub_serving.page import markup
from cpchub_serving.visit.session import Session

WIDE = 0.4  # an interval wider than this is shown in place of its middle, which would promise too much


def class_panel(session: Session) -> str:
    """The classes; the active one is what the next click gives."""
    if not session.classes:
        return markup.empty("No classes yet", "What would you sort these images into? Name two or more classes.")
    labelled, predicted = session.counts(), session.predicted_counts()
    rows = "".join(
        _class_row(number, name, labelled[name], predicted.get(name), name == session.active)
        for number, name in enumerate(session.classes)
    )
    return f'<ul class="cpc-classes">{rows}</ul>'


def _class_row(number: int, name: str, labelled: int, predicted: int | None, active: bool) -> str:
    shown = escape(name)
    rest = (
        "" if predicted is None else f'<span class="cpc-predicted" title="classified as {shown}">+{predicted:,}</span>'
    )
    return (
        f'<li class="cpc-c{number % markup.PALETTE}"><button type="button" class="cpc-class" data-act="activate" '
        f'data-arg="{shown}" aria-pressed="{"true" if active else "false"}"><i></i><b>{shown}</b>'
        f'<span title="labelled {shown}">{labelled:,}</span>{rest}</button>'
        f'<button type="button" class="cpc-remove" data-act="drop" data-arg="{shown}" '
        f'aria-label="Remove {shown}" title="Remove {shown} and its labels">×</button></li>'
    )


def estimate_card(session: Session, estimate: Estimate | None) -> str:
    """The share of labelled images that are right when held out, or what is missing to know it."""
    if session.predictions is None:
        text = "Label images of two classes to see everything else classified."
        return f'<div class="cpc-estimate cpc-waiting"><p>{text}</p></div>'
    count = len(session.labels)
    basis = f"{count} label{'s' * (count != 1)}, {session.predictions.method}"
    if estimate is None:
        text = "Label a second image of a class to estimate the accuracy."
        return f'<div class="cpc-estimate cpc-waiting"><p>{text}</p><small>{basis}</small></div>'
    share = estimate.accuracy
    found = f"{share.right} of {share.of} labelled images, each held out once"
    if share.high - share.low > WIDE:
        headline = f"{100 * share.low:.0f}–{share.high:.0%}"
        detail = f"{found}: too few to say more. Every label narrows it."
    else:
        headline = f"{share.value:.0%}"
        detail = f"{found}; {100 * LEVEL:.0f}&nbsp;% interval {share.low:.0%} to {share.high:.0%}."
    return (
        f'<div class="cpc-estimate"><div><b>{headline}</b><p>right when held out</p></div>'
        f"<small>{detail}<br>{basis}</small></div>"
    )
