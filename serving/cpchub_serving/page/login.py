"""A page that has keys asks for one: the visitor writes it once, and the browser keeps a ticket for it."""

from __future__ import annotations

from urllib.parse import parse_qs

from limits import parse
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response

from cpchub_serving.process.asgi import App, Receive, Scope, Send, path_of
from cpchub_serving.process.keys import Keys
from cpchub_serving.process.rates import Rate

COOKIE = "cpchub-key"
LONGEST_FORM = 4096  # bytes
FORM = """<!doctype html><html lang="en"><meta charset="utf-8"><title>cpchub</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<style>
body { font: 16px/1.5 system-ui, sans-serif; display: grid; place-content: center; min-height: 90vh; margin: 16px }
form { display: grid; gap: 12px; width: min(320px, 90vw) }
h1 { font-size: 20px; margin: 0 } p { margin: 0 }
input, button { font: inherit; padding: 8px 12px; border-radius: 6px; border: 1px solid #8a8a8a }
button { background: #1c6b50; color: #fff; border-color: #1c6b50 }
</style>
<form method="post"><h1>This page needs a key</h1><p role="alert">SAID</p>
<label for="key">Key</label>
<input id="key" name="key" type="password" autocomplete="current-password" required autofocus>
<button>Open the page</button></form></html>"""
WRONG = "This is not a key of this page. Ask the person who started it."
TOO_MANY = "Too many wrong keys came from your address. Try again in {} seconds."
TRIES = "10/minute"  # wrong keys of one address

# What a browser asks for by itself, without the ticket: it is told nothing, and finds no fault to report.
QUIET: dict[str, Response] = {"/favicon.ico": Response(status_code=204), "/manifest.json": JSONResponse({})}


class Login:
    """ASGI middleware before a page and all that belongs to it. Without keys everybody is let in.

    A program may send `Authorization: Bearer KEY` in place of the ticket. wrong: counts the wrong keys of each address,
    of all pages of a process. An address that has sent too many waits, and is not told whether the next one is right.
    """

    def __init__(self, app: App, *, keys: Keys, wrong: Rate) -> None:
        self.app = app
        self.keys = keys
        self.wrong = wrong

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or answer it: with the form where the page itself is asked for, with 401 or 429."""
        if not self.keys or scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # the page has none
            return
        request = Request(scope, receive)
        wait = self.wrong.wait(_address(request))
        if self._is_admitted(request, wait):
            await self.app(scope, receive, send)
            return
        response = QUIET.get(path_of(scope)) or await self._answer(request, wait)
        response.headers["Cache-Control"] = "no-store"
        await response(scope, receive, send)

    def _is_admitted(self, request: Request, wait: int) -> bool:
        if self.keys.admits(request.cookies.get(COOKIE, "")):
            return True
        key = _bearer(request)
        return key is not None and not wait and self._is_right(request, key)

    def _is_right(self, request: Request, key: str) -> bool:
        """Compare a key, and count it where it is wrong."""
        right = self.keys.has(key)
        if not right:
            self.wrong.take(_address(request))
        return right

    async def _answer(self, request: Request, wait: int) -> Response:
        if wait and (request.method == "POST" or _bearer(request) is not None):
            said = TOO_MANY.format(wait)
            return HTMLResponse(FORM.replace("SAID", said), 429, {"Retry-After": str(wait)})
        if path_of(request.scope) not in ("", "/") or request.method not in ("GET", "HEAD", "POST"):
            return PlainTextResponse("This page needs a key: open its first page and write it there.", 401)
        if request.method != "POST":
            return HTMLResponse(FORM.replace("SAID", ""), 401)
        key = await _key_of(request)
        if key is None or not self._is_right(request, key):
            return HTMLResponse(FORM.replace("SAID", WRONG), 401)
        query = request.url.query
        response = RedirectResponse(f"./?{query}" if query else "./", 303)  # relative: a proxy may add a prefix
        secure = request.url.scheme == "https"
        # Lax: a link from elsewhere opens the page, a form of another page sends nothing in the visitor's name.
        response.set_cookie(COOKIE, self.keys.ticket(key), httponly=True, samesite="lax", secure=secure)
        return response


def _bearer(request: Request) -> str | None:
    """The key that a program sends; None where there is none."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else None


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def wrong_keys() -> Rate:
    """A count of wrong keys."""
    return Rate(parse(TRIES))


async def _key_of(request: Request) -> str | None:
    """The key in the form; None where something else was sent."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_FORM:
            return None
    fields = parse_qs(body.decode("latin-1"))
    return fields["key"][0].strip() if "key" in fields else None
