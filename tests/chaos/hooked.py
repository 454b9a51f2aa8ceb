"""A worker whose clock tests set, and which says what its models are: `python hooked.py worker`, in a folder of its own.

The file `clock` there holds the seconds by which its clock is wrong; a word in `ask` is answered in `answer`, with that word.
It runs with whichever version of Upwell is first on PYTHONPATH.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import threading
import time
import zlib
from pathlib import Path
from typing import Any

LOOK = 0.1  # seconds between two looks for a question


def shift_clock(file: Path) -> None:
    """Let time.time be wrong by what the file says; the monotonic clock goes on as ever."""
    right = time.time

    def wrong() -> float:
        try:
            return right() + float(file.read_text() or 0)
        except OSError:
            return right()

    time.time = wrong


def stamp_messages() -> None:
    """Let messages carry that time: the compiled part of aiokafka asks the system's clock."""
    from aiokafka.producer.message_accumulator import BatchBuilder

    append = BatchBuilder.append

    def stamped(self: Any, *, timestamp: int | None, **message: Any) -> Any:
        return append(self, timestamp=int(time.time() * 1000) if timestamp is None else timestamp, **message)

    BatchBuilder.append = stamped


def answer(serving: Any, asked: Path, told: Path) -> None:
    """Look for questions, and answer each with a checksum of every array of the models."""
    while True:
        threading.Event().wait(LOOK)
        with contextlib.suppress(OSError, AttributeError, RuntimeError):
            word = asked.read_text()
            said = asyncio.run_coroutine_threadsafe(_models(serving), serving.loop).result()
            written = told.with_suffix(".new")
            written.write_text(json.dumps({"word": word, **said}))
            asked.unlink()
            written.rename(told)


async def _models(serving: Any) -> dict[str, Any]:
    async with serving.pipeline.lock:
        models = serving.fold.models
        said = {"version": models.version, "events": models.events, "arrays": checksums(models)}
        return said | {"tasks": [_waiting(task.get_coro()) for task in asyncio.all_tasks()]}


def _waiting(coroutine: Any) -> list[str]:
    """Where a task waits, from the outside in."""
    lines = []
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        lines.append(f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}" if frame else repr(coroutine))
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return lines


def checksums(models: Any) -> dict[str, int]:
    """Give each array's checksum, with its type and shape."""
    return {
        name: zlib.crc32(array.tobytes(), zlib.crc32(f"{array.dtype.str} {array.shape}".encode()))
        for name, array in models.arrays().items()
    }


def main() -> None:
    """Be a worker."""
    shift_clock(Path("clock"))
    stamp_messages()
    from streams import cli, serving

    begin = serving.Serving.__init__

    def hooked(self: Any, *args: Any, **options: Any) -> None:
        begin(self, *args, **options)
        threading.Thread(target=answer, args=(self, Path("ask"), Path("answer")), daemon=True).start()

    serving.Serving.__init__ = hooked  # type: ignore[method-assign]
    cli.main()


if __name__ == "__main__":
    # This folder's modules are not the worker's.
    del sys.path[0]
    main()
