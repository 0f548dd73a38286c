"""Handlers that change a session: what they change is drawn, and what they refuse is said."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Protocol
from uuid import uuid4

import gradio as gr

from cpchub.errors import CpchubError
from cpchub_serving.visit.session import Session


class Drawing(Protocol):
    """What can draw a session."""

    def drawn(self, session: Session) -> tuple[Any, ...]: ...

    def board(self, session: Session) -> str: ...


def answered(handler: Callable[..., None]) -> Callable[..., Any]:
    """Let `handler` change a session, then draw it. A CpchubError is shown, and what was drawn too soon goes again."""
    return _answered(handler, lambda page, session: page.drawn(session))


def answered_with_images(handler: Callable[..., None]) -> Callable[..., Any]:
    """The same where other images are shown; what the tiles say is drawn after them."""
    return _answered(handler, lambda page, session: (session, page.board(session)))


def _answered(handler: Callable[..., None], draw: Callable[[Drawing, Session], tuple[Any, ...]]) -> Callable[..., Any]:
    @wraps(handler)
    def answering(self: Drawing, session: Session | None, *args: Any) -> Any:
        session = session or Session(uuid4().hex)
        try:
            handler(self, session, *args)
        except CpchubError as error:
            gr.Warning(str(error))
        return draw(self, session)

    return answering
