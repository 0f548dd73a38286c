"""What a Space runs, copied into it as it is: the page and the API of the collection that lies beside this file."""

from __future__ import annotations

import os
from pathlib import Path

from cpchub_serving.app import Access, serve
from cpchub_serving.process.keys import read_keys

HERE = Path(__file__).parent

if __name__ == "__main__":
    encoder = HERE / "encoder"  # where it was a folder of yours; others are found by their names
    serve(
        HERE / "collection",
        encoder=str(encoder) if encoder.is_dir() else None,
        thumbnails=HERE / "thumbnails",
        host="0.0.0.0",
        port=int(os.environ.get("GRADIO_SERVER_PORT", "7860")),
        access=Access(read_keys(None)),  # the secret CPCHUB_API_KEYS of the Space
    )
