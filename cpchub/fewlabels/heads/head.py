"""A head: a classifier learned from a few labels, kept as a folder, for the vectors of one encoder.

head.safetensors   the arrays of the classifier
head.json          class names, encoder, calibration, accuracy, the labels' counts and sha256; written last
"""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from safetensors import SafetensorError

from cpchub.collection.manifest import IMPORTED, encoder_to_load
from cpchub.common.files import check_free, expanded, put_in_place, save_tensors, write_json, writing
from cpchub.common.hashing import bytes_sha256, file_sha256
from cpchub.common.words import typed
from cpchub.errors import ClassifierError, EncoderMismatchError, IntegrityError
from cpchub.fewlabels.base import FeatureClassifier
from cpchub.fewlabels.estimate import Estimate
from cpchub.fewlabels.heads.answers import Answers, answers
from cpchub.fewlabels.heads.place import head_folder
from cpchub.fewlabels.heads.state import classifier_of, state_of
from cpchub.fewlabels.multi_label import MultiLabelEstimate
from cpchub.fewlabels.none_of_these import NoneOfThese
from cpchub.fewlabels.one_vs_rest import OneVsRest

if TYPE_CHECKING:
    from cpchub.catalog.spec import ModelSpec
    from cpchub.collection.collection import Collection

FORMAT = 2  # since a head may answer "none of these" or several classes; of one that does not, 1 is written
FACTS, TENSORS = "head.json", "head.safetensors"
NONE_OF_THESE = "none_of_these."  # before the names of its arrays


@dataclass(frozen=True, eq=False)
class Head:
    """A fitted classifier and what it was learned from.

    classifier: over vectors `[N, D]` of the encoder. encoder: as the manifest of the collection records it.
    labels: how many of each class. labels_sha256: of the labels as a CSV, see `sha256_of_labels`. estimate: of the
    accuracy, from these labels; None where they do not allow one. none_of_these: finds images of no labelled class;
    None where each image gets a class. several: the estimate by class where an image may be of several classes, or of
    none; None where it is of one.
    """

    classifier: FeatureClassifier
    encoder: Mapping[str, Any]
    labels: Mapping[str, int]
    labels_sha256: str
    estimate: Estimate | None = None
    none_of_these: NoneOfThese | None = None
    several: MultiLabelEstimate | None = None

    @property
    def classes(self) -> list[str]:
        """The class names, in the order of the columns of `predict_proba`."""
        return [str(name) for name in self.classifier.classes_]

    @property
    def dim(self) -> int:
        """D, the dimension of the vectors."""
        return int(self.classifier.n_features_in_)

    @property
    def encoder_to_load(self) -> str:
        """The argument with which `cpchub.load` finds the encoder of the vectors again."""
        return encoder_to_load(dict(self.encoder))

    def predict_proba(self, vectors: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Class probabilities `[N, C]` of vectors `[N, D]`, which the encoder of this head has made."""
        return np.asarray(self.classifier.predict_proba(vectors))

    def answers(self, vectors: npt.NDArray[Any], probabilities: npt.NDArray[Any] | None = None) -> Answers:
        """What the head says of vectors `[N, D]`, which its encoder has made.

        Each image is of the class with the highest probability, or of none where a head with `none_of_these` finds it
        not typical enough. Where an image may be of several classes, it is of those with a probability of a half or
        more. probabilities: `[N, C]`, where something else than the classifier tells them.
        """
        return answers(self.classifier, self.none_of_these, vectors, probabilities)

    def classify(self, collection: Collection) -> pa.Table:
        """The class of every image of a collection, in its order: path, predicted, confidence (0..1).

        A head with `none_of_these` adds the column typical: the share of labelled images that are no more typical of
        their class (0..1). Up to its level, predicted is "none of these", and confidence is null. Where an image may be
        of several classes, predicted is all of them, as `a;b`, or `;` for none, and in place of confidence there is a
        column for each class, its name after `p_`, with the probability (0..1).

        Raises EncoderMismatchError for a collection of another encoder.
        """
        return self.apply(collection)[0]

    def apply(
        self, collection: Collection, probabilities: npt.NDArray[Any] | None = None
    ) -> tuple[pa.Table, dict[str, float]]:
        """The table of `classify`, and the share of each class: its mean probability over the images that have one.

        probabilities: those of all images `[N, C]`, where something else than the classifier tells them.
        """
        self.check_collection(collection)
        parts, first = [], 0
        total = np.full(len(self.classes), np.finfo(float).tiny)  # where no image has a class, all are alike
        for _, vectors in collection.vector_shards():
            here = slice(first, first := first + len(vectors))
            found = self.answers(vectors, None if probabilities is None else probabilities[here])
            of_some = found.probabilities if found.several else found.probabilities[found.of_class.any(axis=1)]
            total += of_some.sum(axis=0, dtype=np.float64)
            parts.append(pa.table(found.columns()))
        table = pa.concat_tables(parts).add_column(0, "path", pa.array(collection.paths, pa.string()))
        shares = total / (first if isinstance(self.classifier, OneVsRest) else total.sum())
        return table, dict(zip(self.classes, shares.tolist(), strict=True))

    def check_collection(self, collection: Collection) -> None:
        """Raise EncoderMismatchError, naming both encoders, for a collection of another one."""
        recorded = collection.manifest["encoder"]
        self._check(recorded["name"], recorded["fingerprint"], collection.dim, f"{collection.place} is")

    def check_encoder(self, spec: ModelSpec) -> None:
        """Raise EncoderMismatchError, naming both, unless `spec` is the encoder of this head: `encoder.spec`."""
        self._check(spec.name, spec.fingerprint, spec.dim, "these vectors are")

    def _check(self, name: str, fingerprint: str, dim: int, what: str) -> None:
        own = self.encoder
        same = fingerprint == own["fingerprint"] and dim == self.dim
        if same and (fingerprint != IMPORTED or name == own["name"]):
            return
        raise EncoderMismatchError(
            f"the classifier is for vectors of {own['name']!r} (fingerprint {own['fingerprint']}, {self.dim} numbers), "
            f"but {what} of {name!r} ({fingerprint}, {dim} numbers): embed the images with --encoder "
            f"{self.encoder_to_load}, or learn a classifier for these"
        )

    def save(self, folder: str | Path) -> Path:
        """Write the folder of the head, whole or not at all, and return it.

        A head that is there already is replaced. Raises OutputError where `folder` holds anything else, NoSpaceError.
        """
        from torch import from_numpy

        import cpchub

        folder = expanded(folder)
        check_head_folder(folder)
        arrays, state = state_of(self.classifier)
        if self.none_of_these is not None:
            arrays |= {NONE_OF_THESE + name: array for name, array in self.none_of_these.arrays().items()}
        with writing(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
                complete = Path(scratch) / "head"
                complete.mkdir()
                tensors = complete / TENSORS
                save_tensors({name: from_numpy(array) for name, array in arrays.items()}, tensors, {"format": "pt"})
                facts = {
                    "format": 1 if self.none_of_these is None and self.several is None else FORMAT,
                    "cpchub": cpchub.__version__,
                    "encoder": dict(self.encoder),
                    "labels": {"count": dict(self.labels), "sha256": self.labels_sha256},
                    "estimate": None if self.estimate is None else self.estimate.as_json(),
                    "classifier": state,
                    "several": None if self.several is None else self.several.as_json(),
                    "none_of_these": None if self.none_of_these is None else {"level": self.none_of_these.level},
                    "tensors": {"file": TENSORS, "sha256": file_sha256(tensors)},
                }
                write_json(complete / FACTS, facts)
                put_in_place(complete, folder)
        return folder


def check_head_folder(folder: Path) -> None:
    """Raise OutputError where a head cannot be saved: a file, or a folder that holds anything else."""
    check_free(folder, known=(FACTS, TENSORS), way_out="choose another folder for the classifier")


def load_classifier(name_or_path: str | Path, token: str | None = None) -> Head:
    """Load a classifier that `cpchub classify --save` or `Head.save` wrote. Nothing is unpickled.

    name_or_path: its folder; or the repository it was published as, `org/name` or `org/name@revision`, where there is
    no such folder here. Raises ClassifierError where there is none, or one that is damaged or of a newer version,
    IntegrityError where the tensors are not those that were saved, WeightsUnavailableError and HubError.
    """
    from safetensors.numpy import load_file

    folder = head_folder(name_or_path, (FACTS, TENSORS), token)
    facts = _read_facts(folder)
    tensors = folder / TENSORS
    if not tensors.is_file():
        raise ClassifierError(f"{folder} has no {TENSORS}; save the classifier again")
    try:
        if (found := file_sha256(tensors)) != facts["tensors"]["sha256"]:
            raise IntegrityError(
                f"{tensors} has the sha256 {found}, but {FACTS} records {facts['tensors']['sha256']}; save the "
                "classifier again"
            )
        encoder = {str(key): facts["encoder"][key] for key in facts["encoder"]}
        encoder["name"], encoder["fingerprint"] = str(encoder["name"]), str(encoder["fingerprint"])
        counts = {str(name): int(count) for name, count in facts["labels"]["count"].items()}
        estimate = Estimate.of_json(facts["estimate"]) if facts.get("estimate") is not None else None
        arrays = load_file(tensors)
        classifier = classifier_of(facts["classifier"], arrays)
        several = MultiLabelEstimate.of_json(facts["several"]) if facts.get("several") is not None else None
        detector = None
        if facts.get("none_of_these") is not None:
            own = {name.removeprefix(NONE_OF_THESE): arrays[name] for name in arrays if NONE_OF_THESE in name}
            detector = NoneOfThese.of_arrays(float(facts["none_of_these"]["level"]), own)
        head = Head(classifier, encoder, counts, facts["labels"]["sha256"], estimate, detector, several)
        shape = head.predict_proba(np.ones((1, head.dim), np.float32)).shape
        if detector is not None:
            detector.p_values(np.ones((1, head.dim), np.float32))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, SafetensorError) as error:
        if isinstance(error, IntegrityError):
            raise
        raise ClassifierError(f"{folder} is damaged ({type(error).__name__}: {error}); save it again") from error
    if shape != (1, len(head.classes)):
        raise ClassifierError(f"{folder} is damaged: {len(head.classes)} classes, but probabilities of {shape[1]}")
    return head


def _read_facts(folder: Path) -> dict[str, Any]:
    """The JSON of a head of this version."""
    path = folder / FACTS
    how = typed("classify", "COLLECTION", "--labels", "CSV", "--save", folder)
    if not path.is_file():
        why = f"{folder} has no {FACTS}" if folder.is_dir() else f"there is no folder {folder}"
        raise ClassifierError(f"no classifier: {why}. Save one: {how}")
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ClassifierError(f"{path} cannot be read ({error}); save the classifier again: {how}") from error
    version = facts.get("format") if isinstance(facts, dict) else None
    if type(version) is not int:
        raise ClassifierError(f"{path} does not describe a classifier. Save one: {how}")
    if version > FORMAT:
        raise ClassifierError(f"{folder} has format {version}, this cpchub reads up to {FORMAT}; upgrade cpchub")
    return dict(facts)


def sha256_of_labels(labels: Mapping[str, str]) -> str:
    """The sha256 of labels by path: of a CSV with the columns path,label, its lines sorted by path.

    So the same labels have the same hash, however the file that they came from was written.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("path", "label"), *sorted(labels.items())])
    return bytes_sha256(text.getvalue().encode("utf-8", "surrogateescape"))


def learned(classifier: FeatureClassifier, collection: Collection, labels: Mapping[str, str]) -> Head:
    """The head of a classifier that was fitted on labels by the collection's paths."""
    return Head(classifier, collection.manifest["encoder"], Counter(labels.values()), sha256_of_labels(labels))
