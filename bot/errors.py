"""Hold the one tree of errors. Each class says what is now true.

StopsignError
├── Invalid          the input is wrong; nothing was changed
│   └── NotFound     what was named does not exist; nothing was changed
├── Refused          policy or authority says no; nothing was changed
│   └── Halted       the kill switch is on; nothing was started
├── NotCommitted     the store could not commit; nothing was changed, try again
├── Stale            somebody else holds this work now; nothing of ours was recorded
├── Misconfigured    settings or the operator's files are wrong; nothing was started
├── NodeError        a call to a node did not give a usable answer
│   ├── NotReached   the request cannot have arrived: repeating is safe
│   ├── NoAnswer     the request may have arrived and acted: the outcome is unknown
│   ├── NodeRefused  the node answered no
│   └── NodeBroken   the node answered something that cannot be read
└── ChatError        a call to the chat service failed
    ├── ChatLater    refused for now; `after` says for how many seconds
    └── ChatLost     no answer: the message may have been posted
"""

from collections.abc import Sequence


class StopsignError(Exception):
    """An error whose text is a sentence for the operator."""

    title = "Stopsign could not do that"


class Invalid(StopsignError):
    """The input is wrong and nothing was changed; `where` names the field or the line, if known."""

    title = "The input is not valid"

    def __init__(self, sentence: str, *, where: str | None = None) -> None:
        super().__init__(sentence)
        self.where = where


class NotFound(Invalid):
    """What was named does not exist; nothing was changed."""

    title = "Not found"


class Refused(StopsignError):
    """Policy or authority says no; nothing was changed."""

    title = "Refused"


class Halted(Refused):
    """The kill switch is on; nothing was started."""

    title = "Automation is halted"


class NotCommitted(StopsignError):
    """The store could not commit: nothing was changed, and the same call may be repeated."""

    title = "Not stored"


class Stale(StopsignError):
    """The lease was lost to another worker; nothing was recorded under the old fence."""

    title = "Stale"


class Misconfigured(StopsignError):
    """Settings or files are wrong; `problems` has one line for each, all at once."""

    title = "The configuration is not valid"

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class NodeError(StopsignError):
    """A call to a node did not give a usable answer."""

    title = "Node call failed"


class NotReached(NodeError):
    """The request cannot have arrived; repeating it is safe."""


class NoAnswer(NodeError):
    """The request may have arrived and acted; only a read-back can tell."""


class NodeRefused(NodeError):
    """The node answered no; `status` is its HTTP status or code."""

    def __init__(self, sentence: str, *, status: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status


class NodeBroken(NodeError):
    """The node answered something that cannot be read, or failed inside; it may have acted."""


class ChatError(StopsignError):
    """The chat service refused a call for good; nothing was posted."""

    title = "Slack refused"


class ChatLater(ChatError):
    """The chat service is not ready; nothing was posted. Try again after `after` seconds."""

    def __init__(self, sentence: str, *, after: float) -> None:
        super().__init__(sentence)
        self.after = after


class ChatLost(ChatError):
    """The connection was lost: the message may have been posted. Read back before repeating."""
