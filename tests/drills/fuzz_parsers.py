"""Fuzzes everything that reads what people wrote: each transcript format, the bytes under it, and questions.

Hypothesis draws texts from each format's own pieces, mutates whole files, and repeats parts of them thousands of times.
Each reader has a process of its own with bounded memory. It may refuse a text as a domain error and do nothing else
but read it, within 2 s of processor time, into clean text and finite times.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import json
import math
import multiprocessing
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from processes import status_kib
from toy_graph import meeting, vectors

from cofio.cue import read_cue
from cofio.errors import CofioError
from cofio.files import title_of
from cofio.graph.ledger import Ledger
from cofio.graph.scope import scope
from cofio.memories import named_id
from cofio.memorise import memorise
from cofio.records import SEMANTIC_DIMENSIONS, Filters, MeetingInput, Transcript
from cofio.text.clean import clean_text, plain_text
from cofio.text.concepts import possible_keys
from cofio.text.dates import date_match, due_date
from cofio.text.extract import episodes
from cofio.text.features import query_features
from cofio.text.parse import FORMATS, parse_transcript
from drills.figures import Figure, Found, Table

SLOWEST_S: Final = 2.0
LONGEST: Final = 100_000
MOST_MEMORY_MIB: Final = 1024  # beyond what the process had before it read anything
STUCK_S: Final = 60  # of processor time: a reader may be stopped meanwhile

_PIECES: Final = (
    *("\n", "\n\n", " ", "\t", "Ann", "Bob Ray", ": ", ":", "Ann: hello there.\n", "Speaker 1: ", "(Acme)", "Dr. "),
    *("-->", " --> ", "00:00:01.000", "00:00:04,000", "99:99:99.999", "0:12", "10:30 AM", "[00:12:03] ", "1", "12345"),
    *("00:00:01.000 --> 00:00:04.000\n", "0:00:01.000,0:00:04.000\n", "WEBVTT\n\n", "NOTE ", "STYLE", "REGION"),
    *("<v Ann>", "</v>", "<00:00:01.000>", "<c.red>", ">> ", "- ", "<b>", "</b>", "<!--", "&amp;", "&#x41;", "<", "&"),
    *("**", "__", "# ", "### Ann\n", "**Ann** ", "[", "]", "(", ")", "[a](b)", "*", "_", "|", "…", "—", "–", "•"),
    *("From Ann to Everyone:", "\t Ann:\t", "14:03:22 From ", "Replying to \"", "reacted to ", "(Direct Message)"),
    *("Participants: ", "Title: ", "Date: ", "Lee, Ann; Ray, Bob", " and ", "Keywords", "Transcribed by https://otter.ai"),
    *("2026-03-02", "March 5th, 2026", "31/02/2026", "0001-01-01", "9999-12-31", "next week", "by Friday", "in 99 days"),
    *("in 2023", "last year", "since March", "the twenty-first of May", "end of Q4", "tomorrow", "in 999999999 weeks"),
    *("\x00", "\r", "\x85", "\u2028", "\u200b", "\u202e", "\ufeff", "\u00e9", "e\u0301", "\u0323\u0301", "\U0001f600"),
    *("\ud800", "\u0130", "\u1e9e", "\u0660\u0661", "\u3000", "\u4f1a\u8b70", "'", "\u2019", "\"", "\\", "{", "}", ","),
    *("I will do it.", "Why? ", "We decided ", "!!!", "?", ".", "x" * 300, "a " * 50, "1" * 400, "aA" * 20),
)  # fmt: skip

_FILES: Final = (
    "WEBVTT\n\nNOTE Title: Sync\n\n1\n00:00:01.000 --> 00:00:04.000 align:start\n<v Ann Lee>Hello <c.x>all</c></v>\n\n"
    "00:00:04.000 --> 00:00:06.000\n<v Bob>Hi Ann, by Friday then.</v>\n",
    "1\n00:00:01,000 --> 00:00:04,000\nAnn: hello\nthere\n\n2\n00:00:05,000 --> 00:00:06,000\nBob: hi\n",
    "0:00:01.000,0:00:04.000\nAnn: hello\n\n0:00:05.000,0:00:06.000\nBob: hi\n",
    "Ann Lee  0:01\nHello there everyone.\n\nBob Ray  0:12\nHi Ann.\n\nTranscribed by https://otter.ai\n",
    "# Sync\n\nDate: 2026-03-02\nParticipants: Ann, Bob\n\n**Ann** [00:00:01]: Hello _all_.\n\n### Bob\nHi, see [it](b).\n",
    "Title: Weekly\nDate: March 2, 2026\n\n[00:00:01] Ann: Hello.\nBob (00:05): Hi.\nand so on\n10:30 is fine\n",
    '14:03:22 From Ann Lee to Everyone:\n\tHello\n14:03:30 From Bob to Ann (Direct Message):\n\tReplying to "Hello"\n\nHi\n',
    '{"text": "Hi", "segments": [{"start": 0.5, "end": 2, "text": "Hi", "words": [{"word": "Hi", "start": 0.5}]}]}',
    '{"results": {"utterances": [{"start": 1, "end": 2, "transcript": "Hi", "speaker": 0, "words": []}], "channels": '
    '[{"alternatives": [{"transcript": "Hi", "words": [{"word": "hi", "speaker": 1, "start": 1, "end": 2}]}]}]}}',
    '{"audio_url": "x", "utterances": [{"speaker": "A", "text": "Hi", "start": 10, "end": 900, "words": []}]}',
    '[{"speaker": "Ann", "text": "Hello", "start": 1.5, "end": "00:00:02"}, "Hi", {"text": ""}]',
)

_KEYS: Final = [
    "text",
    "speaker",
    "start",
    "end",
    "words",
    "word",
    "segments",
    "results",
    "channels",
    "alternatives",
    "transcript",
    "utterances",
    "audio_url",
    "paragraphs",
    "sentences",
    "chunks",
    "timestamp",
    "transcription",
    "offsets",
    "from",
    "to",
    "turns",
    "messages",
    "name",
    "title",
    "date",
    "participants",
    "start_ms",
    "status",
    "error",
    "punctuated_word",
    "speaker_label",
    "content",
    "id",
    "display_name",
    "metadata",
    "start_time",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What one reader did: texts, seconds of processor time, the slowest text, the most memory, and its failures."""

    reader: str
    texts: int
    seconds: float
    slowest_s: float
    memory_mib: float
    failures: tuple[str, ...]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which options this drill takes."""
    parser.add_argument("--minutes", type=float, default=10, help="processor time of each reader (10)")
    parser.add_argument("--seed", type=int, default=1, help="of the first round of each reader (1)")
    parser.add_argument("--only", choices=sorted(READERS), nargs="+", help="these readers alone")
    parser.add_argument("--processes", type=int, default=1, help="readers at a time (1)")


def run(options: argparse.Namespace) -> Found:
    """Each reader for its minutes."""
    readers = options.only or list(READERS)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, mp_context=context, max_tasks_per_child=1) as pool:
        tried = []
        for each in pool.map(
            attempt, readers, [options.minutes * 60] * len(readers), [options.seed] * len(readers)
        ):
            print(f"{each.reader}: {each.texts:,} texts, {len(each.failures)} failures", file=sys.stderr)
            tried.append(each)
    failures = [f"{each.reader}: {failure}" for each in tried for failure in each.failures]
    return Found(
        settings={"seed": options.seed, "minutes": options.minutes, "readers": len(readers)},
        figures=[
            Figure(name="texts", value=sum(each.texts for each in tried)),
            Figure(name="failures", value=len(failures), must="= 0"),
            Figure(
                name="slowest text",
                value=round(max(each.slowest_s for each in tried), 3),
                unit="s",
                must=f"≤ {SLOWEST_S:g}",
            ),
            Figure(
                name="most memory",
                value=max(each.memory_mib for each in tried),
                unit="MiB",
                must=f"≤ {MOST_MEMORY_MIB}",
            ),
        ],
        tables=[
            Table(
                title="Each reader",
                header=("reader", "texts", "processor time, s", "slowest text, s", "memory, MiB"),
                rows=[
                    (t.reader, f"{t.texts:,}", f"{t.seconds:.0f}", f"{t.slowest_s:.3f}", f"{t.memory_mib:g}")
                    for t in tried
                ],
            )
        ],
        failures=failures,
    )


def attempt(reader: str, seconds: float, first_seed: int, slowest_s: float = SLOWEST_S) -> Tried:
    """The reader has read drawn texts for so many seconds of processor time, or has failed."""
    texts_of, read = READERS[reader]
    read_one = _Watched(read, slowest_s)
    before = _peak_mib()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    if limits[1] == resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_AS, (_address_space() + MOST_MEMORY_MIB * 2**20, limits[1]))
    faulthandler.register(signal.SIGPROF, chain=True)  # tells where it was, and then ends the process
    started = time.process_time()
    failures: list[str] = []
    number = first_seed
    while not failures and time.process_time() - started < seconds:
        try:
            _round(texts_of, read_one, number, min(300, 50 + 10 * int(seconds)))()
        except Exception:  # noqa: BLE001  whatever a reader raised is a finding
            told = traceback.format_exc(limit=-4)
            failures.append(f"seed {number}: {read_one.shown()}: {told.strip().splitlines()[-1]}\n{told}")
        number += 1
    signal.setitimer(signal.ITIMER_PROF, 0)
    resource.setrlimit(
        resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.getrlimit(resource.RLIMIT_AS)[1])
    )
    return Tried(
        reader=reader,
        texts=read_one.texts,
        seconds=time.process_time() - started,
        slowest_s=read_one.slowest_s,
        memory_mib=round(_peak_mib() - before, 1),
        failures=tuple(failures),
    )


class _Watched:
    """A reader that notes what it was given and how long it took, and is ended where it does not come back."""

    def __init__(self, read: Callable[[Any], None], limit_s: float) -> None:
        self._read = read
        self._limit_s = limit_s
        self._given: Any = None
        self.texts = 0
        self.slowest_s = 0.0

    def __call__(self, given_: Any) -> None:
        self._given = given_
        self.texts += 1
        signal.setitimer(signal.ITIMER_PROF, STUCK_S)
        started = time.process_time()
        self._read(given_)
        took = time.process_time() - started
        self.slowest_s = max(self.slowest_s, took)
        if took > self._limit_s:
            raise TimeoutError(f"{took:.1f} s")

    def shown(self) -> str:
        told = repr(self._given)
        return told if len(told) <= 600 else f"{told[:400]} … {told[-200:]} ({len(told)} characters)"


def _round(
    texts_of: st.SearchStrategy[Any], read: Callable[[Any], None], number: int, examples: int
) -> Callable[[], None]:
    @seed(number)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(texts_of)
    def read_all(given_: Any) -> None:
        read(given_)

    return read_all


def _peak_mib() -> float:
    """The most memory that this process had: its own figure (`getrusage` tells its parent's too)."""
    return status_kib("self", "VmHWM") / 1024


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


# --- texts ---------------------------------------------------------------------------------------------------


def _repeated(head: str, part: str, times: int, tail: str) -> str:
    return (head + part * min(times, LONGEST // max(1, len(part))) + tail)[:LONGEST]


def _mutated(text: str, cuts: Sequence[tuple[float, float]], put: str) -> str:
    for at, length in cuts:
        start = int(at * len(text))
        end = min(len(text), start + int(length * 40))
        text = text[:start] + put + text[end:]
    return text


_piece = st.sampled_from(_PIECES)
_some = st.lists(st.one_of(_piece, _piece, _piece, st.text(max_size=8)), max_size=25).map("".join)
_times = st.sampled_from([0, 1, 1, 1, 2, 7, 60, 2_000, LONGEST])
_share = st.floats(0, 1)
_file = st.builds(_mutated, st.sampled_from(_FILES), st.lists(st.tuples(_share, _share), max_size=6), _some)
TEXTS: Final = st.one_of(_some, _file, st.builds(_repeated, _some | _file, _some, _times, _some))

_scalar = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(0, 100_000),
    st.floats(),
    _some,
    st.sampled_from(["1e999", "00:00:01.5", "-3", 10**400, 1e308, "A", "0", "2026-03-02T10:00:00Z"]),
)
_json = st.recursive(
    _scalar,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5), st.dictionaries(st.sampled_from(_KEYS), inner, max_size=8)
    ),
    max_leaves=40,
)
JSON_TEXTS: Final = st.one_of(
    _json.map(json.dumps),
    st.builds(lambda entry, times: json.dumps([entry] * min(times, 1000)), _json, _times),
    _file,
    _some,
    st.builds(
        _repeated,
        st.sampled_from(["", "[", '{"segments": ']),
        st.sampled_from(["[", '{"a":', '"']),
        _times,
        _some,
    ),
)
BYTES: Final = st.one_of(
    st.binary(max_size=300),
    TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.builds(lambda text, encoding: text.encode(encoding, "replace"), _file, st.sampled_from(
        ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "cp1252"]
    )),
)  # fmt: skip
QUESTIONS: Final = st.one_of(_some, st.builds(_repeated, _some, _some, _times, _some)).map(
    lambda text: text[:1000]
)
DAYS: Final = st.one_of(st.none(), st.dates(), st.sampled_from([date.min, date.max, date(2024, 2, 29)]))


# --- readers -------------------------------------------------------------------------------------------------


def _transcript(format_: str | None) -> Callable[[str | bytes], None]:
    def read(raw: str | bytes) -> None:
        with contextlib.suppress(CofioError):
            _check(parse_transcript(raw, format=format_), len(raw))

    return read


def _check(transcript: Transcript, size: int) -> None:
    said = 0
    for utterance in transcript.utterances:
        said += len(utterance.text)
        assert utterance.text == clean_text(utterance.text), "text that is not clean"
        for moment in (utterance.start_s, utterance.end_s):
            assert moment is None or (math.isfinite(moment) and moment >= 0), f"a time of {moment}"
        assert all(0 <= offset <= len(utterance.text) for offset, _ in utterance.marks), "a mark outside"
    assert said <= 4 * size + 1000, f"{said} characters out of {size}"
    json.dumps([transcript.title, transcript.participants, transcript.warnings]).encode()
    cut = episodes(transcript)
    assert sum(len(episode.text) for episode in cut) <= said + len(cut)


def _memorised(given_: tuple[str, date | None]) -> None:
    text, day = given_
    try:
        transcript = parse_transcript(text)
    except CofioError:
        return
    said = episodes(transcript)[:300]
    ids = [named_id("episode", "fuzz", i) for i in range(len(said))]
    encoded = vectors(np.random.default_rng(1), len(said))[:, :SEMANTIC_DIMENSIONS]
    known = possible_keys(said)
    told = MeetingInput(title="Fuzz", transcript=text, date=day, participants=transcript.participants)
    memories = memorise(told, "fuzz", ids, said, encoded, known, ())
    for memory in (*memories.episodes, *memories.contexts):
        assert np.isfinite(memory.vector).all()
        assert abs(float(np.linalg.norm(memory.vector[:SEMANTIC_DIMENSIONS])) - 1) < 1e-3
        json.dumps(dict(memory.details))


def _question(given_: tuple[str, date | None]) -> None:
    text, day = given_
    ledger = _ledger()
    graph = ledger.graph(0)
    cue = read_cue(text, graph, scope(graph, Filters()))
    assert cue.text == plain_text(text)
    features = query_features(cue.text)
    assert np.isfinite(features).all()
    assert ((features >= 0) & (features <= 1)).all()
    for span in cue.dates:
        assert span.start <= span.end
        assert 0 <= date_match(day or date(2025, 6, 1), span) <= 1


_LEDGERS: Final[list[Ledger]] = []


def _ledger() -> Ledger:
    if not _LEDGERS:
        ledger = Ledger()
        ledger.add_meeting(meeting(1, 20, ledger.lexicons))
        _LEDGERS.append(ledger)
    return _LEDGERS[0]


def _deadline(given_: tuple[str, date | None]) -> None:
    due_date(*given_)


def _cleaned(text: str) -> None:
    once = clean_text(text)
    assert clean_text(once) == once
    assert plain_text(once) == once
    once.encode()


def _named(name: str) -> None:
    assert title_of(name)


READERS: Final[Mapping[str, tuple[st.SearchStrategy[Any], Callable[[Any], None]]]] = {
    **{name: (JSON_TEXTS if name.endswith("json") else TEXTS, _transcript(name)) for name in FORMATS},
    "any format": (TEXTS | JSON_TEXTS, _transcript(None)),
    "bytes": (BYTES, _transcript(None)),
    "clean": (TEXTS, _cleaned),
    "what a meeting becomes": (st.tuples(TEXTS, DAYS), _memorised),
    "questions": (st.tuples(QUESTIONS, DAYS), _question),
    "deadlines": (st.tuples(QUESTIONS, DAYS), _deadline),
    "file names": (_some, _named),
}
