"""The port of the page: whether it can be used is known before anything is loaded."""

from __future__ import annotations

import socket

from cpchub.errors import ArgumentError


def check_port(host: str, port: int | None) -> None:
    """Raise ArgumentError for a port that is taken or may not be used; None means any that is free."""
    if port is None:
        return
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except (OSError, OverflowError) as error:
        raise unusable(host, port, error) from error


def unusable(host: str, port: int | None, error: Exception) -> ArgumentError:
    """The error of a port."""
    ports = "No port from 7860 on can" if port is None else f"Port {port} cannot"
    return ArgumentError(f"{ports} be used on {host} ({error}); choose another with --port.")
