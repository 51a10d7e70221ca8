"""What people do with channels: make, join, leave, invite to, rename, archive; and the bot's home tab."""

from bot.practice.workspace import events, limits
from bot.practice.workspace.hands import Hands
from bot.practice.workspace.methods import topics
from bot.practice.workspace.people import Person
from bot.practice.workspace.refusals import Json, Refusal
from bot.practice.workspace.shown import view_object
from bot.practice.workspace.state import BOT_USER, Channel


class Rooms:
    """Channels in people's hands."""

    def __init__(self, hands: Hands) -> None:
        """Use these hands."""
        self._hands = hands
        self._office = hands.office
        self._world = hands.world

    def create(self, user: str, name: str, *, is_private: bool = False) -> Json:
        """Make a channel; one that the bot is not in until somebody invites it."""
        person = self._hands.person(user)
        if error := limits.name_problem(name):
            raise Refusal(error)
        if self._world.channel_named(name):
            raise Refusal("name_taken")
        kind = "private" if is_private else "public"
        room = self._world.add_channel(name, kind=kind, creator=person.id, members=[person.id])
        if kind == "public":
            self._office.announce(events.channel_changed("channel_created", room, person.id, self._world))
        self._office.remark(room, person.id, "channel_join", "has joined the channel")
        return {"channel": room.id}

    def join(self, user: str, channel: str) -> Json:
        """Join a channel (an outsider: be let into it)."""
        person, room = self._hands.person(user), self._hands.room(channel)
        if room.archived:
            raise Refusal("is_archived")
        if person.id not in room.members:
            self._office.joined(room, person.id)
        return {}

    def leave(self, user: str, channel: str) -> Json:
        """Leave a channel."""
        person, room = self._hands.at_open(user, channel)
        if room.name == "general":
            raise Refusal("cant_leave_general")
        self._office.left(room, person.id)
        return {}

    def invite(self, user: str, channel: str, *, who: str = BOT_USER) -> Json:
        """Let somebody into one's channel, the bot if nobody is named."""
        person, room = self._hands.at_open(user, channel)
        if self._world.person(who) is None:
            raise Refusal("user_not_found")
        if who in room.members:
            raise Refusal("already_in_channel")
        self._office.joined(room, who, inviter=person.id)
        return {}

    def change(self, user: str, channel: str, *, topic: str | None = None, name: str | None = None) -> Json:
        """Set the topic, or the name, of one's channel."""
        person, room = self._hands.at_open(user, channel)
        if topic is not None:
            topics.say_topic(self._office, room, person.id, topic)
        if name is not None:
            topics.call(self._office, room, person.id, name)
        return {}

    def archive(self, user: str, channel: str, *, undo: bool = False) -> Json:
        """Archive one's channel, or open it again (which the bot cannot)."""
        person, room = self._at(user, channel)
        act = topics.reopen if undo else topics.close
        act(self._office, room, person.id)
        return {}

    def home(self, user: str, *, tab: str = "home") -> Json:
        """Open the app's home tab (or its messages) and return the direct channel with it."""
        person = self._hands.person(user)
        view = self._world.homes.get(person.id)
        room = self._world.direct_channel([person.id])
        event: Json = {
            "type": "app_home_opened",
            "user": person.id,
            "channel": room.id,
            "tab": tab,
            "event_ts": self._world.next_ts(),
        }
        shown = {"view": view_object(view)} if view and tab == "home" else {}
        self._office.announce(event | shown)
        return {"channel": room.id}

    def _at(self, user: str, channel: str) -> tuple[Person, Channel]:
        return self._hands.at(user, channel)
