"""Serve the API until Ctrl-C or SIGTERM; what was accepted is answered first."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from cpchub_serving.process import stops
from cpchub_serving.process.port import unusable

BACKLOG = 2048  # connections that wait to be accepted
ANSWERS_END = 30  # seconds that requests under way get when the API is told to end


def serve(app: FastAPI, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve `app` until a stop is asked for; `ready` is told its address. Port 0 takes any that is free.

    Raises ArgumentError for a port that cannot be used.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        server_header=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=ANSWERS_END,
    )
    listening = _listening(host, port)
    ready(f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}")
    with stops.stops_noted():  # uvicorn sends the signal again once it has ended
        uvicorn.Server(config).run(sockets=[listening])


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Its protocol is given, since asyncio sends small packets at once only where it knows that it is TCP. Otherwise each
    answer comes 40 ms late: the second packet waits for the client, which delays its acknowledgement.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listening.close()
        raise unusable(host, port, error) from error
    return listening
