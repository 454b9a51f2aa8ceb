import asyncio

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from streams.failures import Refusal
from streams.settings import Settings
from streams.topics import ensure, topics

pytestmark = pytest.mark.live


@pytest.fixture
def settings(kafka, name):
    names = {role: name(role) for role in topics(Settings())}
    return Settings(brokers=kafka.address, partitions=3, topics=names | {"replication": 1, "min_insync": 1})


@pytest.fixture
async def admin(kafka):
    client = AIOKafkaAdminClient(bootstrap_servers=kafka.address)
    await client.start()
    yield client
    await client.close()


async def test_topics_are_created_as_the_table_says(settings, admin):
    layout = await ensure(settings)
    assert layout.notes == ()
    assert layout.partitions == dict.fromkeys(topics(settings), 3) | {"redriven": 1, "learned": 1}
    for topic in topics(settings).values():
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name)])
        config = {entry[0]: entry[1] for entry in answer.resources[0][4]}
        assert topic.config.items() <= config.items()
        assert config["min.insync.replicas"] == "1"


async def test_the_brokers_default_replication_is_taken_and_many_workers_may_start_at_once(settings):
    defaults = settings.model_copy(update={"topics": settings.topics.model_copy(update={"replication": -1, "min_insync": -1})})
    layouts = await asyncio.gather(*(ensure(defaults) for _ in range(4)))
    assert {layout.partitions["learned"] for layout in layouts} == {1}
    assert (await ensure(defaults)).created == ()


async def test_a_topic_with_the_brokers_default_retention_is_refused_as_learned_log(settings, admin):
    await admin.create_topics([NewTopic(settings.topics.learned, 1, 1)])
    with pytest.raises(Refusal, match=r"has retention\.ms=604800000, and would lose"):
        await ensure(settings)


async def test_more_replicas_than_brokers_are_refused_with_the_fix(settings):
    eager = settings.model_copy(update={"topics": settings.topics.model_copy(update={"replication": 3})})
    with pytest.raises(Refusal, match=r"refuses to create .* only 1 broker") as refused:
        await ensure(eager)
    assert refused.value.fix.startswith("set UPWELL_TOPICS_REPLICATION")
    assert "kafka-topics.sh --bootstrap-server" in refused.value.fix
