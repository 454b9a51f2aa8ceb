"""The catalogue: what items are and which go together, as vectors of one space in which users' interests live."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from streams.models.compile import column
from streams.models.extent import extent
from streams.models.ids import Ids, Packed
from streams.models.leaving import close_up, more, new_indexes, renumber
from streams.models.query import Query
from streams.models.rings import rings
from streams.models.tokens import MOST_TOKENS, label
from streams.models.unvisiting import unvisit
from streams.models.vectors import enter, mean_interest, visit

if TYPE_CHECKING:
    from streams.models.visits import Remembered, Visits

__all__ = ["Catalog"]

FEWEST_ROWS = 256
DAY = 86400.0

# The arrays with a row per item, per token and per user, with what an unused cell holds.
_ITEMS = {"item_tokens": -1, "available": 1, "known": 0, "offset": -1, "content": 0, "context": 0, "visited": 0}
_TOKENS = {"postings": -1, "posting_count": 0}
_USERS = {"recent": -1}


class Catalog:
    """What items are (tokens, from the items topic) and which are visited together (from visits), as vectors.

    An item's ``content`` is the signed hash of its tokens, its ``context`` the sum of the random index vectors of the
    items visited next to it, each over the root of that item's visits, so that what is visited with everything says
    little. The random vectors are hashes: both are functions of the log alone.

    Parameters
    ----------
    dimensions : int
        D, length of the vectors.
    tokens_per_item : int
        Tokens kept per item.
    posting : int
        Items kept per token.
    half_life : float
        Seconds after which a visit counts half in a user's interest.

    Attributes
    ----------
    tokens : Ids
        The tokens, numbered.
    item_tokens : int32[I, tokens_per_item]
        Token numbers of each item; -1 pads.
    available, known : uint8[I]
        1: may be recommended (also without an entry); 1: has an entry.
    offset : int64[I]
        Place of the entry in the items topic; an entry not above it is ignored.
    content, context : float32[I, D]
        Not normalised.
    visited : int64[I]
        Visits ever, without repetitions in a row.
    postings : int32[T, posting]
        Items that lately came under a token, each once; the newest of n is at ``(n - 1) % posting``; -1 pads.
    posting_count : int64[T]
        Items ever put under the token.
    recent : int32[U, 3]
        Each user's last visited items, newest first, each once; -1 pads.

    References
    ----------
    K. Weinberger et al.: Feature hashing for large scale multitask learning, ICML 2009.
    M. Sahlgren: An introduction to random indexing, TKE 2005.
    """

    def __init__(
        self,
        *,
        dimensions: int = 32,
        tokens_per_item: int = MOST_TOKENS,
        posting: int = 64,
        half_life: float = 14 * DAY,
    ) -> None:
        if not (dimensions > 0 and tokens_per_item > 0 and posting > 0 and half_life > 0):
            raise ValueError(f"all must be above 0: {dimensions=}, {tokens_per_item=}, {posting=}, {half_life=}")
        self.half_life = half_life
        self.tokens = Ids()
        self.item_tokens = np.zeros((0, tokens_per_item), np.int32)
        self.available, self.known = np.zeros(0, np.uint8), np.zeros(0, np.uint8)
        self.offset, self.visited = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self.content, self.context = (np.zeros((0, dimensions), np.float32) for _ in range(2))
        self.postings, self.posting_count = np.zeros((0, posting), np.int32), np.zeros(0, np.int64)
        self.recent = np.zeros((0, 3), np.int32)
        self._items = self._users = 0
        self._grow(_ITEMS, FEWEST_ROWS)
        self._grow(_TOKENS, FEWEST_ROWS)
        self._grow(_USERS, FEWEST_ROWS)

    def apply(
        self,
        items: NDArray[np.int32],
        tokens: Packed,
        starts: NDArray[np.int64],
        available: NDArray[np.uint8],
        offsets: NDArray[np.int64],
    ) -> None:
        """Take n entries in order, entry i with the tokens ``starts[i]:starts[i + 1]``; only what is newer counts."""
        items = column(items, np.int32)
        if not len(items):
            return
        found = self.tokens.add(tokens)
        self._reserve_items(items)
        self._grow(_TOKENS, len(self.tokens))
        enter(
            items,
            found,
            column(tokens.blob, np.uint8),
            column(tokens.ends, np.int64),
            column(starts, np.int64),
            column(available, np.uint8),
            column(offsets, np.int64),
            self.offset,
            self.known,
            self.available,
            self.item_tokens,
            self.content,
            self.postings,
            self.posting_count,
        )

    def forget(self, items: NDArray[np.int32], offsets: NDArray[np.int64]) -> None:
        """Take deletions: the items have no tokens and are unavailable until a newer entry comes."""
        items = column(items, np.int32)
        if not len(items):
            return
        self._reserve_items(items)
        for item, offset in zip(items.tolist(), offsets.tolist(), strict=True):
            if offset > self.offset[item]:
                self.offset[item] = offset
                self.item_tokens[item] = -1
                self.available[item] = self.known[item] = 0
                self.content[item] = 0

    def visit(
        self, _visits: object, users: NDArray[np.int32], items: NDArray[np.int32], numbers: NDArray[np.int64] | None = None
    ) -> None:
        """Learn from n visits, in order, which items go together.

        It remembers each user's last 3 items itself: whether the visits' rings have folded them already is all one. Where items
        may leave, ``numbers`` int64[I] makes the random vectors, lest an item has that of another that had its index before.
        """
        users, items = column(users, np.int32), column(items, np.int32)
        if not len(items):
            return
        self._reserve_items(items)
        self._users = max(self._users, extent(users)[1] + 1)
        self._grow(_USERS, self._users)
        shelves = self.item_tokens, self.postings, self.posting_count
        visit(users, items, numbers, self.recent, self.visited, self.context, *shelves)

    def take_back(self, visits: Visits, user: int, told: Remembered, numbers: NDArray[np.int64] | None) -> None:
        """Take a user's visits out of the context vectors, while the rings still hold them; ``numbers`` as of :meth:`visit`."""
        remembered = told.positions, told.items, told.times
        scratch = np.empty((2, self.recent.shape[1]), np.int64)
        unvisit(user, *remembered, numbers, rings(visits), self.visited, self.context, scratch)

    def count_back(self, items: NDArray[np.int32], taken: NDArray[np.int64], left: NDArray[np.int64]) -> None:
        """Count back after :meth:`take_back`: for each item how many visits were taken, and how many are left in all."""
        self.visited[items] = np.clip(self.visited[items] - taken, np.minimum(left, 1), left)

    def keep_users(self, staying: NDArray[np.int64]) -> None:
        """Forget all users but these, int64[n] ascending, who get the indexes from 0 on in their order."""
        close_up(self.recent, staying, _USERS["recent"])
        self._users = int(np.searchsorted(staying, self._users))

    def vacate(self, gone: NDArray[np.int64]) -> None:
        """Empty the rows of these users."""
        self.recent[gone] = _USERS["recent"]

    def keep_items(self, staying: NDArray[np.int64]) -> None:
        """Forget all items but these, as :meth:`keep_users`, and the tokens that none of them has."""
        indexes = new_indexes(staying, len(self.known))
        for cells in (self.recent, self.postings):
            renumber(cells, indexes)
        for name, empty in _ITEMS.items():
            close_up(getattr(self, name), staying, empty)
        self._items = int(np.searchsorted(staying, self._items))
        self._keep_tokens()

    def _keep_tokens(self) -> None:
        held = np.unique(self.item_tokens[self.item_tokens >= 0]).astype(np.int64)
        renumber(self.item_tokens, new_indexes(held, len(self.postings)))
        for name, empty in _TOKENS.items():
            close_up(getattr(self, name), held, empty)
        self.tokens = self.tokens.only(held)

    def interest(self, query: Query) -> NDArray[np.float32]:
        """Give each user's interest, float32[n, D]: the decayed mean of the unit vectors of what is in the history.

        Of length 1; 0 where nothing is known. Negative weights turn it away.
        """
        return self._mean(query, query.weights)

    def aversion(self, query: Query) -> NDArray[np.float32]:
        """Give what each user dislikes, float32[n, D]: as the interest, of the entries of negative weight alone."""
        if query.weights.min(initial=0.0) < 0.0:
            return self._mean(query, np.maximum(-query.weights, 0))
        return np.zeros((len(query), self.content.shape[1]), np.float32)

    def _mean(self, query: Query, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        found = np.zeros((len(query), self.content.shape[1]), np.float32)
        mean_interest(
            column(query.now, np.float64),
            column(query.starts, np.int64),
            column(query.items, np.int32),
            column(query.times, np.float64),
            column(weights, np.float32),
            self.half_life,
            self.content,
            self.context,
            found,
        )
        return found

    def label(self, token: int) -> str | None:
        """Name what a token stands for; None for words and prices."""
        return label(self.tokens.name(token))

    def item_labels(self, item: int) -> list[int]:
        """List the item's tokens that name an interest: brand, categories, tags."""
        row = self.item_tokens[item].tolist() if 0 <= item < self._items else []
        return [token for token in row if token >= 0 and self.label(token) is not None]

    def labels(self, item: int) -> list[str]:
        """Name what the item is: brand, categories, tags; empty without an entry."""
        return [name for token in self.item_labels(item) if (name := self.label(token)) is not None]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Copy everything the model has learned, without spare room."""
        sizes = ((_ITEMS, self._items), (_TOKENS, len(self.tokens)), (_USERS, self._users))
        tables = {name: getattr(self, name)[:size].copy() for names, size in sizes for name in names}
        return tables | {f"tokens_{name}": array for name, array in self.tokens.arrays().items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], **parameters: Any) -> Self:
        """Make the catalogue that gave these arrays; the parameters are the constructor's."""
        model = cls(**parameters)
        model.tokens = Ids.from_arrays({name: arrays[f"tokens_{name}"] for name in model.tokens.arrays()})
        model._items, model._users = len(arrays["known"]), len(arrays["recent"])
        for names, size in ((_ITEMS, model._items), (_TOKENS, len(model.tokens)), (_USERS, model._users)):
            model._grow(names, size)
            for name in names:
                getattr(model, name)[:size] = arrays[name]
        return model

    def reserve(self, users: int, items: int, most_users: int = 0, most_items: int = 0) -> None:
        """Make room for this many users and items, at least doubling what there is, but for room past the most (0: any)."""
        self._grow(_USERS, users, most_users)
        self._grow(_ITEMS, items, most_items)

    def _reserve_items(self, items: NDArray[np.int32]) -> None:
        self._items = max(self._items, extent(items)[1] + 1)
        self._grow(_ITEMS, self._items)

    def _grow(self, names: Mapping[str, int], rows: int, most: int = 0) -> None:
        """Make room for this many rows; filled at once, so that memory does not creep later."""
        for name, empty in names.items():
            array = getattr(self, name)
            if rows > len(array):
                grown = np.full((more(rows, len(array), most), *array.shape[1:]), empty, array.dtype)
                grown[: len(array)] = array
                setattr(self, name, grown)
