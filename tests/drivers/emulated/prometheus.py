"""An imitation of Prometheus' query_range, for what the real one does not do at will: sizes, warnings, nonsense."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from tests.drivers.emulated.serving import serving

EMPTY = b'{"status":"success","data":{"resultType":"matrix","result":[]}}'
ONE = (
    b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up","instance":"n-1:9000"},'
    b'"values":[[1790000000,"1"],[1790000005,"1"]]}]}}'
)


@asynccontextmanager
async def answering(
    body: bytes | Callable[[web.Request], AsyncIterator[bytes]],
) -> AsyncIterator[tuple[str, list[str]]]:
    """Answer every range request with `body`; yields the URL and the queries that came."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.query["query"])
        if isinstance(body, bytes):
            return web.Response(body=body, content_type="application/json")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        async for chunk in body(request):
            await response.write(chunk)
        return response

    app = web.Application()
    app.router.add_get("/api/v1/query_range", answer)
    async with serving(app) as url:
        yield url, asked
