"""What the documents promise is so: commands, settings, topics, keys, files, rules, formats and examples."""

from __future__ import annotations

import ast
import json
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from state.keys import FAMILIES, Keys
from streams.models.models import Models
from streams.models.sources import SOURCES
from streams.records import COMMON, Kind, Record, encode
from streams.schemas import Event, Recommendation, decode_event
from streams.settings import Settings, settings_table
from streams.topics import topics

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix() for folder in ("", "docs", "deploy") for path in (ROOT / folder).glob("*.md")
)
TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in DOCUMENTS}
README, ARCHITECTURE, MODELS = TEXTS["README.md"], TEXTS["ARCHITECTURE.md"], TEXTS["docs/models.md"]
RELIABILITY = TEXTS["docs/reliability.md"]

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^]]*]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
CALL = re.compile(r"^(?:streams|state|tests)/[\w/]+\.(?:py|lua)(?:: [\w.]+)?$")
FILE = re.compile(r"^(?:streams|state|tests|docs|deploy)/[\w./-]*$|^[\w.-]+\.(?:md|toml|lock|yml)$")
SECTION = re.compile(r"^(?:topics|intake|consent|publish|rerank|snapshot|models|segments|weights)\.[a-z]\w*$")
# A file that its readers make, not one of ours.
THEIRS = {"upwell.toml"}


def blocks(text: str, language: str) -> list[str]:
    return [code for kind, code in FENCE.findall(text) if kind == language]


def prose(text: str) -> str:
    return FENCE.sub("", text)


def spans(text: str) -> list[str]:
    """What stands between backticks outside blocks of code."""
    return CODE.findall(prose(text))


def table(text: str, heading: str) -> list[list[str]]:
    """The cells of the table whose heading begins with this, row by row."""
    lines = iter(text.splitlines())
    while not next(lines).startswith(heading):
        pass
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


def commands() -> dict[str, Any]:
    """Every command of `upwell` by its words."""
    import typer

    from streams.cli import app

    found: dict[str, Any] = {}
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        found |= {f"{name} {sub}": one for sub, one in inner.items()} if inner else {name: command}
    return found


COMMANDS = commands()


def calls() -> Iterator[tuple[str, str]]:
    """Every call of `upwell` that a document shows, with the document's name."""
    for name, text in TEXTS.items():
        shown = [line.strip() for code in blocks(text, "sh") for line in code.splitlines()]
        for line in [*shown, *spans(text)]:
            if match := re.search(r"(?:^|[\s/])(upwell [a-z][^#|;`]*)", line):
                yield name, match[1].strip()


def words(call: str) -> str:
    """The longest beginning of a call that is a command."""
    parts = call.split()[1:]
    return next((" ".join(parts[:n]) for n in (2, 1) if " ".join(parts[:n]) in COMMANDS), "")


@pytest.mark.parametrize(("document", "call"), sorted(set(calls())))
def test_every_call_is_a_command_with_such_options(document: str, call: str) -> None:
    assert words(call), f"{document}: no command {call!r}"
    known = {option for one in COMMANDS[words(call)].params for option in one.opts} | {"--help"}
    ours, _, _ = call.partition(" -- ")
    assert {word.partition("=")[0] for word in ours.split() if word.startswith("--")} <= known


def test_the_readme_lists_every_command() -> None:
    listed = {words(call) for row in table(README, "| command |") for call in CODE.findall(row[0])}
    assert listed == set(COMMANDS)


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {target for text in TEXTS.values() for target in re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE)}
    assert {"demo", "test", "bench"} <= named
    assert named <= targets


def test_the_readme_shows_the_settings_outside_sections() -> None:
    assert settings_table(top=True) in README


def test_every_setting_that_is_named_exists() -> None:
    known = set(re.findall(r"^\| `([^`]+)`", settings_table(), re.MULTILINE))
    named = {span for text in TEXTS.values() for span in spans(text) if SECTION.match(span)} - {topics(Settings())["dead"].name}
    assert named <= known | {"weights.custom"}


def test_the_topics_of_the_readme_are_those_of_the_table() -> None:
    names = {topic.name for topic in topics(Settings()).values()}
    assert names <= {*spans(README), *spans(ARCHITECTURE)}
    used = {name for code in blocks(README, "sh") for name in re.findall(r"-t (\S+)", code)}
    used |= set(re.findall(r"on the topic `([^`]+)`", README))
    assert {"events", "recommendations"} <= used <= names


def test_the_keys_of_the_readme_are_those_of_the_table() -> None:
    listed = {pattern for row in table(README, "| key |") for pattern in CODE.findall(row[0])}
    assert listed == {family.pattern for family in FAMILIES.values()}
    shown = re.findall(r"\b(upwell:\S+)", "".join(blocks(README, "sh")))
    assert shown
    assert all(Keys().family(key.encode()) for key in shown)


def test_the_example_of_a_recommendation_decodes_to_all_that_is_promised() -> None:
    (example,) = blocks(README, "json")
    decoded = msgspec.json.decode(example, type=Recommendation)
    assert set(json.loads(example)) == set(Recommendation.__struct_fields__)
    assert decoded.recommendation_id == f"{decoded.trigger.partition}-{decoded.trigger.offset}"
    assert {reason.source for item in decoded.items for reason in item.reasons} <= set(SOURCES)


def test_every_event_of_the_readme_decodes() -> None:
    code = "".join(body for _, body in FENCE.findall(README)).replace('\\"', '"')
    sent = re.findall(r'\{"type":[^}]*\}', code)
    assert len(sent) == 4, "kcat, twice Python, Java"
    assert all(isinstance(decode_event(one.encode(), received=1.0, skew=0.0), Event) for one in sent)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_python_in_documents_compiles_and_imports_what_there_is(document: str) -> None:
    for code in blocks(TEXTS[document], "python"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and node.module in {"state", "streams"}:
                module = __import__(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_resolve(document: str) -> None:
    for target in LINK.findall(prose(TEXTS[document])):
        if not target.startswith("https://"):
            path, _, anchor = target.partition("#")
            place = ((ROOT / document).parent / path) if path else ROOT / document
            assert place.exists(), target
            assert not anchor or f"## {anchor}" in place.read_text(encoding="utf-8").lower().replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_and_functions_that_are_named_exist(document: str) -> None:
    for span in spans(TEXTS[document]):
        if CALL.match(span):
            assert_there(span)
        elif FILE.match(span) and span not in THEIRS:
            assert (ROOT / span).exists() or (ROOT / document).parent.joinpath(span).exists(), span


def assert_there(span: str) -> None:
    """The file exists and has the function, the method or the attribute that stands behind the colon."""
    path, _, name = span.partition(": ")
    assert (ROOT / path).is_file(), span
    if not name:
        return
    owner, _, inner = name.rpartition(".")
    body: Any = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    if owner:
        body = next((node for node in body.body if isinstance(node, ast.ClassDef) and node.name == owner), None)
        assert body is not None, span
    functions = {node.name for node in body.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
    attributes = {node.attr for node in ast.walk(body) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
    assert inner in functions | attributes, span


def test_each_of_the_eight_rules_names_its_place_and_its_test() -> None:
    rows = table(ARCHITECTURE, "| rule |")
    assert [row[0][0] for row in rows] == list("12345678")
    for _, places, tests in rows:
        assert CODE.findall(places)
        assert all(CALL.match(span) and not span.startswith("tests/") for span in CODE.findall(places))
        assert all(span.startswith("tests/") for span in CODE.findall(tests))
        assert CODE.findall(tests)


def test_each_fault_names_its_test() -> None:
    for _, _, _, _, tests in table(RELIABILITY, "| fault |"):
        assert CODE.findall(tests)
        assert all(CALL.match(span) and ": test_" in span for span in CODE.findall(tests))


def test_each_alert_has_its_line_in_the_runbook() -> None:
    groups = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text(encoding="utf-8"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    listed = [f"`{rule['alert']}` ({rule['labels']['severity']})" for rule in rules]
    assert [row[0] for row in table(RELIABILITY, "| alert |")] == listed
    assert all(rule["annotations"]["action"] in RELIABILITY for rule in rules)


def test_the_format_of_records_is_as_described() -> None:
    rows = table(ARCHITECTURE, "| kind | number |")
    assert {row[0].upper(): int(row[1]) for row in rows} == {kind.name: kind.value for kind in Kind}
    envelope = encode(Record(Kind.LESSON, 258, 3, 4, 5, b""))
    assert (len(envelope), envelope[:2], envelope[2], envelope[3]) == (36, b"UL", COMMON, Kind.LESSON)
    fields = {(8, 16): 258, (16, 20): 3, (20, 28): 4, (28, 36): 5}
    assert {place: int.from_bytes(envelope[slice(*place)], "little") for place in fields} == fields
    assert {f"{first}\N{EN DASH}{last - 1}" for first, last in fields} <= {row[0] for row in table(ARCHITECTURE, "| bytes |")}


def test_what_models_hold_of_a_user_and_an_item_is_as_described() -> None:
    models = Models(**Settings().parameters())
    parts = [getattr(models, part) for part in ("visits", "popularity", "catalog")]
    held = {name: array for part in parts for name, array in vars(part).items() if hasattr(array, "nbytes")}
    users = sum(held[name][0].nbytes for name in held if name.startswith("user_")) + held["recent"][0].nbytes
    items = ("item_users", "item_positions", "item_count", "short", "long", "first_seen", "item_tokens", "content", "context")
    each = sum(held[name][0].nbytes for name in (*items, "available", "known", "offset", "visited")) + 8 * 4
    assert (round(each / 1000, 1), round(users / 1000, 1)) == (1.9, 1.1), "and about 60 bytes of a user's id and segments"


def test_every_source_has_its_section() -> None:
    headings = re.findall(r"^## (.*)$", MODELS, re.MULTILINE)
    assert {name for heading in headings for name in CODE.findall(heading)} == set(SOURCES)
    for section in re.split(r"^## ", MODELS, flags=re.MULTILINE)[1:]:
        assert all(f"- {word}: " in section for word in ("Formula", "Source", "Cost", "Settings")), section.splitlines()[0]


def test_the_figures_have_their_bounds_and_their_command() -> None:
    rows = table(README, "| figure |")
    assert len(rows) == 12
    assert all(all(row) and len(row) == 3 for row in rows)
    assert "`make bench`" in README


def test_the_changelog_knows_the_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert f"## [{version}]" in TEXTS["CHANGELOG.md"]


def tree() -> Iterator[tuple[str, str]]:
    """All texts that are ours, but for this one."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [
            name for name in folders if name == ".ci" or not (name.startswith((".", "__")) or name.endswith("egg-info"))
        ]
        for path in (Path(folder) / name for name in names):
            # A second working tree has a file .git, which names its folder.
            if path.suffix not in {".pyc", ".nbi", ".nbc"} and path.name != ".git" and path != Path(__file__):
                yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8", errors="replace")


FOREIGN = {
    "an address of a registry": r"pypi\.org|pythonhosted|repo1?\.maven|registry\.npmjs|artifactory|--(?:extra-)?index-url",
    "a path of somebody's machine": r"(?<![\w.$}])/(?:home|root|Users|work)/\w",
    "how it was made": r"\b[Ii]ssue #?\d|\bpull request\b|\b(?:this|previous|next|earlier) session\b|\bworking paper\b",
}


@pytest.mark.parametrize("what", FOREIGN)
def test_the_tree_speaks_of_the_product_only(what: str) -> None:
    pattern = re.compile(FOREIGN[what])
    found = [f"{name}: {match[0]}" for name, text in tree() if (match := pattern.search(text))]
    assert not found


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_know_no_sessions(document: str) -> None:
    assert not re.search(r"\b[Ss]essions?\b", TEXTS[document])
