"""Servers that check who asks: certificates made here, Apache Kafka with a listener of each kind, Redis over TLS."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlencode

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from streams.embedded import ApacheKafka, RedisServer
from streams.watched import HOST, free_port

PASSWORD = "of/the?test&:@%"  # every user's, of what a URL would take for its own
KEY_PASSWORD = "of-the-key"
LISTENERS = ("SSL", "SASL_SSL", "SASL_PLAINTEXT")
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"
PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Certificates:
    """An authority of the tests' own, and what it signed; every file is PEM."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.ca = str(folder / "ca.pem")
        self._key = str(folder / "ca.key")
        _openssl("req", "-x509", *_NEW, "-keyout", self._key, "-out", self.ca, "-days", "2", "-subj", f"/CN=ca of {folder.name}")

    def issue(self, name: str, *, host: str = HOST) -> tuple[str, str]:
        """Give files of a certificate, good for a server on that address and for a client, and of its key."""
        key, request, certificate = (str(self.folder / f"{name}.{kind}") for kind in ("key", "csr", "pem"))
        more = self.folder / f"{name}.cnf"
        more.write_text(f"subjectAltName=IP:{host}\n", encoding="utf-8")
        _openssl("req", *_NEW, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        signed = ["-CA", self.ca, "-CAkey", self._key, "-CAcreateserial", "-days", "2", "-extfile", str(more)]
        _openssl("x509", "-req", "-in", request, "-out", certificate, *signed)
        return certificate, key

    def locked(self, key: str) -> str:
        """Give a file of the same key, encrypted."""
        locked = key.removesuffix(".key") + ".locked"
        _openssl("pkcs8", "-topk8", "-in", key, "-out", locked, "-passout", f"pass:{KEY_PASSWORD}")
        return locked


_NEW = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class SecuredKafka(ApacheKafka):
    """Beside the open listener, whose anonymous user may do everything: one of each kind that checks who asks.

    ``SSL`` and ``SASL_SSL`` want a certificate of the client; users log in by SCRAM, and by PLAIN without TLS.
    """

    def __init__(
        self,
        jars: Path,
        certificates: Certificates,
        users: Sequence[str],
        settings: Mapping[str, str] = {},
        *,
        brief: bool = True,
    ) -> None:
        self.ports = {listener: free_port() for listener in LISTENERS}
        self.users = users
        super().__init__(jars, brief=brief)
        certificate, key = certificates.issue("kafka")
        store = certificates.folder / "kafka.store"
        store.write_text(Path(key).read_text(encoding="utf-8") + Path(certificate).read_text(encoding="utf-8"), encoding="utf-8")
        self.settings |= self._secured(store, certificates.ca) | dict(settings)

    def at(self, listener: str) -> str:
        """The address of a listener."""
        return f"{HOST}:{self.ports[listener]}"

    def _secured(self, store: Path, ca: str) -> dict[str, str]:
        more = "".join(f",{listener}://{HOST}:{port}" for listener, port in self.ports.items())
        known = "".join(f' user_{user}="{PASSWORD}"' for user in self.users)
        return {
            "listeners": self.settings["listeners"] + more,
            "advertised.listeners": self.settings["advertised.listeners"] + more,
            "listener.security.protocol.map": self.settings["listener.security.protocol.map"]
            + "".join(f",{listener}:{listener}" for listener in LISTENERS),
            "inter.broker.listener.name": "PLAINTEXT",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(store),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": ca,
            "listener.name.ssl.ssl.client.auth": "required",
            "listener.name.sasl_ssl.ssl.client.auth": "required",
            "listener.name.sasl_ssl.sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": f"{SCRAM} required;",
            "listener.name.sasl_plaintext.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config": f"{PLAIN} required{known};",
            "listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config": f"{SCRAM} required;",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            # A refused login is told at once.
            "connection.failed.authentication.delay.ms": "1",
        }

    def _format_options(self) -> Sequence[str]:
        kinds = ("SCRAM-SHA-256", "SCRAM-SHA-512")
        known = [f"{kind}=[name={user},password={PASSWORD}]" for user in self.users for kind in kinds]
        return [word for one in known for word in ("--add-scram", one)]


class SecuredRedis(RedisServer):
    """A Redis that speaks TLS only, and wants a certificate of the client."""

    def __init__(self, certificates: Certificates, binary: str | None = None) -> None:
        super().__init__(binary=binary)
        self.secure = issued(certificates, "redis")
        self.settings |= redis_tls(self.secure)

    @property
    def url(self) -> str:
        """URL for clients, with what they need."""
        return f"{self.bare}?{urlencode(self.secure)}"

    @property
    def bare(self) -> str:
        """The same without certificates."""
        return f"rediss://{self.address}/0"

    def _command(self) -> Sequence[str]:
        # There is one port, that of TLS.
        return [*super()._command(), "--port", "0", "--tls-port", str(self.port)]

    def _answers(self) -> bool:
        once = Retry(NoBackoff(), retries=0)
        with contextlib.suppress(redis.RedisError), redis.Redis.from_url(self.url, socket_timeout=5.0, retry=once) as client:
            info = client.info()
            return bool(info["process_id"] == self.pid and not info["loading"])
        return False


def issued(certificates: Certificates, name: str) -> dict[str, str]:
    """A certificate as redis-py's options name it, good for both ends."""
    certificate, key = certificates.issue(name)
    return {"ssl_certfile": certificate, "ssl_keyfile": key, "ssl_ca_certs": certificates.ca}


def redis_tls(secure: Mapping[str, str]) -> dict[str, str]:
    """What redis.conf says of TLS."""
    named = zip(("tls-cert-file", "tls-key-file", "tls-ca-cert-file"), secure.values(), strict=True)
    return dict(named) | {"tls-auth-clients": "yes"}
