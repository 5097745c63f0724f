from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cofio.text.clean import VISIBLE, clean_text, plain_text


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("a < b", "a < b"),
        ("I <3 it", "I <3 it"),
        ("if x<y and z>1", "if x<y and z>1"),
        ("if x <b and y> c", "if x <b and y> c"),
        ("List<String> is <T>", "List<String> is <T>"),
        ("R&D, AT&T, ?a=1&copy=2", "R&D, AT&T, ?a=1&copy=2"),
        ("Today we&#39;re &lt;3 &amp; ok", "Today we're <3 & ok"),
        ("twice &amp;amp; escaped", "twice & escaped"),
        ("<i>Hi</i> <font color='#fff'>red</font>", "Hi red"),
        ('see <a href="https://x.org/?a=1&b=2">this</a>', "see this"),
        ("one<br>two<p>three</p>", "one two three"),
        ("a <!-- hidden --> b", "a b"),
        ("a <!-- never closed", "a <!-- never closed"),
        ("a\u200bb\u202ec\ufeff\x07d", "abcd"),
        ("soft\u00adhyphen", "softhyphen"),
        (" a \t b\n\nc\u00a0d ", "a b c d"),
        ("e\u0301", "é"),
        ("\ud800lone", "lone"),
        ("<svg>seen</svg> <textarea>a<b>b</b></textarea> <title>kept", "seen ab kept"),
        ("<table>one<tr><td>two</td></tr>three</table>", "one two three"),
        ("<a href='x>y'>link</a>", "link"),
        ("hid\U000e0041\U000e007fden \u2066left\u2069 \u3164fill\u115fer", "hidden left filler"),
        ("\U0001f3f4\u200d\u2620\ufe0f", "\U0001f3f4\u2620\ufe0f"),
        ("", ""),
    ],
)
def test_reads_as_a_reader_sees_it(dirty: str, clean: str) -> None:
    assert clean_text(dirty) == clean


MARKUP = st.lists(
    st.sampled_from(
        ["<", ">", "&", ";", "amp;", "lt;", "#60;", "b", "/", "<b>", "</p>", "<br", "<!--", "-->", " ", "\u200b",
         "a href='", "=", "\u0301", "\u0338", "e", "\n", "script", "&nbsp;", "\ue000", "\ue001", "\x00"]
    ),
    max_size=30,
).map("".join)  # fmt: skip


@given(st.one_of(st.text(), MARKUP))
def test_cleaning_clean_text_changes_nothing(text: str) -> None:
    once = clean_text(text)
    assert clean_text(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert once == " ".join(once.split())


# The fillers of Hangul are letters to Unicode, and nobody sees them.
FILLERS = "\u115f\u1160\u3164\uffa0"


@given(st.text(alphabet=st.characters(categories=["L", "N"], exclude_characters=FILLERS), max_size=50))
def test_letters_and_digits_are_kept(text: str) -> None:
    assert clean_text(text) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize(
    "piece", ["<", "<b ", "<b>", "&", "&amp;", "&amp;amp;", "<!--", "&#38;", "<a href=", "\u0301\u0323"]
)
@pytest.mark.timeout(60)  # what is not linear takes hours
def test_time_is_linear(piece: str) -> None:
    text = piece * (300_000 // len(piece))
    clean_text(text)
    clean_text("".join(sorted(text)))


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ("<b>not markup</b> &amp; kept", "<b>not markup</b> &amp; kept"),
        (" two\r\nlines\x00\x1b[31m ", "two lines[31m"),
        ("e\u0301\u202e\ud800\u200b", "é"),
        ("\u2060\u00ad", ""),
    ],
)
def test_plain_text_keeps_what_can_be_seen(given: str, plain: str) -> None:
    assert plain_text(given) == plain
    assert plain_text(plain) == plain


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=3))
def test_what_schemas_call_visible_is_what_remains(text: str) -> None:
    assert bool(re.search(VISIBLE, text)) == bool(plain_text(text))
