"""A load and the client that reads its answers: two processes that neither Ctrl-C nor the measuring process disturbs."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from streams.bench.listener import Arrival
from streams.bench.place import BenchFailed
from streams.bench.schedule import Schedule

if TYPE_CHECKING:
    from streams.settings import Settings

PATIENCE = 60.0  # s over the schedule until a process must have ended
LATE_MS = 5.0  # at the 99th percentile: a sender later than this measures itself


class Sent(msgspec.Struct):
    """What the load says of itself."""

    begin: float
    count: int = 0
    late_p50_ms: float = 0.0
    late_p99_ms: float = 0.0
    late_max_ms: float = 0.0

    def told(self) -> dict[str, float]:
        """As `--json` prints it."""
        return msgspec.structs.asdict(self)

    @property
    def invalid(self) -> str:
        """Why this is no measure of what answered; empty where it is one."""
        return f"the sender was {self.late_p99_ms:.3g} ms late at p99 (at most {LATE_MS:g})" if self.late_p99_ms > LATE_MS else ""


class Sender:
    """The load, under way."""

    def __init__(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        self._process, self._seconds = process, seconds
        self.begin = self._read().begin

    def wait(self, seconds: float) -> bool:
        """Wait for its end, at most so long; give whether it ended."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def told(self) -> Sent:
        """Wait for what it says at its end."""
        if not self.wait(self._seconds + PATIENCE):
            raise BenchFailed("the load did not end")
        return self._read()

    def end(self) -> Sent:
        """End it before its time."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        return self.told()

    def _read(self) -> Sent:
        line = self._process.stdout.readline() if self._process.stdout else b""
        if not line or self._process.poll():
            complaint = self._process.stderr.read() if self._process.stderr else b""
            raise BenchFailed(f"the load ended with status {self._process.wait()}: {complaint.decode(errors='replace')[-2000:]}")
        return msgspec.json.decode(line, type=Sent)


class Listener:
    """The client that reads answers; they are here until they are taken."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdout is None or process.stdout.readline() != b"ready\n":
            raise BenchFailed("the client that reads recommendations did not start")
        self._process = process
        self._arrived: deque[bytes] = deque()
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        # Or the pipe would be full, and the client would wait for us.
        self._arrived.extend(self._process.stdout or ())

    def taken(self) -> Iterator[Arrival]:
        """What arrived since the last time."""
        decode = msgspec.json.Decoder(Arrival).decode
        while self._arrived:
            yield decode(self._arrived.popleft())

    def end(self) -> None:
        """Let it tell the rest."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._reading.join(PATIENCE)


@contextmanager
def sending(settings: Settings, schedule: Schedule) -> Iterator[Sender]:
    """Send events to the settings' topic on their schedule."""
    with _process("sender", settings.brokers, settings.topics.events, schedule.written()) as process:
        yield Sender(process, schedule.seconds)


@contextmanager
def listening(settings: Settings, topic: str) -> Iterator[Listener]:
    """Listen to a topic from its end on."""
    with _process("listener", settings.brokers, topic, str(settings.partitions)) as process:
        yield Listener(process)


@contextmanager
def _process(name: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", f"streams.bench.{name}", *arguments]
    pipe = subprocess.PIPE
    # A session of its own: Ctrl-C is for the measuring process, which then ends the others in order.
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe if name == "sender" else None, start_new_session=True
    ) as one:
        try:
            yield one
        finally:
            if one.poll() is None:
                one.kill()
