"""The accuracy that one wants to reach with more labels."""

from __future__ import annotations

from cpchub.errors import ArgumentError

TARGET = 0.95


def check_target(target: float) -> None:
    """Raise ArgumentError for a target that is no share."""
    if not 0 < target < 1:
        raise ArgumentError(f"target={target:g}: give an accuracy between 0 and 1, such as {TARGET}")
