"""Which words before a colon are people, judged by the whole file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from cofio.text.clean import clean_text
from cofio.text.terms import STOP_WORDS

_MAX_CHARACTERS: Final = 64
_MAX_WORDS: Final = 6

# Words that label a text and name nobody; a prefix made of these and of function words alone is no speaker.
_LABELS: Final = frozenset(
    [
        "absent",
        "action",
        "actions",
        "agenda",
        "answer",
        "answers",
        "anyway",
        "apologies",
        "attendees",
        "background",
        "basically",
        "blocker",
        "blockers",
        "caption",
        "caveat",
        "chapter",
        "chat",
        "conclusion",
        "context",
        "correction",
        "deadline",
        "decision",
        "decisions",
        "disclaimer",
        "draft",
        "due",
        "duration",
        "edit",
        "example",
        "examples",
        "fact",
        "facts",
        "feedback",
        "file",
        "finally",
        "first",
        "follow",
        "followup",
        "fyi",
        "ftp",
        "fwd",
        "goal",
        "goals",
        "highlights",
        "hint",
        "http",
        "https",
        "idea",
        "ideas",
        "important",
        "introduction",
        "invited",
        "issue",
        "issues",
        "item",
        "items",
        "key",
        "keywords",
        "kind",
        "language",
        "link",
        "links",
        "listen",
        "location",
        "look",
        "mailto",
        "main",
        "meaning",
        "meeting",
        "milestone",
        "minutes",
        "music",
        "namely",
        "nb",
        "next",
        "note",
        "notes",
        "option",
        "options",
        "outcome",
        "outcomes",
        "outline",
        "overview",
        "owner",
        "participants",
        "part",
        "ps",
        "point",
        "points",
        "poll",
        "present",
        "problem",
        "problems",
        "pros",
        "question",
        "questions",
        "quote",
        "re",
        "recap",
        "recorded",
        "recording",
        "reference",
        "references",
        "remember",
        "reminder",
        "result",
        "results",
        "risk",
        "risks",
        "scope",
        "second",
        "section",
        "see",
        "solution",
        "source",
        "sources",
        "speakers",
        "spoiler",
        "start",
        "status",
        "step",
        "steps",
        "subject",
        "summary",
        "task",
        "tasks",
        "third",
        "thread",
        "time",
        "tip",
        "title",
        "todo",
        "to-do",
        "topic",
        "topics",
        "total",
        "transcript",
        "transcription",
        "translation",
        "update",
        "updates",
        "up",
        "url",
        "version",
        "via",
        "warning",
        "website",
        "well",
        "www",
    ]
)
# Function words that are names too.
_NAMES_AMONG_STOP_WORDS: Final = frozenset({"will", "don", "ma"})
_PARTICLES: Final = frozenset(
    [
        "de",
        "da",
        "do",
        "dos",
        "das",
        "del",
        "della",
        "di",
        "du",
        "van",
        "von",
        "der",
        "den",
        "ten",
        "ter",
        "la",
        "le",
        "el",
        "al",
        "bin",
        "ibn",
        "ben",
        "of",
        "the",
        "and",
        "et",
        "y",
        "e",
        "zu",
        "af",
        "av",
    ]
)
_NUMBERED: Final = re.compile(
    r"(?:speaker|spk|guest|participant|interviewer|interviewee|unknown speaker|user|channel)[ _#-]?"
    r"(?:\d{1,4}|[A-Z])?",
    re.IGNORECASE,
)
_PHONE: Final = re.compile(r"\+?[\d*][\d* ()-]{5,20}")
_ASIDE: Final = re.compile(r"\s*[(\[][^()\[\]]{0,60}[)\]]\s*")
_FORBIDDEN: Final = re.compile(r"[?!;\"“”<>{}=…/\\^~`]|\.\.|--|://|, .*, .*,")
_STRAY_STOP: Final = re.compile(r"(?<![\s.])(?<!^.)[^\s.]{3,}\.(?:\s|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A prefix that may be a speaker. `weak` says that the place where it stands speaks against it."""

    name: str
    weak: bool = False


def split_prefix(line: str) -> tuple[str, str] | None:
    """`Name: text` as (`Name`, `text`) if what stands before the colon could be a name at all; else None."""
    window = line[: _MAX_CHARACTERS + 8]
    colon = min((at for at in (window.find(":"), window.find("：")) if at > 0), default=0)
    if not colon:
        return None
    following = line[colon + 1 : colon + 2]
    # "https://", "10:30", "std::vector": a colon inside a word ends no name.
    if following and not following.isspace() and line[colon] == ":":
        if not (following.isalpha() or following in "\"'“‘¿¡"):
            return None
        if not line[:1].isupper():
            return None
    name = tidy_name(line[:colon])
    if not could_name(name):
        return None
    return name, line[colon + 1 :].strip()


def tidy_name(raw: str) -> str:
    """A name as it is stored: cleaned, without the brackets, asterisks or dash around it."""
    name = clean_text(raw).strip(" \t*_`-–—>|•")
    if len(name) > 2 and (name[0], name[-1]) in {("[", "]"), ("(", ")"), ("<", ">")}:
        name = name[1:-1].strip()
    return name


def could_name(name: str) -> bool:
    """True if `name` has the shape of a name: short, no sentence, no label such as `Agenda`."""
    if not name or len(name) > _MAX_CHARACTERS:
        return False
    if _PHONE.fullmatch(name):
        return sum(character.isdigit() or character == "*" for character in name) >= 6
    if _NUMBERED.fullmatch(name):
        return True
    if name in ("Q", "A"):
        return True
    bare = _ASIDE.sub(" ", name).strip() or name
    if _FORBIDDEN.search(bare) or _STRAY_STOP.search(bare):
        return False
    words = [word for word in re.split(r"[\s,|&+·-]+", bare) if word]
    if not words or len(words) > _MAX_WORDS or not any(character.isalpha() for character in bare):
        return False
    lowered = [word.strip(".'’()[]").lower() for word in words]
    return not all(
        word in _LABELS or (word in STOP_WORDS and word not in _NAMES_AMONG_STOP_WORDS) or word.isdigit()
        for word in lowered
    )


def capitalised(name: str) -> bool:
    """True if every word of `name` but particles begins like a name, in scripts that have capitals."""
    if _NUMBERED.fullmatch(name) or _PHONE.fullmatch(name):
        return True
    words = re.findall(r"[^\W_][^\s,|&()\[\]]*", _ASIDE.sub(" ", name) or name)
    return bool(words) and all(
        not word[0].islower() or word in _PARTICLES or word[:2] in ("d'", "d’", "o'", "al") for word in words
    )


def choose_speakers(
    candidates: Sequence[Candidate], *, units: int, every: bool = False, listed: Collection[str] = ()
) -> frozenset[str]:
    """The candidates that name speakers in a file of `units` cues or paragraphs.

    `every` says that no unit lacks a candidate. A listed participant always is a speaker. A capitalised
    candidate is one if it recurs, or if the file is plainly one of named turns and it stands where a turn may
    begin. One in lower case must recur and stand for a fair share of the units, or be a single word in a file
    where every unit has a candidate: "nflaig: gm" in a chat.
    """
    counts = Counter(candidate.name for candidate in candidates)
    strong = {candidate.name for candidate in candidates if every or not candidate.weak}
    share = len(candidates) / max(1, units)
    # One lone prefix among many units is a figure of speech ("Budget: ten dollars"), two may be a dialogue.
    needed = 0.5 if len(counts) == 1 else 0.2
    known = {part for name in listed for part in (name.lower(), *name.lower().split()[:1])}
    return frozenset(
        name
        for name, count in counts.items()
        if name.lower() in known
        or _NUMBERED.fullmatch(name)
        or (
            _chosen_capitalised(name, count, name in strong and share >= needed)
            if capitalised(name)
            else _chosen_lower(name, count, units, share if name in strong else 0.0, every)
        )
    )


def _chosen_capitalised(name: str, count: int, likely: bool) -> bool:
    return count > 1 or (likely and name not in ("Q", "A"))


def _chosen_lower(name: str, count: int, units: int, share: float, every: bool) -> bool:
    words = name.split()
    if len(words) > 2 or any(word.lower() in STOP_WORDS for word in words):
        return False
    return (
        (count >= 3 and count >= 0.05 * units)
        or (count == 2 and share >= 0.5)
        or (every and share > 0 and len(words) == 1)
    )


def without_aside(name: str) -> str:
    """`name` without what stands in brackets after it: `Bob Ray (Acme)` is `Bob Ray`."""
    return _ASIDE.sub(" ", name).strip() or name


def distinct(names: Iterable[str | None]) -> tuple[str, ...]:
    """The names in order of first appearance, each once; two that differ in case only count as one."""
    seen: dict[str, str] = {}
    for name in names:
        if name:
            seen.setdefault(name.casefold(), name)
    return tuple(seen.values())
