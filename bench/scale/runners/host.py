"""Many simulated runners in one process: each has its own server, status and registration.

The process runs as that of one runner does: with its event loop, its garbage collection and its log. The bench starts
this file with the code of any checkout on the path. `argv` is how many runners there are, the number of the first, and
the port on which the process tells its engines' CPU time.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from typing import Any

from prometheus_client import start_http_server

from services.common.catalog import load_catalog
from services.common.etcd import EtcdClient, Registration, etcd_client
from services.common.lifecycle.process import run_service
from services.common.rpc.server import GrpcServer
from services.common.settings import DEFAULT_CATALOG, load_settings
from services.common.telemetry.logs import configure_logs
from services.runner.engines.simulated import SimulatedEngine
from services.runner.generation import Generation
from services.runner.kinds.choice import work_reader
from services.runner.metrics import ENGINE_CPU
from services.runner.registration import runner_record, served_models
from services.runner.service import SERVICE_NAME, RunnerService, generate_server
from services.runner.settings import RunnerSettings
from services.runner.status import StatusBoard
from tiermesh.runner.v1.runner_pb2_grpc import add_RunnerServiceServicer_to_server


async def main(count: int, first: int, metrics_port: int, stop: asyncio.Event) -> None:
    """Serves until `stop` is set."""
    settings = load_settings(RunnerSettings, "runner")
    # Without it every call would be written to a log.
    configure_logs("runner", format=settings.log_format, level=settings.log_level)
    etcd = etcd_client(settings)
    engines = [await start_engine(settings) for _ in range(count)]
    ENGINE_CPU.set_function(lambda: sum(engine.cpu_seconds for engine in engines))
    start_http_server(metrics_port, "127.0.0.1")
    runs = [serve(settings, engine, f"bench-{first + number}", etcd) for number, engine in enumerate(engines)]
    serving = asyncio.gather(*runs)
    either: list[asyncio.Future[Any]] = [serving, asyncio.create_task(stop.wait())]
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        serving.result()


async def start_engine(settings: RunnerSettings) -> SimulatedEngine:
    """Starts an engine of the speed that the settings give."""
    engine = SimulatedEngine(slots=settings.slots, context=settings.context, tokens_per_second=settings.simulated_speed)
    await engine.start()
    return engine


async def serve(settings: RunnerSettings, engine: SimulatedEngine, name: str, etcd: EtcdClient) -> None:
    """Serves one runner."""
    catalog = load_catalog(DEFAULT_CATALOG)
    models = served_models(settings, catalog, engine)
    status = StatusBoard(name, engine)
    generation = Generation(engine, work_reader(engine), {model.id: model for model in models}, status)
    server = GrpcServer("127.0.0.1:0", settings.tls, catalog)
    add_RunnerServiceServicer_to_server(RunnerService(generate_server(generation), status), server.server)
    await server.start([SERVICE_NAME])
    record = runner_record(name, server.address, settings, models, engine)
    await Registration(etcd, record.key, record.to_json(), ttl=settings.lease_seconds).run()


if __name__ == "__main__":
    runners, first_number, port = map(int, sys.argv[1:])
    run_service(partial(main, runners, first_number, port))
