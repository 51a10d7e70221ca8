"""The names that buttons, modals and their fields carry. A name that is in people's channels is never given away."""

PAGE_ACK = "page.ack"
"""The button of a page's direct message; the message is replaced by who acknowledged."""
INCIDENT_ACK = "incident.ack"
ROLE = "role.take"
HELD = "step.held"
"""One person lets happen what the bot holds back."""
APPROVE = "approval.give"
REJECT = "approval.reject"
REARM = "watch.rearm"
STATUS_FORM = "status.form"
RESOLVE_FORM = "resolve.form"
HALT_FORM = "halt.form"
ROLES_FORM = "roles.form"
STEP_FORM = "step.form"
"""Opens the form of a step, of one verb or of any."""
SEVERITY_FORM = "severity.form"
REOPEN_FORM = "reopen.form"
GLASS_FORM = "glass.form"
CLOSE = "incident.close"
DECLARE_FORM = "declare.form"
LINK = "link.open"
"""Buttons that only open an address."""

DECLARE = "declare"
STATUS = "status"
RESOLVE = "resolve"
HALT = "halt"
ROLES = "roles"
CHOOSE = "choose"
SURE = "sure"
SEV = "sev"
REOPEN = "reopen"
GLASS = "glass"
"""Callback ids of the modals."""

ADD_NOTE = "add_to_timeline"
"""The callback id of the shortcut on a message."""
DECLARE_ANYWHERE = "declare_incident"
"""The callback id of the global shortcut."""

FIELD = "field"
"""The action id of every modal input; its block is named after what it asks for."""
SEVERITY, AVS, SUMMARY, AUDIENCE, TEXT, OWNER, REASON, WHICH, PERSON, VERB, TARGETS = (
    "severity",
    "avs",
    "summary",
    "audience",
    "text",
    "owner",
    "reason",
    "role",
    "person",
    "verb",
    "targets",
)

EVENT_TYPE = "stopsign"
"""The type of the metadata by which our own messages are found again."""


def kind(action_id: str) -> str:
    """Return an action id without what makes it unique in its message: `role.take:ic` → `role.take`."""
    return action_id.partition(":")[0]
