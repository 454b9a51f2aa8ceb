"""`upwell worker` as a process of its own, to be killed, frozen and started again by tests."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, cast

from streams.watched import WatchedServer
from tests.forking import fork

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PLAIN = [sys.executable, "-m", "streams.cli"]


def environment(settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings as variables: {"group": "a", "intake": {"batch_ms": 5}} gives UPWELL_GROUP, UPWELL_INTAKE_BATCH_MS."""
    variables: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            variables |= {f"UPWELL_{name.upper()}_{inner.upper()}": str(inner_value) for inner, inner_value in value.items()}
        else:
            variables[f"UPWELL_{name.upper()}"] = str(value)
    return variables


class WorkerProcess(WatchedServer):
    """One worker; `start` waits until /ready says 200, `stop` is Ctrl-C, `kill` is kill -9, `pause` is SIGSTOP."""

    title = "the worker"
    patience = 120.0  # where all cores have other work
    farewell = signal.SIGINT
    forked = True  # else it is a new Python

    def __init__(self, settings: Mapping[str, Any], arguments: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.settings = {"http": self.address} | dict(settings)
        self.arguments = arguments

    def get(self, path: str, timeout: float = 2.0) -> tuple[int, str]:
        """Status and text of one of the worker's pages; status 0 when nobody answers."""
        try:
            with urllib.request.urlopen(f"http://{self.settings['http']}{path}", timeout=timeout) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def launch(self) -> WorkerProcess:
        """Start without waiting until it is ready."""
        self._prepare()
        self._process = self._launch(self._command())
        return self

    def wait_until_ready(self) -> None:
        """Wait for a worker that was launched."""
        self._wait_until_ready(self._running())

    def run(self, within: float = 60.0) -> tuple[int, str]:
        """Start a worker that is expected to end by itself: its exit code and all it said."""
        process = self.launch()._running()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(within)
        assert process.returncode is not None, f"the worker still runs after {within} s:\n{self.words()}"
        return process.returncode, self.words()

    def words(self) -> str:
        """Everything the worker printed so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _command(self) -> list[str]:
        return [*PLAIN, "worker", *self.arguments]

    def _launch(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        # Several processes find each other by the program that was started.
        if not self.forked or list(command[: len(PLAIN)]) != PLAIN or "--processes" in command:
            return super()._launch(command)
        assert self._watch is not None
        assert self._watch.stdin is not None
        forked = fork(command[len(PLAIN) :], self._environment(), self.log, self._watch.stdin.fileno())
        return cast("subprocess.Popen[bytes]", forked)  # it has what is used of one

    def _environment(self) -> dict[str, str]:
        foreign = {name: value for name, value in os.environ.items() if not name.startswith("UPWELL_")}
        return foreign | environment(self.settings) | {"PYTHONUNBUFFERED": "1"}

    def _answers(self) -> bool:
        return self.get("/ready")[0] == 200
