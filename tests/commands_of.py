"""Commands of `upwell` as a test runs them: on the servers, topics and keys of a settings tree, answering in JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from streams import cli

if TYPE_CHECKING:
    from tests.fixtures.workers import Tree

Run: TypeAlias = Callable[..., tuple[int, Any]]


def runner(tree: Tree, capsys: pytest.CaptureFixture[str]) -> Run:
    """Make what runs a command: run("export", "ada") gives its exit status and the object that it printed."""
    servers = [word for name in ("brokers", "redis", "prefix") for word in (f"--{name}", str(tree[name]))]
    topics = [word for role, topic in tree["topics"].items() for word in ("--set", f"topics.{role}={topic}")]
    key = tree.get("pseudonyms", {}).get("key_file")
    hidden = ["--set", f"pseudonyms.key_file={key}"] if key else []

    def run(command: str, *arguments: str) -> tuple[int, Any]:
        status = 0
        try:
            cli.main([command, *servers, *topics, *hidden, *arguments])
        except SystemExit as ended:
            status = int(ended.code or 0)
        out, err = capsys.readouterr()
        assert out, err
        return status, json.loads(out)

    return run
