"""A file as stretches of rows: CSV, JSON lines or Parquet, plain or gzipped, told apart by their first bytes."""

from __future__ import annotations

import csv
import gzip
import io
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgspec
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from streams.columns import Column, FileError

STRETCH_BYTES = 1 << 20  # some 20,000 events: enough to amortise the fixed cost, too little to notice in memory
LINE_BYTES = 16 << 20  # a longer line is no event, and must not fill the memory while its end is looked for
HEAD_BYTES = 4096  # looked at to tell the format
MAGIC_BYTES = 4  # the longest mark of a format, PAR1
PARQUET_ROWS = 32_768

Pick = Callable[[Sequence[str]], list[str]]
"""Told a file's columns, says which of them to read."""


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no row, and why."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Table:
    """One stretch of a file as it is: its columns, its line numbers, the lines that are no rows, JSON as it was."""

    columns: dict[str, Column]
    lines: Sequence[int]
    bad: list[BadLine]
    raw: list[bytes] | None = None


class Source:
    """A file or standard input, unpacked; `taken` of `size` bytes were read so far."""

    def __init__(self, path: str) -> None:
        """Open `path` (`-` is standard input)."""
        self.name = "standard input" if path == "-" else path
        self.size = None if path == "-" else _size(path)
        self.taken = 0
        self._below = cast("io.BufferedReader", sys.stdin.buffer if path == "-" else Path(path).open("rb"))  # noqa: SIM115 - closed by close()
        try:
            self._look()
        except BaseException:
            self.close()
            raise

    def _look(self) -> None:
        packed: io.BufferedReader = io.BufferedReader(_Counted(self), STRETCH_BYTES)
        self.packed = packed.peek(2)[:2] == b"\x1f\x8b"
        self.stream: io.BufferedReader = _unpacked(packed) if self.packed else packed
        self.head = self.stream.peek(HEAD_BYTES)

    def read_below(self, size: int) -> bytes:
        """The next bytes as they lie in the file; of a pipe, what is there, but enough to tell the format."""
        data = self._below.read1(size)
        while data and self.taken + len(data) < MAGIC_BYTES and (more := self._below.read1(size - len(data))):
            data += more
        self.taken += len(data)
        return data

    def close(self) -> None:
        """Close what was opened."""
        if self._below is not sys.stdin.buffer:
            self._below.close()

    @property
    def format(self) -> str:
        """`csv`, `jsonl` or `parquet`."""
        start = self.head.removeprefix(b"\xef\xbb\xbf").lstrip()
        if start[:1] == b"[":
            raise FileError(f"{self.name} is one JSON array, not JSON lines: jq -c '.[]' FILE makes them")
        return "parquet" if start[:4] == b"PAR1" else "jsonl" if start[:1] == b"{" else "csv"


class _Counted(io.RawIOBase):
    """A source's bytes as they lie in the file, as a stream."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer, which Python 3.11 has no name for
        data = self._source.read_below(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _unpacked(packed: io.BufferedReader) -> io.BufferedReader:
    return io.BufferedReader(cast("io.RawIOBase", gzip.GzipFile(fileobj=packed)), STRETCH_BYTES)


def _size(path: str) -> int | None:
    return Path(path).stat().st_size or None


@contextmanager
def opened(path: str) -> Iterator[Source]:
    """A source that is closed at the end."""
    with _readable(path):
        source = Source(path)
    try:
        yield source
    finally:
        source.close()


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """What goes wrong in reading a file as one sentence."""
    try:
        yield
    except (OSError, EOFError, zlib.error, pa.ArrowException, ValueError) as error:
        raise FileError(f"{name} cannot be read: {_why(error)}") from error


def _why(error: Exception) -> str:
    known = error.strerror.lower() if isinstance(error, OSError) and error.strerror else ""
    return known or next(iter(str(error).splitlines()), type(error).__name__)


def tables(source: Source, pick: Pick) -> Iterator[Table]:
    """The stretches of a source, whatever its format."""
    with _readable(source.name):
        yield from {"csv": _csv, "jsonl": _jsonl, "parquet": _parquet}[source.format](source, pick)


def _parquet(source: Source, pick: Pick) -> Iterator[Table]:
    by_name = source.size is not None and not source.packed
    file = pq.ParquetFile(source.name if by_name else io.BytesIO(source.stream.read()))
    wanted = pick(file.schema_arrow.names)
    line = 1
    for batch in file.iter_batches(PARQUET_ROWS, columns=wanted):
        yield Table(dict(zip(wanted, batch.select(wanted).columns, strict=True)), _lines(line, batch.num_rows), [])
        line += batch.num_rows


def _lines(first: int, count: int) -> range:
    return range(first, first + count)


def _csv(source: Source, pick: Pick) -> Iterator[Table]:
    first = source.stream.readline(LINE_BYTES)
    delimiter = max(",\t;|", key=lambda mark: first.count(mark.encode()))
    names = _header(first, delimiter, source)
    wanted = pick(names)
    line = 2
    skipped: list[BadLine] = []
    for batch in _batches(source, names, wanted, delimiter, skipped):
        lines, bad = _numbered(batch.num_rows, line, skipped)
        line += len(lines) + len(bad)
        yield Table(dict(zip(wanted, batch.columns, strict=True)), lines, _told(bad))
    if skipped:
        yield Table({name: pa.array([], pa.binary()) for name in wanted}, [], _told(skipped))


def _told(bad: list[BadLine]) -> list[BadLine]:
    """Without the blank lines, which are no news."""
    return [one for one in bad if one.reason]


def _header(first: bytes, delimiter: str, source: Source) -> list[str]:
    try:
        text = first.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise FileError(f"the first line of {source.name} is no UTF-8 text; iconv -t UTF-8 makes it so") from None
    return next(csv.reader([text], delimiter=delimiter), [])


def _batches(
    source: Source, names: list[str], wanted: list[str], delimiter: str, skipped: list[BadLine]
) -> Iterator[pa.RecordBatch]:
    # By place, for a file may name two columns alike; as bytes, for one wrong letter must not cost the whole stretch.
    places = [str(names.index(name)) for name in wanted]
    if not source.stream.peek(1):
        return
    yield from pc.open_csv(
        source.stream,
        pc.ReadOptions(column_names=[str(i) for i in range(len(names))], use_threads=False, block_size=STRETCH_BYTES),
        pc.ParseOptions(
            delimiter=delimiter,
            newlines_in_values=True,
            ignore_empty_lines=len(names) < 2,
            invalid_row_handler=lambda row: _skip(row, skipped),
        ),
        pc.ConvertOptions(include_columns=places, column_types=dict.fromkeys(places, pa.binary())),
    )


def _skip(row: pc.InvalidRow, skipped: list[BadLine]) -> str:
    reason = f"has {row.actual_columns} columns instead of {row.expected_columns}" if row.text.strip() else ""
    skipped.append(BadLine((row.number or 0) + 1, reason))
    return "skip"


def _numbered(rows: int, line: int, skipped: list[BadLine]) -> tuple[list[int], list[BadLine]]:
    """The lines of the next rows from `line` on, and the skipped lines among them, which are taken out of `skipped`."""
    lines: list[int] = []
    bad: list[BadLine] = []
    while len(lines) < rows:
        if skipped and skipped[0].line == line:
            bad.append(skipped.pop(0))
        else:
            lines.append(line)
        line += 1
    return lines, bad


def _jsonl(source: Source, pick: Pick) -> Iterator[Table]:
    wanted: list[str] = []
    line = 1
    for batch in _whole_lines(source.stream):
        rows, bad = _objects(batch, line)
        if rows and not wanted:
            wanted = pick(list(dict.fromkeys(name for row in rows.values() for name in row)))
        raw = [batch[place - line].strip() for place in rows]
        yield Table({name: [row.get(name) for row in rows.values()] for name in wanted}, list(rows), bad, raw)
        line += len(batch)


def _whole_lines(stream: io.BufferedReader) -> Iterator[list[bytes]]:
    """The lines that have arrived, so that a slow pipe's events go on at once."""
    rest: list[bytes] = []
    while data := stream.read1(STRETCH_BYTES):
        *lines, last = data.split(b"\n")
        if lines:
            lines[0] = b"".join([*rest, lines[0]])
            yield lines
            rest = []
        rest.append(last)
        if sum(map(len, rest)) > LINE_BYTES:
            raise ValueError(f"a line is longer than {LINE_BYTES >> 20} MiB")
    if any(rest):
        yield [b"".join(rest)]


def _objects(batch: list[bytes], first: int) -> tuple[dict[int, dict[str, Any]], list[BadLine]]:
    rows: dict[int, dict[str, Any]] = {}
    bad: list[BadLine] = []
    for line, text in enumerate(batch, first):
        try:
            rows.update({line: _object(text)} if text.strip() else {})
        except (msgspec.DecodeError, RecursionError, ValueError) as error:
            bad.append(BadLine(line, str(error)))
    return rows, bad


def _object(text: bytes) -> dict[str, Any]:
    row = msgspec.json.decode(text.removeprefix(b"\xef\xbb\xbf"))
    if not isinstance(row, dict):
        raise ValueError("is no JSON object")  # noqa: TRY004 - a line is wrong, not a type in this program
    return row
