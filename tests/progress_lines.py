"""Progress as a log file has it, without waiting: a line at each update instead of one every ten seconds."""

from __future__ import annotations

from typing import Any

import pytest

from cpchub.common.progress import Report


def tell_every_update(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every report print a line whenever something of its job is done."""
    update = Report.update

    def update_and_tell(self: Report, *done: Any) -> None:
        update(self, *done)
        self.say(f"{self.what}: {self.state()}")

    monkeypatch.setattr(Report, "update", update_and_tell)
