"""The model folder of a public encoder, made of its authors' checkpoint."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from cpchub.catalog.origin import ORIGIN, Source
from cpchub.catalog.spec import CONFIG, EVALUATION, ModelSpec, read_json
from cpchub.common.files import write_json
from cpchub.encoders import model_folder
from cpchub.errors import ImportFormatError, ModelFolderError
from cpchub.importers.convert import import_checkpoint

_IMPORTED = "Its weights were imported; nothing was measured with them here."


def convert_published(checkpoint: Path, out: Path, entry: ModelSpec, source: Source) -> None:
    """Write the model folder `out` of a public entry of the catalog; nothing in the checkpoint is executed.

    What is said of the encoder (summary, limits, licence, published figures) is the entry's; the network and how images
    are prepared are the checkpoint's.

    Raises ImportFormatError where the checkpoint is of another network than the entry, else as `import_checkpoint`.
    """
    if entry.folder is None:
        raise ModelFolderError(f"{entry.name} has no folder that describes it")
    claims: dict[str, Any] = dict(source.claims)
    import_checkpoint(
        checkpoint,
        out,
        as_=source.format,
        name=entry.name,
        license=entry.license,
        data=entry.data,
        method=entry.method,
        **claims,
    )
    made = ModelSpec.from_folder(out)
    if (made.architecture, made.dim) != (entry.architecture, entry.dim):
        raise ImportFormatError(
            f"{checkpoint.name} is of {made.architecture} with vectors of {made.dim}, and {entry.name} is "
            f"{entry.architecture} with vectors of {entry.dim}; it is another checkpoint than the catalog describes"
        )
    config, described = read_json(out / CONFIG), read_json(entry.folder / CONFIG)["cpchub"]
    config["cpchub"] |= {"summary": described["summary"], "limits": [*described.get("limits", []), _IMPORTED]}
    write_json(out / CONFIG, config)
    for name in (EVALUATION, ORIGIN):
        if (entry.folder / name).is_file():
            shutil.copyfile(entry.folder / name, out / name)
    model_folder.render_card(out)
