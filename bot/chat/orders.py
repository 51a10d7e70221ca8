"""What each slash command decides: one decision, one answer."""

import difflib
from collections.abc import Awaitable, Callable, Mapping

from bot.chat import actions, evidence, kit, oncall
from bot.chat.answers import Answer, say, show
from bot.chat.commands import Order, help_text, parse
from bot.chat.forms import Forms, opened
from bot.chat.front import Caller, Front
from bot.chat.header import COLOURS, STANDING, header, name_of
from bot.chat.views import unfinished
from bot.chat.words import clean, said
from bot.domain.incident import Incident
from bot.domain.playbook import Verb
from bot.domain.roles import Role
from bot.domain.severity import Severity
from bot.errors import NotFound
from bot.flows import actions as acts
from bot.flows import approve, custody, glass, halt, intake, outcomes, people, resolve, respond, status
from bot.render import timeline

SHOWN = 15


class Orders:
    """Carries out parsed commands."""

    def __init__(self, front: Front, forms: Forms, public_url: str | None) -> None:
        self._front = front
        self._forms = forms
        self._ledger = front.ledger
        self._public_url = public_url

    async def typed(self, caller: Caller, text: str) -> Answer:
        """Parse and carry out what was typed after the slash command."""
        order = parse(text, await self._front.scene(caller.act))
        return await CARRIED_OUT[order.name](self, caller, order)

    async def _declare(self, caller: Caller, order: Order) -> Answer:
        if not order.text:
            return self._forms.declare(caller.act)
        severity = order.severity or Severity.SEV2
        command = intake.Declare(by=caller.by, severity=severity, summary=order.text, avs=order.avs)
        done = opened(await self._ledger.decide(intake.declare, command))
        near = None if order.avs else self._meant(order.text)
        return say(f"{done.text} No service was named: did you mean {said(near, 40)}?") if near else done

    def _meant(self, text: str) -> str | None:
        """Return the service that the first word may have meant."""
        found = difflib.get_close_matches(text.split()[0], self._ledger.world.config.inventory.avs, n=1, cutoff=0.7)
        return found[0] if found else None

    async def _list(self, caller: Caller, order: Order) -> Answer:
        live = await self._ledger.read(lambda rows: rows.incidents(live_only=True, limit=20))
        watch = await self._ledger.read(lambda rows: rows.watch())
        lines: list[list[kit.Part]] = [self._one_line(incident) for incident in live]
        if watch.halted:
            lines.append(["🛑 ", kit.bold("Automation is halted"), f": {clean(watch.halted_why, 200)}"])
        if not lines:
            return say("Nothing is open. 🌙")
        some = ", ".join(f"{i.severity} {i.id}" for i in live[:8]) or "no incident"
        halted = "; automation is halted" if watch.halted else ""
        return Answer(text=f"Open: {some}{halted}.", blocks=(kit.rich(*lines),))

    def _one_line(self, incident: Incident) -> list[kit.Part]:
        where: list[kit.Part] = [" ", kit.channel(incident.channel)] if incident.channel else []
        avs = f" {clean(incident.avs, 40)}" if incident.avs else ""
        ic = incident.roles.get(Role.IC)
        who = name_of(self._ledger.world.config, ic) if ic else "nobody yet"
        head = kit.bold(f"{incident.severity} {incident.id}")
        stand = f"{avs}: {clean(incident.summary, 120)} — {STANDING[incident.status]}, IC {who}"
        return [f"{COLOURS[incident.severity]} ", head, stand, *where]

    async def _show(self, caller: Caller, order: Order) -> Answer:
        incident = await self._incident(order)
        config, now = self._ledger.world.config, self._ledger.clock.now()
        watch = await self._ledger.read(lambda rows: rows.watch())
        return show(header(incident, config, now, self._front.seals, self._public_url, watch))

    async def _ack(self, caller: Caller, order: Order) -> Answer:
        command = people.Acknowledge(by=caller.by, incident=order.incident or 0)
        incident = await self._ledger.decide(people.acknowledge, command)
        who = said(name_of(self._ledger.world.config, incident.acknowledged_by), 80)
        return say(f"✅ {incident.id} is acknowledged by {who}; nobody else is paged for it.")

    async def _role(self, caller: Caller, order: Order) -> Answer:
        config = self._ledger.world.config
        assert order.role is not None  # the parser sees to it
        person = None
        if order.person is not None:
            found = config.team.named(order.person)
            if found is None:
                known = ", ".join(p.name for p in list(config.team.people.values())[:12])
                raise NotFound(
                    f"There is nobody called '{order.person}' in team.yaml. There are: {known}.", where="person"
                )
            person = found.id
        command = people.TakeRole(by=caller.by, incident=order.incident or 0, role=order.role, person=person)
        incident = await self._ledger.decide(people.take_role, command)
        holder = said(name_of(config, incident.roles[order.role]), 80)
        return say(f"{holder} is {order.role.title} of {incident.id}: {order.role.duty}.")

    async def _handover(self, caller: Caller, order: Order) -> Answer:
        if order.person is None:
            return await self._forms.roles(caller.act, order.incident or 0)
        command = people.HandOver(by=caller.by, incident=order.incident or 0, person=order.person, text=order.text)
        incident = await self._ledger.decide(people.hand_over, command)
        name = said(name_of(self._ledger.world.config, order.person), 80)
        held = ", ".join(role.title for role, who in incident.roles.items() if who == order.person)
        return say(f"🤝 {name} has your roles in {incident.id}, and is now: {held}.")

    async def _oncall(self, caller: Caller, order: Order) -> Answer:
        return show(oncall.message(self._ledger.world.config, self._ledger.clock.now()))

    async def _console(self, caller: Caller, order: Order) -> Answer:
        incident = await self._incident(order)
        if not self._public_url:
            return say("No address is set: `STOPSIGN_PUBLIC_URL` names it, then buttons and this lead there.")
        url = f"{self._public_url.rstrip('/')}/console/{incident.id}"
        button = kit.actions(kit.link_button(actions.LINK, f"Open {incident.id}", url))
        return Answer(text=f"The console of {incident.id}: {url}", blocks=(kit.section(f"<{url}>"), button))

    async def _action(self, caller: Caller, order: Order) -> Answer:
        command = acts.AddAction(
            by=caller.by, incident=order.incident or 0, text=order.text, owner=order.person, due_on=order.due
        )
        incident = await self._ledger.decide(acts.add, command)
        added = [a for a in incident.actions.values() if a.text == order.text.strip() and a.done_at is None][-1]
        return say(f"☐ {added.id} of {incident.id} is {said(name_of(self._ledger.world.config, added.owner), 80)}'s.")

    async def _done(self, caller: Caller, order: Order) -> Answer:
        command = acts.FinishAction(
            by=caller.by, incident=order.incident or 0, action=order.action or "", note=order.text
        )
        incident = await self._ledger.decide(acts.finish, command)
        left = sum(a.done_at is None for a in incident.actions.values())
        return say(f"☑ {said(order.action or '', 40)} of {incident.id} is done; {left or 'none'} left.")

    async def _actions(self, caller: Caller, order: Order) -> Answer:
        incident = await self._incident(order)
        if not incident.actions:
            return say(f"{incident.id} has no actions: `action add @ben what is to be done`.")
        lines: list[list[kit.Part]] = []
        for a in list(incident.actions.values())[-40:]:
            due = f", due {a.due_on}" if a.due_on else ""
            who = clean(name_of(self._ledger.world.config, a.owner), 60)
            lines.append([f"{'☑' if a.done_at else '☐'} ", kit.bold(a.id), f" {clean(a.text, 200)} ({who}{due})"])
        block = kit.rich([kit.bold(f"Actions of {incident.id}")], *lines)
        return Answer(text=f"{len(incident.actions)} actions of {incident.id}", blocks=(block,))

    async def _breakglass(self, caller: Caller, order: Order) -> Answer:
        command = glass.BreakGlass(by=caller.by, incident=order.incident or 0, reason=order.text)
        done = await self._ledger.decide(glass.break_glass, command)
        return say(f"⚠️ {done.incident.id}: {said(done.text, 1000)}")

    async def _reopen(self, caller: Caller, order: Order) -> Answer:
        command = resolve.Reopen(by=caller.by, incident=order.incident or 0, reason=order.text)
        incident = await self._ledger.decide(resolve.reopen, command)
        return say(f"↩️ {incident.id} is {incident.status}; its clocks run and people are called.")

    async def _close(self, caller: Caller, order: Order) -> Answer:
        command = resolve.Close(by=caller.by, incident=order.incident or 0, reason=order.text)
        return closed(await self._ledger.decide(resolve.close, command))

    async def _sev(self, caller: Caller, order: Order) -> Answer:
        assert order.severity is not None  # the parser sees to it
        command = people.SetSeverity(
            by=caller.by, incident=order.incident or 0, severity=order.severity, reason=order.text
        )
        incident = await self._ledger.decide(people.set_severity, command)
        return say(f"{COLOURS[incident.severity]} {incident.id} is {incident.severity}.")

    async def _status(self, caller: Caller, order: Order) -> Answer:
        if not order.text:
            return await self._forms.status(caller.act, order.incident or 0, audience=order.audience)
        command = status.GiveStatus(
            by=caller.by, incident=order.incident or 0, text=order.text, audience=order.audience
        )
        incident = await self._ledger.decide(status.give, command)
        return say(f"📣 The {status.SPOKEN[order.audience]} status of {incident.id} is stored and shared.")

    async def _step(self, caller: Caller, order: Order) -> Answer:
        assert order.verb is not None  # the parser sees to it
        if not order.targets and order.verb is not Verb.CAPTURE:
            return await self._forms.acting.open(caller.act, order.incident or 0, order.verb)  # with what it would mean
        command = respond.Request(
            by=caller.by, incident=order.incident or 0, verb=order.verb, targets=order.targets, reason=order.text
        )
        done = await self._ledger.decide(respond.request, command)
        return say(f"{done.incident.id}: {said(done.text, 1000)}")

    async def _approve(self, caller: Caller, order: Order) -> Answer:
        command = approve.Approve(
            by=caller.by, incident=order.incident or 0, verb=order.verb, reject=order.reject, reason=order.text
        )
        done = await self._ledger.decide(approve.approve, command)
        return say(f"{done.incident.id}: {said(done.text, 1000)}")

    async def _waive(self, caller: Caller, order: Order) -> Answer:
        assert order.verb is not None  # the parser sees to it
        command = respond.Waive(
            by=caller.by, incident=order.incident or 0, verb=order.verb, targets=order.targets, reason=order.text
        )
        incident = await self._ledger.decide(respond.waive, command)
        return say(
            f"{incident.id}: {order.verb} of {said(', '.join(order.targets), 500)} is waived; the journal has why."
        )

    async def _contained(self, caller: Caller, order: Order) -> Answer:
        command = outcomes.Contain(by=caller.by, incident=order.incident or 0, reason=order.text)
        incident = await self._ledger.decide(outcomes.contain, command)
        return say(f"🛡️ {incident.id} is contained on your word; the journal says that it is not proven.")

    async def _note(self, caller: Caller, order: Order) -> Answer:
        command = people.AddNote(by=caller.by, incident=order.incident or 0, text=order.text, source="note")
        incident = await self._ledger.decide(people.add_note, command)
        return say(f"📝 It stands in the timeline of {incident.id}.")

    async def _timeline(self, caller: Caller, order: Order) -> Answer:
        incident = await self._incident(order)
        entries = await self._ledger.read(lambda rows: rows.entries(incident.number))
        told = [w for w in entries if timeline.worth_reading(w)][-SHOWN:]
        config = self._ledger.world.config
        lines: list[list[kit.Part]] = []
        for written in told:
            line = timeline.line(written, config)
            lines.append([kit.moment(written.at), f" {line.icon} {clean(line.text, 160)}"])
        block = kit.rich([kit.bold(f"The last {len(told)} entries of {incident.id}")], *lines)
        return Answer(text=f"The last {len(told)} entries of {incident.id}", blocks=(block,))

    async def _evidence(self, caller: Caller, order: Order) -> Answer:
        incident = await self._incident(order)
        entries = await self._ledger.read(lambda rows: rows.entries(incident.number))
        return show(evidence.overview(incident, [w.entry for w in entries]))

    async def _hold(self, caller: Caller, order: Order) -> Answer:
        command = custody.Hold(by=caller.by, incident=order.incident or 0, reason=order.text)
        incident = await self._ledger.decide(custody.hold, command)
        return say(f"▣ The evidence of {incident.id} is under legal hold: nothing of it expires.")

    async def _lift(self, caller: Caller, order: Order) -> Answer:
        command = custody.Lift(by=caller.by, incident=order.incident or 0, reason=order.text)
        incident = await self._ledger.decide(custody.lift, command)
        return say(f"▣ The legal hold on the evidence of {incident.id} is lifted; policy decides how long it stays.")

    async def _resolve(self, caller: Caller, order: Order) -> Answer:
        if not order.text:
            return await self._forms.resolve(caller.act, order.incident or 0)
        command = resolve.Resolve(by=caller.by, incident=order.incident or 0, summary=order.text)
        incident = await self._ledger.decide(resolve.resolve, command)
        left = f" {len(incident.remaining)} targets are left, each with an owner." if incident.remaining else ""
        warn = f" ⚠️ {unfinished(incident)}" if unfinished(incident) else ""
        return say(f"✅ {incident.id} is resolved.{left}{warn} The postmortem's draft comes into its channel.")

    async def _postmortem(self, caller: Caller, order: Order) -> Answer:
        incident = await self._incident(order)
        if incident.postmortem_due is None:
            why = "is being written" if not incident.status.live else f"is written when {incident.id} is resolved"
            return say(f"The draft {why}.")
        where = f" It lies as a file in <#{incident.channel}>." if incident.channel else ""
        return say(f"📄 The postmortem of {incident.id} is due on {said(incident.postmortem_due, 20)}.{where}")

    async def _halt(self, caller: Caller, order: Order) -> Answer:
        if not order.text:
            return self._forms.halt(caller.act)
        await self._ledger.decide(halt.halt, halt.Halt(by=caller.by, reason=order.text))
        return say("🛑 Automation is halted. Freezing by hand goes on; `rearm` starts again and takes two people.")

    async def _rearm(self, caller: Caller, order: Order) -> Answer:
        return rearmed((await self._ledger.decide(halt.rearm, halt.Rearm(by=caller.by))).halted)

    async def _help(self, caller: Caller, order: Order) -> Answer:
        return say(help_text(self._front.command))

    async def _incident(self, order: Order) -> Incident:
        found = await self._front.places.get(order.incident or 0)
        if found is None:
            raise NotFound(f"There is no incident inc-{order.incident}: `list` shows the open ones.", where="incident")
        return found


CARRIED_OUT: Mapping[str, Callable[[Orders, Caller, Order], Awaitable[Answer]]] = {
    "declare": Orders._declare,
    "list": Orders._list,
    "show": Orders._show,
    "ack": Orders._ack,
    "role": Orders._role,
    "handover": Orders._handover,
    "sev": Orders._sev,
    "status": Orders._status,
    "oncall": Orders._oncall,
    "step": Orders._step,
    "approve": Orders._approve,
    "breakglass": Orders._breakglass,
    "waive": Orders._waive,
    "contained": Orders._contained,
    "note": Orders._note,
    "timeline": Orders._timeline,
    "action": Orders._action,
    "done": Orders._done,
    "actions": Orders._actions,
    "evidence": Orders._evidence,
    "hold": Orders._hold,
    "lift": Orders._lift,
    "console": Orders._console,
    "resolve": Orders._resolve,
    "postmortem": Orders._postmortem,
    "reopen": Orders._reopen,
    "close": Orders._close,
    "halt": Orders._halt,
    "rearm": Orders._rearm,
    "help": Orders._help,
}
"""Every order by its name."""


def closed(incident: Incident) -> Answer:
    """Return that an incident is closed."""
    left = sum(a.done_at is None for a in incident.actions.values())
    return say(f"📕 {incident.id} is closed; {left or 'no'} actions are open. Its channel is archived in a while.")


def rearmed(still_halted: bool) -> Answer:
    """Return how far re-arming has come."""
    if still_halted:
        return say("Your wish to re-arm is counted: a different person must agree within half an hour.")
    return say("▶️ Automation runs again. What is held is decided anew, nothing is released by itself.")
