"""`upwell serve`."""

from typing import TYPE_CHECKING

from streams.commands.options import with_settings

if TYPE_CHECKING:
    from streams.settings import Settings


@with_settings("brokers", "redis", "prefix")
def serve(settings: "Settings") -> None:
    """Serve an HTTP API for those who cannot read Redis or Kafka: reads from Redis, events to Kafka; it holds no state.

    \b
    upwell serve                                          # on 127.0.0.1:6067
    UPWELL_SERVE_TOKEN=… upwell serve --set serve.http=0.0.0.0:6067
    curl 127.0.0.1:6067/v1/users/42/recommendations
    curl 127.0.0.1:6067/v1/events -d '{"user_id": "42", "item_id": "tea", "type": "view"}'

    \b
    GET  /v1/users/{id}/recommendations   the newest recommendation, as on the topic
    GET  /v1/items/{id}/similar?n=20      what is visited by the same users
    GET  /v1/segments                     the segments of users
    GET  /v1/trending?n=20                what is visited most these days
    POST /v1/events                       one event or a list; answered when Kafka has them
    GET  /openapi.json  /health  /ready

    Run as many as are needed behind any balancer. Ctrl-C or SIGTERM: it ends what it is answering.
    """
    from streams.web.app import run

    run(settings)
