"""One pass over a text finds exactly the patterns that searching for each would find."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cofio.text import date_words, deadlines, features, types
from cofio.text.pattern_set import PatternSet, without_lookarounds

SHARED: Final = Path(__file__).parents[2] / "../shared/eval"
TABLES: Final = {
    "types": ([*types._RULES, *types.SIGNS.values(), types.EXPLICIT_DECISION], types._ALL),
    "deadlines": ([pattern for pattern, _ in deadlines._RULES], deadlines._ANY_RULE),
    "a day": ([deadlines._GATE], deadlines._MAY_NAME_A_DAY),
    "shapes": ([features._NUMBER, features._SHOUTED], features._SHAPES),
    "spelled days": ([date_words._SPELLED_DAY], date_words._ANY_SPELLED_DAY),
}
# The words that the tables are made of, so that made-up texts come near to what the patterns look for.
WORDS: Final = sorted(
    {
        word
        for patterns, _ in TABLES.values()
        for p in patterns
        for word in re.findall(r"[A-Za-z']{2,}", p.pattern)
    }
)
GAPS: Final = st.sampled_from(
    [" ", " ", " ", ", ", ". ", "? ", "-", "'", "\t", "\x1c", "\n", "’", "…", " — ", "“", "~", ""]
)
PIECES: Final = st.one_of(
    st.sampled_from(WORDS),
    st.sampled_from(WORDS).map(str.title),
    st.from_regex(r"\A[0-9/.:-]{1,10}\Z"),
    st.text(max_size=4),
)
TEXTS: Final = st.lists(st.tuples(PIECES, GAPS), max_size=14).map(
    lambda parts: "".join(w + g for w, g in parts)
)


def one_by_one(patterns: list[re.Pattern[str]], text: str) -> frozenset[int]:
    return frozenset(i for i, pattern in enumerate(patterns) if pattern.search(text))


@pytest.mark.parametrize("table", TABLES)
@given(text=TEXTS)
def test_made_up_texts(table: str, text: str) -> None:
    patterns, together = TABLES[table]
    for said in (text, text.lower()):
        assert together.matching(said) == one_by_one(patterns, said)


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/eval is not here: no real meetings to read")
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("name", ["qmsum", "ami_icsi", "ethpm"])
def test_real_texts(table: str, name: str) -> None:
    patterns, together = TABLES[table]
    with gzip.open(SHARED / name / "meetings.jsonl.gz", "rt", encoding="utf-8") as lines:
        meetings = [json.loads(line) for line, _ in zip(lines, range(2), strict=False)]
    for turn in (turn for meeting in meetings for turn in meeting["turns"]):
        assert together.matching(turn["text"]) == one_by_one(patterns, turn["text"])


@pytest.mark.parametrize(
    ("pattern", "rest"),
    [
        (r"a(?!b)c", "ac"),
        (r"(?<=\))(?:x(?=y(?:z|[)])))?", "(?:x)?"),
        (r"[](](?!a)[^]]", "[](][^]]"),
        (r"\((?P<n>a)(?<!\()", r"\((?P<n>a)"),
        (r"(?-i:A)(?i:b)", "(?-i:A)(?i:b)"),
    ],
)
def test_lookarounds_are_left_out(pattern: str, rest: str) -> None:
    assert without_lookarounds(pattern) == rest


def test_what_stands_around_still_counts() -> None:
    agreed = PatternSet([re.compile(r"agreed(?! with)", re.IGNORECASE), re.compile(r"with $", re.VERBOSE)])
    assert agreed.matching("Agreed to go with") == {0, 1}
    assert agreed.matching("agreed with all") == frozenset()
    assert agreed.matching("agreed with\n") == {1}
    assert PatternSet([]).matching("anything") == frozenset()


def test_a_comment_in_a_pattern_is_refused() -> None:
    with pytest.raises(ValueError, match="comments"):
        PatternSet([re.compile("a # b", re.VERBOSE)])


def test_a_mark_that_a_pattern_names_is_told_from_others() -> None:
    marks = PatternSet([re.compile("a[…]b"), re.compile(r"a\Wb")])
    assert marks.matching("a…b") == {0, 1}
    assert marks.matching("a—b") == {1}
