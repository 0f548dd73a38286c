"""Serve an application until Ctrl-C or SIGTERM, and end within a time that is known."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import uvicorn

from cpchub_serving.process import stops
from cpchub_serving.process.port import PAGE_PORTS, unusable

BACKLOG = 2048  # connections that wait to be accepted


@dataclass(frozen=True)
class End:
    """Seconds of an end. answers: what requests under way get before they are cancelled: a stream may have no end.
    all: what the whole server gets; only a job that cannot be cancelled takes longer."""

    answers: int
    all: float


def serve(app: Any, listening: socket.socket, end: End, ready: Callable[[], None]) -> bool:
    """Serve an ASGI application until a stop is asked for; whether all its work ended within `end`.

    False where a request still computes: no thread can be ended from outside. `ready` is called when it answers. A
    second Ctrl-C does not wait for the requests under way.
    """
    config = uvicorn.Config(
        app, log_level="warning", server_header=False, timeout_keep_alive=5, timeout_graceful_shutdown=end.answers
    )
    server = uvicorn.Server(config)

    def run() -> None:
        with suppress(SystemExit):  # by which uvicorn leaves where the application does not start
            server.run(sockets=[listening])

    thread = threading.Thread(target=run, name="server", daemon=True)
    with stops.stops_noted() as stopped:
        thread.start()
        while not (server.started or stopped()) and thread.is_alive():
            thread.join(0.01)
        if server.started:
            ready()
        while thread.is_alive() and not stopped():
            thread.join(0.1)
        if not stopped():
            raise RuntimeError("the server has ended by itself; the lines above say why")
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # no traceback for a request that is cancelled
        server.should_exit = True
        until = time.monotonic() + end.all
        while thread.is_alive() and time.monotonic() < until:
            server.force_exit = stopped() > 1
            thread.join(0.1)
    return not thread.is_alive()


def address(listening: socket.socket, host: str) -> str:
    """The URL of a socket that listens on `host`."""
    return f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"


def listen(host: str, port: int | None) -> socket.socket:
    """A socket that listens; port 0 takes any that is free, None the first free one of a page.

    Its protocol is given, since asyncio sends small packets at once only where it knows that it is TCP. Otherwise each
    answer comes 40 ms late: the second packet waits for the client, which delays its acknowledgement.

    Raises ArgumentError for a port that cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    failure: Exception | None = None
    for number in PAGE_PORTS if port is None else (port,):
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((host, number))
            listening.listen(BACKLOG)
        except (OSError, OverflowError) as error:
            listening.close()
            failure = error
        else:
            return listening
    raise unusable(host, port, failure) from failure
