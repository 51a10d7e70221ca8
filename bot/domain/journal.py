"""The journal's entries: what happened, each with its reason. Incidents are folds of these and of nothing else.

Bodies hold strings, whole numbers, booleans, times and lists or maps of them: no floats, so that their canonical
bytes never differ between machines.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from bot.domain.authority import Actor
from bot.domain.playbook import Needs, Verb
from bot.domain.roles import Role
from bot.domain.severity import Severity
from bot.domain.target import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Anything that can be written down. Its kind is its class's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """An entry in its place: stream (`incident` number, or None for the watch), number `n`, time and author."""

    incident: int | None
    n: int
    at: datetime
    by: Actor
    entry: Entry
    leaf: int | None = None


# ---- the incident and its alerts


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentOpened(Entry):
    key: str
    severity: Severity
    summary: str
    avs: str | None
    playbook: str
    reason: str
    declared: bool = False
    recurrence_of: int | None = None
    drill: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSeen:
    """One alert's change: `fired`, `resolved`, or `missed` (it resolved before we heard that it fired)."""

    fingerprint: str
    starts_at: str
    change: str
    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    suspects: tuple[str, ...] = ()
    unresolved: tuple[str, ...] = ()
    own_effect: bool = False
    safety: bool = False
    runbook: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertsJoined(Entry):
    alerts: tuple[AlertSeen, ...]
    reason: str
    truncated: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SeverityChanged(Entry):
    was: Severity
    now: Severity
    reason: str
    playbook: str | None = None
    """The playbook that rules from now on, when it changes."""
    summary: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged(Entry):
    person: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteAdded(Entry):
    text: str
    source: str
    author: str | None = None
    """Who wrote the text, when another person pinned it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteChanged(Entry):
    """The message that a note was taken from was edited or, with `text` None, deleted; the note itself stays."""

    source: str
    text: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contained(Entry):
    reason: str
    by_hand: bool = False
    """True when the IC says so without proof."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reopened(Entry):
    reason: str
    was: str = "contained"
    """The status that ended: `contained`, `resolved` or `closed`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remaining:
    """A target that is not known to sign freely or to be healthy when the incident is resolved; somebody owns it."""

    node: str
    state: State
    owner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved(Entry):
    summary: str
    remaining: tuple[Remaining, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed(Entry):
    """Nothing is left to do but the actions: the channel is archived after a while."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRefused(Entry):
    command: str
    reason: str
    account: str | None = None
    """The account that asked, when nobody in team.yaml stands behind it."""


# ---- people


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleTaken(Entry):
    role: Role
    person: str
    how: str
    """`assigned` from on-call, `taken`, or `handed over`."""
    was: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleAsked(Entry):
    role: Role
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Paged(Entry):
    page: str
    """The page's id within the incident, unguessable: the Ack button carries it."""
    people: tuple[str, ...]
    level: int
    reason: str
    approval: str | None = None
    """The request with which one person goes on alone, when the page is about that."""
    cause: str = ""
    """What such pages have in common: what goes wrong for the same cause soon after is paged together."""
    nodes: tuple[str, ...] = ()
    """The targets that the page is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PagingExhausted(Entry):
    reason: str


# ---- steps and targets


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPlanned(Entry):
    """A step may run: nothing was sent yet."""

    step: str
    verb: Verb
    targets: tuple[str, ...]
    needs: Needs
    reason: str
    automatic: bool
    approval: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetsHeld(Entry):
    """Targets for which nothing is sent until a person decides."""

    verb: Verb
    targets: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalAsked(Entry):
    """`digest` binds action, targets, parameters and incident; `given` counts the requester when there is one."""

    approval: str
    verb: Verb
    targets: tuple[str, ...]
    parameters: Mapping[str, str]
    digest: str
    needs: Needs
    requester: str | None
    reason: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalGiven(Entry):
    approval: str
    person: str
    complete: bool
    until: datetime
    """When `complete`, until when the step may begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GlassBroken(Entry):
    """One person goes on alone where two are needed: it happens at `acts_at` unless somebody rejects it before."""

    approval: str
    person: str
    reason: str
    acts_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalEnded(Entry):
    """The request is over without effect: `rejected`, `expired` or `void` (what it was bound to has changed)."""

    approval: str
    how: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSkipped(Entry):
    verb: Verb
    targets: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStarted(Entry):
    """The intents are committed: from here on a request may have left."""

    step: str
    verb: Verb
    targets: tuple[str, ...]
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetReport:
    """What is now known of one target."""

    node: str
    state: State
    detail: str
    item: str | None = None
    already: bool = False
    """True when the node says that it was so before we asked."""
    watched: bool = False
    """True when the report comes from the watch over a freeze itself, which goes on by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetsReported(Entry):
    step: str
    verb: Verb
    reports: tuple[TargetReport, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished(Entry):
    step: str
    verb: Verb
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofRevoked(Entry):
    node: str
    state: State
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeRepeated(Entry):
    """The intent of sending a freeze again to a target that is not proven stopped."""

    node: str
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Waived(Entry):
    verb: Verb
    node: str
    reason: str


# ---- evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceKept(Entry):
    """Custody of one item (NIST SP 800-86, ISO 27037): what, whence, by whom and what, when by which clock, why."""

    item: str
    sha256: str
    size: int
    media_type: str
    what: str
    node: str | None
    source: str
    collector: str
    tool: str
    collected_at: datetime
    clock: str
    window_from: datetime | None
    window_to: datetime | None
    reason: str
    marks: Mapping[str, str] = field(default_factory=dict)
    """What later decisions need of the content: `highest:<mark>` → how far a key has come (`protection.py`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceMissing(Entry):
    what: str
    node: str | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceExported(Entry):
    """The last record of an export: how many records of the stream it holds, this one included, and which items."""

    records: int
    items: tuple[str, ...]
    reason: str
    withheld: tuple[str, ...] = ()
    """SHA-256 of items whose record is in the pack and whose content is not."""
    redacted: tuple[str, ...] = ()
    """The rules by which fields were hidden."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceSealed(Entry):
    """The manifest of a pack is final; `exported` is the number of the EvidenceExported that the pack ends with."""

    exported: int
    manifest: str
    """SHA-256 of `manifest-sha256.txt`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRead(Entry):
    """Somebody looked at an item's content."""

    item: str
    sha256: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceFound(Entry):
    """What the items say when they are compared: `equivocation`, `key-shared`, `counter-fell`, `counter-gap`."""

    finding: str
    """Which one, the same each time that it is found: kind, key and duty."""
    kind: str
    text: str
    items: tuple[str, ...]
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceExpired(Entry):
    """An item's content was removed after its time; its hash stays."""

    item: str
    sha256: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldPlaced(Entry):
    """Legal hold: nothing of the incident's evidence expires."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldLifted(Entry):
    reason: str


# ---- status, documents, chat


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusPrompted(Entry):
    prompt: str
    audience: str
    marks: tuple[str, ...]
    """Which clock marks it covers, such as `15 min`; several when late ones were collapsed."""
    due_at: datetime
    asked: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptEscalated(Entry):
    prompt: str
    level: int
    asked: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusGiven(Entry):
    prompt: str | None
    audience: str
    text: str
    person: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PostmortemDrafted(Entry):
    item: str
    sha256: str
    due_on: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionAdded(Entry):
    action: str
    text: str
    owner: str
    due_on: str | None = None
    origin: str = "person"
    """`person`, or `resolve` for what is left behind when an incident is resolved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionDone(Entry):
    action: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelOpened(Entry):
    channel: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelArchived(Entry):
    channel: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderPosted(Entry):
    ts: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkBuried(Entry):
    work: str
    kind: str
    reason: str


# ---- the watch: what belongs to no incident


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertIgnored(Entry):
    name: str
    fingerprint: str
    starts_at: str
    status: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AutomationHalted(Entry):
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRotated(Entry):
    """From the next checkpoint on the log is signed with another key; this one is signed with both."""

    was: str
    """The verifier keys (C2SP signed note)."""
    now: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorLost(Entry):
    """An anchor outside our reach does not take checkpoints; evidence is accepted all the same."""

    anchor: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorBack(Entry):
    """An anchor has caught up, with a checkpoint over `size` leaves."""

    anchor: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RearmAsked(Entry):
    approval: str
    person: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AutomationRearmed(Entry):
    approval: str
    people: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSpent(Entry):
    avs: str
    nodes: tuple[str, ...]
    incident: str


KINDS: Mapping[str, type[Entry]] = {cls.__name__: cls for cls in Entry.__subclasses__()}
"""Every kind of entry by its name. An old name is never given to something else."""
