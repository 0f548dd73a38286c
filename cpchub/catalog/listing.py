"""The catalog: lists encoders and resolves names.

An entry is a folder with the files of a published repository, `model_cards/<name>/`. An entry with weights is
`bundled`; one with a `release.json` (repository, 40-hex revision, sha256 of each file) is on the Hub (`hub`); one with
an `origin.json` is `public`: its authors' checkpoint is fetched and converted. One with none of them is a `recipe`. The
name of a family (`cpc`, `simclr`, `moco`) means its best encoder on this machine: `families.py`.

    CPCHUB_HUB=/path   adds a folder of published encoders, `/path/<name>` or `/path/<org>/<name>`
    CPCHUB_ORG=name    the Hub organisation of names without one

Nothing here imports torch: listing and describing encoders is instant.
"""

from __future__ import annotations

import difflib
import fnmatch
import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cpchub.catalog.families import FAMILIES, best_offline, family_name, is_here, untrained
from cpchub.catalog.licences import has_license
from cpchub.catalog.origin import ORIGIN
from cpchub.catalog.spec import (
    CONFIG,
    RELEASE,
    STATUSES,
    WEIGHTS,
    ModelSpec,
    default_org,
)
from cpchub.catalog.timm_names import TIMM_NAMES, timm_name
from cpchub.catalog.vocabulary import method_of, same_method
from cpchub.common.files import expanded
from cpchub.errors import (
    ArgumentError,
    CpchubWarning,
    HubError,
    ModelFolderError,
    UnknownModelError,
)


def list_models(
    pattern: str = "*",
    *,
    method: str | None = None,
    bundled: bool | None = None,
    dim: int | None = None,
    status: str | None = None,
    license: str | None = None,
    offline: bool = False,
) -> list[str]:
    """Names in the catalog that match a wildcard, in natural order (resnet18 before resnet101).

    `method` is for example "moco-v2", or a family: "moco" is MoCo v1, v2 and v3; `bundled=True` keeps those whose
    weights ship with the package; `dim` is the length of a vector; `status` is one of "bundled", "hub", "public",
    "recipe"; `license` is a wildcard, or "commercial" for weights that anybody may use for anything;
    `offline=True` keeps those whose weights are on this machine.
    Hyphens and underscores are alike, and the name of a family is a wildcard for its members. A broken folder in
    CPCHUB_HUB is left out with a warning; HubError where CPCHUB_HUB itself is not there.
    """
    found = list_specs(
        pattern, method=method, bundled=bundled, dim=dim, status=status, license=license, offline=offline
    )
    return [spec.name for spec in found]


def list_specs(
    pattern: str = "*",
    *,
    method: str | None = None,
    bundled: bool | None = None,
    dim: int | None = None,
    status: str | None = None,
    license: str | None = None,
    offline: bool = False,
) -> list[ModelSpec]:
    """The entries that `list_models` names, read once."""
    if status is not None and status not in STATUSES:
        raise ArgumentError(f"status is {status!r}; it is one of {', '.join(STATUSES)}")
    wanted, family = canonical(pattern), family_name(pattern)
    found: dict[str, ModelSpec] = {}
    for spec in _specs(_warn):
        known = method_of(spec.method)
        kin = family is not None and known is not None and known.family == family
        if not kin and not any(fnmatch.fnmatchcase(canonical(name), wanted) for name in (spec.name, *spec.aliases)):
            continue
        fits = (
            (method is None or same_method(spec.method, method))
            and (bundled is None or (spec.status == "bundled") == bundled)
            and (dim is None or spec.dim == dim)
            and (status is None or spec.status == status)
            and (license is None or has_license(spec.license, license))
            and (not offline or is_here(spec))
        )
        if fits:
            found.setdefault(spec.name, spec)
    return sorted(found.values(), key=lambda spec: _natural(spec.name))


def get_spec(name: str, *, cache_dir: str | Path | None = None) -> ModelSpec:
    """The catalog's entry of that name; hyphens and underscores alike, aliases and `org/name` too.

    The name of a family is that of its best encoder that is on this machine (`cache_dir` is where the Hub's files are),
    else of the network it is known for, untrained.

    Raises UnknownModelError, whose message offers the nearest names, and ModelFolderError where the folder of that name
    in CPCHUB_HUB is broken.
    """
    wanted = canonical(name)
    known: dict[str, ModelSpec] = {}
    broken: dict[str, ModelFolderError] = {}

    def set_aside(folder: Path, error: ModelFolderError) -> None:
        broken.update(dict.fromkeys(map(canonical, (folder.name, f"{default_org()}/{folder.name}")), error))

    for spec in _specs(set_aside):
        names = (spec.name, *spec.aliases, f"{default_org()}/{spec.name}", spec.repo_id or spec.name)
        if wanted in map(canonical, names):
            return spec
        for each in (spec.name, *spec.aliases):
            known.setdefault(each, spec)
    if wanted in broken:
        raise broken[wanted]
    family = family_name(name)
    if family is None:
        raise UnknownModelError(_unknown(name, list(known)))
    return best_offline(family, known.values(), cache_dir) or known.get(FAMILIES[family].network) or untrained(family)


def broken_folders() -> dict[Path, ModelFolderError]:
    """What is in CPCHUB_HUB but cannot be read, and why; the listing leaves it out."""
    broken: dict[Path, ModelFolderError] = {}
    for _ in _specs(broken.__setitem__):
        pass
    return broken


def canonical(name: str) -> str:
    """The form in which names are compared."""
    return name.strip().lower().replace("_", "-").replace(" ", "-")


def folder_hub() -> Path | None:
    """The folder of published encoders that stands in for the Hub (`CPCHUB_HUB`), if one is set."""
    value = os.environ.get("CPCHUB_HUB")
    return expanded(value) if value else None


def catalog_folder() -> Path:
    """Where the built-in entries are: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "model_cards"
    return installed if installed.is_dir() else package.parent / "model_cards"


def _specs(on_broken: Callable[[Path, ModelFolderError], None]) -> Iterator[ModelSpec]:
    """Every entry, the package's own first. A broken folder of CPCHUB_HUB, which others fill, goes to `on_broken`."""
    for folder in _model_folders(catalog_folder(), on_broken):
        yield _spec_of(folder, with_weights="bundled")
    hub = folder_hub()
    if hub is None:
        return
    with _readable(hub):
        if not hub.is_dir():
            raise HubError(
                f"CPCHUB_HUB is {hub}, where there is no folder; mount it, correct the path, or unset CPCHUB_HUB"
            )
    for folder in _model_folders(hub, on_broken):
        try:
            spec = _spec_of(folder, with_weights="hub")
        except ModelFolderError as error:
            on_broken(folder, error)
            continue
        yield spec


def _warn(folder: Path, error: ModelFolderError) -> None:
    warnings.warn(f"{folder} in CPCHUB_HUB is left out: {error}", CpchubWarning, stacklevel=3)


def _model_folders(root: Path, on_broken: Callable[[Path, ModelFolderError], None]) -> Iterator[Path]:
    """The folders with a config.json, one or two levels down; HubError where `root` itself may not be read."""
    with _readable(root):
        children = _visible_folders(root) if root.is_dir() else []
    for child in children:
        try:
            found = [child] if (child / CONFIG).is_file() else _visible_folders(child)
            yield from (folder for folder in found if (folder / CONFIG).is_file())
        except OSError as error:
            on_broken(child, ModelFolderError(f"{child} cannot be read ({error.strerror}); ask its owner for access"))


@contextmanager
def _readable(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HubError(
            f"{root} cannot be read ({error.strerror}); ask its owner for access, or set CPCHUB_HUB to another folder"
        ) from error


def _visible_folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _spec_of(folder: Path, with_weights: str) -> ModelSpec:
    if (folder / WEIGHTS).is_file():
        return ModelSpec.from_folder(folder, status=with_weights)
    if (folder / ORIGIN).is_file():
        return ModelSpec.from_folder(folder, status="public")
    released = with_weights == "hub" or (folder / RELEASE).is_file()
    return ModelSpec.from_folder(folder, status="hub" if released else "recipe")


def _natural(name: str) -> list[tuple[int, int, str]]:
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.split(r"(\d+)", name.lower())]


def _unknown(name: str, known: list[str]) -> str:
    if (theirs := timm_name(name)) is not None:
        return f"{name} is timm's {theirs}, which has no files here: cpchub.load and --encoder take it from timm"
    by_canonical = {canonical(each): each for each in (*known, *FAMILIES, *TIMM_NAMES)}
    wanted = canonical(name)
    near = [by_canonical[each] for each in difflib.get_close_matches(wanted, by_canonical, n=3, cutoff=0.4)]
    near += [by_canonical[each] for each in by_canonical if wanted in each and by_canonical[each] not in near]
    if near:
        offer = f"did you mean {' or '.join(repr(each) for each in near[:3])}?"
    elif known:
        offer = f"the catalog has {', '.join(sorted(known, key=_natural)[:5])}."
    else:
        offer = "the catalog is empty."
    return (
        f"There is no encoder called {name!r}: {offer} Also taken: a model folder, a Hub id (org/name), "
        "any timm name (timm/resnet18)."
    )


def bundled_encoder() -> str:
    """The encoder used where none is named: the best measured of those whose weights ship with the package."""
    from cpchub.catalog.families import best_first

    specs = best_first(list_specs(bundled=True))
    if not specs:
        raise UnknownModelError("No encoder ships with this installation; name one with --encoder (a folder, a Hub id)")
    return specs[0].name
