"""How errors reach the visitor: the ones raised on purpose are shown word by word, all others stay in the log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import gradio as gr

from cpchub.errors import CpchubError, StoreError

STORE_AWAY = "The store of the vectors does not answer now; try again in a moment."

P = ParamSpec("P")
R = TypeVar("R")


def shown_errors(handler: Callable[P, R]) -> Callable[P, R]:
    """Let `handler` answer a CpchubError with a message on the page."""

    @wraps(handler)
    def answering(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return handler(*args, **kwargs)
        except StoreError as error:  # its words name an address, which is for the log
            logging.getLogger("uvicorn.error").error("%s", error)
            raise gr.Error(STORE_AWAY, print_exception=False) from error
        except CpchubError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return answering
