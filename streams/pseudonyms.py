"""Pseudonyms: what stands for a user's id in all that is stored, made with a key that is stored nowhere beside it."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from stat import S_IRWXO, S_ISREG

import msgspec

__all__ = ["BadKey", "Pseudonyms", "addressed", "other_key"]

_encode = msgspec.json.Encoder().encode

FEWEST, MOST = 32, 4096  # bytes of a key: what nobody guesses, and what is a key and no other file
SIZE = 16  # bytes: of a thousand million users no two share one but with a chance of 1 in 10^21


class BadKey(ValueError):
    """A file that is no key, and what mends it."""


class Pseudonyms:
    """The pseudonyms of one key: BLAKE2b of the id, keyed (RFC 7693), as 32 hexadecimal digits.

    Without the key nobody tells whose a pseudonym is, nor makes that of an id at hand; and when it is lost, nobody ever will.

    Examples
    --------
    >>> Pseudonyms(b"a key of thirty-two bytes or more").of("alice")
    'b85dd6e16c06d21692b6888655373493'
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) < FEWEST:
            raise BadKey(f"a key of {len(secret)} bytes can be guessed; write {FEWEST} random ones or more into it")
        key = blake2b(secret, person=b"upwell key").digest()
        self.fingerprint = blake2b(digest_size=8, key=key, person=b"upwell print").hexdigest()
        # Copied for each id: the key is worked in once.
        self._keyed = blake2b(digest_size=SIZE, key=key, person=b"upwell user")

    @classmethod
    def read(cls, file: Path) -> Pseudonyms:
        """Take the bytes of a file, all of them, as the key; raise BadKey if it is none or others may read it."""
        try:
            with file.open("rb") as opened:
                mode = file.stat().st_mode
                secret = opened.read(MOST + 1) if S_ISREG(mode) else b""
        except OSError as error:
            raise BadKey(f"it cannot be read ({error.strerror})") from None
        if not S_ISREG(mode) or len(secret) > MOST:
            raise BadKey(f"it is no file of {FEWEST} to {MOST:,} bytes")
        if mode & S_IRWXO:
            raise BadKey("everybody on this machine may read it; chmod o= it")
        return cls(secret)

    def of(self, user_id: str) -> str:
        """Give the pseudonym of a user."""
        keyed = self._keyed.copy()
        keyed.update(user_id.encode())
        return keyed.hexdigest()


def addressed(message: bytes, before: str, user_id: str) -> bytes:
    """Put a user's id where a recommendation has another, such as the pseudonym."""
    # The first that is found: what stands before it in a message are numbers.
    return message.replace(b'"user_id":%b' % _encode(before), b'"user_id":%b' % _encode(user_id), 1)


def other_key(written: bytes, own: bytes) -> bool:
    """Tell whether two workers' settings of the models, as the learned log has them, name different keys."""
    try:
        keys = [msgspec.json.decode(knobs, type=dict[str, msgspec.Raw]).get("pseudonyms") for knobs in (written, own)]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return keys[0] != keys[1]
