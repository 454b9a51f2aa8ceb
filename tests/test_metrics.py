from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.parser import text_string_to_metric_families

from streams.metrics import STAGES, BatchHistogram, Metrics
from streams.models.sources import SOURCES

# What alerts, dashboards and other people's rules are built on: these names do not change.
NAMES = {
    "upwell_events_total",
    "upwell_recommendations_total",
    "upwell_dead_letters_total",
    "upwell_deleted_events_total",
    "upwell_rekeyed_total",
    "upwell_forgotten_total",
    "upwell_merged_total",
    "upwell_refused_events_total",
    "upwell_refused_records_total",
    "upwell_stage_seconds_bucket",
    "upwell_event_to_recommendation_seconds_bucket",
    "upwell_lag_events",
    "upwell_taught_offset",
    "upwell_applied_offset",
    "upwell_learned_offset",
    "upwell_cached_profiles",
    "upwell_profiles_total",
    "upwell_batch_events_bucket",
    "upwell_segment_size",
    "upwell_hit_rate",
    "upwell_evicted_total",
    "upwell_snapshot_seconds_bucket",
    "upwell_snapshot_bytes",
    "upwell_snapshot_timestamp_seconds",
    "upwell_ready",
    "upwell_ready_part",
}
BOUNDED_LABELS = {"stage", "error", "partition", "segment", "source", "origin", "part", "kind", "le"}
BOUNDS = (0.001, 0.01, 0.1, 1.0)
seconds = st.lists(st.sampled_from(BOUNDS) | st.floats(0, 10), max_size=50)


@pytest.fixture
def metrics() -> Metrics:
    metrics = Metrics(CollectorRegistry())
    for partition in range(8):
        for gauge in (metrics.lag_events, metrics.applied_offset, metrics.taught_offset):
            gauge.labels(partition).set(partition)
    for source in (*SOURCES, "blend"):
        metrics.hit_rate.labels(source).set(0.5)
    metrics.dead_letters.labels("decode", "not_json").inc()
    metrics.segment_size.labels("0").set(1)
    return metrics


def page(metrics: Metrics) -> dict[str, list]:
    families = text_string_to_metric_families(metrics.exposition()[0].decode())
    samples: dict[str, list] = {}
    for sample in (sample for family in families for sample in family.samples):
        samples.setdefault(sample.name, []).append(sample)
    return samples


def test_every_promised_name_is_on_the_page(metrics):
    assert page(metrics).keys() >= NAMES


def test_the_page_says_that_it_is_text_for_prometheus(metrics):
    assert metrics.exposition()[1].startswith("text/plain; version=")


def test_no_label_grows_with_users_or_items(metrics):
    labels = {label for samples in page(metrics).values() for sample in samples for label in sample.labels}
    assert labels == BOUNDED_LABELS


def test_every_metric_is_described_by_a_sentence(metrics):
    for family in metrics.registry.collect():
        assert family.documentation[0].isupper(), family.name
        assert family.documentation.endswith("."), family.name


def test_durations_are_in_seconds(metrics):
    assert not [name for name in page(metrics) if "_ms" in name or "milli" in name]


def test_stages_are_on_the_page_before_the_first_batch():
    counts = page(Metrics(CollectorRegistry()))["upwell_stage_seconds_count"]
    assert {sample.labels["stage"]: sample.value for sample in counts} == dict.fromkeys(STAGES, 0)


def test_a_stage_is_timed_even_when_it_fails(metrics):
    with pytest.raises(OSError, match="broker"), metrics.stage("publish"):
        raise OSError("broker")
    counts = {sample.labels["stage"]: sample.value for sample in page(metrics)["upwell_stage_seconds_count"]}
    assert counts == dict.fromkeys(STAGES, 0) | {"publish": 1}


def test_a_revoked_partition_keeps_only_what_every_worker_knows(metrics):
    metrics.forget_partition(3)
    for name in ("upwell_lag_events", "upwell_applied_offset"):
        assert {sample.labels["partition"] for sample in page(metrics)[name]} == set("0124567")
    assert len(page(metrics)["upwell_taught_offset"]) == 8


def test_a_partition_that_was_never_assigned_may_be_forgotten(metrics):
    metrics.forget_partition(99)


def test_two_workers_in_one_process_do_not_share_metrics(metrics):
    metrics.events.inc(5)
    assert page(Metrics(CollectorRegistry()))["upwell_events_total"][0].value == 0


def test_one_registry_refuses_a_second_worker(metrics):
    with pytest.raises(ValueError, match="Duplicated"):
        Metrics(metrics.registry)


@given(seconds, seconds)
def test_a_batch_counts_as_its_values_one_by_one(first, second):
    registry = CollectorRegistry()
    whole = BatchHistogram("whole", "All at once.", buckets=BOUNDS, registry=registry)
    single = Histogram("single", "One by one.", buckets=BOUNDS, registry=registry)
    for batch in (first, second):
        whole.observe(batch)
        for value in batch:
            single.observe(value)
    bounds = [*map(str, BOUNDS), "+Inf"]
    ours = [registry.get_sample_value("whole_bucket", {"le": bound}) for bound in bounds]
    assert ours == [registry.get_sample_value("single_bucket", {"le": bound}) for bound in bounds]
    assert registry.get_sample_value("whole_count") == len(first) + len(second)
    assert registry.get_sample_value("whole_sum") == pytest.approx(registry.get_sample_value("single_sum"))


def test_a_single_value_and_an_array_may_be_observed():
    registry = CollectorRegistry()
    histogram = BatchHistogram("h", "Any.", buckets=BOUNDS, registry=registry)
    histogram.observe(0.05)
    histogram.observe(np.array([0.05, 5.0], np.float32))
    assert [registry.get_sample_value("h_bucket", {"le": le}) for le in ("0.01", "0.1", "+Inf")] == [0, 2, 3]


def test_an_answer_before_its_event_counts_as_no_time_at_all():
    registry = CollectorRegistry()
    BatchHistogram("h", "Any.", buckets=BOUNDS, registry=registry).observe([-3.0, 0.5])
    assert registry.get_sample_value("h_sum") == 0.5
    assert registry.get_sample_value("h_bucket", {"le": "0.001"}) == 1


def test_threads_lose_no_count():
    registry = CollectorRegistry()
    histogram = BatchHistogram("h", "Any.", buckets=BOUNDS, registry=registry)
    threads = [threading.Thread(target=lambda: [histogram.observe([0.05, 0.5]) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert registry.get_sample_value("h_count") == 4 * 500 * 2
