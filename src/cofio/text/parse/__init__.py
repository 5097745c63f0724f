"""Transcripts in any known format become one `Transcript`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from cofio.errors import EmptyTranscript, UnknownFormat, UnreadableTranscript
from cofio.records import Transcript, Utterance
from cofio.text.parse.decode import decode, unified
from cofio.text.parse.detect import detect, is_json
from cofio.text.parse.markdown import read_markdown
from cofio.text.parse.named import read_plain
from cofio.text.parse.names import distinct, without_aside
from cofio.text.parse.otter import read_otter
from cofio.text.parse.reading import Reading, quoted
from cofio.text.parse.recognisers import (
    json_format,
    read_assemblyai,
    read_deepgram,
    read_turns_json,
    read_whisper,
)
from cofio.text.parse.subtitles import read_sbv, read_srt, read_webvtt
from cofio.text.parse.zoom_chat import read_zoom_chat

_READERS: Final[Mapping[str, Callable[[str], Reading]]] = {
    "webvtt": read_webvtt,
    "srt": read_srt,
    "sbv": read_sbv,
    "otter": read_otter,
    "speaker_markdown": read_markdown,
    "plain": read_plain,
    "zoom_chat": read_zoom_chat,
    "whisper_json": read_whisper,
    "deepgram_json": read_deepgram,
    "assemblyai_json": read_assemblyai,
    "turns_json": read_turns_json,
}

FORMATS: Final[tuple[str, ...]] = tuple(_READERS)
_JSON_FORMATS: Final = tuple(name for name in FORMATS if name.endswith("_json"))


def check_format(format: str | None, field: str = "format") -> None:
    """Raises UnknownFormat, which names `field`, for the name of a format that is not known; None is fine."""
    if format is not None and format not in _READERS:
        raise UnknownFormat(
            f"The format {format[:40]!r} is not known. Known formats: {', '.join(FORMATS)}. "
            "Leave `format` out to have it found from the content.",
            field=field,
        )


def json_of(text: str, format: str | None = None) -> str | None:
    """The JSON that `parse_transcript` would read in a transcript of known format; None where it reads none.

    It need not be valid. Whoever takes transcripts from strangers looks at its shape first.
    """
    read = unified(text)
    is_read = is_json(read.lstrip()) if format is None else format in _JSON_FORMATS
    return read if is_read else None


def parse_transcript(raw: str | bytes, *, format: str | None = None) -> Transcript:
    """The utterances of `raw` with their speakers and times (seconds), in order, in cleaned text.

    The format is found from the content unless `format` names it. `participants` are the speakers in order of
    appearance, then those that only a header lists. `warnings` tell what was mended or skipped.

    Raises UnknownFormat (field `format` for an unknown name, `transcript` where nothing fits),
    UnreadableTranscript and EmptyTranscript (field `transcript`).
    """
    check_format(format)
    text, warnings = decode(raw)
    if not text.strip():
        raise EmptyTranscript(
            "The transcript is empty: it holds no text. Send the transcript itself, not its file's name.",
            field="transcript",
        )
    text = text.strip("\n")
    chosen = format or detect(text)
    if chosen == "json":
        chosen = json_format(text)
        if chosen is None:
            raise UnknownFormat(
                "The JSON has none of the known shapes: Whisper's `segments`, Deepgram's `results`, AssemblyAI's "
                '`utterances`, or turns such as [{"speaker": "Ann", "text": "Hello", "start": 1.5}].',
                field="transcript",
            )
    if chosen is None:
        known = (
            f"begins none of the known formats: {', '.join(FORMATS)}. Write turns as 'Name: text', one a line, or name the "
            "format in `format`."
        )
        raise UnknownFormat(
            f"The transcript's first line, {quoted(text.strip().split(chr(10), 1)[0])}, {known}",
            field="transcript",
            kept=f"The transcript's first line {known}",
        )
    try:
        reading, utterances = _read(text, chosen)
    except UnreadableTranscript as error:
        error.read_as = chosen
        raise
    speakers = distinct(utterance.speaker for utterance in utterances)
    # A list says "Bob Ray" where the turns say "Bob Ray (Acme)".
    heard = {without_aside(name).casefold() for name in speakers}
    silent = (name for name in reading.participants if without_aside(name).casefold() not in heard)
    return Transcript(
        format=chosen,
        utterances=utterances,
        title=reading.title,
        date=reading.date,
        participants=distinct((*speakers, *silent)),
        warnings=(*warnings, *reading.warnings),
    )


def _read(text: str, format: str) -> tuple[Reading, tuple[Utterance, ...]]:
    """What the text holds, and its utterances that say something; raises if none does."""
    reading = _READERS[format](text)
    utterances = tuple(utterance for utterance in reading.utterances if utterance.text)
    if not utterances:
        raise EmptyTranscript(
            f"The transcript holds no utterance: it was read as {format}, and {text.count(chr(10)) + 1} lines "
            "hold no spoken text. Check that the export is complete.",
            field="transcript",
        )
    return reading, utterances
