"""What is said again of who was forgotten, once all is late: under the id that came in, or not at all."""

from __future__ import annotations

from contextlib import aclosing

import pytest

from state.connection import connect
from streams.follower import Forgotten
from streams.forgetting import Forgetting
from streams.memory import Loop
from tests.rules_worker import SETTINGS


@pytest.mark.parametrize(("hidden", "said"), [(False, ["ada"]), (True, [])])
async def test_the_last_look_retracts_by_the_id_of_the_topic_or_says_nothing(redis_server, prefix, tmp_path, hidden, said):
    file = tmp_path / "key"
    file.write_bytes(b"0123456789abcdef0123456789abcdef")
    file.chmod(0o600)
    knobs = SETTINGS.pseudonyms.model_copy(update={"key_file": str(file) if hidden else ""})
    settings = SETTINGS.model_copy(update={"pseudonyms": knobs, "prefix": prefix})
    loop, retracted, now = Loop(settings), [], [0.0]
    client = connect(redis_server.url)

    async def renew() -> None:
        pass

    async def retract(user_ids) -> None:
        retracted.extend(user_ids)

    async with aclosing(client):
        lock = loop.pipeline.lock
        forgetting = Forgetting(settings, loop.fold, lock, client, renew, retract, lambda: now[0])
        loop.fold.forgotten.append(Forgotten("ada", 0, 5, 1))
        await forgetting.tick(owner=True)
        assert retracted == []
        now[0] = 3 * settings.intake.session_timeout_ms / 1000
        await forgetting.tick(owner=True)
    assert retracted == said
