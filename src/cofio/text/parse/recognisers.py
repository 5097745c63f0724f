"""The JSON of speech recognisers, and of turns in general."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from cofio.records import Utterance
from cofio.text.clean import clean_text
from cofio.text.parse.join import Piece, join_pieces
from cofio.text.parse.names import distinct, split_prefix, tidy_name
from cofio.text.parse.reading import Reading, Warnings, unreadable
from cofio.text.parse.times import find_date
from cofio.text.parse.values import body, first_number, items, label, load, mapping, number, string
from cofio.text.parse.words import Word, pieces_of_words, turns_of_words
from cofio.text.terms import count_words

_SPEAKERS: Final = (
    "speaker",
    "speaker_name",
    "speakerName",
    "speaker_label",
    "name",
    "participant",
    "author",
    "from",
)
_STARTS: Final = (
    "start",
    "start_s",
    "start_time",
    "startTime",
    "start_seconds",
    "begin",
    "timestamp",
    "time",
    "offset",
)
_ENDS: Final = ("end", "end_s", "end_time", "endTime", "end_seconds", "stop")
_TURN_LISTS: Final = (
    "turns",
    "utterances",
    "sentences",
    "entries",
    "monologues",
    "transcript",
    "messages",
    "segments",
)
_TITLES: Final = ("title", "meeting_title", "topic", "subject", "name")
_DATES: Final = ("date", "meeting_date", "start_date", "recorded_at", "started_at", "dateString")
_PEOPLE: Final = ("participants", "attendees", "speakers")
_MILLISECOND: Final = 0.001
_SLOWEST_WORD_S: Final = 60.0


def json_format(text: str) -> str | None:
    """Which recogniser's JSON `text` is: a name of `FORMATS`, or None if its shape is not known."""
    value = load(text)
    top = mapping(value)
    if isinstance(value, list):
        entries = [mapping(item) for item in value[:20]]
        return "turns_json" if any(body(entry) for entry in entries) else None
    results = mapping(top.get("results"))
    if "channels" in results or "utterances" in results:
        return "deepgram_json"
    if _is_assemblyai(top):
        return "assemblyai_json"
    if any(
        isinstance(top.get(key), list) for key in ("segments", "chunks", "transcription", "word_segments")
    ):
        return "whisper_json"
    if any(isinstance(top.get(key), list) for key in _TURN_LISTS):
        return "turns_json"
    if isinstance(top.get("words"), list) or isinstance(top.get("text"), str):
        return "whisper_json"
    return None


def _is_assemblyai(top: Mapping[str, object]) -> bool:
    marks = (
        "audio_url",
        "acoustic_model",
        "language_model",
        "audio_duration",
        "speech_model",
        "speaker_labels",
    )
    if any(mark in top for mark in marks) and ("words" in top or "utterances" in top or "text" in top):
        return True
    # A cut-down export: integer times, beside a confidence or the words of each utterance.
    entries = [mapping(item) for item in (*items(top.get("utterances"))[:3], *items(top.get("words"))[:3])]
    return bool(entries) and all(
        isinstance(entry.get("start"), int)
        and isinstance(entry.get("end"), int)
        and ("confidence" in entry or "words" in entry)
        for entry in entries
    )


def read_assemblyai(text: str) -> Reading:
    """The utterances of an AssemblyAI transcript, its milliseconds as seconds; without them, its words' turns."""
    top = mapping(load(text))
    warnings = Warnings()
    if top.get("status") == "error":
        raise unreadable(
            f"AssemblyAI reports a failed transcription: {string(top.get('error')) or 'no reason given'}.",
            kept="AssemblyAI reports a failed transcription.",
        )
    utterances: list[Utterance] = []
    for entry in map(mapping, items(top.get("utterances"))):
        turns = turns_of_words(_words(entry.get("words"), _MILLISECOND))
        if len({turn.speaker for turn in turns if turn.speaker}) > 1:
            utterances.extend(turns)
            continue
        text_of = clean_text(body(entry))
        marks = turns[0].marks if len(turns) == 1 and turns[0].text == text_of else ()
        utterances.append(
            Utterance(
                text=text_of,
                speaker=label(entry.get("speaker")),
                start_s=first_number(entry, ("start",), _MILLISECOND),
                end_s=first_number(entry, ("end",), _MILLISECOND),
                marks=marks,
            )
        )
    if not utterances:
        utterances = list(turns_of_words(_words(top.get("words"), _MILLISECOND)))
    if not utterances:
        utterances = [Utterance(text=clean_text(string(top.get("text"))))]
    return Reading(utterances=tuple(utterances), warnings=warnings.told())


def read_deepgram(text: str) -> Reading:
    """The utterances of a Deepgram response.

    Its words decide who speaks: an utterance that holds words of two speakers is cut where they change. With
    several channels and no speakers, the channel is the speaker.
    """
    results = mapping(mapping(load(text)).get("results"))
    channels = [mapping(channel) for channel in items(results.get("channels"))]
    several = len(channels) > 1
    pieces: list[Piece] = []
    for entry in map(mapping, items(results.get("utterances"))):
        channel = entry.get("channel")
        only = f"Channel {channel}" if several and isinstance(channel, int) else None
        pieces.extend(_deepgram_pieces(entry, only))
    if pieces:
        return Reading(utterances=join_pieces(pieces))
    turns: list[Utterance] = []
    for index, channel in enumerate(channels):
        only = f"Channel {index}" if several else None
        best = mapping(next(iter(items(channel.get("alternatives"))), None))
        spoken = turns_of_words(_words(best.get("words"), 1.0, fallback=only))
        turns.extend(spoken or _paragraphs(best, only) or _bare(best, only))
    turns.sort(key=lambda turn: turn.start_s or 0.0)
    return Reading(utterances=tuple(turns))


def _deepgram_pieces(entry: Mapping[str, object], only: str | None) -> list[Piece]:
    speaker = label(entry.get("speaker")) or only
    words = _words(entry.get("words"), 1.0, fallback=speaker)
    if words:
        return pieces_of_words(words)
    return [
        Piece(
            text=clean_text(body(entry)),
            speaker=speaker,
            start_s=number(entry.get("start")),
            end_s=number(entry.get("end")),
        )
    ]


def _paragraphs(best: Mapping[str, object], only: str | None) -> list[Utterance]:
    pieces = [
        Piece(
            text=clean_text(body(sentence)),
            speaker=label(paragraph.get("speaker")) or only,
            start_s=number(sentence.get("start")),
            end_s=number(sentence.get("end")),
        )
        for paragraph in map(mapping, items(mapping(best.get("paragraphs")).get("paragraphs")))
        for sentence in map(mapping, items(paragraph.get("sentences")))
    ]
    return list(join_pieces(pieces))


def _bare(best: Mapping[str, object], only: str | None) -> list[Utterance]:
    said = clean_text(string(best.get("transcript")))
    return [Utterance(text=said, speaker=only)] if said else []


def read_whisper(text: str) -> Reading:
    """The utterances of Whisper's JSON, of WhisperX, whisper.cpp and the `chunks` of transformers pipelines.

    Segments that cut an utterance are joined as captions are. Where words carry speakers, they decide.
    """
    top = mapping(load(text))
    pieces: list[Piece] = []
    for entry in map(mapping, items(top.get("segments"))):
        speaker = _speaker(entry)
        words = _words(entry.get("words"), 1.0, fallback=speaker)
        if len({word.speaker for word in words}) > 1:
            pieces.extend(pieces_of_words(words))
            continue
        pieces.append(_piece(entry, words[0].speaker if words else speaker))
    for entry in map(mapping, items(top.get("chunks"))):
        times = items(entry.get("timestamp"))
        pieces.append(
            Piece(
                text=clean_text(body(entry)),
                speaker=_speaker(entry),
                start_s=number(times[0]) if times else None,
                end_s=number(times[1]) if len(times) > 1 else None,
            )
        )
    for entry in map(mapping, items(top.get("transcription"))):
        offsets = mapping(entry.get("offsets"))
        pieces.append(
            Piece(
                text=clean_text(body(entry)),
                speaker=_speaker(entry),
                start_s=first_number(offsets, ("from",), _MILLISECOND),
                end_s=first_number(offsets, ("to",), _MILLISECOND),
            )
        )
    utterances = join_pieces(pieces)
    if not utterances:
        utterances = turns_of_words(_words(top.get("words") or top.get("word_segments"), 1.0))
    if not utterances:
        said = clean_text(string(top.get("text")))
        utterances = (Utterance(text=said),) if said else ()
    return Reading(utterances=utterances)


def _piece(entry: Mapping[str, object], speaker: str | None) -> Piece:
    said = clean_text(body(entry))
    pair = split_prefix(said) if speaker is None and said.startswith("[SPEAKER") else None
    return Piece(
        text=pair[1] if pair else said,
        speaker=pair[0] if pair else speaker,
        start_s=first_number(entry, _STARTS),
        end_s=first_number(entry, _ENDS),
    )


def read_turns_json(text: str) -> Reading:
    """The turns of `[{"speaker", "text", "start", "end"}]` or of an object that holds such a list.

    Times are seconds. Keys ending in `_ms` are milliseconds. Entries without text are skipped with a warning.
    """
    value = load(text)
    top = mapping(value)
    entries: Sequence[object] = items(value) or next(
        (found for key in _TURN_LISTS if (found := items(top.get(key)))), ()
    )
    warnings = Warnings()
    utterances = []
    for index, item in enumerate(entries):
        entry = mapping(item)
        said = clean_text(body(entry) if entry else string(item))
        if not said:
            warnings.add(f"entry {index}: no text; skipped")
            continue
        start_s = first_number(entry, _STARTS)
        end_s = first_number(entry, _ENDS)
        if start_s is None:
            start_s = first_number(entry, ("start_ms", "startMs"), _MILLISECOND)
        if end_s is None:
            end_s = first_number(entry, ("end_ms", "endMs"), _MILLISECOND)
        if start_s is not None and end_s is not None and end_s < start_s:
            warnings.add(f"entry {index}: it ends before it starts; kept without its end")
            end_s = None
        utterances.append(Utterance(text=said, speaker=_speaker(entry), start_s=start_s, end_s=end_s))
    if _are_milliseconds(utterances):
        warnings.add("the times are too long for so few words; they were read as milliseconds")
        utterances = [_scaled(utterance) for utterance in utterances]
    title = next((found for key in _TITLES if (found := clean_text(string(top.get(key))))), None)
    dates = (find_date(string(top.get(key))) for key in _DATES)
    people = (label(item) for key in _PEOPLE for item in items(top.get(key)))
    return Reading(
        utterances=tuple(utterances),
        title=title,
        date=next((found for found in dates if found), None),
        participants=distinct(tidy_name(name) for name in people if name),
        warnings=warnings.told(),
    )


def _are_milliseconds(utterances: Sequence[Utterance]) -> bool:
    """True if a word would take more than a minute, were the times seconds."""
    timed = [
        (utterance.end_s - utterance.start_s, count_words(utterance.text))
        for utterance in utterances
        if utterance.start_s is not None and utterance.end_s is not None
    ]
    return sum(length for length, _ in timed) > _SLOWEST_WORD_S * max(1, sum(words for _, words in timed))


def _scaled(utterance: Utterance) -> Utterance:
    start_s, end_s = utterance.start_s, utterance.end_s
    return replace(
        utterance,
        start_s=None if start_s is None else round(start_s * _MILLISECOND, 6),
        end_s=None if end_s is None else round(end_s * _MILLISECOND, 6),
    )


def _speaker(entry: Mapping[str, object]) -> str | None:
    found = next((name for key in _SPEAKERS if (name := label(entry.get(key)))), None)
    return tidy_name(found) or None if found else None


def _words(value: object, scale: float, *, fallback: str | None = None) -> list[Word]:
    """The words in a recogniser's list. A word without a speaker is said by the speaker of the one before."""
    words: list[Word] = []
    speaker = fallback
    for entry in map(mapping, items(value)):
        said = string(entry.get("punctuated_word")) or string(entry.get("word")) or string(entry.get("text"))
        said = clean_text(said)
        if not said:
            continue
        speaker = label(entry.get("speaker")) or speaker
        words.append(
            Word(
                text=said,
                speaker=speaker,
                start_s=first_number(entry, ("start", "start_time"), scale),
                end_s=first_number(entry, ("end", "end_time"), scale),
            )
        )
    return words
