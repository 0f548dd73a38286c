"""The API as a FastAPI application: routes, guards, errors and metrics put together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException

import cpchub
from cpchub.errors import CpchubError, StoreError
from cpchub_serving.api import failures
from cpchub_serving.api.guard import DESCRIBED_WITH, Guard
from cpchub_serving.api.keys import Door
from cpchub_serving.api.metrics import Metrics
from cpchub_serving.api.routes import router
from cpchub_serving.api.schema import ClassifyRequest, EmbeddingRequest
from cpchub_serving.api.service import Service
from cpchub_serving.process.server import End

END = End(answers=30, all=35)  # seconds: what was accepted is answered


def build(service: Service, door: Door, origins: Sequence[str] = ()) -> FastAPI:
    """The application. origins: the pages whose scripts may call it from a browser; none unless they are listed."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.batcher.start()
        yield
        await service.stop()

    app = FastAPIOffline(  # FastAPI's own page of paths takes its scripts from another host
        redoc_url=None,
        static_url=DESCRIBED_WITH,
        title="cpchub",
        version=cpchub.__version__,
        lifespan=lifespan,
        summary="Vectors, search, classes",
    )
    app.state.service = service
    app.state.metrics = Metrics(service.batcher)
    app.include_router(router)
    app.add_exception_handler(failures.Refused, failures.refused)
    app.add_exception_handler(CpchubError, failures.bad_input)
    app.add_exception_handler(StoreError, failures.store_away)
    app.add_exception_handler(RequestValidationError, failures.bad_fields)
    app.add_exception_handler(HTTPException, failures.not_found)
    app.add_exception_handler(Exception, failures.unexpected)
    app.add_middleware(Guard, door=door, limits=service.limits)
    app.middleware("http")(app.state.metrics.around)
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["Retry-After"],
        )
    plain = app.openapi

    def openapi() -> dict[str, object]:
        found = plain()
        schemas = found["components"]["schemas"]
        for model in (EmbeddingRequest, ClassifyRequest):  # read by hand, so FastAPI does not see them
            schemas.setdefault(model.__name__, model.model_json_schema(ref_template="#/components/schemas/{model}"))
        if door.needs_key:
            found["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            found["security"] = [{"key": []}]
        return found

    app.openapi = openapi  # type: ignore[method-assign]
    return app
