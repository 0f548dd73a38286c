"""The server that page and API share: its port, and its end in a known time whatever a request does."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from cpchub.errors import ArgumentError
from cpchub_serving.process import port, server
from cpchub_serving.process.server import End
from tests.processes import PATIENCE, wait_for


def app_that(answers: Callable[[], Any], starts: bool = True) -> Any:
    """An application whose requests are answered by awaiting `answers()`."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": f"lifespan.startup.{'complete' if starts else 'failed'}"})
            if starts:
                await receive()
                await send({"type": "lifespan.shutdown.complete"})
            return
        await answers()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"answered"})

    return app


def ended_while(
    app: Any,
    end: End,
    begun: threading.Event,
    stops: int = 1,
    told: threading.Event | None = None,
    over: threading.Event | None = None,
) -> tuple[bool, list[bytes]]:
    """Serve until a request is under way, then stop; whether all work has ended, and what the client got.

    told: set when the server was told to end; over: when `serve` has returned.
    """
    got: list[bytes] = []
    log = logging.getLogger("uvicorn.error")
    log.setLevel(logging.NOTSET)
    told = told or threading.Event()
    with server.listen("127.0.0.1", 0) as listening:
        url = server.address(listening, "127.0.0.1")

        def visit() -> None:
            try:
                with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                    got.append(answer.read())
            except OSError:
                got.append(b"broken off")

        def stop() -> None:
            assert begun.wait(PATIENCE)
            for _ in range(stops):
                os.kill(os.getpid(), signal.SIGINT)
                wait_for(lambda: log.level == logging.CRITICAL, "the stop is not noted")  # two at once would be one
            told.set()

        visitor = threading.Thread(target=visit, daemon=True)

        def ready() -> None:
            visitor.start()
            threading.Thread(target=stop, daemon=True).start()

        ended = server.serve(app, listening, end, ready)
        if over is not None:
            over.set()
        for thread in (visitor, *(each for each in threading.enumerate() if each.name == "server")):
            thread.join(PATIENCE)  # before its socket is closed
    return ended, got


def test_a_request_under_way_is_answered_before_the_end() -> None:
    begun, told = threading.Event(), threading.Event()

    async def soon() -> None:
        begun.set()
        await asyncio.to_thread(told.wait, PATIENCE)

    assert ended_while(app_that(soon), End(answers=60, all=120), begun, told=told) == (True, [b"answered"])


@pytest.mark.parametrize(("answers", "stops"), [(1, 1), (600, 2)], ids=["its time is over", "a second Ctrl-C"])
def test_a_request_without_an_end_is_broken_off(answers: int, stops: int) -> None:
    begun = threading.Event()

    async def never() -> None:
        begun.set()
        await asyncio.Event().wait()

    assert ended_while(app_that(never), End(answers, all=600), begun, stops) == (True, [b"broken off"])


def test_work_that_cannot_be_broken_off_is_told() -> None:
    begun, over = threading.Event(), threading.Event()

    async def computing() -> None:
        begun.set()
        over.wait(PATIENCE)  # holds the loop, as native code may

    assert not ended_while(app_that(computing), End(answers=1, all=0.2), begun, over=over)[0]


def test_a_server_that_does_not_start_is_an_error_and_not_a_silence() -> None:
    with server.listen("127.0.0.1", 0) as listening, pytest.raises(RuntimeError, match="ended by itself"):
        server.serve(app_that(lambda: None, starts=False), listening, End(1, 3), lambda: None)


def test_without_a_port_the_first_free_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as free:
        ports = [taken.getsockname()[1], free.getsockname()[1]]
        free.close()
        monkeypatch.setattr(server, "PAGE_PORTS", ports)
        with server.listen("127.0.0.1", None) as listening:
            assert server.address(listening, "127.0.0.1") == f"http://127.0.0.1:{ports[1]}"
        monkeypatch.setattr(server, "PAGE_PORTS", ports[:1])
        with pytest.raises(ArgumentError, match="No port from 7860 on can be used"):
            server.listen("127.0.0.1", None)
    assert port.PAGE_PORTS[0] == 7860
