"""Knobs of what is learned and recommended: whose events are kept, what they say, the models, segments, and lists."""

from __future__ import annotations

import math
import re
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from streams.knobs.fields import (
    DAY,
    WEIGHT_LIMIT,
    Boosts,
    Count,
    NoLimit,
    Pins,
    Places,
    Quarters,
    Seconds,
    Section,
    Share,
    Weight,
    source_names,
)
from streams.models.sources import SOURCES

__all__ = ["Consent", "Identity", "ModelKnobs", "Publish", "Rerank", "Segments", "Weights"]


class Consent(Section):
    """Whose events are kept."""

    required: bool = False
    """Whether a user who has not said yes (`properties.consent`) counts as one who said no: answered, but not kept or learned."""


class Identity(Section):
    """Which ids are people's, and which are those of browsers and devices that a person may turn out to have used."""

    anonymous: str = ""
    """A regular expression that every anonymous id matches as a whole, and no person's id; empty: any id may be either."""

    @field_validator("anonymous")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"is no regular expression ({error}); write one such as 'anon-.+'") from None
        return value


class Publish(Section):
    """What is published."""

    size: Annotated[int, Field(ge=1, le=100)] = 10
    """Items of a recommendation."""


class Rerank(Section):
    """What becomes of the blend's order before it is published; all of it is off by default."""

    boosts: Boosts = {}  # noqa: RUF012 - pydantic copies it
    """Added to the score of a brand, category, tag or item, as {"brand:acme": 0.5, "item:sku-1": -1}, in standard deviations of
    the scores of the list's candidates: so it means the same whatever the blend has learned."""
    pins: Pins = {}  # noqa: RUF012 - pydantic copies it
    """Which item stands at which place, as {"1": "sku-9"}, in every list for whose user it is available and not excluded."""
    diversity: Annotated[float, Field(ge=0, le=1)] = 0.0
    """How much likeness to what stands above, in brand and categories, weighs against the score: 0 nothing, 1 everything."""
    explore: Annotated[int, Field(ge=0, le=100)] = 0
    """Last places of a list that are left to chance: what nobody is shown, nobody can like. What is drawn has a propensity."""
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    """Seed of what is drawn; with the trigger of a list it says all, so that a list made again is the same."""


class ModelKnobs(Section):
    """The models; every worker of a group must have the same, for all fold the same log."""

    visitors: Annotated[int, Field(ge=8, le=4_096)] = 256
    """Last visitors kept of each item, 6 bytes each: where neighbors are looked for."""
    length: Annotated[int, Field(ge=8, le=1_024)] = 64
    """Last visits kept of each user, 17.5 bytes each: what neighbors can offer."""
    short: Seconds = DAY
    """Half-life of `trending`, in seconds."""
    long: Seconds = 30 * DAY
    """Half-life of `popular` and `segment`, and of what segments are named by, in seconds."""
    dimensions: Annotated[int, Field(ge=8, le=256)] = 32
    """Length of item and user vectors; K-means and `content` cost in proportion."""
    tokens_per_item: Annotated[int, Field(ge=4, le=64)] = 16
    """Most tokens (brand, category, tags, price band, words) kept of a catalogue entry."""
    posting: Annotated[int, Field(ge=8, le=1_024)] = 64
    """Last items kept of each token: where `content` looks for candidates."""
    max_users: NoLimit | Annotated[int, Field(ge=10_000, le=1 << 30)] = 0
    """Most users in the models, about 1.2 kB each; newcomers then take the place of the least recently active. 0: all stay."""
    max_items: NoLimit | Annotated[int, Field(ge=10_000, le=1 << 30)] = 0
    """Most items in the models, about 2 kB each, those of the catalogue too; as `models.max_users`."""
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    """Seed of the first weights of the blend's hidden layer."""
    rate: Share = 0.2
    """Step of the blend's Adagrad; larger follows change sooner and trembles more."""
    shrink: Annotated[float, Field(ge=1, le=1e6)] = 200.0
    """Judged events at which a segment's own weights count as much as everybody's."""
    sources: Annotated[str, AfterValidator(source_names)] = "all"
    """Sources that bring candidates and are heard by the blend: `all`, or some by name as `covisit,next,popular`."""
    per_source: Count = 20
    """Candidates that each source brings into the blend."""
    keep: Annotated[int, Field(ge=10, le=1000)] = 128
    """Candidates of a published list that are kept in memory, for the blend to learn from what the user does next."""
    judged: Annotated[int, Field(ge=10, le=1000)] = 10
    """Candidates that any source ranks this high are always kept, so that its hits among the first ten can be counted."""
    neighbors: Count = 30
    """Most similar users that are asked for items."""
    query_items: Annotated[int, Field(ge=1, le=62)] = 10
    """Last items of a user by which neighbors are looked for."""
    covisit_items: Count = 5
    """Last items of a user whose visitors are looked up for `covisit` and `next`."""
    content_items: Count = 3
    """Last items of a user whose tokens are looked up for `content`."""
    content_budget: Annotated[int, Field(ge=16, le=100_000)] = 256
    """Items compared for `content`."""
    window: Annotated[int, Field(ge=1, le=64)] = 5
    """Places before and after an item, in a visitor's history, that count as visited together with it."""
    measure: Literal["cosine", "pearson", "euclidean", "jaccard"] = "cosine"
    """Similarity of users."""
    query_half_life: Seconds = 7 * DAY
    """Half-life of a user's own visits when neighbors are looked for, in seconds."""
    repeat_half_life: Seconds = 30 * DAY
    """Half-life of `repeat`, in seconds."""
    path_half_life: Seconds = 14 * DAY
    """Half-life of a neighbor's visits for `path`, in seconds."""
    new_half_life: Seconds = 7 * DAY
    """Half-life of `new`, in seconds."""
    recent_half: Places = 1.0
    """Places among a user's last items at which a shared one counts half for `path`."""
    covisit_half: Places = 1.0
    """Places among a user's last items at which one counts half for `covisit` and `next`."""
    apart_half: Places = 1.0
    """Places between two visits of a neighbor at which the later counts half for `path`."""
    covisit_damping: Quarters = 0.5
    """Exponent of an item's visits by which `covisit` is divided: 0 favors popular items, 0.5 is the cosine; in quarters."""
    next_damping: Quarters = 0.0
    """The same for `next`."""

    def recommender(self) -> dict[str, Any]:
        """Give the keyword parameters of the recommender, but for the size of its lists."""
        return self.model_dump(exclude=_LEARNED_KNOBS) | {"sources": self.heard()}

    def heard(self) -> tuple[str, ...]:
        """Give the sources that are heard, in the order of all."""
        return tuple(name for name in SOURCES if self.sources == "all" or name in self.sources.split(","))

    def limits(self) -> dict[str, int]:
        """Give the most users and items; nothing where neither is limited, as in logs older than these settings."""
        return {"users": self.max_users, "items": self.max_items} if self.max_users or self.max_items else {}


_LEARNED_KNOBS = {"visitors", "length", "short", "long", "dimensions", "tokens_per_item", "posting", "seed", "rate", "shrink"}
_LEARNED_KNOBS |= {"max_users", "max_items"}


class Segments(Section):
    """The segments of users; every worker of a group must have the same."""

    k: Annotated[int, Field(ge=2, le=64)] | Literal["auto"] = 8
    """How many segments, but for `dbstream`; more than a person can name are of no use in a campaign, and 64 is what is held.
    With `auto` `kmeans` finds it, from 4 to 64, and the number may change."""
    method: Literal["kmeans", "dbstream", "som"] = "kmeans"
    """How users are grouped: `dbstream` finds how many groups there are, without bots and outliers; `som` makes a map of them."""
    half_life: Annotated[float, Field(ge=100)] | None = None
    """Users' vectors after which an old one counts half; without it `kmeans` counts all alike, and the others take 4,096."""
    radius: Annotated[float, Field(gt=0, le=2)] | None = None
    """Distance within which `dbstream` counts users' vectors, of length 1, as near; without it, it is found from the first."""
    min_share: Annotated[float, Field(gt=0, le=0.5)] = 1 / 64
    """Share of all users that makes a segment of `dbstream`; a smaller crowd is bots or outliers, and gets none."""
    buffer: Annotated[int, Field(ge=8, le=2_048)] = 256
    """Users' vectors gathered before the first centers are solved; fewer give segments sooner, and rougher ones."""
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    """Seed of the first centers."""
    utc_offset_hours: Annotated[float, Field(ge=-12, le=14, multiple_of=0.25)] = 0.0
    """Local time of most users, in hours after UTC: by it segments are named `evening` or `weekend`."""

    @model_validator(mode="after")
    def _countable(self) -> Segments:
        if self.k == "auto" and self.method == "som":
            raise ValueError("`auto` is for kmeans; a map needs a number of nodes: set segments.k, as to 16")
        return self

    def unused(self) -> set[str]:
        """Name the settings that the method does not take."""
        own = {"k"} if self.method == "dbstream" else {"radius", "min_share"}
        return own | {"utc_offset_hours"}


class Weights(Section):
    """How much an event says: positive ones teach, negative ones lower an item for their user, 0 says nothing."""

    view: Weight = 1.0
    """Weight of a view."""
    click: Weight = 1.0
    """Weight of a click."""
    cart: Weight = 2.0
    """Weight of putting into the cart."""
    purchase: Weight = 3.0
    """Weight of a purchase."""
    favorite: Weight = 3.0
    """Weight of a favorite."""
    rating: Literal["value"] | Weight = "value"
    """Weight of a rating; `value` takes the event's own, held between -10 and 10 lest one event outweigh all others."""
    low_rating: Annotated[float, Field(ge=-WEIGHT_LIMIT, le=WEIGHT_LIMIT)] = 2.5
    """A rating below this pushes away as a dislike does, the lower the more; the default suits one to five stars."""
    return_: Annotated[Weight, Field(alias="return")] = -1.0
    """Weight of a return."""
    dislike: Weight = -1.0
    """Weight of a dislike."""
    impression: Weight = 0.0
    """Weight of an impression: of weight 0, it lowers what was shown in vain and says nothing else of the user."""
    other: Weight = 1.0
    """Weight of every other type, and of a rating whose value is no longer known."""
    custom: dict[str, Weight] = {}  # noqa: RUF012 - pydantic copies it
    """Weights of types of your own, as {"wish": 2}."""

    @cached_property
    def _fixed(self) -> dict[str, float]:
        named = {**self.model_dump(by_alias=True, exclude={"other", "custom", "low_rating"}), **self.custom}
        return {kind: weight for kind, weight in named.items() if weight != "value"}

    def of(self, kind: str, value: float | None) -> float:
        """Give the weight of an event of this type and value."""
        fixed = self._fixed.get(kind)
        if fixed is not None:
            return fixed
        if kind != "rating" or value is None or math.isnan(value):
            return self.other
        held = min(max(value, -WEIGHT_LIMIT), WEIGHT_LIMIT)
        return held if held >= self.low_rating else max(held - self.low_rating, -WEIGHT_LIMIT)
