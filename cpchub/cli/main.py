"""The command line: finds the command, runs it, and turns how it ended into a status and a sentence.

Status 0 when the job is done, 2 for usage and bad input (one `error:` line), 130 after Ctrl-C.
"""

from __future__ import annotations

import difflib
import os
import shlex
import sys
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from cpchub import __version__
from cpchub.common.quiet import quiet
from cpchub.errors import NO_WINDOWS, CpchubError, CpchubWarning

STOPPED = 130  # the status of a program that Ctrl-C ended, as shells give it
BROKEN_PIPE = 141  # what a shell reports for a program that SIGPIPE ended
ELSEWHERE = {  # what other programs call a command
    "models": ("list", "ls", "catalog", "encoders", "zoo"),
    "demo": ("ui", "web", "gui", "app", "launch", "page"),
    "serve": ("api", "server"),
    "fetch": ("download", "pull", "get"),
    "publish": ("push", "upload"),
    "embed": ("encode", "extract", "features"),
    "classify": ("predict", "label"),
    "duplicates": ("dedup", "dedupe", "deduplicate"),
    "train": ("pretrain", "fit"),
    "eval": ("evaluate", "test", "benchmark"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its status; `--help` of a command ends by SystemExit 0."""
    try:
        try:
            return answer([*(sys.argv[1:] if argv is None else argv)])
        finally:
            sys.stdout.flush()  # here, so that a reader who has left is noticed here
    except BrokenPipeError:  # `cpchub models | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE


def answer(args: list[str]) -> int:
    """Run the command that the words name; an error of the user is a line and status 2."""
    if sys.platform == "win32":
        print(f"error: {NO_WINDOWS}", file=sys.stderr)
        return 2
    try:
        from cpchub.cli.base import say
        from cpchub.cli.commands import COMMANDS, OLD_COMMANDS
    except KeyboardInterrupt:  # on a busy machine that alone takes a second
        print("stopped", file=sys.stderr)
        return STOPPED
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # its errors become ours; each of its tries is not told
    if not args or args[0] in ("-h", "--help"):
        print(overview())
        return 0 if args else 2
    if args[0] == "--version":
        print(__version__)
        return 0
    if args[0] in OLD_COMMANDS:
        old, args[0] = args[0], OLD_COMMANDS[args[0]]
        say(f"note: `cpchub {old}` is `cpchub {args[0]}` now; the old word goes with the next version")
    if args[0] not in COMMANDS:
        near = [name for name, others in ELSEWHERE.items() if args[0] in others]
        near = near or difflib.get_close_matches(args[0], COMMANDS, n=1)
        offer = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(COMMANDS)}"
        say(f"error: no command {args[0]!r}; {offer}")
        return 2
    command_class = COMMANDS[args[0]]
    try:
        with plain_warnings():
            command = command_class.parse(args[1:])
            command_class.check_alone()
            with quiet(command.quiet):
                command.run()
    except CpchubError as error:
        say(f"error: {error}")
        return 2
    except BrokenPipeError:
        raise
    except RuntimeError as error:
        if not _is_out_of_gpu_memory(error):
            raise
        say(
            f"error: the GPU has too little memory for this ({str(error).splitlines()[0]}). Ask for a smaller "
            "--batch-size, and see what else uses the GPU (nvidia-smi); what was complete is kept"
        )
        return 2
    except OSError as error:
        say(f"error: {error.strerror or error}" + (f": {error.filename}" if error.filename else ""))
        return 2
    except KeyboardInterrupt as stop:
        if str(stop):  # the library knows what was kept
            say(f"{stop}: cpchub {shlex.join(args)}")
        else:
            say(f"stopped; to go on: cpchub {shlex.join(args)}" if command_class.resumes else "stopped")
        return STOPPED
    return 0


def _is_out_of_gpu_memory(error: RuntimeError) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(error, torch.OutOfMemoryError)


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Our own warnings as lines for a person, without the place in the code; others as Python shows them."""
    shown = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, CpchubWarning):
            print(f"note: {message}", file=sys.stderr)
        else:
            shown(message, category, *place, **more)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = shown


def overview() -> str:
    """What `cpchub --help` prints: every command with the first sentence of its docstring."""
    from cpchub.cli.commands import COMMANDS

    lines = [
        f"cpchub {__version__}: encoders pretrained on unlabelled images, for search and few-label classification",
        "",
        "usage: cpchub COMMAND ...        cpchub COMMAND --help for its options",
        "",
    ]
    for name, command in COMMANDS.items():
        text = " ".join((command.__doc__ or "").split())
        lines += textwrap.wrap(text, 96, initial_indent=f"  {name:<14}", subsequent_indent=" " * 16)
    return "\n".join(lines)
