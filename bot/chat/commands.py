"""The slash command's text → an Order. Pure: what exists is told by `Scene`; what is wrong raises Invalid with help."""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from bot.domain.playbook import Verb
from bot.domain.roles import Role
from bot.domain.severity import Severity
from bot.errors import Invalid

AUDIENCES = ("internal", "stakeholders")
_INCIDENT = re.compile(r"inc-?(\d{1,9})", re.IGNORECASE | re.ASCII)
_NODE_LIKE = re.compile(r"[a-z][a-z0-9]*([-_.][a-z0-9]+)*[-_.]?\d+", re.IGNORECASE | re.ASCII)
_ANYBODY = re.compile(r"\*|all|any|fleet|everything", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Where a command was typed: the channel's own incident, the live ones, and the names that exist."""

    here: int | None = None
    live: tuple[int, ...] = ()
    avs: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """One command for people: how it is typed, what it does, whether it is about an incident."""

    how: str
    what: str
    parse: Callable[[Order, list[str], Scene], Order]
    about: bool = True
    group: str = field(default="")


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
        order = replace(order, incident=_meant(incident, scene, name))
    return usage.parse(order, words[1:], scene)


def _incident(words: list[str]) -> tuple[int | None, list[str]]:
    """Take `inc-7` out of the first or second place."""
    for place in (0, 1):
        if len(words) > place and (found := _INCIDENT.fullmatch(words[place])):
            return int(found[1]), words[:place] + words[place + 1 :]
    return None, words


def _meant(given: int | None, scene: Scene, name: str) -> int:
    if given is not None:
        return given
    if scene.here is not None:
        return scene.here
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


def _status(order: Order, words: list[str], scene: Scene) -> Order:
    if words and words[0].casefold() in AUDIENCES:
        return replace(order, audience=words[0].casefold(), text=" ".join(words[1:]))
    return _text(order, words, scene)


def _approve(order: Order, words: list[str], scene: Scene) -> Order:
    reject = order.name == "reject" or bool(words and words[0].casefold() in {"reject", "no"})
    rest = words[1:] if reject and order.name != "reject" else words
    return replace(order, name="approve", reject=reject, text=" ".join(rest))


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


def _waive(order: Order, words: list[str], scene: Scene) -> Order:
    """Read a verb, then targets and a reason."""
    if not words or words[0].casefold() not in WAIVABLE:
        raise Invalid(f"Say what is waived: `{USAGE['waive'].how}`.", where="verb")
    return replace(_step(replace(order, verb=Verb(words[0].casefold())), words[1:], scene), name="waive")


WAIVABLE = ("capture", "isolate", "rollback", "throttle")


def _near(word: str, scene: Scene) -> str | None:
    return next(iter(difflib.get_close_matches(word, scene.nodes, n=1, cutoff=0.8)), None)


def _usage(how: str, what: str, parser: Callable[[Order, list[str], Scene], Order], **more: bool) -> Usage:
    return Usage(how=how, what=what, parse=parser, **more)  # type: ignore[arg-type]


USAGE: Mapping[str, Usage] = {
    "declare": _usage("declare SEV-1 oracle what is wrong", "open an incident", _declare, about=False),
    "list": _usage("list", "what is open", _bare, about=False),
    "show": _usage("show inc-7", "one incident", _bare),
    "ack": _usage("ack", "I am on it; paging stops", _bare),
    "role": _usage("role me ic", "take or give a role", _role),
    "sev": _usage("sev SEV-2 why", "raise or lower", _sev),
    "status": _usage("status text", "say how it stands", _status),
    "freeze": _usage("freeze seq-01 why", "stop signing", _step),
    "capture": _usage("capture seq-01", "save evidence", _step),
    "isolate": _usage("isolate seq-01", "out of traffic", _step),
    "rollback": _usage("rollback seq-01", "to the last good build", _step),
    "approve": _usage("approve", "agree to what waits", _approve),
    "reject": _usage("reject why", "say no to it", _approve),
    "unfreeze": _usage("unfreeze seq-01", "sign again; two people", _step),
    "restore": _usage("restore seq-01", "back into traffic", _step),
    "waive": _usage("waive capture seq-03 because why", "go on without it", _waive),
    "contained": _usage("contained why", "IC: no harm any more", _needed),
    "note": _usage("note text", "into the timeline; or 📌", _needed),
    "timeline": _usage("timeline", "the last entries", _bare),
    "resolve": _usage("resolve how it ended", "IC: it is over", _text),
    "postmortem": _usage("postmortem", "where the draft is", _bare),
    "halt": _usage("halt why", "stop all automation", _text, about=False),
    "rearm": _usage("rearm", "start it again; two people", _bare, about=False),
    "help": _usage("help", "this", _bare, about=False),
}
"""Every command, in the order in which they are needed at night."""


def help_text(command: str) -> str:
    """Return the help, in mrkdwn, in lines that fit a phone."""
    lines = [f"*{command}* …"]
    lines += [f"`{usage.how}` {usage.what}" for usage in USAGE.values()]
    lines.append("In an incident's channel it is about that one; elsewhere put `inc-7` first.")
    return "\n".join(lines)
