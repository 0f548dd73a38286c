"""The script that starts or resumes the training in the background."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.processes import wait_for

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "background.sh"


def test_it_starts_the_recipe_with_its_folders_prints_an_id_and_logs_beside_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "threads $OMP_NUM_THREADS, called with $*"\n')
    python.chmod(0o755)
    monkeypatch.setenv("PYTHON", str(python))
    (tmp_path / "my images").mkdir()
    done = subprocess.run(
        [str(SCRIPT), "my images", "run", "--epochs", "60"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) > 0
    log = tmp_path / "run.log"
    wait_for(lambda: log.exists() and log.read_text().endswith("\n"), "the training has not begun")
    folder = tmp_path.resolve()
    assert log.read_text() == (
        f"threads 1, called with -m cpchub train simclr_photos --images {folder}/my images/tiny-imagenet-cifar10 "
        f"--out {folder}/run --epochs 60\n"
    )


def test_without_its_folders_it_says_how_it_is_called() -> None:
    done = subprocess.run([str(SCRIPT)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "benchmarks/background.sh IMAGES RUN" in done.stderr
    assert "#" not in done.stderr
