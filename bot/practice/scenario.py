"""The scenario *equivocation on one AVS*, played by simulated people over HTTP, and checked against the fleet's truth.

Nothing here reaches into the bot: it reads the bot's API, the workspace and the fleet's control API, and presses what
people would press.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from bot.practice.alarms import Alarms
from bot.practice.crew import Crew, Json, Missed, until

ADA, BO, CYN, DAN = "U0ADA", "U0BO", "U0CYN", "U0DAN"
AVS = "shared-sequencer"
SUSPECTS = ("seq-01", "seq-02", "seq-03", "seq-04")


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where everything is: base URLs without a trailing slash."""

    bot: str
    workspace: str
    control: str
    webhook_token: str
    command: str = "/incident"


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of the story: its incident, what was checked, and what was wrong."""

    incident: str = ""
    checks: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Scenario:
    """Plays the story. `tell` is called with each thing that happens; `scale` is how fast people's clocks run."""

    def __init__(self, client: httpx.AsyncClient, places: Places, *, scale: float, tell: Callable[[str], None]) -> None:
        self._client = client
        self._places = places
        self._scale = scale
        self._tell = tell
        self.crew = Crew(client, places.workspace, command=places.command)
        self.alarms = Alarms(
            client,
            webhook=f"{places.bot}/v1/alertmanager",
            token=places.webhook_token,
            metrics=f"{places.control}/metrics",
        )
        self.outcome = Outcome()
        self._channel = ""

    async def play(self) -> Outcome:
        """Play it all; what is missed or contradicted is in the outcome's `wrong`, by name."""
        prompts: asyncio.Task[None] | None = None
        try:
            await self._alarm()
            prompts = asyncio.create_task(self._answer_prompts())
            await self._respond()
            await self._bring_back()
            await self._hour_passes()
            await self._resolve()
        except Missed as missed:
            self.outcome.wrong.append(str(missed))
        except httpx.HTTPError as error:
            self.outcome.wrong.append(f"an HTTP call failed: {type(error).__name__}: {error}")
        finally:
            if prompts is not None:
                prompts.cancel()
                await asyncio.gather(prompts, return_exceptions=True)
        return self.outcome

    # ---- the acts

    async def _alarm(self) -> None:
        self._tell("Twelve signers sign for the shared sequencer; a Watchdog beats.")
        await self.alarms.post(self.alarms.alert("Watchdog", severity="none"))
        await self._control("character", node="seq-04", character="honest")  # it lives until it equivocates
        await asyncio.sleep(2.5)
        await self.alarms.watch()
        self._tell("seq-01 to seq-04 run a bad build and sign twice for one slot; seq-04 dies of it.")
        await self._control("equivocate", nodes=list(SUSPECTS))
        await self._control("character", node="seq-04", character="down")
        risen: list[str] = await until(self.alarms.watch, within=10, why="the conflict counters to rise")
        alerts = [self.alarms.alert("EquivocationRiskSpike", severity="page", avs=AVS, signer=s) for s in sorted(risen)]
        told = await self.alarms.post(*alerts)
        await self.alarms.post(*alerts)  # an HA pair of Alertmanagers says everything twice
        self.outcome.incident = told["incidents"][0]
        self._check(set(risen) == set(SUSPECTS), "the exporter named the four suspects")
        self._tell(f"Alertmanager fired; the bot opened {self.outcome.incident}.")

    async def _respond(self) -> None:
        name = self.outcome.incident
        room = await self.crew.channel(f"{name}-", within=30)
        self._channel = str(room["id"])
        self._tell(f"Slack channel #{room['name']} is open, roles are assigned from on-call.")
        await self.crew.find_and_press(
            ADA, lambda b: b.text.casefold().startswith("ack"), why="a page with an Ack button for Ada"
        )
        await self._wait(lambda i: i["acknowledged_at"] is not None, "Ada's acknowledgement")
        self._tell("Ada acknowledged her page.")
        await self._wait(
            lambda i: self._state(i, "seq-01", "freeze") != "requested" and "seq-01" in i["targets"], "the first freeze"
        )
        self._tell("The bot froze seq-01 by itself: that is its whole budget (5 % of 12, at least one).")
        await self.crew.find_and_press(
            CYN, lambda b: b.text.casefold().startswith("freeze"), why="a button to freeze the held suspects"
        )
        self._tell("Cyn saw the quorum that is left, and froze the other three with one press.")
        await self._wait(lambda i: self._state(i, "seq-01", "freeze") == "verified", "the proof for seq-01", within=40)
        self._tell("seq-01: verified. Its counter stayed flat over a due duty.")
        await self._wait(lambda i: self._state(i, "seq-02", "freeze") == "verified", "the proof for seq-02", within=60)
        self._tell("seq-02 answered 'deleted' and went on signing; asked again, now verified.")
        await self._wait(
            lambda i: self._state(i, "seq-03", "freeze") == "unknown", "seq-03 to be told unknown", within=40
        )
        self._tell("seq-03 never answers: unknown, so it must be treated as signing.")
        await self._wait(
            lambda i: self._state(i, "seq-04", "freeze") == "failed", "seq-04 to be told failed", within=40
        )
        self._tell("seq-04 is down: the request cannot have arrived; it is asked again when it is back.")
        await self._compare("while frozen")
        ts = await self.crew.say(DAN, self._channel, "Peers of seq-03 see two blocks signed for slot 7.")
        await self.crew.pin(DAN, self._channel, ts)
        self._tell("Dan pinned a message: it is on the timeline.")
        await self._cut_power()
        await self._roll_back()

    async def _cut_power(self) -> None:
        await self._control("character", node="seq-03", character="down")
        text = "contained power of seq-03 cut in the rack; seq-04 is down; the other two are proven frozen"
        self._tell("Dan cut the power of seq-03; Ada, as IC, says contained, with her reason.")
        await self.crew.type(DAN, self._channel, "note power of seq-03 cut in rack 4")
        answer = await self.crew.type(ADA, self._channel, text)
        await self._wait(lambda i: i["status"] == "contained", f"the incident to be contained (answered: {answer})")

    async def _roll_back(self) -> None:
        bad = await self._truth()
        await self.crew.find_and_press(
            CYN,
            lambda b: "roll" in b.text.casefold() and b.channel == self._channel,
            within=30 + 300 / self._scale,
            why="the question whether to roll back, since the symptom persists",
        )
        self._tell("The symptom persists after five minutes: Cyn approved the tested rollback (one person).")
        for node in ("seq-01", "seq-02"):
            await self._wait(_rolled_back(node), f"the rollback of {node}", within=40)
        truth = await self._truth()
        self._check(
            all(
                truth[node]["release"]["build_hash"] != bad[node]["release"]["build_hash"]
                for node in ("seq-01", "seq-02")
            ),
            "the rolled back nodes run another build than before",
        )
        self._tell("seq-01 and seq-02 run the last good build again, still frozen.")

    async def _bring_back(self) -> None:
        await self.alarms.post(self.alarms.alert("AVSDeadlineMissRateHigh", severity="page", avs=AVS, signer="seq-01"))
        incident = await self._incident()
        self._check(set(incident["suspects"]) == set(SUSPECTS), "an alert caused by our own freeze added no suspect")
        answer = await self.crew.type(CYN, self._channel, "unfreeze seq-01 build reverted, protection checked")
        refused = await self.crew.type(CYN, self._channel, "approve")
        self._check(
            "unfreeze-1" not in (await self._incident())["steps"], f"Cyn may not agree with herself ({refused})"
        )
        await self.crew.find_and_press(
            ADA,
            lambda b: b.text.casefold().startswith("approve") and b.channel != self._channel,  # a direct message
            why=f"an approval request for Ada (Cyn was told: {answer})",
        )
        self._tell(
            "Cyn asked to unfreeze seq-01, Ada agreed; the bot checks two silent duty windows and slashing protection."
        )
        await self._wait(
            lambda i: self._state(i, "seq-01", "unfreeze") == "verified", "seq-01 to sign again", within=60
        )
        self._tell("seq-01 signs again, above everything it signed before.")
        await asyncio.sleep(2.5)
        await self._compare("after the unfreeze")

    async def _answer_prompts(self) -> None:
        """Bo answers the first prompt of each audience in time; later ones are left, so that they escalate."""
        done: set[str] = set()
        while len(done) < 2:
            for incident in [await self._incident()]:
                for prompt in incident["prompts"]:
                    if prompt["audience"] in done or prompt["answered_at"]:
                        continue
                    done.add(prompt["audience"])
                    await self._give_status(prompt)
            await asyncio.sleep(0.5)

    async def _give_status(self, prompt: Json) -> None:
        text = (
            "Conflicting signatures on the shared sequencer; four signers stopped as a precaution; next update on time."
        )
        answer = await self.crew.type(BO, self._channel, f"status {prompt['audience']} {text}")
        await self._wait(
            lambda i: any(p["id"] == prompt["id"] and p["answered_at"] for p in i["prompts"]),
            f"Bo's status to be stored ({answer})",
        )
        self._tell(f"Bo gave the {prompt['audience']} status that was due at {', '.join(prompt['marks'])}.")

    async def _hour_passes(self) -> None:
        self._tell("Waiting for the 60-minute mark.")
        wanted = {
            ("internal", "15 min"),
            ("stakeholders", "15 min"),
            ("stakeholders", "30 min"),
            ("stakeholders", "1 h"),
        }

        def asked(incident: Json) -> bool:
            return wanted <= {(p["audience"], mark) for p in incident["prompts"] for mark in p["marks"]}

        await self._wait(asked, "the status prompts of 15, 30 and 60 minutes", within=30 + 3600 / self._scale)
        self._check(True, "every status prompt of the first hour was asked")
        alerts = [a for a in self.alarms.posted.values() if a["labels"]["alertname"] != "Watchdog"]
        resolved = []
        for alert in alerts:
            labels = {k: v for k, v in alert["labels"].items() if k != "alertname"}
            resolved.append(self.alarms.alert(alert["labels"]["alertname"], "resolved", **labels))
        await self.alarms.post(*resolved)
        incident = await self._incident()
        self._check(incident["status"] != "resolved", "resolved alerts do not close a SEV-1")

    async def _resolve(self) -> None:
        await self._wait(lambda i: all(s["state"] != "running" for s in i["steps"].values()), "all steps to end")
        answer = await self.crew.type(ADA, self._channel, "resolve bad build reverted; seq-03 and seq-04 stay out")
        await self._wait(lambda i: i["status"] == "resolved", f"the incident to be resolved (answered: {answer})")
        await self._wait(lambda i: i["postmortem_due"] is not None, "the postmortem's draft", within=30)
        self._tell("Ada resolved the incident; what is left has owners; the postmortem is drafted.")
        incident = await self._incident()
        self._check(
            incident["alerts"]["seen"]
            == len([a for a in self.alarms.posted.values() if a["labels"]["alertname"] != "Watchdog"]),
            "no alert was lost and none was counted twice",
        )
        await self._compare("at the end")

    # ---- what it is made of

    async def _compare(self, when: str) -> None:
        """Check every reported freeze against the fleet's truth."""
        incident = await self._incident()
        first = await self._truth()
        await asyncio.sleep(2.2)
        second = await self._truth()
        for node, tracks in incident["targets"].items():
            state = tracks.get("freeze", {}).get("state")
            counted = {k: second[node]["keys"][k]["total"] - v["total"] for k, v in first[node]["keys"].items()}
            signed = any(counted.values())
            if state in {"verified", "already"}:
                self._check(not signed, f"{node} is reported {state} and does not sign ({when})")
            if state == "failed" and signed is False and second[node]["up"]:
                self._check(False, f"{node} is reported failed, is up and does not sign ({when})")
            if tracks.get("unfreeze", {}).get("state") == "verified":
                self._check(signed, f"{node} is reported unfrozen and signs ({when})")

    def _check(self, right: bool, what: str) -> None:
        (self.outcome.checks if right else self.outcome.wrong).append(what)

    async def _incident(self) -> Json:
        answer = await self._client.get(f"{self._places.bot}/v1/incidents/{self.outcome.incident}")
        incident: Json = answer.raise_for_status().json()
        return incident

    async def _wait(self, what: Callable[[Json], bool], why: str, *, within: float = 20) -> None:
        async def look() -> bool:
            return what(await self._incident())

        await until(look, within=within, why=why)

    async def _truth(self) -> dict[str, Any]:
        truth: Json = (await self._client.get(f"{self._places.control}/truth")).raise_for_status().json()
        return dict(truth["nodes"])

    async def _control(self, act: str, **body: Any) -> None:
        (await self._client.post(f"{self._places.control}/{act}", json=body)).raise_for_status()

    @staticmethod
    def _state(incident: Json, node: str, verb: str) -> str | None:
        state: str | None = incident["targets"].get(node, {}).get(verb, {}).get("state")
        return state


def _rolled_back(node: str) -> Callable[[Json], bool]:
    def done(incident: Json) -> bool:
        return incident["targets"].get(node, {}).get("rollback", {}).get("state") in {"verified", "already"}

    return done
