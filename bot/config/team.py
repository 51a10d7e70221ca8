"""team.yaml → Team: who may do what, and who is on call when."""

import re
from collections.abc import Mapping
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bot.config.inventory import NAME
from bot.config.sheet import Sheet, did_you_mean
from bot.config.yaml_tree import Place, Tree
from bot.domain.authority import Power
from bot.domain.team import HOURS_A_WEEK, Person, Shift, Team

GROUPS: Mapping[str, frozenset[Power]] = {
    "responder": frozenset(
        {Power.RESPOND, Power.FREEZE, Power.ISOLATE, Power.CAPTURE, Power.THROTTLE, Power.HALT},
    ),
    "lead": frozenset(Power),
}
"""Names for several powers at once: a responder may stop everything, a lead may also start it again."""

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MOMENT = re.compile(r"(mon|tue|wed|thu|fri|sat|sun)[a-z]*\s+(\d{1,2}):(\d\d)", re.IGNORECASE | re.ASCII)
_SLACK = re.compile(r"[UW][A-Z0-9]{2,20}", re.ASCII)
_WORDS = (*(str(p) for p in Power), *GROUPS)


def hour_of_week(text: str) -> int:
    """Read `mon 00:00` as 0 and `sun 24:00` as 0 again; whole hours only, ValueError otherwise."""
    found = _MOMENT.fullmatch(text.strip())
    if found is None or int(found[2]) > 24:
        raise ValueError('must be a day and an hour: write it as "mon 08:00"')
    if found[3] != "00":
        raise ValueError('must be a whole hour: write it as "mon 08:00"')
    return (_DAYS.index(found[1].lower()) * 24 + int(found[2])) % HOURS_A_WEEK


def read_team(sheet: Sheet) -> Team:
    """Return the team in `sheet`; what is wrong with it is said there and left out of the result."""
    top = sheet.mapping(sheet.tree, (), known=("timezone", "people", "shifts"))
    people = _people(sheet, top.get("people"))
    shifts = _shifts(sheet, top.get("shifts"), people)
    team = Team(people=people, shifts=shifts, timezone=_timezone(sheet, top.get("timezone", "UTC")))
    if people and not team.holders(Power.FREEZE):
        sheet.say(("people",), "nobody may freeze: give somebody the power freeze, or responder")
    return team


def _timezone(sheet: Sheet, written: Tree) -> str:
    try:
        return ZoneInfo(str(written)).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        sheet.say(("timezone",), f"{str(written)!r:.60} is not a time zone: write it as Europe/Berlin or UTC")
        return "UTC"


def _people(sheet: Sheet, written: Tree) -> dict[str, Person]:
    people: dict[str, Person] = {}
    taken: dict[tuple[str, str], str] = {}
    if not written:
        sheet.say(("people",), "names nobody: list each person with id, name, slack and powers")
    for place, entry in sheet.entries(written, ("people",), name="id"):
        if "powers" in entry:
            entry = {**entry, "powers": _powers(sheet, entry["powers"], (*place, "powers"))}
        person = sheet.read(Person, entry, place)
        if person is None:
            continue
        _check_person(sheet, person, place)
        for account in ("id", "name", "slack", "login"):
            _check_taken(sheet, taken, account, person, (*place, account))
        people.setdefault(person.id, person)
    return people


def _powers(sheet: Sheet, written: Tree, place: Place) -> Tree:
    """Return the list of powers with groups replaced by what they stand for."""
    if not isinstance(written, list):
        return written
    found: set[str] = set()
    for i, word in enumerate(written):
        if word in GROUPS:
            found |= {str(power) for power in GROUPS[str(word)]}
        elif word in _WORDS:
            found.add(str(word))
        else:
            sheet.say((*place, i), f"{str(word)!r:.60} is not a power" + did_you_mean(str(word), _WORDS))
    return [*sorted(found)]


def _check_person(sheet: Sheet, person: Person, place: Place) -> None:
    if not NAME.fullmatch(person.id):
        sheet.say((*place, "id"), "must be letters, digits, '.', '_' and '-': write a short name such as ada")
    if not person.name.strip() or not person.name.isprintable():
        sheet.say((*place, "name"), "must be a name that people can read")
    if person.slack is not None and not _SLACK.fullmatch(person.slack):
        sheet.say((*place, "slack"), "must be the member id (U…): in Slack, open the profile, ⋮, Copy member ID")


def _check_taken(sheet: Sheet, taken: dict[tuple[str, str], str], account: str, person: Person, place: Place) -> None:
    value = getattr(person, account)
    if value is None:
        return
    key = (account, value.casefold())
    if key in taken:
        sheet.say(place, f"{value!r} already belongs to {taken[key]}: each must name one person")
    taken.setdefault(key, person.id)


def _shifts(sheet: Sheet, written: Tree, people: Mapping[str, Person]) -> tuple[Shift, ...]:
    shifts = []
    for place, entry in sheet.entries(written, ("shifts",), name="name"):
        fields = sheet.mapping(entry, place, known=("from", "to", "people", "roles"))
        start, end = (_moment(sheet, fields, key, place) for key in ("from", "to"))
        rest = {key: value for key, value in fields.items() if key in {"people", "roles"}}
        shift = sheet.read(Shift, rest, place, start=start, end=end)
        if shift is not None:
            _check_shift(sheet, shift, place, people)
            shifts.append(shift)
    return tuple(shifts)


def _moment(sheet: Sheet, fields: Mapping[str, Tree], key: str, place: Place) -> int:
    if key not in fields:
        sheet.say((*place, key), 'is required: add it as "mon 08:00"')
        return 0
    try:
        return hour_of_week(str(fields[key]))
    except ValueError as error:
        sheet.say((*place, key), str(error))
        return 0


def _check_shift(sheet: Sheet, shift: Shift, place: Place, people: Mapping[str, Person]) -> None:
    named: list[tuple[Place, str]] = [((*place, "people", i), who) for i, who in enumerate(shift.people)]
    named += [((*place, "roles", str(role)), who) for role, who in shift.roles.items()]
    if not shift.people:
        sheet.say((*place, "people"), "is empty: name who is on call, the primary first")
    for at, who in named:
        person = people.get(who)
        if person is None:
            sheet.say(at, f"{who!r} is not listed under people" + did_you_mean(who, people))
        elif Power.RESPOND not in person.powers:
            sheet.say(at, f"{who!r} may not respond: give them the power respond, or take them off call")
