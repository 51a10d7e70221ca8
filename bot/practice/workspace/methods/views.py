"""views.*: modals that a trigger allows, and home tabs."""

import json
from typing import Any

from bot.practice.workspace import limits
from bot.practice.workspace.arguments import parsed, text
from bot.practice.workspace.office import Office
from bot.practice.workspace.refusals import Json, Refusal
from bot.practice.workspace.shown import view_object
from bot.practice.workspace.state import Trigger, View, World

TRIGGER_SECONDS = 3.0
STACK_MAX = 3


def open_(office: Office, args: Json) -> Json:
    """Open a modal for the person who pulled the trigger."""
    body = _body(office, args, ("modal",))
    trigger = _exchange(office, args)
    view = new_view(office.world, trigger.user, body)
    trigger.opened = view.id
    office.world.stacks[trigger.user] = [view]
    office.world.changed()
    return {"view": view_object(view)}


def push(office: Office, args: Json) -> Json:
    """Put a modal on top of the one in which the trigger was pulled."""
    body = _body(office, args, ("modal",))
    trigger = _exchange(office, args)
    stack = office.world.stacks.get(trigger.user, [])
    if not stack or trigger.view is None:
        raise Refusal("not_found")
    if len(stack) >= STACK_MAX:
        raise Refusal("push_limit_reached")
    view = new_view(office.world, trigger.user, body, on=stack[-1])
    trigger.opened = view.id
    stack.append(view)
    office.world.changed()
    return {"view": view_object(view)}


def update(office: Office, args: Json) -> Json:
    """Change an open view, found by view_id or external_id."""
    world = office.world
    found = world.view(text(args, "view_id")) or _external(world, text(args, "external_id"))
    if found is None:
        raise Refusal("not_found")
    _unchanged(found, args)
    body = _body(office, args, (str(found.body["type"]),), replacing=found)
    replace_body(world, found, body)
    return {"view": view_object(found)}


def publish(office: Office, args: Json) -> Json:
    """Put a home tab on a person's screen."""
    body = _body(office, args, ("home",))
    person = office.world.person(text(args, "user_id"))
    if person is None or person.is_bot:
        raise Refusal("user_not_found")
    view = office.world.homes.get(person.id)
    if view is None:
        view = new_view(office.world, person.id, body)
        office.world.homes[person.id] = view
        office.world.changed()
    else:
        _unchanged(view, args)
        replace_body(office.world, view, body)
    return {"view": view_object(view)}


def checked_view(world: World, view: Any, kinds: tuple[str, ...]) -> Json:
    """Return a view payload that Slack would take, its ids filled in; raises Refusal."""
    if view is None:
        raise Refusal("invalid_arguments", messages=["missing required field: view"])
    if len(json.dumps(view)) > limits.VIEW_BYTES:
        raise Refusal("view_too_large")
    if found := limits.view_problems(view, kinds=kinds):
        raise Refusal("invalid_arguments", messages=[str(problem) for problem in found])
    body: Json = view
    world.fill_ids(body["blocks"])
    return body


def new_view(world: World, user: str, body: Json, *, on: View | None = None) -> View:
    """Return a view that is not yet on a screen; `on` is the modal that it lies on."""
    id_ = world.new_id("V")
    return View(
        id=id_, user=user, body=body, hash=_hash(world), root=on.root if on else id_, previous=on.id if on else None
    )


def replace_body(world: World, view: View, body: Json) -> None:
    """Show something else in an open view; inputs with the same block and action keep what was typed."""
    view.body, view.hash = body, _hash(world)
    blocks = {block["block_id"] for block in body["blocks"]}
    view.values = {block_id: value for block_id, value in view.values.items() if block_id in blocks}
    world.changed()


def _hash(world: World) -> str:
    return f"{int(world.clock())}.{world.short_id().lower()}{world.short_id().lower()}"


def _body(office: Office, args: Json, kinds: tuple[str, ...], *, replacing: View | None = None) -> Json:
    body = checked_view(office.world, parsed(args, "view", "invalid_arguments"), kinds)
    taken = _external(office.world, body.get("external_id") or "")
    if taken is not None and taken is not replacing:
        raise Refusal("duplicate_external_id")
    return body


def _exchange(office: Office, args: Json) -> Trigger:
    trigger = office.world.triggers.get(text(args, "trigger_id"))
    if trigger is None:
        raise Refusal("invalid_trigger_id")
    if trigger.exchanged:
        raise Refusal("exchanged_trigger_id")
    if office.world.clock() - trigger.at > TRIGGER_SECONDS:
        raise Refusal("expired_trigger_id")
    trigger.exchanged = True
    return trigger


def _external(world: World, external_id: str) -> View | None:
    stacked = [view for stack in world.stacks.values() for view in stack]
    return next((view for view in stacked if external_id and view.body.get("external_id") == external_id), None)


def _unchanged(view: View, args: Json) -> None:
    if text(args, "hash") and text(args, "hash") != view.hash:
        raise Refusal("hash_conflict")


METHODS = {"views.open": open_, "views.push": push, "views.update": update, "views.publish": publish}
