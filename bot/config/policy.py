"""policy.yaml → Policy: every field may be left out, and then its default holds."""

import re
from collections.abc import Mapping
from dataclasses import fields as fields_of
from datetime import timedelta

from holidays import list_supported_countries

from bot.config.sheet import Sheet
from bot.config.yaml_tree import Place, Tree
from bot.domain.policy import Cadence, Evidence, Policy
from bot.domain.severity import Severity

CHANNEL = re.compile(r"[a-z0-9][a-z0-9_-]{0,79}", re.ASCII)
_GROUP = re.compile(r"S[A-Z0-9]{4,20}", re.ASCII)
_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*(:\d{1,5})?", re.ASCII)
_NOT_A_CHOICE = ("scale",)  # set by demo and drills
_LONGEST = timedelta(days=28)
LEAST_RETENTION = timedelta(days=90)
_LONGEST_RETENTION = timedelta(days=36500)
ANCHORS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "rfc3161": (frozenset({"url", "roots"}), frozenset()),
    "http": (frozenset({"url"}), frozenset({"token"})),
    "s3": (frozenset({"url"}), frozenset({"retention"})),
    "slack": (frozenset({"channel"}), frozenset()),
}
"""Kinds of anchors, with the fields that they need and those that they may have."""
_HTTP = re.compile(r"https?://[^\s@?#]+", re.ASCII)
_ANCHOR_URL = {"rfc3161": _HTTP, "http": _HTTP, "s3": re.compile(r"s3://[a-z0-9.-]{3,63}(/[^\s]*)?", re.ASCII)}


def read_policy(sheet: Sheet) -> Policy:
    """Return the choices in `sheet`; what is wrong with it is said there, and the default taken instead.

    `internal` and `stakeholders` name only the severities that differ: the others keep their cadence.
    """
    policy = sheet.read(Policy, sheet.mapping(sheet.tree, ()), (), without=_NOT_A_CHOICE)
    if policy is None:
        return Policy()
    default = Policy()
    cadences = {
        "internal": {**default.internal, **policy.internal},
        "stakeholders": {**default.stakeholders, **policy.stakeholders},
    }
    changed = {f.name: getattr(policy, f.name) for f in fields_of(Policy)} | cadences
    merged = Policy(**changed)
    _check_durations(sheet, merged)
    _check_paging(sheet, merged)
    _check_shares(sheet, merged)
    _check_names(sheet, merged)
    _check_evidence(sheet, merged.evidence)
    return merged


def _check_durations(sheet: Sheet, policy: Policy) -> None:
    places: dict[Place, timedelta] = {}
    for part, prefix in ((policy, ()), (policy.paging, ("paging",)), (policy.budget, ("budget",))):
        for f in fields_of(part):
            value = getattr(part, f.name)
            if isinstance(value, timedelta):
                places[(*prefix, f.name)] = value
    for name, cadences in (("internal", policy.internal), ("stakeholders", policy.stakeholders)):
        for severity, cadence in cadences.items():
            places[(name, _written(sheet, severity, name), "every")] = cadence.every
            _check_moments(sheet, cadence, (name, _written(sheet, severity, name), "at"))
    for place, value in places.items():
        if not timedelta() < value <= _LONGEST:
            sheet.say(place, "must be longer than 0 and at most 28d")


def _written(sheet: Sheet, severity: Severity, *place: str) -> str:
    """Return the key under which the operator wrote `severity` at `place`."""
    tree: Tree = sheet.tree
    for name in place:
        tree = tree.get(name) if isinstance(tree, dict) else None
    for key in tree if isinstance(tree, dict) else ():
        if Severity.parse(key) is severity:
            return key
    return str(severity)


def _check_moments(sheet: Sheet, cadence: Cadence, place: Place) -> None:
    if any(moment <= timedelta() for moment in cadence.at) or list(cadence.at) != sorted(set(cadence.at)):
        sheet.say(place, "must rise from entry to entry: write [15m, 30m, 60m]")


def _check_paging(sheet: Sheet, policy: Policy) -> None:
    paging = policy.paging
    if not paging.page:
        sheet.say(("paging", "page"), "is empty, so nothing would ever page: write [page, critical]")
    seen: dict[str, str] = {}
    for name, labels in (("page", paging.page), ("ticket", paging.ticket), ("beat", paging.beat)):
        for label in sorted(labels):
            if label in seen:
                sheet.say(("paging", name), f"{label!r} also stands under {seen[label]}: keep it in one list")
            seen.setdefault(label, name)
    if paging.rounds < 1:
        sheet.say(("paging", "rounds"), "must be at least 1")
    for severity, groups in paging.slack_groups.items():
        for i, group in enumerate(groups):
            if not _GROUP.fullmatch(group):
                key = _written(sheet, severity, "paging", "slack_groups")
                sheet.say(
                    ("paging", "slack_groups", key, i), "must be a user group's id, not its handle: write S0123ABCD"
                )


def _check_shares(sheet: Sheet, policy: Policy) -> None:
    if not 0 <= policy.budget.fraction <= 1:
        sheet.say(("budget", "fraction"), "must be a share between 0 and 1: write 0.05 for 5 %")
    if policy.budget.at_least < 0:
        sheet.say(("budget", "at_least"), "must be 0 or more")
    if not 0 < policy.deadline_objective < 1:
        sheet.say(("deadline_objective",), "must be a share between 0 and 1: write 0.0005 for 0.05 %")
    least = {"proof_windows": policy.proof_windows, "unfreeze_windows": policy.unfreeze_windows}
    for name, count in {**least, "postmortem_days": policy.postmortem_days}.items():
        if not 1 <= count <= 1000:
            sheet.say((name,), "must be a whole number from 1 to 1000")


def _check_evidence(sheet: Sheet, evidence: Evidence) -> None:
    if not LEAST_RETENTION <= evidence.retention <= _LONGEST_RETENTION:
        sheet.say(("evidence", "retention"), "must be at least 90d and at most 36500d: disputes come late")
    if not timedelta(minutes=1) <= evidence.anchor_every <= _LONGEST:
        sheet.say(("evidence", "anchor_every"), "must be from 1m to 28d")
    names = [one.name for one in evidence.anchors]
    for i, one in enumerate(evidence.anchors):
        place: Place = ("evidence", "anchors", i)
        if not CHANNEL.fullmatch(one.name) or names.index(one.name) != i:
            sheet.say((*place, "name"), "must be a name in lower case that no other anchor has")
        if one.kind not in ANCHORS:
            sheet.say((*place, "kind"), f"is no kind of anchor: write {', '.join(ANCHORS)}")
            continue
        needed, allowed = ANCHORS[one.kind]
        for field in ("url", "roots", "token", "channel", "retention"):
            given = getattr(one, field) is not None
            if field in needed and not given:
                sheet.say((*place, field), f"is required for an anchor of kind {one.kind}: add it")
            if given and field not in needed | allowed:
                sheet.say((*place, field), f"means nothing for an anchor of kind {one.kind}: remove it")
        if one.url is not None and not _ANCHOR_URL[one.kind].fullmatch(one.url):
            sheet.say((*place, "url"), "must be " + ("s3://bucket/prefix" if one.kind == "s3" else "an http(s) URL"))
        if one.retention is not None and one.retention < LEAST_RETENTION:
            sheet.say((*place, "retention"), "must be at least 90d")


def _check_names(sheet: Sheet, policy: Policy) -> None:
    channels: Mapping[str, str | None] = {
        "incidents_channel": policy.incidents_channel,
        "stakeholder_channel": policy.stakeholder_channel,
    }
    for name, channel in channels.items():
        if channel is not None and not CHANNEL.fullmatch(channel):
            sheet.say((name,), "must be a channel's name in lower case, without #: write incidents")
    for i, host in enumerate(policy.runbook_hosts):
        if not _HOST.fullmatch(host):
            sheet.say(
                ("runbook_hosts", i), "must be a host in lower case, without https:// and path: write docs.example"
            )
    if policy.country is not None and policy.country not in list_supported_countries():
        sheet.say(("country",), "must be an ISO country code in capitals, such as DE or US")
