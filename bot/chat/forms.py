"""Modals: which one opens for what, and what a submitted one decides."""

import hashlib
from dataclasses import replace

from bot.chat import actions, views
from bot.chat.acting import Acting
from bot.chat.answers import Answer, say
from bot.chat.front import Act, Caller, Front, act_of
from bot.chat.kit import Json
from bot.chat.words import said
from bot.domain.incident import Incident
from bot.domain.roles import Role
from bot.domain.severity import Severity
from bot.errors import NotFound, Refused
from bot.flows import glass, halt, intake, people, resolve, status
from bot.render import documents
from bot.render.words import duration


class Forms:
    """Opens forms and takes them in. A form carries, sealed: its incident, its prompt, and where to answer."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._ledger = front.ledger
        self.acting = Acting(front)
        self._taken = {
            actions.DECLARE: self._declare,
            actions.STATUS: self._status,
            actions.RESOLVE: self._resolve,
            actions.HALT: self._halt,
            actions.ROLES: self._roles,
            actions.SEV: self._severity,
            actions.REOPEN: self._reopen,
            actions.GLASS: self._glass,
            actions.CHOOSE: self.acting.chosen,
            actions.SURE: self.acting.confirmed,
        }

    # ---- opening

    def declare(self, act: Act) -> Answer:
        """Return the form that opens an incident."""
        form = views.declare(self._ledger.world.config, self._sealed(actions.DECLARE, act))
        return Answer(form=form, instead=f"`{self._front.command} declare SEV-1 what is wrong` does the same.")

    async def asked(self, act: Act) -> Answer:
        """Return the form that opens an incident, from anywhere."""
        return self.declare(act)

    async def status(
        self, act: Act, number: int, *, prompt: str = "", audience: str = status.INTERNAL, text: str = ""
    ) -> Answer:
        """Return the form for a status, with a draft of the facts in it, or with `text`."""
        incident = await self._incident(number)
        asked = incident.prompts.get(prompt)
        audience = asked.audience if asked else audience
        draft = documents.status_draft(incident, self._ledger.world.config, self._ledger.clock.now(), audience)
        carried = self._sealed(actions.STATUS, act, number, f"{audience} {_mark(draft)} {prompt}")
        form = views.give_status(incident, audience, carried, text or draft)
        return Answer(form=form, instead=f"`{self._front.command} status {incident.id} text` does the same.")

    async def resolve(self, act: Act, number: int) -> Answer:
        """Return the form that ends an incident."""
        incident = await self._incident(number)
        left = resolve.still_stopped(incident)
        form = views.resolve(incident, left, self._ledger.world.config, self._sealed(actions.RESOLVE, act, number))
        return Answer(form=form, instead=f"`{self._front.command} resolve {incident.id} how it ended` does the same.")

    async def roles(self, act: Act, number: int) -> Answer:
        """Return the form that hands a role over."""
        incident = await self._incident(number)
        config = self._ledger.world.config
        me = config.team.by_slack(act.user)
        form = views.hand_over(incident, config, self._sealed(actions.ROLES, act, number), me.id if me else None)
        return Answer(form=form, instead=f"`{self._front.command} role @person ic` does the same.")

    def halt(self, act: Act) -> Answer:
        """Return the form of the kill switch."""
        form = views.halt(self._sealed(actions.HALT, act))
        return Answer(form=form, instead=f"`{self._front.command} halt why` does the same.")

    async def severity(self, act: Act, number: int) -> Answer:
        """Return the form that raises or lowers the severity."""
        incident = await self._incident(number)
        form = views.severity(incident, self._sealed(actions.SEV, act, number))
        return Answer(form=form, instead=f"`{self._front.command} sev {incident.id} SEV-1 why` does the same.")

    async def reopen(self, act: Act, number: int) -> Answer:
        """Return the form that opens an incident again."""
        incident = await self._incident(number)
        form = views.reopen(incident, self._sealed(actions.REOPEN, act, number))
        return Answer(form=form, instead=f"`{self._front.command} reopen {incident.id} why` does the same.")

    async def go_alone(self, act: Act, number: int, approval: str) -> Answer:
        """Return the form of a break-glass on one request."""
        incident = await self._incident(number)
        asked, delay = incident.approvals.get(approval), self._ledger.world.config.policy.break_glass_after
        if asked is None or delay is None:
            raise Refused("policy.yaml lets nobody go on alone: two people must agree.")
        form = views.go_alone(asked, duration(delay), self._sealed(actions.GLASS, act, number, approval))
        return Answer(form=form, instead=f"`{self._front.command} breakglass {incident.id} why` does the same.")

    def _sealed(self, form: str, act: Act, number: int = 0, prompt: str = "") -> str:
        return self._front.seals.seal(form, str(number), prompt, act.response_url)

    async def _incident(self, number: int) -> Incident:
        found = await self._front.places.get(number)
        if found is None:
            raise NotFound(f"There is no incident inc-{number}: `list` shows the open ones.")
        return found

    # ---- taking in

    def act_of(self, body: Json, view: Json) -> Act:
        """Return the act of submitting a form, which is answered where the form was asked for."""
        try:
            words = self._front.seals.open(str(view["callback_id"]), str(view["private_metadata"]))
        except Refused:
            return act_of(body)
        return replace(act_of(body), response_url=words[2])

    async def submitted(self, caller: Caller, view: Json) -> Answer:
        """Decide what a submitted form asks for; raises Refused for a form that we did not make."""
        number, prompt, _ = self._front.seals.open(str(view["callback_id"]), str(view["private_metadata"]))
        return await self._taken[str(view["callback_id"])](caller, int(number), prompt, views.filled(view))

    async def _declare(self, caller: Caller, number: int, prompt: str, given: views.Filled) -> Answer:
        severity = Severity.parse(given[actions.SEVERITY])
        avs = given[actions.AVS] or None
        command = intake.Declare(by=caller.by, severity=severity, summary=given[actions.SUMMARY], avs=avs)
        return opened(await self._ledger.decide(intake.declare, command))

    async def _status(self, caller: Caller, number: int, carried: str, given: views.Filled) -> Answer:
        meant, drafted, prompt = carried.split(" ", 2)
        audience = given[actions.AUDIENCE]
        if audience not in {meant, status.INTERNAL}:
            # What was drafted for the team is not passed on by one slip in a menu: they see their own draft first.
            own = "" if _mark(given[actions.TEXT]) == drafted else given[actions.TEXT]
            return Answer(update=(await self.status(caller.act, number, audience=audience, text=own)).form)
        command = status.GiveStatus(
            by=caller.by, incident=number, text=given[actions.TEXT], audience=audience, prompt=prompt or None
        )
        incident = await self._ledger.decide(status.give, command)
        return say(f"📣 The {status.SPOKEN[given[actions.AUDIENCE]]} status of {incident.id} is stored and shared.")

    async def _resolve(self, caller: Caller, number: int, prompt: str, given: views.Filled) -> Answer:
        owner = given[actions.OWNER] or None
        command = resolve.Resolve(by=caller.by, incident=number, summary=given[actions.SUMMARY], owner=owner)
        incident = await self._ledger.decide(resolve.resolve, command)
        return say(f"✅ {incident.id} is resolved. The postmortem's draft comes into its channel.")

    async def _roles(self, caller: Caller, number: int, prompt: str, given: views.Filled) -> Answer:
        role = Role(given[actions.WHICH])
        command = people.TakeRole(by=caller.by, incident=number, role=role, person=given[actions.PERSON] or None)
        incident = await self._ledger.decide(people.take_role, command)
        holder = self._ledger.world.config.team.people[incident.roles[role]]
        return say(f"{said(holder.name, 80)} is {role.title} of {incident.id}: {role.duty}.")

    async def _severity(self, caller: Caller, number: int, prompt: str, given: views.Filled) -> Answer:
        severity = Severity.parse(given[actions.SEVERITY])
        command = people.SetSeverity(by=caller.by, incident=number, severity=severity, reason=given[actions.REASON])
        incident = await self._ledger.decide(people.set_severity, command)
        return say(f"{incident.id} is {incident.severity}.")

    async def _reopen(self, caller: Caller, number: int, prompt: str, given: views.Filled) -> Answer:
        command = resolve.Reopen(by=caller.by, incident=number, reason=given[actions.REASON])
        incident = await self._ledger.decide(resolve.reopen, command)
        return say(f"↩️ {incident.id} is open again.")

    async def _glass(self, caller: Caller, number: int, approval: str, given: views.Filled) -> Answer:
        command = glass.BreakGlass(by=caller.by, incident=number, approval=approval, reason=given[actions.REASON])
        done = await self._ledger.decide(glass.break_glass, command)
        return say(f"⚠️ {done.incident.id}: {said(done.text, 1000)}")

    async def _halt(self, caller: Caller, number: int, prompt: str, given: views.Filled) -> Answer:
        await self._ledger.decide(halt.halt, halt.Halt(by=caller.by, reason=given[actions.REASON]))
        return say("🛑 Automation is halted. Freezing by hand goes on; `rearm` starts again and takes two people.")


def _mark(text: str) -> str:
    """Return by what a draft is known again, whatever a form does to its line ends."""
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()[:12]


def opened(incident: Incident) -> Answer:
    """Return that an incident is open."""
    return say(
        f"{incident.id} is open: {incident.severity} {said(incident.summary, 200)}. Its channel opens in a moment."
    )
