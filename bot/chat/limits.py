"""Slack's limits on what is shown, and how we stay within them."""

BLOCKS = 50
SECTION = 3_000
FIELD = 2_000
HEADER = 150
BUTTON = 75
CONFIRM_TITLE = 100
CONFIRM_TEXT = 300
CONFIRM_BUTTON = 30
OPTION = 75
OPTIONS = 100
ACTIONS = 25
TITLE = 24
TOPIC = 250
CHANNEL_NAME = 80
INVITED = 100
TEXT = 3_900
"""chat.update refuses a text over 4,000 characters."""
BLOCKS_TEXT = 12_000
"""All blocks of a message together; Slack refuses somewhat above 13,000."""
RICH = 2_900
"""One rich text block: our own limit, since Slack names none."""


def cut(text: str, most: int) -> str:
    """Return `text` in at most `most` characters, with an ellipsis where something was left out."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
