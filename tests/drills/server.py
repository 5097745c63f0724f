"""The whole service as a process of the drill: it listens, with the deterministic encoder, until it is killed."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import uvloop
from hash_encoder import HashEncoder
from rich.console import Console

from cofio import serving
from cofio.embed.onnx import OnnxEncoder
from cofio.telemetry.logs import configure_logging
from drills.faults import Fault, Points
from drills.life import ENGINE_MARK, hurry, settings


def serve(store: Path, port: int, fault: Fault | None, log: Path) -> None:
    """Serves HTTP on the port until the fault's point is reached, or somebody kills it."""
    os.setsid()
    output = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    hurry()
    configure_logging("error", "console")
    OnnxEncoder.open = lambda *_args, **_kwargs: HashEncoder()  # type: ignore[method-assign,assignment]
    Points(fault, store / ENGINE_MARK).install()
    chosen = settings(store).model_copy(update={"port": port})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serving.serve(chosen, load=None, example="", console=Console(quiet=True)))
