"""The page answers before what only some visitors need is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.cpchub.images import an_image

PAGE = """
import os, sys
from starlette.testclient import TestClient
from cpchub.embedding.encoder_of import later_encoder_of
from cpchub.index import Index
from cpchub_serving.app import Access, Shown, build
index = Index.open(sys.argv[1])
shown = Shown(index, later_encoder_of(index.collection, sys.argv[2]))
with TestClient(build([shown], Access())) as client:
    assert client.get("/").status_code == 200
    assert client.get("/page/search/results").json()["tiles"]
    print(sorted({"torch", "timm", "sklearn"} & {*sys.modules}))
    image = open(sys.argv[3], "rb").read()
    assert client.post("/v1/embeddings", files=[("file", ("a.png", image, "image/png"))]).status_code == 200
    print(sorted({"torch", "timm"} & {*sys.modules}), flush=True)
    os._exit(0)  # as `cpchub demo` ends: the interpreter would wait for threads
"""


def test_the_page_answers_without_torch_and_scikit_learn_and_the_first_image_brings_the_encoder(
    served, tiny_encoder_folder: Path, tmp_path: Path
) -> None:
    an_image(0, (40, 40)).save(tmp_path / "a.png")
    words = [str(served.index.collection.folder), str(tiny_encoder_folder), str(tmp_path / "a.png")]
    done = subprocess.run([sys.executable, "-c", PAGE, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n['timm', 'torch']\n"
