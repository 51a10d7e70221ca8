"""Give the drivers for a node's capabilities, as the inventory names them."""

import os
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType, TracebackType
from typing import Protocol

from bot.domain.inventory import Capability, Endpoint, Node
from bot.errors import Misconfigured
from bot.nodes.way import Way
from bot.nodes.wire import NodeClient, node_client
from bot.ports import Clock, Traits

LOOPBACK = ("127.0.0.0/8", "::1/128")


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
            known = ", ".join(sorted(self._drivers))
            raise Misconfigured([f"node {node.name}: there is no driver {endpoint.driver!r}; known are {known}"])
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


def _socket(endpoint: Endpoint) -> str | None:
    """Return the path of the Unix socket that an endpoint is, or None."""
    return endpoint.url.removeprefix("unix:") if endpoint.url.startswith("unix:") else None


def _changed(path: str | None) -> str | None:
    """Return when a file was written last, so that a rotated certificate is used at once; None: it cannot be read."""
    try:
        return str(os.stat(path).st_mtime_ns) if path else None
    except OSError:
        return None
