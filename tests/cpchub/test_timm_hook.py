"""`import cpchub` is enough for timm to know our networks, whichever of the two is imported first.

Each test is a program of its own, since what it tests happens once a process.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fresh import FreshInterpreters

OURS_ARE_THERE = """
names = timm.list_models("cpc_*")
assert {"cpc_resnet50", "cpc_resnet101", "cpc_resnet161", "cpc_resnet170"} <= {*names}, names
model = timm.create_model("cpc_resnet170", layers=[1, 1, 1], channels=[8, 16, 32], num_classes=0)
assert model.num_features == 32
assert sum("_TimmFinder" in type(finder).__name__ for finder in sys.meta_path) == 0
"""
WAITING = "assert sum('_TimmFinder' in type(finder).__name__ for finder in sys.meta_path) == 1\n"


@pytest.fixture
def run(fresh_interpreters: FreshInterpreters) -> Callable[..., str]:
    """What a fresh interpreter writes to stderr; the test fails if it fails."""

    def run(code: str, *arguments: Path) -> str:
        done = fresh_interpreters.run(f"import sys\n{code}", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stderr

    return run


def fake_timm(folder: Path, content: str = "") -> Path:
    """A folder for sys.path with a package called timm that takes no time to import, and has nothing for ours."""
    (folder / "timm").mkdir()
    (folder / "timm" / "__init__.py").write_text(content)
    return folder


def test_cpchub_first(run: Callable[..., str]) -> None:
    run("import cpchub\nassert 'timm' not in sys.modules\n" + WAITING + "import timm\n" + OURS_ARE_THERE)


def test_timm_first(run: Callable[..., str]) -> None:
    run("import timm\nassert not timm.list_models('cpc_*')\nimport cpchub\n" + OURS_ARE_THERE)


def test_a_module_of_timms_first_and_from_two_threads(run: Callable[..., str]) -> None:
    code = """
import cpchub, threading
threads = [threading.Thread(target=__import__, args=(name,)) for name in ("timm.models", "timm.data")]
for thread in threads: thread.start()
for thread in threads: thread.join()
import timm
"""
    run(code + OURS_ARE_THERE)


def test_looking_for_timm_does_not_import_it_and_afterwards_it_has_its_own_loader(run: Callable[..., str]) -> None:
    code = """
import importlib, importlib.resources, importlib.util, inspect
import cpchub
spec = importlib.util.find_spec("timm")
assert spec.loader.is_package("timm") and spec.submodule_search_locations
assert "timm" not in sys.modules
import timm
assert "_TimmLoader" not in type(timm.__loader__).__name__ + type(timm.__spec__.loader).__name__
assert "create_model" in inspect.getsource(timm)
assert importlib.resources.files("timm").joinpath("__init__.py").is_file()
importlib.reload(timm)
importlib.reload(cpchub)
"""
    run(code + OURS_ARE_THERE)


def test_networks_that_cannot_be_registered_are_a_warning_and_timm_works(
    run: Callable[..., str], tmp_path: Path
) -> None:
    code = "sys.path.insert(0, sys.argv[1])\nimport cpchub, timm\nassert timm.answer == 42\n"
    said = run(code, fake_timm(tmp_path, "answer = 42\n"))
    assert "RuntimeWarning: cpchub's networks are not registered with timm" in said
    assert "timm" in said.partition("ModuleNotFoundError")[2]


def test_an_import_of_timm_that_fails_can_be_tried_again(run: Callable[..., str], tmp_path: Path) -> None:
    code = """
sys.path.insert(0, sys.argv[1])
import cpchub
try:
    import timm
except ValueError:
    sys.ready = True
assert "timm" not in sys.modules
"""
    broken = fake_timm(tmp_path, "import sys\nif not hasattr(sys, 'ready'): raise ValueError('not today')\n")
    run(code + WAITING + "import timm\nassert timm.__file__.startswith(sys.argv[1])\n", broken)


def test_without_timm_its_import_fails_as_it_always_did(run: Callable[..., str]) -> None:
    code = """
sys.path[:] = [entry for entry in sys.path if "site-packages" not in entry]
import cpchub
try:
    import timm
except ModuleNotFoundError as error:
    assert error.name == "timm"
else:
    raise AssertionError("there is a timm")
"""
    run(code)


def test_importing_cpchub_again_waits_once(run: Callable[..., str]) -> None:
    run("import importlib, cpchub\nimportlib.reload(cpchub)\n" + WAITING)
