"""The unattended GPU form: it ends in time, goes on after any kill, and its state fits into the files it may carry."""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks import gpu, gpu_carry, gpu_work
from tests.processes import REPOSITORY, Processes


class Killed(BaseException):
    """Ends a part as a kill would."""


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The parts run in this process, each killed before its n-th file is put in its place; n is drawn."""
    begun: list[str] = []
    draw, real = random.Random(0), Path.replace

    class Child:
        def __init__(self, command: Any, **_: Any) -> None:
            words = list(command)[3:]
            begun.append(words[0])
            parser = argparse.ArgumentParser()
            parser.add_argument("part")
            parser.add_argument("--work", type=Path)
            parser.add_argument("--minutes", type=float)
            parser.add_argument("--rehearse", action="store_true")
            options = parser.parse_args(words)
            assert options.minutes > 0
            lives = iter(range(draw.choice((2, 8, 40))))

            def dying(path: Path, target: Any) -> Path:
                if next(lives, None) is None:
                    raise Killed
                return real(path, target)

            monkeypatch.setattr(Path, "replace", dying)
            self.status = 0
            try:
                found = gpu_work.PARTS[options.part](gpu_work.Work(options.work, options.minutes, True))
                if found is not None:
                    gpu_work.write_json(options.work / "results" / f"{options.part}.json", found)
            except Killed:
                self.status = -signal.SIGKILL
            finally:
                monkeypatch.setattr(Path, "replace", real)

        def wait(self, timeout: float | None = None) -> int:
            return self.status

        def terminate(self) -> None:
            raise AssertionError("it has ended already")

        kill = terminate

    monkeypatch.setattr(gpu.subprocess, "Popen", Child)
    monkeypatch.setattr(gpu, "TRIES", 100)
    return begun


def test_a_rehearsal_that_is_killed_at_random_measures_all_parts_in_their_order(
    children: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = 0
    while True:
        job = gpu.Job(tmp_path / "work", 8, rehearse=True)
        job.run()
        job.hand_over(tmp_path / "out")
        calls += 1
        if not job.left():
            break
        assert f"next: {', '.join(part.name for part in job.left())}" in capsys.readouterr().out
        assert calls < 60
    assert calls > 2
    assert list(dict.fromkeys(children)) == [part.name for part in gpu.PARTS]
    found = json.loads((tmp_path / "out" / "gpu.json").read_text())
    assert set(found["results"]) == {part.name for part in gpu.PARTS}
    assert found["next"] == []
    assert found["results"]["smoke"]["steps"][0] == 3
    assert found["results"]["simclr"]["epochs"] == found["results"]["cpc"]["epochs"] == 2
    assert found["results"]["knn90"]["tries"]
    assert "next: nothing" in capsys.readouterr().out


def test_a_part_that_hangs_or_fails_costs_its_own_minutes_and_is_left_out_after_two_tries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = {"smoke": "import signal; signal.pause()", "throughput": "raise SystemExit(3)"}
    real = subprocess.Popen

    def started(command: Any, **options: Any) -> Any:
        part = list(command)[3]
        return real([sys.executable, "-c", program[part]], **options)

    monkeypatch.setattr(gpu.subprocess, "Popen", started)
    monkeypatch.setattr(gpu, "PARTS", (gpu.Part("smoke", 0.001, False), gpu.Part("throughput", None, False)))
    for _ in range(3):
        job = gpu.Job(tmp_path, 8, rehearse=True)
        job.run()
    assert json.loads((tmp_path / gpu.FAILURES).read_text()) == {"smoke": 2, "throughput": 2}
    assert job.left() == []
    assert "throughput: no result (status 3, try 2 of 2)" in capsys.readouterr().out


def test_nothing_is_begun_without_time_or_without_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("a part has begun")

    monkeypatch.setattr(gpu.Job, "do", never)
    gpu.Job(tmp_path, (gpu.RESERVE + 5) / 60, rehearse=True).run()
    monkeypatch.setenv("CPCHUB_DATA", str(tmp_path))
    monkeypatch.setattr(gpu, "PARTS", tuple(part for part in gpu.PARTS if part.of_cifar10))
    monkeypatch.setattr(gpu, "KNOWN", tmp_path / "none.json")
    gpu.Job(tmp_path, 8, rehearse=False).run()
    assert "simclr: CIFAR-10 is not there" in capsys.readouterr().out


def test_what_is_measured_in_the_repository_is_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "KNOWN", tmp_path / "gpu.json")
    gpu.write(tmp_path / "gpu.json", {"results": {"smoke": {}, "cpc": {}}})
    assert [part.name for part in gpu.Job(tmp_path / "work", 8, False).left()] == ["throughput", "simclr", "knn90"]


def test_a_checkpoint_is_carried_rounded_to_bfloat16(tmp_path: Path) -> None:
    tensors = {
        "weight": torch.randn(7, 5, generator=torch.Generator().manual_seed(0)),
        "odd": torch.tensor([1.00390625, 1.01171875, -0.0, 3e38]),
        "steps": torch.tensor(5),
    }
    save_file(tensors, tmp_path / "last.safetensors", {"cpchub": "{}"})
    whole = (tmp_path / "last.safetensors").read_bytes()
    short = gpu_carry.shortened(whole)
    (tmp_path / "short").write_bytes(short)
    (tmp_path / "long").write_bytes(gpu_carry.lengthened(short))
    for name, tensor in load_file(tmp_path / "long").items():
        assert tensor.dtype == tensors[name].dtype
        rounded = tensors[name].bfloat16().float() if tensor.is_floating_point() else tensors[name]
        assert torch.equal(tensor, rounded)
    assert load_file(tmp_path / "short")["weight"].dtype == torch.bfloat16


def test_the_state_is_few_files_of_bounded_size_and_another_machine_goes_on_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_carry, "PART", 110_000)
    work, out, other = tmp_path / "work", tmp_path / "out", tmp_path / "other"
    run, card = work / "suite" / "runs" / "a", work / "suite" / "model_cards" / "a"
    for folder in (run / "checkpoints", run / "tensorboard", card, out):
        folder.mkdir(parents=True)
    save_file({"x": torch.ones(20_000)}, run / "checkpoints" / "last.safetensors")
    save_file({"x": torch.ones(30_000)}, card / "model.safetensors")
    (run / "metrics.jsonl").write_text('{"step": 1}\n')
    (run / "tensorboard" / "events").write_bytes(b"x" * 500_000)
    assert list(gpu_carry.pack(work, out)) == []
    assert {path.stat().st_size <= 110_000 for path in out.iterdir()} == {True}
    gpu_carry.unpack(out, other)
    for path in (run / "metrics.jsonl", run / "checkpoints" / "last.safetensors", card / "model.safetensors"):
        assert (other / path.relative_to(work)).read_bytes() == path.read_bytes() or path.name == "last.safetensors"
    assert torch.equal(load_file(other / "suite/runs/a/checkpoints/last.safetensors")["x"], torch.ones(20_000))

    list(gpu_carry.pack(work, out))  # the encoder has gone over already
    gpu_carry.unpack(out, tmp_path / "third")
    assert not (tmp_path / "third/suite/model_cards/a/model.safetensors").exists()

    monkeypatch.setattr(gpu_carry, "PART", 30_000)
    (work / gpu_carry.CARRIED).unlink()
    told = list(gpu_carry.pack(work, out))
    assert any("model.safetensors: 0 MB found no room" in sentence for sentence in told)


@pytest.mark.parametrize(
    ("tries", "wanted"),
    [
        ([], 200),
        ([(200, 0.88)], 250),
        ([(200, 0.91)], 160),
        ([(200, 0.91), (160, 0.89)], None),
        ([(200, 0.88), (250, 0.9)], None),
        ([(700, 0.5)], None),
    ],
)
def test_the_shortest_length_is_sought_from_both_sides(tries: list[tuple[int, float]], wanted: int | None) -> None:
    rows = [{"epochs": epochs, "knn": knn} for epochs, knn in tries]
    assert gpu_work.next_length(rows, 0.9) == wanted


@pytest.mark.slow
def test_real_processes_that_are_killed_at_random_go_on(processes: Processes, tmp_path: Path) -> None:
    draw = random.Random(1)
    command = (sys.executable, "-m", "benchmarks.gpu", "--minutes", 2, "--rehearse", "--work", tmp_path / "work")

    def call(after: Callable[[subprocess.Popen[Any]], object]) -> None:
        child = processes.start(*command, "--out", tmp_path / "out", cwd=REPOSITORY)
        after(child)
        child.wait()

    def kill(child: subprocess.Popen[Any]) -> None:
        try:
            child.wait(timeout=draw.uniform(3, 25))
        except subprocess.TimeoutExpired:
            child.kill()

    for _ in range(6):
        call(kill)
    for _ in range(10):
        call(lambda child: child.wait())
        if json.loads((tmp_path / "out" / "gpu.json").read_text())["next"] == []:
            break
    found = json.loads((tmp_path / "out" / "gpu.json").read_text())
    assert set(found["results"]) == {part.name for part in gpu.PARTS}
