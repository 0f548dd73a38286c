"""The card tells what the files tell, can be read by the Hub's own library, and its snippets run."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard, constants, snapshot_download
from PIL import Image

from cpchub.encoders.model_folder import write as write_model_folder
from cpchub.errors import ModelFolderError
from cpchub.hub import card
from cpchub.hub.card_tables import label_efficiency
from cpchub.hub.publish import publish
from tests.fresh import FreshInterpreters
from tests.loopback_hub import LoopbackHub
from tests.tiny_encoder import EVALUATION, FACTS, RECIPE, export_tiny, tiny_backbone


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_tiny(tmp_path_factory.mktemp("card") / "tiny-simclr")


@pytest.fixture(scope="module")
def config(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return content


@pytest.fixture
def text(config: dict[str, Any]) -> str:
    return card.render(config, RECIPE, EVALUATION, repo_id="lab/tiny-simclr")


class TestFrontMatter:
    def test_the_hubs_own_library_reads_it_back(self, text: str) -> None:
        data = ModelCard(text).data
        assert data.library_name == "timm"
        assert data.license == "apache-2.0"
        assert {"cpchub", "simclr"} <= set(data.tags)
        [result] = data.eval_results
        assert (result.dataset_name, result.metric_value, result.dataset_config) == ("CIFAR-10", 0.6543, "knn_k200")

    def test_results_that_differ_only_in_labels_stay_apart(self, config: dict[str, Any]) -> None:
        row = {**EVALUATION["results"][0], "task": "low-label", "config": None}
        results = [{**row, "labels": labels, "value": labels / 10_000} for labels in (500, 5000)]
        data = ModelCard(card.render(config, RECIPE, {"results": results})).data
        assert [result.metric_value for result in data.eval_results] == [0.05, 0.5]

    def test_a_licence_the_hub_does_not_know_is_called_other(self, config: dict[str, Any]) -> None:
        changed = {**config, "cpchub": {**config["cpchub"], "license": "Lab Terms 1"}}
        metadata = card.front_matter(card.render(changed))
        assert (metadata["license"], metadata["license_name"]) == ("other", "lab-terms-1")


class TestBody:
    def test_every_section_is_there(self, text: str) -> None:
        headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
        assert headings == ["Load it", "Facts", "Results", "Training", "Limits", "Data and licence"]

    def test_numbers_come_from_the_files(self, text: str, config: dict[str, Any]) -> None:
        assert "65.4 %" in text
        assert "k=200, T=0.1, cosine" in text
        assert config["cpchub"]["weights"]["model.safetensors"]["sha256"] in text
        assert f"{config['cpchub']['parameters']:,}" in text

    def test_a_spread_over_seeds_is_shown_and_one_training_run_is_a_limit(self, config: dict[str, Any]) -> None:
        row = {**EVALUATION["results"][0], "std": 0.0123, "seeds": [0, 1, 2]}
        several = card.render(config, RECIPE, {"results": [row]})
        assert "65.4 ± 1.2 %" in several
        assert "one training run" in several
        assert "was not measured" in several

    @pytest.mark.parametrize("method", ["moco_v2", "MoCo v2"])
    def test_the_methods_paper_is_linked(self, config: dict[str, Any], method: str) -> None:
        changed = {**config, "cpchub": {**config["cpchub"], "method": method}}
        assert "MoCo v2 ([Improved Baselines" in card.render(changed)

    def test_a_method_that_used_labels_is_not_said_to_have_gone_without(self, config: dict[str, Any]) -> None:
        text = card.render({**config, "cpchub": {**config["cpchub"], "method": "sup_con"}}, RECIPE)
        assert "with its labels" in text
        assert "without labels" not in text
        assert "self-supervised" not in card.front_matter(text)["tags"]

    def test_methods_data_sets_and_tasks_are_in_words(self, config: dict[str, Any]) -> None:
        facts = {**config["cpchub"], "method": "moco_v2", "data": "cifar10"}
        rows = [{**EVALUATION["results"][0], "dataset": "cifar10", "task": task} for task in ("linear", "knn")]
        text = card.render({**config, "cpchub": facts}, None, {"results": rows})
        body = text.split("---\n", 2)[2]
        assert not re.search(r"moco_v2|cifar10|\bknn\b", body)
        assert "on CIFAR-10, without labels" in body
        assert "| kNN | CIFAR-10, test |" in body
        [result, _] = ModelCard(text).data.eval_results
        assert (result.task_name, result.dataset_name, result.dataset_type) == ("linear probe", "CIFAR-10", "cifar10")
        assert card.front_matter(text)["datasets"] == ["uoft-cs/cifar10"]

    def test_the_licence_of_the_weights_and_the_terms_of_the_data_are_told_apart(self, config: dict[str, Any]) -> None:
        facts = {**config["cpchub"], "data": "ImageNet-1k", "license": "Apache-2.0"}
        text = card.render({**config, "cpchub": facts})
        assert "Licence of the weights: Apache-2.0. Training data: ImageNet-1k. Its terms of access allow non-" in text
        assert "the terms of its images are their owners'" in card.render(config)

    def test_without_measurements_it_says_so(self, config: dict[str, Any]) -> None:
        text = card.render(config, RECIPE, None)
        assert "has not been measured" in text
        assert "model-index" not in card.front_matter(text)

    def test_its_snippets_run_against_the_hub_it_is_published_on(
        self, hub: LoopbackHub, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        publish(folder, "lab/tiny-simclr", token="secret")
        card_there = hub.repos["lab/tiny-simclr"].files["README.md"].decode()
        snippets = re.findall(r"```python\n(.*?)```", card_there, re.DOTALL)
        assert len(snippets) == 3
        # timm has no endpoint argument, and the client reads HF_ENDPOINT once
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        snapshot_download("lab/tiny-simclr", local_dir=tmp_path / "tiny-simclr", endpoint=hub.url)
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 50, 3), np.uint8)).save(tmp_path / "photo.jpg")
        monkeypatch.chdir(tmp_path)
        names: list[dict[str, Any]] = []
        for snippet in snippets:
            names.append({})
            exec(compile(snippet, "card", "exec"), names[-1])  # noqa: S102  our own text, and the point of the test
        ours, there, here = names
        x = there["transform"](Image.open("photo.jpg").convert("RGB"))[None]
        with torch.inference_mode():
            assert torch.equal(there["model"](x), here["model"](x))
            assert np.allclose(ours["vectors"], there["model"](x).numpy(), atol=1e-5)

    def test_a_card_of_what_is_not_published_names_no_repository_and_its_snippets_run_beside_the_folder(
        self, config: dict[str, Any], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        text = card.render(config, RECIPE, EVALUATION)
        assert "cpchub/tiny-simclr" not in text
        assert "hf-hub:" not in text
        assert "It is not published" in text
        Image.new("RGB", (50, 50), "teal").save(tmp_path / "photo.jpg")
        (tmp_path / "tiny-simclr").symlink_to(folder)
        monkeypatch.chdir(tmp_path)
        for snippet in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
            exec(compile(snippet, "card", "exec"), {})  # noqa: S102  our own text, and the point of the test

    def test_a_network_of_ours_is_registered_first_by_the_snippets_for_timm(
        self, fresh_interpreters: FreshInterpreters, tmp_path: Path
    ) -> None:
        args = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]}
        backbone = tiny_backbone(architecture="resnet18_cifar", stem_type="", **args)
        facts = {**FACTS, "architecture": "resnet18_cifar", "model_args": args}
        folder = write_model_folder(backbone, tmp_path / "tiny-simclr", facts=facts, recipe=RECIPE, evaluation=None)
        snippets = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
        first = "import cpchub.architectures  # registers resnet18_cifar with timm\n"
        assert [snippet.startswith(first) for snippet in snippets] == [False, True]
        elsewhere = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
        done = fresh_interpreters.run(snippets[1], cwd=tmp_path, env=elsewhere)
        assert done.returncode == 0, done.stderr

    def test_the_snippets_of_a_network_of_timms_need_timm_alone(self, text: str) -> None:
        assert "cpchub.architectures" not in text
        assert "With plain timm:" in text


class TestMerge:
    def test_text_around_the_block_and_foreign_keys_are_kept(self, text: str, config: dict[str, Any]) -> None:
        edited = text.replace("tags:", "thumbnail: face.png\ntags:\n- cells", 1) + "\n## By a person\n\nKeep me.\n"
        newer = card.render({**config, "cpchub": {**config["cpchub"], "summary": "Newer."}}, repo_id="lab/tiny-simclr")
        merged = card.merge(edited, newer)
        assert "Keep me." in merged
        assert "Newer." in merged
        assert card.front_matter(merged)["thumbnail"] == "face.png"
        assert {"cells", "cpchub"} <= set(card.front_matter(merged)["tags"])
        assert merged.count(card.BEGIN) == 1

    def test_results_that_are_gone_leave_the_front_matter(self, text: str, config: dict[str, Any]) -> None:
        merged = card.merge(text, card.render(config, RECIPE, None))
        assert "model-index" not in card.front_matter(merged)

    def test_merging_twice_is_merging_once(self, text: str) -> None:
        once = card.merge("", text)
        assert card.merge(once, text) == once == text

    def test_the_authors_copy_wins_where_it_has_text_of_its_own(self, text: str) -> None:
        remote = text.replace("tags:", "thumbnail: face.png\ntags:\n- cells", 1) + "\nWritten on the Hub.\n"
        assert "Written on the Hub." in card.merge(remote, text, local=text)
        merged = card.merge(remote, text, local=text.replace("tags:", "tags:\n- mine", 1) + "\nWritten here.\n")
        assert "Written here." in merged
        assert "Written on the Hub." not in merged
        assert card.front_matter(merged)["thumbnail"] == "face.png"
        assert {"cells", "mine"} <= set(card.front_matter(merged)["tags"])

    def test_data_sets_that_people_added_stay_beside_ours(self, config: dict[str, Any]) -> None:
        text = card.render({**config, "cpchub": {**config["cpchub"], "data": "cifar10"}})
        remote = text.replace("datasets:\n", "datasets:\n- lab/cells\n")
        assert set(card.front_matter(card.merge(remote, text))["datasets"]) == {"uoft-cs/cifar10", "lab/cells"}
        alone = text.replace("datasets:\n- uoft-cs/cifar10\n", "datasets: lab/cells\n")
        assert set(card.front_matter(card.merge(alone, text))["datasets"]) == {"uoft-cs/cifar10", "lab/cells"}

    def test_a_card_written_by_hand_keeps_its_text(self, text: str) -> None:
        merged = card.merge("---\nlicense: mit\n---\n# Mine\n\nMy words.\n", text)
        assert merged.index("My words.") < merged.index(card.BEGIN)


class TestCheck:
    def test_a_rendered_card_passes(self, text: str) -> None:
        card.check(text, "lab/tiny-simclr")

    @pytest.mark.parametrize(
        ("line", "placeholder"),
        [
            ("[More Information Needed]", "[More Information Needed]"),
            ("TODO", "TODO"),
            ("{{ name }}", "{{ name }}"),
            ('{{ model_id | default("Model ID", true) }}', '{{ model_id | default("Model ID", true) }}'),
            ("{{name}}", "{{name}}"),
            ("- **Funded by [optional]:** the lab", "[optional]"),
            ("- **Licence:** TBD", "TBD"),
            ("| Accuracy | TBD |", "TBD"),
            ("## XXX", "XXX"),
            ("> FIXME.", "FIXME"),
            ("TODO: write about the limits", "TODO"),
            ("<!-- TODO(me): numbers -->", "TODO"),
            ("Ask https://huggingface.co/your-username", "your-username"),
        ],
    )
    def test_placeholders_are_refused_with_their_line(self, text: str, line: str, placeholder: str) -> None:
        number = text.count("\n") + 2
        with pytest.raises(
            ModelFolderError, match=re.escape(f"Line {number} of the card still has the placeholder {placeholder!r}")
        ):
            card.check(f"{text}\n{line}\n", "lab/tiny-simclr")

    @pytest.mark.parametrize(
        "words",
        [
            "@article{he2020,\n  title = {{Momentum} Contrast for {Unsupervised} {{Learning}}},\n}",
            "@misc{simclr, title={{SimCLR}}, year={{2020}}}",
            "```bibtex\n@misc{x, title = {{Momentum}}}\n```",
            "The TBD layer of the hospital's TBD project follows TODO-Net.",
            "Trained on XXX, and on XXX photos.",
            "Write `{{ name }}` or `TODO` into the template.",
            "```python\n# TODO\nprint('[More Information Needed]')\n```",
            "$\\frac{{a}}{{b}}$ and {{a, b}, {c}}",
        ],
    )
    def test_words_of_the_author_are_none(self, text: str, words: str) -> None:
        card.check(f"{text}\n{words}\n", "lab/tiny-simclr")

    @pytest.mark.parametrize("name", ["XXX", "TBD", "TODO"])
    def test_nor_is_the_name_of_a_data_folder(self, config: dict[str, Any], name: str) -> None:
        text = card.render({**config, "cpchub": {**config["cpchub"], "data": name}}, repo_id="lab/tiny-simclr")
        card.check(text.replace("license:", f"datasets:\n- {name}\nlicense:", 1), "lab/tiny-simclr")

    def test_snippets_for_another_name_are_refused(self, text: str) -> None:
        with pytest.raises(ModelFolderError, match="lab/other"):
            card.check(text, "lab/other")

    @pytest.mark.parametrize("front", ["", "---\n{]\n---\n", "---\n- a list\n---\n"])
    def test_front_matter_that_is_missing_or_broken_is_refused(self, text: str, front: str) -> None:
        body = text.split("---\n", 2)[2]
        with pytest.raises(ModelFolderError, match="front matter"):
            card.check(front + body, "lab/tiny-simclr")


def test_the_labels_that_the_encoder_saves_stand_beside_training_from_scratch() -> None:
    row = {"task": "low-label", "dataset": "cifar10", "metric": "accuracy", "labels": 500, "seeds": [0, 1]}
    evaluation = {
        "results": [{**row, "config": "lowshot_1pct", "value": 0.587, "std": 0.01, "protocol": "probe"}],
        "rivals": [{**row, "config": "scratch_1pct", "value": 0.416, "std": 0.004, "protocol": "625 steps"}],
        "labels_saved": [{"dataset": "cifar10", "way": "linear", "labels": 500, "factor": 10.0, "bound": ">="}],
    }
    (section,) = label_efficiency(evaluation)
    assert "| CIFAR-10 | 500 | 58.7 ± 1.0 % | 41.6 ± 0.4 % | ≥ 10x |" in section
    assert "From scratch: 625 steps." in section
    assert label_efficiency({"results": evaluation["results"]}) == []
