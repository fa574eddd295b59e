"""Starts a runner: `python -m services.runner`."""

from __future__ import annotations

import asyncio
import secrets

from services.common.admin import AdminServer
from services.common.catalog import load_catalog
from services.common.etcd import Registration, etcd_client
from services.common.grpc_server import GrpcServer
from services.common.logs import configure_logs, get_logger
from services.common.process import run_service
from services.common.settings import load_settings
from services.runner.engines.choice import build_engine
from services.runner.generation import Generation
from services.runner.kinds import work_reader
from services.runner.metrics import ACTIVE, ENGINE_CPU, SLOTS
from services.runner.registration import draining, runner_record, served_models
from services.runner.service import SERVICE_NAME, RunnerService, generate_server
from services.runner.settings import RunnerSettings
from services.runner.status import StatusBoard
from tiermesh.runner.v1.runner_pb2_grpc import add_RunnerServiceServicer_to_server

log = get_logger()


async def serve(stop: asyncio.Event) -> None:
    """Serves until `stop` is set, then finishes what runs and leaves the registry."""
    settings = load_settings(RunnerSettings, "runner")
    configure_logs("runner", format=settings.log_format, level=settings.log_level)
    engine = build_engine(settings)
    models = served_models(settings, load_catalog(settings.catalog_file), engine)
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
    generate = generate_server(Generation(engine, work_reader(engine), {model.id: model for model in models}, status))
    SLOTS.set(engine.slots)
    ACTIVE.set_function(lambda: engine.active)
    ENGINE_CPU.set_function(lambda: getattr(engine, "cpu_seconds", 0.0))
    server = GrpcServer(settings.listen, settings.tls)
    add_RunnerServiceServicer_to_server(RunnerService(generate, status), server.server)
    await server.start([SERVICE_NAME])

    record = runner_record(runner_id, settings.advertise or server.address, settings, models, engine)
    etcd = etcd_client(settings)
    registration = Registration(etcd, record.key, record.to_json(), ttl=settings.lease_seconds)
    registering = asyncio.create_task(registration.run())
    serving.set()

    await stop.wait()
    status.drain()
    await registration.update(draining(record).to_json())
    await server.stop([generate], settings.drain_seconds)
    registering.cancel()
    await asyncio.gather(registering, return_exceptions=True)
    await engine.close()
    await etcd.close()
    await admin.stop()


if __name__ == "__main__":
    run_service(serve)
