"""Ask every address of the public encoders whether its file is still there: for maintainers, with a network.

    python -m cpchub.hub.check_origins            every public encoder; a line a file, tabs between columns
    python -m cpchub.hub.check_origins NAME ...   only these

Each address gets one HEAD request, no file is fetched. Status 1 where an address does not give what is on record.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.request import Request

from cpchub.catalog.listing import get_spec, list_specs
from cpchub.catalog.origin import RemoteFile
from cpchub.common.retry import retry
from cpchub.errors import CpchubError
from cpchub.hub.fetch_file import address_of, is_final, opened

FINE = "fine"
COLUMNS = ("result", "encoder", "file", "size", "type", "address")
_CLOSE = 0.06  # how far a size may be from what a page said, rounded to two digits, in megabytes or mebibytes


@dataclass(frozen=True)
class AddressCheck:
    """What one address answered: "fine", or what is wrong; `size` in bytes, where it was said."""

    encoder: str
    file: RemoteFile
    result: str
    size: int | None = None
    content_type: str = ""

    def row(self) -> tuple[str, ...]:
        """The columns for people."""
        size = "not stated" if self.size is None else f"{self.size:,}"
        return self.result, self.encoder, self.file.name, size, self.content_type, address_of(self.file)


def check_origins(names: Iterable[str] = ()) -> Iterator[AddressCheck]:
    """Check the addresses of these encoders, or of all public ones, one after another.

    Raises UnknownModelError for a name that is none, HubError where CPCHUB_MIRROR is no address.
    """
    wanted = [get_spec(name) for name in names]
    for spec in wanted or list_specs(status="public"):
        for source in spec.origin.sources if spec.origin is not None else ():
            for file in source.files:
                yield _check(spec.name, file)


def _check(name: str, file: RemoteFile) -> AddressCheck:
    address = address_of(file)
    request = Request(address, method="HEAD", headers={"User-Agent": "cpchub", "Accept-Encoding": "identity"})
    try:
        with retry(lambda: opened(request), hopeless=is_final) as answer:
            length, content_type = answer.headers.get("Content-Length"), answer.headers.get_content_type()
    except HTTPError as error:
        return AddressCheck(name, file, f"{error.code} {error.reason}")
    except (CpchubError, OSError, HTTPException, ValueError) as error:
        return AddressCheck(name, file, str(error.reason if isinstance(error, URLError) else error))
    size = int(length) if length is not None else None
    return AddressCheck(name, file, _compared(file, size, content_type), size, content_type)


def _compared(file: RemoteFile, size: int | None, content_type: str) -> str:
    if content_type == "text/html":
        return "a web page"
    if size is None:
        return FINE
    if file.size is not None and size != file.size:
        return f"another size: {file.size:,} bytes on record"
    if file.about_mb is not None and not any(
        abs(size / unit - file.about_mb) <= _CLOSE * file.about_mb for unit in (1e6, 1 << 20)
    ):
        return f"another size: about {file.about_mb:,.0f} MB on record"
    return FINE


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table and return the status."""
    parser = argparse.ArgumentParser(
        prog="python -m cpchub.hub.check_origins", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="public encoders; without it, all")
    names = parser.parse_args(argv).names
    print("\t".join(COLUMNS))
    found = []
    try:
        for check in check_origins(names):
            found.append(check)
            print("\t".join(check.row()), flush=True)
    except CpchubError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    bad = [check for check in found if check.result != FINE]
    print(f"{len(found) - len(bad)} of {len(found)} addresses give what is on record", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
