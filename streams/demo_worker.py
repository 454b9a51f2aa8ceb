"""The demo's worker: a process of its own, that ends with the demo, however the demo ends."""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

import streams
from streams.knobs.fields import RedisURL
from streams.watched import WatchedServer

if TYPE_CHECKING:
    from streams.settings import Settings

GRACE = 4.0  # s for the batch in hand and for leaving the group
ASK = 0.1  # s between two questions whether it is ready


def environment(settings: Settings) -> dict[str, str]:
    """Settings as the environment variables that make them again."""
    found: dict[str, str] = {}
    for name, value in settings.model_dump(by_alias=True).items():
        knobs = value.items() if isinstance(value, dict) else [("", value)]
        for knob, given in knobs:
            if given is not None and given != {}:
                found["_".join(filter(None, ("UPWELL", name.upper(), knob.upper())))] = _written(given)
    return found


def _written(given: object) -> str:
    """Write a value as the environment has it; here secrets are, for another process cannot work with asterisks."""
    if isinstance(given, SecretStr):
        return given.get_secret_value()
    if isinstance(given, RedisURL):
        return given.revealed
    return given if isinstance(given, str) else json.dumps(given)


class Worker(WatchedServer):
    """`upwell worker` with settings from the environment; its log lies in a folder that goes with it."""

    title = "the worker"
    # The very first start on a machine compiles the models, where the set-up has not done it.
    patience = 180.0

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = environment(settings) | {"UPWELL_HTTP": self.address}

    def _command(self) -> Sequence[str]:
        return [sys.executable, "-m", "streams.cli", "worker"]

    def _environment(self) -> Mapping[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("UPWELL_")}
        here = str(Path(streams.__file__).parents[1])
        path = os.pathsep.join(filter(None, (here, inherited.get("PYTHONPATH"))))
        # Its temporary files lie in the folder that goes with it: a killed worker cannot remove them.
        return inherited | {"PYTHONPATH": path, "TMPDIR": str(self.folder)} | self._settings

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.address}/ready", timeout=2.0) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            time.sleep(ASK)
            return False

    def end(self) -> None:
        """Let it finish its batch, but not for long; then remove its folder."""
        self.stop(GRACE)
        self.close()

    def last_words(self) -> str:
        """The last line of its log that says something."""
        lines = [text.strip() for text in self._last_words().splitlines() if text.strip()]
        return lines[-1] if lines else "it said nothing"
