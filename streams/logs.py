"""The log: lines for people or JSON objects for programs, on standard error; users are named in one field, if at all."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

from streams.knobs.servers import Log

__all__ = ["Console", "Json", "configuration", "fields"]

# What every record has; the rest was given by the caller as `extra`.
_COMMON = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"})
_QUIET_SECONDS = 60.0
_OWN = ("streams", "state")
_LIBRARIES = ("faust", "mode", "aiohttp", "numba", "asyncio")


def configuration(log: Log) -> dict[str, Any]:
    """Configure logging: Upwell's own words at the level asked for, its libraries' only if they warn or all is asked for."""
    libraries = "DEBUG" if log.level == "debug" else "WARNING"
    # It writes down whole requests, with the messages of users in them.
    aiokafka = libraries if log.user_ids else "WARNING"
    filters = {
        "broken": {"()": _Broken},
        "once": {"()": _Once},
        "users": {"()": _Users, "named": log.user_ids},
        "logins": {"()": _Logins},
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": {"()": Json if log.format == "json" else Console}},
        "filters": filters,
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines", "filters": [*filters]}},
        "root": {"level": log.level.upper(), "handlers": ["stderr"]},
        "loggers": {name: {"level": libraries} for name in _LIBRARIES} | {"aiokafka": {"level": aiokafka}},
    }


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """Give what the caller said beside the message."""
    return {name: value for name, value in vars(record).items() if name not in _COMMON}


class Console(logging.Formatter):
    """One line for people: time, level, logger, message, then fields as name=value."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Write the message with its fields."""
        return super().formatMessage(record) + "".join(f" {name}={value!r}" for name, value in fields(record).items())


class Json(logging.Formatter):
    """One JSON object on one line: `time`, `level`, `logger`, `message`, each field, and `error` with its trace."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        said = {"time": moment, "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            said["error"] = self.formatException(record.exc_info)
        return json.dumps(fields(record) | said, default=str, ensure_ascii=False)


class _Users(logging.Filter):
    """Leaves users out unless the settings let the log name them."""

    def __init__(self, *, named: bool) -> None:
        super().__init__()
        self._named = named

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, without its user where users are not named."""
        if not self._named:
            vars(record).pop("user_id", None)
        return True


class _Logins(logging.Filter):
    """Hides what aiokafka says to log in: by PLAIN that is the password."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, without it."""
        said = record.getMessage()
        if "sasl_auth_bytes=" in said:
            record.msg, record.args = re.sub(r"sasl_auth_bytes=.*", "sasl_auth_bytes=***", said, flags=re.DOTALL), ()
        return True


class _Broken(logging.Filter):
    """Shortens what asyncio says of a connection that breaks while TLS is at work on it: whoever used it tells the rest."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, that one as a line without its trace."""
        if record.name == "asyncio" and record.getMessage().startswith("Fatal error on SSL protocol"):
            why = record.exc_info[1] if record.exc_info else None
            record.msg, record.args, record.exc_info = "a connection under TLS broke: %r", (why,), None
        return True


class _Once(logging.Filter):
    """Lets libraries say a thing once a minute: while a broker is away its client says the same many times a second."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Let a message pass unless the same was said within the last minute."""
        if record.name.partition(".")[0] in _OWN:
            return True
        what = (record.name, record.getMessage())
        if record.created - self._said.get(what, 0.0) < _QUIET_SECONDS:
            return False
        self._said[what] = record.created
        return True
