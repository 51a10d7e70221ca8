"""The commented files with which an operator begins (`stopsign init`)."""

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from bot.errors import Misconfigured

FILES = ("inventory.yaml", "team.yaml", "policy.yaml")
FOLDERS = ("runbooks", "playbooks", "evidence")


def write(directory: Path, *, make_key: Callable[[Path], object] | None = None) -> tuple[Path, ...]:
    """Write the starter files and empty folders into `directory` and return all that was made.

    `make_key` is called with the directory at the end, to make the key that signs checkpoints there. Raises
    Misconfigured when a file is there already, before anything is written, or when the folder cannot be written.
    """
    present = [name for name in FILES if (directory / name).exists()]
    if present:
        raise Misconfigured(
            [f"{directory / name}: is there already: move it away, or choose a new folder" for name in present]
        )
    made = []
    try:
        for folder in (directory, *(directory / name for name in FOLDERS)):
            if not folder.is_dir():
                folder.mkdir(parents=True, mode=0o700)
                made.append(folder)
        for name in FILES:
            with (directory / name).open("x", encoding="utf-8") as file:
                file.write(template(name))
            made.append(directory / name)
    except OSError as error:
        reason = error.strerror or str(error)
        raise Misconfigured([f"{directory}: cannot be written ({reason}): choose a folder of your own"]) from None
    if make_key is not None:
        make_key(directory)
    return tuple(made)


def template(name: str) -> str:
    """Return the text of one starter file."""
    return (files("bot.config") / "starter_files" / name).read_text(encoding="utf-8")
