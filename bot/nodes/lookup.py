"""Look names up without standing in each other's way: a name that nobody answers for holds up no other one.

The system's resolver blocks a thread, for half a minute when its servers are silent, and cannot be called off. The
event loop's own threads are few, and files are written in them. So each name gets a thread of its own.
"""

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import Future

from bot.domain.addresses import address_problem

SECONDS = 10.0
"""How long anybody waits for a name; who has less time says so himself."""
MOST = 512
"""Names that are looked up at once."""

_Asked = tuple[str, int]
_running: dict[_Asked, "Future[tuple[str, ...]]"] = {}
_lock = threading.Lock()


async def addresses(host: str, family: int = socket.AF_UNSPEC) -> tuple[str, ...]:
    """Return the addresses that `host` stands for, in the system's order, none twice; raises OSError.

    Who asks for a name that is being looked up gets that answer, so that a dead name holds one thread and no more.
    """
    try:
        return (str(ipaddress.ip_address(host)),)
    except ValueError:
        pass
    try:
        async with asyncio.timeout(SECONDS):
            return await asyncio.wrap_future(_asked((host, family)))
    except TimeoutError:
        raise OSError(None, f"{host} could not be looked up within {SECONDS:g} s") from None


async def allowed(host: str, networks: Sequence[str], family: int = socket.AF_UNSPEC) -> list[str]:
    """Return the addresses of `host` that lie in the inventory's `networks`; raises OSError when there is none."""
    found = [one for one in await addresses(host, family) if not address_problem(one, networks)]
    if not found:
        raise OSError(None, f"{host} stands for no address in the inventory's networks")
    return found


def _asked(asked: _Asked) -> "Future[tuple[str, ...]]":
    with _lock:
        if (future := _running.get(asked)) is not None:
            return future
        if len(_running) >= MOST:
            raise OSError(None, f"{MOST} other names are being looked up")
        future = Future()
        future.set_running_or_notify_cancel()  # who gives up waiting must not take the answer from the others
        thread = threading.Thread(target=_look, args=(asked, future), name=f"lookup {asked[0]}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise OSError(None, "there is no thread left to look names up") from error
        _running[asked] = future
        return future


def _look(asked: _Asked, future: "Future[tuple[str, ...]]") -> None:
    host, family = asked
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, family=family)
        result: tuple[str, ...] | OSError = tuple(dict.fromkeys(str(info[4][0]) for info in found))
    except OSError as error:
        result = error
    except UnicodeError:
        result = OSError(None, f"{host} is no name")
    with _lock:
        _running.pop(asked, None)
    if isinstance(result, OSError):
        future.set_exception(result)
    else:
        future.set_result(result)
