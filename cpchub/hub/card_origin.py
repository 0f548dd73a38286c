"""The sections that only the card of a public encoder has: how it is loaded, what was published, where it is from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cpchub.catalog.origin import Origin, RemoteFile, Source
from cpchub.catalog.vocabulary import TASKS, data_title
from cpchub.hub.card_tables import table, value


def loading_section(config: Mapping[str, Any]) -> str:
    """It is in no repository of ours, so it is loaded by its name."""
    name = config["cpchub"]["name"]
    return f"""## Load it

```python
import cpchub

encoder = cpchub.load("{name}")  # fetched from its authors the first time, then kept
vectors = encoder.encode(["photo.jpg"])  # float32, (1, {config["num_features"]})
```

For a machine without a network, run `cpchub fetch {name}` where there is one, and copy the folder that it prints:
`cpchub.load("./{name}")` takes it."""


def published_section(results: list[Mapping[str, Any]]) -> str:
    """What others have published; nothing of it was measured here."""
    rows = [
        (
            TASKS.get(row["task"], row["task"]),
            f"{data_title(row['dataset'])}, {row['split']}",
            f"{row['metric']} {value(row)}",
            row["source"],
        )
        for row in results
    ]
    heads = ("Task", "Data", "Result", "Source")
    return "## Published results\n\nAs published; nothing of it was measured with cpchub:\n\n" + table(heads, rows)


def origin_section(origin: Origin) -> str:
    """Where the checkpoint is, how it is checked, whom to cite."""
    rows = [
        (
            number,
            f"`{source.format}`" if source.format else "recognised",
            f"<{file.address}>",
            _size(file),
            _check(file),
            source.known_from,
        )
        for number, source in enumerate(origin.sources, start=1)
        for file in source.files
    ]
    heads = ("Choice", "Format", "Address", "Size", "Checked by", "Address read in")
    page = f" Its authors' page: <{origin.page}>." if origin.page else ""
    return (
        "## Where it comes from\n\nThe checkpoint is its authors'. It is fetched from the first address that answers, "
        f"checked, and converted on your machine; nothing in it is executed.\n\n{table(heads, rows)}\n\n"
        f"The links were verified on {origin.links_read.isoformat()}, from documents and not by opening them. "
        f"Please cite {origin.citation}.{page}"
    )


def _format(source: Source) -> str:
    return f"`{source.format}`" if source.format else "recognised"


def _size(file: RemoteFile) -> str:
    if file.size is not None:
        return f"{file.size:,} bytes"
    return "not stated" if file.about_mb is None else f"about {file.about_mb:,.0f} MB"


def _check(file: RemoteFile) -> str:
    for kind, digest in (("sha256", file.sha256), ("sha256", file.sha256_prefix), ("md5", file.md5_prefix)):
        if digest is not None:
            return f"{kind} `{digest}`" if len(digest) in (32, 64) else f"{kind} that begins with `{digest}`"
    return "what the first download here was"
