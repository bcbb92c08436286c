"""Logs: one JSON line per event, constant names, ids instead of objects; nothing personal."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from typing import Any, Literal, cast

import msgspec
import structlog
from structlog.typing import EventDict, WrappedLogger

_OTHERS = {"dramatiq": "WARNING", "httpx": "WARNING", "uvicorn": "WARNING", "alembic": "WARNING", "mail.log": "ERROR"}


def configure(log_format: Literal["json", "console"]) -> None:
    """Send Bode's own log lines, and warnings of the libraries under it, to standard error."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(_line) if log_format == "json" else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[*shared, last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _only_type, last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name, level in _OTHERS.items():
        logging.getLogger(name).setLevel(level)


def _line(event: EventDict, *, default: Callable[[Any], Any]) -> str:
    """Write a line: fast, for there is one for each message's end, and in any case."""
    try:
        return msgspec.json.encode(event, enc_hook=default).decode()
    except (msgspec.MsgspecError, TypeError, ValueError):  # Half a character, a key that is no text.
        return json.dumps(event, default=default, skipkeys=True)


def _only_type(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Keep of a library's exception its type alone: its text and its traceback can hold what a citizen wrote."""
    del logger, method
    raised: Any = event.pop("exc_info", None)
    if raised:
        error = cast("tuple[object, object]", raised)[1] if isinstance(raised, tuple) else sys.exc_info()[1]
        event["error"] = type(error).__name__
    event.pop("stack_info", None)
    return event
