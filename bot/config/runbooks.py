"""runbooks/<AlertName>.md → Runbook: YAML front matter for the bot, four headings for people."""

import re
from collections.abc import Mapping

from bot.config.sheet import Sheet, did_you_mean, duration
from bot.config.yaml_tree import Tree
from bot.domain.runbook import Runbook

HEADINGS = ("Meaning", "Impact", "Diagnosis", "Mitigation")
ALERT = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,79}", re.ASCII)
PLACEHOLDERS = ("avs", "not_frozen", "deadline_objective")

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_KEYS = (
    *("expr", "for", "severity", "labels", "annotations", "correlate", "playbook", "matchers", "suspects", "persists"),
    *("safety", "heartbeat", "caused_by_freeze"),
)
_FENCE = re.compile(rb"^---[ \t]*\r?$", re.MULTILINE)


def read_runbook(name: str, alert: str, content: bytes) -> tuple[Runbook | None, list[str]]:
    """Return the runbook of `alert` from its file's `content`, and what is wrong with it; `name` is for messages."""
    fences = [found.span() for found in _FENCE.finditer(content)][:2]
    if len(fences) < 2 or fences[0][0] != 0:
        return None, [f"{name}:1: has no front matter: begin with a line ---, the alert's fields, and a line --- again"]
    sheet = Sheet.of(name, content[fences[0][1] + 1 : fences[1][0]], first_line=2)
    body = content[fences[1][1] :].decode("utf-8", errors="replace").strip()
    if not ALERT.fullmatch(alert):
        sheet.say((), "has a name that no alert can have: call the file AlertName.md")
    title = _check_body(sheet, body)
    runbook = _read(sheet, alert, title, body) if sheet.readable else None
    return runbook, sheet.problems


def _check_body(sheet: Sheet, body: str) -> str:
    """Return the title, saying which of the headings are missing or out of order."""
    titles = re.findall(r"^# (.+)$", body, re.MULTILINE)
    if not titles:
        sheet.say(("title",), "is required: begin the text with '# What is wrong, in a few words'")
    headings = [h for h in re.findall(r"^## (.+?)\s*$", body, re.MULTILINE) if h in HEADINGS]
    if headings != list(HEADINGS):
        sheet.say(
            ("text",), f"must have the headings {', '.join('## ' + h for h in HEADINGS)}, once each, in this order"
        )
    return titles[0].strip() if titles else ""


def _read(sheet: Sheet, alert: str, title: str, body: str) -> Runbook | None:
    fields = sheet.mapping(sheet.tree, (), known=_KEYS)
    hold = _hold(sheet, fields.pop("for", None))
    runbook = sheet.read(Runbook, fields, (), alert=alert, title=title, body=body, hold=hold)
    if runbook is None:
        return None
    _check_labels(sheet, runbook)
    _check_suspects(sheet, runbook)
    if re.search(r'(?<!!~")\$not_frozen|\$not_frozen(?!")', runbook.persists or ""):
        sheet.say(("persists",), '$not_frozen is a regular expression: write signer!~"$not_frozen"')
    for word in re.findall(r"\$(\w+)", runbook.persists or ""):
        if word not in PLACEHOLDERS:
            sheet.say(("persists",), f"${word} is not known" + did_you_mean(word, PLACEHOLDERS))
    return runbook


def _hold(sheet: Sheet, written: Tree) -> str | None:
    if written is None:
        return None
    try:
        duration(str(written))
    except ValueError as error:
        sheet.say(("for",), str(error))
    return str(written)


def _check_labels(sheet: Sheet, runbook: Runbook) -> None:
    if "severity" not in runbook.labels:
        sheet.say(("labels",), "must have severity: write {severity: page}, ticket or none")
    named: Mapping[str, Mapping[str, str]] = {
        "labels": runbook.labels,
        "annotations": runbook.annotations,
        "matchers": runbook.matchers,
    }
    for field, labels in named.items():
        for label in labels:
            if not _LABEL.fullmatch(label) or label == "alertname":
                sheet.say((field, label), "is not a label's name: use letters, digits and _")
    if "summary" not in runbook.annotations:
        sheet.say(("annotations",), "must have summary: one line that is read first on a phone")


def _check_suspects(sheet: Sheet, runbook: Runbook) -> None:
    for label in (*runbook.suspects.by, *runbook.correlate):
        if not _LABEL.fullmatch(label):
            sheet.say(("suspects",), f"{label!r:.60} is not a label's name: use letters, digits and _")
    if runbook.safety and not runbook.suspects.by:
        sheet.say(("suspects",), "must name targets, because a safety runbook may freeze: write by: {signer: name}")
    if runbook.safety and runbook.heartbeat:
        sheet.say(("safety",), "cannot be true for a heartbeat: remove one of the two")
