"""`stopsign incident …`, `stopsign halt`, `stopsign rearm`: the flows from a keyboard, with or without Slack or bot."""

import json
from typing import Annotated, Any

import typer
from rich.table import Table

from bot.app import App
from bot.cli.shared import FAILED, bot_is_up, follow, get, me, opened, out, print_behind, run, settled, who
from bot.domain.incident import Incident
from bot.domain.inventory import Capability
from bot.domain.playbook import Verb
from bot.domain.roles import Role
from bot.domain.severity import Severity
from bot.domain.target import State
from bot.errors import Invalid, StopsignError
from bot.flows import approve as approvals
from bot.flows import halt as switch
from bot.flows import intake, outcomes, people, resolve, respond, status
from bot.flows.book import Command
from bot.ledger import Flow
from bot.render import timeline
from bot.render.words import clock
from bot.steps.freeze import lacking
from bot.web.shape import number_of, summary

app = typer.Typer(help="See and steer incidents: the same decisions as in Slack.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="INC", help="The incident, such as inc-7.")]
Nodes = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NODE]...", help="Targets by name; none: what is held, else the suspects."),
]
Wait = Annotated[float, typer.Option(help="Seconds to follow what happens.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Why = Annotated[str, typer.Option("--reason", help="Why; goes into the journal.")]

COLOUR = {Severity.SEV1: "bold red", Severity.SEV2: "yellow", Severity.SEV3: "cyan"}
STATE_COLOUR = {
    "verified": "green",
    "already": "green",
    "acknowledged": "yellow",
    "requested": "yellow",
    "held": "magenta",
}


@app.command(name="list")
def list_(
    everything: Annotated[bool, typer.Option("--all", help="Resolved ones too.")] = False, as_json: Json = False
) -> None:
    """List open incidents."""

    async def act() -> None:
        async with opened() as stopsign:
            found = await stopsign.ledger.read(lambda rows: rows.incidents(live_only=not everything, limit=200))
            if as_json:
                _json([summary(i, stopsign.ledger.world, stopsign.ledger.clock.now()) for i in found])
                return
            table = Table(box=None, pad_edge=False)
            for name in ("ID", "SEV", "STATUS", "AVS", "SUMMARY", "STOPPED", "IC"):
                table.add_column(name, overflow="ellipsis", no_wrap=name != "SUMMARY")
            for i in found:
                stopped = f"{sum(map(i.stopped, i.suspects))}/{len(i.suspects)}" if i.suspects else "-"
                sev = f"[{COLOUR[i.severity]}]{i.severity}[/]"
                table.add_row(
                    i.id, sev, i.status.value, i.avs or "-", _plain(i.summary), stopped, i.roles.get(Role.IC, "nobody")
                )
            out.print(table if found else "No incident is open.")
            await print_behind(stopsign)

    run(act())


@app.command()
def show(incident: Id, as_json: Json = False) -> None:
    """Show one incident: roles, targets, what waits for people."""

    async def act() -> None:
        async with opened() as stopsign:
            found = await get(stopsign, number_of(incident))
            if as_json:
                _json(summary(found, stopsign.ledger.world, stopsign.ledger.clock.now()))
            else:
                print_incident(found, watched=await bot_is_up(stopsign))
                await print_behind(stopsign)

    run(act())


def print_incident(i: Incident, *, watched: bool) -> None:
    """Print an incident on one screen; `watched` tells whether a bot serves, which proves freezes again."""
    out.print(f"[bold]{i.id}[/]  [{COLOUR[i.severity]}]{i.severity}[/]  {i.status}  {_plain(i.summary)}")
    out.print(f"  why: {_plain(i.reason)}   alerts: {i.firing} firing of {i.seen}", soft_wrap=True)
    roles = "   ".join(f"{role.title}: {i.roles.get(role, '[red]nobody[/]')}" for role in Role)
    out.print(f"  {roles}", soft_wrap=True)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2))
    for name in ("TARGET", "FREEZE", "CAPTURE", "ISOLATE", "ROLLBACK", "DETAIL"):
        table.add_column(name, overflow="fold")
    for node in dict.fromkeys([*i.suspects, *(n for tracks in i.tracks.values() for n in tracks)]):
        cells = [_state(i, verb, node) for verb in (Verb.FREEZE, Verb.CAPTURE, Verb.ISOLATE, Verb.ROLLBACK)]
        track = i.tracks.get(Verb.FREEZE, {}).get(node)
        told = track.detail if track else ""
        if track is not None and track.state.proven:
            told = f"proven at {clock(track.since)}{', and again since' if watched else ''}: {told}"
        table.add_row(node, *cells, _plain(told))
    if table.row_count:
        out.print(table)
    if i.frozen and not watched:
        out.print(
            "  [yellow]Nobody is watching:[/] no bot serves, so a frozen target that signs again is not noticed. "
            "Start `stopsign serve`."
        )
    for approval in i.approvals.values():
        if approval.pending:
            out.print(f"  [magenta]waits for a second person:[/] {approval.verb} of {', '.join(approval.targets)}")


def _state(i: Incident, verb: Verb, node: str) -> str:
    state = i.state(verb, node)
    return "-" if state is None else f"[{STATE_COLOUR.get(state.value, 'red')}]{state}[/]"


def _plain(text: str) -> str:
    return text.replace("[", "\\[")


@app.command()
def declare(
    severity: str, words: Annotated[list[str], typer.Argument(metavar="SUMMARY...")], avs: str | None = None
) -> None:
    """Declare an incident: `declare SEV-1 two signatures for slot 7 --avs oracle`."""

    async def act() -> None:
        async with opened() as stopsign:
            command = intake.Declare(by=me(stopsign), severity=_severity(severity), summary=" ".join(words), avs=avs)
            found = await stopsign.ledger.decide(intake.declare, command)
            out.print(f"Declared [bold]{found.id}[/] {found.severity}.")
            await follow(stopsign, found.number, since=0, seconds=5, patient=False)

    run(act())


@app.command()
def ack(incident: Id) -> None:
    """Acknowledge: stop the pages."""
    decide(incident, lambda a, n: (people.acknowledge, people.Acknowledge(by=me(a), incident=n)))


@app.command()
def role(incident: Id, role: Role, person: Annotated[str, typer.Argument(help="Who; default: you.")] = "me") -> None:
    """Take a role, or hand it to somebody."""

    def command(a: App, n: int) -> tuple[Flow[Any, Any], Command]:
        name = None if person == "me" else who(a, person)
        return people.take_role, people.TakeRole(by=me(a), incident=n, role=role, person=name)

    decide(incident, command)


@app.command()
def sev(incident: Id, severity: str, reason: Why = "") -> None:
    """Raise (anyone) or lower (the IC, with a reason) the severity."""
    level = _severity(severity)
    decide(
        incident,
        lambda a, n: (people.set_severity, people.SetSeverity(by=me(a), incident=n, severity=level, reason=reason)),
    )


@app.command()
def note(incident: Id, words: Annotated[list[str], typer.Argument(metavar="TEXT...")]) -> None:
    """Write a note into the timeline."""
    text = " ".join(words)
    decide(incident, lambda a, n: (people.add_note, people.AddNote(by=me(a), incident=n, text=text, source="note")))


@app.command(name="status")
def status_(
    incident: Id, words: Annotated[list[str], typer.Argument(metavar="TEXT...")], audience: str = "internal"
) -> None:
    """Give the status that is owed: facts, not speculation."""
    text = " ".join(words)
    decide(incident, lambda a, n: (status.give, status.GiveStatus(by=me(a), incident=n, text=text, audience=audience)))


@app.command()
def contained(incident: Id, words: Annotated[list[str], typer.Argument(metavar="REASON...")]) -> None:
    """Say as IC that it is contained though the bot cannot prove it."""
    text = " ".join(words)
    decide(incident, lambda a, n: (outcomes.contain, outcomes.Contain(by=me(a), incident=n, reason=text)))


@app.command(name="resolve")
def resolve_(
    incident: Id,
    words: Annotated[list[str], typer.Argument(metavar="SUMMARY...")],
    owner: str | None = None,
    wait: Wait = 10,
) -> None:
    """End the incident as IC; what is still frozen or unknown gets an owner; the postmortem is drafted."""
    text = " ".join(words)
    decide(
        incident, lambda a, n: (resolve.resolve, resolve.Resolve(by=me(a), incident=n, summary=text, owner=owner)), wait
    )


def _verb(verb: Verb, text: str) -> None:
    def command(incident: Id, nodes: Nodes = None, reason: Why = "", wait: Wait = 60) -> None:
        targets = tuple(nodes or ())
        decide(
            incident,
            lambda a, n: (
                respond.request,
                respond.Request(by=me(a), incident=n, verb=verb, targets=targets, reason=reason),
            ),
            wait,
        )

    command.__doc__ = text
    app.command(name=verb.value)(command)


for _name, _text in {
    Verb.FREEZE: "Freeze named targets: one authorised person.",
    Verb.UNFREEZE: "Let targets sign again: two people.",
    Verb.ISOLATE: "Take targets out of traffic.",
    Verb.RESTORE: "Let targets serve again.",
    Verb.ROLLBACK: "Roll targets back to the contract's build.",
    Verb.CAPTURE: "Capture evidence from targets.",
    Verb.THROTTLE: "Slow risky flows of targets down.",
}.items():
    _verb(_name, _text)


@app.command()
def waive(
    incident: Id, verb: Verb, nodes: Annotated[list[str], typer.Argument(metavar="NODE...")], reason: Why = ""
) -> None:
    """Go on without a capture that failed, or a held step, as IC or Evidence Lead."""
    targets = tuple(nodes)
    decide(
        incident,
        lambda a, n: (respond.waive, respond.Waive(by=me(a), incident=n, verb=verb, targets=targets, reason=reason)),
    )


@app.command()
def approve(
    incident: Id,
    verb: Annotated[Verb | None, typer.Option(help="Which one, when several wait.")] = None,
    reject: Annotated[bool, typer.Option("--reject")] = False,
    reason: Why = "",
    wait: Wait = 60,
) -> None:
    """Agree (or not) to what waits for a second person."""
    decide(
        incident,
        lambda a, n: (
            approvals.approve,
            approvals.Approve(by=me(a), incident=n, verb=verb, reject=reject, reason=reason),
        ),
        wait,
    )


@app.command(name="timeline")
def timeline_(incident: Id, as_json: Json = False) -> None:
    """Print what happened, from the journal."""

    async def act() -> None:
        async with opened() as stopsign:
            number = (await get(stopsign, number_of(incident))).number
            entries = await stopsign.ledger.read(lambda rows: rows.entries(number))
            if as_json:
                _json(timeline.as_json(entries, stopsign.config))
                return
            for written in filter(timeline.worth_reading, entries):
                line = timeline.line(written, stopsign.config)
                out.print(f"[dim]{written.at:%m-%d %H:%M:%S}[/] {line.icon} ", end="")
                out.print(line.text, markup=False, soft_wrap=True)

    run(act())


@app.command()
def postmortem(incident: Id) -> None:
    """Print the postmortem's draft as Markdown."""

    async def act() -> None:
        async with opened() as stopsign:
            number = (await get(stopsign, number_of(incident))).number
            path = stopsign.home / "postmortems" / f"postmortem-inc-{number}.md"
            if not path.exists():
                raise Invalid(f"inc-{number} has no draft yet: it is written when a SEV-1 or SEV-2 is resolved.")
            out.print(path.read_text(encoding="utf-8"), markup=False, soft_wrap=True)

    run(act())


def halt(words: Annotated[list[str], typer.Argument(metavar="REASON...")]) -> None:
    """Stop automation and everything that starts something, in all replicas, at once."""

    async def act() -> None:
        async with opened() as stopsign:
            watch = await stopsign.ledger.decide(switch.halt, switch.Halt(by=me(stopsign), reason=" ".join(words)))
            out.print(
                f"[red]Automation is halted[/] since {watch.halted_at:%H:%M:%S} UTC. Freezing by hand still works."
            )

    run(act())


def rearm() -> None:
    """Start automation again: the first person asks, a second one completes it."""

    async def act() -> None:
        async with opened() as stopsign:
            watch = await stopsign.ledger.decide(switch.rearm, switch.Rearm(by=me(stopsign)))
            out.print("Automation runs again." if not watch.halted else "Asked: a different person must run this too.")

    run(act())


def decide(incident: str, make: Any, wait: float = 3) -> None:
    """Give one command and follow what it leads to."""

    async def act() -> int:
        async with opened() as stopsign:
            number = number_of(incident)
            before = await get(stopsign, number)
            flow, command = make(stopsign, number)
            if isinstance(command, respond.Request) and command.verb is Verb.FREEZE:
                await _warn_of_escrows(stopsign, before, command)
            answer = await stopsign.ledger.decide(flow, command)
            if text := getattr(answer, "text", ""):
                out.print(text, markup=False)
            patient = isinstance(command, respond.Request | approvals.Approve | resolve.Resolve)
            after = await follow(stopsign, number, since=before.version, seconds=wait, patient=patient)
            watched = await bot_is_up(stopsign)
            print_incident(after, watched=watched)
            if patient and not settled(after):
                goes_on = "it goes on without you" if watched else "it goes on when a bot serves (`stopsign serve`)"
                out.print(
                    f"  [yellow]No longer followed[/] after {wait:g} s: {goes_on}. "
                    f"Look with `stopsign incident show {after.id}`, or wait longer with --wait."
                )
            return FAILED if _missed(after, command) else 0

    if run(act()):
        raise typer.Exit(FAILED)


async def _warn_of_escrows(stopsign: App, incident: Incident, command: respond.Request) -> None:
    """Say of which targets a freeze deletes keys that are seen not to be able to come back; a slash is worse."""
    for name in command.targets or incident.suspects:
        node = stopsign.config.inventory.nodes.get(name)
        if node is None or Capability.SIGNER not in node.reach:
            continue
        try:
            lacks = await lacking(stopsign.fleet, stopsign.ledger.world, node)
        except StopsignError as error:
            lacks = str(error)
        if lacks:
            text = f"  [yellow]{name}:[/] its freeze deletes the key, and {_plain(lacks)}: it could not come back."
            out.print(text)


def _missed(after: Incident, command: Command) -> bool:
    """Tell whether a step that was asked for has not done what it should on one of its targets."""
    if not isinstance(command, respond.Request):
        return False
    states = (after.state(command.verb, node) for node in command.targets)
    return any(state in {State.REFUSED, State.FAILED, State.UNKNOWN} for state in states)


def _severity(text: str) -> Severity:
    try:
        return Severity.parse(text)
    except ValueError as error:
        raise Invalid(str(error), where="severity") from error


def _json(value: object) -> None:
    out.print_json(json.dumps(value, default=str))
