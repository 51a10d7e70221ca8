"""One transaction's view of the tables: implements `ports.Rows` by SQLAlchemy Core (the hot path of every decision)."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Table, bindparam, func, insert, select, text, update

from bot.domain import journal as j
from bot.domain.incident import Incident
from bot.domain.watch import Watch
from bot.domain.work import Backlog, Todo, Work
from bot.ports import Episode, Stood
from bot.store import codec
from bot.store.spelling import earlier, position, storable, upserts
from bot.store.tables import AlertRow, IncidentRow, JournalRow, SettingRow, WorkRow
from bot.store.writer import Batch

CHUNK = 400
INCIDENT: Table = IncidentRow.__table__  # type: ignore[attr-defined]
ALERT: Table = AlertRow.__table__  # type: ignore[attr-defined]
JOURNAL: Table = JournalRow.__table__  # type: ignore[attr-defined]
WORK: Table = WorkRow.__table__  # type: ignore[attr-defined]
SETTING: Table = SettingRow.__table__  # type: ignore[attr-defined]

# Statements of the hot path are built once: building one anew costs more than SQLite needs to run it. What a dialect
# has of its own is found by its name.
_INCIDENT = select(INCIDENT.c.body).where(INCIDENT.c.id == bindparam("number"))
_LIVE = select(INCIDENT.c.body).where(INCIDENT.c.key == bindparam("key"), INCIDENT.c.live)
_LATEST = select(INCIDENT.c.body).where(INCIDENT.c.key == bindparam("key")).order_by(INCIDENT.c.id.desc()).limit(1)
_BY_CHANNEL = (
    select(INCIDENT.c.body).where(INCIDENT.c.channel == bindparam("channel")).order_by(INCIDENT.c.id.desc()).limit(1)
)
_TOLD = (
    select(INCIDENT.c.body)
    .where(position(INCIDENT.c.body, bindparam("mark")) > 0)
    .order_by(INCIDENT.c.id.desc())
    .limit(bindparam("most"))
)
_HOLDING = select(INCIDENT.c.body).where(INCIDENT.c.holding)
WATCH = select(SETTING.c.value).where(SETTING.c.name == "watch")
_EPISODES = select(
    ALERT.c.fingerprint, ALERT.c.starts_at, ALERT.c.incident, ALERT.c.resolved, ALERT.c.own_effect
).where(ALERT.c.fingerprint.in_(bindparam("prints", expanding=True)))
_ENTRIES = select(JOURNAL).where(JOURNAL.c.incident == bindparam("stream")).order_by(JOURNAL.c.n)
_FURNITURE = ("slack.home", "slack.homes", "slack.furnish")
"""Many at once, limited by Slack to few a minute, and missed by nobody for a while."""
_FOR_SLACK = (WORK.c.kind.like("slack.%") | (WORK.c.kind == "page.slack")) & WORK.c.kind.not_in(_FURNITURE)
_WAITING = select(func.count(), func.min(WORK.c.since)).where(
    WORK.c.state == "ready", _FOR_SLACK, WORK.c.since <= bindparam("now")
)
_OLDEST = (
    select(WORK.c.outcome)
    .where(WORK.c.state == "ready", _FOR_SLACK, WORK.c.since <= bindparam("now"))
    .order_by(WORK.c.since, WORK.c.id)
    .limit(1)
)
_ENTRY = select(JOURNAL).where(JOURNAL.c.incident == bindparam("stream"), JOURNAL.c.n == bindparam("n"))
_KEPT = (
    select(JOURNAL.c.kind, JOURNAL.c.body)
    .where(
        JOURNAL.c.incident == bindparam("stream"),
        JOURNAL.c.kind == "EvidenceKept",
        position(JOURNAL.c.body, bindparam("sha")) > 0,
    )
    .order_by(JOURNAL.c.n)
)
_OUTCOME = select(WORK.c.state, WORK.c.outcome).where(WORK.c.key == bindparam("key"))
_HELD = select(WORK.c.fence, WORK.c.state, WORK.c.lease_until).where(WORK.c.id == bindparam("work"))
_SAVE_INCIDENT = upserts(
    INCIDENT,
    lambda new: new.on_conflict_do_update(
        index_elements=["id"], set_={c.name: new.excluded[c.name] for c in INCIDENT.columns if c.name != "id"}
    ),
)
_SET = upserts(
    SETTING, lambda new: new.on_conflict_do_update(index_elements=["name"], set_={"value": new.excluded["value"]})
)
_WRITE = insert(JOURNAL)
_NEW_ALERT = insert(ALERT)
_END_ALERT = (
    update(ALERT)
    .where(ALERT.c.fingerprint == bindparam("print"), ALERT.c.starts_at == bindparam("start"))
    .values(resolved=True)
)
_NEW_WORK = upserts(WORK, lambda new: new.on_conflict_do_nothing())
_MERGE_WORK = (
    update(WORK)
    # A row that may have been done remembers so in its body, which merging would forget: it stays by itself.
    .where(
        WORK.c.merge == bindparam("into"),
        WORK.c.state == "ready",
        WORK.c.lease_until.is_(None),
        position(WORK.c.body, '"unsure"') == 0,
    )
    .values(body=bindparam("new_body"), due_at=earlier(WORK.c.due_at, bindparam("new_due")))
)


class Changed(Batch):
    """The incidents that a batch of decisions changed: each is written once, when the batch ends, not once a decision.

    An incident of a thousand targets is half a megabyte.
    """

    def __init__(self) -> None:
        self.incidents: dict[int, Incident] = {}

    def flush(self, connection: Connection) -> None:
        """Write each of them."""
        save = _SAVE_INCIDENT[connection.dialect.name]
        for incident in self.incidents.values():
            connection.execute(save, _incident_row(incident))
        self.incidents.clear()

    def forget(self) -> None:
        """Drop them."""
        self.incidents.clear()


class Transaction:
    """The tables inside one open transaction on `connection`. `salt` draws 32 random bytes.

    `changed` has what other decisions of the same batch changed and is not written yet; what this one changes joins it
    in `settle`, so that a decision that fails leaves nothing behind.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        now: Callable[[], datetime],
        salt: Callable[[], bytes],
        changed: Changed | None = None,
    ) -> None:
        self._do = connection.execute
        self._dialect = connection.dialect.name
        self._now = now
        self._salt = salt
        self._changed = changed or Changed()
        self._ours: dict[int, Incident] = {}

    def settle(self) -> None:
        """Let what this decision changed stand for the rest of the batch."""
        self._changed.incidents.update(self._ours)

    @property
    def _unwritten(self) -> dict[int, Incident]:
        return self._changed.incidents | self._ours

    # ---- reading

    def incident(self, number: int) -> Incident | None:
        """Return an incident; it is locked because no two transactions that write overlap, on either database."""
        return self._unwritten.get(number) or self._one(_INCIDENT, number=number)

    def live(self, key: str) -> Incident | None:
        """Return the open or contained incident with a correlation key."""
        return self._first(lambda i: i.key == key and i.status.live, _LIVE, key=storable(key))

    def latest(self, key: str) -> Incident | None:
        """Return the newest incident with a correlation key, which never changes."""
        found = self._one(_LATEST, key=storable(key))
        return self._unwritten.get(found.number, found) if found else None

    def incidents(self, *, live_only: bool, limit: int) -> tuple[Incident, ...]:
        """Return incidents, newest first."""
        query = select(INCIDENT.c.body).order_by(INCIDENT.c.id.desc()).limit(limit)
        if live_only:
            query = query.where(INCIDENT.c.live)
        found = {i.number: i for i in (codec.load_incident(row.body) for row in self._do(query))}
        found |= {n: i for n, i in self._unwritten.items() if n in found or (live_only and i.status.live)}
        shown = [i for i in found.values() if i.status.live or not live_only]
        return tuple(sorted(shown, key=lambda i: -i.number)[:limit])

    def by_channel(self, channel: str) -> Incident | None:
        """Return the incident whose channel this is."""
        return self._first(lambda i: i.channel == channel, _BY_CHANNEL, channel=channel)

    def told(self, audience: str, *, limit: int) -> tuple[Incident, ...]:
        """Return the newest incidents of which an audience was told; a key of `told_at` is followed by a time."""
        rows = self._do(_TOLD, {"mark": f'"{audience}":"2', "most": limit})
        found = (codec.load_incident(row.body) for row in rows)
        return tuple(i for i in found if audience in i.told_at)

    def holding(self) -> tuple[Incident, ...]:
        """Return the incidents that hold a target stopped."""
        found = {i.number: i for i in (codec.load_incident(row.body) for row in self._do(_HOLDING))} | self._unwritten
        return tuple(i for _, i in sorted(found.items()) if i.touched)

    def new_number(self) -> int:
        """Return the number of the next incident."""
        return (self._do(text("SELECT max(id) FROM incident")).scalar() or 0) + 1

    def episodes(self, wanted: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Episode]:
        """Return what is stored of alert episodes."""
        found: dict[tuple[str, str], Episode] = {}
        prints = sorted({fingerprint for fingerprint, _ in wanted})
        for start in range(0, len(prints), CHUNK):
            for row in self._do(_EPISODES, {"prints": prints[start : start + CHUNK]}):
                found[row.fingerprint, row.starts_at] = Episode(
                    incident=row.incident, resolved=row.resolved, own_effect=row.own_effect
                )
        return {episode: found[episode] for episode in wanted if episode in found}

    def watch(self) -> Watch:
        """Return the watch."""
        value = self._do(WATCH).scalar()
        return codec.load_watch(value) if value else Watch()

    def entries(self, incident: int | None) -> tuple[j.Written, ...]:
        """Return a stream's journal in order."""
        rows = self._do(_ENTRIES, {"stream": incident or 0})
        return tuple(codec.written_of(row) for row in rows)

    def entry(self, incident: int | None, n: int) -> j.Written | None:
        """Return one entry of a stream."""
        row = self._do(_ENTRY, {"stream": incident or 0, "n": n}).one_or_none()
        return codec.written_of(row) if row else None

    def kept(self, incident: int, sha256: str) -> tuple[j.EvidenceKept, ...]:
        """Return the items of an incident with this content."""
        rows = self._do(_KEPT, {"stream": incident, "sha": f'"{sha256}"'})
        return tuple(e for row in rows if isinstance(e := codec.entry_of(row.kind, row.body), j.EvidenceKept))

    def alerts(self, incident: int) -> tuple[Mapping[str, object], ...]:
        """Return an incident's alert episodes as received, in order of their beginning."""
        found = self._do(select(ALERT).where(ALERT.c.incident == incident)).all()
        rows = sorted(found, key=lambda row: (row.starts_at, row.fingerprint))  # the same in every collation
        return tuple({**json.loads(row.body), "resolved": row.resolved, "own_effect": row.own_effect} for row in rows)

    def outcome(self, key: str) -> Stood | None:
        """Return where the work of a key stands."""
        row = self._do(_OUTCOME, {"key": key}).one_or_none()
        return Stood(state=row.state, outcome=row.outcome) if row else None

    def holds(self, work: Work) -> bool:
        """Tell whether `work` is still leased under its fence."""
        row = self._do(_HELD, {"work": work.id}).one_or_none()
        return row is not None and row.state == "ready" and row.fence == work.fence and row.lease_until is not None

    def backlog(self, now: datetime) -> Backlog:
        """Return how much of what Slack should be told waits."""
        at = {"now": now.timestamp()}
        waiting, oldest = self._do(_WAITING, at).one()
        if not waiting:
            return Backlog()
        why = self._do(_OLDEST, at).scalar()
        return Backlog(waiting=waiting, oldest=datetime.fromtimestamp(oldest, UTC), why=why or "")

    # ---- writing

    def save(
        self, incidents: Sequence[Incident], watch: Watch | None, entries: Sequence[j.Written], todo: Sequence[Todo]
    ) -> None:
        """Store everything that a decision changed."""
        opened = {w.incident for w in entries if isinstance(w.entry, j.IncidentOpened)}
        for incident in incidents:
            self._ours[incident.number] = incident
            if incident.number in opened:  # what refers to it needs its row now
                self._do(_SAVE_INCIDENT[self._dialect], _incident_row(incident))
        if watch is not None:
            self._do(_SET[self._dialect], {"name": "watch", "value": codec.dump(watch)})
        if entries:
            self._do(_WRITE, [codec.row_of(written, self._salt()) for written in entries])
        for written in entries:
            if isinstance(written.entry, j.AlertsJoined) and written.incident:
                self._save_alerts(written.incident, written.entry)
        self._enqueue(todo)

    def _save_alerts(self, incident: int, joined: j.AlertsJoined) -> None:
        fresh = [alert for alert in joined.alerts if alert.change != "resolved"]
        over = [alert for alert in joined.alerts if alert.change == "resolved"]
        if fresh:
            self._do(_NEW_ALERT, [_alert_row(incident, alert) for alert in fresh])
        if over:
            self._do(_END_ALERT, [{"print": alert.fingerprint, "start": alert.starts_at} for alert in over])

    def _enqueue(self, todo: Sequence[Todo]) -> None:
        """Insert rows in the order given: within a lane that is the order of work."""
        new, plain = _NEW_WORK[self._dialect], list[dict[str, Any]]()
        for item in todo:
            row = _work_row(item, self._now())
            if item.merge is None:
                plain.append(row)
                continue
            if plain:
                self._do(new, plain)
                plain = []
            merged = {"into": item.merge, "new_body": row["body"], "new_due": row["due_at"]}
            if not self._do(_MERGE_WORK, merged).rowcount:
                self._do(new, row)
        if plain:
            self._do(new, plain)

    def _first(self, fits: Callable[[Incident], bool], query: Any, **values: Any) -> Incident | None:
        """Return the incident that fits, by what is not written yet, else by the table."""
        unwritten = self._unwritten
        if (ours := next((i for i in unwritten.values() if fits(i)), None)) is not None:
            return ours
        found = self._one(query, **values)
        return None if found is None or found.number in unwritten else found

    def _one(self, query: Any, **values: Any) -> Incident | None:
        body = self._do(query, values).scalar()
        return codec.load_incident(body) if body else None


def _incident_row(incident: Incident) -> dict[str, Any]:
    return {
        "id": incident.number,
        "version": incident.version,
        "key": storable(incident.key),
        "status": incident.status.value,
        "severity": incident.severity.value,
        "live": incident.status.live,
        "holding": bool(incident.touched),
        "channel": incident.channel,
        "body": codec.dump(incident),
    }


def _alert_row(incident: int, alert: j.AlertSeen) -> dict[str, Any]:
    body = {"labels": dict(alert.labels), "annotations": dict(alert.annotations), "runbook": alert.runbook}
    return {
        "fingerprint": alert.fingerprint,
        "starts_at": alert.starts_at,
        "incident": incident,
        "resolved": alert.change == "missed",
        "own_effect": alert.own_effect,
        "body": json.dumps(
            {"fingerprint": alert.fingerprint, "starts_at": alert.starts_at, "name": alert.name, **body}
        ),
    }


def _work_row(todo: Todo, now: datetime) -> dict[str, Any]:
    due = (todo.due or now).timestamp()
    return {
        "key": todo.key,
        "kind": todo.kind,
        "incident": todo.incident,
        "priority": todo.priority,
        "lane": todo.lane,
        "merge": todo.merge,
        "state": "ready",
        "due_at": due,
        "since": due,
        "body": json.dumps(dict(todo.body)),
        "fence": 0,
        "attempts": 0,
    }
