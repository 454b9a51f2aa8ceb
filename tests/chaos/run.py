"""Rounds of faults under load, and after every few of them the proof that nothing is lost or double.

python -m tests.chaos.run --rounds 200 --events 300000 --seed 7 --workers 3 --json chaos.json
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from streams.settings import Settings
from tests.chaos.faults import befall
from tests.chaos.oracle import Oracle
from tests.chaos.plan import Fault, Round, plan
from tests.chaos.proof import PATIENCE, Proof, prove
from tests.chaos.recreated import recreate
from tests.chaos.taps import Taps
from tests.chaos.world import TOPICS, Worker, World

JARS = Path(__file__).parents[2] / "deploy" / "broker" / "jars.sh"
LAST_WORDS = 30  # lines of a worker that ended by itself

Say = Callable[[str], None]


class Broken(AssertionError):
    """The promise is broken, or nobody could tell in time."""


@dataclass
class Report:
    """What happened; `proofs` by the round after which each was made."""

    seed: int
    workers: int
    rounds: int = 0
    seconds: float = 0.0
    answered: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    times: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    proofs: dict[int, Proof] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)

    @property
    def last(self) -> Proof:
        """The last proof, which speaks of all events."""
        return list(self.proofs.values())[-1] if self.proofs else Proof()

    def told(self) -> bytes:
        """The report for programs."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1)

    def lines(self) -> list[str]:
        """The report for people."""
        rows = [f"{'fault':24}{'times':>6}{'median s':>10}{'longest s':>10}"]
        for name, count in sorted(self.times.items()):
            seconds = self.answered.get(name, [])
            rows.append(
                f"{name:24}{count:6}" + (f"{median(seconds):10.1f}{max(seconds):10.1f}" if seconds else f"{'-':>10}{'-':>10}")
            )
        proof = self.last
        rows.append(f"{self.rounds} rounds in {self.seconds:.0f} s with seed {self.seed} and {self.workers} workers")
        rows.append(
            f"{proof.events} events of {proof.users} users, {len(self.proofs)} proofs: {proof.lost} lost, {proof.double} double"
        )
        rows.append(f"{proof.answered} recommendations; an older one came after the newest for {proof.stale} users")
        rows += [f"ended by itself: {line}" for line in self.ended]
        return rows


class Run:
    """One run: rounds, the proofs between, and who looks after the workers."""

    def __init__(self, world: World, taps: Taps, oracle: Oracle, report: Report, say: Say) -> None:
        self.world, self.taps, self.oracle, self.report, self.say = world, taps, oracle, report, say

    def rounds(self, plans: Sequence[Round], events: int, every: int) -> None:
        """Go through the rounds; raise Broken where the promise is."""
        each = max(1, events // max(1, len(plans)))
        for one in plans:
            self._round(one, each)
            self.report.rounds = one.number
            if one.number % every == 0 or one is plans[-1]:
                self.prove(one.number)

    def _round(self, one: Round, events: int) -> None:
        load = self.world.load
        begin = load.sent
        load.allow(events)
        load.reaches(begin + int(events * one.after))
        self._befall(one.faults)
        over = time.monotonic()
        waited = ""
        if one.settle:
            load.rest()
            self._settle()
            seconds = time.monotonic() - over
            self.report.answered[_names(one)].append(seconds)
            waited = f"all answered after {seconds:.1f} s"
        for fault in one.faults:
            self.report.times[fault.name] += 1
        befell = " + ".join(f"{fault.name} ({fault.target}, {fault.seconds:g} s, {fault.size:g})" for fault in one.faults)
        self.say(f"{one.number:4} {befell}: {waited or 'the next begins at once'}")

    def _befall(self, faults: Sequence[Fault]) -> None:
        """Let the faults of a round happen, at the same time."""
        failures: list[BaseException] = []

        def attempt(fault: Fault) -> None:
            try:
                befall(self.world, fault)
            except BaseException as failure:  # noqa: BLE001 - raised again below
                failures.append(failure)

        threads = [threading.Thread(target=attempt, args=(fault,), name=fault.name, daemon=True) for fault in faults]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.look_after()
        if failures:
            raise failures[0]

    def _settle(self) -> None:
        """Wait until all is applied; meanwhile workers that end by themselves are started again."""
        deadline = time.monotonic() + PATIENCE
        while not self.world.outside._settled():
            self.look_after()
            if time.monotonic() > deadline:
                ends, applied = self.world.outside.ends(), self.world.outside.applied()
                raise Broken(f"not all is answered within {PATIENCE:g} s: the topic ends at {ends}, applied is {applied}")
            self.world.hold(0.05)

    def look_after(self) -> None:
        """Start workers again that ended by themselves, as a supervisor would; what nobody foresaw breaks the promise."""
        for worker in self.world.workers:
            if worker.expected and not worker.alive:
                worker.kill()
                said = _last_line(worker)
                self.report.ended.append(f"worker {worker.number}, status {worker.exit_code}: {said}")
                self.say(f"     {self.report.ended[-1]}")
                if worker.exit_code != 3:
                    raise Broken(f"worker {worker.number} ended with status {worker.exit_code}: {said}")
                worker.launch()

    def prove(self, number: int, but: Collection[str] = ()) -> Proof:
        """Compare everything, but for models' arrays of these names; raise Broken where anything is wrong."""
        for worker in self.world.workers:
            worker.wait_until_ready()
        self._settle()
        proof = prove(self.world, self.taps, self.oracle, but)
        self.report.proofs[number] = proof
        if proof.wrong:
            raise Broken(f"after round {number}: {proof.wrong}")
        said = f"{proof.events} events, {proof.answered} recommendations: 0 lost, 0 double"
        self.say(f"     {said} ({proof.stale} users with an older one last)")
        return proof


def _names(one: Round) -> str:
    return " + ".join(fault.name for fault in one.faults)


def _last_line(worker: Worker) -> str:
    return next((line for line in reversed(worker.words().splitlines()) if line.strip()), "")


def chaos(
    jars: Path,
    *,
    seed: int,
    rounds: int,
    events: int,
    workers: int,
    every: int,
    recreated: bool,
    say: Say,
    faults: Sequence[Round] = (),
) -> Report:
    """Run, and give the report; raises Broken, after it said where the logs are."""
    began = time.monotonic()
    report = Report(seed, workers)
    with World(jars, seed, workers) as world, Taps(world.kafka.address, TOPICS) as taps:
        settings = Settings(**world.tree)
        run = Run(world, taps, Oracle(settings, settings.partitions), report, say)
        try:
            run.rounds(faults or plan(seed, rounds, workers), events, every)
            if recreated:
                recreate(run)
        except BaseException as failure:
            if not isinstance(failure, KeyboardInterrupt):
                _keep(world, seed, say)
            raise
        finally:
            report.seconds = time.monotonic() - began
    return report


def _keep(world: World, seed: int, say: Say) -> None:
    folder = Path(tempfile.mkdtemp(prefix=f"upwell-chaos-{seed}-"))
    world.keep_logs(folder)
    say(f"the logs of workers and servers are in {folder}")


def kafka_jars() -> Path:
    """Folder of Apache Kafka's jars, fetched on the first run."""
    if shutil.which("java") is None:
        sys.exit("Apache Kafka needs Java 17: apt install openjdk-17-jre-headless maven")
    done = subprocess.run(["sh", str(JARS)], capture_output=True, text=True, timeout=600, check=False)
    if done.returncode != 0:
        sys.exit(done.stderr.strip())
    return Path(done.stdout.strip())


def options(arguments: Sequence[str] | None) -> Any:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="make chaos", description="Rounds of random faults under load, and the proof that nothing is lost."
    )
    parser.add_argument("--rounds", type=int, default=20, help="how many faults (20)")
    parser.add_argument("--events", type=int, default=0, help="events in all (1,500 a round)")
    parser.add_argument("--seed", type=int, default=1, help="of the faults and the load (1)")
    parser.add_argument("--workers", type=int, default=3, help="how many workers (3)")
    parser.add_argument("--every", type=int, default=10, help="rounds from one proof to the next (10)")
    parser.add_argument("--json", type=Path, help="write the report to this file")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Be the command; gives the exit status."""
    given = options(arguments)
    # A shell lets its background jobs ignore Ctrl-C; what is ignored here, workers would ignore until they have begun.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.default_int_handler)
    named = ("rounds", "events", "seed", "workers", "every")
    again = f'make chaos ARGS="{" ".join(f"--{name} {getattr(given, name)}" for name in named)}"'
    say = lambda line: print(line, flush=True)  # noqa: E731
    try:
        report = chaos(
            kafka_jars(), seed=given.seed, rounds=given.rounds, events=given.events or 1_500 * given.rounds,
            workers=given.workers, every=given.every, recreated=True, say=say,
        )  # fmt: skip
    except KeyboardInterrupt:
        say("ended; all that was started is gone")
        return 130
    except Exception as failure:  # noqa: BLE001 - said, with how to have it again
        say(f"FAILED: {type(failure).__name__}: {failure}\nto repeat it: {again}")
        return 1
    say("\n".join(report.lines()))
    if given.json:
        given.json.write_bytes(report.told())
    return 0


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
