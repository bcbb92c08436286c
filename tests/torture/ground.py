"""What a run stands on: PostgreSQL and Redis of our own, and real processes that are quick to start."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.service.conftest import Postgres, RedisServer

from bode.store.database import Database
from bode.store.evidence_keys import make_keyring
from bode.store.vault import write_key_file
from bode_ops import cli

_TEMPLATE = "template_of_bode"
# A process is forked off one that has imported all and does nothing: real in everything, but quick to start.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["tests.torture.ground", "tests.torture.outside"])


class Ground:
    """The servers and keys that the runs of one place share, one after another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.redis = RedisServer()
        self.postgres = Postgres()
        # The server is stopped at once in some runs: what it confirmed must be in its files then.
        self.postgres.do("ALTER SYSTEM SET synchronous_commit = on")
        self.postgres.do("SELECT pg_reload_conf()")
        self.postgres.do(f"CREATE DATABASE {_TEMPLATE}")
        asyncio.run(_upgrade(self.postgres.url(_TEMPLATE)))
        write_key_file(folder / "bode.key")
        make_keyring(folder / "evidence.key", "torture.example")

    def database(self, number: int) -> str:
        """Copy the template, and give its URL."""
        name = f"run_{number}"
        self.postgres.do(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
        return self.postgres.url(name)

    def stop_postgres_at_once(self) -> None:
        """Have PostgreSQL end without finishing anything (pg_ctl stop -m immediate)."""
        pid = int((self.postgres.folder / "data" / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGQUIT)
        wait_for(lambda: not Path(f"/proc/{pid}").exists(), 20, "PostgreSQL to stop")

    def remove(self) -> None:
        self.postgres.remove()
        self.redis.remove()


async def _upgrade(url: str) -> None:
    database = Database(url)
    await database.upgrade()
    await database.close()


def wait_for(holds: Callable[[], bool], seconds: float, what: str, *, every: float = 0.1) -> None:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(every)


def start(log: Path, *words: str, armed: str = "", seed: int = 0) -> BaseProcess:
    """Start `bode` with these words, as a process and process group of its own."""
    process = processes.Process(target=_bode, args=(str(log), words, armed, str(seed)), daemon=True)
    process.start()
    return process


def _bode(log: str, words: tuple[str, ...], armed: str, seed: str) -> None:
    os.setsid()
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.argv = ["bode", *words]
    if armed:
        os.environ |= {"BODE_FAILPOINTS": armed, "BODE_FAILPOINTS_SEED": seed}
    cli.main()


def end(process: BaseProcess, seconds: float) -> bool:
    """End a process by SIGTERM; tells whether it ended in time, and kills it otherwise."""
    with suppress(ProcessLookupError):
        process.terminate()
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join()
        return False
    return True
