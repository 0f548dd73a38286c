"""The page and the HTTP API of one or several collections: one application, served by one process."""

from __future__ import annotations

import itertools
import re
import webbrowser
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Mount, Route

from cpchub.common.words import counted
from cpchub.embedding.encoder_of import later_encoder_of
from cpchub.encoders.protocols import ImageEncoder
from cpchub.errors import CpchubError, StoreError
from cpchub.index import Index
from cpchub_serving.api import app as api
from cpchub_serving.api import failures
from cpchub_serving.api.keys import Door
from cpchub_serving.api.limits import Limits
from cpchub_serving.api.service import Service
from cpchub_serving.page.bounds import Bounded
from cpchub_serving.page.build import add_page
from cpchub_serving.page.context import Context
from cpchub_serving.page.login import Login, wrong_keys
from cpchub_serving.page.uploads import own_uploads
from cpchub_serving.process import server, stops
from cpchub_serving.process.asgi import App, Receive, Scope, Send, path_of
from cpchub_serving.process.keys import Keys
from cpchub_serving.process.port import check_port
from cpchub_serving.visit.finder import Finder
from cpchub_serving.visit.label_sets import LabelSets
from cpchub_serving.visit.thumbnails import Thumbnails

if TYPE_CHECKING:
    from cpchub.encoders.encoder import Encoder
    from cpchub.fewlabels.heads.head import Head

API_PREFIXES = ("/v1/", "/docs", "/openapi.json", "/healthz", "/metrics")
END = server.End(answers=1, all=3)  # seconds; with the rest of the process less than five


@dataclass(frozen=True)
class Shown:
    """A collection with its encoder, and classifiers on its vectors; thumbnails: their folder, by default a cache."""

    index: Index
    encoder: ImageEncoder
    heads: Mapping[str, Head] = field(default_factory=dict)
    thumbnails: Path | None = None

    @property
    def title(self) -> str:
        """The name of the folder its images come from."""
        return self.index.collection.source.name or "Images"


@dataclass(frozen=True)
class Access:
    """Who may ask, and how much; for the API and for the page. origins: pages whose scripts may call the API.

    allow_download: whether visitors may have the images themselves, not only their small copies.
    """

    keys: Keys = field(default_factory=Keys)
    limits: Limits = field(default_factory=Limits)
    origins: tuple[str, ...] = ()
    allow_download: bool = False


def build(shown: Sequence[Shown], access: Access) -> Starlette:
    """The application: the page of a collection at "/", the API beside it at "/v1/...".

    Of several collections each has page and API under its name, which the page's menu lists. "/" leads to the first
    one, and "/v1/..." is its API.
    """
    names = _names([each.title for each in shown])
    menu = list(zip(names, (each.title for each in shown), strict=True)) if len(names) > 1 else []
    # One for all collections, so that what a client does is counted once.
    door, wrong = Door(access.keys, access.limits.rate), wrong_keys()
    started: list[FastAPI] = []
    routes: list[Any] = []
    for name, each in zip(names, shown, strict=True):
        programs = api.build(Service(each.encoder, each.index, each.heads, access.limits), door, access.origins)
        page = FastAPI(openapi_url=None)
        page.add_exception_handler(CpchubError, failures.bad_input)
        page.add_exception_handler(StoreError, failures.store_away)
        page.add_middleware(Bounded)
        page.add_middleware(Login, keys=access.keys, wrong=wrong)  # before the other
        collection = each.index.collection
        thumbnails = Thumbnails(collection, each.thumbnails)
        finder = Finder(each.index, each.encoder)
        context = Context(finder, thumbnails, LabelSets(collection), access.allow_download)
        add_page(page, context, each.title, name, menu)
        started += [programs, page]
        routes.append(Mount(f"/{name}" if menu else "/", Beside(programs, page)))

    async def to_the_first(request: Request) -> RedirectResponse:
        query = request.url.query
        return RedirectResponse(f"./{names[0]}/{'?' if query else ''}{query}")

    if menu:
        routes = [Route("/", to_the_first), *routes, Mount("/", routes[0].app)]  # a browser asks "/" for its icon

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for each in started:
                await stack.enter_async_context(each.router.lifespan_context(each))
            yield

    return Starlette(routes=routes, lifespan=lifespan)


class Beside:
    """The paths of an API go to it, with its keys and bounds; all others to the page, which has its own."""

    def __init__(self, programs: FastAPI, page: App) -> None:
        self.programs = programs
        self.page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = path_of(scope)
        ours = path.startswith(API_PREFIXES)
        await (self.programs if ours else self.page)(scope, receive, send)


def serve(
    collections: str | Path | Sequence[str | Path],
    *,
    encoder: Encoder | str | None = None,
    heads: Mapping[str, Head] | None = None,
    thumbnails: Path | None = None,
    host: str = "127.0.0.1",
    port: int | None = None,
    open_browser: bool = False,
    access: Access | None = None,
) -> bool:
    """Serve the page and the API of collection folders until Ctrl-C or SIGTERM; then end within five seconds.

    `encoder` is needed only where the collection's own cannot be found again by what its manifest says. `thumbnails` is
    the folder of small copies, by default one in the user's cache for each collection. `port` None takes the first free
    one from 7860 on. Returns whether all work has ended: False where a visitor's job still computes in a thread of this
    process. Raises what `Index.open`, `encoder_of` and `Service` raise, and ArgumentError for a port that is taken.
    """
    check_port(host, port)  # before the encoder is loaded
    folders = [collections] if isinstance(collections, str | Path) else collections
    shown: list[Shown] = []
    for folder in folders:
        index = Index.open(folder)
        shown.append(Shown(index, _encoder_of(index, encoder, shown), heads or {}, thumbnails))
    with own_uploads(), stops.stops_interrupt():
        app = build(shown, access or Access())
        with server.listen(host, port) as listening:
            url = f"{server.address(listening, host)}/"
            what = "; ".join(f"{each.title}, {counted(len(each.index), 'image')}" for each in shown)

            def ready() -> None:
                print(f"{what}: {url}  (Ctrl-C stops)", flush=True)
                Thread(target=_warm_up, args=(shown,), daemon=True).start()
                if open_browser:
                    webbrowser.open(url)

            return server.serve(app, listening, END, ready)


def _encoder_of(index: Index, named: Encoder | str | None, shown: Sequence[Shown]) -> ImageEncoder:
    """The encoder of a collection: the one that was named, or that another collection has already loaded."""
    if named is not None and not isinstance(named, str):
        return named
    recorded = index.collection.manifest["encoder"]["fingerprint"]
    same = (each.encoder for each in shown if each.encoder.spec.fingerprint == recorded)
    return next(same, None) or later_encoder_of(index.collection, named)


def _warm_up(shown: Sequence[Shown]) -> None:
    """Load what the first visitor who uploads or labels would wait for. What fails here, fails for that visitor."""
    with suppress(Exception):
        for each in shown:
            _, height, width = each.encoder.spec.input_size
            each.encoder.encode([Image.new("RGB", (width, height))])
    with suppress(ImportError):
        import cpchub.fewlabels.auto  # noqa: F401


def _names(titles: Sequence[str]) -> list[str]:
    """The titles as they stand in an address, each different from those before it."""
    names: list[str] = []
    for title in titles:
        plain = re.sub(r"[^\w.-]+", "-", title).strip(".-") or "images"
        all_alike = itertools.chain([plain], (f"{plain}-{number}" for number in itertools.count(2)))
        names.append(next(name for name in all_alike if name not in names))
    return names
