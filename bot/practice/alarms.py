"""The demo's Prometheus and Alertmanager: reads the fleet's real metrics and posts notifications of the real shape."""

import hashlib
import re
from datetime import UTC, datetime
from typing import Any

import httpx

Json = dict[str, Any]
_SERIES = re.compile(r"^(?P<name>[a-z_]+)\{(?P<labels>[^}]*)\} (?P<value>[0-9.e+]+)$")


class Alarms:
    """Fires and resolves alerts at the bot's webhook; remembers every one that it posted."""

    def __init__(self, client: httpx.AsyncClient, *, webhook: str, token: str, metrics: str) -> None:
        self._client = client
        self._webhook = webhook
        self._headers = {"Authorization": f"Bearer {token}"}
        self._metrics = metrics
        self._before: dict[str, float] = {}
        self.posted: dict[str, Json] = {}

    async def conflicts(self) -> dict[str, float]:
        """Return the conflicting-signatures counter by signer, as scraped now."""
        text = (await self._client.get(self._metrics)).raise_for_status().text
        found: dict[str, float] = {}
        for match in filter(None, map(_SERIES.match, text.splitlines())):
            if match["name"] == "avs_conflicting_signatures_seen_total":
                labels = dict(re.findall(r'(\w+)="([^"]*)"', match["labels"]))
                found[labels["signer"]] = float(match["value"])
        return found

    async def watch(self) -> list[str]:
        """Scrape; fire for each signer whose counter rose since the last scrape; return the signers."""
        now = await self.conflicts()
        risen = (
            [signer for signer, value in now.items() if value > self._before.get(signer, 0.0)] if self._before else []
        )
        self._before = now
        return risen

    def alert(self, name: str, status: str = "firing", **labels: str) -> Json:
        """Return one alert as Alertmanager sends it; the same labels are the same episode."""
        all_labels = {"alertname": name, **labels}
        fingerprint = hashlib.sha256(repr(sorted(all_labels.items())).encode()).hexdigest()[:16]
        started = self.posted.get(fingerprint, {}).get("startsAt") or datetime.now(UTC).isoformat().replace(
            "+00:00", "Z"
        )
        ended = datetime.now(UTC).isoformat().replace("+00:00", "Z") if status == "resolved" else "0001-01-01T00:00:00Z"
        return {
            "status": status,
            "labels": all_labels,
            "annotations": {"summary": f"{name} on {labels.get('signer', 'the fleet')}"},
            "startsAt": started,
            "endsAt": ended,
            "generatorURL": "http://127.0.0.1:9090/graph",
            "fingerprint": fingerprint,
        }

    async def post(self, *alerts: Json) -> Json:
        """Post one notification; raises httpx.HTTPStatusError unless the bot says 2xx."""
        body = {
            "version": "4",
            "groupKey": "{}:{}",
            "receiver": "stopsign",
            "status": alerts[0]["status"],
            "alerts": list(alerts),
            "groupLabels": {},
            "commonLabels": {},
            "commonAnnotations": {},
            "externalURL": "http://127.0.0.1:9093",
            "truncatedAlerts": 0,
        }
        answer = await self._client.post(self._webhook, json=body, headers=self._headers)
        told: Json = answer.raise_for_status().json()
        for alert in alerts:
            self.posted[alert["fingerprint"]] = alert
        return told
