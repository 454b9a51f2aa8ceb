"""Hypothesis strategies for what comes from outside."""

from __future__ import annotations

from hypothesis import strategies as st

HOSTILE = [
    '{"item_id":',
    ',{"item_id":',
    '"},{"item_id":"x","type":"y","at":1}',
    'quote " backslash \\ slash /',
    "line\nbreak\r\ttab",
    "colon:space : *?[]{}",
    "\x00",
    "a\x00b",
    "😀🛒",
    "\\u0000",
    "'",
    "ü" * 256,
    "at:0",
]

# Lone surrogates are no UTF-8 and never get past decoding.
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
ids = st.one_of(st.sampled_from(HOSTILE), texts)
moments = st.floats(0, 4e9, allow_nan=False)
