"""Encoders pretrained without labels: load one by name, embed pictures, search and classify them.

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
    from cpchub.embedding.job import embed as embed_folder
    from cpchub.encoders.encoder import Encoder
    from cpchub.encoders.load import create_model, load
    from cpchub.encoders.onnx_export import export_onnx
    from cpchub.errors import CpchubError
    from cpchub.hub.publish import publish
    from cpchub.index import Hit, Index, Item

__version__ = "0.1.0"

__all__ = [
    "Collection",
    "CpchubError",
    "Encoder",
    "Hit",
    "Index",
    "Item",
    "ModelSpec",
    "__version__",
    "create_model",
    "embed_folder",
    "errors",
    "export_onnx",
    "fewlabels",
    "get_spec",
    "list_models",
    "load",
    "publish",
]

_HOME = {
    "Collection": "cpchub.collection.collection:Collection",
    "CpchubError": "cpchub.errors:CpchubError",
    "Encoder": "cpchub.encoders.encoder:Encoder",
    "Hit": "cpchub.index:Hit",
    "Index": "cpchub.index:Index",
    "Item": "cpchub.index:Item",
    "ModelSpec": "cpchub.catalog.listing:ModelSpec",
    "create_model": "cpchub.encoders.load:create_model",
    # not `embed`: importing the module cpchub.embed binds that name to the module
    "embed_folder": "cpchub.embedding.job:embed",
    "errors": "cpchub.errors",
    "export_onnx": "cpchub.encoders.onnx_export:export_onnx",
    "fewlabels": "cpchub.fewlabels",
    "get_spec": "cpchub.catalog.listing:get_spec",
    "list_models": "cpchub.catalog.listing:list_models",
    "load": "cpchub.encoders.load:load",
    "publish": "cpchub.hub.publish:publish",
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
