"""Several workers as processes of one command: started together, ended together, and started again when one dies."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess

__all__ = ["keep"]

log = logging.getLogger(__name__)

Work = Callable[[int], None]

_LASTING = frozenset({2, 3})  # wrong settings and refusals would end every worker, and each again
_SHORT = 10.0  # s; one that lived no longer is not started again at once
_PAUSE = 5.0  # s
_GRACE = 10.0  # s for the batch in hand and for leaving the group


class _Place:
    """One of the processes, and how to start it again."""

    def __init__(self, number: int, work: Work) -> None:
        self.number = number
        self._work = work
        self.start()

    def start(self) -> None:
        self._began = time.monotonic()
        # Forking would copy this process' threads and connections.
        self.process: SpawnProcess = multiprocessing.get_context("spawn").Process(target=_run, args=(self._work, self.number))
        self.process.start()

    @property
    def short_lived(self) -> bool:
        return time.monotonic() - self._began < _SHORT

    def end(self) -> None:
        self.process.join(_GRACE)
        self.process.kill()
        self.process.join()


def keep(count: int, work: Work) -> int:
    """Run ``work(0)`` to ``work(count - 1)``, each in a process, until a signal or a refusal ends them all; give the status.

    A process that ends otherwise is started again. ``work`` goes to the processes by pickle.
    """
    with _signalled() as signals:
        places = [_Place(number, work) for number in range(count)]
        try:
            while signals not in wait([signals, *(place.process.sentinel for place in places)]):
                for place in places:
                    status = place.process.exitcode
                    if status in _LASTING:
                        return int(status or 0)
                    if status is not None and not _again(place, status, signals):
                        return 0
            return 0
        finally:
            for place in places:
                place.process.terminate()
            for place in places:
                place.end()


def _again(place: _Place, status: int, signals: int) -> bool:
    """Start a process again, after a pause where it did not live long; false where a signal came meanwhile."""
    log.warning("worker %d ended with status %d, starting it again", place.number, status)
    if place.short_lived and wait([signals], _PAUSE):
        return False
    place.start()
    return True


@contextmanager
def _signalled() -> Iterator[int]:
    """Give a file descriptor that can be read once SIGINT or SIGTERM came."""
    woken, waker = os.pipe()
    before = {number: signal.signal(number, lambda *_: os.write(waker, b".")) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield woken
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(woken)
        os.close(waker)


def _run(work: Work, number: int) -> None:
    """Be one of the processes: Ctrl-C is for the parent, which ends this one in order; without a parent it ends itself."""
    os.setpgrp()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    work(number)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
