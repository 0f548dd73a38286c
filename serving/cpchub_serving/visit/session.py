"""One visitor's work on a label set: the active class, the queue and the page, and the steps to undo and redo.

Nothing here knows of the page. What all visitors share (labels, predictions) is not kept in a session, so one more
visitor costs little memory. `labels` is always the set that `set_name` names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cpchub.errors import LabelError
from cpchub.fewlabels.given_labels import SEVERAL
from cpchub.fewlabels.target import TARGET, check_target
from cpchub_serving.visit.label_set import Labels, LabelSet, Step
from cpchub_serving.visit.label_sets import FIRST
from cpchub_serving.visit.queues import MIXED, Queue

MAX_CLASSES = 200
MAX_NAME = 40
UNDO_DEPTH = 200


@dataclass(eq=False)
class Session:
    """A visitor who has the set `set_name` open. visitor: an id, which tells whose a label is."""

    visitor: str
    set_name: str = FIRST
    active: str | None = None
    queue: str = MIXED
    page: int = 0
    least: float = 0.0  # predictions that are less sure are left unsaid
    target: float = TARGET
    heard: int = 0  # number of the last message of the browser that was answered
    seen: tuple[str, int] = ("", 0)  # the set and its version that the browser shows
    queued: NDArray[np.int64] | None = None  # None: the mixed order of all images, which visitors share
    doubts: dict[int, tuple[str, str]] = field(default_factory=dict)  # of labels that are likely wrong
    _done: list[Step] = field(default_factory=list)
    _undone: list[Step] = field(default_factory=list)

    # -- classes ------------------------------------------------------------------------------------------------

    def add_classes(self, labels: LabelSet, text: str) -> list[str]:
        """Add the comma-separated names in `text`; the last becomes active. A name that is there is only activated.

        Raises LabelError for no name, one that cannot be a class, or more than 200 classes.
        """
        names = [name for part in text.split(",") if (name := " ".join(part.split()))]
        if not names:
            raise LabelError("A class needs a name: write one, or several separated by commas.")
        for name in names:
            check_name(name)
        classes = labels.refresh().classes
        known = {name.casefold(): name for name in classes}
        new: dict[str, str] = {}
        for name in names:
            if name.casefold() not in known:
                new.setdefault(name.casefold(), name)
        if len(classes) + len(new) > MAX_CLASSES:
            raise LabelError(f"{len(classes) + len(new)} classes are more than this page holds ({MAX_CLASSES}).")
        self._do(labels.change(self.visitor, {}, add=new.values()))
        self.active = (known | new)[names[-1].casefold()]
        return list(new.values())

    def activate(self, labels: LabelSet, name: str) -> None:
        """Make `name` the class that the next click gives. Raises LabelError for a class that is not there."""
        _check_class(labels, name)
        self.active = name

    def remove_class(self, labels: LabelSet, name: str) -> None:
        """Drop a class and its labels; `undo` brings both back."""
        _check_class(labels, name)
        self._do(labels.change(self.visitor, {}, remove=[name]))

    def active_in(self, labels: Labels) -> str | None:
        """The active class; the first one where none was chosen yet, or a visitor has removed it.

        What was chosen stays as it is: two events of a visitor may be answered at the same time.
        """
        return self.active if self.active in labels.classes else next(iter(labels.classes), None)

    # -- labels -------------------------------------------------------------------------------------------------

    def click(self, labels: LabelSet, row: int) -> None:
        """Give an image the active class; a second click takes it away again."""
        now = labels.refresh()
        active = self.active_in(now)
        if active is None:
            raise LabelError("Name a class first, then click the images that belong to it.")
        self.say(labels, [row], None if now.said(row) == active else active)

    def say(self, labels: LabelSet, rows: Iterable[int], said: str | None) -> None:
        """Give images a class, UNSURE, or take back what was said (None), in one step; a new class is added.

        UNSURE marks images that were looked at and left: they lose their label and are not offered again.

        Raises LabelError for a name that cannot be a class, QueryError for a row that is not there.
        """
        if said:
            check_name(said)
        self.take(labels, dict.fromkeys(rows, said))

    def take(self, labels: LabelSet, said: Mapping[int, str | None]) -> None:
        """Say the class of each of many images, in one step."""
        self._do(labels.change(self.visitor, said))

    def undo(self, labels: LabelSet) -> bool:
        """Take back this visitor's last step; False where there is none.

        What another visitor has changed since stays as it is, and a step of which nothing is left is passed over.
        """
        return _turn(labels, self._done, self._undone)

    def redo(self, labels: LabelSet) -> bool:
        """Do again what `undo` took back; False where there is nothing."""
        return _turn(labels, self._undone, self._done)

    @property
    def can_undo(self) -> bool:
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        return bool(self._undone)

    def _do(self, step: Step) -> None:
        if step.changes_something:
            self._done.append(step)
            del self._done[:-UNDO_DEPTH]
            self._undone.clear()

    # -- what is shown ------------------------------------------------------------------------------------------

    def open(self, name: str) -> None:
        """Go over to another label set; the steps in this one can no longer be undone. The set itself stays open."""
        if name == self.set_name:  # a field that is only passed through with Tab says its value, too
            return
        self.set_name, self.active = name, None
        self._done, self._undone = [], []
        self.offer(MIXED, None)

    def offer(self, name: str, queue: Queue | None) -> None:
        """Show a queue from its first page on; it stays as it is while labels come in. None: the mixed one."""
        self.queue, self.page = name, 0
        self.queued = None if queue is None else queue.rows
        self.doubts = {} if queue is None else queue.doubts

    def aim_at(self, target: float) -> None:
        """Choose the accuracy to which labels are counted. Raises ArgumentError for one that is no share."""
        check_target(target)
        self.target = target


def check_name(name: str) -> None:
    """Raise LabelError for what cannot be a class in a CSV of labels, or is too long to be shown."""
    if len(name) > MAX_NAME:
        raise LabelError(f"The class name {name!r} has {len(name)} characters; {MAX_NAME} is the most.")
    if SEVERAL in name or not name.isprintable() or name != " ".join(name.split()) or not name:
        raise LabelError(f"{name!r} cannot be the name of a class: write letters and digits, and no semicolon.")


def _check_class(labels: LabelSet, name: str) -> None:
    if name not in labels.refresh().classes:
        raise LabelError(f"There is no class {name!r}; add it first.")


def _turn(labels: LabelSet, source: list[Step], target: list[Step]) -> bool:
    while source:
        step = labels.take_back(source[-1])
        source.pop()  # only now: what could not be written can be tried again
        if step.changes_something:
            target.append(step)
            return True
    return False
