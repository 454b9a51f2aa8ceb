"""Soundness of a snapshot's arrays: names, types, shapes and every index, looked at before models are made of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from streams.models.clusterers import Clusterer, restored
from streams.models.dbstream import DBStream
from streams.models.ids import Packed
from streams.models.kmeans import KMeans
from streams.models.naming import USED
from streams.models.soundness import END_OF_TIME, MOST, Unsound, check_ids

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streams.models.compile import Array
    from streams.models.models import Models

__all__ = ["check_arrays"]

# Arrays that snapshots of before did not have.
_LATER: Final = ("visits.user_segments", "visits.user_kinds", "members.of_days")
# Axes that follow what was learned, "" where an axis is as with empty models; "any" is bounded by what is beside it.
_AXES: Final = {
    "solved_centers": ("", "dimensions"),
    **dict.fromkeys(("users.blob", "items.blob", "users.ends", "items.ends"), ("any",)),
    **dict.fromkeys(("catalog.tokens_blob", "catalog.tokens_ends", "habits.names_blob", "habits.names_ends"), ("any",)),
    **dict.fromkeys(("visits.item_users", "visits.item_positions"), ("any",)),
    **dict.fromkeys(("visits.user_items", "visits.user_weights", "visits.user_times"), ("any",)),
    **dict.fromkeys(("visits.user_segments", "visits.user_kinds"), ("any",)),
    "visits.item_count": ("items",),
    "visits.user_count": ("users",),
    **dict.fromkeys(("popularity.short", "popularity.long", "popularity.first_seen"), ("items",)),
    "popularity.by_segment": ("", "items"),
    **dict.fromkeys(("catalog.available", "catalog.known", "catalog.offset", "catalog.visited"), ("entries",)),
    **dict.fromkeys(("catalog.item_tokens", "catalog.content", "catalog.context"), ("entries", "")),
    "catalog.postings": ("tokens", ""),
    "catalog.posting_count": ("tokens",),
    "catalog.recent": ("users", ""),
    "members.of_user": ("users",),
    "members.of_days": ("users", ""),
    **dict.fromkeys(("active_users.seen", "active_users.numbers"), ("all users",)),
    **dict.fromkeys(("active_items.seen", "active_items.numbers"), ("all items",)),
    "segments.reservoir": ("held", "dimensions"),
    "segments.reservoir_weights": ("held",),
    "segments.held": ("any", "dimensions"),
    **dict.fromkeys(("segments.held_weights", "segments.held_times"), ("any",)),
    "segments.nodes": ("", "dimensions"),
}
_OF_METHOD: Final[dict[type[Clusterer], dict[str, tuple[str, ...]]]] = {
    KMeans: {"segments.centers": ("", "dimensions")},
    DBStream: {
        "segments.centers": ("micro", "dimensions"),
        "segments.shared": ("micro", "micro"),
        **dict.fromkeys(("segments.mass", "segments.own", "segments.births", "segments.owners"), ("micro",)),
    },
}
# The least of each whole number that is an index or a count, and below what it must be.
_INDEXES: Final = {
    "counters": (0, "any"),
    "hits": (0, "any"),
    "visits.item_count": (0, "any"),
    "visits.user_count": (0, "any"),
    "visits.population": (0, "any"),
    "visits.item_users": (-1, "users"),
    "visits.item_positions": (-1, "any"),
    "visits.user_items": (-1, "items"),
    "visits.user_segments": (-1, "sizes"),
    **dict.fromkeys(("popularity.top_short", "popularity.top_long", "popularity.top_segment"), (-1, "counted")),
    "catalog.item_tokens": (-1, "tokens"),
    "catalog.available": (0, "two"),
    "catalog.known": (0, "two"),
    "catalog.offset": (-1, "any"),
    "catalog.visited": (0, "any"),
    "catalog.postings": (-1, "entries"),
    "catalog.posting_count": (0, "any"),
    "catalog.recent": (-1, "entries"),
    "members.of_user": (-1, "sizes"),
    "members.of_days": (-1, "sizes"),
    "members.sizes": (0, "any"),
    "members.days": (-1, "any"),
    "members.today": (-1, "any"),
    "blend.events": (0, "any"),
    "segments.taken": (0, "any"),
    "segments.owners": (-1, "clusters"),
    "segments.births": (0, "any"),
    "segments.used_at": (0, "any"),
    "active_users.counters": (0, "any"),
    "active_items.counters": (0, "any"),
    "active_users.seen": (0, "any"),
    "active_items.seen": (0, "any"),
    "active_users.numbers": (0, "any"),
    "active_items.numbers": (0, "any"),
}
_ANY: Final = 1 << 62
_CLUSTER_STATES: Final = ("segments.held_times",)  # a row without a time has NaN for one
# What is infinite where nothing is yet: times of nothing, places of centers, and what is counted down to.
_ENDLESS: Final = (
    "solved_at",
    "solved_centers",
    "popularity.landmarks",
    "popularity.first_seen",
    "habits.landmark",
    "segments.centers",
    "segments.state",
)
# Products and sums of these are taken: they must stay finite too.
_MODEST: Final = ("catalog.", "visits.", "blend.")


def check_arrays(models: Models, arrays: Mapping[str, Array]) -> None:
    """Raise Unsound if these arrays cannot be those of models with the parameters of ``models``, which are empty."""
    expected = models.arrays()
    optional = {"visits.population": np.zeros(1, np.int64)} | {name: expected[name] for name in _LATER}
    named = set(expected) - set(optional) == set(arrays) - set(optional)
    _check(named, "its arrays have other names")
    axes = _AXES | _OF_METHOD.get(type(models.segments), {})
    for name, array in arrays.items():
        like = expected.get(name, optional.get(name))
        good = like is not None and array.dtype == like.dtype and array.ndim == like.ndim
        _check(good, f"{name} is of another type")
    sizes = _sizes(models, arrays)
    for name, array in arrays.items():
        _check_shape(name, array, axes.get(name, ("",) * array.ndim), (expected | optional)[name].shape, sizes)
        _check_values(name, array, sizes)
    _check_sums(models, arrays, sizes)


def _sizes(models: Models, arrays: Mapping[str, Array]) -> dict[str, int]:
    """Count the ids, and what else the others are measured by."""
    ids = {
        "users": check_ids(_packed(arrays, "users.", ""), "users"),
        "items": check_ids(_packed(arrays, "items.", ""), "items"),
        "tokens": check_ids(_packed(arrays, "catalog.", "tokens_"), "tokens"),
        "types": check_ids(_packed(arrays, "habits.", "names_"), "types"),
    }
    _check(ids["types"] <= models.habits.types, "habits.names_ends has too many types")
    entries, counted = len(arrays["catalog.known"]), len(arrays["popularity.short"])
    _check(max(entries, counted) <= ids["items"], "there are fewer items than it has entries")
    held = len(arrays["segments.reservoir_weights"]) if "segments.reservoir_weights" in arrays else 0
    beside = {"entries": entries, "counted": counted, "held": held, "micro": len(arrays.get("segments.mass", ()))}
    fixed = {"any": _ANY, "two": 2, "sizes": len(models.members.sizes), "clusters": models.segments.capacity}
    alike = {"all users": ids["users"], "all items": ids["items"]}
    return ids | beside | fixed | alike | {"dimensions": models.catalog.content.shape[1]}


def _packed(arrays: Mapping[str, Array], part: str, prefix: str) -> Packed:
    return Packed(arrays[f"{part}{prefix}blob"], arrays[f"{part}{prefix}ends"])


_EXACT: Final = ("entries", "tokens", "held", "micro", "all users", "all items")


def _check_shape(name: str, array: Array, axes: tuple[str, ...], like: tuple[int, ...], sizes: Mapping[str, int]) -> None:
    for axis, size, usual in zip(axes, array.shape, like, strict=True):
        if not axis:
            good = size == usual
        elif axis == "dimensions":
            good = size in {0, sizes[axis]}
        else:
            good = size == sizes[axis] if axis in _EXACT else size <= sizes[axis]
        _check(good, f"{name} has the shape {array.shape}")


def _check_values(name: str, array: Array, sizes: Mapping[str, int]) -> None:
    if not array.size:
        return
    if array.dtype.kind == "f":
        _check_numbers(name, array)
    elif name in _INDEXES:
        least, below = _INDEXES[name]
        _check(array.min() >= least and array.max() < sizes[below], f"{name} points outside")


def _check_numbers(name: str, array: Array) -> None:
    if name in _CLUSTER_STATES:
        return
    # Without a copy of what may be most of the snapshot; what is no number is least and greatest of all.
    least, greatest = float(array.min()), float(array.max())
    _check(not math.isnan(least), f"{name} holds what is no number")
    most = MOST if name.startswith(_MODEST) else math.inf if name in _ENDLESS else float(np.finfo(array.dtype).max)
    _check(-most <= least and greatest <= most, f"{name} holds what is too large")


def _check_sums(models: Models, arrays: Mapping[str, Array], sizes: Mapping[str, int]) -> None:
    """Look at what several arrays must agree on."""
    _check(0 <= arrays["time"][0] < END_OF_TIME, "its time is none")
    for names, count, most in (
        (("item_users", "item_positions"), "item_count", models.visits.visitors),
        (("user_items", "user_weights", "user_times", "user_segments"), "user_count", models.visits.length),
    ):
        held = np.minimum(arrays[f"visits.{count}"], most)
        rows = [arrays[f"visits.{name}"] for name in names if f"visits.{name}" in arrays]
        _check(all(len(row) == held.sum() for row in rows), "its rings hold other visits than are counted")
    kinds = arrays.get("visits.user_kinds")
    _check(kinds is None or len(kinds) == ((held + 1) // 2).sum(), "its rings hold types of other visits than are counted")
    _check_segments(models, arrays, sizes)


def _check_segments(models: Models, arrays: Mapping[str, Array], sizes: Mapping[str, int]) -> None:
    own = {name.removeprefix("segments."): array for name, array in arrays.items() if name.startswith("segments.")}
    if isinstance(models.segments, DBStream):
        _check(own["state"][USED] == sizes["micro"], "its segments are others in number")
    held = own.get("held", own.get("reservoir", np.zeros((0, 0))))
    _check("held" not in own or len(held) == len(own["held_weights"]), "the rows held and their weights differ in number")
    begun = restored(own, **models.parameters.get("segments", {})).initialised
    centers = own["nodes"] if "nodes" in own else own["centers"]
    for rows in (held, centers if begun else held):
        _check(not len(rows) or rows.shape[1] == sizes["dimensions"], "its segments have other dimensions")


def _check(good: object, why: str) -> None:
    if not good:
        raise Unsound(why)
