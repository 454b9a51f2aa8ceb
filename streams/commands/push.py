"""`upwell push`."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.commands.failures import FAILED
from streams.commands.options import Json, with_settings
from streams.commands.output import console, figure, say, write_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from streams.files import BadLine, Message, Source
    from streams.send import Sender
    from streams.settings import Settings

SHOWN = 20  # bad lines that are told one by one; a file with more has one fault, not many

File = Annotated[str, typer.Argument(metavar="FILE", help="CSV, JSON lines or Parquet, also .gz; - is standard input.")]
Column = Annotated[
    list[str] | None,
    typer.Option(metavar="FIELD=COLUMN", help="Which column is a field, e.g. user_id=visitor; repeatable."),
]
Kind = Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Type of events in a file without such a column.")]
Items = Annotated[bool, typer.Option("--items", help="The file is the catalogue, for the topic `items`.")]
Speed = Annotated[float | None, typer.Option(metavar="N", min=0.001, help="Events a second; as fast as it goes by default.")]
Limit = Annotated[int | None, typer.Option(metavar="N", min=1, help="Stop after so many.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Exit 0 although some lines cannot be read.")]


@with_settings("brokers", "partitions")
def push(
    settings: "Settings",
    file: File,
    column: Column = None,
    kind: Kind = None,
    items: Items = False,
    speed: Speed = None,
    limit: Limit = None,
    skip_bad: SkipBad = False,
    json: Json = False,
) -> None:
    """Send the events of a file, keyed by user, and await that the broker has them.

    \b
    upwell push events.csv
    upwell push ratings.csv.gz --type rating --speed 500
    upwell push clicks.parquet --column user_id=visitor --column item_id=sku
    zcat clicks.json.gz | upwell push - --brokers kafka:9092
    upwell push products.csv --items

    Columns are found by their usual names (case, spaces and underscores do not matter), the first of each line that is
    there:

    \b
    user_id    user_id, visitor_id, customer_id, household_id, client_id, user, session_id
    item_id    item_id, product_id, movie_id, article_id, track_id, sku, item, product
    timestamp  timestamp, event_time, time, ts, transaction_timestamp, event_timestamp, created_at, datetime, date
    type       type, event_type, event, action, behavior_type; else --type; else rating with a rating column, view without
    value      value, rating, price, sales_value, amount
    also       session_id, event_id, recommendation_id

    Times are seconds, milliseconds, microseconds or ISO 8601 (UTC without a zone). JSON lines that already are events
    go as they are. A row of the type forget needs no item; consent goes as JSON lines only. Lines that cannot be read
    are told on standard error, and the exit status is 1, or 0 with --skip-bad.
    """
    summary = asyncio.run(
        Push(settings, file, items=items, speed=speed, limit=limit).run(columns_given(column), kind, quiet=json)
    )
    if json:
        write_json(summary)
    else:
        rate = figure(round(summary["sent"] / max(summary["seconds"], 1e-3)))
        say(f"sent {figure(summary['sent'])} {'items' if items else 'events'} in {summary['seconds']:.1f} s ({rate}/s)")
    if summary["bad"] and not skip_bad:
        raise typer.Exit(FAILED)


def columns_given(column: Sequence[str] | None) -> dict[str, str]:
    """What --column gave, as field -> column."""
    given = dict(text.partition("=")[::2] for text in column or ())
    if not all(given.values()) or not all(given):
        raise typer.BadParameter("is FIELD=COLUMN, e.g. --column user_id=visitor", param_hint="--column")
    return given


class Push:
    """One run over one file."""

    def __init__(self, settings: "Settings", file: str, *, items: bool, speed: float | None, limit: int | None) -> None:
        self._settings, self._file, self._items, self._speed, self._limit = settings, file, items, speed, limit
        self.bad = 0

    async def run(self, given: dict[str, str], kind: str | None, *, quiet: bool) -> dict[str, Any]:
        """Send all of it and tell how many and how long."""
        from streams import files, topics
        from streams.send import Sender
        from streams.servers import kafka_or_failed, producing

        names = self._settings.topics
        with files.opened(self._file) as source:
            batches = self._catalogue(source, given) if self._items else self._events(source, given, kind)
            batch = await asyncio.to_thread(next, batches, None)  # a wrong file must be told before topics are made
            with kafka_or_failed(self._settings):
                await topics.ensure(self._settings, "items" if self._items else "events")
            async with producing(self._settings) as producer:
                sender = Sender(producer, names.items if self._items else names.events, speed=self._speed)
                begin = time.monotonic()
                with _progress(source, quiet=quiet) as tick:
                    while batch is not None and sender.sent != self._limit:
                        await self._send(sender, batch, tick)
                        batch = await asyncio.to_thread(next, batches, None)
                    await sender.finish()
        if self.bad > SHOWN:
            say(f"{self._file}: {figure(self.bad)} lines could not be read, of which the first {SHOWN} are told above")
        return {"sent": sender.sent, "seconds": round(time.monotonic() - begin, 3), "bad": self.bad}

    async def _send(self, sender: "Sender", batch: "list[Message]", tick: Callable[[int], None]) -> None:
        from aiokafka.errors import MessageSizeTooLargeError

        from streams.files import BadLine

        for line, key, value in batch:
            if sender.sent == self._limit:
                return
            try:
                await sender.send(key, value)
            except MessageSizeTooLargeError:
                self._tell([BadLine(line, "is larger than a message may be")])
            tick(sender.sent)

    def _events(self, source: "Source", given: dict[str, str], kind: str | None) -> "Iterator[list[Message]]":
        from streams import files

        for chunk in files.events(source, given, kind):
            self._tell(chunk.bad)
            yield list(files.messages(chunk))

    def _catalogue(self, source: "Source", given: dict[str, str]) -> "Iterator[list[Message]]":
        import msgspec

        from streams import files

        for entries in files.items(source, given):
            self._tell([entry for entry in entries if isinstance(entry, files.BadLine)])
            known = [entry for entry in entries if not isinstance(entry, files.BadLine)]
            yield [(line, entry["item_id"].encode(), msgspec.json.encode(entry)) for line, entry in known]

    def _tell(self, bad: "Sequence[BadLine]") -> None:
        for one in bad[: max(0, SHOWN - self.bad)]:
            say(f"{self._file}:{one.line}: {one.reason}")
        self.bad += len(bad)


@contextmanager
def _progress(source: "Source", *, quiet: bool) -> "Iterator[Callable[[int], None]]":
    """A progress bar over the file's bytes, where a person looks; gives what to call with the number sent."""
    screen = console(stderr=True)
    if quiet or not screen.is_terminal:
        yield lambda _sent: None
        return
    with _bar(screen) as bar:
        task = bar.add_task("", total=source.size, sent="0", rate="")
        yield Ticker(bar, task, source)


def _bar(screen: "Console") -> "Progress":
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    texts = (TextColumn("{task.fields[sent]} sent", markup=False), TextColumn("{task.fields[rate]}", markup=False))
    return Progress(BarColumn(), TaskProgressColumn(), *texts, TimeRemainingColumn(), console=screen, transient=True)


class Ticker:
    """Moves the bar, some times a second."""

    def __init__(self, bar: "Progress", task: "TaskID", source: "Source") -> None:
        self._bar, self._task, self._source = bar, task, source
        self._begin = self._shown = time.monotonic()

    def __call__(self, sent: int) -> None:
        """Show how many were sent."""
        now = time.monotonic()
        if now - self._shown < 0.1:
            return
        self._shown = now
        rate = f"{figure(round(sent / (now - self._begin)))}/s"
        self._bar.update(self._task, completed=self._source.taken, sent=figure(sent), rate=rate)
