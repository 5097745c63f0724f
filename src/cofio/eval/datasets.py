"""Labelled meetings and questions, read from a folder of (gzipped) JSON lines."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

import orjson

from cofio.errors import InvalidInput
from cofio.files import find, read
from cofio.records import MeetingInput
from cofio.text.parse import parse_transcript
from cofio.text.terms import count_words

# Gold turns of fewer words ("Yeah, right.") carry nothing that could be recalled; spans marked by people are
# full of them (lab 1).
GOLD_WORDS: Final = 5

# The category of questions that nothing in the set answers.
UNANSWERABLE: Final = "adversarial"

# A turn as the labels name it: meeting id and turn id.
TurnKey = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One labelled turn. `speaker` is None in a document."""

    turn_id: str
    text: str
    speaker: str | None = None
    start_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledMeeting:
    """One meeting of a set; `kin` groups the meetings that are easily taken for each other."""

    meeting_id: str
    title: str
    turns: tuple[Turn, ...]
    date: date | None = None
    series: str | None = None
    kin: str = ""
    participants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledQuestion:
    """One question with the turns that answer it.

    It is asked of the meeting or the series that it names, or of the whole set. `evidence` is a second, sharper
    gold, where the set has one. A question that is not `answerable` measures abstention only.
    """

    question_id: str
    text: str
    category: str
    gold: frozenset[TurnKey]
    evidence: frozenset[TurnKey] = frozenset()
    meeting_id: str | None = None
    series: str | None = None
    answerable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledItem:
    """An action, a decision or another outcome of a meeting, with the turns that support it."""

    item_id: str
    meeting_id: str
    kind: str
    text: str
    turn_ids: frozenset[str]
    owner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """One set. `skipped` counts the questions without gold; `digest` names the content of the meetings."""

    name: str
    digest: str
    meetings: tuple[LabelledMeeting, ...]
    questions: tuple[LabelledQuestion, ...]
    skipped: int = 0
    items: tuple[LabelledItem, ...] = ()
    topic_starts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # meeting id → turn ids


def read_dataset(folder: Path, name: str) -> Dataset:
    """The set in the folder `name` under `folder`; its files tell what kind of set it is.

    `sessions` are conversations in dated sittings, `passages` documents, `meetings` meetings. Raises InvalidInput
    if there is no such folder, or a file of it is missing or cannot be read.
    """
    place = folder / name
    if not place.is_dir():
        there = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
        raise InvalidInput(
            f"{folder} holds no folder {name}" + (f"; it holds {', '.join(there)}" if there else ""),
            field="set",
        )
    for stem, reader in (("sessions", _conversations), ("passages", _passages)):
        if _file(place, stem):
            return reader(place)
    return _meeting_set(place)


def read_samples(folder: Path) -> Dataset:
    """The sample meetings under `folder`, with the questions written by hand for them.

    Raises InvalidInput if they are not there.
    """
    meetings = tuple(_sample(path, known) for path, known in find([folder / "meetings"]) if known is not None)
    questions = orjson.loads(_content(folder / "questions.json"))
    return Dataset(
        name="samples",
        digest=hashlib.sha256(repr(meetings).encode()).hexdigest(),
        meetings=meetings,
        questions=tuple(
            LabelledQuestion(
                question_id=line["id"],
                text=line["question"],
                category=line["category"],
                gold=frozenset(
                    (meeting.meeting_id, turn.turn_id)
                    for gold in line["gold"]
                    for meeting in meetings
                    for turn in meeting.turns
                    if (meeting.meeting_id, turn.speaker) == (gold["external_id"], gold["speaker"])
                    and gold["quote"] in turn.text
                ),
                answerable=bool(line["gold"]),
            )
            for line in questions
        ),
    )


def _sample(path: Path, known: MeetingInput) -> LabelledMeeting:
    source = read(path, known).meeting
    said = parse_transcript(path.read_bytes()).utterances
    return LabelledMeeting(
        meeting_id=source.external_id or path.name,
        title=source.title,
        date=source.date,
        series=source.series,
        kin=source.project,
        participants=source.participants,
        turns=tuple(
            Turn(turn_id=str(i), text=turn.text, speaker=turn.speaker, start_s=turn.start_s)
            for i, turn in enumerate(said)
        ),
    )


def _meeting_set(folder: Path) -> Dataset:
    raw = list(_lines(folder, "meetings"))
    meetings = tuple(_meeting(line, line["meeting_id"], kin=_kin(line)) for line in raw)
    words = _words(meetings)
    questions, skipped = [], 0
    for line in _lines(folder, "queries"):
        meeting_id = line["meeting_id"]
        answerable = line.get("category") != UNANSWERABLE
        gold = _gold(meeting_id, line.get("gold_turn_ids") or (), words)
        if not gold and answerable:
            skipped += 1
            continue
        questions.append(
            LabelledQuestion(
                question_id=line["query_id"],
                text=line["query"],
                category=line.get("category") or "all",
                gold=gold,
                evidence=_gold(meeting_id, line.get("evidence_turn_ids") or (), words),
                meeting_id=meeting_id,
                answerable=answerable,
            )
        )
    return Dataset(
        name=folder.name,
        digest=_digest(folder, "meetings"),
        meetings=meetings,
        questions=tuple(questions),
        skipped=skipped,
        items=tuple(map(_item, _lines(folder, "items"))) if _file(folder, "items") else (),
        topic_starts=_topic_starts(folder, meetings) if _file(folder, "topics") else {},
    )


def _conversations(folder: Path) -> Dataset:
    """LoCoMo: every session is a dated meeting of the series that its conversation is."""
    raw = list(_lines(folder, "sessions"))
    meetings = tuple(
        _meeting(line, line["meeting_id"], series=line["conversation_id"], kin="conversation") for line in raw
    )
    words = _words(meetings)
    session_of = {(m.series, turn.turn_id): m.meeting_id for m in meetings for turn in m.turns}
    questions, skipped = [], 0
    for line in _lines(folder, "queries"):
        answerable = line.get("category") != UNANSWERABLE
        series = line["meeting_id"]
        keys = (
            (session_of[series, turn_id], turn_id)
            for turn_id in line.get("gold_turn_ids") or ()
            if (series, turn_id) in session_of
        )
        gold = frozenset(key for key in keys if words[key] >= GOLD_WORDS)
        if not gold and answerable:
            skipped += 1
            continue
        questions.append(
            LabelledQuestion(
                question_id=line["query_id"],
                text=line["query"],
                category=line.get("category") or "all",
                gold=gold,
                series=series,
                answerable=answerable,
            )
        )
    return Dataset(
        name=folder.name,
        digest=_digest(folder, "sessions"),
        meetings=meetings,
        questions=tuple(questions),
        skipped=skipped,
    )


def _passages(folder: Path) -> Dataset:
    """Every passage is a document of one utterance, under its title; questions go to all of them."""
    meetings = tuple(
        LabelledMeeting(
            meeting_id=line["id"], title=line["title"], turns=(Turn(turn_id="0", text=line["text"]),)
        )
        for line in _lines(folder, "passages")
    )
    known = {meeting.meeting_id for meeting in meetings}
    questions, skipped = [], 0
    for line in _lines(folder, "queries"):
        gold = frozenset((passage, "0") for passage in line["gold_ids"] if passage in known)
        if not gold:
            skipped += 1
            continue
        questions.append(
            LabelledQuestion(
                question_id=line["query_id"],
                text=line["query"],
                category=line.get("category") or "all",
                gold=gold,
            )
        )
    return Dataset(
        name=folder.name,
        digest=_digest(folder, "passages"),
        meetings=meetings,
        questions=tuple(questions),
        skipped=skipped,
    )


def _meeting(
    line: Mapping[str, Any], meeting_id: str, *, series: str | None = None, kin: str
) -> LabelledMeeting:
    day = line.get("date")
    return LabelledMeeting(
        meeting_id=meeting_id,
        title=line.get("title") or meeting_id,
        date=date.fromisoformat(day[:10]) if day else None,
        series=series or line.get("series"),
        kin=kin,
        participants=tuple(line.get("participants") or ()),
        turns=tuple(
            Turn(
                turn_id=turn["turn_id"],
                text=turn["text"],
                speaker=turn.get("speaker"),
                start_s=turn.get("start"),
            )
            for turn in line["turns"]
        ),
    )


def _kin(line: Mapping[str, Any]) -> str:
    """Meetings of one domain, or else of one series, are the hard ones to tell apart."""
    return str(line.get("domain") or line.get("series") or "")


def _words(meetings: Sequence[LabelledMeeting]) -> Mapping[TurnKey, int]:
    return {(m.meeting_id, turn.turn_id): count_words(turn.text) for m in meetings for turn in m.turns}


def _gold(meeting_id: str, turn_ids: Sequence[str], words: Mapping[TurnKey, int]) -> frozenset[TurnKey]:
    keys = ((meeting_id, turn_id) for turn_id in turn_ids)
    return frozenset(key for key in keys if words.get(key, 0) >= GOLD_WORDS)


def _item(line: Mapping[str, Any]) -> LabelledItem:
    return LabelledItem(
        item_id=line["item_id"],
        meeting_id=line["meeting_id"],
        kind=line["section"].removesuffix("s"),
        text=line["text"],
        turn_ids=frozenset(line.get("window_turn_ids") or line["turn_ids"]),
        owner=line.get("owner"),
    )


def _topic_starts(folder: Path, meetings: Sequence[LabelledMeeting]) -> Mapping[str, tuple[str, ...]]:
    """Where a topic begins, and where the talk after one begins; never the first turn of the meeting."""
    turns = {meeting.meeting_id: [turn.turn_id for turn in meeting.turns] for meeting in meetings}
    found: dict[str, set[int]] = {}
    for line in _lines(folder, "topics"):
        for first, last in line["spans"]:
            found.setdefault(line["meeting_id"], set()).update((first, last + 1))
    return {
        meeting_id: tuple(
            turns[meeting_id][place] for place in sorted(places) if 0 < place < len(turns[meeting_id])
        )
        for meeting_id, places in found.items()
        if meeting_id in turns
    }


def _file(folder: Path, stem: str) -> Path | None:
    return next((path for end in (".jsonl.gz", ".jsonl") if (path := folder / f"{stem}{end}").exists()), None)


def _lines(folder: Path, stem: str) -> Iterator[dict[str, Any]]:
    path = _file(folder, stem)
    if path is None:
        raise InvalidInput(f"{folder} holds neither {stem}.jsonl.gz nor {stem}.jsonl", field="data")
    try:
        content = gzip.decompress(_content(path)) if path.suffix == ".gz" else _content(path)
        for line in content.splitlines():
            if line.strip():
                yield orjson.loads(line)
    except (gzip.BadGzipFile, zlib.error, EOFError, orjson.JSONDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}", field="data") from error


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}", field="data") from error


def _digest(folder: Path, stem: str) -> str:
    path = _file(folder, stem)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path else ""
