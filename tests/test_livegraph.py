"""The current graph answers by the truth alone, whatever it held before."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

from drills.meetings import ABSENT, EDITIONS, edition_word, meeting, meeting_id, word
from drills.verify import told
from hash_encoder import HashEncoder

from cofio.ingest import ingest
from cofio.livegraph import LiveGraph
from cofio.maintain import delete_meeting
from cofio.query import recall
from cofio.records import Question
from cofio.runtime import open_runtime
from cofio.settings import Settings

MEETINGS = range(1, 30)


async def test_what_was_deleted_and_replaced_changes_no_answer(tmp_path: Path) -> None:
    rng = random.Random(2)
    now = dict.fromkeys(MEETINGS, ABSENT)
    async with open_runtime(Settings(data_dir=tmp_path / "store"), HashEncoder()) as runtime:
        for _ in range(110):
            number = rng.choice(MEETINGS)
            if now[number] != ABSENT and rng.random() < 0.3:
                await delete_meeting(runtime, meeting_id(number))
                now[number] = ABSENT
            else:
                now[number] = rng.choice(EDITIONS)
                await ingest(runtime, meeting(number, now[number]))
        assert runtime.live.current.counts["dead"] > 0
        anew = replace(
            runtime, live=await LiveGraph.open(runtime.database, tmp_path / "none.npz", runtime.turns)
        )
        for number, edition in now.items():
            asked = word(number) if edition == ABSENT else edition_word(number, edition)
            question = Question(query=f"What about {asked}?", limit_per_level=3)
            answer = await recall(runtime, question)
            assert told(answer) == told(await recall(anew, question))
