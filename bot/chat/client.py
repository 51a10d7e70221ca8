"""Slack's Web API behind one door: what goes wrong is translated here, secrets are blotted out, turns are kept."""

from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse
from slack_sdk.webhook.async_client import AsyncWebhookClient

from bot.chat.pacing import Pacer
from bot.errors import ChatError, ChatLater, ChatLost
from bot.render.redact import Redactor

TIMEOUT = 10.0
FILE_HOST = "files.slack.com"
FILE_TIMEOUT = aiohttp.ClientTimeout(total=300, sock_read=30)
CHUNK = 64 * 1024
FILE_MOST = 256 * 1024 * 1024
"""Bytes of a posted file that are kept as evidence; the disk is the database's, too."""
LATER = 5.0
"""Seconds until another try when Slack does not say how many."""
_LATER = frozenset({"internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org"})
_UNAUTHORISED = frozenset({"invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive"})
"""Nothing is wrong with the message: it waits for a token that works."""


class SlackRefused(ChatError):
    """Slack said no for good; `error` is its own word for why."""

    def __init__(self, method: str, error: str, why: str = "") -> None:
        super().__init__(f"Slack refused {method}: {error}{f' ({why})' if why else ''}")
        self.error = error


class Slack:
    """The Web API of one workspace. Implements `ports.Chat`; no retries of its own, the outbox has them."""

    def __init__(self, *, token: str, api_url: str, pacer: Pacer, redactor: Redactor) -> None:
        self._web = AsyncWebClient(token=token, base_url=api_url, timeout=int(TIMEOUT), retry_handlers=[])
        if urlsplit(api_url).hostname in {"127.0.0.1", "localhost", "::1"}:
            self._web.proxy = None
        self._pacer = pacer
        self._redactor = redactor
        self._closed = False

    async def aclose(self) -> None:
        """Close the connections; what is asked for later is refused as for later."""
        self._closed = True
        if self._web.session is not None:
            await self._web.session.close()

    async def call(self, method: str, arguments: Mapping[str, object]) -> Mapping[str, Any]:
        """Call one method by Slack's name for it and return its answer.

        Raises:
            ChatLater: not our turn, or Slack is not ready; nothing was done.
            ChatLost: no answer; it may have been done.
            SlackRefused: no; nothing was done.
        """
        answer = await self._called(method, self._redactor.walk(dict(arguments)))
        return dict(answer.data) if isinstance(answer.data, dict) else {}

    async def granted(self) -> tuple[Mapping[str, Any], frozenset[str]]:
        """Return what `auth.test` says of us and the scopes that our token was granted; raises as `call` does."""
        answer = await self._called("auth.test", {})
        told = next((str(v) for k, v in answer.headers.items() if k.casefold() == "x-oauth-scopes"), "")
        scopes = frozenset(scope.strip() for scope in told.split(",") if scope.strip())
        return dict(answer.data) if isinstance(answer.data, dict) else {}, scopes

    async def socket_address(self, app_token: str) -> str:
        """Return an address for one Socket Mode connection; it is a secret, and used once. Raises as `call` does."""
        answer = await self._called("apps.connections.open", {"app_token": app_token})
        return str(answer.get("url") or "")

    @property
    def proxy(self) -> str | None:
        """Return the proxy through which Slack is reached; on this very machine there is none."""
        return self._web.proxy

    async def _called(self, method: str, arguments: dict[str, Any]) -> AsyncSlackResponse:
        """Call one method; what goes wrong is translated."""
        channel = str(arguments.get("channel") or "")
        self._pacer.turn(method, channel)
        await self._connect()
        act = getattr(self._web, method.replace(".", "_"))
        try:
            answer: AsyncSlackResponse = await act(**arguments)
        except SlackApiError as error:
            raise self._translated(method, channel, error) from None
        except (aiohttp.ClientConnectorError, aiohttp.ClientConnectorDNSError) as error:
            raise ChatLater(f"Slack cannot be reached: {error}", after=LATER) from None
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise ChatLost(f"no answer to {method}: {type(error).__name__} {error}") from None
        except (SlackClientError, AttributeError, ValueError) as error:
            # An upload that broke off, or an answer that is not Slack's: nobody can tell what became of it.
            raise ChatLost(f"{method} got no usable answer: {error}") from None
        return answer

    async def answer(self, response_url: str, body: Mapping[str, object]) -> None:
        """Answer by a response_url; raises as `call` does. An address that is used up or gone is refused."""
        await self._connect()
        hook = AsyncWebhookClient(response_url, timeout=int(TIMEOUT), retry_handlers=[], session=self._web.session)
        hook.proxy = self._web.proxy
        try:
            response = await hook.send_dict(self._redactor.walk(dict(body)))
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise ChatLost(f"no answer to a response: {type(error).__name__}") from None
        if response.status_code == 429:
            raise ChatLater("Slack limits responses", after=_retry_after(response.headers))
        if response.status_code >= 500:
            raise ChatLater(f"Slack answered a response with {response.status_code}", after=LATER)
        if response.status_code != 200:
            raise SlackRefused("response_url", f"status {response.status_code}", str(response.body)[:200])

    async def download(self, url: str, *, size: int | None = None) -> AsyncIterator[bytes]:
        """Yield a private file's bytes; the token goes to Slack's own file host and to no other.

        Raises as `call` does. Slack answers a token that may not read it with a page to log in: that is a refusal.
        """
        if size is not None and size > FILE_MOST:
            raise SlackRefused("files", "too_large", f"{size:,} bytes; at most {FILE_MOST:,} are kept")
        if not self._ours(url):
            raise SlackRefused("files", "foreign_host", "the file does not lie with Slack")
        await self._connect()
        assert self._web.session is not None  # just connected
        headers = {"Authorization": f"Bearer {self._web.token}"}
        got = 0
        try:
            async with self._web.session.get(
                url, headers=headers, proxy=self._web.proxy, allow_redirects=False, timeout=FILE_TIMEOUT
            ) as response:
                if response.status != 200:
                    raise SlackRefused("files", f"status {response.status}")
                async for chunk in response.content.iter_chunked(CHUNK):
                    got += len(chunk)
                    if got > FILE_MOST:
                        raise SlackRefused("files", "too_large", f"more than {FILE_MOST:,} bytes")
                    yield chunk
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise ChatLater(f"the file did not come: {type(error).__name__}", after=LATER) from None
        if size is not None and got != size:
            raise SlackRefused("files", "not_the_file", f"{got:,} bytes came where {size:,} were promised: scope?")

    def _ours(self, url: str) -> bool:
        found, api = urlsplit(url), urlsplit(self._web.base_url)
        if found.scheme == "https" and found.hostname == FILE_HOST:
            return True
        loopback = found.hostname in {"127.0.0.1", "localhost", "::1"}
        return loopback and (found.scheme, found.netloc) == (api.scheme, api.netloc)

    def redacted(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return what leaves in an acknowledgement, without secrets."""
        walked: dict[str, Any] = self._redactor.walk(body)
        return walked

    async def _connect(self) -> None:
        if self._closed:
            raise ChatLater("this process is ending", after=LATER)
        if self._web.session is None or self._web.session.closed:
            self._web.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT))

    def _translated(self, method: str, channel: str, error: SlackApiError) -> ChatError:
        """Return what Slack's refusal means for us."""
        response = error.response
        status = int(getattr(response, "status_code", 0) or getattr(response, "status", 0) or 0)
        data = getattr(response, "data", None)
        body: dict[str, Any] = data if isinstance(data, dict) else {}
        word = str(body.get("error", ""))
        if status == 429 or word in {"ratelimited", "rate_limited"}:
            after = _retry_after(getattr(response, "headers", {}))
            self._pacer.hold(method, channel, after)
            return ChatLater(f"Slack limits {method} for {after:g} s", after=after)
        if status >= 500 or word in _LATER or not word:
            return ChatLater(f"Slack is not well: {method} got {status} {word}".rstrip(), after=LATER)
        if word in _UNAUTHORISED:
            name = "SLACK_APP_TOKEN" if method == "apps.connections.open" else "SLACK_BOT_TOKEN"
            return ChatLater(f"Slack does not take our token ({word}): check {name}", after=30.0)
        why = "; ".join(str(line) for line in (body.get("response_metadata") or {}).get("messages", [])[:3])
        needed = f"needs the scope {body['needed']}" if body.get("needed") else ""
        return SlackRefused(method, word, why or needed)


def _retry_after(headers: Mapping[str, str]) -> float:
    """Return exactly what Slack asks for; a header that cannot be read counts as the usual pause."""
    value = next((v for k, v in headers.items() if k.casefold() == "retry-after"), "")
    try:
        return max(0.0, float(value))
    except ValueError:
        return LATER
