"""A step by form: choose the targets, read what it means, say yes. What was chosen travels sealed between the two."""

import json
from collections.abc import Sequence

from bot.chat import actions, step_views, views
from bot.chat.answers import Answer, say
from bot.chat.front import Act, Caller, Front
from bot.chat.seals import set_of
from bot.chat.words import said
from bot.domain.config import Config
from bot.domain.incident import Incident
from bot.domain.playbook import Verb
from bot.errors import Invalid, NotFound, Refused
from bot.flows import respond
from bot.flows.stakes import stakes


class Acting:
    """Opens the form of a step, shows its consequence, and asks for it."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._ledger = front.ledger

    async def open(self, act: Act, number: int, verb: Verb | None) -> Answer:
        """Return the form that asks for the targets."""
        incident = await self._incident(number)
        if not self._ledger.world.config.inventory.nodes:
            raise Invalid("inventory.yaml names no node: there is nothing to choose.")
        metadata = self._front.seals.seal(actions.CHOOSE, str(number), verb.value if verb else "", act.response_url)
        form = step_views.choose(incident, self._ledger.world.config, verb, metadata)
        typed = f"`{self._front.command} {verb or 'freeze'} {incident.id} name why` does the same."
        return Answer(form=form, instead=typed)

    async def chosen(self, caller: Caller, number: int, verb: str, given: views.Filled) -> Answer:
        """Return the question with the consequence, in place of the form; nothing is decided yet."""
        meant = Verb(verb or given[actions.VERB])
        nodes = tuple(given[actions.TARGETS].split("\n"))
        incident = await self._incident(number)
        reason = given[actions.REASON]
        command = respond.Request(by=caller.by, incident=number, verb=meant, targets=nodes, reason=reason)
        seen = await self._ledger.preview(respond.preview, command)
        config = self._ledger.world.config
        told = [stakes(config.inventory, meant, seen.targets, seen.stopped), seen.text]
        carried = _packed(config, meant, seen.targets, reason, seen.digest)
        metadata = self._front.seals.seal(actions.SURE, str(number), carried, caller.act.response_url)
        view = step_views.sure(incident, meant, seen.targets, told, seen.people, metadata)
        return Answer(update=view, text="The form took too long: please open it again.", refused=False)

    async def confirmed(self, caller: Caller, number: int, carried: str, given: views.Filled) -> Answer:
        """Ask for exactly what was shown."""
        verb, nodes, reason, digest = _unpacked(self._ledger.world.config, carried)
        command = respond.Request(by=caller.by, incident=number, verb=verb, targets=nodes, reason=reason, digest=digest)
        done = await self._ledger.decide(respond.request, command)
        return say(f"{done.incident.id}: {said(done.text, 1000)}")

    async def _incident(self, number: int) -> Incident:
        found = await self._front.places.get(number)
        if found is None:
            raise NotFound(f"There is no incident inc-{number}: `list` shows the open ones.")
        return found


def _packed(config: Config, verb: Verb, nodes: Sequence[str], reason: str, digest: str) -> str:
    """Return a step in few characters: nodes by their place in the inventory, with a check of their names."""
    places = {name: place for place, name in enumerate(config.inventory.nodes)}
    step = [verb.value, [places[n] for n in nodes], set_of(tuple(nodes)), reason, digest]
    return json.dumps(step, separators=(",", ":"), ensure_ascii=False)  # a view carries at most 3,000 characters


def _unpacked(config: Config, carried: str) -> tuple[Verb, tuple[str, ...], str, str]:
    """Return the step that `_packed` wrote; raises Refused when the inventory names other nodes by now."""
    verb, places, named, reason, digest = json.loads(carried)
    names = list(config.inventory.nodes)
    nodes = tuple(names[place] for place in places if place < len(names))
    if set_of(nodes) != named:
        raise Refused("The inventory has changed since you chose: open the form again.")
    return Verb(verb), nodes, reason, digest
