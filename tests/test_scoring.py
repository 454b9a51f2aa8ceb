"""Scoring in a loop without servers: what the lists given before teach, and how much of it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

from streams import scoring
from streams.decode import Batch
from streams.memory import Loop
from streams.models.lesson import Lesson
from streams.records import Kind, decode, decode_lesson
from streams.settings import Settings

USERS, ITEMS = 400, 20


@dataclass
class Message:
    offset: int
    value: bytes
    timestamp: int = 1_700_000_000_000
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


def lesson(loop: Loop, first: int, item: int) -> Lesson:
    """Let every user visit an item at once; the lesson of it."""
    events = [{"user_id": f"u{user}", "item_id": f"i{(user + item) % ITEMS}", "type": "view"} for user in range(USERS)]
    rows = [Message(first + n, json.dumps(event).encode()) for n, event in enumerate(events)]
    answer = asyncio.run(loop.pipeline.prepare(Batch({0: rows}, {0: first}), 1))
    loop.finish(answer)
    (record,) = [record for record in map(decode, answer.records, [0] * len(answer.records)) if record.kind is Kind.LESSON]
    return decode_lesson(record.body)


def test_every_list_is_judged_but_no_more_teach_the_blend_at_once_than_it_can_follow() -> None:
    loop = Loop(Settings())
    for step in range(3):
        lesson(loop, step * USERS, step)
    late = lesson(loop, 3 * USERS, 0)
    assert late.judged == USERS
    assert late.hits[-2] > scoring._TAUGHT
    assert scoring._TAUGHT / 2 < late.blend_events.sum() <= scoring._TAUGHT
