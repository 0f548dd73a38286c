"""What clients send and get, as OpenAPI describes it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

IMAGE = "an image: a data URL (data:image/jpeg;base64,...) or its base64 alone; addresses are not fetched"
Image = Annotated[str, Field(description=IMAGE, min_length=1)]
Id = Annotated[int, Field(ge=0, lt=1 << 62)]


class Body(BaseModel):
    """A request; a field that is not known is an error, since it was meant to do something."""

    model_config = ConfigDict(extra="forbid")


class EmbeddingRequest(Body):
    """Images to vectors, shaped like OpenAI's."""

    input: Image | Annotated[list[Image], Field(min_length=1)]
    model: str = Field("", description="name of the encoder, as /v1/models lists it; empty for the only one")
    encoding_format: Literal["float", "base64"] = Field("float", description="base64: little-endian float32")
    dimensions: Annotated[int, Field(gt=0)] | None = Field(None, description="only that of the encoder")
    user: str = Field("", description="not used")


class Embedding(BaseModel):
    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str = Field(description="of unit length")


class Usage(BaseModel):
    prompt_tokens: int = 0
    total_tokens: int = 0


class Embeddings(BaseModel):
    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: Usage = Usage()


class Subject(Body):
    """What is searched with: one of an image, an id or a path of the collection, and a vector."""

    image: Image | None = None
    id: Id | None = None
    path: Annotated[str, Field(description="of an image of the collection, as results give it")] | None = None
    vector: Annotated[list[FiniteFloat], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def is_one(self) -> Subject:
        """Exactly one is given."""
        if sum(each is not None for each in (self.image, self.id, self.path, self.vector)) != 1:
            raise ValueError("give one of image, id, path and vector")
        return self


class Weighted(Subject):
    """Something to search with besides."""

    weight: Annotated[FiniteFloat, Field(gt=0, le=1e6)] = 1.0


class SearchRequest(Subject):
    """The images of the collection that are most like something."""

    k: Annotated[int, Field(ge=1)] = 10
    plus: list[Weighted] = Field([], description="to add")
    minus: list[Weighted] = Field([], description="to subtract")
    where: str | None = Field(None, description="a condition on the columns: label == 'sea' and width > 1000")
    columns: bool = Field(False, description="give the columns of each image, too")


class Found(BaseModel):
    id: int
    path: str
    score: float = Field(description="cosine")
    columns: dict[str, Any] | None = None


class SearchAnswer(BaseModel):
    object: Literal["list"] = "list"
    data: list[Found]
    encode_ms: float
    search_ms: float


class ClassifyRequest(Body):
    """Images to classes, by a saved classifier."""

    input: Image | Annotated[list[Image], Field(min_length=1)]
    head: str = Field("", description="name of the classifier, as /v1/models lists it; empty for the only one")


class Classified(BaseModel):
    index: int
    predicted: str = Field(description='the class, or "none of these"; of several classes: a;b, or ; for none')
    classes: list[str] = Field(description="the classes of the image: one, none, or several where it may have several")
    confidence: float | None = Field(description="of the class; null without one, and where there may be several")
    probabilities: dict[str, float]
    typical: float | None = Field(description='for a classifier that may say "none of these": 0 is least typical')


class ClassifyAnswer(BaseModel):
    object: Literal["list"] = "list"
    head: str
    data: list[Classified]


class Model(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "cpchub"
    kind: Literal["encoder", "classifier"]
    dim: int
    classes: list[str] | None = None
    license: str | None = None


class Models(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]


class Health(BaseModel):
    status: Literal["ok"] = "ok"
    images: int = Field(description="in the collection")
