"""A labelled set goes through the real pipeline into a store that is used again as long as nothing changed."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from cofio.eval.corpus import align, open_corpus
from cofio.eval.datasets import LabelledMeeting, Turn, read_dataset
from cofio.settings import Settings

MEETING = LabelledMeeting(
    meeting_id="m",
    title="t",
    turns=(
        Turn(turn_id="1", text="Well, <b>hello</b> there."),
        Turn(turn_id="2", text="  "),
        Turn(turn_id="3", text="One two three. Four five six."),
    ),
)


def test_episodes_are_aligned_with_the_turns_whose_letters_they_hold() -> None:
    texts = ["Well, hello there.", "One two three.", "Four five six."]
    assert align(texts, MEETING) == [(("m", "1"),), (("m", "3"),), (("m", "3"),)]
    assert align(["Well, hello there. One two three.", "Four five six."], MEETING) == [
        (("m", "1"), ("m", "3")),
        (("m", "3"),),
    ]
    assert align(["Nobody said this."], MEETING) == [()]


async def test_a_kept_store_is_used_again_and_an_older_one_is_gone(labelled: Path, tmp_path: Path) -> None:
    dataset = read_dataset(labelled, "locomo")
    console = Console(file=io.StringIO())
    settings = Settings()
    async with open_corpus(dataset, settings, tmp_path, console) as corpus:
        version = corpus.runtime.live.current.version
        assert sorted(turn for turns in corpus.turns_of for turn in turns) == sorted(
            (meeting.meeting_id, turn.turn_id) for meeting in dataset.meetings for turn in meeting.turns
        )
    older = tmp_path / "locomo-int8" / "0123456789abcdef"
    older.mkdir()
    async with open_corpus(dataset, settings, tmp_path, console) as corpus:
        assert corpus.runtime.live.current.version == version
    assert not older.exists()
