"""What clients are given to show who they are, and what is said of settings that cannot work."""

from __future__ import annotations

import os
import ssl
from urllib.parse import parse_qs, urlsplit

import pytest
from redis.asyncio.connection import parse_url

from streams.knobs.servers import Serve
from streams.security import kafka_client, redis_url, token
from streams.settings import Settings, SettingsError, load
from tests.secured import KEY_PASSWORD, PASSWORD

LOGIN = {"security_protocol": "SASL_PLAINTEXT", "username": "ada", "password": "s3cret"}


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    """No settings of the machine: an empty folder and an environment without our variables."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("UPWELL_"):
            monkeypatch.delenv(name)


def wrong(**overrides: object) -> str:
    with pytest.raises(SettingsError) as refused:
        load(None, overrides)
    assert "s3cret" not in str(refused.value)
    return str(refused.value)


class TestKafka:
    def test_is_open_by_default(self):
        assert kafka_client(Settings()) == {"bootstrap_servers": "127.0.0.1:9092", "security_protocol": "PLAINTEXT"}

    def test_logs_in_with_a_password_that_is_set_or_lies_in_a_file(self, tmp_path):
        (tmp_path / "password").write_text("s3cret\n", encoding="utf-8")
        filed = {"security_protocol": "SASL_PLAINTEXT", "username": "ada", "password_file": str(tmp_path / "password")}
        given, read = (kafka_client(Settings(kafka=section)) for section in (LOGIN, filed))
        assert given == read
        assert (given["sasl_plain_username"], given["sasl_plain_password"]) == ("ada", "s3cret")
        assert given["sasl_mechanism"] == "SCRAM-SHA-512"

    def test_checks_the_broker_and_shows_a_certificate(self, certificates, client_files):
        locked = {"key_file": certificates.locked(client_files["key_file"]), "key_password": KEY_PASSWORD}
        for files in (client_files, client_files | locked):
            context = kafka_client(Settings(kafka={"security_protocol": "SSL", **files}))["ssl_context"]
            assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
            assert [ca["subject"] for ca in context.get_ca_certs()] == [((("commonName", f"ca of {certificates.folder.name}"),),)]

    def test_trusts_what_the_system_trusts_where_no_file_is_named(self):
        context = kafka_client(Settings(kafka={"security_protocol": "SSL"}))["ssl_context"]
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)

    @pytest.mark.parametrize(
        ("section", "said"),
        [
            (
                {"username": "ada", "password": "s3cret"},
                "PLAINTEXT does not use kafka.username; set kafka.security_protocol",
            ),
            ({"ca_file": "/ca.pem"}, "PLAINTEXT does not use kafka.ca_file; set kafka.security_protocol to SSL or SASL_SSL"),
            ({"security_protocol": "SASL_SSL"}, "SASL_SSL needs kafka.username, and kafka.password or kafka.password_file"),
            (LOGIN | {"password_file": "/x"}, "there are two passwords"),
            ({"security_protocol": "SSL", "key_file": "/k"}, "kafka.key_file has no certificate"),
            ({"security_protocol": "ssl"}, "`SASL_SSL`"),
        ],
    )
    def test_says_what_does_not_go_together(self, section, said):
        assert said in wrong(kafka=section)

    @pytest.mark.parametrize("name", ["ca_file", "cert_file", "key_file"])
    def test_names_a_file_that_is_not_there(self, client_files, name):
        settings = Settings(kafka={"security_protocol": "SSL", **client_files, name: "/nowhere.pem"})
        with pytest.raises(SettingsError, match=rf"kafka\.{name} is '/nowhere\.pem', which cannot be read"):
            kafka_client(settings)

    def test_does_not_ask_for_a_password_on_the_terminal(self, certificates, client_files):
        locked = client_files | {"key_file": certificates.locked(client_files["key_file"])}
        with pytest.raises(SettingsError, match=r"give both as PEM, and kafka\.key_password"):
            kafka_client(Settings(kafka={"security_protocol": "SSL", **locked}))

    def test_takes_no_certificates_from_what_is_none(self, tmp_path):
        (tmp_path / "ca.pem").write_text("no certificate", encoding="utf-8")
        with pytest.raises(SettingsError, match=r"kafka\.ca_file is .*, which holds no certificate"):
            kafka_client(Settings(kafka={"security_protocol": "SSL", "ca_file": str(tmp_path / "ca.pem")}))

    def test_takes_no_variable_of_the_tests_for_a_setting(self, monkeypatch):
        monkeypatch.setenv("UPWELL_KAFKA_JARS", "/jars")
        monkeypatch.setenv("UPWELL_SERVE_SERVICE_HOST", "10.0.0.1")
        assert load() == Settings()


class TestRedis:
    def test_takes_its_password_from_a_file_whatever_is_in_it(self, tmp_path):
        (tmp_path / "password").write_text(PASSWORD + "\n", encoding="utf-8")
        file = str(tmp_path / "password")
        for url, user in (("redis://host:1/2", None), ("redis://ada@host:1/2", "ada"), ("unix:///run/redis.sock", None)):
            found = parse_url(redis_url(Settings(redis=url, redis_password_file=file)))
            assert (found["password"], found.get("username")) == (PASSWORD, user)

    def test_names_its_certificates(self, client_files):
        url = redis_url(
            Settings(redis="rediss://host/0?timeout=3", **{f"redis_{name}": file for name, file in client_files.items()})
        )
        options = {name: value for name, (value,) in parse_qs(urlsplit(url).query).items()}
        named = {"ssl_ca_certs": "ca_file", "ssl_certfile": "cert_file", "ssl_keyfile": "key_file"}
        assert options == {option: client_files[name] for option, name in named.items()} | {"timeout": "3"}

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({"redis_ca_file": __file__}, "redis is without TLS; write it as rediss://"),
            (
                {"redis_ca_file": "/nowhere.pem", "redis": "rediss://host"},
                "redis_ca_file is '/nowhere.pem', which cannot be read",
            ),
            ({"redis_password_file": "/nowhere"}, "redis_password_file is '/nowhere', which cannot be read"),
            ({"redis_password_file": os.devnull}, "which holds no text"),
            ({"redis_password_file": __file__, "redis": "redis://ada:s3cret@host"}, "give one password"),
        ],
    )
    def test_says_what_does_not_go_together(self, settings, said):
        with pytest.raises(SettingsError) as refused:
            redis_url(Settings(**settings))
        assert said in str(refused.value)
        assert "s3cret" not in str(refused.value)

    @pytest.mark.parametrize("url", ["redis://host/0?password=s3cret&x=1", "unix:///run/redis.sock?db=0&password=s3cret"])
    def test_hides_a_password_among_the_options_too(self, url):
        assert Settings(redis=url).redis.masked == url.replace("s3cret", "***")


class TestToken:
    def test_is_set_or_lies_in_a_file(self, tmp_path):
        (tmp_path / "token").write_text("s3cret\n", encoding="utf-8")
        assert token(Serve(token="s3cret")) == token(Serve(token_file=str(tmp_path / "token"))) == "s3cret"

    def test_is_needed_beyond_this_machine_only(self):
        assert token(Serve()) is None
        with pytest.raises(SettingsError, match=r"open to other machines; set serve\.token"):
            token(Serve(http="0.0.0.0:6067"))
