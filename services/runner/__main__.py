"""Starts a runner: `python -m services.runner`."""

from __future__ import annotations

import asyncio
import secrets

from prometheus_client import REGISTRY

from services.common.catalog import Model
from services.common.etcd import Registration, etcd_client
from services.common.lifecycle.lifespan import Lifespan
from services.common.lifecycle.process import run_service
from services.common.rpc.server import GrpcServer
from services.common.settings import load_settings
from services.common.telemetry.logs import get_logger
from services.runner.counting import Counting
from services.runner.engines.base import AnyEngine, NotReadyError
from services.runner.engines.choice import build_engine
from services.runner.generation import Generation
from services.runner.kinds.choice import prompt_counter, work_reader
from services.runner.metrics import ACTIVE, ENGINE_CPU, INFO, SLOTS, FactsCollector, KnowsFacts
from services.runner.registration import check_voices, draining, needs_vision, runner_record, served_models
from services.runner.service import SERVICE_NAME, RunnerService, generate_server
from services.runner.settings import RunnerSettings
from services.runner.status import StatusBoard
from tiermesh.runner.v1.runner_pb2_grpc import add_RunnerServiceServicer_to_server

log = get_logger()
# Seconds between two attempts to start an engine that waits for something.
RETRY_SECONDS = 1.0


async def serve(stop: asyncio.Event) -> None:
    """Serves until `stop` is set, then finishes what runs and leaves the registry."""
    settings = load_settings(RunnerSettings, "runner")
    async with Lifespan("runner", settings, stop) as lifespan:
        engine = build_engine(settings, vision=needs_vision(settings, lifespan.catalog))
        # What this runner serves stays what it was at the start; what it says of the catalog does not.
        models = served_models(settings, lifespan.catalog, engine)
        # No request reaches a runner that etcd has never known. A later outage of etcd takes nobody out of service: the
        # routers go on with the runners that they know.
        announced = asyncio.Event()
        await lifespan.start_admin(ready=announced.is_set, healthy=lambda: engine.healthy)
        if not await _start_engine(lifespan, engine):
            return
        lifespan.close_at_end(engine.close)
        log.info("engine_ready", engine=engine.name, slots=engine.slots, context=engine.context)
        await _serve_engine(settings, lifespan, engine, models, announced)


async def _start_engine(lifespan: Lifespan, engine: AnyEngine) -> bool:
    """Starts an engine, as soon as what it needs is there; returns False if the process has to end before."""
    told = False
    while True:
        try:
            await engine.start()
        except NotReadyError as error:
            if not told:
                log.warning("engine_waits", engine=engine.name, detail=str(error))
            told = True
        else:
            return True
        if await lifespan.stops_within(RETRY_SECONDS):
            return False


async def _serve_engine(
    settings: RunnerSettings, lifespan: Lifespan, engine: AnyEngine, models: list[Model], announced: asyncio.Event
) -> None:
    """Serves an engine that has started; sets `announced` once the runner is in etcd for the first time."""
    check_voices(models, engine)
    runner_id = settings.id or f"runner-{secrets.token_hex(6)}"
    status = StatusBoard(runner_id, engine)
    counter = prompt_counter(engine)
    counting = Counting(counter) if counter else None
    if counting is not None:
        lifespan.close_at_end(counting.close)
    generation = Generation(
        engine, work_reader(engine), {model.id: model for model in models}, status, counting=counting
    )
    generate = generate_server(generation, lifespan.tracing)
    INFO.labels(settings.tier, engine.name).set(1)
    SLOTS.set(engine.slots)
    ACTIVE.set_function(lambda: engine.active)
    ENGINE_CPU.set_function(lambda: getattr(engine, "cpu_seconds", 0.0))
    if isinstance(engine, KnowsFacts):
        REGISTRY.register(FactsCollector(engine))
    server = GrpcServer(settings.listen, settings.tls, lifespan.catalog)
    add_RunnerServiceServicer_to_server(RunnerService(generate, status), server.server)
    await server.start([SERVICE_NAME])
    record = runner_record(runner_id, settings.advertise or server.address, settings, models, engine)
    etcd = etcd_client(settings)
    lifespan.close_at_end(etcd.close)
    registration = Registration(
        etcd,
        record.key,
        record.to_json(),
        ttl=settings.lease_seconds,
        on_change=lambda registered: announced.set() if registered else None,
    )
    lifespan.run_in_background("registration", registration.run())

    await lifespan.serve()
    status.drain()
    await registration.update(draining(record).to_json())
    await server.stop([generate], lifespan.drain_seconds)


if __name__ == "__main__":
    run_service(serve)
