"""`cpchub models` on a terminal: what fits, two lines an encoder at most."""

from __future__ import annotations

import pytest

from cpchub.cli.main import main


def test_models_is_a_table_of_what_fits_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["models", "moco-v2-resnet50*"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert "\t" not in head
    assert all(word in head for word in ("name", "published", "licence", "weights"))
    assert len([line for line in lines if line.startswith("moco-v2-resnet50-")]) == 2
    assert len(lines) <= 4, "an encoder takes more than two lines"
