"""`/api/<method>`: token, faults, rate limit, scope, method, log; in that order."""

import asyncio
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bot.practice.workspace import scopes
from bot.practice.workspace.arguments import read_arguments, text
from bot.practice.workspace.failures import Dropped, Fault
from bot.practice.workspace.installation import APP_SCOPES
from bot.practice.workspace.methods import APP_LEVEL, METHODS
from bot.practice.workspace.office import Office
from bot.practice.workspace.refusals import Json, Refusal

_OPEN = ("api.test",)


async def call(office: Office, request: Request) -> Response:
    """Answer one Web API call; raises Dropped when the answer has to get lost."""
    method = request.path_params["method"]
    fault = office.faults.call(method)
    if fault.latency_ms:
        await asyncio.sleep(fault.latency_ms / 1000)
    args: Json = {}
    headers: dict[str, str] = {}
    try:
        args = await read_arguments(request)
        granted = _authorised(office, request, method, args)
        headers = {"x-oauth-scopes": ",".join(sorted(granted)), "x-accepted-oauth-scopes": scopes.accepted(method)}
        refused = _refused_by(fault) or _rate_limited(office, method, args)
        if refused is not None:
            _log(office, method, args, refused, dropped=False)
            return refused
        result = {"ok": True, **_method(office, method, args)}
    except Refusal as refusal:
        result = refusal.body()
    answer = JSONResponse(result, headers=headers)
    _log(office, method, args, answer, dropped=fault.drop_after_processing, result=result)
    if fault.drop_after_processing:
        raise Dropped
    return answer


def _authorised(office: Office, request: Request, method: str, args: Json) -> frozenset[str]:
    """Return the scopes of the token that came with the call; raises Refusal."""
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    token = bearer.strip() if scheme.lower() == "bearer" else ""
    posted = str(args.pop("token", None) or "")
    token = token or ("" if method in APP_LEVEL else posted)
    if method in _OPEN:
        return office.installation.scopes
    if not token:
        raise Refusal("not_authed")
    if token not in (office.bot_token, office.app_token):
        raise Refusal("invalid_auth")
    if (token == office.app_token) != (method in APP_LEVEL):
        raise Refusal("not_allowed_token_type")
    return APP_SCOPES if token == office.app_token else office.installation.scopes


def _method(office: Office, method: str, args: Json) -> Mapping[str, object]:
    found = METHODS.get(method)
    if found is None:
        raise Refusal("unknown_method", extra={"req_method": method})
    if method not in APP_LEVEL:
        scopes.check(office, method, args)
    return found(office, args)


def _refused_by(fault: Fault) -> Response | None:
    if fault.ratelimit:
        return _too_many(fault.ratelimit)
    return Response("Internal Server Error", status_code=500) if fault.http_500 else None


def _rate_limited(office: Office, method: str, args: Json) -> Response | None:
    wait = office.rates.wait_for(method, text(args, "channel"))
    return _too_many(wait) if wait else None


def _too_many(seconds: int) -> Response:
    body = {"ok": False, "error": "ratelimited"}
    return JSONResponse(body, status_code=429, headers={"retry-after": str(seconds)})


def _log(
    office: Office, method: str, args: Json, answer: Response, *, dropped: bool, result: Json | None = None
) -> None:
    row: Json = {
        "method": method,
        "args": args,
        "at": office.world.clock(),
        "status": answer.status_code,
        "result": result,
        "retry_after": answer.headers.get("retry-after"),
        "dropped": dropped,
    }
    office.calls.append(row)
