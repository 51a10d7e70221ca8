"""auth.test, api.test, team.info, users.*, usergroups.*: who is who."""

from bot.practice.workspace.arguments import flag, names, need, page, text
from bot.practice.workspace.office import Office
from bot.practice.workspace.people import HOME_TEAM, email, user_object
from bot.practice.workspace.refusals import Json, Refusal
from bot.practice.workspace.state import BOT_ID, BOT_USER, TEAM_DOMAIN


def auth_test(office: Office, args: Json) -> Json:
    """Return whose token it is."""
    return {
        "url": f"{office.world.origin}/",
        "team": "Practice",
        "user": "stopsign",
        "team_id": HOME_TEAM,
        "user_id": BOT_USER,
        "bot_id": BOT_ID,
        "is_enterprise_install": False,
    }


def api_test(office: Office, args: Json) -> Json:
    """Return the arguments, or the error that they ask for."""
    if text(args, "error"):
        raise Refusal(text(args, "error"), extra={"args": args})
    return {"args": args}


def team_info(office: Office, args: Json) -> Json:
    """Return the workspace."""
    return {"team": {"id": HOME_TEAM, "name": "Practice", "domain": TEAM_DOMAIN, "email_domain": "practice.example"}}


def info(office: Office, args: Json) -> Json:
    """Return one person."""
    person = office.world.person(text(args, "user"))
    if person is None:
        raise Refusal("user_not_found")
    return {"user": user_object(person, now=office.world.clock())}


def list_(office: Office, args: Json) -> Json:
    """Return everybody, a page at a time."""
    shown, cursor = page(office.world.people, args, default=1_000, most=1_000)
    now = office.world.clock()
    members = [user_object(person, now=now) for person in shown]
    return {"members": members, "cache_ts": int(now), "response_metadata": {"next_cursor": cursor}}


def lookup_by_email(office: Office, args: Json) -> Json:
    """Return the active person with that address."""
    wanted = need(args, "email")
    for person in office.world.people:
        if email(person) == wanted and not person.deleted:
            return {"user": user_object(person, now=office.world.clock())}
    raise Refusal("users_not_found")


def list_groups(office: Office, args: Json) -> Json:
    """Return the user groups, with members if asked."""
    groups = [dict(group) for group in office.world.usergroups]
    if not flag(args, "include_users"):
        for group in groups:
            group.pop("users")
    return {"usergroups": groups}


def list_group_members(office: Office, args: Json) -> Json:
    """Return the people of one user group."""
    wanted = need(args, "usergroup")
    for group in office.world.usergroups:
        if group["id"] == wanted:
            return {"users": list(group["users"])}
    raise Refusal("no_such_subteam")


def new_group(office: Office, args: Json) -> Json:
    """Return a user group's row made from `handle`, `name` and `users` (a hand's act, not one of the bot's)."""
    handle, users = need(args, "handle"), names(args, "users")
    return {
        "id": office.world.new_id("S"),
        "team_id": HOME_TEAM,
        "is_usergroup": True,
        "name": text(args, "name", handle),
        "handle": handle,
        "user_count": len(users),
        "users": users,
    }


METHODS = {
    "auth.test": auth_test,
    "api.test": api_test,
    "team.info": team_info,
    "users.info": info,
    "users.list": list_,
    "users.lookupByEmail": lookup_by_email,
    "usergroups.list": list_groups,
    "usergroups.users.list": list_group_members,
}
