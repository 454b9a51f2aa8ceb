"""A dead letter as `upwell dead inspect` shows it."""

import base64
from typing import TYPE_CHECKING, Any

from streams.commands.output import clean, console, moment
from streams.fault import Fault, fault_of
from streams.reasons import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.dead_letters import Letter

WIDTH = 16  # bytes of a line
DUMPED = 1024  # bytes shown around the fault; --raw gives them all
BESIDE = 60  # characters of the line shown on either side of the fault


def spelled(one: "Letter") -> dict[str, Any]:
    """What `inspect` says more of a letter, for programs: its bytes, its headers, the fault and the fix."""
    fault = fault_of(one.error, one.value or b"")
    headers = [{"name": name, "value": (value or b"").decode(errors="backslashreplace")} for name, value in one.headers]
    return {
        "headers": headers,
        "value": base64.b64encode(one.value or b"").decode(),
        "fault": fault and {name: getattr(fault, name) for name in ("byte", "line", "column", "field", "length")},
        "fix": _fix(one),
    }


def shown(one: "Letter") -> None:
    """Print a letter for people; nothing in it can move the cursor."""
    screen = console()
    value = one.value or b""
    fault = fault_of(one.error, value)
    for name, said in _facts(one, len(value)):
        screen.print(f"{name:<8} {clean(said)}", soft_wrap=True)
    if fault:
        screen.print()
        for line in pointed(value, fault):
            screen.print(line, soft_wrap=True)
    screen.print()
    for line in dumped(value, fault.byte if fault else 0):
        screen.print(line, soft_wrap=True)


def _facts(one: "Letter", size: int) -> "Iterator[tuple[str, str]]":
    yield "letter", f"{one.place}, buried {moment(one.at)} UTC"
    yield "from", one.origin
    yield "error", f"{one.error} ({one.stage})"
    yield "message", one.message
    yield "fix", _fix(one)
    yield "key", "none" if one.key is None else one.key.decode(errors="backslashreplace")
    for name, content in one.headers:
        yield "header", f"{name}: {(content or b'').decode(errors='backslashreplace')}"
    yield "bytes", f"{size:,}"


def _fix(one: "Letter") -> str:
    known = CATALOGUE.get(one.error)
    return known.fix if known else "this reason is not one of ours; ask whoever wrote to the topic"


def pointed(value: bytes, fault: Fault) -> "Iterator[str]":
    """The line with the fault, and a caret below it."""
    where = f"field {fault.field}, " if fault.field else ""
    yield clean(f"{where}line {fault.line}, column {fault.column}, byte {fault.byte}:")
    begin = value.rfind(b"\n", 0, fault.byte) + 1
    end = value.find(b"\n", fault.byte)
    before = clean(value[begin : fault.byte].decode(errors="backslashreplace"))[-BESIDE:]
    after = clean(value[fault.byte : len(value) if end < 0 else end][: 4 * BESIDE].decode(errors="backslashreplace"))[:BESIDE]
    marked = clean(value[fault.byte : fault.byte + fault.length].decode(errors="backslashreplace"))
    yield f"  {before}{after}"
    yield f"  {' ' * len(before)}{'^' * max(1, min(len(marked), len(after)))}"


def dumped(value: bytes, around: int) -> "Iterator[str]":
    """The bytes as a hexdump: all of few, of many those around a place."""
    first = max(0, around - DUMPED // 2) // WIDTH * WIDTH if len(value) > DUMPED else 0
    last = min(len(value), first + DUMPED)
    if first:
        yield f"… {first:,} bytes before"
    for start in range(first, last, WIDTH):
        part = value[start : min(start + WIDTH, last)]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in part)
        yield f"{start:08x}  {part[:8].hex(' '):<23}  {part[8:].hex(' '):<23}  |{text}|"
    if last < len(value):
        yield f"… {len(value) - last:,} bytes after; --raw writes all of them"
