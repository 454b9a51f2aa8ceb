"""Fuzz in a process of its own, which may die: whoever watches it has the input it died of."""

from __future__ import annotations

import ctypes
import gc
import mmap
import multiprocessing as mp
import multiprocessing.connection
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import psutil

from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

__all__ = ["Result", "fuzz"]

SLOW = 2.0  # s of the process's own time for one input of at most 64 kB
STUCK = 60.0  # s without an end of an input; a busy machine is slower than a loop without one
SIZE = 1 << 25  # bytes of the longest input kept
WARM = 500  # inputs before memory is measured: kernels, caches and pools are there then
FAULTS = 20  # that are told apart before a target is given up
_HEADER = 8

# Forks of one clean process that has imported everything: a fork of this one, which may have threads, could hang.
# The same one forks the workers of the tests, so what they share is asked for here too.
_CONTEXT = mp.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.preloaded", "tests.fuzz.targets"])


@dataclass
class Result:
    """What became of a target; ``faults`` maps where it failed to the input and the words said."""

    target: str
    tried: int = 0
    taken: int = 0
    slowest: float = 0.0
    grown: int = 0
    faults: dict[str, tuple[bytes, str]] = field(default_factory=dict)


def fuzz(target: str, seconds: float, seed: int) -> Result:
    """Try inputs on a target for so long."""
    result = Result(target)
    began = time.monotonic()
    while True:
        before = len(result.faults)
        _round(result, max(seconds - (time.monotonic() - began), 1.0), seed + before * 1_000_003)
        # Only where the process died is there more to try.
        if before == len(result.faults) or time.monotonic() - began > seconds or len(result.faults) >= FAULTS:
            return result


def _round(result: Result, seconds: float, seed: int) -> None:
    """Let a process try inputs until it is done or dies."""
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(SIZE)
        with mmap.mmap(file.fileno(), SIZE) as room:
            _watch(result, (result.target, seconds, seed, file.name), room)


def _watch(result: Result, given: tuple[str, float, int, str], room: mmap.mmap) -> None:
    ours, theirs = _CONTEXT.Pipe()
    process = _CONTEXT.Process(target=_child, args=(*given, theirs))
    process.start()
    theirs.close()
    last, since = b"", time.monotonic()
    while not ours.poll(0.5) and process.is_alive():
        now = room[:_HEADER]
        if now != last or not any(now):  # until the first input there may be kernels to compile
            last, since = now, time.monotonic()
        elif time.monotonic() - since > STUCK:
            process.kill()
            result.faults["stuck"] = _input(room), f"no end after {STUCK:.0f} s"
            break
    try:
        done: Result = ours.recv()
    except EOFError:
        process.join()
        words = f"the process died with status {process.exitcode}"
        result.faults.setdefault(words, (_input(room), words))
        result.tried += int.from_bytes(room[:_HEADER], "little")
        return
    process.join()
    result.tried += done.tried
    result.taken += done.taken
    result.slowest, result.grown = max(result.slowest, done.slowest), max(result.grown, done.grown)
    result.faults |= done.faults


def _input(room: mmap.mmap) -> bytes:
    size = int.from_bytes(room[_HEADER : 2 * _HEADER], "little")
    return room[2 * _HEADER : 2 * _HEADER + size]


def _child(name: str, seconds: float, seed: int, file: str, pipe: multiprocessing.connection.Connection) -> None:
    with Path(file).open("r+b") as opened, mmap.mmap(opened.fileno(), SIZE) as room:
        pipe.send(_tried(name, seconds, seed, room))


def _tried(name: str, seconds: float, seed: int, room: mmap.mmap) -> Result:
    result, target, chance, me = Result(name), TARGETS[name](), Random(f"{seed}/{name}"), psutil.Process()
    _try(Result(name), target, target.make(Random(seed)))  # compiles and connects
    end, before = time.monotonic() + seconds, 0
    while time.monotonic() < end and len(result.faults) < FAULTS:
        data = target.make(chance)
        room[_HEADER : 2 * _HEADER + len(data)] = len(data).to_bytes(_HEADER, "little") + data
        room[:_HEADER] = (result.tried + 1).to_bytes(_HEADER, "little")
        # Once more if it was slow: the first time a kernel may have been compiled for it.
        took = _try(result, target, data)
        took = min(took, _try(result, target, data)) if took > SLOW else took
        result.slowest, result.tried = max(result.slowest, took), result.tried + 1
        if took > SLOW:
            result.faults.setdefault("slow", (data, f"took {took:.1f} s"))
        if result.tried == WARM:
            before = _held(me)
    result.grown = _held(me) - before if before else 0
    target.close()
    return result


def _held(me: psutil.Process) -> int:
    """Give the bytes that are in use: the allocator keeps what was freed, in holes between what is."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(me.memory_info().rss)


def _try(result: Result, target: Target, data: bytes) -> float:
    """Try an input; note where it fails, and give the seconds of work that it took."""
    began = time.process_time()
    try:
        result.taken += target.run(data)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
        # Further back is the fuzzer, further on may be a library that is the same for all.
        places = [f"{Path(place.filename).name}:{place.lineno}" for place in traceback.extract_tb(error.__traceback__)[-2:]]
        result.faults.setdefault(f"{type(error).__name__} at {' > '.join(places)}", (data, traceback.format_exc()))
    return time.process_time() - began
