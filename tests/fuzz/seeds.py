"""Good inputs, which the bad ones are made of."""

from __future__ import annotations

import asyncio
import json

from streams.catalogue import change_of
from streams.decode import Batch
from streams.follower import Fold
from streams.links import Hidden
from streams.memory import Loop
from streams.pseudonyms import Pseudonyms
from streams.records import Centers, Kind, Record, encode, encode_catalog, encode_centers, encode_knobs
from streams.schemas import Deleted, Item
from streams.settings import Settings
from tests.rules_worker import NOW, SETTINGS, Message

__all__ = ["EVENTS", "HASHES", "HIDDEN", "ITEMS", "LINKED", "MESSAGES", "REQUESTS", "TOML", "event", "learn", "records"]

_BETWEEN = b"\xff\x00\xff"

EVENTS = [
    b'{"type":"view","user_id":"ada","item_id":"tea"}',
    b'{"type":"purchase","user_id":12345,"item_id":9007199254740993,"timestamp":1700000000,"value":3.5,"event_id":"e-1"}',
    b'{"type":"rating","user_id":"zo\xc3\xab","item_id":"b\\u00e9","timestamp":"2023-11-14T22:13:20Z","value":4,"session_id":"s"}',
    b'{"type":"cart","user_id":"u","item_id":"i","timestamp":1700000000000,"recommendation_id":"0-7","properties":{"a":[1,{"b":null}]}}',
    b'{"type":"view","user_id":"' + b"u" * 512 + b'","item_id":"' + b"i" * 512 + b'"}',
    b'{"userid":"ada","item_id":"tea","type":"view","x":[[[[[[1]]]]]]}',
]
_ITEM_VALUES = [
    b'{"item_id":"tea","name":"Green tea","brand":"Acme","category":"grocery/tea","price":2.5,"tags":["bio","green"]}',
    b'{"item_id":"tea","category":["grocery","tea"],"available":false,"url":"https://a.example/tea","image":""}',
    b'{"item_id":"tea","price":0,"tags":[]}',
]
ITEMS = [b"tea" + _BETWEEN + value for value in _ITEM_VALUES] + [_BETWEEN + _ITEM_VALUES[0], b"tea"]
MESSAGES = [
    b"ada" + _BETWEEN + b"upwell.rekeyed" + place + _BETWEEN + EVENTS[n % 4] for n, place in enumerate((b"2:17", b"", b"0:0"))
]
HIDDEN = Hidden(Pseudonyms(b"k" * 32), 3)
_ADA, _PHONE = (HIDDEN.pseudonyms.of(name).encode() for name in ("ada", "c-1"))
_MERGE = (
    b'{"type":"merge","user_id":"%b","anonymous_id":"%b","timestamp":1.7e9,"events":1,"interests":{"acme":1.5},'
    b'"interests_at":1.7e9,"history":[{"item_id":"tea","type":"view","at":1.7e9}]%b}'
)
LINKED = [
    _BETWEEN.join((kind, place, user, mark, value))
    for user, phone, mark, ids in ((b"ada", b"c-1", b"", b""), (_ADA, _PHONE, HIDDEN.mark, b',"person":"ada","device":"c-1"'))
    for kind, place, value in (
        (b"upwell.rekeyed", b"1:7", b'{"type":"view","user_id":"c-1","item_id":"tea"}'),
        (b"upwell.identify", b"0:8", b'{"type":"identify","user_id":"ada","anonymous_id":"c-1"}'),
        (b"upwell.unlink", b"0:9", b'{"type":"forget","user_id":"%b"}' % phone),
        (b"upwell.merge", b"1:9", _MERGE % (user, phone, ids)),
    )
]
TOML = [
    b'brokers = "a.example:9092"\nredis = "redis://b.example:6379/0"\nprefix = "shop:"\nexclude = "purchase,dislike"\n',
    b'[models]\nneighbors = 50\n[segments]\nk = "auto"\n[weights]\nview = 1\n[weights.custom]\nwish = 2.5\n',
    b'[rerank]\ndiversity = 0.3\n[rerank.boosts]\n"brand:acme" = 0.5\n[rerank.pins]\n1 = "sku-9"\n[serve]\nhttp = "[::]:80"\n',
]
_HASH = (
    b"41",
    b"3",
    b"1700000000.5",
    b"2",
    b'[{"item_id":"tea","type":"view","at":1700000000.0}]',
    b'{"acme":1.5}',
    b"1700000000.0",
)
HASHES = [_BETWEEN.join(_HASH)]
REQUESTS = [
    b"GET /v1/users/ada/recommendations HTTP/1.1\r\nHost: a\r\n\r\n",
    b'GET /v1/items/b%C3%A9/similar?n=5 HTTP/1.1\r\nHost: a\r\nIf-None-Match: "0", W/"1"\r\n\r\n',
    b"GET /v1/trending?n=20&n=1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\n\r\n",
    b"GET /v1/segments HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n",
    b"GET /openapi.json HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
    *(
        b"POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
        % (len(body), body)
        for body in (EVENTS[0], b"[" + b",".join(EVENTS[:4]) + b"]", b"[]", b"{}")
    ),
    b"POST /v1/events HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2f\r\n" + EVENTS[0] + b"\r\n0\r\n\r\n",
]


def event(offset: int) -> Message:
    """Give an event of a small world."""
    body = {"type": "view", "user_id": f"u{offset % 5}", "item_id": f"i{offset % 7}", "timestamp": NOW + offset}
    return Message(offset, json.dumps(body).encode())


async def learn(settings: Settings = SETTINGS) -> tuple[list[bytes], Fold]:
    """Teach a small world; give every record on the way, with one or more of each kind, and the fold of them."""
    loop, log = Loop(settings), [encode(Record(Kind.LAYOUT, 1, 3, 0, 0, encode_knobs(settings.parameters())))]
    tea = Item("i0", "Green tea", "Acme", ("grocery", "tea"), 2.5, ("bio",))
    change = change_of([(0, 0, tea), (0, 1, Item("i1", "Black tea", "Acme")), (0, 2, Deleted("i2"))])
    log.append(encode(Record(Kind.CATALOG, 1, 0, 0, 0, encode_catalog(change))))
    loop.append(log)
    for first in range(0, 80, 4):
        answer = await loop.pipeline.prepare(Batch({0: [event(first + n) for n in range(4)]}, {0: first}), 1)
        loop.append(answer.records)
        log += answer.records
    solver = loop.fold.models.solver
    if solver:
        loop.fold.models.adopt(solver.solve(), 1, NOW)
        log.append(encode(Record(Kind.CENTERS, 1, 0, 0, 0, encode_centers(Centers(9, NOW, solver.solve())))))
    return log, loop.fold


def records() -> list[bytes]:
    """Give records of all kinds."""
    return asyncio.run(learn())[0] + [encode(Record(Kind.RESET, 1, 0, start, 0, b"")) for start in (0, 1)]
