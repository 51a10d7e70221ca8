"""bookmarks.*: the links in a channel's bar."""

from urllib.parse import urlsplit

from bot.practice.workspace.arguments import need, text
from bot.practice.workspace.methods import finding
from bot.practice.workspace.office import Office
from bot.practice.workspace.people import HOME_TEAM
from bot.practice.workspace.refusals import Json, Refusal
from bot.practice.workspace.state import APP_ID, BOT_USER, Channel

BOOKMARKS_MAX = 100


def add(office: Office, args: Json) -> Json:
    """Add a link to a channel's bookmarks."""
    channel = finding.joined(office, args, "channel_id")
    title, kind = need(args, "title"), need(args, "type")
    if kind != "link":
        raise Refusal("invalid_bookmark_type")
    link = _link(need(args, "link"))
    if len(channel.bookmarks) >= BOOKMARKS_MAX:
        raise Refusal("too_many_bookmarks")
    now = int(office.world.clock())
    bookmark: Json = {
        "id": office.world.new_id("Bk"),
        "channel_id": channel.id,
        "title": title,
        "link": link,
        "emoji": text(args, "emoji"),
        "icon_url": "",
        "type": kind,
        "entity_id": None,
        "date_created": now,
        "date_updated": 0,
        "rank": str(len(channel.bookmarks)),
        "last_updated_by_user_id": BOT_USER,
        "last_updated_by_team_id": HOME_TEAM,
        "shortcut_id": None,
        "app_id": APP_ID,
    }
    channel.bookmarks.append(bookmark)
    office.world.changed()
    return {"bookmark": dict(bookmark)}


def edit(office: Office, args: Json) -> Json:
    """Change a bookmark's title, link or emoji."""
    channel = finding.joined(office, args, "channel_id")
    bookmark = _bookmark(channel, args)
    for key in ("title", "emoji"):
        if text(args, key):
            bookmark[key] = text(args, key)
    if text(args, "link"):
        bookmark["link"] = _link(text(args, "link"))
    bookmark["date_updated"] = int(office.world.clock())
    office.world.changed()
    return {"bookmark": dict(bookmark)}


def remove(office: Office, args: Json) -> Json:
    """Remove a bookmark."""
    channel = finding.joined(office, args, "channel_id")
    channel.bookmarks.remove(_bookmark(channel, args))
    office.world.changed()
    return {}


def list_(office: Office, args: Json) -> Json:
    """Return a channel's bookmarks."""
    channel = finding.channel(office, args, "channel_id")
    return {"bookmarks": [dict(bookmark) for bookmark in channel.bookmarks]}


def _bookmark(channel: Channel, args: Json) -> Json:
    wanted = need(args, "bookmark_id")
    found = next((bookmark for bookmark in channel.bookmarks if bookmark["id"] == wanted), None)
    if found is None:
        raise Refusal("not_found")
    return found


def _link(link: str) -> str:
    parts = urlsplit(link)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Refusal("invalid_link")
    return link


METHODS = {
    "bookmarks.add": add,
    "bookmarks.edit": edit,
    "bookmarks.remove": remove,
    "bookmarks.list": list_,
}
