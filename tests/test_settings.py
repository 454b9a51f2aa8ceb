import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.demo_worker import environment
from streams.security import redis_url
from streams.settings import Settings, SettingsError, load, settings_table

DOCUMENT = Path(__file__).parents[1] / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    """No settings of the machine: an empty folder and an environment without our variables."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("UPWELL_"):
            monkeypatch.delenv(name)


def wrong(overrides=None, config=None):
    with pytest.raises(SettingsError) as refused:
        load(config, overrides)
    assert "\n" not in str(refused.value)
    return str(refused.value)


class TestSources:
    def test_without_any_give_the_defaults(self):
        assert load() == Settings()
        assert load().brokers == "127.0.0.1:9092"

    def test_survive_the_way_through_the_environment(self, monkeypatch):
        for name, value in environment(Settings()).items():
            monkeypatch.setenv(name, value)
        assert load() == Settings()

    def test_win_in_the_order_file_environment_options(self, tmp_path, monkeypatch):
        (tmp_path / "upwell.toml").write_text(
            'group = "file"\nhttp = "127.0.0.1:1"\n[segments]\nk = 3\nseed = 3\nhalf_life = 300'
        )
        monkeypatch.setenv("UPWELL_GROUP", "environment")
        monkeypatch.setenv("UPWELL_SEGMENTS_K", "4")
        monkeypatch.setenv("UPWELL_SEGMENTS_SEED", "4")
        settings = load(None, {"segments.k": "5"})
        assert (settings.group, settings.http) == ("environment", "127.0.0.1:1")
        assert (settings.segments.k, settings.segments.seed, settings.segments.half_life) == (5, 4, 300)

    def test_may_be_another_file(self, tmp_path, monkeypatch):
        (tmp_path / "mine.toml").write_text("partitions = 3")
        assert load(tmp_path / "mine.toml").partitions == 3
        monkeypatch.setenv("UPWELL_CONFIG", str(tmp_path / "mine.toml"))
        assert load().partitions == 3

    def test_of_options_may_be_nested_or_dotted(self):
        assert load(None, {"intake": {"batch_ms": "50"}}) == load(None, {"intake.batch_ms": 50})

    def test_of_the_environment_split_a_section_from_its_name_once(self, monkeypatch):
        monkeypatch.setenv("UPWELL_INTAKE_FUTURE_SKEW_S", "60")
        monkeypatch.setenv("UPWELL_LOG_LEVEL", "debug")
        monkeypatch.setenv("UPWELL_WEIGHTS_RETURN", "-2")
        monkeypatch.setenv("UPWELL_WEIGHTS_CUSTOM", '{"wish": 2}')
        settings = load()
        assert (settings.intake.future_skew_s, settings.log.level) == (60, "debug")
        assert (settings.weights.of("return", None), settings.weights.of("wish", None)) == (-2, 2)

    def test_of_tables_are_alike_in_the_file_the_environment_and_the_options(self, tmp_path, monkeypatch):
        (tmp_path / "upwell.toml").write_text('[rerank.boosts]\n"brand:acme" = 0.5\n[rerank.pins]\n1 = "sku-9"')
        filed = load().rerank
        assert (filed.boosts, filed.pins) == ({"brand:acme": 0.5}, {1: "sku-9"})
        (tmp_path / "upwell.toml").unlink()
        assert load(None, {"rerank.boosts": '{"brand:acme": 0.5}', "rerank.pins": '{"1": "sku-9"}'}).rerank == filed
        assert load(None, {"rerank.boosts.brand:acme": "0.5", "rerank.pins.1": "sku-9"}).rerank == filed
        assert load(None, {"rerank.boosts.item:a.b": "1"}).rerank.boosts == {"item:a.b": 1}
        monkeypatch.setenv("UPWELL_RERANK_BOOSTS", '{"brand:acme": 0.5}')
        monkeypatch.setenv("UPWELL_RERANK_PINS", '{"1": "sku-9"}')
        assert load().rerank == filed

    def test_of_the_environment_that_are_empty_count_as_absent(self, monkeypatch):
        monkeypatch.setenv("UPWELL_REDIS", "")
        assert load() == Settings()

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("UPWELL_PORT", "tcp://10.0.0.1:6066"),
            ("UPWELL_SERVICE_HOST", "10.0.0.1"),
            ("UPWELL_PORT_6066_TCP_ADDR", "10.0.0.1"),
            ("UPWELL_TEST_ANYTHING", "1"),
        ],
    )
    def test_ignore_what_kubernetes_and_tests_put_there(self, monkeypatch, name, value):
        monkeypatch.setenv(name, value)
        assert load() == Settings()


class TestAWrongSetting:
    @pytest.mark.parametrize(
        ("name", "value", "says"),
        [
            ("segments.k", 1, "segments.k (from the options) is 1, but must be a whole number from 2 to 64"),
            ("segments.k", "many", "is 'many', but must be a whole number"),
            ("partitions", 0, "from 1 to 1,024"),
            ("brokers", "kafka", "write it as kafka:9092"),
            ("brokers", "a:1,b", "'b' is no host:port"),
            ("brokers", "a:99999", "no host:port"),
            ("http", "6066", "write it as 127.0.0.1:"),
            ("redis", "127.0.0.1:6379", "redis://127.0.0.1:6379/0"),
            ("redis", "redis+cluster://a:1,b:x", "write it as redis+cluster://HOST:PORT,HOST:PORT"),
            ("redis", "redis+cluster://a:1,", "it names no nodes of a Redis Cluster"),
            ("redis", "redis+cluster://a:1/3", "with no database but 0"),
            ("redis", "redis://a:1,b:2", "it is no Redis URL"),
            ("exclude", "none,view", "neither none, nor seen, nor event types"),
            ("exclude", "", "purchase,dislike"),
            ("log.level", "loud", "`debug` or `info`"),
            ("weights.view", "nan", "from -10 to 10"),
            ("weights.rating", "much", "`value`, or a number"),
            ("topics.events", "a b", "a text matching"),
            ("topics.events", "items", "two topics have the name 'items'"),
            ("rerank.boosts", {"acme": 1}, "'acme' is no brand, category, tag or item; write it as brand:acme"),
            ("rerank.boosts", {"brand: ": 1}, "is no brand, category, tag or item"),
            ("rerank.boosts", {"brand:acme": 11}, "a table of numbers"),
            ("rerank.boosts", "brand:acme=1", 'it is no table; write it as {"brand:acme": 0.5}'),
            ("rerank.pins", {"first": "sku-9"}, "a table of texts"),
            ("rerank.pins", {"0": "sku-9"}, "a table of texts"),
            ("rerank.pins", {1: "sku-9", 2: "sku-9"}, "'sku-9' is pinned to two places; give it one"),
            ("rerank.diversity", 2, "a number from 0 to 1"),
            ("topics.replication", 0, "min_insync exceeds replication, or one is 0"),
            ("segments", 8, "must be a section"),
            ("segments.kk", 8, "no setting has this name; did you mean segments.k?"),
            ("batch_ms", 8, "did you mean intake.batch_ms?"),
            ("borkers", "a:1", "did you mean brokers?"),
            ("xyzzy", 1, "docs/settings.md"),
        ],
    )
    def test_is_told_in_one_line_with_its_name_its_value_and_the_fix(self, name, value, says):
        told = wrong({name: value})
        assert told.startswith(name.partition(".")[0])
        assert says in told

    @pytest.mark.parametrize(
        ("name", "value", "says"),
        [
            (
                "UPWELL_SEGMENTS_K",
                "0",
                "UPWELL_SEGMENTS_K (from the environment) is '0', but must be a whole number from 2 to 64",
            ),
            ("UPWELL_BROKER", "a:1", "did you mean UPWELL_BROKERS?"),
            ("UPWELL_SEGMENTS", "8", "did you mean UPWELL_SEGMENTS_K?"),
            ("UPWELL_HTTP_PORT", "6066", "did you mean UPWELL_HTTP?"),
            ("UPWELL_WEIGHTS_CUSTOM", "wish=2", 'write it as {"wish": 2}'),
            (
                "UPWELL_RERANK_BOOSTS",
                "brand:acme=1",
                "UPWELL_RERANK_BOOSTS is 'brand:acme=1', but must be JSON; write it as {\"brand",
            ),
            ("UPWELL_RERANK_PINS", "1=sku-9", 'write it as {"1": "sku-9"}'),
            ("UPWELL_CONFIG", "nowhere.toml", "'nowhere.toml', which cannot be read"),
        ],
    )
    def test_of_the_environment_is_told_by_its_variable(self, monkeypatch, name, value, says):
        monkeypatch.setenv(name, value)
        assert says in wrong()

    def test_of_the_file_is_told_with_the_file(self, tmp_path):
        (tmp_path / "upwell.toml").write_text("[segments]\nkay = 3")
        assert wrong() == "segments.kay (from upwell.toml) is 3, but no setting has this name; did you mean segments.k?"
        (tmp_path / "upwell.toml").write_text("segments = [")
        assert "is no TOML" in wrong()

    @given(
        st.dictionaries(st.text(max_size=8), st.none() | st.integers() | st.text(max_size=8) | st.lists(st.none()), min_size=1)
    )
    def test_whatever_it_is_raises_nothing_else(self, overrides):
        try:
            load(None, {"segments": overrides} | overrides)
        except SettingsError as refused:
            assert "\n" not in str(refused)  # noqa: PT017 - both outcomes are right


class TestSecrets:
    def test_a_password_is_used_but_never_shown(self):
        settings = load(None, {"redis": "redis://me:s3cret@host:6379/1"})
        assert "s3cret" not in repr(settings)
        assert settings.redis.masked == "redis://me:***@host:6379/1"
        assert settings.redis.revealed == redis_url(settings) == "redis://me:s3cret@host:6379/1"

    def test_a_cluster_is_named_by_some_of_its_nodes(self):
        url = "rediss+cluster://me:s3cret@one:7000,two,[::1]:7002/0?ssl_cert_reqs=none"
        settings = load(None, {"redis": url})
        assert settings.redis == url
        assert settings.redis.masked == url.replace("s3cret", "***")

    @pytest.mark.parametrize("url", ["http://me:s3cret@host", "redis://:s3cret@host:99999999", "redis://me:s3c@ret@host/x"])
    def test_a_wrong_url_is_told_without_its_password(self, url):
        assert "s3c" not in wrong({"redis": url})
        assert "ret@" not in wrong({"redis": url})

    def test_an_unknown_password_is_told_without_its_value(self, monkeypatch):
        monkeypatch.setenv("UPWELL_REDIS_PASSWORD", "s3cret")
        assert wrong().startswith("UPWELL_REDIS_PASSWORD (from the environment) is '***', but")


class TestWeights:
    def test_of_known_types_are_the_tables_and_of_others_the_other(self):
        weights = Settings().weights
        assert [weights.of(kind, None) for kind in ("view", "purchase", "dislike", "impression", "wish")] == [
            1,
            3,
            -1,
            0,
            1,
        ]

    def test_of_a_rating_is_its_value_within_bounds(self):
        weights = Settings().weights
        assert [weights.of("rating", value) for value in (4.5, 1e9, -1e9, None)] == [4.5, 10, -10, 1]
        assert Settings(weights={"rating": 2}).weights.of("rating", 4.5) == 2

    def test_of_a_low_rating_is_negative_the_lower_the_more(self):
        assert [Settings().weights.of("rating", value) for value in (2.5, 2.0, 1.0, -9.0)] == [2.5, -0.5, -1.5, -10]
        assert Settings(weights={"low_rating": 6}).weights.of("rating", 4.0) == -2
        assert Settings(weights={"low_rating": -10}).weights.of("rating", 1.0) == 1


class TestExclusion:
    @pytest.mark.parametrize(
        ("exclude", "excluded"), [("none", []), ("seen", ["view", "dislike"]), ("dislike, wish", ["dislike", "wish"])]
    )
    def test_of_none_of_all_or_of_some_types(self, exclude, excluded):
        settings = Settings(exclude=exclude)
        assert [kind for kind in ("view", "dislike", "wish", "none") if settings.excludes(kind)] == [
            kind for kind in ("view", "dislike", "wish", "none") if kind in excluded or exclude == "seen"
        ]


def test_every_setting_has_its_reason_and_a_legal_default():
    assert Settings.model_validate(Settings().model_dump(by_alias=True)) == Settings()
    for row in settings_table().splitlines()[2:]:
        assert len(row.split(" | ")[-1]) > 8, row


def test_the_document_shows_every_setting():
    assert settings_table() in DOCUMENT.read_text()
    assert settings_table(top=True).count("\n") == 13


def test_a_wrong_token_is_not_shown(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "upwell.toml").write_text("[serve]\ntoken = 987654\n")
    with pytest.raises(SettingsError, match=r"serve\.token .* is '\*\*\*', but must be a text") as wrong:
        load()
    assert "987654" not in str(wrong.value)
