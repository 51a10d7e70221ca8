"""What somebody is told in return: a value that the listeners turn into an acknowledgement or into work."""

from dataclasses import dataclass

from bot.chat.kit import Json, Message
from bot.chat.limits import BLOCKS, TEXT
from bot.chat.words import cut_escaped, escape, said
from bot.errors import Invalid, NotCommitted, StopsignError


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`text` in mrkdwn for one person. `form` is a modal to open; `instead` says what to type if it cannot open.

    With `replace` the message that held the button is replaced by this. `wrong` names the field that is at fault.
    """

    text: str = ""
    blocks: tuple[Json, ...] = ()
    form: Json | None = None
    update: Json | None = None
    """A modal that takes the place of the one that was submitted."""
    instead: str = ""
    replace: bool = False
    refused: bool = False
    wrong: str | None = None

    def body(self) -> Json:
        """Return it as a message that only one person sees."""
        return {
            "response_type": "ephemeral",
            "replace_original": self.replace,
            "text": cut_escaped(self.text, TEXT) or "Done.",
        } | ({"blocks": list(self.blocks[:BLOCKS])} if self.blocks else {})


def say(text: str) -> Answer:
    """Return our own sentence; what stands in it from outside was escaped by the caller."""
    return Answer(text=text)


def show(message: Message) -> Answer:
    """Return a whole message for one person."""
    return Answer(text=message.text, blocks=message.blocks)


def sorry(error: StopsignError) -> Answer:
    """Return what is now true and what to do, from an error."""
    icon = {"Invalid": "✏️", "NotFound": "✏️", "NotCommitted": "⚠️"}.get(type(error).__name__, "🚫")
    text = said(str(error), 1500, lines=True)
    if isinstance(error, NotCommitted):
        text += " Nothing was changed: try again."
    elif isinstance(error, Invalid):
        return Answer(text=f"{icon} {text}", refused=True, wrong=error.where)
    return Answer(text=f"{icon} {escape(error.title)}: {text}", refused=True)


BROKEN = Answer(
    text="💥 I broke on that and cannot tell how far it got: `show` says what is true now. The log has the reason.",
    refused=True,
)
WORKING = Answer(text="Working on it…")
