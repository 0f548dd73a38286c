"""What a collection costs as it grows: measured sizes, and what follows from them for others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import scale, search_peers
from benchmarks.scale_fit import Power
from cpchub.collection.import_vectors import import_vectors

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "scale.md"


class TestPower:
    def test_it_is_found_again_with_its_exponent_and_without_an_error(self) -> None:
        power = Power.of({count: 3 * count**0.5 for count in (10, 100, 1000)})
        assert (power.factor, power.exponent) == pytest.approx((3, 0.5))
        assert power.error == pytest.approx(0)
        assert power(10_000) == pytest.approx(300)

    def test_its_error_is_what_the_largest_took_beside_what_the_others_foretold(self) -> None:
        assert Power.of({10: 1, 100: 10, 1000: 150}).error == pytest.approx(0.5)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scale")
    vectors = np.random.default_rng(0).normal(size=(400, 24)).astype(np.float32)
    import_vectors(folder / "real", vectors, [f"{number}.jpg" for number in range(400)])
    return folder


def test_a_size_is_measured_with_its_kind_times_recall_and_bytes(
    measured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scale, "searching", lambda folder, queries: {"p50_ms": 1.0})  # else in a process of its own
    row = scale.one_size(measured / "real", 1500, 16)
    assert (row["kind"], row["recall"], row["dim"], row["p50_ms"]) == ("exact", 1.0, 16, 1.0)
    assert row["bytes_a_vector"]["vectors"] > 4 * 16
    assert row["bytes_a_vector"]["index"] >= 4 * 16


def test_a_second_call_measures_what_is_missing(measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def run(command: list[str], **_: Any) -> Any:
        asked.append(int(command[command.index("--one") + 1]))
        row = {"kind": "exact", "build_cpu_s": 1.0, "p50_ms": 1.0}
        return type("Done", (), {"stdout": f"a remark\n{json.dumps(row)}\n"})

    monkeypatch.setattr(scale.subprocess, "run", run)
    results, plot = measured / "scale.json", measured / "scale.png"
    for sizes in (["1e3"], ["1e3", "5e3"]):
        monkeypatch.setattr(
            "sys.argv",
            [
                "scale",
                "--results",
                str(results),
                "measure",
                str(measured / "real"),
                "--plot",
                str(plot),
                "--sizes",
                *sizes,
            ],
        )
        scale.main()
    assert asked == [1000, 5000]
    assert set(json.loads(results.read_text())["search"]) == {"1000", "5000"}
    assert plot.is_file()


def test_the_guide_has_the_tables_of_the_measured_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for job in ("table", "measured"):
        monkeypatch.setattr("sys.argv", ["scale", job])
        scale.main()
        assert capsys.readouterr().out.strip() in GUIDE.read_text(encoding="utf-8")


def test_the_guide_has_the_peers_of_the_measured_file() -> None:
    rows = json.loads(search_peers.RESULTS.read_text(encoding="utf-8"))["results"]
    assert search_peers.in_words(rows) in GUIDE.read_text(encoding="utf-8")
