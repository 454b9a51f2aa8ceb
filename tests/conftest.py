"""The fixtures by file: names, servers, workers, stored (what is in Redis); outcome holds the two hooks."""

pytest_plugins = [
    "tests.outcome",
    "tests.fixtures.names",
    "tests.fixtures.servers",
    "tests.fixtures.stored",
    "tests.fixtures.workers",
]
