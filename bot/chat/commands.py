"""The slash command's text → an Order. Pure: what exists is told by `Scene`; what is wrong raises Invalid with help."""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date

from bot.domain.playbook import Verb
from bot.domain.roles import Role
from bot.domain.severity import Severity
from bot.errors import Invalid

AUDIENCES = ("internal", "stakeholders", "public")
_INCIDENT = re.compile(r"inc-?(\d+)", re.IGNORECASE | re.ASCII)
_MOST = 999_999_999
_NODE_LIKE = re.compile(r"[a-z][a-z0-9]*([-_.][a-z0-9]+)*[-_.]?\d+", re.IGNORECASE | re.ASCII)
_ANYBODY = re.compile(r"\*|all|any|fleet|everything", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Where a command was typed: the channel's own incident, the live ones, and the names that exist."""

    here: int | None = None
    live: tuple[int, ...] = ()
    avs: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    person: Callable[[str], str | None] = lambda text: None
    """Who in team.yaml is meant by a name, an id or a mention."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A parsed command. Fields that the command does not have stay empty; an empty `text` may mean: show the form."""

    name: str
    incident: int | None = None
    text: str = ""
    severity: Severity | None = None
    avs: str | None = None
    role: Role | None = None
    person: str | None = None
    audience: str = "internal"
    verb: Verb | None = None
    targets: tuple[str, ...] = ()
    reject: bool = False
    action: str | None = None
    due: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """One command for people: when it is needed, how it is typed, what it does, whether it is about an incident."""

    group: str
    how: str
    what: str
    parse: "Parse"
    about: bool = True
    over: bool = False
    """True when it is about an incident that is over, so that the open one is never meant."""


Parse = Callable[[Order, list[str], Scene], Order]


def parse(text: str, scene: Scene) -> Order:
    """Read what was typed after the slash command.

    Raises Invalid with the sentence for the person: unknown commands name the nearest, others how they are typed.
    """
    words = text.split()
    incident, words = _incident(words)
    if not words:
        return Order(name="show" if incident else "help", incident=incident)
    name = words[0].casefold()
    if name not in USAGE:
        raise Invalid(_unknown(name))
    usage = USAGE[name]
    order = Order(name=name, incident=incident)
    if usage.about:
        order = replace(order, incident=_meant(incident, scene, usage, name))
    return usage.parse(order, words[1:], scene)


def _incident(words: list[str]) -> tuple[int | None, list[str]]:
    """Take `inc-7` out of the first or second place."""
    for place in (0, 1):
        if len(words) > place and (found := _INCIDENT.fullmatch(words[place])):
            if int(found[1]) > _MOST:
                raise Invalid("There is no incident of so high a number: `list` shows the open ones.", where="incident")
            return int(found[1]), words[:place] + words[place + 1 :]
    return None, words


def _meant(given: int | None, scene: Scene, usage: Usage, name: str) -> int:
    if given is not None:
        return given
    if scene.here is not None:
        return scene.here
    if usage.over:
        raise Invalid(f"Which incident? `{name} inc-7 …`, or type it in the incident's channel.", where="incident")
    if len(scene.live) == 1:
        return scene.live[0]
    if not scene.live:
        raise Invalid("No incident is open. `declare` opens one; `show inc-7` shows an old one.", where="incident")
    some = ", ".join(f"`inc-{n}`" for n in scene.live[:8])
    raise Invalid(f"Which incident? {some} are open: `{name} inc-{scene.live[0]} …`.", where="incident")


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, USAGE, n=1, cutoff=0.55)
    shown = name if re.fullmatch(r"[a-z0-9-]{1,20}", name) else "that"
    return f"There is no `{shown}`." + (f" Did you mean `{near[0]}`?" if near else "") + " `help` lists all commands."


# ---- one parser for each shape


def _bare(order: Order, words: list[str], scene: Scene) -> Order:
    if words:
        raise Invalid(f"Nothing was done: `{order.name}` takes nothing after it but an incident like `inc-7`.")
    return order


def _text(order: Order, words: list[str], scene: Scene) -> Order:
    return replace(order, text=" ".join(words))


def _needed(order: Order, words: list[str], scene: Scene) -> Order:
    if not words:
        raise Invalid(f"Say it in a few words: `{USAGE[order.name].how}`.", where="text")
    return _text(order, words, scene)


def _declare(order: Order, words: list[str], scene: Scene) -> Order:
    severity, words = _severity(words)
    known = {name.casefold(): name for name in scene.avs}
    avs = known.get(words[0].casefold()) if words else None
    rest = words[1:] if avs else words
    if (severity or avs) and not rest:
        raise Invalid("Say in a few words what is wrong: `declare SEV-1 oracle two signatures for slot 7`.")
    return replace(order, severity=severity, avs=avs, text=" ".join(rest))


def _sev(order: Order, words: list[str], scene: Scene) -> Order:
    severity, rest = _severity(words)
    if severity is None:
        raise Invalid("Write SEV-1, SEV-2 or SEV-3: `sev SEV-2 the second signer was a scrape artefact`.")
    return replace(order, severity=severity, text=" ".join(rest))


def _severity(words: list[str]) -> tuple[Severity | None, list[str]]:
    if not words:
        return None, words
    if re.fullmatch(r"sev-?\d+", words[0], re.IGNORECASE) or re.fullmatch(r"[123]", words[0]):
        try:
            return Severity.parse(words[0]), words[1:]
        except ValueError as error:
            raise Invalid(str(error), where="severity") from None
    return None, words


_ROLES: Mapping[str, Role] = {
    "ic": Role.IC,
    "commander": Role.IC,
    "comms": Role.COMMS,
    "communications": Role.COMMS,
    "ops": Role.OPS,
    "operations": Role.OPS,
    "evidence": Role.EVIDENCE,
}


def _role(order: Order, words: list[str], scene: Scene) -> Order:
    named = [word for word in words if word.casefold() in _ROLES]
    if not named:
        raise Invalid("Which role? `role @ada ic`; roles are ic, comms, ops and evidence.", where="role")
    # The role is the last such word: a person may be called Ops.
    at = len(words) - 1 - words[::-1].index(named[-1])
    person = " ".join(words[:at] + words[at + 1 :])
    mine = person.casefold() in {"", "me", "@me"}
    return replace(order, role=_ROLES[named[-1].casefold()], person=None if mine else person)


def _somebody(words: list[str], scene: Scene) -> tuple[str | None, list[str]]:
    """Take a person off the front, of up to four words."""
    for count in range(min(4, len(words)), 0, -1):
        if found := scene.person(" ".join(words[:count])):
            return found, words[count:]
    return None, words


def _handover(order: Order, words: list[str], scene: Scene) -> Order:
    if not words:
        return order
    person, rest = _somebody(words, scene)
    if person is None:
        raise Invalid("Nobody in team.yaml is called that: `handover @ben what they should know`.", where="person")
    return replace(order, person=person, text=" ".join(rest))


def _action(order: Order, words: list[str], scene: Scene) -> Order:
    """Read `add [@owner] text [by 2026-12-01]`, `done act-2 [note]`, or `list`."""
    what = words[0].casefold() if words else "list"
    if what == "list":
        _bare(order, words[1:], scene)
        return replace(order, name="actions")
    if what == "done" and len(words) > 1:
        name = words[1].casefold()
        return replace(order, name="done", action=f"act-{name}" if name.isdigit() else name, text=" ".join(words[2:]))
    owner, rest = _somebody(words[1:], scene)
    due, rest = _due(rest)
    if what != "add" or not rest:
        raise Invalid("Write `action add @ben rotate the key by 2026-12-01`, `action done act-1` or `action list`.")
    return replace(order, person=owner, text=" ".join(rest), due=due)


def _due(words: list[str]) -> tuple[date | None, list[str]]:
    """Take `by 2026-12-01` off the end."""
    if len(words) < 2 or words[-2].casefold() != "by" or not re.fullmatch(r"\d{4}-\d{1,2}-\d{1,2}", words[-1]):
        return None, words
    try:
        return date(*map(int, words[-1].split("-"))), words[:-2]
    except ValueError:
        raise Invalid(f"{words[-1]} is no day: write it like 2026-12-01.", where="due") from None


def _status(order: Order, words: list[str], scene: Scene) -> Order:
    if words and words[0].casefold() in AUDIENCES:
        return replace(order, audience=words[0].casefold(), text=" ".join(words[1:]))
    return _text(order, words, scene)


def _approve(order: Order, words: list[str], scene: Scene) -> Order:
    reject = order.name == "reject" or bool(words and words[0].casefold() in {"reject", "no"})
    rest = words[1:] if reject and order.name != "reject" else words
    verb = Verb(rest[0].casefold()) if rest and rest[0].casefold() in APPROVABLE else None
    return replace(order, name="approve", reject=reject, verb=verb, text=" ".join(rest[1:] if verb else rest))


def _step(order: Order, words: list[str], scene: Scene) -> Order:
    """Read targets, then a reason. A word that only looks like a target is an error, never part of the reason."""
    verb = order.verb or Verb(order.name)
    targets: list[str] = []
    rest = [part for word in words for part in ([p for p in word.split(",") if p] if "," in word else [word])]
    while rest and (rest[0] in scene.nodes or _ANYBODY.fullmatch(rest[0])):
        targets.append(rest.pop(0))
    if rest and rest[0].casefold() in {"because", "since"}:
        rest = rest[1:]
    elif rest and (_NODE_LIKE.fullmatch(rest[0]) or _near(rest[0], scene) or not targets):
        near = _near(rest[0], scene)
        shown = re.sub(r"[^\w.-]", "", rest[0])[:40] or "that"
        raise Invalid(
            f"There is no node '{shown}' in the inventory, so nothing was done."
            + (f" Did you mean `{near}`?" if near else f" Targets come first: `{USAGE[order.name].how}`."),
            where="targets",
        )
    return replace(order, name="step", verb=verb, targets=tuple(dict.fromkeys(targets)), text=" ".join(rest))


def _evidence(order: Order, words: list[str], scene: Scene) -> Order:
    """Read nothing, or `hold why` and `lift why`."""
    what = words[0].casefold() if words else ""
    if what in {"hold", "lift"} and len(words) > 1:
        return replace(order, name=what, text=" ".join(words[1:]))
    if words:
        raise Invalid("Write `evidence`, `evidence hold why` or `evidence lift why`: the reason goes on record.")
    return order


def _waive(order: Order, words: list[str], scene: Scene) -> Order:
    """Read a verb, then targets and a reason."""
    if not words or words[0].casefold() not in WAIVABLE:
        raise Invalid(f"Say what is waived: `{USAGE['waive'].how}`.", where="verb")
    return replace(_step(replace(order, verb=Verb(words[0].casefold())), words[1:], scene), name="waive")


APPROVABLE = ("freeze", "unfreeze", "isolate", "restore", "rollback", "capture", "throttle")
WAIVABLE = ("capture", "isolate", "rollback", "throttle")


def _near(word: str, scene: Scene) -> str | None:
    return next(iter(difflib.get_close_matches(word, scene.nodes, n=1, cutoff=0.8)), None)


def _usage(group: str, how: str, what: str, parse: Parse, *, about: bool = True, over: bool = False) -> Usage:
    return Usage(group=group, how=how, what=what, parse=parse, about=about, over=over)


USAGE: Mapping[str, Usage] = {
    "declare": _usage("Now", "declare SEV-1 oracle what is wrong", "open", _declare, about=False),
    "list": _usage("Now", "list", "what is open", _bare, about=False),
    "show": _usage("Now", "show inc-7", "one incident", _bare),
    "ack": _usage("Now", "ack", "I am on it; paging stops", _bare),
    "freeze": _usage("Now", "freeze seq-01 why", "stop signing", _step),
    "halt": _usage("Now", "halt why", "stop all automation", _text, about=False),
    "role": _usage("People", "role me ic", "take or give a role", _role),
    "handover": _usage("People", "handover @ben what to know", "all your roles", _handover),
    "sev": _usage("People", "sev SEV-2 why", "raise or lower", _sev),
    "status": _usage("People", "status text", "say how it stands", _status),
    "oncall": _usage("People", "oncall", "who is, who is next", _bare, about=False),
    "capture": _usage("Nodes", "capture seq-01", "save evidence", _step),
    "isolate": _usage("Nodes", "isolate seq-01", "out of traffic", _step),
    "rollback": _usage("Nodes", "rollback seq-01", "to the last good build", _step),
    "approve": _usage("Nodes", "approve", "agree to what waits", _approve),
    "reject": _usage("Nodes", "reject why", "say no to it", _approve),
    "unfreeze": _usage("Nodes", "unfreeze seq-01", "sign again; two people", _step),
    "restore": _usage("Nodes", "restore seq-01", "back into traffic", _step),
    "breakglass": _usage("Nodes", "breakglass why", "go on alone, if policy lets", _needed),
    "waive": _usage("Nodes", "waive capture seq-03 because why", "without it", _waive),
    "contained": _usage("Nodes", "contained why", "IC: no harm any more", _needed),
    "note": _usage("Record", "note text", "into the timeline; or 📌", _needed),
    "timeline": _usage("Record", "timeline", "the last entries", _bare),
    "action": _usage("Record", "action add @ben text", "or `done act-1`, `list`", _action),
    "evidence": _usage("Record", "evidence", "or `hold why`, `lift why`", _evidence),
    "console": _usage("Record", "console", "its web page", _bare),
    "resolve": _usage("The end", "resolve how it ended", "IC: it is over", _text),
    "postmortem": _usage("The end", "postmortem", "where the draft is", _bare),
    "reopen": _usage("The end", "reopen why", "it was not over", _needed, over=True),
    "close": _usage("The end", "close", "the postmortem is done", _text, over=True),
    "rearm": _usage("The end", "rearm", "automation on; two people", _bare, about=False),
    "help": _usage("The end", "help", "this", _bare, about=False),
}
"""Every command, by when it is needed."""


def help_text(command: str) -> str:
    """Return the help, in mrkdwn, in lines that fit a phone."""
    lines = [f"*{command}* …"]
    for group in dict.fromkeys(usage.group for usage in USAGE.values()):
        lines.append(f"*{group}*")
        lines += [f"`{usage.how}` {usage.what}" for usage in USAGE.values() if usage.group == group]
    lines.append("In an incident's channel it is about that one; elsewhere put `inc-7` first.")
    return "\n".join(lines)
