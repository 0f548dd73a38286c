"""The end of a served page: within seconds, whatever its visitors are doing, and with their uploads removed."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr

from cpchub.common.files import writing

ANSWERS_END = 1  # seconds that requests under way get before they are cancelled: a stream may have no end
SERVER_ENDS = 3  # seconds that the whole server gets; only a job that cannot be cancelled takes longer


@contextmanager
def own_uploads() -> Iterator[None]:
    """A page that is built and launched in this block keeps its uploads in a folder of its own, gone at the end.

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


def wait_until(stopped: Callable[[], bool], page: gr.Blocks) -> None:
    """Return when a stop was asked for, or somebody else has closed the page."""
    while page.is_running and not stopped():
        time.sleep(0.1)


def close(page: gr.Blocks) -> bool:
    """Close a launched page within SERVER_ENDS seconds; whether all its work has ended by then.

    Requests under way are cancelled after ANSWERS_END seconds: Gradio alone waits for every stream and every upload,
    without end. False where a visitor's job still computes: no thread can be ended from outside.
    """
    server: Any = page.server  # uvicorn's, which reads these two when it is told to end
    server.config.timeout_graceful_shutdown = ANSWERS_END
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # no traceback for a request that is cancelled
    threading.Thread(target=page.close, kwargs={"verbose": False}, daemon=True).start()
    server.thread.join(SERVER_ENDS)
    return not server.thread.is_alive()
