"""The model card, rendered from config.json, recipe.json and eval.json: no number is typed by hand.

The generated block is between two HTML comments. Text outside them is the author's and is kept when the card is
rendered again, here or on the Hub.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml  # type: ignore[import-untyped]  # comes with huggingface_hub

from cpchub.catalog.origin import Origin
from cpchub.errors import ModelFolderError
from cpchub.hub import card_origin, placeholders
from cpchub.hub.card_sections import (
    as_list,
    facts_section,
    licence_section,
    limits_section,
    loading_section,
    metadata_of,
    results_section,
    training_section,
)
from cpchub.hub.card_tables import label_efficiency

BEGIN = "<!-- cpchub: generated from config.json, recipe.json and eval.json; write above or below this block -->"
END = "<!-- cpchub: end of the generated block -->"
_FRONT_MATTER = re.compile(r"\A---\r?\n(.*?)\r?\n---\r?\n?", re.DOTALL)
_BLOCK = re.compile(r"<!-- cpchub: generated.*?-->.*?<!-- cpchub: end.*?-->", re.DOTALL)
_MARK = re.compile(r"<!-- cpchub: (?:generated|end).*?-->\n*", re.DOTALL)
_GENERATED = ("license", "license_name", "library_name", "pipeline_tag", "metrics", "model-index")
_UNITED = ("tags", "datasets")  # entries of all authors are kept


def render(
    config: Mapping[str, Any],
    recipe: Mapping[str, Any] | None = None,
    evaluation: Mapping[str, Any] | None = None,
    *,
    repo_id: str | None = None,
    by_name: bool = False,
    origin: Origin | None = None,
) -> str:
    """The whole card, front matter and generated block.

    repo_id: where it is published; without one, the card says how the folder is loaded.
    by_name: the encoder is in the catalog and is loaded by its name.
    origin: of a public encoder, which is loaded by its name and not from a repository of ours.
    """
    facts = config["cpchub"]
    results = list((evaluation or {}).get("results", []))
    published = [row for row in results if row.get("published")]
    measured = [row for row in results if not row.get("published")]
    sections = [
        f"# {facts['name']}\n\n{facts['summary']}",
        card_origin.loading_section(config) if origin is not None else loading_section(config, repo_id, by_name),
        facts_section(config),
        results_section(measured) if measured or not published else "",
        card_origin.published_section(published) if published else "",
        *label_efficiency(evaluation or {}),
        training_section(config, recipe or {}),
        limits_section(config, measured),
        card_origin.origin_section(origin) if origin is not None else "",
        licence_section(
            facts,
            origin.license_note if origin is not None else "",
            is_published=by_name or origin is not None or repo_id is not None,
        ),
    ]
    front_matter = yaml.safe_dump(metadata_of(config, results), sort_keys=False, allow_unicode=True)
    block = "\n\n".join([BEGIN, *(section for section in sections if section), END])
    return f"---\n{front_matter}---\n\n{block}\n"


def merge(existing: str, rendered: str, *, local: str = "") -> str:
    """`existing` with our block and our front-matter keys replaced by those of `rendered`; the rest is kept, tags too.

    A card without our block, written by hand, keeps its text and gets the block at its end. `local` is the author's
    copy of `existing`: its front matter wins, and so does its text, where it has any outside our block.
    """
    body = _body(local if _own_text(local) else existing)
    block = _body(rendered).strip()
    if _BLOCK.search(body):
        body = _BLOCK.sub(lambda _: block, body, count=1)
    elif body.strip():
        body = f"{body.rstrip()}\n\n{block}\n"
    else:
        body = f"\n{block}\n"
    sources = [front_matter(card) for card in (rendered, existing, local)]
    ours, theirs = sources[0], sources[1] | sources[2]
    merged = ours | {key: value for key, value in theirs.items() if key not in _GENERATED}
    for key in _UNITED:
        if union := list(dict.fromkeys(each for source in sources for each in as_list(source.get(key)))):
            merged[key] = union
    return f"---\n{yaml.safe_dump(merged, sort_keys=False, allow_unicode=True)}---\n{body}"


def loading_snippets(repo_id: str) -> Sequence[str]:
    """The code with which an encoder is loaded from a repository."""
    return f'cpchub.load("{repo_id}")', f'"hf-hub:{repo_id}"'


def check(card: str, repo_id: str, snippets: Callable[[str], Sequence[str]] = loading_snippets) -> None:
    """Raise ModelFolderError for a card that should not be published: placeholders, no metadata, wrong names.

    snippets: the code that the generated block must have, for a repository.
    """
    left = placeholders.first(card, generated=_BLOCK)
    if left is not None:
        raise ModelFolderError(
            f"Line {left[0]} of the card still has the placeholder {left[1]!r}; write what belongs there, or put it "
            "between backticks if it is meant"
        )
    metadata = front_matter(card)
    for key in ("license", "library_name", "tags"):
        if not metadata.get(key):
            raise ModelFolderError(f"The card's front matter has no {key}; export the folder again, or add it")
    block = _BLOCK.search(card)
    if block is None or not all(snippet in block[0] for snippet in snippets(repo_id)):
        raise ModelFolderError(f"The card's snippets do not load {repo_id}; render it for that name")


def front_matter(card: str) -> dict[str, Any]:
    """The YAML between the first two `---` lines, {} if there is none; ModelFolderError if it does not parse."""
    match = _FRONT_MATTER.match(card)
    if match is None:
        return {}
    try:
        metadata = yaml.safe_load(match[1])
    except yaml.YAMLError as error:
        raise ModelFolderError(f"The card's front matter is not YAML ({error})") from error
    if metadata is None:
        return {}
    if not isinstance(metadata, dict):
        raise ModelFolderError(f"The card's front matter is a {type(metadata).__name__}, not names and values")
    return metadata


def shown(card: str) -> str:
    """The card for a reader: without its front matter and without the marks of our block."""
    return _MARK.sub("", _body(card)).strip()


def _body(card: str) -> str:
    return _FRONT_MATTER.sub("", card, count=1)


def _own_text(card: str) -> str:
    """What a person wrote outside our block."""
    return _BLOCK.sub("", _body(card)).strip()
