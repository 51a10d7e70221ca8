"""A recorder of everything that the bot sends to Slack in a test session: one JSON line for each.

It stands between the bot's client and slack_sdk, and around the door at which Slack's requests are answered, so it sees
what leaves after redaction. What tests send to the practice workspace by themselves is none of its business.
"""

import json
import os
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse
from slack_sdk.webhook import WebhookResponse
from slack_sdk.webhook.async_client import AsyncWebhookClient

from bot.chat import client, guard

Json = dict[str, Any]
RESPONSE, ACK, SUBMISSION = "response_url", "ack", "view_submission"
"""What is not a Web API method: a body for a response address, an acknowledgement, a form's acknowledgement."""


class Recorder:
    """Writes lines `{"test", "method", "body", "answer"}`; `answer` is what came back, or None when nothing did."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a", encoding="utf-8")

    def write(self, method: str, body: Mapping[str, Any], answer: object = None) -> None:
        """Write one line, now: whoever reads the file sees it."""
        test = os.environ.get("PYTEST_CURRENT_TEST", "").partition(" ")[0]
        line = {"test": test, "method": method, "body": body, "answer": answer}
        self._file.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")
        self._file.flush()

    def lines(self) -> list[Json]:
        """Return everything that was written so far, by this process and by others into the same folder."""
        paths = [*sorted(set(self.path.parent.glob("sent-*.jsonl")) - {self.path}), self.path]
        return [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@contextmanager
def recording(path: Path) -> Iterator[Recorder]:
    """Record into `path` what the bot sends from now on."""
    recorder = Recorder(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "AsyncWebClient", _web(recorder))
        patch.setattr(client, "AsyncWebhookClient", _hook(recorder))
        patch.setattr(guard.SlackGuard, "__call__", _door(recorder))
        try:
            yield recorder
        finally:
            recorder.close()


def _web(recorder: Recorder) -> type[AsyncWebClient]:
    """Return slack_sdk's client that records each Web API method with its arguments as slack_sdk has them."""

    class Recording(AsyncWebClient):
        async def api_call(self, api_method: str, **how: Any) -> AsyncSlackResponse:
            given = {**(how.get("params") or {}), **(how.get("data") or {}), **(how.get("json") or {})}
            try:
                answer = await super().api_call(api_method, **how)
            except SlackApiError as error:
                recorder.write(api_method, plain(given), getattr(error.response, "data", None))
                raise
            except BaseException:
                recorder.write(api_method, plain(given))
                raise
            recorder.write(api_method, plain(given), answer.data)
            return answer

    return Recording


def _hook(recorder: Recorder) -> type[AsyncWebhookClient]:
    """Return slack_sdk's client of response addresses that records each body."""

    class Recording(AsyncWebhookClient):
        async def send_dict(self, body: Json, headers: dict[str, str] | None = None) -> WebhookResponse:
            recorder.write(RESPONSE, body)
            return await super().send_dict(body, headers)

    return Recording


def _door(recorder: Recorder) -> Any:
    """Return the guard's call that records what acknowledgements carry."""
    serve = guard.SlackGuard.__call__

    async def served(self: Any, scope: Any, receive: Any, send: Any) -> None:
        asked, told, status = bytearray(), bytearray(), 0

        async def heard() -> MutableMapping[str, Any]:
            message: MutableMapping[str, Any] = await receive()
            asked.extend(message.get("body", b""))
            return message

        async def said(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            status = message.get("status", status)
            told.extend(message.get("body", b""))
            await send(message)

        await serve(self, scope, heard, said)
        if status == 200 and told.startswith(b"{") and (kind := asked_for(bytes(asked))):
            recorder.write(kind, json.loads(told))

    return served


def asked_for(body: bytes) -> str | None:
    """Return as what the answer to a request of Slack's is to be judged, or None for what is no acknowledgement."""
    form = parse_qs(body.decode("utf-8", "replace"))
    if "command" in form:
        return ACK
    try:
        payload = json.loads(form.get("payload", ["{}"])[0])
    except ValueError:
        return None
    kinds = {"view_submission": SUBMISSION, "block_actions": ACK, "shortcut": ACK, "message_action": ACK}
    return kinds.get(str(payload.get("type"))) if isinstance(payload, dict) else None


def plain(arguments: Mapping[str, Any]) -> Json:
    """Return arguments as JSON values: without nothing, and with what slack_sdk had made JSON text of undone."""
    return {key: _undone(value) for key, value in arguments.items() if value is not None}


def _undone(value: Any) -> Any:
    if isinstance(value, str) and value[:2] in {"[{", '{"'}:
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value
