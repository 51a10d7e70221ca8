"""Slack's Web API methods: each takes the office and the arguments, returns what joins `ok: true`, or refuses."""

from collections.abc import Callable, Mapping

from bot.practice.workspace.methods import bookmarks, channels, chat, files, history, marks, topics, users, views
from bot.practice.workspace.office import Office
from bot.practice.workspace.refusals import Json
from bot.practice.workspace.state import APP_ID

Method = Callable[[Office, Json], Json]


def open_connection(office: Office, args: Json) -> Json:
    """Return an address for one websocket of Socket Mode, good for half a minute."""
    base = office.world.origin.replace("http", "ws", 1)
    return {"url": f"{base}/link/?ticket={office.deliveries.sockets.ticket()}&app_id={APP_ID}"}


METHODS: Mapping[str, Method] = {
    **users.METHODS,
    **chat.METHODS,
    **channels.METHODS,
    **topics.METHODS,
    **history.METHODS,
    **marks.METHODS,
    **bookmarks.METHODS,
    **views.METHODS,
    **files.METHODS,
    "apps.connections.open": open_connection,
}
APP_LEVEL = frozenset({"apps.connections.open"})
