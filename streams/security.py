"""How clients show who they are and check whom they talk to: the options of clients of Kafka, the URL of Redis, the token."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from streams.settings import SettingsError

if TYPE_CHECKING:
    from pydantic import SecretStr

    from streams.knobs.fields import RedisURL
    from streams.knobs.servers import Kafka, Serve
    from streams.settings import Settings

__all__ = ["kafka_client", "redis_url", "token"]

_HERE = frozenset({"127.0.0.1", "localhost", "[::1]"})


def kafka_client(settings: Settings) -> dict[str, Any]:
    """Give the options that every client of aiokafka takes; raise SettingsError for a file that is not what it should be."""
    knobs = settings.kafka
    options: dict[str, Any] = {"bootstrap_servers": settings.brokers, "security_protocol": knobs.security_protocol}
    if knobs.encrypted:
        options["ssl_context"] = _context(knobs)
    if knobs.login:
        password = _secret(knobs.password, "kafka.password_file", knobs.password_file)
        options |= {
            "sasl_mechanism": knobs.sasl_mechanism,
            "sasl_plain_username": knobs.username,
            "sasl_plain_password": password,
        }
    return options


def redis_url(settings: Settings) -> str:
    """Give the URL for clients of Redis, with its password and its certificates; never to be shown."""
    url = settings.redis.revealed
    named = {"ca_file": settings.redis_ca_file, "cert_file": settings.redis_cert_file, "key_file": settings.redis_key_file}
    files = {name: _readable(f"redis_{name}", file) for name, file in named.items() if file}
    if files and not url.startswith("rediss"):
        raise SettingsError(f"redis_{next(iter(files))} is set, but redis is without TLS; write it as rediss://HOST:PORT/0")
    if settings.redis_password_file:
        url = _with_password(settings.redis, _secret(None, "redis_password_file", settings.redis_password_file))
    options = urlencode({_REDIS[name]: file for name, file in files.items()})
    return f"{url}{'&' if '?' in url else '?'}{options}" if options else url


_REDIS = {"ca_file": "ssl_ca_certs", "cert_file": "ssl_certfile", "key_file": "ssl_keyfile"}


def token(serve: Serve) -> str | None:
    """Give what clients of the HTTP API must send; refuse to do without one where other machines can ask."""
    found = _secret(serve.token, "serve.token_file", serve.token_file) if serve.token or serve.token_file else None
    if found is None and serve.http.rpartition(":")[0] not in _HERE:
        raise SettingsError(f"serve.http is {serve.http}, open to other machines; set serve.token, best as UPWELL_SERVE_TOKEN")
    return found


def _context(knobs: Kafka) -> ssl.SSLContext:
    ca = _readable("kafka.ca_file", knobs.ca_file) if knobs.ca_file else None
    try:
        context = ssl.create_default_context(cafile=ca)
    except ssl.SSLError as error:
        raise SettingsError(f"kafka.ca_file is {ca!r}, which holds no certificate ({error.reason}); it must be PEM") from None
    if knobs.cert_file:
        _readable("kafka.cert_file", knobs.cert_file)
        key = _readable("kafka.key_file", knobs.key_file) if knobs.key_file else None
        # Without a password of some kind OpenSSL would ask for it on the terminal.
        password = knobs.key_password.get_secret_value() if knobs.key_password else ""
        try:
            context.load_cert_chain(knobs.cert_file, key, password)
        except (ssl.SSLError, ValueError) as error:
            why = getattr(error, "reason", None) or "the password does not fit"
            raise SettingsError(
                f"kafka.cert_file is {knobs.cert_file!r}, but certificate and key cannot be used ({why}); "
                "give both as PEM, and kafka.key_password where the key is encrypted"
            ) from None
    return context


def _with_password(url: RedisURL, password: str) -> str:
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    if ":" in login or "password=" in parts.query:
        raise SettingsError(f"redis is {url.masked} and redis_password_file is set too; give one password")
    if parts.scheme == "unix":
        return f"{url}{'&' if parts.query else '?'}{urlencode({'password': password})}"
    return parts._replace(netloc=f"{login}:{quote(password, safe='')}@{hosts}").geturl()


def _secret(given: SecretStr | None, name: str, file: str | None) -> str:
    """Give a secret that is set itself or lies in a file; a file's last line break is an editor's, not the secret's."""
    if given is not None:
        return given.get_secret_value()
    path = _readable(name, file or "")
    try:
        found = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        found = ""
    if not found:
        raise SettingsError(f"{name} is {path!r}, which holds no text; write the secret into it")
    return found


def _readable(name: str, file: str) -> str:
    try:
        with Path(file).open("rb"):
            return file
    except OSError as error:
        raise SettingsError(f"{name} is {file!r}, which cannot be read ({error.strerror}); name a file that can") from None
