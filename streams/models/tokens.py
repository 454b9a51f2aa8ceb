"""Tokens: what a catalogue entry says of its item, as short byte strings that items have in common."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice

__all__ = ["label", "tokenize"]

MOST_TOKENS = 16
_LONGEST = 64  # characters of a token: longer ones are descriptions, shared with no other item
_SHORTEST_WORD = 3
_NAMED = (b"brand:", b"category:", b"tag:")


def tokenize(
    name: str | None = None,
    brand: str | None = None,
    category: str | Sequence[str] | None = None,
    price: float | None = None,
    tags: Sequence[str] = (),
) -> list[bytes]:
    """Say in at most 16 tokens what an item is: brand, category with all above it, tags, price band, words of the name.

    Parameters
    ----------
    name, brand : str, optional
        As people write them; case and spacing do not matter.
    category : str or sequence of str, optional
        A path such as ``grocery/produce``, ``Grocery > Produce``, ``grocery.produce`` or ``["grocery", "produce"]``.
    price : float, optional
        The band is the power of two at or below it; nothing is said of a price that is not above 0.
    tags : sequence of str
        Any labels.

    Returns
    -------
    list of bytes
        UTF-8, each once, in the order above.

    Examples
    --------
    >>> tokenize("Crisps with salt", "ACME", "Grocery/Snacks", 2.5, ["vegan"])  # doctest: +NORMALIZE_WHITESPACE
    [b'brand:acme', b'category:grocery', b'category:grocery/snacks', b'tag:vegan', b'price:1',
     b'word:crisps', b'word:with', b'word:salt']
    """
    texts = _tokens(name, brand, category, price, tags)
    return list(islice(dict.fromkeys(text[:_LONGEST].encode(errors="replace") for text in texts), MOST_TOKENS))


def label(token: bytes) -> str | None:
    """Name what a brand, category or tag token stands for; None for words and prices, which name no interest.

    Examples
    --------
    >>> label(b"category:grocery/snacks"), label(b"word:crisps")
    ('grocery/snacks', None)
    """
    return token.split(b":", 1)[1].decode(errors="replace") if token.startswith(_NAMED) else None


def _tokens(
    name: str | None, brand: str | None, category: str | Sequence[str] | None, price: float | None, tags: Sequence[str]
) -> Iterator[str]:
    if brand and (cleaned := _clean(brand)):
        yield f"brand:{cleaned}"
    steps = _path(category)
    for depth in range(1, len(steps) + 1):
        yield f"category:{'/'.join(steps[:depth])}"
    yield from (f"tag:{cleaned}" for tag in tags if (cleaned := _clean(tag)))
    if price is not None and math.isfinite(price) and price > 0:
        yield f"price:{math.frexp(price)[1] - 1}"
    yield from (f"word:{word}" for word in _words(name or ""))


def _clean(text: str) -> str:
    return " ".join(text.lower().split())


def _path(category: str | Sequence[str] | None) -> list[str]:
    if isinstance(category, str):
        dotted = "." in category and not any(mark in category for mark in "/>| ")
        category = category.split(".") if dotted else category.replace(">", "/").replace("|", "/").split("/")
    return [cleaned for step in category or () if (cleaned := _clean(step))]


def _words(name: str) -> list[str]:
    letters = "".join(letter if letter.isalnum() else " " for letter in name.lower())
    return [word for word in letters.split() if len(word) >= _SHORTEST_WORD and not word.isdecimal()]
