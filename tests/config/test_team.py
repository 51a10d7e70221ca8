"""team.yaml."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.config.team import GROUPS, hour_of_week
from bot.domain.authority import Power

Broken = Callable[[str, str], tuple[str, ...]]
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@given(st.integers(0, 6), st.integers(0, 24))
def test_a_day_and_an_hour_are_an_hour_of_the_week(day: int, hour: int) -> None:
    assert hour_of_week(f"{DAYS[day]} {hour:02}:00") == (day * 24 + hour) % 168


def test_full_names_of_days_are_understood() -> None:
    assert hour_of_week("Saturday 6:00") == 126


@pytest.mark.parametrize("text", ["", "mon", "08:00", "mon 25:00", "mon 8", "xyz 08:00", "mon -1:00"])
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(ValueError, match="day and an hour"):
        hour_of_week(text)


def test_groups_stand_for_powers(home: Any) -> None:
    team = home.load().team
    assert team.people["ada"].powers == frozenset(Power)
    assert team.people["ben"].powers == GROUPS["responder"]
    assert not GROUPS["responder"] & {Power.UNFREEZE, Power.ROLLBACK, Power.REARM}


def test_nobody_has_a_power_that_is_not_written(home: Any) -> None:
    home.write("team.yaml", "people: [{id: a, name: A}, {id: b, name: B, powers: [freeze, capture]}]\n")
    team = home.load().team
    assert team.people["a"].powers == frozenset()
    assert team.people["b"].powers == {Power.FREEZE, Power.CAPTURE}


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("[lead]", "[laed]", "2: people[0].powers[0]: 'laed' is not a power: did you mean 'lead'?"),
        ("[lead]", "lead", "2: people[0].powers: must be a list"),
        ("[lead]", "[lead], email: x", "2: people[0].email: is not known here"),
        ("U002", "U001", "3: people[1].slack: 'U001' already belongs to ada"),
        ("U002", "'@ben'", "3: people[1].slack: must be the member id (U…)"),
        ("U002", "U002, login: ADA", "3: people[1].login: 'ADA' already belongs to ada"),
        ("name: Ben", "name: ada", "3: people[1].name: 'ada' already belongs to ada"),
        ("id: ben", "id: ada", "3: people[1].id: 'ada' already belongs to ada"),
        ("id: ben", "id: b n", "3: people[1].id: must be letters, digits"),
        ("name: Ben, ", "", "3: people[1].name: is required"),
        ("[ada, ben]", "[ada, bne]", "5: shifts[0].people[1]: 'bne' is not listed under people: did you mean 'ben'?"),
        ("[ada, ben]", "[]", "5: shifts[0].people: is empty"),
        ("[ada, ben]", "[ada], roles: {ic: eve}", "5: shifts[0].roles.ic: 'eve' is not listed under people"),
        ("[ada, ben]", "[ada], roles: {boss: ada}", "5: shifts[0].roles.boss: 'boss' is not known"),
        ("[responder]", "[capture]", "5: shifts[0].people[1]: 'ben' may not respond: give them the power respond"),
        ('from: "mon 00:00"', 'from: "mon 00:30"', "5: shifts[0].from: must be a whole hour"),
        ('from: "mon 00:00", ', "", "5: shifts[0].from: is required"),
        ('to: "mon 00:00"', 'until: "mon 00:00"', "5: shifts[0].until: is not known here"),
        ("people:\n", "timezone: Mars/Olympus\npeople:\n", "1: timezone: 'Mars/Olympus' is not a time zone"),
    ],
)
def test_each_problem_has_its_line_and_a_remedy(team: Broken, old: str, new: str, problem: str) -> None:
    problems = team(old, new)
    assert any(line.startswith(f"team.yaml:{problem}") for line in problems), problems


def test_somebody_must_be_able_to_freeze(home: Any) -> None:
    problems = home.write("team.yaml", "people: [{id: a, name: A, powers: [respond]}]\n").problems()
    assert problems == ("team.yaml:1: people: nobody may freeze: give somebody the power freeze, or responder",)


@pytest.mark.parametrize("zone", ["../../etc/passwd", "", "Europe", "/etc/localtime", "UTC\0"])
def test_a_time_zone_is_never_a_path(home: Any, zone: str) -> None:
    text = (home.path / "team.yaml").read_text()
    assert "timezone" in home.write("team.yaml", f'timezone: "{zone!s}"\n'.replace("\0", "\\0") + text).problems()[0]
