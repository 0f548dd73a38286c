"""Installed in every way that pip knows, cpchub works in a folder that has packages called as ours.

Slow: four builds, four environments, and the whole way from images to the page in two of them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import urllib.request
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.built import DIST_INFO, OURS, Way, build, contents
from tests.processes import REPOSITORY, Processes, wait_for
from tests.test_packaging import users_folder

pytest.importorskip("hatchling", reason="hatchling is not installed: it is in the extra `test`")
pytestmark = pytest.mark.slow
WHERE = "import cpchub, cpchub_training as t, cpchub_serving as s; print(*(m.__path__[0] for m in (cpchub, t, s)))"


class Installed:
    """A virtual environment with cpchub in it, whose dependencies are those of the tests, and a user's folder."""

    def __init__(self, wheel: Path, folder: Path) -> None:
        self.home, self.folder = folder / "env", users_folder(folder / "mine")
        self.bin = self.home / "bin"
        self.run(sys.executable, "-m", "venv", "--without-pip", self.home)
        # before the dependencies are to be seen: they have a cpchub among them, and pip would take it for installed
        pip = [sys.executable, "-m", "pip", "--python", self.bin / "python", "--disable-pip-version-check"]
        self.run(*pip, "install", "--quiet", "--no-index", "--no-deps", wheel)
        (self.site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
        # torch has installed this command for the interpreter of the tests
        (self.bin / "torchrun").write_text(f"#!{self.bin / 'python'}\nfrom torch.distributed.run import main\nmain()\n")
        (self.bin / "torchrun").chmod(0o755)

    @property
    def site(self) -> Path:
        return next((self.home / "lib").glob("python*")) / "site-packages"

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return kept | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "NO_COLOR": "1"}

    def run(self, *command: object) -> str:
        """A command in the user's folder; what it printed."""
        done: Any = subprocess.run(
            [*map(str, command)],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
        return str(done.stdout)


@pytest.fixture(scope="module", params=get_args(Way))
def way(request: pytest.FixtureRequest) -> Way:
    chosen: Way = request.param
    if chosen == "zip" and not (REPOSITORY / ".git").exists():
        pytest.skip("which files a .zip of the repository has is known by git, and this is no checkout")
    return chosen


@pytest.fixture(scope="module")
def wheel(way: Way, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(way, tmp_path_factory.mktemp("built") / way)


@pytest.fixture(scope="module")
def installed(way: Way, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(wheel, tmp_path_factory.mktemp(f"installed-{way}"))


def test_every_way_but_an_editable_one_installs_the_same_files(
    way: Way, wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if way == "editable":
        assert not [name for name in contents(wheel) if name.endswith(".py")]
        return
    straight = contents(build("wheel", tmp_path_factory.mktemp("straight") / "wheel"))
    assert contents(wheel) == straight


def test_site_packages_have_three_packages_of_ours_and_nothing_else(way: Way, installed: Installed) -> None:
    names = {path.name for path in installed.site.iterdir()} - {"dependencies.pth", "__pycache__"}
    ours = {"_cpchub.pth"} if way == "editable" else set(OURS)
    assert names == {*ours, DIST_INFO}


def test_the_recipes_are_listed_and_the_users_own_packages_are_imported(way: Way, installed: Installed) -> None:
    python = installed.bin / "python"
    assert "simclr_digits" in installed.run(python, "-m", "cpchub", "train", "--list").split()
    assert "simclr_digits" in installed.run(installed.bin / "cpchub", "train", "--list").split()
    homes = {
        "cpchub": REPOSITORY,
        "cpchub_training": REPOSITORY / "training",
        "cpchub_serving": REPOSITORY / "serving",
    }
    places = [str((homes[name] if way == "editable" else installed.site) / name) for name in homes]
    assert installed.run(python, "-c", WHERE).split() == places
    said = installed.run(
        python,
        "-c",
        "import cpchub, training, tests, serving.whose, benchmarks.whose\n"
        "print(training.WHOSE, tests.WHOSE, serving.whose.WHOSE, benchmarks.whose.WHOSE)",
    )
    assert said.split() == ["mine"] * 4


def test_two_processes_train_beside_a_folder_called_training(installed: Installed) -> None:
    # --standalone: a port that no other test has taken
    torchrun = [installed.bin / "torchrun", "--standalone", "--nproc-per-node", "2"]
    installed.run(*torchrun, "-m", "cpchub", "train", "simclr_digits", "--epochs", "1", "--batch-size", "64")
    export = installed.folder / "runs" / "simclr_digits" / "export"
    assert (export / "model.safetensors").is_file()


def test_the_whole_way_ends_at_the_page(way: Way, installed: Installed, processes: Processes) -> None:
    if way in ("sdist", "zip"):
        pytest.skip("its files are those of the wheel")
    cpchub = installed.bin / "cpchub"
    said = installed.run(cpchub, "quickstart", "--no-serve")
    assert "All of it is in runs/quickstart" in said
    collection = installed.folder / "runs" / "quickstart" / "collection"
    assert (collection / "index.faiss").is_file()
    printed = installed.folder / "page.txt"
    with printed.open("wb") as output:
        encoder = installed.folder / "runs" / "quickstart" / "run" / "export"
        command = [cpchub, "demo", collection, "--encoder", encoder]
        page = processes.start(
            *command, cwd=installed.folder, env=installed.environment, stdout=output, stderr=subprocess.STDOUT
        )

    def address() -> str | None:
        assert page.poll() is None, printed.read_text()
        found = re.search(r"http://127\.0\.0\.1:\d+", printed.read_text())
        return found[0] if found else None

    with urllib.request.urlopen(wait_for(address, "the page says no address")) as answer:
        assert answer.status == 200
        assert b"gradio" in answer.read()


def test_a_users_type_checker_sees_our_types(way: Way, installed: Installed) -> None:
    (installed.folder / "uses.py").write_text(
        "import cpchub\n"
        "from cpchub_serving.app import serve\n"
        "from cpchub_training import recipes\n"
        "\n"
        'encoder = cpchub.load("simclr")\n'
        "dim: int = encoder.dim\n"
        'recipe: recipes.Recipe = recipes.get("simclr_digits")\n'
        "wrong: str = encoder.dim\n"
        "wrong = recipe.epochs\n"
        "serve(1)\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", installed.bin / "python"]
    done = subprocess.run(
        [*map(str, command), "--follow-imports=silent", "uses.py"],
        cwd=installed.folder,
        env=installed.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    found = {int(line) for line in re.findall(r"^uses\.py:(\d+): error", done.stdout, re.MULTILINE)}
    assert found == {8, 9, 10}, done.stdout + done.stderr
