"""docs/drivers.md: what each driver proves and what it cannot know, from the drivers' own declarations. Pure."""

from collections.abc import Iterator, Mapping

from bot.domain.inventory import Capability
from bot.ports import Traits

VERBS: Mapping[Capability, str] = {
    Capability.SIGNER: "freeze",
    Capability.ROUTER: "isolate",
    Capability.DEPLOYER: "rollback",
    Capability.RECORDER: "capture",
    Capability.THROTTLE: "throttle",
}
GUIDES: Mapping[str, str] = {
    **dict.fromkeys(("keymanager", "web3signer", "lighthouse"), "keymanager.md"),
    **dict.fromkeys(("haproxy", "envoy", "signer_gate"), "gates.md"),
    **dict.fromkeys(("kubernetes", "argo_rollouts"), "kubernetes.md"),
    **dict.fromkeys(("beacon", "eigen_node", "journald", "loki", "prometheus", "slashing_protection"), "capture.md"),
    "cerberus": "cerberus.md",
    "docker": "rollback-docker.md",
    "http": "http-driver.md",
    "sidecar": "sidecar.md",
}
"""The page in docs/ that explains a driver's options."""
HEAD = """# Drivers

A driver speaks one node API; `inventory.yaml` names one for each capability of a node, and several recorders where
there are several sources. This page is made of what the drivers themselves declare
(`stopsign nodes drivers --markdown`), and a test compares it with them.

**Tier.** `real`: proven against the program named under *tested with*, in this project's own tests. `emulated`: written
from its documentation and proven against an imitation, or against a real program's API without the program. What is
`emulated` is **never automatic**: one person's word is asked for each time, whatever the playbook says. A capture only
reads, and is automatic always.

**Repeats.** `set_state`: a repeat sets the same state again, so that a watch may ask again by itself. `keyed`: a repeat
under the same key does nothing. `at_most_once`: a repeat acts again, and is never sent by the bot alone.
"""


def drivers_page(drivers: Mapping[str, Traits]) -> str:
    """Return the page in Markdown: a table of all, then a section for each."""
    return "\n".join(
        [HEAD, *_table(drivers), "", *(line for name in drivers for line in _section(name, drivers[name]))]
    )


def verbs(traits: Traits) -> str:
    """Return what a driver does, for people: `freeze, capture`."""
    return ", ".join(VERBS[capability] for capability in traits.capabilities)


def _table(drivers: Mapping[str, Traits]) -> Iterator[str]:
    yield "| driver | does | tier | tested with | repeats | reversible |"
    yield "|---|---|---|---|---|---|"
    for name, traits in drivers.items():
        back = "yes" if traits.reversible else "deletes keys" if traits.destructive else "by hand"
        link = f"[`{name}`](#{name})"
        yield f"| {link} | {verbs(traits)} | {traits.tier} | {traits.tested} | `{traits.effect}` | {back} |"


def _section(name: str, traits: Traits) -> Iterator[str]:
    yield f"## {name}"
    yield ""
    yield f"- **Does**: {verbs(traits)}"
    yield f"- **Tested with**: {traits.tested} ({traits.tier})"
    yield f"- **Proves by**: {traits.proves_by}"
    yield f"- **Needs for that**: {traits.needs}"
    yield f"- **Cannot know**: {traits.cannot_know}"
    yield f"- **Blast radius**: {traits.blast_radius}"
    if name in GUIDES:
        yield f"- **Options and setup**: [{GUIDES[name]}]({GUIDES[name]})"
    yield ""
