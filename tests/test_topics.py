import asyncio

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.failures import Refusal, is_transient
from streams.settings import Settings
from streams.topics import Found, ensure, problem, topics
from streams.watched import free_port


@pytest.fixture
def settings(broker, name):
    return made(broker, name)


def made(server, name, **more):
    names = {role: name(role) for role in topics(Settings())}
    return Settings(brokers=server.address, partitions=3, topics=names | more)


async def create(settings, topic, partitions, config):
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.brokers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, partitions, 1, None, config)])
    finally:
        await admin.close()


class TestEnsure:
    async def test_creates_every_topic_with_its_partitions(self, settings):
        layout = await ensure(settings)
        assert set(layout.created) == {topic.name for topic in topics(settings).values()}
        assert layout.partitions == dict.fromkeys(topics(settings), 3) | {"redriven": 1, "learned": 1}
        assert layout.notes == ()

    async def test_leaves_alone_what_is_there_and_right(self, settings):
        await ensure(settings)
        layout = await ensure(settings.model_copy(update={"partitions": 5}))
        assert layout.created == ()
        assert layout.partitions["events"] == 3

    async def test_is_done_by_many_workers_at_once(self, settings):
        layouts = await asyncio.gather(*(ensure(settings) for _ in range(4)))
        assert {layout.partitions["events"] for layout in layouts} == {3}

    async def test_refuses_a_learned_log_that_would_be_deleted_and_gives_the_command(self, settings):
        await create(
            settings,
            settings.topics.learned,
            1,
            {"cleanup.policy": "delete", "retention.ms": "1000", "retention.bytes": "-1"},
        )
        with pytest.raises(Refusal, match=r"has retention\.ms=1000") as refused:
            await ensure(settings)
        assert refused.value.fix == (
            f"kafka-configs.sh --bootstrap-server {settings.brokers} --alter --entity-type topics "
            f"--entity-name {settings.topics.learned} --add-config retention.ms=-1"
        )

    async def test_refuses_a_learned_log_of_many_partitions(self, settings):
        await create(
            settings,
            settings.topics.learned,
            4,
            {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"},
        )
        with pytest.raises(Refusal, match="has 4 partitions and must have 1"):
            await ensure(settings)

    async def test_refuses_events_that_would_be_compacted(self, settings):
        await create(settings, settings.topics.events, 3, {"cleanup.policy": "compact"})
        with pytest.raises(Refusal, match=r"has cleanup\.policy=compact"):
            await ensure(settings)

    @pytest.mark.parametrize("policy", ["compact", "compact,delete", "delete,compact"])
    async def test_takes_recommendations_that_are_compacted_and_says_so(self, settings, policy):
        await create(settings, settings.topics.recommendations, 3, {"cleanup.policy": policy})
        assert (await ensure(settings)).compacted == {"recommendations", "segments", "items"}

    async def test_notes_what_the_broker_does_not_tell(self, settings):
        await create(settings, settings.topics.items, 3, {})
        notes = (await ensure(settings)).notes
        assert notes == (f"The broker does not tell cleanup.policy of the topic {settings.topics.items}: not checked.",)

    async def test_of_an_absent_broker_raises_what_is_waited_for(self):
        with pytest.raises(Exception, match="Unable to bootstrap") as error:
            await ensure(Settings(brokers=f"127.0.0.1:{free_port()}"))
        assert is_transient(error.value)


class TestProblem:
    def test_is_none_for_topics_as_they_must_be(self):
        for topic in topics(Settings()).values():
            assert problem(topic, Found(topic.partitions or 7, topic.config), "b:1") is None

    @pytest.mark.parametrize("role", topics(Settings()))
    def test_is_told_for_every_topic_with_another_cleanup_but_recommendations(self, role):
        topic = topics(Settings())[role]
        other = {"delete": "compact", "compact": "delete"}[topic.config["cleanup.policy"]]
        refused = problem(topic, Found(1, topic.config | {"cleanup.policy": other}), "b:1")
        if role == "recommendations":
            assert refused is None
            assert problem(topic, Found(1, topic.config | {"cleanup.policy": "none"}), "b:1")
            return
        assert f"--add-config cleanup.policy={topic.config['cleanup.policy']}" in refused.fix


def test_the_learned_log_has_one_partition_and_no_time_limit():
    learned = topics(Settings())["learned"]
    assert learned.partitions == 1
    assert learned.config == {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
