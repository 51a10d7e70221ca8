"""What a channel is furnished with besides its header: topic, links, who is called to it. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from bot.chat import limits
from bot.chat.kit import Json, Part
from bot.chat.words import clean, said
from bot.domain.config import Config
from bot.domain.incident import Incident

RUNBOOKS = 3
"""So many runbooks are linked: an incident of many alerts has one page for them all in the console."""
ANNOTATIONS = ("runbook_url", "runbook")
OURS = "SEV-"
"""Every topic of ours begins so; one that does not is somebody's own, and stays."""
_LONGEST = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A bookmark."""

    title: str
    url: str
    emoji: str


def topic(incident: Incident) -> str:
    """Return `SEV-1 open · oracle · what it is about`, escaped, in at most 250 characters."""
    about = [said(text, most) for text, most in ((incident.avs or "", 60), (incident.summary, 150)) if text]
    return limits.cut(" · ".join([standing(incident), *about]), limits.TOPIC)


def standing(incident: Incident) -> str:
    """Return what a topic begins with: only a change of this is worth the message that a new topic makes."""
    return f"{incident.severity} {incident.status.value}"


def links(
    incident: Incident, alerts: Iterable[Mapping[str, object]], config: Config, public_url: str | None
) -> tuple[Link, ...]:
    """Return the channel's bookmarks; `alerts` are the incident's as they came.

    A runbook's address comes with the alert, so it is only followed to hosts that the operator named, or to our own.
    """
    found: list[Link] = []
    if public_url:
        page = f"{public_url.rstrip('/')}/console/{incident.id}"
        found += [
            Link(title="Console", url=page, emoji=":bar_chart:"),
            Link(title="Evidence", url=f"{page}#evidence", emoji=":file_cabinet:"),
        ]
    hosts = {*config.policy.runbook_hosts, *([urlsplit(public_url).netloc.lower()] if public_url else [])}
    books: dict[str, Link] = {}
    for alert in alerts:
        url = _runbook(alert, hosts)
        if url and len(books) < RUNBOOKS:
            title = limits.cut(f"Runbook {clean(str(alert.get('name') or ''), 60)}".strip(), 80)
            books.setdefault(url, Link(title=title, url=url, emoji=":book:"))
    return (*books.values(), *found)


def _runbook(alert: Mapping[str, object], hosts: Iterable[str]) -> str | None:
    """Return an alert's runbook if it is a plain address on one of `hosts`."""
    annotations = alert.get("annotations")
    for name in ANNOTATIONS if isinstance(annotations, Mapping) else ():
        url = str(annotations.get(name) or "") if isinstance(annotations, Mapping) else ""
        try:
            parts = urlsplit(url)
        except ValueError:
            continue
        plain = url.isascii() and url.isprintable() and not set(url) & set(' \\<>|"') and len(url) <= _LONGEST
        # The whole of what stands before the path is compared, so no user name can pose as the host.
        if plain and parts.scheme in {"https", "http"} and parts.netloc.lower() in hosts:
            return url
    return None


def groups_line(incident: Incident, config: Config) -> list[Part]:
    """Return mentions of the user groups that policy.yaml has called for this severity; empty when there are none."""
    groups = config.policy.paging.slack_groups.get(incident.severity, ())
    parts: list[Part] = []
    for group in dict.fromkeys(groups):
        mention: Json = {"type": "usergroup", "usergroup_id": group}
        parts += [mention, " "]
    return parts[:-1]
