"""Workers by fork: each is a copy of a process that has imported all there is and loaded the kernels.

A worker's start takes some 3 s of a core, four fifths of them for what is the same every time, and the tests start nearly two
hundred. What a worker does with its own command line, environment, folder and signals is as after a start by exec.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST = 1 << 18  # bytes of a request: the environment, mostly
STATUS = 4  # bytes of an exit status


class Forked:
    """What `subprocess.Popen` is for who started a process: its id, whether it ended and how, and signals for it."""

    def __init__(self, pid: int, status: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._status = status  # a pipe
        self._told = select.poll()  # whose files may have any number
        self._told.register(status, select.POLLIN)

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended; its exit status, negative for a signal."""
        if self.returncode is None:
            if not self._told.poll(None if timeout is None else 1000 * timeout):
                raise subprocess.TimeoutExpired("a forked worker", timeout or 0.0)
            told = os.read(self._status, STATUS)
            os.close(self._status)
            assert told, "the process that forks workers is gone"
            self.returncode = int.from_bytes(told, "little", signed=True)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Signal it, if it runs: afterwards its id may be another's."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """Forks workers for this process, and ends with it; started when the first is asked for."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None

    def fork(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path, watch: int) -> Forked:
        """Run `upwell` with these arguments in the log's folder; the watch is told its process id before it does anything."""
        line, (status, theirs) = self._started(), os.pipe()
        with log.open("ab") as said:
            asked = {"arguments": list(arguments), "environment": dict(environment), "folder": str(log.parent)}
            socket.send_fds(line, [json.dumps(asked).encode()], [said.fileno(), watch, theirs])
        os.close(theirs)
        pid = int.from_bytes(line.recv(STATUS), "little")
        assert pid, "the process that forks workers has failed"
        return Forked(pid, status)

    def close(self) -> None:
        """End; workers that run are not touched."""
        if self._process is not None and self._line is not None:
            self._line.close()
            self._process.wait()
            self._process = self._line = None

    def _started(self) -> socket.socket:
        if self._line is None:
            self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            command = [sys.executable, "-m", "tests.forking"]
            foreign = {name: value for name, value in os.environ.items() if not name.startswith("UPWELL_")}
            # A session of its own: Ctrl-C in the terminal is for our process, whose end it sees.
            options: dict[str, Any] = {
                "cwd": Path(__file__).parents[1],
                "env": foreign | {"PYTHONUNBUFFERED": "1"},
                "start_new_session": True,
            }
            self._process = subprocess.Popen(command, stdin=theirs, **options)
            theirs.close()
            self._line.recv(1)
        return self._line


class _Asked(NamedTuple):
    arguments: list[str]
    environment: dict[str, str]
    folder: str


def serve(line: socket.socket) -> list[str]:
    """Fork until nobody can ask any more; gives a child its arguments, once it is as if it had been started with them."""
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker)
    statuses: dict[int, int] = {}
    line.send(b".")
    while True:
        ready, _, _ = select.select([line, woken], [], [])
        if woken in ready:
            os.read(woken, MOST)
            _reap(statuses)
        if line in ready:
            message, fds, _, _ = socket.recv_fds(line, MOST, 3)
            if not message:
                os._exit(0)
            log, watch, status = fds
            if not (pid := os.fork()):
                asked = _Asked(**json.loads(message))
                _become(asked, log, watch)
                return asked.arguments
            statuses[pid] = status
            os.close(log)
            os.close(watch)
            line.send(pid.to_bytes(STATUS, "little"))


def _reap(statuses: dict[int, int]) -> None:
    """Tell the status of every child that has ended to who waits for it, if it does."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            status = statuses.pop(ended[0])
            with contextlib.suppress(BrokenPipeError):
                os.write(status, os.waitstatus_to_exitcode(ended[1]).to_bytes(STATUS, "little", signed=True))
            os.close(status)


def _become(asked: _Asked, log: int, watch: int) -> None:
    """Be a process of its own: in a session, a folder and an environment, with no file of the parent's."""
    os.write(watch, b"%d\n" % os.getpid())
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number, handler in ((signal.SIGCHLD, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
        signal.signal(number, handler)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for here, there in enumerate((nothing, log, log)):
        os.dup2((here and there) or nothing, here)
    os.closerange(3, 1 << 16)
    os.chdir(asked.folder)
    os.environ.clear()
    os.environ.update(asked.environment)
    sys.argv = ["upwell", *asked.arguments]


def main() -> None:
    """Import all that a worker does and load its kernels; then fork."""
    import streams.app
    import streams.cli
    from streams.settings import Settings
    from streams.warm import warm

    asyncio.run(warm(Settings()))
    asyncio.set_event_loop_policy(None)  # as nobody had asked for a loop yet
    gc.collect()
    gc.freeze()
    assert threading.active_count() == 1, "a fork has no other threads"
    line = socket.socket(fileno=os.dup(0))
    arguments = serve(line)
    streams.cli.main(arguments)


if __name__ == "__main__":
    main()
