"""Workers by fork: each is a copy of a process that has imported all there is and loaded the kernels.

A worker's start takes some 4 s of a core, three quarters of them for what is the same every time, and the tests start nearly two
hundred. What a worker does with its own command line, environment, folder and signals is as after a start by exec.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from multiprocessing.context import ForkServerProcess

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.preloaded"])
_FILES = 1 << 10  # more than the process that forks can have open


class Forked:
    """What `subprocess.Popen` is for who started a process: its id, whether it ended and how, and signals for it."""

    def __init__(self, process: ForkServerProcess) -> None:
        assert process.pid is not None
        self.pid = process.pid
        self._process = process

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal, or None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """The same."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended; its exit status."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("a forked worker", timeout or 0.0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Signal it, if it runs: afterwards its id may be another's."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


def fork(arguments: Sequence[str], environment: Mapping[str, str], log: Path, watch: int) -> Forked:
    """Run `upwell` with these arguments in the log's folder; the watch is told its process id before it does anything."""
    with Connection(os.dup(watch), readable=False) as told:
        process = _CONTEXT.Process(target=_become, args=(told, log, dict(environment), list(arguments)), daemon=True)
        process.start()
    return Forked(process)


def _become(watch: Connection, log: Path, environment: dict[str, str], arguments: list[str]) -> None:
    """Be a process of its own, in a session, a folder and an environment, with no file of the parent's; then the command."""
    os.write(watch.fileno(), b"%d\n" % os.getpid())
    watch.close()
    os.setsid()
    os.chdir(log.parent)
    with Path(os.devnull).open("rb") as nothing, log.open("ab") as said:
        for here, there in enumerate((nothing, said, said)):
            os.dup2(there.fileno(), here)
    os.closerange(3, _FILES)
    sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115 - for good
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["upwell", *arguments]
    from tests.preloaded import streams  # already there, but where the tests do not run in the tree's folder

    streams.cli.main(arguments)
