"""Where a page keeps what its visitors upload, for as long as it runs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cpchub.common.files import writing


@contextmanager
def own_uploads() -> Iterator[None]:
    """A page that is built and served in this block keeps its uploads in a folder of its own, gone at the end.

    Gradio's usual folder, `$TMPDIR/gradio`, is shared by all pages and users of a machine, and nobody removes what an
    upload that broke off has left there. A `GRADIO_TEMP_DIR` that is set becomes the parent of the folder.

    Raises OutputError where no folder can be made there.
    """
    usual = os.environ.get("GRADIO_TEMP_DIR") or None
    with writing(Path(usual or os.environ.get("TMPDIR") or "/tmp")):  # another user's, or read-only
        if usual is not None:
            Path(usual).mkdir(parents=True, exist_ok=True)
        own = tempfile.TemporaryDirectory(prefix="cpchub-uploads-", dir=usual, ignore_cleanup_errors=True)
    with own as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        try:
            yield
        finally:
            if usual is None:
                del os.environ["GRADIO_TEMP_DIR"]
            else:
                os.environ["GRADIO_TEMP_DIR"] = usual
