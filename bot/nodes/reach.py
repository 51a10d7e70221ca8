"""Give the driver for a node's capability, as the inventory names it."""

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Protocol

import httpx

from bot.domain.inventory import Capability, Endpoint, Node
from bot.errors import Misconfigured
from bot.nodes.wire import node_client
from bot.ports import Clock


class Connect(Protocol):
    """What a module of this room exports as `connect`: a DriverFactory that is also told its client and its clock."""

    def __call__(
        self, node: Node, endpoint: Endpoint, *, token: str | None, client: httpx.AsyncClient, clock: Clock
    ) -> object:
        """Return a driver for `endpoint`; opens no connection yet. Raises Misconfigured."""
        ...


class Reach:
    """The `Fleet` of `bot/ports.py`: one client for all nodes, a driver made anew for each use."""

    def __init__(self, *, drivers: Mapping[str, Connect], secret: Callable[[str], str], clock: Clock) -> None:
        """Take the drivers by name, and `secret`, which returns what a token reference stands for."""
        self._drivers = drivers
        self._secret = secret
        self._clock = clock
        self._client = node_client()

    def reach(self, node: Node, capability: Capability) -> object | None:
        """Return the driver, or None when the inventory names no endpoint; raises Misconfigured for an unknown driver.

        The token is read each time, so that a rotated one is used at once.
        """
        endpoint = node.reach.get(capability)
        if endpoint is None:
            return None
        connect = self._drivers.get(endpoint.driver)
        if connect is None:
            known = ", ".join(sorted(self._drivers))
            raise Misconfigured([f"node {node.name}: there is no driver {endpoint.driver!r}; known are {known}"])
        token = self._secret(endpoint.token) if endpoint.token else None
        return connect(node, endpoint, token=token, client=self._client, clock=self._clock)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def __aenter__(self) -> "Reach":
        """Return itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Close all connections."""
        await self.aclose()
