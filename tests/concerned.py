"""The test files that concern a change, for `make fast`: `python tests/concerned.py [COMMIT]` prints them, best first.

A change is what the working tree, with files that git does not know yet, has different from COMMIT: by default from
where this branch left main, or from the last commit but one on main itself. A test file concerns a source file when it
is named for it (`test_hub_transfer.py` for `hub.py`), imports it, or names it in a string, in this order; a change of
what the tests share concerns the tests that import it. What reaches a file only through others is left to `make test`.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


def git(*arguments: str) -> list[str]:
    done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def changed(since: str | None = None) -> list[str]:
    """Paths in the repository, with both names of what was moved."""
    if since is None:
        try:
            (since,) = git("merge-base", "HEAD", "main")
        except subprocess.CalledProcessError:  # a clone of another branch alone
            since = "HEAD"
        if since == git("rev-parse", "HEAD")[0] and not git("status", "--porcelain"):
            since = "HEAD~1"
    return sorted({*git("diff", "--name-only", "--no-renames", since), *git("ls-files", "-o", "--exclude-standard")})


def concerned(paths: list[str]) -> list[str]:
    """The test files that concern changed paths: changed ones first, then those named for them, then the others."""
    ranks: dict[str, int] = {}
    for test in sorted(path.relative_to(REPOSITORY).as_posix() for path in REPOSITORY.glob("tests/**/test_*.py")):
        found = [rank for path in paths if (rank := closeness(test, path)) is not None]
        if found:
            ranks[test] = min(found)
    return sorted(ranks, key=ranks.__getitem__)


def closeness(test: str, path: str) -> int | None:
    """0 for the changed test itself, 1 where it is named for the file, 2 where it mentions it; None for neither."""
    if test == path:
        return 0
    file = Path(path)
    if file.suffix != ".py":
        name = "model_cards" if file.parts[0] == "model_cards" else file.name
        return 2 if re.search(rf"\b{re.escape(name)}\b", text(test)) else None
    top, parts = file.parts[0], [part for part in file.with_suffix("").parts if part != "__init__"]
    if len(parts) > 1 and parts[1] == f"cpchub_{top}":  # a folder that holds a package
        parts = parts[1:]
    if parts[-1] == "conftest":
        return 2 if test.startswith(f"{file.parent.as_posix()}/") else None
    if top != "tests" and test.split("/")[1] == top:
        words = Path(test).stem.removeprefix("test_") + "_"
        names = ("_".join(parts[start:]) for start in range(1, len(parts)))
        if any(words.startswith(f"{name}_") for name in names):
            return 1
    module = ".".join(parts)
    package = module.rpartition(".")[0]
    mentions = mentioned_by(test)
    return 2 if module in mentions or (package.count(".") > 0 and package in mentions) else None


@cache
def text(test: str) -> str:
    return (REPOSITORY / test).read_text()


@cache
def mentioned_by(test: str) -> frozenset[str]:
    """Dotted names of modules that a test file imports, or names as `monkeypatch.setattr` takes them."""
    names = set()
    for node in ast.walk(ast.parse(text(test))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    for name in re.findall(r"\b(?:cpchub|cpchub_training|cpchub_serving|tests)(?:\.\w+)+", text(test)):
        names |= {name, name.rpartition(".")[0]}
    return frozenset(names)


if __name__ == "__main__":
    print("\n".join(concerned(changed(*sys.argv[1:2]))))
