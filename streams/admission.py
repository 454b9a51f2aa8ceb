"""Why a server does not let this program in, or not do what it needs: one sentence and its fix, where waiting does not help."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import aiokafka.errors as kafka
import redis.exceptions as redis
from aiokafka.conn import AIOKafkaConnection
from aiokafka.protocol.admin import SaslHandShakeRequest

from streams.failures import Refusal, tls_error
from streams.security import kafka_client

if TYPE_CHECKING:
    from streams.knobs.servers import Kafka
    from streams.settings import Settings

__all__ = ["kafka_refusal", "not_created", "refusal"]

_CLOSE_SECONDS = 0.5
_ASK_MS = 5_000  # a broker that takes longer may be busy, which is no refusal
_RIGHTS = "docs/security.md lists the rights that each command needs, as commands to copy"
_NOT_ALLOWED = ("NOPERM", "can't run this command", "can't access at least one of the keys", "No permissions to")
_RIGHT_TO: Mapping[type[kafka.KafkaError], str] = {
    kafka.TopicAuthorizationFailedError: "READ, WRITE, DESCRIBE or DELETE the topic",
    kafka.GroupAuthorizationFailedError: "READ the group",
    kafka.TransactionalIdAuthorizationFailed: "WRITE the transactional id",
}


def refusal(error: BaseException) -> Refusal | None:
    """Say for a failure whether a server refuses what this program is or does, and what mends it; None: it is something else."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, redis.RedisError):
        return _redis(error)
    if isinstance(error, kafka.ClusterAuthorizationFailedError):
        return _lacking("do what it asks of the cluster")
    for kind, right in _RIGHT_TO.items():
        if isinstance(error, kind):
            return _lacking(f"{right} {_named(error)}")
    return None


def not_created(topic: str) -> Refusal:
    """Say that a topic, which cannot be seen, may not be created either: nobody is told of topics that he must not see."""
    return _lacking(f"CREATE the topic {topic}, or, where it exists, to DESCRIBE it, as READ and WRITE do")


def _lacking(right: str) -> Refusal:
    return Refusal(f"Kafka does not give this user the right to {right}.", fix=f"give it with kafka-acls.sh; {_RIGHTS}.")


def _named(error: kafka.KafkaError) -> str:
    """The topics or groups of an error, as its raiser gave them."""
    (given, *_) = error.args or ("",)
    return ", ".join(sorted(map(str, given))) if isinstance(given, (set, frozenset, list, tuple)) else str(given)


def _redis(error: redis.RedisError) -> Refusal | None:
    said = " ".join(str(error).split()).rstrip(".")
    if isinstance(error, redis.AuthenticationError):
        fix = "put them into its URL (redis://USER:PASSWORD@HOST:PORT/0), or the password into a file (redis_password_file)."
        return Refusal(f"Redis refuses user or password: {said}.", fix=fix)
    if isinstance(error, (redis.AuthorizationError, redis.NoPermissionError)) or any(one in said for one in _NOT_ALLOWED):
        return Refusal(
            f"Redis does not let this user do what Upwell does: {said}.", fix=f"give the rights with ACL SETUSER; {_RIGHTS}."
        )
    found = tls_error(error)
    return _tls(found, "Redis", "redis_") if found else None


def _tls(error: ssl.SSLError, server: str, prefix: str) -> Refusal:
    if isinstance(error, ssl.SSLCertVerificationError):
        fix = f"name the certificates that signed it ({prefix}ca_file), and the server as its certificate names it."
        return Refusal(f"{server} shows a certificate that does not hold: {error.verify_message.rstrip('.')}.", fix=fix)
    if "ALERT" in (error.reason or ""):
        fix = f"give a certificate that the server's own authority signed ({prefix}cert_file, {prefix}key_file)."
        return Refusal(f"{server} refuses this client's certificate ({error.reason}).", fix=fix)
    return Refusal(f"{server} does not speak TLS as this client does ({error.reason}).", fix="check address and port.")


async def kafka_refusal(settings: Settings) -> Refusal | None:
    """Say why no broker lets this client in; None where waiting may help. aiokafka itself tells its reasons to the log only."""
    options = kafka_client(settings)
    brokers = str(options.pop("bootstrap_servers")).split(",")
    found = [await _asked(broker, options, settings.kafka) for broker in brokers]
    return None if _WELCOME in found else next((one for one in found if isinstance(one, Refusal)), None)


_WELCOME = "welcome"
_LOGIN_ASKED = frozenset({0, kafka.UnsupportedSaslMechanismError.errno})


async def _asked(broker: str, options: Mapping[str, Any], knobs: Kafka) -> Refusal | str | None:
    """Knock at one broker: welcome, refused, or nobody there."""
    connection = _connection(broker, **options)
    try:
        await connection.connect()
        if knobs.login:
            return _WELCOME
        # A broker that wants a login answers a greeting without one, and then hangs up.
        answer = await connection.send(SaslHandShakeRequest(knobs.sasl_mechanism))
        return _login(broker, answer.enabled_mechanisms) if answer.error_code in _LOGIN_ASKED else _WELCOME
    except (kafka.KafkaError, OSError) as error:
        return _refused(error, broker, knobs) or await (_open(broker) if knobs.encrypted else _encrypted(broker))
    finally:
        await _gone(connection)


def _connection(broker: str, **options: Any) -> AIOKafkaConnection:  # noqa: ANN401 - aiokafka's
    host, _, port = broker.rpartition(":")
    return AIOKafkaConnection(host.strip("[]"), int(port), request_timeout_ms=_ASK_MS, **options)


async def _gone(connection: AIOKafkaConnection) -> None:
    """Hang up, and give TLS a moment for its good-bye, or the socket would outlive the loop."""
    closed = connection.close()
    if closed is not None:
        await asyncio.wait([closed], timeout=_CLOSE_SECONDS)


def _refused(error: Exception, broker: str, knobs: Kafka) -> Refusal | None:
    server = f"The broker at {broker}"
    if isinstance(error, (kafka.SaslAuthenticationFailed, kafka.AuthenticationFailedError)):
        return Refusal(
            f"{server} refuses the login of {knobs.username!r} by {knobs.sasl_mechanism}.",
            fix="check kafka.username and kafka.password, and that the broker knows this user for this kafka.sasl_mechanism.",
        )
    if isinstance(error, kafka.UnsupportedSaslMechanismError):
        return Refusal(f"{server} takes no login by {knobs.sasl_mechanism}.", fix="set kafka.sasl_mechanism to one it takes.")
    if isinstance(error, kafka.IllegalSaslStateError):
        wish = "SSL" if knobs.encrypted else "PLAINTEXT"
        return Refusal(f"{server} takes no login.", fix=f"set kafka.security_protocol to {wish}, or name another listener.")
    found = tls_error(error)
    return _tls(found, server, "kafka.") if found else None


def _login(broker: str, mechanisms: Iterable[str]) -> Refusal:
    return Refusal(
        f"The broker at {broker} wants a login, by {' or '.join(mechanisms)}.",
        fix="set kafka.security_protocol to SASL_SSL (or SASL_PLAINTEXT), kafka.sasl_mechanism, kafka.username, kafka.password.",
    )


async def _open(broker: str) -> Refusal | None:
    """Tell whether a broker speaks without TLS where this client speaks with it."""
    connection = _connection(broker)
    try:
        await connection.connect()
    except (kafka.KafkaError, OSError):
        return None
    finally:
        await _gone(connection)
    fix = "set kafka.security_protocol to PLAINTEXT or SASL_PLAINTEXT, or name another listener."
    return Refusal(f"The broker at {broker} speaks no TLS.", fix=fix)


async def _encrypted(broker: str) -> Refusal | None:
    """Tell whether a broker speaks TLS where this client does not."""
    host, _, port = broker.rpartition(":")
    anyone = ssl.create_default_context()
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE  # nothing is said to it but hello
    try:
        async with asyncio.timeout(_ASK_MS / 1000):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=anyone)
    except OSError:
        return None
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_CLOSE_SECONDS):
            await writer.wait_closed()
    return Refusal(f"The broker at {broker} speaks TLS only.", fix="set kafka.security_protocol to SSL or SASL_SSL.")
