"""One writer at a time: a file in the store that says who writes, and until when that can be believed.

An object store has no locks. S3 and Google Cloud Storage do let one of two create a file, and so only one gets the
claim. The writer renews it every minute. A writer that was killed leaves its claim behind: the next one takes it over
at once on the same machine, and after five minutes on another.
"""

from __future__ import annotations

import json
import os
import platform
import time
import uuid
import warnings
from datetime import datetime, timezone
from typing import Any

from cpchub.collection.stored.objects import Objects
from cpchub.common.words import counted
from cpchub.errors import CpchubWarning, OutputError, StoreError

CLAIM = ".writer.json"
RENEWED_EVERY = 60.0  # seconds
BELIEVED_FOR = 300.0  # seconds since it was renewed; clocks of two machines may differ a little


class Claim:
    """The claim of this process to be the writer of a place. copy: names the copy on this machine, which is locked."""

    def __init__(self, objects: Objects, copy: str) -> None:
        self._objects, self._copy, self._token = objects, copy, uuid.uuid4().hex
        self._since, self._renewed = _now(), 0.0

    def take(self) -> None:
        """Become the writer. Raises OutputError while another process is, and StoreError."""
        if not self._objects.create(CLAIM, self._content()):
            other = self._read()
            if other is not None and other.get("token") != self._token:  # ours: the answer to the first try was lost
                self._check_given_up(other)
            self._objects.write(CLAIM, self._content())
        self._renewed = time.monotonic()

    def renew(self) -> None:
        """Say that this process is still at work, where it is time to."""
        if time.monotonic() - self._renewed >= RENEWED_EVERY:
            self.check()
            self._objects.write(CLAIM, self._content())
            self._renewed = time.monotonic()

    def check(self) -> None:
        """Raise OutputError where another process has taken over, which took this one for dead."""
        other = self._read()
        if other is None or other.get("token") != self._token:
            raise OutputError(
                f"{_who(other or {})} has taken over the writing of {self._objects.url}, as nothing was heard of this "
                "process for minutes. What it had not stored yet is left out; run the same command again"
            )

    def release(self) -> None:
        """Let the next one in; where the store does not answer, it is let in after five minutes."""
        try:
            other = self._read()
            if other is not None and other.get("token") == self._token:
                self._objects.delete([CLAIM])
        except StoreError as error:
            warnings.warn(f"{error}; other machines can write there in five minutes", CpchubWarning, stacklevel=2)

    def _check_given_up(self, other: dict[str, Any]) -> None:
        if other.get("copy") == self._copy:  # that copy is locked by us, so its writer has ended
            return
        silent = _seconds_since(other.get("renewed"))
        if silent is not None and silent < BELIEVED_FOR:
            raise OutputError(
                f"another process is writing to {self._objects.url}: {_who(other)}, last heard of "
                f"{counted(max(0, round(silent)), 'second')} ago. Wait for it, or stop it; if it was killed, this "
                f"command works {BELIEVED_FOR / 60:.0f} minutes after that"
            )

    def _content(self) -> bytes:
        who = {"host": platform.node(), "pid": os.getpid(), "since": self._since, "renewed": _now()}
        return json.dumps({"token": self._token, "copy": self._copy, **who}, indent=2).encode()

    def _read(self) -> dict[str, Any] | None:
        try:
            found = json.loads(self._objects.read(CLAIM) or b"null")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else None


def _who(other: dict[str, Any]) -> str:
    return f"process {other.get('pid', '?')} of {other.get('host', 'another machine')}"


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _seconds_since(time_said: object) -> float | None:
    try:
        return (datetime.now(timezone.utc) - datetime.fromisoformat(str(time_said))).total_seconds()
    except (ValueError, TypeError):  # edited by hand: no sign of life
        return None
