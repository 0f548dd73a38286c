"""`cpchub eval`, `compare` and `report`: the same for a run folder, a model folder, and a name; what they write."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cpchub.cli.main import main
from cpchub.errors import OutputError, SourceError
from cpchub.fewlabels import LabelCurve
from cpchub.fewlabels import plot_label_curve as plot
from cpchub_training.evaluate import Settings
from cpchub_training.evaluate.job import load_encoder, measure
from cpchub_training.evaluate.naming import file_names, home_of
from cpchub_training.report import figures, report
from tests.tiny_encoder import export_tiny
from tests.training.evaluate.colours import folder_of_colours

SETTINGS = Settings(fractions=(0.5, 1.0), seeds=(0, 1), scratch_images=32)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CPCHUB_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def colours(here: Path) -> Path:
    return folder_of_colours(here / "colours", each=12)


@pytest.fixture
def model_folder(tiny_encoder_folder: Path, here: Path) -> Path:
    run = here / "run"
    shutil.copytree(tiny_encoder_folder, run / "export")
    (run / "export" / "eval.json").unlink()
    lines = [{"step": 10 * e, "epoch": e, "loss": 3 - e / 10, "knn_train": 0.1 * e} for e in (1, 2, 3)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run / "export"


def test_a_run_folder_means_its_export(model_folder: Path) -> None:
    by_run, by_folder = load_encoder(str(model_folder.parent)), load_encoder(str(model_folder))
    assert by_run[1] == by_folder[1] == model_folder
    assert by_run[0].spec.fingerprint == by_folder[0].spec.fingerprint


def test_an_encoder_of_timm_is_measured_like_any_other(colours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    import cpchub.encoders.network

    def untrained(name: str, pretrained: bool, kwargs: dict) -> object:  # type: ignore[type-arg]
        kwargs = {key: value for key, value in kwargs.items() if key != "cache_dir"}
        return timm.create_model(name, pretrained=False, **kwargs)

    monkeypatch.setattr(cpchub.encoders.network, "create_timm_model", untrained)
    monkeypatch.setattr(cpchub.encoders.network, "check_reachable", lambda *_args, **_access: None)
    content = measure("timm/test_resnet", str(colours), ["knn"], SETTINGS)
    assert content["model"] == "timm/test_resnet"
    assert Path("runs/evaluations/timm-test_resnet/eval.json").is_file()


def test_a_model_folder_gets_its_numbers_and_its_card(
    model_folder: Path, colours: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    protocols = "knn,low-label,scratch"
    flags = ["--protocol", protocols, "--fractions", "50,100", "--seeds", "0,1", "--scratch-images", "32"]
    assert main(["eval", str(model_folder), "--images", str(colours), *flags]) == 0
    written = json.loads((model_folder / "eval.json").read_text())
    assert {row["config"] for row in written["results"]} >= {"knn_k200", "lowshot_50pct", "lowshot_100pct"}
    assert not [row for row in written["results"] if "scratch" in row["config"]]
    card = (model_folder / "README.md").read_text()
    assert "lowshot_50pct" in card
    assert "scratch" not in card.partition("---\n\n")[0]
    out = Path("runs/evaluations/tiny-simclr")
    with Image.open(out / "label_curve-colours.png") as image:
        assert image.format == "PNG"
    shown, remarks = capsys.readouterr()
    assert "labels saved" in shown
    assert remarks.splitlines()[-1] == f"Evaluation: {out / 'eval.json'}"  # beside what may be piped on
    assert "eval.json" not in shown
    assert "low-label, 50 %" in shown
    assert "lowshot" not in shown


def test_a_second_protocol_is_added_to_the_first(model_folder: Path, colours: Path) -> None:
    measure(str(model_folder), str(colours), ["knn"], SETTINGS)
    measure(str(model_folder), str(colours), ["linear"], SETTINGS)
    configs = {row["config"] for row in json.loads((model_folder / "eval.json").read_text())["results"]}
    assert {"knn_k200", "linear_probe"} <= configs


def test_encoders_are_compared_in_one_table(
    model_folder: Path, colours: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [str(model_folder), "simclr-resnet18-w32-cifar10-cpu"]
    flags = ["--images", str(colours), "--protocol", "knn", "-o", "table.csv"]
    assert main(["compare", *names, *flags]) == 0
    shown = capsys.readouterr().out
    assert "tiny-simclr" in shown
    assert re.search(r"knn, k = \d+ ", shown)
    with Path("table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["encoder"] for row in rows} == {"tiny-simclr", "simclr-resnet18-w32-cifar10-cpu"}
    assert all(0 <= float(row["accuracy"]) <= 1 for row in rows)


def test_a_report_is_one_page_with_everything_inside(model_folder: Path, colours: Path) -> None:
    run = model_folder.parent
    measure(str(run), str(colours), ["knn", "linear", "low-label", "scratch"], SETTINGS)
    page = report([str(run)], str(colours), out=Path("page"))
    text = page.read_text()
    assert 'src="http' not in text
    assert "<link" not in text
    assert text.count("data:image/png;base64,") == 6  # label curve, confusion, neighbours, before, map, training
    for said in ("What labels buy", "labels saved", "Nearest neighbours", "The same before training", "from scratch"):
        assert said in text
    assert len(list(page.parent.glob("*.png"))) == 6


def test_a_report_of_two_encoders_sets_them_side_by_side(model_folder: Path, colours: Path) -> None:
    names = [str(model_folder), "simclr-resnet18-w32-cifar10-cpu"]
    for name in names:
        measure(name, str(colours), ["knn", "low-label"], SETTINGS)
    text = report(names, str(colours), out=Path("page")).read_text()
    assert "Side by side" in text
    assert text.count("Nearest neighbours") == 2


@pytest.fixture
def two_seeds(model_folder: Path, here: Path) -> list[str]:
    """Two run folders whose encoders have one name and different weights."""
    shutil.copytree(here / "run", here / "runs" / "short")
    (here / "runs" / "long").mkdir()
    export_tiny(here / "runs" / "long" / "export", seed=1)
    (here / "runs" / "long" / "export" / "eval.json").unlink()
    return ["runs/short", "runs/long"]


def test_two_seeds_of_one_recipe_are_two_columns_and_two_folders(
    two_seeds: list[str], colours: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    flags = ["--images", str(colours), "--protocol", "knn", "-o", "t.csv"]
    assert main(["compare", *two_seeds, "./runs/short", *flags]) == 0
    header = next(line for line in capsys.readouterr().out.splitlines() if "measurement" in line)
    assert [name for name in header.replace("┃", " ").split() if "/" in name] == two_seeds
    with Path("t.csv").open() as file:
        assert [row["encoder"] for row in csv.DictReader(file)] == [name for name in two_seeds for _ in range(4)]
    for folder, name in (("tiny-simclr", "runs/short"), ("runs-long", "runs/long")):
        written = json.loads(Path("runs/evaluations", folder, "eval.json").read_text())
        assert written["fingerprint"] == load_encoder(name)[0].spec.fingerprint


def test_two_seeds_of_one_recipe_are_two_curves(
    two_seeds: list[str], colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in two_seeds:
        measure(name, str(colours), ["low-label", "scratch"], SETTINGS)
    drawn: dict[str, LabelCurve] = {}

    def plotted(curves: dict[str, LabelCurve], *place: Any, **how: Any) -> Path:
        drawn.update(curves)
        return plot(curves, *place, **how)

    monkeypatch.setattr(figures, "plot_label_curve", plotted)
    page = report(two_seeds, str(colours))
    assert list(drawn) == ["runs/short", "from scratch", "runs/long"]
    assert page.parent == Path("runs/evaluations/tiny-simclr/report")
    assert {path.name for path in page.parent.glob("*-map.png")} == {"runs-short-map.png", "runs-long-map.png"}
    assert page.read_text().count("Nearest neighbours") == 2


def test_the_measurements_of_another_encoder_are_not_overwritten(two_seeds: list[str], colours: Path) -> None:
    first, second = two_seeds
    measure(first, str(colours), ["knn"], SETTINGS, out=Path("numbers"))
    before = Path("numbers/eval.json").read_bytes()
    with pytest.raises(OutputError, match="another encoder than runs/long; choose another folder"):
        measure(second, str(colours), ["knn"], SETTINGS, out=Path("numbers"))
    assert Path("numbers/eval.json").read_bytes() == before


def test_a_run_that_was_trained_anew_has_a_folder_of_its_own_and_keeps_it(two_seeds: list[str], colours: Path) -> None:
    for name in (*two_seeds, "runs/long"):
        measure(name, str(colours), ["knn"], SETTINGS)
    kept = Path("runs/evaluations/runs-long/eval.json").read_bytes()
    shutil.rmtree("runs/long/export")
    export_tiny(Path("runs/long/export"), seed=2)
    for protocol in ("knn", "linear"):
        measure("runs/long", str(colours), [protocol], SETTINGS)
    assert Path("runs/evaluations/runs-long/eval.json").read_bytes() == kept
    assert len(list(Path("runs/evaluations").iterdir())) == 3


def test_measurements_that_cannot_be_read_are_not_overwritten(model_folder: Path) -> None:
    spec = load_encoder(str(model_folder))[0].spec
    folders = ["tiny-simclr", "mine", f"mine-{spec.fingerprint}"]
    for taken in folders:
        assert home_of(spec, "mine") == Path("runs", "evaluations", taken)
        Path("runs", "evaluations", taken).mkdir(parents=True)
        Path("runs", "evaluations", taken, "eval.json").write_text("{")
    with pytest.raises(OutputError, match="cannot be read and is not overwritten"):
        home_of(spec, "mine")


def test_names_that_make_one_file_name_are_numbered() -> None:
    assert file_names(["a/b", "a-b", "../c"]) == ["a-b", "a-b-2", "c"]


def test_a_report_of_what_was_not_measured_says_how_to_measure_it(model_folder: Path, colours: Path) -> None:
    with pytest.raises(SourceError, match="cpchub eval"):
        report([str(model_folder)], str(colours))
    measure(str(model_folder), str(colours), ["knn"], SETTINGS)
    next(iter((colours / "red").iterdir())).unlink()
    with pytest.raises(SourceError, match="as it is now"):
        report([str(model_folder)], str(colours))
