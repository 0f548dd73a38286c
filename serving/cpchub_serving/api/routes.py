"""The paths of the API: from a request to `Service`, and from its answer to JSON."""

from __future__ import annotations

import base64
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile

from cpchub_serving.api import schema
from cpchub_serving.api.failures import Refused
from cpchub_serving.api.images import decoded
from cpchub_serving.api.service import Service, Wanted

MULTIPART = "multipart/form-data"
FILES = "file"  # the field of the images in a form


def service_of(request: Request) -> Service:
    """The service of the application."""
    service: Service = request.app.state.service
    return service


OfApp = Annotated[Service, Depends(service_of)]
router = APIRouter()


def described(model: type[BaseModel]) -> dict[str, Any]:
    """The two bodies that a path takes: JSON with images in base64, and a form with the images as files."""
    fields = {name: {"type": "string"} for name in model.model_fields if name not in ("input", "dimensions")}
    files = {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}
    form = {"type": "object", "properties": {FILES: files, **fields}, "required": [FILES]}
    reference = {"$ref": f"#/components/schemas/{model.__name__}"}
    content = {"application/json": {"schema": reference}, MULTIPART: {"schema": form}}
    return {"requestBody": {"required": True, "content": content}}


async def _read(request: Request, model: type[BaseModel], most: int) -> tuple[Any, list[bytes]]:
    """The fields of a body and its images, from JSON or from a form. Raises Refused, RequestValidationError."""
    try:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() == MULTIPART:
            return await _read_form(request, model, most)
        body = model.model_validate_json(await request.body())
    except ValidationError as error:
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in error.errors()]) from error
    given: Any = body
    texts = [given.input] if isinstance(given.input, str) else given.input
    if len(texts) > most:
        raise Refused(413, f"{len(texts):,} images, more than {most:,}; send them in several requests")
    return given, [decoded(text, i) for i, text in enumerate(texts)]


async def _read_form(request: Request, model: type[BaseModel], most: int) -> tuple[Any, list[bytes]]:
    async with request.form(max_files=most, max_fields=20) as form:
        files = [each for each in form.getlist(FILES) if isinstance(each, UploadFile)]
        fields = {name: value for name, value in form.items() if name != FILES}
        if not files:
            raise Refused(400, f"the form has no file; send each image as a field {FILES!r}")
        return model.model_validate({**fields, "input": ["file"]}), [await each.read() for each in files]


@router.post("/v1/embeddings", response_model=schema.Embeddings, openapi_extra=described(schema.EmbeddingRequest))
async def embeddings(request: Request, service: OfApp) -> schema.Embeddings:
    """Images to vectors of unit length; for clients of OpenAI's API, too."""
    body, files = await _read(request, schema.EmbeddingRequest, service.limits.images)
    service.check_model(body.model)
    spec = service.encoder.spec
    if body.dimensions not in (None, spec.dim):
        raise Refused(400, f"dimensions={body.dimensions}: {spec.name} gives {spec.dim}")
    vectors = await service.vectors(files)
    data = [
        schema.Embedding(index=i, embedding=_packed(row) if body.encoding_format == "base64" else row.tolist())
        for i, row in enumerate(vectors)
    ]
    return schema.Embeddings(data=data, model=spec.name)


@router.post("/v1/search")
async def search(body: schema.SearchRequest, service: OfApp) -> schema.SearchAnswer:
    """The images of the collection that are most like an image, an image of its own, or a vector."""
    signed = [(body, 1.0), *((each, each.weight) for each in body.plus), *((each, -each.weight) for each in body.minus)]
    wanted = [Wanted(_what(subject, i), weight) for i, (subject, weight) in enumerate(signed)]
    found = await service.search(wanted, body.k, body.where, body.columns)
    columns: list[dict[str, Any] | None] = list(found.columns) if found.columns else [None for _ in found.hits]
    data = [
        schema.Found(id=hit.id, path=hit.path, score=hit.score, columns=_jsonable(more))
        for hit, more in zip(found.hits, columns, strict=True)
    ]
    return schema.SearchAnswer(data=data, encode_ms=found.encode_ms, search_ms=found.search_ms)


@router.post("/v1/classify", response_model=schema.ClassifyAnswer, openapi_extra=described(schema.ClassifyRequest))
async def classify(request: Request, service: OfApp) -> schema.ClassifyAnswer:
    """The classes of images, by a classifier that was saved with `cpchub classify --save`."""
    body, files = await _read(request, schema.ClassifyRequest, service.limits.images)
    name, head = service.head_called(body.head)
    found = await service.classify(files, head)
    typical = [None] * len(files) if found.typical is None else found.typical.tolist()
    data = [
        schema.Classified(
            index=i,
            predicted=found.predicted[i],
            classes=[name for name, said in zip(found.classes, found.of_class[i], strict=True) if said],
            confidence=found.confidence[i],
            probabilities=dict(zip(found.classes, found.probabilities[i].tolist(), strict=True)),
            typical=typical[i],
        )
        for i in range(len(files))
    ]
    return schema.ClassifyAnswer(head=name, data=data)


@router.get("/v1/models")
async def models(service: OfApp) -> schema.Models:
    """The encoder and the classifiers."""
    spec = service.encoder.spec
    found = [schema.Model(id=spec.name, kind="encoder", dim=spec.dim, license=spec.license)]
    for name, head in service.heads.items():
        found.append(schema.Model(id=name, kind="classifier", dim=head.dim, classes=head.classes))
    return schema.Models(data=found)


@router.get("/healthz")
async def healthz(service: OfApp) -> schema.Health:
    """Whether the API answers; asked without a key."""
    return schema.Health(images=0 if service.index is None else len(service.index))


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """Counts for Prometheus."""
    page: Response = request.app.state.metrics.page()
    return page


def _what(subject: schema.Subject, which: int) -> bytes | int | str | list[float]:
    if subject.image is not None:
        return decoded(subject.image, which)
    if subject.id is not None:
        return subject.id
    if subject.path is not None:
        return subject.path
    return subject.vector or []


def _packed(vector: Any) -> str:
    return base64.b64encode(np.ascontiguousarray(vector, dtype="<f4").tobytes()).decode("ascii")


def _jsonable(columns: dict[str, Any] | None) -> dict[str, Any] | None:
    """The columns of an image; what JSON has no word for, as text."""
    if columns is None:
        return None
    plain = (str, int, bool, type(None))
    return {
        name: value if isinstance(value, plain) or (isinstance(value, float) and np.isfinite(value)) else str(value)
        for name, value in columns.items()
    }
