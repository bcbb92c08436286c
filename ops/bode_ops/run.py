"""Running: start the parts a role asks for, wait for a signal, stop cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
from collections.abc import Generator
from enum import StrEnum

import structlog
import uvicorn
from prometheus_client import start_http_server

from bode import failpoints
from bode.engine.checkpoints import Checkpoints
from bode.settings import Settings
from bode.store import keyring, steps
from bode_ops import assembly, web
from bode_ops.assembly import Application
from bode_ops.http_server import server_config

log = structlog.get_logger()

_AGREE_SECONDS = 10.0
"""How often a process asks the database what time it is."""


class Role(StrEnum):
    """What a process does. On one machine one process does all."""

    ALL = "all"
    API = "api"
    """The HTTP API, the pages, health and metrics."""
    WORKER = "worker"
    """The lanes, and intake by queue."""
    SWEEPER = "sweeper"
    """Finds what is due and what was left behind, and keeps the log of evidence. More than one may run."""
    INBOUND = "inbound"
    """The listener for bounces, the print service's reports, and the results that boxes bring."""

    def includes(self, other: Role) -> bool:
        """Tell whether this role does that one's work."""
        return self is Role.ALL or self is other


class _Server(uvicorn.Server):
    """uvicorn, but the signals are ours."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


async def run(settings: Settings, role: Role) -> None:
    """Run a role until SIGTERM or SIGINT. Raises `SchemaError` before anything starts on another schema."""
    armed = failpoints.arm_from_environment(os.environ, production=settings.environment == "production")
    if armed:
        log.warning("failpoints.armed", failpoints=[f"{one.point}={one.act}:{one.chance}" for one in armed])
    app = assembly.build(settings)
    checkpoints: Checkpoints | None = None
    try:
        if role.includes(Role.SWEEPER) and settings.evidence is not None:
            checkpoints = assembly.build_checkpoints(settings.evidence, app.database, app.clock)
        await app.database.check_schema()
        await app.clock.agree(app.database.time)
        await keyring.open_vault(app.database, app.parts.vault, app.clock.real())
        async with app.database.write() as connection:
            await steps.ensure_lanes(connection, app.parts.lanes)
        await app.open_adapters()
        settle_memory()
        with _own_metrics(settings, role):
            await _serve(app, role, checkpoints)
    finally:
        await app.close()


def settle_memory() -> None:
    """Leave what start-up made out of every search for cycles, and search less often: a fifth of a worker's time.

    What a chunk makes is freed as soon as nothing names it; the search is for the few cycles that remain.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@contextlib.contextmanager
def _own_metrics(settings: Settings, role: Role) -> Generator[None]:
    """Show this process's own metrics on a port, where it has no API to show them and a port is named."""
    if settings.metrics.port is None or role.includes(Role.API):
        yield
        return
    server, thread = start_http_server(settings.metrics.port, settings.metrics.host)
    log.info("metrics.listening", host=settings.metrics.host, port=settings.metrics.port)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def _keep_secrets(app: Application) -> None:
    """Read the secrets of keyed hashes again, so that a change of one (`bode keys rotate-lookup`) needs no restart."""
    while True:
        await asyncio.sleep(keyring.REFRESH_SECONDS)
        try:
            await keyring.refresh(app.database, app.parts.vault)
        except Exception as error:  # noqa: BLE001 - the ones it has go on working; the next round reads again
            log.error("keys.not_refreshed", error=type(error).__name__)


async def _serve(app: Application, role: Role, checkpoints: Checkpoints | None) -> None:
    settings = app.settings
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tasks: list[asyncio.Task[None]] = []
    server: _Server | None = None
    tasks.append(asyncio.create_task(app.clock.keep_agreeing(app.database.time, _AGREE_SECONDS)))
    tasks.append(asyncio.create_task(_keep_secrets(app)))
    try:
        if role.includes(Role.INBOUND):
            tasks += await app.bounce_routes.start()
            tasks.append(asyncio.create_task(app.inbound.run_reports(settings.engine.report_seconds)))
            tasks.append(asyncio.create_task(app.box_results.run(settings.engine.report_seconds)))
        if role.includes(Role.WORKER):
            tasks += await _work(app)
        if role.includes(Role.SWEEPER):
            tasks += _sweep(app, checkpoints)
        if role.includes(Role.API):
            listener = socket.create_server((settings.api.host, settings.api.port))
            server = _Server(server_config(web.build(app), settings.api, grace_seconds=settings.engine.grace_seconds))
            tasks.append(asyncio.create_task(server.serve(sockets=[listener])))
            log.info("api.listening", host=settings.api.host, port=listener.getsockname()[1])
        log.info("process.started", role=role, owner=app.lanes.owner)
        await _until_stopped(stop, tasks)
    finally:
        log.info("process.stopping", role=role)
        if server is not None:
            server.should_exit = True
        grace = settings.engine.grace_seconds
        clean, _ = await asyncio.gather(app.lanes.stop(grace), app.doorbell.stop(grace))
        await app.bounce_routes.stop()
        for task in tasks:
            if server is None or task is not tasks[-1]:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        log.info("process.stopped", role=role, clean=clean)


def _sweep(app: Application, checkpoints: Checkpoints | None) -> list[asyncio.Task[None]]:
    """Give the tasks of who finds what is due, keeps the log, tells senders and works a zaaksysteem's decisions."""
    runs = [app.sweeper.run(app.settings.engine.sweep_seconds), app.sequencer.run(), app.teller.run()]
    runs += [app.webhooks.run(), app.jobs.run(), *([app.zgw.run()] if app.settings.zgw else [])]
    runs.append(app.retention.run(app.settings.retention.every_seconds))
    runs += [part.run() for part in (app.heartbeat, checkpoints, app.document_sweep) if part is not None]
    return [asyncio.create_task(one) for one in runs]


async def _work(app: Application) -> list[asyncio.Task[None]]:
    """Answer rings, and give the tasks that read journals and take in from the queue, where there are such."""
    await app.doorbell.start(drain=app.lanes.drain, threads=app.settings.engine.threads)
    tasks: list[asyncio.Task[None]] = []
    if app.parts.journal is not None:
        tasks.append(asyncio.create_task(app.lanes.keep_settling(app.settings.engine.sweep_seconds)))
    if app.queue_intake is not None:
        tasks.append(asyncio.create_task(app.queue_intake.run()))
    return tasks


async def _until_stopped(stop: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
    """Wait for a signal; a task that ends by itself ends the process, with its error."""
    waiting = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    for task in done:
        if task is not waiting:
            await task
