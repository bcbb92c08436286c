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

import sqlalchemy as sa
import structlog
import uvicorn
from prometheus_client import start_http_server

from bode import failpoints
from bode.engine.checkpoints import Checkpoints
from bode.settings import Settings
from bode.store import steps, tables
from bode.store.vault import KeyFileError
from bode_ops import assembly, web
from bode_ops.assembly import Application

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
        await _check_key(app)
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


async def _check_key(app: Application) -> None:
    """Refuse to start with another key than the stored messages are sealed under: valid bounces would look forged."""
    column = tables.content.c.key_id
    async with app.database.read() as connection:
        found = (await connection.execute(sa.select(column).limit(1))).scalar_one_or_none()
    if found is not None and found != app.parts.vault.key_id:
        raise KeyFileError(
            f"key file {app.settings.keys.file} is not the one that this database's messages are sealed under"
        )


async def _serve(app: Application, role: Role, checkpoints: Checkpoints | None) -> None:
    settings = app.settings
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tasks: list[asyncio.Task[None]] = []
    server: _Server | None = None
    tasks.append(asyncio.create_task(app.clock.keep_agreeing(app.database.time, _AGREE_SECONDS)))
    try:
        if role.includes(Role.INBOUND):
            tasks += await app.bounce_routes.start()
            tasks.append(asyncio.create_task(app.inbound.run_reports(settings.engine.report_seconds)))
            tasks.append(asyncio.create_task(app.box_results.run(settings.engine.report_seconds)))
        if role.includes(Role.WORKER):
            await app.doorbell.start(
                drain=app.lanes.drain, accept=app.queue_intake.accept, threads=settings.engine.threads
            )
        if role.includes(Role.SWEEPER):
            tasks.append(asyncio.create_task(app.sweeper.run(settings.engine.sweep_seconds)))
            tasks.append(asyncio.create_task(app.sequencer.run()))
            tasks.append(asyncio.create_task(app.teller.run()))
            tasks.append(asyncio.create_task(app.webhooks.run()))
            tasks.append(asyncio.create_task(app.jobs.run()))
            if checkpoints is not None:
                tasks.append(asyncio.create_task(checkpoints.run()))
        if role.includes(Role.API):
            listener = socket.create_server((settings.api.host, settings.api.port))
            config = uvicorn.Config(
                web.build(app),
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=int(settings.engine.grace_seconds) or 1,
            )
            server = _Server(config)
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


async def _until_stopped(stop: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
    """Wait for a signal; a task that ends by itself ends the process, with its error."""
    waiting = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    for task in done:
        if task is not waiting:
            await task
