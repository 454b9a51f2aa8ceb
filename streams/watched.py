"""A server process on 127.0.0.1, in a folder of its own, that never outlives the process that started it.

`PR_SET_PDEATHSIG` would end it with the *thread* that started it, exists on Linux only, and needs code between fork and
exec. Instead a shell of three lines watches a pipe that closes when our process ends, however it ends.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HOST = "127.0.0.1"
# Below the ports that outgoing connections get, so that none takes a stopped server's port before it starts again.
PORTS = range(15_000, 32_000)

# Remembers the last process id read from the pipe; when the pipe ends, kills it and removes the folder.
WATCH = """
while read -r line; do pid=$line; done
[ -z "$pid" ] || kill -KILL "$pid"
rm -rf "$0" || { sleep 1; rm -rf "$0"; }
"""
# Tells the watch its process id, then becomes the server: there is no moment at which a server runs unwatched.
LAUNCH = 'echo $$; exec "$@" >>"$0" 2>&1'


class EmbeddedError(RuntimeError):
    """An embedded server cannot be found or started; the message says what to do."""


class WatchedServer:
    """One server process; `start`, `stop`, `kill`, `pause` and `resume` keep port and data, `close` removes all."""

    title: ClassVar[str]
    patience: ClassVar[float] = 30.0  # seconds to become ready
    farewell: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path()
        self.starts = 0
        self.exit_code: int | None = None  # of the run that ended last
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def address(self) -> str:
        """Host and port of the server."""
        return f"{HOST}:{self.port}"

    @property
    def log(self) -> Path:
        """Everything the server printed since its first start."""
        return self.folder / "server.log"

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        return self._running().pid

    @property
    def alive(self) -> bool:
        """Whether the server's process runs (or is paused)."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start the server and wait until it, and no other one, answers on the port; blocks."""
        if self.alive:
            raise EmbeddedError(f"{self.title} runs already")
        try:
            self._prepare()
            self._process = self._launch(self._command())
            self._wait_until_ready(self._process)
        except BaseException:
            self.close()
            raise
        self.starts += 1
        return self

    def stop(self, grace: float = 20.0) -> None:
        """End the server in order; after `grace` seconds, kill it. Does nothing if it does not run."""
        if self.alive:
            self.resume()
            self._running().send_signal(self.farewell)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._running().wait(grace)
        self.kill()

    def kill(self) -> None:
        """End the server at once, as a power cut would. Does nothing if it does not run."""
        if self._process is not None:
            self._process.kill()
            self.exit_code = self._process.wait()
            self._process = None
            self._tell_watch("")

    def pause(self) -> None:
        """Freeze the server: its connections stay open and answer nothing."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on."""
        self._running().send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop the server and remove its folder."""
        self.stop()
        if self._watch is not None and self._watch.stdin is not None:
            self._watch.stdin.close()
            self._watch.wait()
            self._watch = None

    def _environment(self) -> Mapping[str, str] | None:
        """Variables of the server's process; none: those of ours."""
        return None

    def _command(self) -> Sequence[str]:
        raise NotImplementedError

    def _answers(self) -> bool:
        """Whether the server that was started here answers and can serve."""
        raise NotImplementedError

    def _prepare(self) -> None:
        if self._watch is None:
            self.folder = Path(tempfile.mkdtemp(prefix="upwell-"))
            command = ["/bin/sh", "-c", WATCH, str(self.folder)]
            self._watch = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)

    def _launch(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C in the terminal is for our process, which then ends the server in order.
        return subprocess.Popen(
            ["/bin/sh", "-c", LAUNCH, str(self.log), *command],
            stdin=subprocess.DEVNULL,
            stdout=self._watch.stdin if self._watch else None,
            env=self._environment(),
            cwd=self.folder,
            start_new_session=True,
        )

    def _tell_watch(self, pid: str) -> None:
        if self._watch is not None and self._watch.stdin is not None:
            os.write(self._watch.stdin.fileno(), f"{pid}\n".encode())

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise EmbeddedError(f"{self.title} does not run")
        return self._process

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + self.patience
        while not self._answers():
            if process.poll() is not None:
                raise EmbeddedError(f"{self.title} ended while starting; its log ends with:\n{self._last_words()}")
            if time.monotonic() > deadline:
                raise EmbeddedError(f"{self.title} gave no answer in {self.patience:.0f} s:\n{self._last_words()}")
            time.sleep(0.01)

    def _last_words(self) -> str:
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else "(no log)"


def free_port() -> int:
    """Find a port of 127.0.0.1 that nobody listens on."""
    for port in random.SystemRandom().sample(PORTS, 100):
        with contextlib.suppress(OSError), socket.create_server((HOST, port)):
            return port
    raise EmbeddedError(f"no free port between {PORTS.start} and {PORTS.stop}")
