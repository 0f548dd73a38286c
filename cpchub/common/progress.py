"""The progress of a long job: a bar on a terminal; elsewhere (a pipe, a log file) a line every ten seconds."""

from __future__ import annotations

from collections import deque
from datetime import timedelta
from threading import Event, Thread
from time import monotonic
from typing import Any, ClassVar

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.text import Text

from cpchub.common.quiet import is_quiet
from cpchub.common.words import counted

EVERY, SELDOM = 10.0, 60.0  # seconds between two lines in the first ten minutes, and at most
BYTE = "byte"

console = Console()


def on_terminal() -> Console:
    """Stdout where it is a terminal, on which our sentences go too; else stderr, so that progress is in no pipe."""
    return console if console.is_terminal else Console(stderr=True)


def remarks(shown: bool = True) -> Console:
    """Where sentences beside the answer go: to stderr; nowhere if not `shown`, or where `--quiet` was given."""
    return Console(stderr=True, quiet=not shown or is_quiet())


class Pace:
    """How fast a job goes: the mean rate of the last `window` seconds, or since it began.

    Results come in bursts: a batch, a shard, or what several processes finish together. The time between two of them
    says nothing, so a rate is always measured from the start of the job, or over the whole window.
    """

    def __init__(self, done: float = 0, window: float = 30.0) -> None:
        """done: what was there when the job began, and took it no time."""
        self._window = window
        self._marks = deque([(monotonic(), float(done))])

    def update(self, done: float) -> None:
        """Note how much is done by now."""
        now, marks = monotonic(), self._marks
        if len(marks) > 2 and marks[-1][0] - marks[-2][0] < self._window / 100:
            marks.pop()  # some hundred marks are enough, however often this is called
        marks.append((now, float(done)))
        while len(marks) > 2 and now - marks[1][0] >= self._window:
            marks.popleft()

    @property
    def rate(self) -> float | None:
        """Units a second; None while nothing has been done."""
        (start, before), (end, after) = self._marks[0], self._marks[-1]
        return (after - before) / (end - start) if after > before and end > start else None

    def seconds_left(self, total: float) -> float | None:
        """Seconds until `total` units are done at this rate; None while the rate is not known."""
        rate = self.rate
        return None if rate is None else max(0.0, total - self._marks[-1][1]) / rate


class Report:
    """Reports a job in a `with` block: how much is done, how fast it goes, and how long it still takes.

    The bar is gone at the end of the block. A job that is over before the first line is due prints none. Of jobs within
    jobs, the innermost is shown.
    """

    _open: ClassVar[list[Report]] = []  # the innermost is the last

    def __init__(
        self,
        what: str,
        total: int | None,
        *,
        done: int = 0,
        unit: str = "image",
        rate: bool = True,
        left: bool = True,
        window: float = 30.0,
        last_line: bool = False,
        console: Console | None = None,
    ) -> None:
        """what: the name of the job. total: how many units there are, None where that is not known.

        done: units that were there before, so that they do not count for the rate. unit: their name in the singular;
        bytes are shown as MB. rate, left: whether to show units a second and the time that is left; without `left`,
        for units that take unlike times, it is the time since the start. last_line: print how the job ended, although
        it took less time than a line. console: by default stdout on a terminal, else stderr; a quiet one shows nothing,
        and nothing is shown where `--quiet` was given.
        """
        self.what, self.total, self.done, self.note = what, total, float(done), ""
        self._unit, self._shows_rate, self._shows_left = unit, rate, left
        self._window, self._last_line = window, last_line
        self._console = Console(quiet=True) if is_quiet() else console or on_terminal()
        self._bar: Progress | None = None
        self._ended, self._lines = Event(), 0

    def __enter__(self) -> Report:
        self._started, self._pace = monotonic(), Pace(self.done, self._window)
        if self._console.quiet:
            return self
        if self._open:
            self._open[-1]._show(False)
        self._open.append(self)
        if self._console.is_jupyter or (self._console.is_terminal and not self._console.is_dumb_terminal):
            columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), _State(self))
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._task = self._bar.add_task(self.what, total=self.total, completed=int(self.done))
            self._show(True)
        else:
            self._teller = Thread(target=self._tell, name="progress", daemon=True)
            self._teller.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: Any) -> None:
        if self._console.quiet:
            return
        self._ended.set()
        self._show(False)
        if self._bar is None:
            self._teller.join()
        if kind is None and (self._lines or self._last_line):
            self._print()
        self._open.remove(self)
        if self._open:
            self._open[-1]._show(True)

    def advance(self, amount: float = 1) -> None:
        """So much more is done; half a unit may be."""
        self.update(self.done + amount)

    def update(self, done: float, total: int | None = None) -> None:
        """So much is done in all. `total` is given where it becomes known on the way; the pace counts from then on."""
        if done < self.done or total not in (None, self.total):
            self.total = self.total if total is None else total
            self._pace = Pace(done, self._window)
        self.done = float(done)
        self._pace.update(done)
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=self.total)

    def say(self, sentence: str) -> None:
        """Print a sentence, above the bar where there is one."""
        self._console.print(sentence, markup=False, highlight=False, soft_wrap=True)

    def state(self) -> str:
        """For example `120 of 400 images, 85 images/s, 0:00:03 left`."""
        parts = [self._count(), self.note]
        rate = self._pace.rate
        if self._shows_rate and rate is not None:
            parts.append(f"{decimal(int(rate))}/s" if self._unit == BYTE else rate_in_words(rate, self._unit))
        ended = self.total is not None and self.done >= self.total
        if self._shows_left and self.total is not None and not ended:
            left = self._pace.seconds_left(self.total)
            parts.append("" if left is None else f"{_clock(left)} left")
        else:
            passed = _clock(monotonic() - self._started)
            parts.append(f"in {passed}" if ended else f"{passed} so far")
        return ", ".join(filter(None, parts))

    def _count(self) -> str:
        done = int(self.done + 1e-6)  # so that the parts of a unit add up to one
        if self._unit == BYTE:
            return f"{decimal(done)} of {decimal(self.total)}" if self.total is not None else decimal(done)
        if self.total is not None:
            return f"{done:,} of {counted(self.total, self._unit)}"
        return counted(done, self._unit) if done else ""

    def _show(self, now: bool) -> None:
        if self._bar is not None:
            (self._bar.start if now else self._bar.stop)()

    def _tell(self) -> None:
        while not self._ended.wait(min(max(EVERY, (monotonic() - self._started) / 60), SELDOM)):
            if self._open[-1] is self:
                self._print()

    def _print(self) -> None:
        self._lines += 1
        self.say(f"{self.what}: {self.state()}")


class _State(ProgressColumn):
    """What a report says of its job, at the end of the bar."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self._report = report

    def render(self, task: Task) -> Text:
        """The state as text."""
        return Text(self._report.state())


def rate_in_words(rate: float, unit: str) -> str:
    """`85 images/s`, `1.5 images/s`, and of less than one a second how long one takes: `40 s/image`."""
    if rate >= 1:
        return f"{rate:,.0f} {unit}s/s" if rate >= 10 else f"{rate:.1f} {unit}s/s"
    return f"{1 / rate:,.0f} s/{unit}" if rate <= 0.1 else f"{1 / rate:.1f} s/{unit}"


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
