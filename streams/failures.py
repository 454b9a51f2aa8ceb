"""The failure policy: what is waited for, what goes to the dead letters, and what a worker refuses to serve.

Nothing else swallows an exception: whatever is not named here ends the worker, and Kafka still holds the data.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import aiokafka.errors as kafka
import redis.exceptions as redis

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

__all__ = ["REFUSED", "Poison", "Refusal", "Transient", "is_transient", "own_cancellation", "persist", "tls_error"]

T = TypeVar("T")

log = logging.getLogger(__name__)

REFUSED = 3
"""Exit status after a Refusal, so that a supervisor can tell "mend me" (3) and wrong settings (2) from a crash (1)."""

FIRST_PAUSE = 0.1  # seconds; a broker that changes its leader is back after a few of these
LONGEST_PAUSE = 5.0  # seconds; a server that comes back is noticed at once by a person's measure


class Transient(Exception):
    """A failure that passes by itself: keep the data, wait, try again."""


# What ends by itself, though `retriable` does not say so: servers that load, move, fail over or have no room.
_PASSING = (
    Transient,
    OSError,
    redis.ConnectionError,
    redis.TimeoutError,
    redis.ReadOnlyError,
    redis.OutOfMemoryError,
    redis.ClusterError,
    redis.TryAgainError,
    redis.SlotNotCoveredError,
    kafka.KafkaUnavailableError,
    kafka.KafkaTimeoutError,
    kafka.BrokerNotAvailableError,
    kafka.ReplicaNotAvailableError,
    kafka.RebalanceInProgressError,
    kafka.UnknownError,
    # This machine's clock is far ahead of Kafka's, until somebody sets it.
    kafka.InvalidTimestampError,
)
# Waiting mends none of these, though their base classes pass: refused credentials and what is wrong with files.
_LASTING = (
    redis.AuthenticationError,
    redis.AuthorizationError,
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)
# Redis says these by a prefix only, whatever class the client gives them.
_PREFIXES = ("BUSY ", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "OOM", "READONLY", "TRYAGAIN")


class Poison(Exception):
    """Bytes that no retry will ever turn into an event or item: to the dead letters at once, and on with the stream."""

    def __init__(self, stage: str, error: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage
        self.error = error
        self.message = message

    def __reduce__(self) -> tuple[type[Poison], tuple[str, str, str]]:
        """Survive a process boundary: an exception is rebuilt from its arguments."""
        return type(self), (self.stage, self.error, self.message)


class Refusal(Exception):
    """What a worker must not serve, because it could not serve it exactly; ``fix`` is what mends it, best a command."""

    def __init__(self, message: str, *, fix: str) -> None:
        super().__init__(f"{message} To mend it: {fix}")
        self.message = message
        self.fix = fix


def is_transient(error: BaseException) -> bool:
    """Tell whether waiting may help: yes for absent, full or moving servers, no for refused credentials and bugs."""
    if isinstance(error, _LASTING) or tls_error(error) is not None:
        return False
    if isinstance(error, redis.ResponseError) and str(error).startswith(_PREFIXES):
        return True
    return isinstance(error, _PASSING) or (isinstance(error, kafka.KafkaError) and error.retriable)


# A connection that broke, as any other may.
_BROKEN = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


def tls_error(error: BaseException | None) -> ssl.SSLError | None:
    """Find what waiting does not mend of TLS, a certificate that does not hold for one, behind what a client made of it."""
    while error is not None:
        if isinstance(error, ssl.SSLError) and not isinstance(error, _BROKEN):
            return error
        error = error.__cause__ or error.__context__
    return None


@contextmanager
def own_cancellation() -> Iterator[None]:
    """Let only a cancellation of this very task be one; raise Transient for any other.

    aiokafka lets several wait for one answer. Where one of them is cancelled, by a time-out say, all others are told that they
    were; and one that is told so ends in silence.
    """
    try:
        yield
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise Transient("a client cancelled its own request") from error


async def persist(
    what: str,
    attempt: Callable[[], Awaitable[T]],
    *,
    transient: Callable[[BaseException], bool] | tuple[type[BaseException], ...] = is_transient,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    chance: random.Random | None = None,
) -> T:
    """Attempt until it succeeds; ``what`` names it in the line said when it starts to fail, and when it works again."""
    passes = transient if callable(transient) else lambda error: isinstance(error, transient)
    chance = chance or random.Random()  # noqa: S311 - jitter, no secret
    tries = 0
    while True:
        try:
            with own_cancellation():
                result = await attempt()
        except Exception as error:
            if not passes(error):
                raise
            if tries == 0:
                log.warning("%s: %s; waiting and trying again, nothing is lost", what, _sentence(error))
            await sleep(_pause(tries, chance))
            tries += 1
        else:
            if tries:
                log.warning("%s: works again after %d more tries", what, tries)
            return result


def _pause(tries: int, chance: random.Random) -> float:
    """Double from the first pause to the longest; half of it is chance, lest all workers knock at the same moment."""
    whole = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(tries, 16))
    return whole * chance.uniform(0.5, 1.0)


def _sentence(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
