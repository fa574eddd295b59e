"""Starts a runner: `python -m services.runner`."""

from __future__ import annotations

import asyncio
import secrets

from prometheus_client import REGISTRY

from services.common.build_info import tell_build
from services.common.catalog_file import CatalogFile
from services.common.etcd import Registration, etcd_client
from services.common.process import run_service
from services.common.rpc.server import GrpcServer
from services.common.settings import load_settings
from services.common.telemetry.admin import AdminServer
from services.common.telemetry.logs import configure_logs, get_logger
from services.common.telemetry.tracing import close_tracing, open_tracing
from services.runner.engines.choice import build_engine
from services.runner.generation import Generation
from services.runner.kinds.choice import work_reader
from services.runner.metrics import ACTIVE, ENGINE_CPU, INFO, SLOTS, FactsCollector, KnowsFacts
from services.runner.registration import draining, needs_vision, runner_record, served_models
from services.runner.service import SERVICE_NAME, RunnerService, generate_server
from services.runner.settings import RunnerSettings
from services.runner.status import StatusBoard
from tiermesh.runner.v1.runner_pb2_grpc import add_RunnerServiceServicer_to_server

log = get_logger()


async def serve(stop: asyncio.Event) -> None:
    """Serves until `stop` is set, then finishes what runs and leaves the registry."""
    settings = load_settings(RunnerSettings, "runner")
    configure_logs("runner", format=settings.log_format, level=settings.log_level)
    tell_build("runner")
    catalog_file = CatalogFile(settings.catalog_file)
    catalog = catalog_file.catalog
    engine = build_engine(settings, vision=needs_vision(settings, catalog))
    models = served_models(settings, catalog, engine)
    serving = asyncio.Event()
    admin = AdminServer(
        settings.admin_listen,
        ready=lambda: serving.is_set() and not stop.is_set(),
        healthy=lambda: engine.healthy,
    )
    await admin.start()
    await engine.start()
    log.info("engine_ready", engine=engine.name, slots=engine.slots, context=engine.context)

    runner_id = settings.id or f"runner-{secrets.token_hex(6)}"
    status = StatusBoard(runner_id, engine)
    tracing = open_tracing(settings, "runner")
    generation = Generation(engine, work_reader(engine), {model.id: model for model in models}, status)
    generate = generate_server(generation, tracing)
    INFO.labels(settings.tier, engine.name).set(1)
    SLOTS.set(engine.slots)
    ACTIVE.set_function(lambda: engine.active)
    ENGINE_CPU.set_function(lambda: getattr(engine, "cpu_seconds", 0.0))
    if isinstance(engine, KnowsFacts):
        REGISTRY.register(FactsCollector(engine))
    server = GrpcServer(settings.listen, settings.tls, catalog)
    add_RunnerServiceServicer_to_server(RunnerService(generate, status), server.server)
    await server.start([SERVICE_NAME])

    record = runner_record(runner_id, settings.advertise or server.address, settings, models, engine)
    etcd = etcd_client(settings)
    registration = Registration(etcd, record.key, record.to_json(), ttl=settings.lease_seconds)
    # What this runner serves stays what it was at the start; what it says of the catalog does not.
    background = [asyncio.create_task(work) for work in (registration.run(), catalog_file.follow())]
    serving.set()

    await stop.wait()
    status.drain()
    await registration.update(draining(record).to_json())
    await server.stop([generate], settings.drain_seconds)
    for task in background:
        task.cancel()
    await asyncio.gather(*background, return_exceptions=True)
    await engine.close()
    await etcd.close()
    await close_tracing(tracing)
    await admin.stop()


if __name__ == "__main__":
    run_service(serve)
