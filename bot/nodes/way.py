"""What a driver is given to reach its node: where, as whom, over which connections, by which clock."""

import asyncio
import difflib
import errno
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from bot.domain.addresses import url_problem
from bot.domain.inventory import Endpoint, Node
from bot.errors import Misconfigured, NotReached
from bot.nodes.lookup import allowed
from bot.nodes.wire import NodeClient, Wire, noted
from bot.ports import Clock

_SAME = "the endpoint's own"
_HINTS = {
    errno.ENOENT: ": correct url in inventory.yaml, or start what makes that socket",
    errno.EACCES: ": let this user's group open it",
    errno.ECONNREFUSED: ": nobody listens there any more",
}
"""What to do about a Unix socket that cannot be opened."""


def near(word: str, known: Iterable[str]) -> str:
    """Return ` (did you mean x?)` when one of `known` is spelled much like `word`, else nothing."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {found[0]}?)" if found else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """The way to one endpoint of one node.

    `client` carries the endpoint's certificates and Unix socket, and refuses addresses outside `networks`. `token` is
    the endpoint's secret; `secret` resolves further references (`env:NAME`, `file:/path`) among the options.
    """

    node: Node
    endpoint: Endpoint
    client: NodeClient = field(repr=False)
    clock: Clock = field(repr=False)
    networks: tuple[str, ...] = ("127.0.0.0/8",)
    plain: NodeClient | None = field(default=None, repr=False)
    """What asks other URLs than the endpoint's, where `client` is bound to a Unix socket."""
    token: str | None = field(default=None, repr=False)
    secret: Callable[[str], str] = field(default=lambda reference: reference, repr=False)

    def wire(self, base: str | None = None, *, token: str | None = _SAME) -> Wire:
        """Return a wire to the endpoint's URL, or to `base`; it carries the endpoint's token unless told another.

        Raises Misconfigured where the URL is none that a node may have.
        """
        url = base or self.endpoint.url
        own = url == self.endpoint.url
        if base is not None and (problem := url_problem(base, self.networks)):
            raise Misconfigured([f"node {self.node.name}: {base} {problem}"])
        if url.startswith("unix:") and not own:
            raise Misconfigured([f"node {self.node.name}: {base} is another socket than the endpoint's url: name http"])
        return Wire(
            client=self.client if own or self.plain is None else self.plain,
            node=self.node.name,
            base="http://localhost" if url.startswith("unix:") else url,
            timeout=self.endpoint.timeout,
            token=self.token if token is _SAME else token,
        )

    def options(self, *known: str, besides: Collection[str] = ()) -> Mapping[str, str]:
        """Return the endpoint's options; raises Misconfigured when there are others than `known`.

        `besides` are those that the driver knows too, but not together with what else is given.
        """
        given = self.endpoint.options
        every = tuple(dict.fromkeys((*known, *besides)))
        there = f"; it knows {', '.join(every)}" if every else ""
        where = f"node {self.node.name}: {self.endpoint.driver}"
        wrong = []
        for name in sorted(set(given) - set(known)):
            if name in every:
                wrong.append(f"{where} takes no option {name} beside {', '.join(n for n in given if n in known)}")
            else:
                wrong.append(f"{where} has no option {name}{near(name, every)}{there}")
        if wrong:
            raise Misconfigured(wrong)
        return given

    async def dial(self, url: str | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a bare connection to a tcp://host:port or unix:/path URL, the endpoint's own unless named.

        The address that a name stands for must lie in the networks of the inventory. The caller sets the time limit.
        Raises NotReached.
        """
        target = url or self.endpoint.url
        with noted(f"connect {target}") as came:
            reader, writer = await self._dialled(target)
            came.append("connected")
            return reader, writer

    async def _dialled(self, target: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            if target.startswith("unix:"):
                return await asyncio.open_unix_connection(target.removeprefix("unix:"))
            parts = urlsplit(target)
            host, port = str(parts.hostname), parts.port or 0
            return await asyncio.open_connection((await allowed(host, self.networks))[0], port)
        except OSError as error:
            why = error.strerror or type(error).__name__
            hint = _HINTS.get(error.errno or 0, "") if target.startswith("unix:") else ""
            raise NotReached(f"{self.node.name} could not be reached at {target}: {why}{hint}") from error
