"""The baseline of the ingest figure: bare Starlette and one SQLite commit (synchronous=FULL) of the same body."""

import sqlite3
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


def build(path: str) -> Starlette:
    """Return an app that stores each body in one commit and answers."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("CREATE TABLE IF NOT EXISTS body (id INTEGER PRIMARY KEY, body BLOB NOT NULL)")

    async def receive(request: Request) -> JSONResponse:
        connection.execute("INSERT INTO body (body) VALUES (?)", (await request.body(),))
        return JSONResponse({"incidents": ["inc-1"]})

    return Starlette(routes=[Route("/v1/alertmanager", receive, methods=["POST"])])


if __name__ == "__main__":
    uvicorn.run(build(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]), log_level="error", access_log=False)
