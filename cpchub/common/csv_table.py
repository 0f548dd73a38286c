"""Read CSV tables from spreadsheets and scripts, with any separator, encoding and spacing.

One reader serves the labels of every command and the lists of images.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import csv as arrow_csv

from cpchub.errors import CpchubError

SEPARATORS = (",", ";", "\t", "|")
NO_SEPARATOR = "\x1f"  # stands in no file of one column
NAMED = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
MARKS = (  # the first bytes that tell an encoding
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # its mark begins like that of UTF-16, so it is tried first
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
SEPARATOR_LINE = re.compile(r"^\"?sep=(.)\"?[\s,;]*$", re.IGNORECASE)  # a first line that Excel writes
LONGEST_FIELD = 1 << 24  # characters


@dataclass(frozen=True)
class CsvTable:
    """A table by lines: names of the columns, the fields of each row, and the line of the file that a row ends on."""

    file: Path
    columns: list[str]
    rows: list[list[str]]
    lines: list[int]

    def column(self, name: str) -> list[str]:
        """The fields of a column, empty where a line has none."""
        place = self.columns.index(name)
        return [row[place] for row in self.rows]

    def typed(self, text: Collection[str]) -> pa.Table:
        """As an Arrow table: numbers, dates and truth values where all of a column are such; `text` stays text."""
        if not self.rows:
            return pa.table({name: pa.array([], pa.string()) for name in self.columns})
        clean = io.StringIO()
        writer = csv.writer(clean, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
        writer.writerows([self.columns, *self.rows])
        data = clean.getvalue().encode()
        return arrow_csv.read_csv(
            io.BytesIO(data),
            read_options=arrow_csv.ReadOptions(block_size=min(max(len(data), 1 << 20), 1 << 30)),
            parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(text, pa.string()), quoted_strings_can_be_null=True
            ),
        )


def read_csv(file: Path, known: Sequence[str], error: type[CpchubError], what: str) -> CsvTable:
    """Read a CSV, with the separator and the encoding that it has, or those that its first line says (`sep=;`).

    known: names that mean something, matched whatever their case; the separator is the one that shows one of them.
    Fields lose the space around them, empty lines are passed over, and so are columns without a name.

    Raises `error`, saying `what` the file was to be, where it cannot be read, a column is there twice, or a line does
    not have the fields of the header.
    """
    text = read_text(file, error, what)
    first, _, rest = text.partition("\n")
    given = SEPARATOR_LINE.match(first.rstrip("\r")) if "sep=" in first.lower() else None
    body, skipped = (rest, 1) if given else (text, 0)
    separator = given[1] if given else _separator(body, known, file)
    reader = csv.reader(io.StringIO(body, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    old_limit = csv.field_size_limit(LONGEST_FIELD)
    try:
        records = [([field.strip() for field in record], reader.line_num + skipped) for record in reader]
    except csv.Error as wrong:
        raise error(
            f"{file} cannot be read as {what}: line {reader.line_num + skipped} is not well formed ({wrong}); look at "
            "its quotes"
        ) from wrong
    finally:
        csv.field_size_limit(old_limit)
    records = [(record, line) for record, line in records if any(record)]
    header = _names(records[0][0], known) if records else []
    _check_once(file, header, what, error)
    rows = [_fitted(file, record, line, header, separator, error) for record, line in records[1:]]
    named = [place for place, name in enumerate(header) if name]
    return CsvTable(
        file,
        [header[place] for place in named],
        [[row[place] for place in named] for row in rows],
        [line for _, line in records[1:]],
    )


def read_text(file: Path, error: type[CpchubError], what: str) -> str:
    """The text of a file in UTF-8 or, with its mark or without, UTF-16. Raises `error`, naming what it is instead."""
    try:
        data = file.read_bytes()
    except OSError as wrong:
        raise error(f"{file} cannot be read as {what} ({wrong.strerror or wrong})") from wrong
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise error(f"{file} cannot be read as {what}: it is a workbook of a spreadsheet; save it as CSV")
    encoding = next((name for mark, name in MARKS if data.startswith(mark)), None) or _unmarked(data)
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as wrong:
        line = data.count(b"\n", 0, wrong.start) + 1
        raise error(
            f"{file} cannot be read as {what}: byte 0x{data[wrong.start]:02x} on line {line} is not "
            f"{encoding.upper()}; save it as UTF-8 (in Excel: CSV UTF-8)"
        ) from wrong


def _unmarked(data: bytes) -> str:
    """UTF-16 of Latin letters has a zero in nearly every second byte; a text in UTF-8 has none."""
    start = data[:200]
    odd, even = start[1::2].count(0), start[::2].count(0)
    if max(odd, even) < len(start) / 4:
        return "utf-8"
    return "utf-16-le" if odd > even else "utf-16-be"


def _separator(text: str, known: Sequence[str], file: Path) -> str:
    """The separator that shows a known name in the header, else the one that shows most names."""
    candidates = ("\t", *SEPARATORS) if file.suffix.lower() == ".tsv" else SEPARATORS
    headers = {each: _header(text, each, known) for each in candidates}
    fitting = [each for each in candidates if set(headers[each]) & set(known)]
    best = max(fitting or candidates, key=lambda each: len(headers[each]))  # of several alike the first
    return best if len(headers[best]) > 1 else NO_SEPARATOR


def _header(text: str, separator: str, known: Sequence[str]) -> list[str]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    try:
        return _names(next((record for record in reader if any(record)), []), known)
    except csv.Error:
        return []


def _names(header: Sequence[str], known: Sequence[str]) -> list[str]:
    names = [name.strip() for name in header]
    return [name.lower() if name.lower() in known else name for name in names]


def _check_once(file: Path, names: Sequence[str], what: str, error: type[CpchubError]) -> None:
    twice = [name for place, name in enumerate(names) if name and name in names[:place]]
    if twice:
        raise error(f"{file} cannot be read as {what}: it has the column {twice[0]} twice; rename or delete one")


def _fitted(
    file: Path, record: list[str], line: int, header: Sequence[str], separator: str, error: type[CpchubError]
) -> list[str]:
    """A row with a field for each column; spreadsheets leave empty ones out, or add some."""
    if any(record[len(header) :]):
        raise error(
            f"{file}, line {line} has {len(record)} fields and the first line {len(header)}; put quotes around a field "
            f"that holds {NAMED.get(separator, repr(separator))}"
        )
    return [*record[: len(header)], *[""] * (len(header) - len(record))]
