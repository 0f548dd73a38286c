"""The sections of a model card: metadata, loading, facts, results, training, limits, licence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from cpchub.catalog.licences import UNKNOWN
from cpchub.catalog.spec import WEIGHTS
from cpchub.catalog.vocabulary import (
    TASKS,
    data_key,
    data_set_of,
    data_title,
    learned_from_labels,
    method_of,
    method_title,
)
from cpchub.hub.card_tables import count, table, value


def as_list(value: Any) -> list[Any]:
    """A value of YAML as a list: a list of one may be written without its dash."""
    return list(value) if isinstance(value, list) else [] if value is None else [value]


def metadata_of(config: Mapping[str, Any], results: list[Mapping[str, Any]]) -> dict[str, Any]:
    facts = config["cpchub"]
    supervision = "supervised" if learned_from_labels(facts["method"]) else "self-supervised"
    how_trained = [] if _unknown_method(facts) else [supervision, _slug(facts["method"])]
    known = data_set_of(facts["data"])
    of_sound = "sample_rate" in facts
    task = "feature-extraction" if of_sound else "image-feature-extraction"
    kinds = [task, "audio"] if of_sound else [task]
    metadata: dict[str, Any] = ModelCardData(
        license=_hub_license(facts["license"]),
        license_name=None if _hub_license(facts["license"]) != "other" else _slug(facts["license"]),
        library_name="timm",
        pipeline_tag=task,
        tags=[*kinds, "timm", "cpchub", *how_trained],
        datasets=[known.hub_id] if known and known.hub_id else None,
        metrics=sorted({row["metric"] for row in results}) or None,
        model_name=facts["name"],
        eval_results=[_eval_result(row) for row in results] or None,
    ).to_dict()
    metadata.pop("model_name", None)  # stands inside model-index; alone it is no key of the Hub's
    return metadata


def _eval_result(row: Mapping[str, Any]) -> EvalResult:
    # The Hub groups results by task, data set and config and keeps one name per group, so what tells two results
    # apart (k, the number of labels) has to be in the config.
    return EvalResult(
        task_type="image-classification",
        task_name=task_title(row),
        dataset_type=data_key(row["dataset"]),
        dataset_name=data_title(row["dataset"]),
        dataset_config=row.get("config") or _slug(f"{row['task']} {row.get('labels', '')}"),
        dataset_split=row["split"],
        metric_type=row["metric"],
        metric_name=f"{task_title(row)} {row['metric']}",
        metric_value=row["value"],
        **_source(row),
    )


def _source(row: Mapping[str, Any]) -> dict[str, Any]:
    """Of a published figure, where it was read; the Hub wants an address with it."""
    return {"source_name": row["source"], "source_url": row["source_url"]} if row.get("source_url") else {}


def loading_section(config: Mapping[str, Any], repo_id: str | None, by_name: bool = False) -> str:
    """How it is loaded: from `repo_id`, else by its name in the catalog, else from the folder that the card is in."""
    name = config["cpchub"]["name"]
    example = "sound.wav" if "sample_rate" in config["cpchub"] else "photo.jpg"
    architecture = str(config["architecture"])
    if _is_timms_own(architecture):
        plain, register = "plain timm", ""
    else:
        plain, register = "timm", f"import cpchub.architectures  # registers {architecture} with timm\n"
    transform = "transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))"

    def with_timm(address: str) -> str:
        model = f'model = timm.create_model("{address}", pretrained=True).eval()'
        return f"```python\n{register}import timm\n\n{model}\n{transform}\n```"

    copied = f"local-dir:{name}"
    parts = [
        "With cpchub, transform included:",
        f'''```python
import cpchub

encoder = cpchub.load("{repo_id or (name if by_name else f"./{name}")}")
vectors = encoder.encode(["{example}"])  # float32, (1, {config["num_features"]})
```''',
    ]
    if repo_id is not None:
        parts += [f"With {plain}:", with_timm(f"hf-hub:{repo_id}"), "From a copy of this folder, without a network:"]
    else:
        parts.append(f"With {plain}, from a copy of this folder:")
        if not by_name:
            parts.insert(0, f"It is not published: `./{name}` stands for the path of this folder.")
    return "\n\n".join(["## Load it", *parts, with_timm(copied)])


def _is_timms_own(architecture: str) -> bool:
    """Whether timm has the network without our registering it."""
    import timm  # imported here, because showing an existing card must not wait for torch

    name = architecture.partition(".")[0]
    return timm.is_model(name) and timm.model_entrypoint(name).__module__.startswith("timm.")


def facts_section(config: Mapping[str, Any]) -> str:
    facts, cfg = config["cpchub"], config["pretrained_cfg"]
    weights = facts.get("weights", {}).get(WEIGHTS, {})
    rows: list[tuple[str, Any]] = [
        ("Network", f"`{config['architecture']}` {_args(config.get('model_args') or {})}".strip()),
        ("Vector", f"{config['num_features']} numbers"),
        ("Parameters", f"{facts['parameters']:,}" if "parameters" in facts else None),
        *_input(facts, cfg),
        ("Weights", f"`{WEIGHTS}`, {weights['size']:,} bytes" if "size" in weights else None),
        ("sha256", f"`{weights['sha256']}`" if weights else None),
    ]
    return "## Facts\n\n" + table(("", ""), ((name, value) for name, value in rows if value is not None))


def _input(facts: Mapping[str, Any], cfg: Mapping[str, Any]) -> list[tuple[str, Any]]:
    channels, height, width = cfg["input_size"]
    if "sample_rate" in facts:
        return [
            ("Input", f"one channel, {facts['sample_rate']:,} samples a second, of any length; trained on {width:,}")
        ]
    return [
        ("Input", f"{channels} x {height} x {width}, {cfg['interpolation']} resize, crop {cfg['crop_pct']:g}"),
        ("Mean, std", f"{_numbers(cfg['mean'])}; {_numbers(cfg['std'])}"),
    ]


def results_section(results: list[Mapping[str, Any]]) -> str:
    if not results:
        return "## Results\n\nThis encoder has not been measured."
    rows = [
        (
            task_title(row),
            f"{data_title(row['dataset'])}, {row['split']}",
            count(row.get("labels")),
            f"{row['metric']} {value(row)}",
            len(row.get("seeds") or [0]),
            row["protocol"],
        )
        for row in results
    ]
    return "## Results\n\nThe measurements of `eval.json`:\n\n" + table(
        ("Task", "Data", "Labels", "Result", "Seeds", "Protocol"), rows
    )


def training_section(config: Mapping[str, Any], recipe: Mapping[str, Any]) -> str:
    facts = config["cpchub"]
    known = method_of(facts["method"])
    link = f"[{known.paper}](https://arxiv.org/abs/{known.arxiv})" if known and known.arxiv else known and known.paper
    paper = f" ({link})" if link else ""
    how = "with its labels" if learned_from_labels(facts["method"]) else "without labels"
    text = f"## Training\n\n{method_title(facts['method'])}{paper} on {data_title(facts['data'])}, {how}."
    if _unknown_method(facts):
        text = f"## Training\n\nIt was imported; how it was trained on {data_title(facts['data'])} is not known."
    settings = [
        (f"`{name}`", f"`{_setting(value)}`") for name, value in recipe.items() if value not in (None, {}, [], "")
    ]
    gap = " "
    if command := facts.get("command"):
        text, gap = f"{text} The command:\n\n```bash\n{command}\n```", "\n\n"
    if not settings:
        return text
    return f"{text}{gap}Every setting, as in `recipe.json`:\n\n" + table(("Setting", "Value"), settings)


def limits_section(config: Mapping[str, Any], results: list[Mapping[str, Any]]) -> str:
    facts, cfg = config["cpchub"], config["pretrained_cfg"]
    _, height, width = cfg["input_size"]
    data = data_title(facts["data"])
    limits = [
        f"It sees an image as {height} x {width} pixels; what is lost at that size is lost to it.",
        f"It was trained on {data} alone. On images of another kind, measure before you rely on it.",
    ]
    if learned_from_labels(facts["method"]):
        limits.append(
            "It was trained to tell the classes of that data apart: differences within a class may be lost to it."
        )
    elif not _unknown_method(facts):
        limits.append(
            "It was trained without labels: it groups what looks alike, which need not be what you mean by alike."
        )
    if results:
        limits.append("The results are of one training run; how far another run would be from it was not measured.")
    limits += facts.get("limits", [])
    limits.append("Not meant for identifying people, nor for medical or safety decisions.")
    return "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits)


def licence_section(facts: Mapping[str, Any], note: str = "", *, is_published: bool = True) -> str:
    """The licence of the weights and the terms of the data; before it is published, how its author chooses one."""
    known = data_set_of(facts["data"])
    terms = known.terms if known else "the terms of its images are their owners' and do not change by this."
    separator = ". " if known else "; "
    parents = ", ".join(f"{each['name']} ({each['license']})" for each in facts.get("derived_from", []))
    derived = f"They were made of {parents}, whose licence goes over to them. " if parents else ""
    if facts["license"] == UNKNOWN and not parents and not is_published:
        note = "If you trained them, choose one: `cpchub publish --license LICENSE` writes it here."
    return (
        f"## Data and licence\n\nLicence of the weights: {facts['license']}. {derived}{f'{note} ' if note else ''}"
        f"Training data: {data_title(facts['data'])}{separator}{terms}"
    )


def _setting(value: Any) -> str:
    if isinstance(value, Mapping):
        return _args(value)
    if isinstance(value, (list, tuple)):
        return _numbers(value)
    return str(value)


def _args(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_setting(value)}" for name, value in values.items() if value not in (None, ""))


def _numbers(values: Iterable[Any]) -> str:
    return "(" + ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values) + ")"


def task_title(row: Mapping[str, Any]) -> str:
    """What was measured, as a card says it."""
    return TASKS.get(row["task"], row["task"])


def _unknown_method(facts: Mapping[str, Any]) -> bool:
    """Whether the training method is unknown, as for an imported encoder whose file does not state it."""
    return _slug(facts["method"]) == "unknown"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")


def _hub_license(text: str) -> str:
    """The Hub's identifier of a licence; "other" for one it does not list."""
    known = {"apache-2.0", "mit", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "bsd-3-clause"}
    return text.lower() if text.lower() in known else "other"
