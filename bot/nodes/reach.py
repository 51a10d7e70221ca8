"""Give the drivers for a node's capabilities, as the inventory names them."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import ModuleType, TracebackType
from typing import Protocol

from bot.domain.inventory import Capability, Endpoint, Node
from bot.errors import Misconfigured
from bot.nodes.catalog import no_driver
from bot.nodes.way import Way
from bot.nodes.wire import NodeClient, node_client
from bot.ports import Clock, Deployer, Recorder, Router, Signer, Throttle, Traits

LOOPBACK = ("127.0.0.0/8", "::1/128")


OFFERS: Mapping[Capability, type] = {
    Capability.SIGNER: Signer,
    Capability.ROUTER: Router,
    Capability.DEPLOYER: Deployer,
    Capability.RECORDER: Recorder,
    Capability.THROTTLE: Throttle,
}
"""What a driver must be to be asked for a capability."""


class Connect(Protocol):
    """What a module of this room exports as `connect`."""

    def __call__(self, way: Way) -> object:
        """Return a driver; opens no connection yet. Raises Misconfigured."""
        ...


def traits_of(module: ModuleType | None, endpoint: Endpoint) -> Traits | None:
    """Return what a driver promises at an endpoint: its `traits(endpoint)` where options matter, else its TRAITS."""
    if module is None:
        return None
    by_options: Callable[[Endpoint], Traits] | None = getattr(module, "traits", None)
    found: Traits = by_options(endpoint) if by_options else module.TRAITS
    return found


class Reach:
    """The `Fleet` of `bot/ports.py`: a client for each set of certificates, a driver made anew for each use."""

    def __init__(
        self,
        *,
        drivers: Mapping[str, Connect],
        secret: Callable[[str], str],
        clock: Clock,
        networks: Sequence[str] = LOOPBACK,
    ) -> None:
        """Take the drivers by name, and `secret`, which returns what a token reference stands for."""
        self._drivers = drivers
        self._secret = secret
        self._clock = clock
        self._networks = tuple(networks)
        self._clients: dict[tuple[str | None, ...], NodeClient] = {}

    def reach(self, node: Node, capability: Capability) -> object | None:
        """Return the driver, or None when the inventory names no endpoint; raises Misconfigured for an unknown driver.

        The token is read each time, so that a rotated one is used at once.
        """
        endpoint = node.reach.get(capability)
        return self.drive(node, endpoint) if endpoint is not None else None

    def recorders(self, node: Node) -> Sequence[tuple[Endpoint, object]]:
        """Return the drivers that are asked for evidence, each with its endpoint; raises as `reach` does."""
        return [(endpoint, self.drive(node, endpoint)) for endpoint in node.recorders]

    def drive(self, node: Node, endpoint: Endpoint) -> object:
        """Return the driver of one endpoint; raises Misconfigured."""
        connect = self._drivers.get(endpoint.driver)
        if connect is None:
            raise Misconfigured([f"node {node.name}: {no_driver(endpoint.driver)}"])
        way = Way(
            node=node,
            endpoint=endpoint,
            client=self._client(endpoint, unix=_socket(endpoint)),
            plain=self._client(endpoint, unix=None) if _socket(endpoint) else None,
            clock=self._clock,
            networks=self._networks,
            token=self._secret(endpoint.token) if endpoint.token else None,
            secret=self._secret,
        )
        return connect(way)

    async def problems(self, nodes: Iterable[Node]) -> list[str]:
        """Connect every endpoint of `nodes` once, which sends nothing; return all that is wrong, a line for each.

        A line names the place in inventory.yaml, the nodes and what they should have been asked by. Needs a running
        loop, and leaves nothing behind in it.
        """
        found: dict[tuple[int | None, str], list[str]] = {}
        trial = Reach(drivers=self._drivers, secret=self._secret, clock=self._clock, networks=self._networks)
        async with trial:
            for node in nodes:
                for capability, endpoint in node.endpoints:
                    for problem in trial._wrong(node, capability, endpoint):
                        said = problem.removeprefix(f"node {node.name}: ").removeprefix(f"{endpoint.driver} ")
                        what = f"({endpoint.driver}): {said}"
                        found.setdefault((endpoint.line, what), []).append(f"{node.name} {capability}")
        return [
            f"inventory.yaml{f':{line}' if line else ''}: {_few(who)} {what}"
            for (line, what), who in sorted(found.items(), key=lambda one: one[0][0] or 0)
        ]

    def _wrong(self, node: Node, capability: Capability, endpoint: Endpoint) -> Sequence[str]:
        try:
            driver = self.drive(node, endpoint)
        except Misconfigured as error:
            return error.problems
        if isinstance(driver, OFFERS[capability]) or offers_another(driver, node, endpoint):
            return ()
        return [f"does not offer {capability}; docs/drivers.md says what each driver does"]

    def _client(self, endpoint: Endpoint, *, unix: str | None) -> NodeClient:
        files = endpoint.ca, endpoint.client_cert, endpoint.client_key
        key = (*files, unix, *map(_changed, files))
        if key not in self._clients:
            ca, certificate, private = files
            self._clients[key] = node_client(
                networks=self._networks,
                ca=ca,
                certificate=(certificate, private) if certificate and private else None,
                unix=unix,
            )
        return self._clients[key]

    async def aclose(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            await client.close()

    async def __aenter__(self) -> "Reach":
        """Return itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Close all connections."""
        await self.aclose()


def offers_another(driver: object, node: Node, endpoint: Endpoint) -> bool:
    """Tell whether an endpoint serves another capability of the node: `api:` names one for all that it can do."""
    return any(isinstance(driver, OFFERS[can]) for can, other in node.endpoints if other == endpoint)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")


def _socket(endpoint: Endpoint) -> str | None:
    """Return the path of the Unix socket that an endpoint is, or None."""
    return endpoint.url.removeprefix("unix:") if endpoint.url.startswith("unix:") else None


def _changed(path: str | None) -> str | None:
    """Return when a file was written last, so that a rotated certificate is used at once; None: it cannot be read."""
    try:
        return str(os.stat(path).st_mtime_ns) if path else None
    except OSError:
        return None
