"""Hugging Face `datasets`: a folder that `save_to_disk` wrote, read by Arrow alone, and Dataset objects."""

from __future__ import annotations

import bisect
import json
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from cpchub.errors import BrokenImageError, SourceError
from cpchub.media.sources.base import ListedImage, Listing
from cpchub.media.sources.columns import is_fact, stacked, user_columns
from cpchub.media.sources.rows import encoded, image_column, row_images
from cpchub.media.sources.storage import Disk

STATE, SPLITS = "state.json", "dataset_dict.json"


class SavedDataset:
    """A folder that `save_to_disk` wrote, of one split or several; an image's path is its row, `train/0000012`."""

    kind = "datasets"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @staticmethod
    def is_at(folder: Path) -> bool:
        """Whether a folder is one of these."""
        return (folder / SPLITS).is_file() or ((folder / STATE).is_file() and (folder / "dataset_info.json").is_file())

    @property
    def location(self) -> str:
        return str(self.folder)

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder}

    def listing(self) -> Listing:
        images: list[ListedImage] = []
        columns: list[pa.Table] = []
        for name, (table, _, column, fingerprint) in self._tables.items():
            rows = row_images(name, table.num_rows, None, fingerprint)
            images += rows
            columns.append(user_columns([image.path for image in rows], table.drop([column])))
        if not images:
            raise SourceError(f"the data set in {self.folder} has no rows")
        return Listing(images, stacked(columns))

    def read(self, image: ListedImage) -> bytes:
        name, row = image.place or ("", -1)
        table, starts, column, _ = self._tables.get(name, (None, [], "", ""))
        if table is None or not 0 <= row < table.num_rows:
            raise BrokenImageError("the data set has fewer rows than when it was listed")
        chunk = bisect.bisect_right(starts, row) - 1
        return encoded(table[column].chunk(chunk)[row - starts[chunk]].as_py(), Disk(self.folder))

    @cached_property
    def _tables(self) -> dict[str, tuple[pa.Table, list[int], str, str | None]]:
        """Split -> table mapped from the disk, first row of each of its chunks, image column, fingerprint."""
        if not (self.folder / SPLITS).is_file():
            return {"": self._map(self.folder)}
        splits = _json(self.folder / SPLITS).get("splits", [])
        return {str(split): self._map(self.folder / str(split)) for split in splits}

    def _map(self, folder: Path) -> tuple[pa.Table, list[int], str, str | None]:
        state = _json(folder / STATE)
        if state.get("_indices_data_files"):
            raise SourceError(f"{folder} has an index over its rows; write it with flatten_indices().save_to_disk()")
        parts = []
        for file in state.get("_data_files", []):
            path = folder / Path(str(file["filename"])).name
            try:
                parts.append(pa.ipc.open_stream(pa.memory_map(str(path))).read_all())
            except (OSError, pa.ArrowException) as error:
                raise SourceError(f"{path} cannot be read: {error}") from error
        if not parts:
            raise SourceError(f"{folder} has no data files")
        table = pa.concat_tables(parts)
        image = image_column(table.schema, str(folder))
        starts = [0]
        for chunk in table[image].chunks:
            starts.append(starts[-1] + len(chunk))
        return table, starts[:-1], image, state.get("_fingerprint")


class DatasetObject:
    """A `datasets.Dataset` with an Image feature, as it is in memory."""

    kind = "datasets"

    def __init__(self, dataset: Any) -> None:
        if not hasattr(dataset, "__len__"):
            raise SourceError(
                "a streaming data set cannot be read twice, as embedding needs it; load it without streaming=True, or "
                "a part of it: Dataset.from_list(list(stream.take(1000)), features=stream.features)"
            )
        names = [name for name, feature in dataset.features.items() if type(feature).__name__ == "Image"]
        if not names:
            raise SourceError(f"the data set has no Image feature (its features: {', '.join(dataset.features)})")
        self.image = names[0]
        self.dataset = dataset.with_format(None).cast_column(
            self.image, type(dataset.features[self.image])(decode=False)
        )
        self._fingerprint = str(getattr(dataset, "_fingerprint", "")) or None

    @staticmethod
    def fits(source: object) -> bool:
        """Whether an object is a Dataset, told without importing the library."""
        return hasattr(source, "features") and hasattr(source, "cast_column") and hasattr(source, "with_format")

    @property
    def location(self) -> str:
        info = self.dataset.info
        return f"datasets:{info.dataset_name or info.builder_name or 'in memory'}/{self.dataset.split or 'all'}"

    def listing(self) -> Listing:
        images = row_images("", len(self.dataset), None, self._fingerprint)
        if not images:
            raise SourceError("the data set has no rows")
        names = [field.name for field in self.dataset.features.arrow_schema if is_fact(field.type)]
        if not names:
            return Listing(images)
        facts = self.dataset.select_columns(names).with_format("arrow")
        return Listing(images, user_columns([image.path for image in images], facts[:]))

    def read(self, image: ListedImage) -> bytes:
        if image.place is None or not 0 <= image.place[1] < len(self.dataset):
            raise BrokenImageError("the data set has fewer rows than when it was listed")
        try:
            row = self.dataset[image.place[1]]
        except (OSError, ValueError) as error:  # its files are gone or damaged; pyarrow's errors are ValueErrors
            raise BrokenImageError(f"the data set cannot be read ({error})") from error
        return encoded(row[self.image], Disk(Path.cwd()))


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} cannot be read: {error}") from error
    return content if isinstance(content, dict) else {}
