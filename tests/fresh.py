"""Programs in a fresh interpreter, without the seconds that it takes to import torch for each of them.

One process has torch and torchvision imported, and nothing of timm or cpchub. Each program runs in a fork of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

SERVER = """
import json, os, sys, traceback
import torchvision

def program(code, arguments, folder, environment, output):
    for number, name in (1, "stdout"), (2, "stderr"):
        os.dup2(os.open(os.path.join(output, name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[:] = ["-c", *arguments]
    sys.path[:] = ["", *environment.get("PYTHONPATH", "").split(os.pathsep), *(p for p in sys.path if p)]
    status = 1
    try:
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

for line in iter(sys.stdin.readline, ""):
    child = os.fork()
    if child == 0:
        program(*json.loads(line))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class FreshInterpreters:
    """Runs programs, each in an interpreter that has imported nothing but torch and torchvision."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder  # for what programs print
        self.server = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder
        )

    def __enter__(self) -> FreshInterpreters:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.kill()
        self.server.communicate()

    def run(
        self, code: str, *arguments: object, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """As `subprocess.run` of `python -c CODE ARGUMENT...`, with what it has printed as text."""
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        given = [str(argument) for argument in arguments]
        asked = [code, given, str(cwd or Path.cwd()), dict(os.environ if env is None else env), str(self.folder)]
        self.server.stdin.write(json.dumps(asked) + "\n")
        self.server.stdin.flush()
        status = self.server.stdout.readline()
        assert status, "the process that programs are forked from has ended"
        printed = [(self.folder / name).read_text() for name in ("stdout", "stderr")]
        return subprocess.CompletedProcess([sys.executable, "-c", code, *given], int(status), *printed)
