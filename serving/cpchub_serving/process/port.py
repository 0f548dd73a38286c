"""The port of the page: whether it can be used is known before anything is loaded."""

from __future__ import annotations

import socket

from cpchub.errors import ArgumentError

PAGE_PORTS = range(7860, 7960)  # of which a page takes the first that is free
HERE = ("127.0.0.1", "localhost", "::1")  # hosts that only this machine reaches


def check_port(host: str, port: int | None) -> None:
    """Raise ArgumentError for a port that is taken or may not be used; None means any that is free."""
    if port is None:
        return
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except (OSError, OverflowError) as error:
        raise unusable(host, port, error) from error


def unusable(host: str, port: int | None, error: Exception | None) -> ArgumentError:
    """The error of a port."""
    ports = "No port from 7860 on can" if port is None else f"Port {port} cannot"
    return ArgumentError(f"{ports} be used on {host} ({error}); choose another with --port.")
