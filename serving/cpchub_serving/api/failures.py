"""How the API says no: a status, and a body in the form that clients of OpenAI's API read."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from cpchub.errors import CpchubError

STORE_AWAY = "the store of the vectors does not answer now; try again in a moment"


class Refused(Exception):
    """A request that is not answered. retry_after: seconds, for a client that may try again."""

    def __init__(self, status: int, message: str, *, kind: str = "invalid_request_error", retry_after: int = 0) -> None:
        super().__init__(message)
        self.status, self.message, self.kind, self.retry_after = status, message, kind, retry_after


def answer(status: int, message: str, kind: str, retry_after: int = 0) -> JSONResponse:
    """The response that refuses."""
    headers = {"Retry-After": str(retry_after)} if retry_after else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    error: dict[str, Any] = {"message": message, "type": kind, "param": None, "code": status}
    return JSONResponse({"error": error}, status, headers)


async def refused(_: Request, error: Exception) -> JSONResponse:
    """For `Refused`."""
    assert isinstance(error, Refused)
    return answer(error.status, error.message, error.kind, error.retry_after)


async def bad_input(_: Request, error: Exception) -> JSONResponse:
    """For errors that cpchub raises on purpose: what was sent cannot be used."""
    assert isinstance(error, CpchubError)
    return answer(400, str(error), "invalid_request_error")


async def store_away(_: Request, error: Exception) -> JSONResponse:
    """For a Milvus that does not answer. Its address is for the log, not for clients."""
    logging.getLogger("uvicorn.error").error("%s", error)
    return answer(503, STORE_AWAY, "server_error", retry_after=10)


async def bad_fields(_: Request, error: Exception) -> JSONResponse:
    """For a body whose fields are not as described: each is named. What was sent is not repeated, it may be large."""
    assert isinstance(error, RequestValidationError)
    fields = (f"{'.'.join(map(str, each['loc'][1:])) or 'body'}: {each['msg']}" for each in error.errors()[:5])
    return answer(422, "; ".join(fields), "invalid_request_error")


async def unexpected(_: Request, error: Exception) -> JSONResponse:
    """For a fault of ours; Starlette raises it again, so the log has it."""
    return answer(500, f"something went wrong here ({type(error).__name__}); the log has it", "server_error")


async def not_found(_: Request, error: Exception) -> JSONResponse:
    """For what Starlette itself answers: an unknown path, a method that a path does not have."""
    assert isinstance(error, HTTPException)
    return answer(error.status_code, str(error.detail), "invalid_request_error")
