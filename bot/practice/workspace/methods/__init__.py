"""Slack's Web API methods: each takes the office and the arguments, returns what joins `ok: true`, or refuses."""

from collections.abc import Callable, Mapping

from bot.practice.workspace.methods import channels, chat, files, history, marks, users, views
from bot.practice.workspace.office import Office
from bot.practice.workspace.refusals import Json

Method = Callable[[Office, Json], Json]

METHODS: Mapping[str, Method] = {
    **users.METHODS,
    **chat.METHODS,
    **channels.METHODS,
    **history.METHODS,
    **marks.METHODS,
    **views.METHODS,
    **files.METHODS,
}
