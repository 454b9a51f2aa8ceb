"""The faults: each function lets one befall the world, and returns when it is over."""

from __future__ import annotations

import signal
from collections.abc import Callable
from http import HTTPStatus

from tests.chaos.plan import Fault
from tests.chaos.proxy import Link
from tests.chaos.world import Worker, World

FULL = 4_096  # bytes that are left to a full Redis


def befall(world: World, fault: Fault) -> None:
    """Let a fault happen, from its beginning to its end."""
    if fault.worker is None:
        SERVERS[fault.name](world, fault)
    else:
        WORKERS[fault.name](world, world.workers[fault.worker], fault)


def _kill(_: World, worker: Worker, __: Fault) -> None:
    worker.kill()
    worker.launch()


def _freeze(world: World, worker: Worker, fault: Fault) -> None:
    worker.pause()
    try:
        world.hold(fault.seconds)
    finally:
        worker.resume()


def _stop(_: World, worker: Worker, __: Fault) -> None:
    if not worker.alive:
        return  # it ended by itself; whoever looks after it says so
    begun = worker.get("/health")[0] == HTTPStatus.OK
    status = worker.end()
    # One that still imports has nothing to end in order: the signal itself ends it.
    in_order = status == 0 or (status == -signal.SIGTERM and not begun)
    assert in_order, f"worker {worker.number} ended with status {status} when it was told to stop"
    worker.launch()


def _links(world: World, worker: Worker, fault: Fault) -> list[Link]:
    ways = {"kafka": [world.to_kafka], "redis": [world.to_redis], "both": [world.to_kafka, world.to_redis]}
    return [way[worker.number] for way in ways[fault.name.partition(" ")[0]]]


def _cut(world: World, worker: Worker, fault: Fault) -> None:
    with world.network.cut(*_links(world, worker, fault)):
        world.hold(fault.seconds)


def _hang(world: World, worker: Worker, fault: Fault) -> None:
    with world.network.hung(*_links(world, worker, fault)):
        world.hold(fault.seconds)


def _slow(world: World, worker: Worker, fault: Fault) -> None:
    with world.network.slow(*_links(world, worker, fault), delay=fault.size):
        world.hold(fault.seconds)


def _narrow(world: World, worker: Worker, fault: Fault) -> None:
    with world.network.slow(*_links(world, worker, fault), rate=fault.size):
        world.hold(fault.seconds)


def _hang_and_kill(world: World, worker: Worker, fault: Fault) -> None:
    """What it sent last arrives when its successor is at work."""
    with world.network.hung(world.to_kafka[worker.number], world.to_redis[worker.number]):
        world.hold(fault.seconds)
        worker.kill()
    worker.launch()


def _shift_clock(world: World, worker: Worker, fault: Fault) -> None:
    worker.set_clock(fault.size)
    try:
        world.hold(fault.seconds)
    finally:
        worker.set_clock(0)


WORKERS: dict[str, Callable[[World, Worker, Fault], None]] = {
    "kill": _kill,
    "freeze": _freeze,
    "blink": _freeze,
    "stop": _stop,
    "kafka cut": _cut,
    "redis cut": _cut,
    "both cut": _cut,
    "kafka hung": _hang,
    "redis hung": _hang,
    "both hung": _hang,
    "kafka slow": _slow,
    "redis slow": _slow,
    "kafka narrow": _narrow,
    "redis narrow": _narrow,
    "clock": _shift_clock,
    "hung and killed": _hang_and_kill,
}


def _roll(world: World, fault: Fault) -> None:
    for worker in world.workers:
        _stop(world, worker, fault)
        worker.wait_until_ready()


def _kill_all(world: World, _: Fault) -> None:
    for worker in world.workers:
        worker.kill()
    for worker in world.workers:
        worker.launch()


def _restart_kafka(world: World, _: Fault) -> None:
    world.kafka.restart()


def _kill_kafka(world: World, _: Fault) -> None:
    world.kafka.kill()
    world.kafka.start()


def _freeze_kafka(world: World, fault: Fault) -> None:
    world.kafka.pause()
    try:
        world.hold(fault.seconds)
    finally:
        world.kafka.resume()


def _restart_redis(world: World, _: Fault) -> None:
    world.redis.primary.stop()
    world.redis.primary.start()
    world.redis.follow()


def _kill_redis(world: World, _: Fault) -> None:
    world.redis.primary.kill()
    world.redis.primary.start()
    world.redis.follow()


def _roll_back(world: World, fault: Fault) -> None:
    """Take away what came to the append-only file last; where it was written anew meanwhile, it is all there."""
    log = world.redis.log
    kept = log.stat().st_size
    world.hold(fault.seconds)
    world.redis.primary.kill()
    if log == world.redis.log:
        with log.open("rb+") as opened:
            opened.truncate(kept)
    world.redis.primary.start()
    world.redis.follow()


def _freeze_redis(world: World, fault: Fault) -> None:
    world.redis.primary.pause()
    try:
        world.hold(fault.seconds)
    finally:
        world.redis.primary.resume()


def _fail_over(world: World, _: Fault) -> None:
    world.redis.primary.kill()
    world.redis.promote()
    world.redis.lead()
    world.redis.rejoin()


def _fail_over_late(world: World, fault: Fault) -> None:
    """The replica takes over without what was written last."""
    with world.redis.lagging():
        world.hold(fault.seconds)
        world.redis.primary.kill()
        world.redis.promote()
    world.redis.lead()
    world.redis.rejoin()


def _split(world: World, fault: Fault) -> None:
    """Some workers still write to the old primary while others write to the new one."""
    with world.redis.lagging():
        world.hold(fault.seconds / 2)
        world.redis.promote()
    world.redis.lead(*world.to_redis[::2])
    world.hold(fault.seconds / 2)
    world.redis.lead()
    world.redis.rejoin()


def _fill(world: World, fault: Fault) -> None:
    primary = world.redis.primary
    used = int(world.redis.ask(primary, "INFO", "memory")["used_memory"])
    world.redis.ask(primary, "CONFIG", "SET", "maxmemory", str(used + FULL))
    try:
        world.hold(fault.seconds)
    finally:
        world.redis.ask(primary, "CONFIG", "SET", "maxmemory", "0")


SERVERS: dict[str, Callable[[World, Fault], None]] = {
    "workers rolled": _roll,
    "workers killed": _kill_all,
    "kafka restarted": _restart_kafka,
    "kafka killed": _kill_kafka,
    "kafka frozen": _freeze_kafka,
    "redis restarted": _restart_redis,
    "redis killed": _kill_redis,
    "redis rolled back": _roll_back,
    "redis frozen": _freeze_redis,
    "redis failed over": _fail_over,
    "redis failed over late": _fail_over_late,
    "redis split": _split,
    "redis full": _fill,
}
