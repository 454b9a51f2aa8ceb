"""Everything that stays: what Upwell keeps in Redis, and the public Reader of it."""

from state.items import Item
from state.model import Model
from state.profiles import Entry
from state.reader import Neighbor, Reader, Reason, Recommendation, Recommended, StateUnavailable, Trigger, User
from state.segments import Segment
from state.trending import Trending

__all__ = [
    "Entry",
    "Item",
    "Model",
    "Neighbor",
    "Reader",
    "Reason",
    "Recommendation",
    "Recommended",
    "Segment",
    "StateUnavailable",
    "Trending",
    "Trigger",
    "User",
]
