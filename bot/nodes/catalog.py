"""The drivers that there are, by what they declare."""

import importlib
import pkgutil
from collections.abc import Mapping
from types import ModuleType
from typing import get_args, get_type_hints

from bot import nodes
from bot.errors import Misconfigured
from bot.nodes.way import near
from bot.ports import Traits

TIERS = get_args(get_type_hints(Traits)["tier"])


def driver(name: str) -> ModuleType | None:
    """Return the module of a driver, or None when there is none of that name.

    Raises Misconfigured, naming the file, when it is there and cannot be used.
    """
    if not name.isidentifier():
        return None
    where = f"bot/nodes/{name}.py"
    try:
        module = importlib.import_module(f"{nodes.__name__}.{name}")
    except ModuleNotFoundError as error:
        if error.name == f"{nodes.__name__}.{name}":
            return None
        raise Misconfigured([f"{where}: needs {error.name}, which is not installed"]) from error
    except Exception as error:  # whatever a file raises that somebody has just written
        raise Misconfigured([f"{where}: cannot be imported ({type(error).__name__}: {error})"]) from error
    if not hasattr(module, "connect"):
        return None
    if not isinstance(getattr(module, "TRAITS", None), Traits):
        raise Misconfigured(
            [f"{where}: exports connect, and no TRAITS: docs/adding-a-driver.md says what stands there"]
        )
    if module.TRAITS.tier not in TIERS:
        raise Misconfigured([f"{where}: its tier is {module.TRAITS.tier!r}: it may be {' or '.join(TIERS)}"])
    return module


def drivers() -> Mapping[str, Traits]:
    """Return what each driver of this package declares, by name; a broken one is left out, see `broken`."""
    return {name: module.TRAITS for name in _names() if (module := _whole(name)) is not None}


def broken() -> tuple[str, ...]:
    """Return what is wrong with the drivers that cannot be used, a sentence for each, naming its file."""
    found: list[str] = []
    for name in _names():
        try:
            driver(name)
        except Misconfigured as error:
            found += error.problems
    return tuple(found)


def no_driver(name: str) -> str:
    """Return the sentence about a name in the inventory that is no driver's."""
    return f"there is no driver {name!r}{near(name, drivers())}; docs/drivers.md lists what there is"


def _names() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(nodes.__path__))


def _whole(name: str) -> ModuleType | None:
    try:
        return driver(name)
    except Misconfigured:
        return None
