"""Look at this machine: settings, folder, database, port, secrets; then have the rest looked at."""

import asyncio
import os
import socket
import sqlite3
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from urllib.parse import quote

from sqlalchemy.exc import SQLAlchemyError

from bot.config import load
from bot.config.references import secret
from bot.config.review import Check, fail, ok, review, some, warn
from bot.doctor.evidence import anchors
from bot.doctor.outside import PATIENCE, at_once, looks
from bot.doctor.slack import slack
from bot.domain.config import Config
from bot.domain.inventory import Capability, Endpoint
from bot.errors import Misconfigured, StopsignError
from bot.nodes.catalog import driver, no_driver
from bot.nodes.escrow import Escrow
from bot.nodes.reach import traits_of
from bot.settings import SHORTEST_TOKEN, Settings
from bot.store import database as db


def checks(
    settings: Settings,
    home: Path | None,
    *,
    environ: Mapping[str, str] | None = None,
    today: date | None = None,
) -> Iterator[Check]:
    """Yield one line for each subject; needs no running event loop. `home` None looks at the shipped content only."""
    environ = os.environ if environ is None else environ
    yield from _settings(settings)
    config = None
    try:
        config = load(home)
    except Misconfigured as error:
        for problem in error.problems:
            yield fail("files", problem, "correct it and run stopsign doctor again")
    if home is not None:
        yield from _folder(home)
        yield _database(settings.model_copy(update={"home": home}))
    yield _port(settings)
    if config is None:
        yield from asyncio.run(at_once([slack(settings)]))
        return
    if home is not None:
        seen = list(_escrows(config))
        yield from review(config, today=today or datetime.now(UTC).date(), destructive=_destructive, escrows=seen)
        yield from _drivers(config)
        yield from _references(config, environ)
        yield from anchors(settings, config, environ)
    yield from asyncio.run(at_once(looks(settings, config, environ)))


def _settings(settings: Settings) -> Iterator[Check]:
    if not settings.webhook_guarded:
        yield fail(
            "webhook",
            "anybody could open incidents: no token is set, so `stopsign serve` will not start",
            "set STOPSIGN_WEBHOOK_TOKEN (openssl rand -hex 32), and the same in Alertmanager's credentials_file",
        )
    elif settings.webhook_password and len(settings.webhook_password.get_secret_value()) < SHORTEST_TOKEN:
        yield warn("webhook", "the password is short enough to be guessed", "make a longer one: openssl rand -hex 32")
    else:
        yield ok("webhook", "asks for a token or password")
    if not settings.loopback and not (settings.public_url or "").startswith("https://"):
        yield warn(
            "host",
            f"listens on {settings.host} without TLS: whoever can see the traffic reads tokens and evidence",
            "put a proxy with TLS in front, name it in STOPSIGN_PUBLIC_URL (https://…), or listen on 127.0.0.1",
        )
    if settings.time_scale != 1:
        yield warn(
            "clocks",
            f"people's clocks run {settings.time_scale:g} times as fast",
            "unset STOPSIGN_TIME_SCALE: it is for demo and drills",
        )


def _folder(home: Path) -> Iterator[Check]:
    evidence = home / "evidence"
    try:
        with tempfile.TemporaryFile(dir=evidence):
            pass
        yield ok("evidence", f"{evidence} can be written")
    except OSError as error:
        reason = error.strerror or str(error)
        yield fail("evidence", f"{evidence} cannot be written ({reason})", "make the folder, owned by the bot's user")
    for path in (home, *sorted(home.glob("*.pem")), *sorted(evidence.glob("*.pem"))):
        yield from _mode(path)


def _mode(path: Path) -> Iterator[Check]:
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0
    if path.suffix == ".pem" and mode & 0o077:
        yield fail("key", f"{path} can be read by others (mode {mode:04o})", f"chmod 600 {path}")
    elif path.suffix == ".pem":
        yield ok("key", f"{path.name} is readable by its owner only")
    elif mode & 0o022:
        yield fail(
            "folder",
            f"{path} can be written by others (mode {mode:04o}): they could give themselves powers",
            f"chmod 700 {path}",
        )


def _database(settings: Settings) -> Check:
    url = settings.database
    if not url.startswith("sqlite:///"):
        return _schema(url, "the PostgreSQL database")
    path = Path(url.removeprefix("sqlite:///"))
    if not path.exists():
        if os.access(path.parent, os.W_OK | os.X_OK):
            return fail("database", f"{path} is not made yet", "run `stopsign migrate`")
        return fail("database", f"{path.parent} cannot be written", "make the folder, owned by the bot's user")
    try:
        uri = f"file:{quote(str(path))}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, timeout=PATIENCE, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        return fail("database", f"{path} cannot be written ({error})", "check owner, permissions and free space")
    return _schema(url, str(path))


def _schema(url: str, name: str) -> Check:
    """Tell whether the database has the schema that this program needs, and holds its log append-only."""
    try:
        engine = db.connect(url)
    except Misconfigured as error:
        return fail("database", error.problems[0], "correct STOPSIGN_DATABASE_URL")
    try:
        current, newest = db.revision(engine), db.newest(url)
        if current != newest:
            what = f"{name} is at schema {current or 'none'}, this program needs {newest}"
            return fail("database", what, "run `stopsign migrate`")
        if missing := db.unheld(engine):
            return fail(
                "database", db.sentence_of(missing), "find out who did that: it takes the database's own access"
            )
    except (StopsignError, SQLAlchemyError) as error:
        return fail("database", f"{name}: {str(error).splitlines()[0]}", "check address, owner and permissions")
    finally:
        engine.dispose()
    return ok("database", f"{name} can be written, is at schema {current}, and only grows where it must")


def _port(settings: Settings) -> Check:
    where = f"{settings.host}:{settings.port}"
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        with socket.socket(family) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((settings.host, settings.port))
    except OSError as error:
        reason = error.strerror or str(error)
        return warn(
            "port", f"{where} is not free ({reason})", "well if Stopsign runs already; else choose STOPSIGN_PORT"
        )
    return ok("port", f"{where} is free")


def _destructive(endpoint: Endpoint) -> bool:
    try:
        traits = traits_of(driver(endpoint.driver), endpoint)
    except Misconfigured:  # told by _drivers
        return False
    return traits is not None and traits.destructive


def _escrows(config: Config) -> Iterator[Check]:
    """Look into the escrow of each node whose freeze deletes keys: what is not there cannot come back."""
    for node in config.inventory.nodes.values():
        signer = node.reach.get(Capability.SIGNER)
        if signer is None or not node.escrow or not _destructive(signer):
            continue
        if "escrow" not in signer.options:
            what = f"{node.name}: its escrow is attested, but the option escrow is not set: keys come back by hand only"
            yield warn("escrow", what, "name its folder: options: {escrow: /path} (docs/keymanager.md)")
        elif lacking := Escrow(Path(signer.options["escrow"])).lacking(node.keys):
            what = f"{node.name}: {lacking}: a frozen key could not come back, so the bot will not freeze it by itself"
            todo = "put keystore (KEY.json) and password (KEY.txt) of each key there, readable and the folder writable"
            yield fail("escrow", what, f"{todo} for this user")


def _drivers(config: Config) -> Iterator[Check]:
    named: dict[str, int | None] = {}
    for node in config.inventory.nodes.values():
        for _, endpoint in node.endpoints:
            named.setdefault(endpoint.driver, endpoint.line)
    for name, line in sorted(named.items()):
        try:
            if driver(name) is None:
                where = f"inventory.yaml:{line}" if line else "inventory.yaml"
                yield fail("drivers", no_driver(name), f"correct driver at {where}")
        except Misconfigured as error:
            yield fail("drivers", str(error), "correct that file, see docs/adding-a-driver.md")


def _references(config: Config, environ: Mapping[str, str]) -> Iterator[Check]:
    holders: dict[str, list[str]] = {}
    for node in config.inventory.nodes.values():
        for _, endpoint in node.endpoints:
            texts = (endpoint.token or "", *endpoint.options.values())
            for reference in texts:
                if reference.startswith(("env:", "file:")):
                    holders.setdefault(reference, []).append(node.name)
    broken = 0
    for reference, names in holders.items():
        try:
            secret(reference, environ)
        except Misconfigured as error:
            broken += 1
            what, _, todo = str(error).rpartition(": ")
            yield fail("secrets", f"{what}; needed for {some(list(dict.fromkeys(names)))}", todo)
    if not broken:
        yield ok("secrets", f"{len(holders)} references resolve")
