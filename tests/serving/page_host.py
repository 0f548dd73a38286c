"""A process that has loaded what a page takes, and forks a `cpchub demo` of its own for every line on its stdin.

Importing torch and Gradio takes seconds, a fork of what has imported them does not. Each page still ends as a command
does, by the end of its interpreter. A line is a JSON object: {"args", "env", "log", "job"} starts a page and is
answered by its process id, and ignores Ctrl-C until it asks for it, as shells have it for what runs in the background;
{"wait": pid} is answered by its exit code, or null while it runs.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from cpchub.cli.main import main
from cpchub.index import layout, layout_kept
from cpchub_serving import app  # noqa: F401 - loaded once, for all pages
from cpchub_serving.visit import finder
from cpchub_serving.visit.background import Job


def sleep() -> None:
    """A search that waits for longer than any test: the page has to end all the same."""
    time.sleep(3600)


def spin() -> None:
    while True:  # holds the interpreter's lock but for a moment now and then
        pass


def multiply() -> None:
    matrix = np.eye(300, dtype=np.float32)
    while True:  # in native code, which the end of an interpreter cannot stop
        matrix = matrix @ matrix


def background() -> None:
    """Work that the search only starts, and answers."""
    Job(lambda _: multiply()).start()


JOBS = {"sleep": sleep, "spin": spin, "multiply": multiply, "background": background}


def serve_page(args: list[str], env: dict[str, str], log: str, job: str | None) -> int:
    os.environ.update(env)
    tempfile.tempdir = None  # to be asked for again
    with Path(os.devnull).open() as nothing, Path(log).open("w") as file:
        os.dup2(nothing.fileno(), 0)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if job == "endless map":
        layout.LATE = 10**9  # steps
        layout_kept._read = lambda _: None  # nor is one there already
    elif job is not None:
        usual = finder.Finder.by_row

        def by_row(*args: Any) -> Any:
            print("at work", flush=True)
            JOBS[job]()
            return usual(*args)

        finder.Finder.by_row = by_row
    return main(["demo", *args])


def listen() -> int:
    codes: dict[int, int] = {}
    pages: list[int] = []
    print("loaded", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        if "wait" in asked:
            answer = codes.get(asked["wait"])
            if answer is None and (ended := os.waitpid(asked["wait"], os.WNOHANG))[0]:
                answer = codes[asked["wait"]] = os.waitstatus_to_exitcode(ended[1])
        elif not (answer := os.fork()):
            return serve_page(**asked)
        else:
            pages.append(answer)
        print(json.dumps(answer), flush=True)
    for page in set(pages) - set(codes):  # nobody is there any more, as where pytest was killed
        os.kill(page, signal.SIGKILL)
    return 0


if __name__ == "__main__":
    sys.exit(listen())
