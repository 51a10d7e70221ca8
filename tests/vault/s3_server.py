"""moto's S3 as a process of its own on 127.0.0.1, made as strict as AWS where moto is not, and faulty when told to be.

Stricter: a body whose SHA-256 is not the `x-amz-checksum-sha256` that came with it is refused with BadDigest; and a
write with `If-None-Match` is one step, not a look and then a write.
Faulty: `Server.spoil()` flips a bit of the next such body on its way in, `Server.cut()` breaks off in the middle of the
next large object that is fetched, `Server.stall()` never answers the next third part of an upload, `Server.lose()` does
what the next conditional write asks but answers 500, `Server.clash()` answers it with AWS's 409.
"""

import base64
import hashlib
import io
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from threading import Lock
from typing import Any

READY_SECONDS = 60.0
TEXT = {"Content-Type": "text/plain"}
BAD_DIGEST = ("400 Bad Request", "BadDigest", "The SHA256 you specified did not match.")
CLASH = ("409 Conflict", "ConditionalRequestConflict", "A conflicting conditional operation is under way.")
LOST = ("500 Internal Server Error", "InternalError", "We encountered an internal error. Please try again.")


@dataclass(frozen=True, kw_only=True)
class Server:
    """Where it listens."""

    url: str
    process: subprocess.Popen[str]

    def spoil(self) -> None:
        """Spoil the next body that comes with a checksum."""
        self._tell("spoil")

    def cut(self) -> None:
        """Break off in the middle of the next object that is fetched."""
        self._tell("cut")

    def stall(self) -> None:
        """Never answer the next third part of a multipart upload."""
        self._tell("stall")

    def lose(self) -> None:
        """Do the next conditional write, and lose the answer."""
        self._tell("lose")

    def clash(self) -> None:
        """Refuse the next conditional write because another one is under way."""
        self._tell("clash")

    def begun(self) -> list[dict[str, str]]:
        """Return the lock headers of every multipart upload that was begun, and its key."""
        with urllib.request.urlopen(f"{self.url}/-/begun") as answer:
            found: list[dict[str, str]] = json.load(answer)
            return found

    def check_access(self, after: float) -> None:
        """Check credentials and policies from now on, but for the first `after` calls."""
        self._post("/moto-api/reset-auth", str(after).encode())

    def _tell(self, what: str) -> None:
        self._post(f"/-/{what}", b"")

    def _post(self, path: str, body: bytes) -> None:
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data=body, headers=TEXT)) as answer:
            answer.read()


@contextmanager
def s3_server() -> Iterator[Server]:
    """Run the server; on leaving it is gone."""
    process = subprocess.Popen(
        [sys.executable, __file__], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=_environment()
    )
    try:
        assert process.stdout is not None
        port = process.stdout.readline().strip()  # empty when it died
        assert port.isdigit(), "moto's server did not start"
        yield Server(url=f"http://127.0.0.1:{port}", process=process)
    finally:
        process.kill()
        process.communicate(timeout=READY_SECONDS)


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.upper().endswith("_PROXY")}


class Strict:
    """The WSGI application in front of moto's."""

    def __init__(self, moto: Callable[..., Iterable[bytes]]) -> None:
        self._moto = moto
        self._turn = Lock()
        self._next: set[str] = set()
        self._begun: list[dict[str, str]] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        path, method, query = environ["PATH_INFO"], environ["REQUEST_METHOD"], environ["QUERY_STRING"]
        if path.startswith("/-/"):
            self._next |= {path.removeprefix("/-/")} - {"begun"}
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(self._begun).encode()]
        if method == "POST" and query.startswith("uploads"):
            lock = {name: environ.get(f"HTTP_X_AMZ_OBJECT_LOCK_{name}", "") for name in ("MODE", "RETAIN_UNTIL_DATE")}
            self._begun.append({"key": path, **lock})
        if "stall" in self._next and "partNumber=3" in query:
            self._next.discard("stall")
            time.sleep(READY_SECONDS)
        if method == "PUT" and "HTTP_X_AMZ_CHECKSUM_SHA256" in environ and not self._taken(environ):
            return _error(start_response, BAD_DIGEST)
        for name, answer in (("clash", CLASH), ("lose", LOST)):
            if name in self._next and "HTTP_IF_NONE_MATCH" in environ:
                self._next.discard(name)
                if name == "lose":
                    b"".join(self._moto(environ, lambda *_: None))
                return _error(start_response, answer)
        with self._turn if "HTTP_IF_NONE_MATCH" in environ else nullcontext():
            given = self._moto(environ, start_response)
        whole = b"".join(given) if method == "GET" and "cut" in self._next and "blobs/" in path else b""
        if len(whole) > 1 << 20:
            self._next.discard("cut")
            return [whole[: len(whole) // 2]]
        return [whole] if whole else given

    def _taken(self, environ: dict[str, Any]) -> bool:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if "spoil" in self._next:
            self._next.discard("spoil")
            body = bytes([body[0] ^ 1]) + body[1:]
        environ["wsgi.input"] = io.BytesIO(body)
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        return digest == str(environ["HTTP_X_AMZ_CHECKSUM_SHA256"])


def _error(start_response: Callable[..., Any], told: tuple[str, str, str]) -> list[bytes]:
    status, code, message = told
    start_response(status, [("Content-Type", "application/xml")])
    return [f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()]


def main() -> None:
    """Serve until killed; the port goes to standard output."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    application = Strict(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=MotoRequestHandler)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
