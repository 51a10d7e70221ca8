"""A simulated Slack workspace: Slack's Web API, its signed deliveries, people's hands and a page to watch.

`make demo` and the tests run the bot against it by `SLACK_API_URL` alone. It imports nothing of the bot and speaks
HTTP only, so that what works here was not helped by a short cut. What never lives here: incidents, policy, nodes.
"""

from bot.practice.workspace.app import build
from bot.practice.workspace.people import Person

__all__ = ["Person", "build"]
