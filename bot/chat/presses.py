"""What each button decides. A button says what and for which incident; who may is judged when it is pressed."""

from collections.abc import Awaitable, Callable

from bot.chat import actions, messages, targets
from bot.chat.answers import Answer, say
from bot.chat.forms import Forms
from bot.chat.front import Caller, Front
from bot.chat.header import name_of
from bot.chat.messages import Setting
from bot.chat.orders import closed, rearmed
from bot.chat.seals import set_of
from bot.chat.words import said
from bot.domain.playbook import Verb
from bot.domain.roles import Role
from bot.errors import NotFound, Refused
from bot.flows import approve, halt, people, resolve, respond

Words = tuple[str, ...]


class Presses:
    """Carries out presses of our buttons."""

    def __init__(self, front: Front, forms: Forms) -> None:
        self._front = front
        self._forms = forms
        self._ledger = front.ledger
        self._table: dict[str, Callable[[Caller, Words], Awaitable[Answer]]] = {
            actions.PAGE_ACK: self._page_ack,
            actions.INCIDENT_ACK: self._incident_ack,
            actions.ROLE: self._role,
            actions.HELD: self._held,
            actions.APPROVE: self._approve,
            actions.REJECT: self._reject,
            actions.REARM: self._rearm,
            actions.STATUS_FORM: self._status_form,
            actions.RESOLVE_FORM: self._resolve_form,
            actions.HALT_FORM: self._halt_form,
            actions.ROLES_FORM: self._roles_form,
            actions.STEP_FORM: self._step_form,
            actions.SEVERITY_FORM: self._severity_form,
            actions.REOPEN_FORM: self._reopen_form,
            actions.GLASS_FORM: self._glass_form,
            actions.DECLARE_FORM: self._declare_form,
            actions.CLOSE: self._close,
        }

    async def pressed(self, caller: Caller, action_id: str, value: str) -> Answer:
        """Open the button's seal and carry it out; raises Refused for a button that we did not make."""
        kind = actions.kind(action_id)
        if kind not in self._table:
            raise NotFound("That button does nothing any more: use the newest message, or the command.")
        return await self._table[kind](caller, self._front.seals.open(kind, value))

    async def _page_ack(self, caller: Caller, words: Words) -> Answer:
        command = people.Acknowledge(by=caller.by, incident=int(words[0]))
        incident = await self._ledger.decide(people.acknowledge, command)
        setting = Setting(config=self._ledger.world.config, seals=self._front.seals, now=self._ledger.clock.now())
        done = messages.paged_done(incident, setting)
        return Answer(text=done.text, blocks=done.blocks, replace=True)

    async def _incident_ack(self, caller: Caller, words: Words) -> Answer:
        command = people.Acknowledge(by=caller.by, incident=int(words[0]))
        incident = await self._ledger.decide(people.acknowledge, command)
        who = said(name_of(self._ledger.world.config, incident.acknowledged_by), 80)
        return say(f"✅ {incident.id} is acknowledged by {who}.")

    async def _role(self, caller: Caller, words: Words) -> Answer:
        role = Role(words[1])
        command = people.TakeRole(by=caller.by, incident=int(words[0]), role=role)
        incident = await self._ledger.decide(people.take_role, command)
        return say(f"You are {role.title} of {incident.id}: {role.duty}.")

    async def _held(self, caller: Caller, words: Words) -> Answer:
        """Let a held step happen, on the targets that the button showed as far as they still wait, and on no other."""
        number, verb, shown = int(words[0]), Verb(words[1]), words[2:]
        incident = await self._front.places.get(number)
        waiting = targets.held(incident).get(verb, ()) if incident else ()
        nodes = waiting if shown == (set_of(waiting),) else tuple(node for node in shown if node in waiting)
        if not nodes:
            raise Refused(f"That {verb} does not wait any more, or other targets do: see the header.")
        reason = f"decided by {caller.person.name} in Slack"
        command = respond.Request(by=caller.by, incident=number, verb=verb, targets=nodes, reason=reason)
        done = await self._ledger.decide(respond.request, command)
        return say(f"{done.incident.id}: {said(done.text, 1000)}")

    async def _approve(self, caller: Caller, words: Words) -> Answer:
        return await self._agreed(caller, words, reject=False)

    async def _reject(self, caller: Caller, words: Words) -> Answer:
        return await self._agreed(caller, words, reject=True)

    async def _agreed(self, caller: Caller, words: Words, *, reject: bool) -> Answer:
        command = approve.Approve(by=caller.by, incident=int(words[0]), approval=words[1], reject=reject)
        done = await self._ledger.decide(approve.approve, command)
        return say(f"{done.incident.id}: {said(done.text, 1000)}")

    async def _rearm(self, caller: Caller, words: Words) -> Answer:
        return rearmed((await self._ledger.decide(halt.rearm, halt.Rearm(by=caller.by))).halted)

    async def _status_form(self, caller: Caller, words: Words) -> Answer:
        return await self._forms.status(caller.act, int(words[0]), prompt=words[1])

    async def _resolve_form(self, caller: Caller, words: Words) -> Answer:
        return await self._forms.resolve(caller.act, int(words[0]))

    async def _roles_form(self, caller: Caller, words: Words) -> Answer:
        return await self._forms.roles(caller.act, int(words[0]))

    async def _step_form(self, caller: Caller, words: Words) -> Answer:
        return await self._forms.acting.open(caller.act, int(words[0]), Verb(words[1]) if words[1] else None)

    async def _severity_form(self, caller: Caller, words: Words) -> Answer:
        return await self._forms.severity(caller.act, int(words[0]))

    async def _reopen_form(self, caller: Caller, words: Words) -> Answer:
        return await self._forms.reopen(caller.act, int(words[0]))

    async def _glass_form(self, caller: Caller, words: Words) -> Answer:
        return await self._forms.go_alone(caller.act, int(words[0]), words[1])

    async def _declare_form(self, caller: Caller, words: Words) -> Answer:
        return self._forms.declare(caller.act)

    async def _close(self, caller: Caller, words: Words) -> Answer:
        command = resolve.Close(by=caller.by, incident=int(words[0]))
        return closed(await self._ledger.decide(resolve.close, command))

    async def _halt_form(self, caller: Caller, words: Words) -> Answer:
        return self._forms.halt(caller.act)
