"""Encoders pretrained without labels: load one by name, embed images, search and classify them.

    encoder = cpchub.load("simclr")
    vectors = encoder.encode(["a.jpg", "b.jpg"], normalize=True)    # float32 [2, D]

    cpchub.embed_folder("photos", "photos-index", encoder)
    hits = cpchub.Index.open("photos-index").search("query.jpg", k=5, encoder=encoder)

Importing this is instant: torch, timm and faiss are imported by the first call that needs them. Our networks are
registered with timm whenever both are imported: `timm.create_model("cpc_resnet170")` works as well.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cpchub.timm_hook import register_with_timm

if TYPE_CHECKING:
    from cpchub import errors, fewlabels
    from cpchub.catalog.listing import get_spec, list_models
    from cpchub.catalog.spec import ModelSpec
    from cpchub.collection.collection import Collection
    from cpchub.collection.export_vectors import export_vectors
    from cpchub.collection.import_vectors import import_vectors
    from cpchub.embedding.job import embed as embed_folder
    from cpchub.encoders.audio_encoder import AudioEncoder
    from cpchub.encoders.encoder import Encoder
    from cpchub.encoders.load import create_model, load
    from cpchub.encoders.onnx_export import export_onnx, export_program
    from cpchub.errors import CpchubError
    from cpchub.fewlabels.choice.next_images import find_next_labels
    from cpchub.fewlabels.heads.head import Head, load_classifier
    from cpchub.fewlabels.label_errors import find_label_errors
    from cpchub.hub.locate import find
    from cpchub.hub.publish import publish
    from cpchub.hub.release_plan import plan_release
    from cpchub.hub.verify import verify_files
    from cpchub.importers.convert import import_checkpoint
    from cpchub.index import Hit, Index, Item
    from cpchub.index.duplicates import find_duplicates
    from cpchub.index.map import draw_map
    from cpchub.index.outliers import find_outliers
    from cpchub.media.rules import Rules
    from cpchub.media.sources.base import Source

__version__ = "0.1.0"

__all__ = [
    "AudioEncoder",
    "Collection",
    "CpchubError",
    "Encoder",
    "Head",
    "Hit",
    "Index",
    "Item",
    "ModelSpec",
    "Rules",
    "Source",
    "__version__",
    "create_model",
    "draw_map",
    "embed_folder",
    "errors",
    "export_onnx",
    "export_program",
    "export_vectors",
    "fewlabels",
    "find",
    "find_duplicates",
    "find_label_errors",
    "find_next_labels",
    "find_outliers",
    "get_spec",
    "import_checkpoint",
    "import_vectors",
    "list_models",
    "load",
    "load_classifier",
    "plan_release",
    "publish",
    "verify_files",
]

_HOME = {
    "AudioEncoder": "cpchub.encoders.audio_encoder:AudioEncoder",
    "Collection": "cpchub.collection.collection:Collection",
    "CpchubError": "cpchub.errors:CpchubError",
    "Encoder": "cpchub.encoders.encoder:Encoder",
    "Head": "cpchub.fewlabels.heads.head:Head",
    "Hit": "cpchub.index:Hit",
    "Index": "cpchub.index:Index",
    "Item": "cpchub.index:Item",
    "ModelSpec": "cpchub.catalog.listing:ModelSpec",
    "Rules": "cpchub.media.rules:Rules",
    "Source": "cpchub.media.sources.base:Source",
    "create_model": "cpchub.encoders.load:create_model",
    "draw_map": "cpchub.index.map:draw_map",
    "embed_folder": "cpchub.embedding.job:embed",
    "errors": "cpchub.errors",
    "export_onnx": "cpchub.encoders.onnx_export:export_onnx",
    "export_program": "cpchub.encoders.onnx_export:export_program",
    "export_vectors": "cpchub.collection.export_vectors:export_vectors",
    "fewlabels": "cpchub.fewlabels",
    "find": "cpchub.hub.locate:find",
    "find_duplicates": "cpchub.index.duplicates:find_duplicates",
    "find_label_errors": "cpchub.fewlabels.label_errors:find_label_errors",
    "find_next_labels": "cpchub.fewlabels.choice.next_images:find_next_labels",
    "find_outliers": "cpchub.index.outliers:find_outliers",
    "get_spec": "cpchub.catalog.listing:get_spec",
    "import_checkpoint": "cpchub.importers.convert:import_checkpoint",
    "import_vectors": "cpchub.collection.import_vectors:import_vectors",
    "list_models": "cpchub.catalog.listing:list_models",
    "load": "cpchub.encoders.load:load",
    "load_classifier": "cpchub.fewlabels.heads.head:load_classifier",
    "plan_release": "cpchub.hub.release_plan:plan_release",
    "publish": "cpchub.hub.publish:publish",
    "verify_files": "cpchub.hub.verify:verify_files",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'cpchub' has no attribute {name!r}")
    module, _, attribute = _HOME[name].partition(":")
    value = import_module(module)
    if attribute:
        value = getattr(value, attribute)
    globals()[name] = value  # the next look-up does not come here
    return value


def __dir__() -> list[str]:
    return __all__


register_with_timm()
