"""Another Slack, not ours: npm's `emulate` answers what the bot sent, and must agree with the practice workspace."""

import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from bot.chat import __file__ as chat
from tests.chat.conftest import ACCOUNTS
from tests.conformance import node

Json = dict[str, Any]
TOKEN, READER = "xoxb-emulated", "xoxb-may-look-at-everything"
ME = {"app_id": "A0STOPSIGN", "bot_id": "B0STOPSIGN", "bot_user_id": "U0STOPSIGN"}
CHANNELS = ("general", "incidents", "avs-operators")
_ID = re.compile(r"[A-Z][A-Za-z0-9]{5,}|\d{9,}\.\d+")


@contextmanager
def running() -> Iterator[httpx.Client]:
    """Run emulate's Slack with our people, channels and scopes; yield a client of it."""
    node.installed()
    process = subprocess.Popen(
        [node.program("node"), str(node.HERE / "emulate.mjs"), json.dumps(_seed())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=node.environment(),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        url = json.loads(process.stdout.readline())["url"].replace("localhost", "127.0.0.1")
        with httpx.Client(base_url=url, trust_env=False) as client:
            yield client
    finally:
        process.stdin.close()
        process.wait(timeout=20)
        process.stdout.close()


def _seed() -> Json:
    """Return the workspace: a token of the bot that has exactly the manifest's scopes, which are enforced."""
    manifest = yaml.safe_load((Path(chat).parent / "manifest.yaml").read_text(encoding="utf-8"))
    scopes = manifest["oauth_config"]["scopes"]["bot"]
    app = {"client_id": "1.2", "client_secret": "none", "name": "Stopsign", "redirect_uris": [], "bot_name": "stopsign"}
    return {
        "users": [{"name": person.name, "real_name": person.real_name} for person in ACCOUNTS],
        "channels": [{"name": name} for name in CHANNELS],
        "oauth_apps": [{**app, **ME, "scopes": scopes}],
        "tokens": [
            {"token": TOKEN, "type": "bot", "user_id": ME["bot_user_id"], "scopes": scopes, **ME},
            {"token": READER, "type": "bot", "user_id": ME["bot_user_id"], **ME},
        ],
        "strict_scopes": True,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One call that the two answered differently: `ours` and `theirs` are `ok` or the error's word."""

    method: str
    ours: str
    theirs: str
    body: Json = field(hash=False)

    @property
    def key(self) -> tuple[str, str, str]:
        """Return what a table of known differences is asked for."""
        return self.method, self.ours, self.theirs


class Replay:
    """Sends recorded calls again, each id of the practice workspace translated into emulate's."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._names: dict[str, str] = {}
        self.sent: Counter[str] = Counter()

    def prepare(self, calls: Iterable[Json]) -> None:
        """Learn whom and which channels recorded calls mean, by name; join the channels that are there."""
        people = {person["name"]: person["id"] for person in self.call("users.list", {})["members"]}
        self._names = {person.id: people[person.name] for person in ACCOUNTS}
        rooms = {room["name"]: room["id"] for room in self.call("conversations.list", {})["channels"]}
        for room in (r for x in calls if x["method"] == "conversations.list" for r in x["answer"]["channels"]):
            if room["name"] in rooms:
                self._names[room["id"]] = rooms[room["name"]]
        for id_ in rooms.values():
            assert self.call("conversations.join", {"channel": id_})["ok"]

    def call(self, method: str, body: Mapping[str, Any], *, token: str = TOKEN) -> Json:
        """Call a method, and return the answer; a method that is not there is `not_emulated`."""
        answer = self._client.post(f"/api/{method}", json=dict(body), headers={"authorization": f"Bearer {token}"})
        if answer.status_code == httpx.codes.NOT_FOUND:
            return {"ok": False, "error": "not_emulated"}
        found: Json = answer.json()
        return found

    def again(self, line: Json) -> Difference | None:
        """Send one recorded call; return how the answers differ, if they do."""
        method, ours = str(line["method"]), line["answer"]
        body = self.translated(line["body"])
        if method == "views.open":
            body["trigger_id"] = self.call("views.generateTriggerId", {"user_id": self._names["U0ADA"]})["trigger_id"]
        theirs = self.call(method, body)
        self.sent[method] += 1
        self._learn(ours, theirs)
        if method == "files.getUploadURLExternal" and theirs.get("ok"):
            path = httpx.URL(theirs["upload_url"]).path
            self._client.post(path, content=b"x" * int(body["length"])).raise_for_status()
        said = "ok" if ours.get("ok") else str(ours.get("error")), "ok" if theirs["ok"] else str(theirs.get("error"))
        return None if said[0] == said[1] else Difference(method=method, ours=said[0], theirs=said[1], body=body)

    def translated(self, value: Any) -> Any:
        """Return a body with the practice workspace's ids as emulate's."""
        if isinstance(value, dict):
            return {key: self.translated(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.translated(item) for item in value]
        if isinstance(value, str):
            return ",".join(self._names.get(word, word) for word in value.split(","))
        return value

    def _learn(self, ours: Any, theirs: Any) -> None:
        """Pair the ids of two answers; lists may be in another order, so only single items are paired."""
        if isinstance(ours, dict) and isinstance(theirs, dict):
            for key in ours.keys() & theirs.keys():
                self._learn(ours[key], theirs[key])
        elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs) == 1:
            self._learn(ours[0], theirs[0])
        elif isinstance(ours, str) and isinstance(theirs, str) and _ID.fullmatch(ours) and _ID.fullmatch(theirs):
            self._names.setdefault(ours, theirs)
