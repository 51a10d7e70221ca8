"""Which databases there are, how their URLs are written, and what is said when one cannot be used."""

import sys

import pytest
from sqlalchemy import event

from bot.errors import Misconfigured, NotCommitted
from bot.store import database as db

NOBODY = "postgresql://postgres@/stopsign?host=/nowhere/at/all"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
@pytest.mark.peer("postgresql")
def test_every_usual_spelling_of_postgresql_is_understood(postgresql_url: str, scheme: str) -> None:
    engine = db.connect(postgresql_url.replace("postgresql", scheme, 1))
    assert db.revision(engine) == db.newest(postgresql_url)
    engine.dispose()


@pytest.mark.parametrize("url", ["mysql://u:hunter2@h/d", "postgresql+asyncpg://u:hunter2@h/d", "hunter2"])
def test_any_other_database_is_refused_without_telling_its_password(url: str) -> None:
    with pytest.raises(Misconfigured, match="STOPSIGN_DATABASE_URL") as refused:
        db.connect(url)
    assert "hunter2" not in str(refused.value)


def test_without_psycopg_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "psycopg"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(Misconfigured, match=r"install stopsign\[postgresql\]"):
        db.connect("postgresql://u:hunter2@localhost/d")


def test_a_server_that_is_not_there_is_one_sentence() -> None:
    engine = db.connect(NOBODY)
    for act in (lambda: db.migrate(NOBODY), lambda: db.revision(engine), lambda: db.unheld(engine)):
        with pytest.raises(NotCommitted, match="the database does not answer") as said:
            act()
        assert "\n" not in str(said.value)
    engine.dispose()


def test_a_server_that_vanishes_is_noticed_and_what_the_url_says_about_it_stands() -> None:
    engine = db.connect(f"{NOBODY}&connect_timeout=2&sslmode=disable&keepalives_idle=99")
    seen: dict[str, object] = {}

    @event.listens_for(engine, "do_connect")
    def _look(_dialect: object, _record: object, _arguments: object, named: dict[str, object]) -> None:
        seen.update(named)

    with pytest.raises(NotCommitted):
        db.revision(engine)
    engine.dispose()
    asked = {"connect_timeout": "2", "keepalives_idle": "99", "sslmode": "disable", "host": "/nowhere/at/all"}
    ours = {"keepalives_interval": "2", "keepalives_count": "3", "tcp_user_timeout": "10000"}
    assert {name: seen[name] for name in (*asked, *ours)} == {**asked, **ours}
    assert seen["application_name"] == "stopsign"
