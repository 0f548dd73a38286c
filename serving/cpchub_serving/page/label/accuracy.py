"""How good the labels make the classifier: the estimate, the classes mixed up, and the labels that a target takes."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from cpchub.common.words import counted
from cpchub_serving.page import markup
from cpchub_serving.page.label.growth_curve import growth_curve
from cpchub_serving.visit.label_set import Labels
from cpchub_serving.visit.learned import Judged

if TYPE_CHECKING:
    from cpchub.fewlabels.estimate import Estimate, Share
    from cpchub.fewlabels.how_many import LabelsNeeded

WIDE = 0.4  # an interval wider than this is shown in place of its middle, which would promise too much
TARGETS = (0.8, 0.9, 0.95, 0.98, 0.99)


def estimate_card(labels: Labels, judged: Judged | None) -> str:
    """The share of labelled images that are right when held out, or what is missing to know it."""
    if not labels.ready:
        return _waiting("Label images of two classes to see everything else classified.")
    if judged is None:
        return _waiting("The accuracy is being estimated…")
    basis = f"{counted(len(labels.labels), 'label')}, {judged.predictions.method}"
    if judged.estimate is None:
        return _waiting("Label a second image of a class to estimate the accuracy.", basis)
    from cpchub.fewlabels.estimate import LEVEL  # here, since scikit-learn takes a second to import

    share = judged.estimate.accuracy
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


def _waiting(text: str, basis: str = "") -> str:
    below = f"<small>{basis}</small>" if basis else ""
    return f'<div class="cpc-estimate cpc-waiting"><p>{text}</p>{below}</div>'


def needed_card(judged: Judged | None, target: float) -> str:
    """How many more labels a target takes, with the curve that says so and other targets to choose."""
    if judged is None or judged.needed is None:
        return ""
    found = judged.needed.for_target(target)
    targets = [(f"{each:g}", f"{each:.0%}") for each in TARGETS]
    menu = markup.menu("aim", targets, f"{target:g}", "Accuracy to reach")
    return (
        f'<div class="cpc-needed"><p>{escape(_sentence(found))}</p>{growth_curve(found)}'
        f"<label>Accuracy to reach {menu}</label></div>"
    )


def _sentence(found: LabelsNeeded) -> str:
    return f"{found.sentence}."


def confusion_table(estimate: Estimate | None) -> str:
    """What labelled images of each class were taken for while they were held out, and how often each class is right."""
    if estimate is None:
        return ""
    names = [escape(each.name) for each in estimate.classes]
    head = "".join(f'<th scope="col"><span>{name}</span></th>' for name in names)
    rows = []
    for at, (each, counts) in enumerate(zip(estimate.classes, estimate.confusion, strict=True)):
        cells = "".join(f'<td class="{_kind(at == to, count)}">{count or "·"}</td>' for to, count in enumerate(counts))
        shares = f"<td>{_percent(each.recall)}</td><td>{_percent(each.precision)}</td>"
        rows.append(f'<tr><th scope="row" title="{names[at]}">{names[at]}</th>{shares}{cells}</tr>')
    found, right = '<th scope="col"><span>found</span></th>', '<th scope="col"><span>right</span></th>'
    return (
        '<details class="cpc-confusion"><summary>Which classes are mixed up</summary>'
        "<p>A row is a class as labelled, a column what its images were taken for while held out. "
        "<i>Found</i>: of the class, how many are found. <i>Right</i>: of what is taken for it, how many are.</p>"
        f'<div tabindex="0" role="group" aria-label="Confusion table"><table><thead><tr><td></td>{found}{right}{head}'
        f"</tr></thead><tbody>{''.join(rows)}</tbody></table></div></details>"
    )


def _kind(same: bool, count: int) -> str:
    return "cpc-same" if same else "cpc-other" if count else ""


def _percent(share: Share | None) -> str:
    return "–" if share is None else f"{share.value:.0%}"
