"""`make fast` finds the tests that concern a change, those that are named for it first."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests import concerned


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose tests mention things in every way, committed on main."""
    monkeypatch.setattr(concerned, "REPOSITORY", tmp_path)
    concerned.text.cache_clear()
    concerned.mentioned_by.cache_clear()
    files = {
        "cpchub/hub.py": "",
        "cpchub/index/engine.py": "",
        "serving/page.css": "",
        "training/hub.py": "",
        "tests/cpchub/conftest.py": "",
        "tests/cpchub/test_hub_transfer.py": "from pathlib import Path",
        "tests/cpchub/test_index.py": "from cpchub.index import Index",
        "tests/cpchub/test_other.py": "import cpchub.hub",
        "tests/serving/test_looks.py": "STYLE = 'page.css'",
        "tests/serving/test_patched.py": "NAME = 'cpchub.hub.find'",
        "tests/training/test_loop.py": "import cpchub",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "all"]):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *identity, *command], cwd=tmp_path, check=True)
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "tests"),
    [
        ("cpchub/hub.py", ["cpchub/test_hub_transfer.py", "cpchub/test_other.py", "serving/test_patched.py"]),
        ("cpchub/index/engine.py", ["cpchub/test_index.py"]),
        ("training/hub.py", []),
        ("serving/page.css", ["serving/test_looks.py"]),
        ("tests/training/test_loop.py", ["training/test_loop.py"]),
        (
            "tests/cpchub/conftest.py",
            ["cpchub/test_hub_transfer.py", "cpchub/test_index.py", "cpchub/test_other.py"],
        ),
    ],
)
def test_a_change_concerns_what_is_named_for_it_and_what_mentions_it(
    repository: Path, changed: str, tests: list[str]
) -> None:
    assert concerned.concerned([changed]) == [f"tests/{test}" for test in tests]


def test_what_has_changed_is_what_the_branch_and_the_working_tree_have_of_their_own(repository: Path) -> None:
    assert concerned.changed("HEAD") == []
    concerned.git("checkout", "-q", "-b", "work")
    (repository / "cpchub" / "hub.py").write_text("a = 1")
    concerned.git("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-q", "-a", "-m", "one")
    (repository / "serving" / "page.css").write_text("a {}")
    (repository / "cpchub" / "new.py").write_text("")
    assert concerned.changed() == ["cpchub/hub.py", "cpchub/new.py", "serving/page.css"]
    assert concerned.changed("HEAD") == ["cpchub/new.py", "serving/page.css"]


def test_on_main_itself_it_is_the_last_commit(repository: Path) -> None:
    (repository / "cpchub" / "hub.py").write_text("a = 1")
    assert concerned.changed() == ["cpchub/hub.py"]
    concerned.git("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-q", "-a", "-m", "one")
    assert concerned.changed() == ["cpchub/hub.py"]
