"""The log: for people and for programs, and whom and what it does not name."""

from __future__ import annotations

import json
import logging
import logging.config

import pytest

from streams.knobs.servers import Log
from streams.logs import configuration


@pytest.fixture
def log(capsys):
    """Configure logging as a worker does; log("json") gives a logger, log.lines() what it wrote."""
    known = {name: logging.getLogger(name).level for name in ("faust", "mode", "aiohttp", "aiokafka", "numba", "asyncio")}
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    class Written:
        def __call__(self, **settings: object) -> logging.Logger:
            logging.config.dictConfig(configuration(Log(**settings)))
            return logging.getLogger("streams.test")

        def lines(self) -> list[str]:
            return capsys.readouterr().err.splitlines()

    yield Written()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in known.items():
        logging.getLogger(name).setLevel(before)


def test_json_is_one_object_a_line_with_its_fields(log):
    log(format="json").warning("%s of %s\nentries", 3, 4, extra={"topic": "items", "partition": 2})
    (line,) = log.lines()
    said = json.loads(line)
    assert said.pop("time").endswith("+00:00")
    assert said == {
        "level": "warning", "logger": "streams.test", "message": "3 of 4\nentries", "topic": "items", "partition": 2,
    }  # fmt: skip


def test_json_holds_a_trace_in_a_field_of_its_own(log):
    logger = log(format="json")
    try:
        int("no")
    except ValueError:
        logger.exception("it failed", extra={"odd": object})
    (line,) = log.lines()
    said = json.loads(line)
    assert said["message"] == "it failed"
    assert said["error"].endswith("with base 10: 'no'")
    assert said["odd"] == "<class 'object'>"


def test_a_field_cannot_take_the_place_of_what_every_line_has(log):
    log(format="json").info("true", extra={"level": "forged", "logger": "forged"})
    said = json.loads(log.lines()[0])
    assert (said["level"], said["logger"], said["message"]) == ("info", "streams.test", "true")


def test_a_line_for_people_ends_with_the_fields(log):
    log().info("read", extra={"topic": "items"})
    (line,) = log.lines()
    assert line.endswith("INFO streams.test: read topic='items'")


@pytest.mark.parametrize("kind", ["console", "json"])
@pytest.mark.parametrize("named", [False, True])
def test_users_are_named_only_where_it_is_asked_for(log, kind, named):
    log(format=kind, user_ids=named).info("answered", extra={"user_id": "ada", "item_id": "tea"})
    (line,) = log.lines()
    assert ("ada" in line, "tea" in line) == (named, True)


@pytest.mark.parametrize("named", [False, True])
def test_whole_requests_are_written_only_where_users_may_be_named(log, named):
    log(level="debug", user_ids=named)
    logging.getLogger("aiokafka.conn").debug("Request: ProduceRequest(b'ada')")
    assert bool(log.lines()) == named


def test_what_logs_in_is_never_written(log):
    log(level="debug", user_ids=True)
    request = "SaslAuthenticateRequest_v0(sasl_auth_bytes=b'\\x00ada\\x00s3cret')"
    logging.getLogger("aiokafka.conn").debug("Request to %s:%d %d: %s", "host", 1, 2, request)
    (line,) = log.lines()
    assert "s3cret" not in line
    assert line.endswith("SaslAuthenticateRequest_v0(sasl_auth_bytes=***")


def test_a_library_says_the_same_once_a_minute(log):
    log()
    for _ in range(3):
        logging.getLogger("aiokafka").error("away")
    assert len(log.lines()) == 1


def test_a_connection_that_breaks_under_tls_is_one_line(log):
    log()
    why = AssertionError("feed_data after feed_eof")
    logging.getLogger("asyncio").error("Fatal error on SSL protocol\nprotocol: <asyncio.sslproto.SSLProtocol>", exc_info=why)
    (line,) = log.lines()
    assert line.endswith("asyncio: a connection under TLS broke: AssertionError('feed_data after feed_eof')")
