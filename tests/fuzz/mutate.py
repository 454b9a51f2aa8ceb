"""Bad inputs made of good ones: bits flipped, cut, spliced, nested, with numbers, letters and keys that parsers stumble over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

__all__ = ["mutated", "numbers", "strange"]

LONGEST = 1 << 16  # bytes; what only is long shows nothing new
DEEPEST = 5_000

TOKENS = [
    *(
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\x00",
        b"\x1b[2J",
        b"\x1b]0;x\x07",
        b"\r\n",
        b"\x7f",
        b"\x80",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
    ),
    *(rb"\ud800", rb"\udfff\ud800", rb"\u0000", rb"\u202e", b"\xe2\x80\xae", b"\xf4\x90\x80\x80", b"\xf0\x9f\x98\x80", b'\\"'),
    *(b"null", b"true", b"NaN", b"-Infinity", b"1e400", b"-0.0", b"1e-400", b"9" * 25, b"9" * 400, b"1" * 5000, b"0" * 30),
    *(b"18446744073709551616", b"-9223372036854775809", b"9007199254740993", b"0.1e+99999999999", b'""', b"[]", b"{}", b","),
    *(
        b'{"type":',
        b'"user_id":"a",',
        b'"item_id":1,',
        b'"timestamp":-1,',
        b'"value":"5",',
        b'"a":',
        b"{",
        b"[",
        b"}",
        b"]",
        b'"',
    ),
    *(b"*", b"?", b"%00", b"%ff", b"%2e%2e/", b"{u}", b"}{", b"upwell:", b"A" * 600, b"\xc3\xa9" * 300, b"${x}", b"\n\n"),
]
NUMBERS = [
    0,
    1,
    2,
    7,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    1 << 40,
    (1 << 63) - 1,
    1 << 63,
]
NUMBERS += [(1 << 64) - 1, 0x7FF0000000000000, 0xFFF0000000000000, 0x7FF8000000000000, 0x7F800000, 0x7FC00000, 0x47EFFFFFE0000000]


def numbers(chance: Random, width: int) -> bytes:
    """Give a number of so many bytes, little end first, that is at some bound: of a type, of a float, or not a number."""
    return (chance.choice(NUMBERS) & ((1 << 8 * width) - 1)).to_bytes(width, "little")


def _flip(chance: Random, data: bytearray) -> None:
    for _ in range(chance.randint(1, 4)):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _cut(chance: Random, data: bytearray) -> None:
    del data[chance.randrange(len(data)) :]


def _drop(chance: Random, data: bytearray) -> None:
    start = chance.randrange(len(data))
    del data[start : start + chance.randint(1, 16)]


def _repeat(chance: Random, data: bytearray) -> None:
    start = chance.randrange(len(data))
    part = data[start : start + chance.randint(1, 40)]
    data[start:start] = part * chance.choice((1, 1, 2, 50))


def _insert(chance: Random, data: bytearray) -> None:
    place = chance.randint(0, len(data))
    data[place:place] = chance.choice(TOKENS)


def _replace(chance: Random, data: bytearray) -> None:
    place = chance.randrange(len(data))
    token = chance.choice(TOKENS)
    data[place : place + chance.randint(1, len(token))] = token


def _overwrite(chance: Random, data: bytearray) -> None:
    width = chance.choice((1, 2, 4, 8))
    place = chance.randrange(len(data))
    data[place : place + width] = numbers(chance, width)


def _nest(chance: Random, data: bytearray) -> None:
    depth = chance.choice((10, 64, 65, 1000, DEEPEST))
    begin, end = chance.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"[[", b"")))
    place = chance.randint(0, len(data))
    data[place:place] = begin * depth + b"1" + end * depth


def _value(chance: Random, data: bytearray) -> None:
    """Put another value behind some colon, so that what is around it stays legal."""
    place = data.find(b":", chance.randrange(len(data)))
    if place >= 0:
        end = min(found for found in (data.find(mark, place) for mark in (b",", b"}", b"\n")) if found >= 0) if place else place
        data[place + 1 : end] = strange(chance)


def strange(chance: Random) -> bytes:
    """Give a JSON value, or nearly one."""
    kind = chance.randrange(6)
    if kind == 0:
        return b'"' + chance.choice(TOKENS) + b'"'
    if kind == 1:
        return str(chance.choice(NUMBERS) * chance.choice((1, -1))).encode()
    if kind == 2:
        return repr(chance.choice((1, -1)) * 10 ** chance.uniform(-330, 308)).encode()
    if kind == 3:
        return b'"' + bytes(chance.randrange(256) for _ in range(chance.randint(0, 12))) + b'"'
    if kind == 4:
        return b"[" + b",".join(chance.choice(TOKENS) for _ in range(chance.randint(0, 3))) + b"]"
    return chance.choice(TOKENS)


def _value_or_nothing(chance: Random, data: bytearray) -> None:
    try:
        _value(chance, data)
    except ValueError:  # no end behind that colon
        _insert(chance, data)


_WAYS: Sequence[Callable[[Random, bytearray], None]] = (
    *(_flip, _flip, _cut, _drop, _repeat, _insert, _insert, _replace, _overwrite),
    *(_value_or_nothing, _value_or_nothing, _value_or_nothing),
)


def mutated(chance: Random, seeds: Sequence[bytes]) -> bytes:
    """Give one of the seeds with one to four changes, rarely two of them spliced, or nested deep."""
    data = bytearray(chance.choice(seeds))
    if chance.random() < 0.05:
        other = chance.choice(seeds)
        data[chance.randint(0, len(data)) :] = other[chance.randint(0, len(other)) :]
    if chance.random() < 0.01:
        _nest(chance, data)
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 4))):
        if data:
            chance.choice(_WAYS)(chance, data)
    return bytes(data[:LONGEST])
