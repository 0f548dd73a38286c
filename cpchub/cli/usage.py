"""From words to a command: tyro reads them, older spellings are understood, and what does not fit is one sentence."""

from __future__ import annotations

import difflib
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from typing import Any

import tyro

from cpchub.common.words import listed
from cpchub.errors import ArgumentError

Renamed = Mapping[str, str]  # an older word -> today's; a flag that maps to "" stands for a word without a flag
NUMBERS = (
    (re.compile(r"invalid literal for int\(\) with base 10: (.*)"), "a whole number"),
    (re.compile(r"could not convert string to float: (.*)"), "a number"),
)
ELSEWHERE = {  # what other programs call an option
    "-k": ("-n", "--n", "--top-k", "--topk", "--num", "--number", "--count", "--limit"),
    "-o": ("--output", "--output-dir", "--outdir", "--out-dir", "--output-file", "--outfile", "--dest", "--save-to"),
}


def parse(kind: Any, *, prog: str, args: Sequence[str], **options: Any) -> Any:
    """A `kind` with its values taken from `args`; `options` are tyro's. `--help` ends by SystemExit 0.

    Raises ArgumentError for words that do not fit.
    """

    def read(words: Sequence[str]) -> Any:
        return tyro.cli(kind, prog=prog, args=words, **options)

    with one_sentence(prog, lambda: help_of(read)):
        return read(args)


def todays_words(args: Sequence[str], renamed: Renamed, say: Callable[[str], None]) -> list[str]:
    """The words with older spellings in today's, with a note for each."""
    words: list[str] = []
    for place, word in enumerate(args):
        if word == "--":
            return [*words, *args[place:]]
        flag, equals, value = word.partition("=")
        today = renamed.get(flag)
        if today is None:
            words.append(word)
        elif today == "":
            words += [value] if equals else []
        else:
            words.append(today + equals + value)
            say(f"note: {flag} is called {today} now; the old word goes with the next version")
    return words


@contextmanager
def one_sentence(prog: str, help_text: Callable[[], str]) -> Iterator[None]:
    """Raise what tyro would print in a box as an ArgumentError of one sentence.

    The hook is not of tyro's public interface. Where a version lacks it, or has an event of a new kind, tyro's own box
    is printed.
    """
    hook = getattr(getattr(tyro, "_errors", None), "on_parse_error", None)

    def refuse(event: Any) -> None:
        make = SENTENCES.get(type(event).__name__)
        if make is not None:
            raise ArgumentError(make(prog, event, help_text))

    with nullcontext() if hook is None else hook(refuse):
        yield


def help_of(read: Callable[[Sequence[str]], Any]) -> str:
    """What `--help` prints."""
    printed = io.StringIO()
    with redirect_stdout(printed), suppress(SystemExit):
        read(["--help"])
    return printed.getvalue()


def _missing(prog: str, event: Any, help_text: Callable[[], str]) -> str:
    missing, left = [each.arg for each in event.missing_arguments], event.unrecognized_tokens
    if any(word.startswith("-") for word in left):
        return _unknown_words(prog, left, help_text)
    names = [_name(argument) for argument in missing]
    if len(missing) == len(left) == 1:
        return f"{prog} lacks {names[0]}; did you mean {names[0].split()[0]} {left[0]}?"
    return f"{prog} lacks {listed(names)}; see {prog} --help"


def _unrecognized(prog: str, event: Any, help_text: Callable[[], str]) -> str:
    return _unknown_words(prog, event.tokens, help_text)


def _unknown_words(prog: str, words: Sequence[str], help_text: Callable[[], str]) -> str:
    flag = next((word.partition("=")[0] for word in words if word.startswith("-")), None)
    lines = re.findall(r"^[│ ]+(-.*)", help_text(), re.M)
    there = [name for line in lines for name in re.findall(r"(?:^|, )(--?[a-z][\w.-]*)", line)]
    if flag is None:
        offer = f"did you mean --images {words[0]}?" if "--images" in there else f"see {prog} --help"
        return f"{prog} has no place for {words[0]!r}; {offer}"
    wanted = flag.replace("_", "-").lower()
    near = [name for name, others in ELSEWHERE.items() if name in there and wanted in others]
    near = near or difflib.get_close_matches(wanted, there, n=1, cutoff=0.75)
    return f"{prog} has no option {flag}; " + (f"did you mean {near[0]}?" if near else f"see {prog} --help")


def _bad_value(prog: str, event: Any, help_text: Callable[[], str]) -> str:
    if event.offending_value is not None:
        return f"{_flag(event.argument)} takes no value, such as {event.offending_value!r}; see {prog} --help"
    return f"{_name(event.argument)}: the value is missing; see {prog} --help"


def _invalid_choice(prog: str, event: Any, help_text: Callable[[], str]) -> str:
    return f"{_flag(event.argument)} is {event.value!r}; it is one of {', '.join(map(repr, event.choices))}"


def _no_such_value(prog: str, event: Any, help_text: Callable[[], str]) -> str:
    if event.argument is None:
        return f"{event.message}; see {prog} --help"
    for pattern, what in NUMBERS:
        if found := pattern.fullmatch(event.message):
            return f"{_flag(event.argument)} takes {what}, not {found[1]}"
    return f"{_name(event.argument)}: {event.message}"


SENTENCES: Mapping[str, Callable[[str, Any, Callable[[], str]], str]] = {
    "MissingArgs": _missing,
    "UnrecognizedArgs": _unrecognized,
    "BadValue": _bad_value,
    "InvalidChoice": _invalid_choice,
    "InstantiationFailure": _no_such_value,
}


def _flag(argument: Any) -> str:
    """`-k`, `--kind`, or IMAGES."""
    return str(argument.lowered.metavar if argument.is_positional() else argument.lowered.name_or_flags[0])


def _name(argument: Any) -> str:
    """`-o PATH`, or IMAGES."""
    return _flag(argument) if argument.is_positional() else f"{_flag(argument)} {argument.lowered.metavar}"
