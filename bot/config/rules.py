"""Runbooks → the rule file that Prometheus loads."""

from collections.abc import Mapping

import yaml

from bot.domain.runbook import Runbook

GROUP = "stopsign"
HEADER = (
    "# Written by `stopsign rules` from runbooks/*.md. Do not edit: change the runbook and write it again.\n"
    "# Scrape targets of signers must carry the labels avs and signer (the node's name in inventory.yaml).\n"
)


class _Writer(yaml.SafeDumper):
    """Write multi-line texts as blocks, so that people can read the expressions."""


def _text(writer: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Writer.add_representer(str, _text)


def prometheus_rules(runbooks: Mapping[str, Runbook], *, runbook_url: str) -> str:
    """Return the rule file for `runbooks` as YAML text, in order of alert names.

    Each rule carries an annotation `runbook_url` (the argument of that name, followed by `/<alert>.md`) and a label
    `sev` (SEV-1, …) by which Alertmanager can route; a heartbeat has none.
    """
    rules = [_rule(runbooks[alert], runbook_url.rstrip("/")) for alert in sorted(runbooks)]
    tree = {"groups": [{"name": GROUP, "rules": rules}]}
    return HEADER + yaml.dump(tree, Dumper=_Writer, sort_keys=False, width=1000, allow_unicode=True)


def _rule(runbook: Runbook, base: str) -> dict[str, object]:
    rule: dict[str, object] = {"alert": runbook.alert, "expr": runbook.expr}
    if runbook.hold is not None:
        rule["for"] = runbook.hold
    rule["labels"] = dict(runbook.labels) if runbook.heartbeat else {**runbook.labels, "sev": str(runbook.severity)}
    rule["annotations"] = {**runbook.annotations, "runbook_url": f"{base}/{runbook.alert}.md"}
    return rule
