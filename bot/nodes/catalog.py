"""The drivers that there are, by what they declare."""

import importlib
import pkgutil
from collections.abc import Mapping
from types import ModuleType

from bot import nodes
from bot.ports import Traits


def driver(name: str) -> ModuleType | None:
    """Return the module of a driver, or None when there is none of that name."""
    if not name.isidentifier():
        return None
    try:
        module = importlib.import_module(f"{nodes.__name__}.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"{nodes.__name__}.{name}":
            raise  # the driver is there, and something that it needs is not
        return None
    return module if hasattr(module, "connect") else None


def drivers() -> Mapping[str, Traits]:
    """Return what each driver of this package declares, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(nodes.__path__))
    found = {name: driver(name) for name in names}
    return {name: module.TRAITS for name, module in found.items() if module is not None}
