"""Draws docs/answer.svg: what `cofio query` prints, asked of the sample meetings, shortened to the best of each part.

PYTHONPATH=src .venv/bin/python scripts/answer_picture.py
"""

from __future__ import annotations

import asyncio
import dataclasses
import io
import tempfile
from pathlib import Path
from typing import Final

from rich.console import Console

from cofio.files import find
from cofio.loading import remember
from cofio.query import recall
from cofio.records import Activated, Answer, Question
from cofio.runtime import open_runtime
from cofio.settings import Settings
from cofio.show import show_answer
from cofio.telemetry.logs import configure_logging

QUESTION: Final = "Did we ever get our money back from Grimvik?"
ROOT: Final = Path(__file__).resolve().parents[1]
PICTURE: Final = ROOT / "docs" / "answer.svg"
COLUMNS: Final = 110


def shortened(answer: Answer) -> Answer:
    """The answer with its best utterance and concept, two memories that these woke on a path that is shown, and one bridge."""
    direct = {level: found[:1] if level != "L1" else () for level, found in answer.direct_results.items()}
    told = {memory.memory_id for found in direct.values() for memory in found}
    woken: list[Activated] = []
    for memory in answer.activated_memories:
        if len(woken) < 2 and len(memory.path) > 1 and set(memory.path) <= told | {memory.memory_id}:
            woken.append(memory)
            told.add(memory.memory_id)
    return dataclasses.replace(
        answer,
        direct_results=direct,
        activated_memories=tuple(woken),
        bridge_memories=answer.bridge_memories[:1],
    )


def picture(answer: Answer) -> str:
    """The answer in a terminal, as SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(f'$ .venv/bin/cofio query "{answer.query}"', markup=False, highlight=False)
    show_answer(console, shortened(answer))
    svg = console.export_svg(title="cofio", unique_id="cofio")
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


async def ask() -> Answer:
    """The answer of a store of its own that remembers the sample meetings."""
    with tempfile.TemporaryDirectory(prefix="cofio-picture-") as place:
        settings = Settings(data_dir=Path(place), model_dir=ROOT / "models")
        async with open_runtime(settings) as runtime:
            await remember(runtime, list(find([ROOT / "data" / "meetings"])), {}, Console(stderr=True))
            question = Question(query=QUESTION, limit_per_level=5)  # as the command has it
            await recall(runtime, question)  # the first question pays for what the others find ready
            return await recall(runtime, question)


if __name__ == "__main__":
    configure_logging("warning", "console")
    PICTURE.write_text(picture(asyncio.run(ask())), encoding="utf-8")
