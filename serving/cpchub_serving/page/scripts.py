"""The page's scripts: plain ES modules that lie beside their tab, served under `page/script/`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from fastapi import APIRouter, Request, Response

PAGE = Path(__file__).parent
START = """
import(new URL(NAME, document.baseURI)).then((module) => module.start(element, trigger));
"""


def start(name: str) -> str:
    """For `gr.HTML(js_on_load=...)`: import the module `TAB/NAME.js` and call its `start(element, trigger)`."""
    return START.replace("NAME", json.dumps(f"page/script/{name}"))


def routes() -> APIRouter:
    """`/page/script/TAB/NAME.js`: the modules that lie in the folders of the page when this is called, nothing else."""
    router = APIRouter(include_in_schema=False)
    scripts = {path.relative_to(PAGE).as_posix(): path.read_bytes() for path in sorted(PAGE.glob("*/*.js"))}
    tags = {name: f'"{hashlib.sha256(text).hexdigest()[:16]}"' for name, text in scripts.items()}

    @router.get("/page/script/{tab}/{name}")
    async def script(request: Request, tab: str, name: str) -> Response:
        key = f"{tab}/{name}"
        if key not in scripts:
            return Response(status_code=404)
        headers = {"Cache-Control": "no-cache", "ETag": tags[key]}  # modules of two versions must not meet
        if request.headers.get("if-none-match") == tags[key]:
            return Response(status_code=304, headers=headers)
        return Response(scripts[key], media_type="text/javascript; charset=utf-8", headers=headers)

    return router
