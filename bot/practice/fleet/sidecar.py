"""The sidecar API of a practice node, as docs/node-api.yaml writes it."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from bot.practice.fleet.metrics import exposition
from bot.practice.fleet.node import Conflict, PracticeNode
from bot.practice.fleet.record import Decision, Message, line, stamp, window
from bot.practice.fleet.signer import GENESIS, Held, Obedience
from bot.practice.fleet.spec import Api
from bot.practice.fleet.wall import problem

V1 = "/stopsign/v1"


def _distinct(keys: list[str]) -> list[str]:
    if len(set(keys)) != len(keys):
        raise ValueError("a key is named twice")
    return keys


Key = Annotated[str, StringConstraints(pattern=r"^0x[0-9a-f]{2,}$")]
Keys = Annotated[list[Key], Field(min_length=1, max_length=10_000), AfterValidator(_distinct)]
RequestKey = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Number = Annotated[str, StringConstraints(pattern=r"^[0-9]+$")]


class _Body(BaseModel):
    model_config = ConfigDict(strict=True)


class SetSigning(_Body):
    """Body of PUT signing."""

    state: Literal["signing", "frozen"]
    keys: Keys
    incident: Annotated[str, StringConstraints(min_length=1)]
    request: RequestKey


class SetRouting(_Body):
    """Body of PUT routing."""

    state: Literal["serving", "isolated"]
    incident: Annotated[str, StringConstraints(min_length=1)]
    request: RequestKey


class Rollback(_Body):
    """Body of POST release/rollback."""

    to_build_hash: str
    from_build_hash: str | None = None
    request: RequestKey


class SignedBlock(_Body):
    """One block of an interchange document."""

    slot: Number


class SignedAttestation(_Body):
    """One attestation of an interchange document."""

    target_epoch: Number


class Protected(_Body):
    """One key of an interchange document."""

    pubkey: Key
    signed_blocks: list[SignedBlock]
    signed_attestations: list[SignedAttestation]

    @property
    def slot(self) -> int:
        """Return the highest slot or epoch named, or -1."""
        blocks = [int(block.slot) for block in self.signed_blocks]
        return max(blocks + [int(attestation.target_epoch) for attestation in self.signed_attestations], default=-1)


class Metadata(_Body):
    """Head of an interchange document."""

    interchange_format_version: Literal["5"]
    genesis_validators_root: str


class Interchange(_Body):
    """EIP-3076, as far as it is read here."""

    metadata: Metadata
    data: list[Protected]


def routes(node: PracticeNode) -> list[Route]:
    """Return the routes of the sidecar API; `signing` only where the sidecar is the way to freeze."""
    sidecar = Sidecar(node)
    signing = [
        Route(f"{V1}/signing", sidecar.signing, methods=["GET"]),
        Route(f"{V1}/signing", sidecar.set_signing, methods=["PUT"]),
    ]
    return (signing if node.spec.api is Api.SIDECAR else []) + [
        Route(f"{V1}/node", sidecar.node, methods=["GET"]),
        Route(f"{V1}/routing", sidecar.routing, methods=["GET"]),
        Route(f"{V1}/routing", sidecar.set_routing, methods=["PUT"]),
        Route(f"{V1}/release", sidecar.release, methods=["GET"]),
        Route(f"{V1}/release/rollback", sidecar.rollback, methods=["POST"]),
        Route(f"{V1}/logs/rotate", sidecar.rotate, methods=["POST"]),
        Route(f"{V1}/messages", sidecar.messages, methods=["GET"]),
        Route(f"{V1}/audit", sidecar.audit, methods=["GET"]),
        Route(f"{V1}/peers", sidecar.peers, methods=["GET"]),
        Route(f"{V1}/slashing-protection", sidecar.protection, methods=["GET"]),
        Route(f"{V1}/slashing-protection", sidecar.import_protection, methods=["PUT"]),
        Route("/metrics", sidecar.metrics, methods=["GET"]),
    ]


class Sidecar:
    """The handlers, bound to one node."""

    def __init__(self, node: PracticeNode) -> None:
        self._node = node

    async def node(self, request: Request) -> Response:
        """Say which node this is."""
        node = self._node
        return JSONResponse(
            {
                "node": node.spec.name,
                "started_at": stamp(node.started_at),
                "client": {"name": node.spec.client, "version": node.current.version},
                "build_hash": node.current.build_hash,
                "config_checksum": node.current.config_checksum,
                "avs": node.spec.avs,
                "keys": [
                    key
                    for key, held in node.signer.held.items()
                    if not (held.stopped and node.spec.api is Api.KEYMANAGER)
                ],
                **self._head(),
            }
        )

    async def signing(self, request: Request) -> Response:
        """Read every key's state."""
        return JSONResponse({**self._head(), "keys": [self._key(held) for held in self._node.signer.held.values()]})

    async def set_signing(self, request: Request) -> Response:
        """Freeze or unfreeze the named keys."""
        try:
            asked = SetSigning.model_validate_json(await request.body())
        except ValidationError as error:
            return refused(error)
        before = {key: held.stopped for key, held in self._node.signer.held.items()}
        known = [key for key in asked.keys if key in before]
        failed: set[str] = set()
        if asked.state == "frozen":
            ways = self._node.stop(known, incident=asked.incident)
            failed = {key for key, way in zip(known, ways, strict=True) if way is Obedience.FAILS}
            promised = {key for key, way in zip(known, ways, strict=True) if way is Obedience.PROMISES}
        else:
            self._node.thaw(known, request=asked.request)
            promised = set()
        results = [self._result(key, before, failed, promised) for key in asked.keys]
        return JSONResponse({**self._head(), "results": results})

    async def routing(self, request: Request) -> Response:
        """Read the routing state."""
        node = self._node
        state = "isolated" if node.isolated else "serving"
        return JSONResponse(
            {**self._head(), "state": state, "since": stamp(node.routed_since), "incident": node.routing_incident}
        )

    async def set_routing(self, request: Request) -> Response:
        """Isolate the node or return it to service."""
        try:
            asked = SetRouting.model_validate_json(await request.body())
        except ValidationError as error:
            return refused(error)
        self._node.route(isolated=asked.state == "isolated", incident=asked.incident)
        return await self.routing(request)

    async def release(self, request: Request) -> Response:
        """Read the releases."""
        return JSONResponse(self._node.releases())

    async def rollback(self, request: Request) -> Response:
        """Return to the previous release."""
        try:
            asked = Rollback.model_validate_json(await request.body())
        except ValidationError as error:
            return refused(error)
        try:
            answer, repeated = self._node.roll_back(
                asked.to_build_hash, believed=asked.from_build_hash, request=asked.request
            )
        except Conflict as conflict:
            return problem(409, "Not the release you believe", str(conflict), current=self._node.current.build_hash)
        return JSONResponse(answer, headers={"Idempotent-Replayed": "true"} if repeated else None)

    async def rotate(self, request: Request) -> Response:
        """Close the current log file."""
        return JSONResponse({**self._head(), "files": self._node.record.rotate()})

    async def messages(self, request: Request) -> Response:
        """Stream signed messages."""
        return self._stream(request, "messages")

    async def audit(self, request: Request) -> Response:
        """Stream the signer's decisions."""
        return self._stream(request, "decisions")

    async def peers(self, request: Request) -> Response:
        """List the peers; an isolated node has none."""
        peers = [] if self._node.isolated else list(self._node.peers())
        return JSONResponse({"now": stamp(self._node.now()), "peers": peers})

    async def protection(self, request: Request) -> Response:
        """Export slashing protection."""
        return JSONResponse(self._node.signer.interchange(list(self._node.signer.held)))

    async def import_protection(self, request: Request) -> Response:
        """Import slashing protection."""
        try:
            document = Interchange.model_validate_json(await request.body())
        except ValidationError as error:
            return refused(error)
        if document.metadata.genesis_validators_root != GENESIS:
            return problem(409, "Another chain", f"this node is on {GENESIS}")
        results = [
            {"key": one.pubkey, "result": self._node.signer.protect(one.pubkey, one.slot)} for one in document.data
        ]
        return JSONResponse({"results": results})

    async def metrics(self, request: Request) -> Response:
        """Write Prometheus text."""
        return Response(exposition([self._node]), media_type="text/plain; version=0.0.4; charset=utf-8")

    def _head(self) -> Mapping[str, str]:
        return {"instance_id": self._node.instance_id, "now": stamp(self._node.now())}

    def _key(self, held: Held) -> Mapping[str, object]:
        signer = self._node.signer
        return {
            "key": held.key,
            "state": "frozen" if held.stopped else "signing",
            "counter": held.counter,
            "last_signed_at": stamp(held.last_signed_at) if held.last_signed_at else None,
            "next_duty_at": stamp(signer.next_duty(self._node.now())),
            "duty_period_seconds": signer.period,
            "incident": held.incident,
        }

    def _result(
        self, key: str, before: Mapping[str, bool], failed: set[str], promised: set[str]
    ) -> Mapping[str, object]:
        held = self._node.signer.held.get(key)
        if held is None or key not in before:
            return {"key": key, "result": "not_found", "state": None}
        if key in failed:
            return {"key": key, "result": "error", "state": "signing", "detail": "the signer did not take the request"}
        if key in promised:
            return {"key": key, "result": "changed", "state": "frozen"}
        state = "frozen" if held.stopped else "signing"
        return {"key": key, "result": "unchanged" if before[key] == held.stopped else "changed", "state": state}

    def _stream(self, request: Request, which: Literal["messages", "decisions"]) -> Response:
        try:
            since, until = _time(request, "since"), _time(request, "until") or self._node.now()
        except ValidationError as error:
            return refused(error)
        record = self._node.record
        entries: Iterator[Message | Decision] = (
            window(record.messages, since, until) if which == "messages" else window(record.decisions, since, until)
        )
        return StreamingResponse((line(entry) for entry in entries), media_type="application/x-ndjson")


def refused(error: ValidationError) -> JSONResponse:
    """Return a 400 that names the first member that is wrong."""
    first = error.errors()[0]
    return problem(400, "Malformed request", first["msg"], field=".".join(str(part) for part in first["loc"]))


def _time(request: Request, name: str) -> datetime | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    at: datetime = TypeAdapter(datetime).validate_python(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)
