"""playbooks/<name>.yaml → Playbook."""

import re
from datetime import timedelta

from bot.config.sheet import Sheet
from bot.config.yaml_tree import Place
from bot.domain.playbook import Needs, PlannedStep, Playbook, Targets, Verb

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,40}", re.ASCII)
_LONGEST = timedelta(hours=1)
_STARTS = frozenset({Verb.UNFREEZE, Verb.RESTORE})


def read_playbook(sheet: Sheet, name: str) -> Playbook | None:
    """Return the playbook called `name`, or None after saying on the sheet what is wrong."""
    if not NAME.fullmatch(name):
        sheet.say((), "has a name that cannot be used: call the file lower-case-name.yaml")
    playbook = sheet.read(Playbook, sheet.mapping(sheet.tree, ()), (), name=name)
    if playbook is None:
        return None
    if not playbook.steps:
        sheet.say(("steps",), "is empty: list at least one step, such as communicate")
    for i, step in enumerate(playbook.steps):
        _check_step(sheet, step, ("steps", i), [earlier.step for earlier in playbook.steps[:i]])
    return playbook


def _check_step(sheet: Sheet, step: PlannedStep, place: Place, earlier: list[Verb]) -> None:
    if step.step in earlier:
        sheet.say((*place, "step"), f"{str(step.step)!r} stands here twice: a step runs once in a playbook")
    if step.step in _STARTS:
        sheet.say((*place, "step"), "starts what was stopped: that is a command of two people, never a playbook's step")
    if step.step is Verb.ROLLBACK and step.authority is Needs.AUTO:
        sheet.say((*place, "authority"), "must be one or two: a rollback starts another build")
    if step.after is not None and step.after not in earlier:
        sheet.say((*place, "after"), f"{str(step.after)!r} is not an earlier step: name one that stands above")
    if (step.targets is Targets.NONE) != (step.step is Verb.COMMUNICATE):
        sheet.say((*place, "targets"), "must be none for communicate and suspects for all others")
    if not timedelta() < step.timeout <= _LONGEST:
        sheet.say((*place, "timeout"), "must be longer than 0 and at most 1h")
    if step.wait is not None and not timedelta() < step.wait <= _LONGEST:
        sheet.say((*place, "wait"), "must be longer than 0 and at most 1h")
