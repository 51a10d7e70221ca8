"""Errors as problem+json (RFC 9457): what was wrong, where, what is now true."""

from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from bot.errors import Halted, Invalid, NotCommitted, NotFound, Refused, StopsignError

STATUS: tuple[tuple[type[StopsignError], int], ...] = (
    (NotFound, 404),
    (Invalid, 400),
    (Halted, 423),
    (Refused, 403),
    (NotCommitted, 503),
)


def problem(
    status: int, title: str, detail: str, *, where: str | None = None, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Return a problem+json answer; `where` names the field."""
    body: dict[str, object] = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    if where is not None:
        body["field"] = where
    return JSONResponse(body, status, headers=dict(headers or {}), media_type="application/problem+json")


def of_error(error: StopsignError) -> JSONResponse:
    """Return the answer for one of our errors."""
    status = next((code for kind, code in STATUS if isinstance(error, kind)), 500)
    where = error.where if isinstance(error, Invalid) else None
    return problem(status, error.title, str(error), where=where)


def install(app: FastAPI) -> None:
    """Have `app` answer errors as problem+json."""

    async def ours(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, StopsignError)  # registered for it only
        return of_error(error)

    async def http(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)  # registered for it only
        return problem(error.status_code, "Request refused", str(error.detail), headers=error.headers)

    async def shape(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)  # registered for it only
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return problem(400, Invalid.title, f"{where}: {first['msg']}", where=where)

    app.add_exception_handler(StopsignError, ours)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, shape)
