"""A public encoder of the test's own catalog: a tiny MoCo v2, whose authors are a loopback server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cpchub.catalog import listing
from cpchub.hub.known_files import LOCK_FILE

NAME = "moco-v2-tiny"
PATH, SECOND = "/moco/tiny.pth.tar", "/copies/tiny.pth.tar"
HOST = "https://authors.example"


def write_entry(config: dict[str, Any], *sources: dict[str, Any], **of_file: Any) -> None:
    folder = listing.catalog_folder() / NAME
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    row = {"task": "linear", "dataset": "imagenet-1k", "split": "validation", "metric": "accuracy", "value": 0.677}
    row |= {"published": True, "source": "README", "source_url": "https://authors.example", "protocol": "as published"}
    (folder / "eval.json").write_text(json.dumps({"results": [row]}))
    content = {
        "citation": "the paper", "links_read": "2026-11-28", "license_note": "Ask them.",
        "sources": list(sources) or [source(**of_file)],
    }  # fmt: skip
    (folder / "origin.json").write_text(json.dumps(content))


def source(path: str = PATH, **of_file: Any) -> dict[str, Any]:
    return {"format": "moco", "files": [{"name": "tiny.pth.tar", "address": f"{HOST}{path}", **of_file}]}


def left(home: Path) -> list[str]:
    """What lies in the cache besides locks and what is remembered."""
    kept = ("verified.json", LOCK_FILE)
    found = (path for path in home.rglob("*") if path.is_file() and path.name not in kept)
    return sorted(path.name for path in found if path.suffix not in (".lock", ".held"))
