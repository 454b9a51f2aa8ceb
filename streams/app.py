"""The Faust app of a worker: it hosts the data plane as a service, the agents, the timers and the pages, and supervises them."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import faust
from faust.cli.faust import cli
from faust.web import Request, Response, View
from mode import ServiceT
from prometheus_client import CollectorRegistry
from yarl import URL

from streams.agents import catalog
from streams.closing import Transport, Worker
from streams.logs import configuration
from streams.metrics import Metrics
from streams.security import kafka_client
from streams.serving import Serving
from streams.settings import Settings

__all__ = ["make_app", "run"]


class _App(faust.App):
    """A Faust app that starts the data plane first, for it need not wait until the control plane has joined its group."""

    logger = logging.getLogger("faust.app")

    def __init__(self, serving: Serving, *args: Any, **options: Any) -> None:
        self._serving = serving
        super().__init__(*args, **options)

    def _create_directories(self) -> None:
        """Make none: Faust keeps tables there, and this app has none."""

    def _new_transport(self) -> Transport:
        return Transport(self.conf.broker_consumer, self)

    def on_init_dependencies(self) -> Iterable[ServiceT]:
        """Give the services of the app, in the order in which they start: the pages tell why the others wait."""
        first = [*self.boot_strategy.web_server(), self._serving]  # type: ignore[attr-defined]
        return first + [service for service in super().on_init_dependencies() if service not in first]


def make_app(settings: Settings, serving: Serving) -> faust.App:
    """Mount the parts in flow order: the data plane, the catalog agent, the pages."""
    host, _, port = settings.http.rpartition(":")
    app = _App(
        serving,
        f"{settings.group}-control",
        broker=[URL(f"kafka://{broker}") for broker in settings.brokers.split(",")],
        broker_credentials=_credentials(settings),
        store="memory://",
        autodiscover=False,
        topic_disable_leader=True,
        Worker=Worker,
        topic_allow_declare=False,
        broker_session_timeout=settings.intake.session_timeout_ms / 1000,
        broker_heartbeat_interval=settings.intake.session_timeout_ms / 5000,
        broker_max_poll_interval=3600.0,
        producer_acks=-1,
        consumer_auto_offset_reset="earliest",
        web_bind=host,
        web_host=host,
        web_port=int(port),
        web_cors_options=None,
        # Faust's own pages: where keys live, its tables, its statistics. Who needs them asks Prometheus.
        web_router_enabled=False,
        web_tables_enabled=False,
        web_stats_enabled=False,
        web_graph_enabled=False,
        web_metrics_enabled=False,
        worker_redirect_stdouts=False,
        logging_config=configuration(settings.log),
    )
    catalog.mount(app, settings, serving)
    _pages(app, serving)
    return app


def _credentials(settings: Settings) -> faust.types.auth.CredentialsT | None:
    """What every client of Kafka gets, as Faust wants it."""
    options = kafka_client(settings)
    context = options.get("ssl_context")
    if settings.kafka.login:
        name, password = options["sasl_plain_username"], options["sasl_plain_password"]
        return faust.SASLCredentials(username=name, password=password, ssl_context=context, mechanism=options["sasl_mechanism"])
    return faust.SSLCredentials(context) if context else None


def _pages(app: faust.App, serving: Serving) -> None:
    @app.page("/health")
    async def health(web: View, request: Request) -> Response:
        """Tell that the process lives."""
        return web.json({"status": "ok"})

    @app.page("/ready")
    async def ready(web: View, request: Request) -> Response:
        """Tell whether events are being answered, and if not, which part is missing."""
        parts = await serving.ready()
        return web.json({"ready": all(parts.values()), **parts}, status=200 if all(parts.values()) else 503)

    @app.page("/metrics")
    async def metrics(web: View, request: Request) -> Response:
        """Give the metrics to Prometheus."""
        page, kind = serving.metrics.exposition()
        return web.bytes(page, content_type=kind.partition(";")[0])


def run(settings: Settings, faust_options: Sequence[str] = ()) -> None:
    """Run a worker until it is stopped; raise what made it stop by itself."""
    # The scoring thread asks for the interpreter's lock some hundred times a second; the default lets it wait 5 ms each time.
    sys.setswitchinterval(_SWITCH_SECONDS)
    # Profiles are no cycles: looking through all of them again and again would stop the world for a tenth of a second.
    gc.set_threshold(*_GC_THRESHOLDS)
    serving = Serving(settings, Metrics(CollectorRegistry()))
    app: Any = make_app(settings, serving)
    app.finalize()
    app.worker_init()
    app.worker_init_post_autodiscover()
    options = ["--quiet", "worker", "--loglevel", settings.log.level, *faust_options]
    try:
        cli.main(args=options, app=app, prog_name="upwell worker --", standalone_mode=False)
    except SystemExit:
        if serving.failure is None:
            # Faust's own status: 0 after a signal, 1 where its part of the worker failed.
            raise
    if serving.failure is not None:
        raise serving.failure


_SWITCH_SECONDS = 0.0005
_GC_THRESHOLDS = (20_000, 50, 10_000)
