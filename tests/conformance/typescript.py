"""Payloads as one TypeScript file, checked against Slack's own types by tsc: a name, a type or an argument too many
fails. Literals, so that excess properties are errors; blocks apart from their message, since `blocks` takes anything
that has a `type` there.
"""

import json
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conformance import node
from tests.conformance.payloads import Payload
from tests.conformance.recorder import ACK, RESPONSE, SUBMISSION

Json = dict[str, Any]
OURS: Mapping[str, str] = {RESPONSE: "Respond", ACK: "Respond", SUBMISSION: "Submitted"}
_ERROR = re.compile(r"^(?P<file>[^()]+)\((?P<line>\d+),\d+\): error (?P<code>TS\d+): (?P<text>.*)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Literal:
    """One value that must be of a type; `whence` is said when it is not."""

    type: str
    value: Any
    whence: str


def type_of(method: str) -> str:
    """Return Slack's name for a method's arguments: `chat.postMessage` → `ChatPostMessageArguments`."""
    return OURS.get(method) or "".join(word[:1].upper() + word[1:] for word in method.split(".")) + "Arguments"


def literals(payloads: Iterable[Payload]) -> list[Literal]:
    """Return what must hold of payloads: their arguments, their views, and each different block, once."""
    found: dict[str, Literal] = {}

    def add(kind: str, value: Any, whence: str) -> None:
        key = f"{kind} {json.dumps(value, sort_keys=True)}"
        found.setdefault(key, Literal(type=kind, value=value, whence=whence))

    for payload in payloads:
        add(type_of(payload.method), payload.body, payload.whence)
        if payload.view is not None:
            kind = {"modal": "ModalView", "home": "HomeView"}.get(str(payload.view.get("type")), "never")
            add(kind, payload.view, payload.whence)
        for block in payload.blocks:
            add("KnownBlock", block, payload.whence)
    return list(found.values())


def check(folder: Path, wanted: Iterable[Literal]) -> dict[str, list[str]]:
    """Run tsc over the literals; return what it says, by each literal's `whence`."""
    every = list(wanted)
    source = _source(every)
    (folder / "payloads.ts").write_text("\n".join(source) + "\n", encoding="utf-8")
    (folder / "tsconfig.json").write_text(json.dumps(_config()), encoding="utf-8")
    (folder / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    link = folder / "node_modules"
    link.symlink_to(node.installed(), target_is_directory=True)
    tsc = str(link / "typescript" / "bin" / "tsc")
    done = subprocess.run(
        [node.program("node"), tsc, "--project", str(folder), "--pretty", "false"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env=node.environment(),
    )
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        if told := _ERROR.match(line):
            at = int(told["line"]) - _FIRST
            whence = every[at].whence if told["file"] == "payloads.ts" and 0 <= at < len(every) else told["file"]
            found.setdefault(whence, []).append(f"{told['code']}: {told['text']}")
    if done.returncode != 0 and not found:
        found["tsc"] = [(done.stdout + done.stderr)[:2000]]
    return found


_HEAD = (
    "import type * as api from '@slack/web-api';",
    "import type * as types from '@slack/types';",
    f"import type * as ours from {json.dumps(str(node.HERE / 'slack.ts'))};",
)
_FIRST = len(_HEAD) + 1


def _source(every: list[Literal]) -> list[str]:
    """Return the file's lines: one literal on each, so that an error's line says which."""
    return [
        *_HEAD,
        *(
            f"export const x{n}: {_qualified(x.type)} = {json.dumps(x.value)};"  # JSON is TypeScript
            for n, x in enumerate(every)
        ),
    ]


def _qualified(kind: str) -> str:
    if kind in OURS.values():
        return f"ours.{kind}"
    return f"api.{kind}" if kind.endswith("Arguments") else kind if kind == "never" else f"types.{kind}"


def _config() -> Json:
    config: Json = json.loads((node.HERE / "tsconfig.json").read_text(encoding="utf-8"))
    config["compilerOptions"]["allowImportingTsExtensions"] = True
    config["compilerOptions"]["typeRoots"] = ["node_modules/@types"]
    return config | {"files": ["payloads.ts"]}
