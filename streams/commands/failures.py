"""Failures as the command line tells them: one sentence, one exit status; nothing is swallowed that nobody foresaw."""

import sys

from streams.commands.output import clean

FAILED = 1
WRONG = 2
REFUSED = 3


class Failed(Exception):
    """A command could not do its work; the message says why and what helps."""


KNOWN = (
    ("streams.settings", "SettingsError", WRONG),
    ("streams.columns", "FileError", WRONG),
    ("streams.failures", "Refusal", REFUSED),
    ("streams.sample", "SampleMissing", FAILED),
    ("streams.watched", "EmbeddedError", FAILED),
    ("state.reader", "StateUnavailable", FAILED),
    ("streams.servers", "Away", FAILED),
    ("streams.demo", "DemoFailed", FAILED),
    ("streams.bench.place", "BenchFailed", FAILED),
    ("streams.bench.peers", "PeerFailed", FAILED),
    ("streams.commands.failures", "Failed", FAILED),
)


def told(error: Exception) -> tuple[str, int]:
    """The sentence and the exit status; an unforeseen error is raised again, as it is."""
    for module, name, status in KNOWN:
        # Only what was imported can have been raised; importing it all would cost a second before a one-line message.
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(error, kind):
            # An embedded server's last words are a log, which one line would make unreadable.
            lines = str(error).splitlines() if name == "EmbeddedError" else [" ".join(str(error).split())]
            return "\n".join(map(clean, lines)), status
    raise error
