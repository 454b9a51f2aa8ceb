"""What a worker tells Prometheus about itself."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from streams.schemas import REASONS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from numpy.typing import ArrayLike

__all__ = ["BLEND", "KINDS", "ORIGINS", "PARTS", "STAGES", "BatchHistogram", "Metrics"]

STAGES = ("decode", "observe", "recommend", "encode", "publish", "commit", "fold")
ORIGINS = ("cache", "redis", "new")
PARTS = ("log", "brokers", "redis")
KINDS = ("users", "items")
BLEND = "blend"

# A stage takes 0.1 ms for a lone event and up to a second for a full batch; above 10 s something waits for a server.
STAGE_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
# Steps of an eighth from 1 ms to 1 s: a percentile read from them is within 1 ms of the true one where it is promised.
_DECADE = (1.0, 1.12, 1.25, 1.4, 1.6, 1.8, 2.0, 2.24, 2.5, 2.8, 3.15, 3.55, 4.0, 4.5, 5.0, 5.6, 6.3, 7.1, 8.0, 9.0)
PROMISED_BUCKETS = (*(round(step * ms / 1000, 5) for ms in (1, 10, 100) for step in _DECADE), 1.0)
# Beyond that the age of an event tells how far a backlog reaches back.
BACKLOG_BUCKETS = (2.5, 10.0, 60.0, 600.0, 3600.0)
# From a lone event when idle to the default largest batch of 8,000; a larger setting falls into the last one.
BATCH_BUCKETS = (1, 3, 10, 30, 100, 300, 1000, 2000, 4000, 8000)
# Snapshots run beside the stream once a minute: one that takes longer than its period is what to look for.
SNAPSHOT_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


class BatchHistogram(Collector):
    """A histogram that takes a micro-batch of values in one call, at a twentieth of the cost of a call for each."""

    def __init__(self, name: str, documentation: str, *, buckets: tuple[float, ...], registry: CollectorRegistry) -> None:
        self.name = name
        self.documentation = documentation
        self._bounds = np.array(buckets, np.float64)
        self._labels = [*map(str, buckets), "+Inf"]
        self._counts = np.zeros(len(self._labels), np.int64)
        self._sum = 0.0
        self._lock = threading.Lock()
        registry.register(self)

    def observe(self, values: ArrayLike) -> None:
        """Count one value or many; a value equal to a bound belongs to that bound's bucket."""
        # A producer whose clock runs ahead would make the sum fall, which Prometheus reads as a restart.
        flat = np.maximum(np.asarray(values, np.float64).ravel(), 0.0)
        counts = np.bincount(np.searchsorted(self._bounds, flat, side="left"), minlength=len(self._counts))
        with self._lock:
            self._counts += counts
            self._sum += float(flat.sum())

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """Give the name alone, so that a second metric of that name is refused."""
        yield HistogramMetricFamily(self.name, self.documentation)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Give the counts as they are now."""
        with self._lock:
            counts, total = np.cumsum(self._counts), self._sum
        buckets = [(label, float(count)) for label, count in zip(self._labels, counts, strict=True)]
        yield HistogramMetricFamily(self.name, self.documentation, buckets=buckets, sum_value=total)


class Metrics:
    """All metrics of one worker; none is labelled by user or item, so their number does not grow with the traffic."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._flow()
        self._places()
        self._models()
        ProcessCollector(registry=registry)

    def _flow(self) -> None:
        self.events = self._counter("events", "Events folded into profiles, each once.")
        self.recommendations = self._counter("recommendations", "Recommendations that the broker acknowledged.")
        self.dead_letters = self._counter(
            "dead_letters", "Messages sent to the dead letters, by the stage that refused them and the reason.", "stage", "error"
        )
        self.deleted_events = self._counter(
            "deleted_events", "Events that Kafka deleted before this worker could apply them: what is lost for good."
        )
        self.rekeyed = self._counter(
            "rekeyed", "Events found on a partition that is not their user's and published again under the right key."
        )
        self.forgotten = self._counter("forgotten", "Users who were forgotten, by a forget or because they refuse.")
        self.merged = self._counter("merged", "Anonymous ids that an identify merged into a person.")
        self.refused_events = self._counter(
            "refused_events", "Events of users who refuse, or did not consent where they must: answered, neither kept nor taught."
        )
        self.refused_records = self._counter(
            "refused_records", "Own records that the learned log refused, each followed by a return to its start."
        )
        self.batch_events = self._histogram("batch_events", "Events per micro-batch.", BATCH_BUCKETS)
        self.stage_seconds = self._histogram(
            "stage_seconds", "Seconds that one micro-batch spent in a stage.", STAGE_BUCKETS, "stage"
        )
        self.event_to_recommendation_seconds = BatchHistogram(
            "upwell_event_to_recommendation_seconds",
            "Seconds from the arrival of an event in Kafka to the acknowledged recommendation that covers it.",
            buckets=PROMISED_BUCKETS + BACKLOG_BUCKETS,
            registry=self.registry,
        )
        for stage in STAGES:
            self.stage_seconds.labels(stage)
        # From the start: Prometheus sees no increase in a series that begins with its first burst.
        for error, said in REASONS.items():
            self.dead_letters.labels(said.partition(":")[0], error)

    def _places(self) -> None:
        self.lag_events = self._gauge("lag_events", "Events of an assigned partition that are not applied yet.", "partition")
        self.taught_offset = self._gauge(
            "taught_offset", "Next offset of a partition that the learned log has to teach.", "partition"
        )
        self.applied_offset = self._gauge(
            "applied_offset", "Next offset of an assigned partition that profiles in Redis have to apply.", "partition"
        )
        self.learned_offset = self._gauge("learned_offset", "Next offset of the learned log that this worker has to fold.")
        self.ready = self._gauge(
            "ready", "Whether this worker serves: caught up with the learned log, brokers and Redis reachable."
        )
        self.ready_part = self._gauge("ready_part", "Whether one condition of being ready holds.", "part")
        self.cached_profiles = self._gauge("cached_profiles", "Profiles held in this worker's memory.")
        self.profiles = self._counter("profiles", "Profiles asked for by micro-batches, by where they were found.", "origin")
        for part in PARTS:
            self.ready_part.labels(part)
        for origin in ORIGINS:
            self.profiles.labels(origin)

    def _models(self) -> None:
        self.segment_size = self._gauge("segment_size", "Size of a segment, as its Redis key tells it.", "segment")
        self.hit_rate = self._gauge(
            "hit_rate", "Share of judged events whose item a source, or the blend, had among its first ten.", "source"
        )
        self.evicted = self._counter(
            "evicted", "Users and items that left the models, least recently active first, for newcomers.", "kind"
        )
        for kind in KINDS:
            self.evicted.labels(kind)
        self.snapshot_seconds = self._histogram(
            "snapshot_seconds", "Seconds that writing one snapshot of the models took.", SNAPSHOT_BUCKETS
        )
        self.snapshot_bytes = self._gauge("snapshot_bytes", "Bytes of the newest snapshot that this worker wrote.")
        self.snapshot_timestamp_seconds = self._gauge(
            "snapshot_timestamp_seconds", "Unix time of the newest snapshot that this worker wrote."
        )

    def stage(self, name: str) -> AbstractContextManager[object]:
        """Time a stage of a micro-batch, also one that ends by an error."""
        return self.stage_seconds.labels(name).time()

    def forget_partition(self, partition: int) -> None:
        """Stop telling of a revoked partition: its figures would stand still here while they move elsewhere."""
        self.lag_events.remove(partition)
        self.applied_offset.remove(partition)

    def exposition(self) -> tuple[bytes, str]:
        """Give the page for Prometheus and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST

    def _counter(self, name: str, sentence: str, *labels: str) -> Counter:
        return Counter(name, sentence, labels, namespace="upwell", registry=self.registry)

    def _gauge(self, name: str, sentence: str, *labels: str) -> Gauge:
        return Gauge(name, sentence, labels, namespace="upwell", registry=self.registry)

    def _histogram(self, name: str, sentence: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, sentence, labels, namespace="upwell", buckets=buckets, registry=self.registry)
