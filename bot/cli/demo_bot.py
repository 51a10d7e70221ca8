"""The demo's own bot process: `stopsign serve`, but with the console open to everybody on loopback.

Run as a module by `stopsign demo` only; it refuses any address but loopback.
"""

import asyncio
import logging
import sys
from pathlib import Path

import uvicorn

from bot import evidence
from bot.app import build, web
from bot.cli.shared import opened, settings
from bot.domain.authority import Actor
from bot.errors import Misconfigured
from bot.vault.report import Report
from bot.vault.verify import verify_folder
from bot.web.shape import number_of


def main(arguments: list[str]) -> int:
    """Serve, or `export INC DIR`, or `verify [DIR]`; return an exit code."""
    match arguments:
        case []:
            return _serve()
        case ["export", incident, folder]:
            return asyncio.run(_export(incident, Path(folder)))
        case ["verify", folder]:
            report = verify_folder(Path(folder))
        case ["verify"]:
            report = asyncio.run(_verify())
        case _:
            return 2
    sys.stdout.write("\n".join(report.lines()) + "\n")
    return 0 if report.ok else 1


def _serve() -> int:
    chosen = settings()
    if chosen.host != "127.0.0.1":
        raise Misconfigured(["STOPSIGN_HOST: the demo is for 127.0.0.1 only"])
    logging.basicConfig(level=chosen.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    stopsign = web(build(chosen), open_to_all=True)
    uvicorn.run(
        stopsign, host=chosen.host, port=chosen.port, log_level="warning", access_log=False, timeout_graceful_shutdown=2
    )
    return 0


async def _export(incident: str, folder: Path) -> int:
    async with opened() as stopsign:
        by = Actor(person="dan", via="demo")
        done = await evidence.export(stopsign, number_of(incident), folder, by=by, reason="the demo's evidence folder")
        sys.stdout.write(f"{done.records} records, {done.items} items\n")
    return 0


async def _verify() -> Report:
    async with opened() as stopsign:
        return await evidence.verify(stopsign)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
