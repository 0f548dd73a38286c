"""No rank reads what the first one has not finished writing, and none waits long for a rank that will not come."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist
from PIL import Image

from cpchub.common.files import only_writer
from cpchub.errors import NoSpaceError, RunError
from cpchub_training.jobs import distill
from cpchub_training.losses.ranks import rank
from cpchub_training.recipes.distillation import Distillation
from cpchub_training.run import checkpoint, ranks
from cpchub_training.run.loop import train
from tests.training.jobs.test_distill import pretraining
from tests.training.several_ranks import on_ranks, started, wait_until
from tests.training.small_runs import small, some_digits


def slowed(module: Any, name: str, folder: Path) -> None:
    """Let the first rank write with `module.name` only when all others wait for it, or have gone on without."""
    write, meet = getattr(module, name), ranks._meet
    meetings = 0

    def arrived(other: int, number: int) -> Path:
        return folder / f"rank {other} is at meeting {number}"

    def counted(what: str, mine: dict[str, str]) -> None:
        nonlocal meetings
        meetings += 1
        arrived(rank(), meetings).touch()
        meet(what, mine)

    def written_late(*args: Any) -> None:
        others = [arrived(other, meetings + 1) for other in range(1, dist.get_world_size())]
        wait_until(lambda: all(path.exists() for path in others))
        write(*args)

    ranks._meet = counted
    if rank() == 0:
        setattr(module, name, written_late)


def first_then_all(folder: Path) -> None:
    ranks.launch("cpu")
    path = folder / "what one writes"
    slowed(Path, "write_text", folder)
    for text in ("whole", "the next"):
        with ranks.first_writes("a file") as mine:
            if mine:
                path.write_text(text)
        assert path.read_text() == text
        with ranks.first_writes("nothing"):  # before the next is written, all have read this one
            pass


@pytest.mark.parametrize("n", [2, 3])
def test_no_rank_goes_on_before_the_first_has_written(n: int, tmp_path: Path) -> None:
    on_ranks(n, tmp_path, first_then_all, tmp_path)


def two_runs_in_one_folder(folder: Path) -> None:
    slowed(checkpoint, "write", folder)
    recipe = small(epochs=2, knn_every=0)
    for done in (3, 6, 8):
        train(recipe, folder / "run", images=some_digits(), accelerator="cpu", stop_after_steps=3)
        assert checkpoint.progress(folder / "run" / "checkpoints" / "last.safetensors")["step"] == done


def test_a_run_that_goes_on_at_once_finds_the_checkpoint_on_every_rank(tmp_path: Path) -> None:
    on_ranks(2, tmp_path, two_runs_in_one_folder, tmp_path)


def distilled(pretrained: Path, folder: Path, slow: str) -> None:
    slowed(checkpoint if slow == "write" else distill, slow, folder)
    settings = Distillation(label_fraction=0.02, batch_size=128, fine_tune_epochs=1, epochs=1)
    results = distill.run(pretrained, folder / "out", settings)
    print("results" if results else "none")


@pytest.mark.parametrize("slow", ["write", "_begun_from"])
def test_a_student_finds_its_teacher_however_slowly_that_is_written(slow: str, tmp_path: Path) -> None:
    train(pretraining(), tmp_path / "pretrained", stop_after_steps=1)
    said = on_ranks(2, tmp_path, distilled, tmp_path / "pretrained", tmp_path, slow)
    assert [each.split()[-1] for each in said] == ["results", "none"]
    assert (tmp_path / "out" / "export" / "config.json").is_file()


def failing(folder: Path) -> None:
    """Blocks in which one rank fails, and then another, and then all; the ranks go on together after each."""
    ranks.launch("cpu")
    for who in ([0], [1], [2], [1, 2], [0, 1, 2]):
        try:
            with ranks.first_writes("a file"):
                if rank() in who:
                    raise NoSpaceError(f"no space left for rank {rank()}")
        except (NoSpaceError, RunError) as error:
            print(f"{type(error).__name__}: {error}", flush=True)
    try:
        ranks.check_same_on_all_ranks("the images", "other ones" if rank() == 1 else "64 of them", "copy them")
    except RunError as error:
        print(error)
    with ranks.first_writes("a last one"):
        pass


def test_all_ranks_hear_which_one_failed_and_why(tmp_path: Path) -> None:
    for number, said in enumerate(on_ranks(3, tmp_path, failing, tmp_path)):
        lines = [line for line in said.splitlines() if "Error: " in line or "stops" in line]
        for who, line in zip(([0], [1], [2], [1, 2], [0, 1, 2]), lines[:5], strict=True):
            if number in who:  # its own error says it best
                assert line == f"NoSpaceError: no space left for rank {number}"
            else:
                reasons = "; ".join(f"rank {r} failed (no space left for rank {r})" for r in who)
                assert line == f"RunError: rank {number} stops at a file: {reasons}"
        assert "rank 1 sees other ones, rank 0 sees 64 of them; copy them" in lines[5]
        assert "rank 2" not in lines[5].replace("rank 2 stops", "")


def killed(folder: Path, who: int) -> None:
    ranks.launch("cpu")
    with ranks.first_writes("a file"):
        if rank() == who:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("who", [0, 1, 2])
def test_a_rank_that_is_killed_is_named_to_all_others(who: int, tmp_path: Path) -> None:
    with started(3, tmp_path, killed, tmp_path, who) as three:
        for number, each in enumerate(three):
            if number == who:
                assert each.end() == -signal.SIGKILL
            else:
                assert each.end() == 2, each.said()
                assert f"rank {number} stops at a file: rank {who} is gone" in each.said()
                assert each.said().rstrip().endswith(ranks.AGAIN)


def hanging(folder: Path, who: int) -> None:
    ranks.launch("cpu")
    ranks.PATIENCE = timedelta(seconds=1)
    with ranks.first_writes("a file"):
        if rank() == who:
            wait_until((folder / "the test is over").exists)


@pytest.mark.parametrize(("n", "who"), [(2, 0), (2, 1), (3, 2)])
def test_the_wait_for_a_rank_that_hangs_is_bounded(n: int, who: int, tmp_path: Path) -> None:
    with started(n, tmp_path, hanging, tmp_path, who) as all_of_them:
        for number in {*range(n)} - {who}:
            assert all_of_them[number].end() == 2, all_of_them[number].said()
        asks = 0 if who else 1
        assert f"rank {who} did not answer within" in all_of_them[asks].said()


def test_the_wait_for_a_rank_that_was_never_started_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0"}
    agent = {"GROUP_WORLD_SIZE": "1", "TORCHELASTIC_RUN_ID": "x", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in (numbers | agent).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(ranks, "PATIENCE", timedelta(seconds=1))
    with pytest.raises(RunError, match=r"rank 1 cannot reach the other ranks .* whether all of them were started"):
        ranks.launch("cpu")


def in_a_folder(run_dir: Path) -> None:
    train(small(epochs=1), run_dir, images=some_digits(), accelerator="cpu")


def test_a_run_folder_that_the_first_rank_may_not_take_ends_all_ranks(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with only_writer(tmp_path / "run"), started(2, tmp_path / "ranks", in_a_folder, tmp_path / "run") as two:
        assert [each.end() for each in two] == [2, 2]
        assert "error: another process is writing" in two[0].said()
        assert "rank 0 failed (another process is writing" in two[1].said()
    assert list((tmp_path / "run").iterdir()) == []


def with_a_disk_of_its_own(folder: Path) -> None:
    mine = folder / ("run" if rank() == 0 else "the same path on another machine")
    train(small(epochs=1), mine, images=some_digits(), accelerator="cpu")


def with_images_of_its_own(folder: Path) -> None:
    train(small(epochs=1), folder / "new", images=some_digits(64 + 16 * rank()), accelerator="cpu")


def without_a_listing(folder: Path) -> None:
    here = folder / ("pictures" if rank() == 0 else "elsewhere")
    train(small(epochs=1, data=str(here)), folder / "new", accelerator="cpu")


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (with_a_disk_of_its_own, "rank 1 sees 0 steps done there, .* rank 0 sees 2 steps done there"),
        (with_images_of_its_own, "rank 1 sees 0 steps done there, on 80 images, .* rank 0 sees .* on 64 images"),
        (without_a_listing, "rank 1 failed .*no data set called"),
    ],
)
def test_ranks_that_see_different_files_stop_before_the_first_step(
    work: Callable[[Path], None], said: str, tmp_path: Path
) -> None:
    train(small(epochs=1), tmp_path / "run", images=some_digits(), stop_after_steps=2)
    (tmp_path / "pictures").mkdir()
    for row, image in enumerate(some_digits().images):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / "pictures" / f"{row}.png")
    with started(2, tmp_path / "ranks", work, tmp_path) as two:
        assert [each.end() for each in two] == [2, 2]
        assert re.search(said, two[0].said())
    assert not (tmp_path / "new" / "checkpoints").exists()
