"""Text without markup, hidden characters and stray white space."""

from __future__ import annotations

import html
import re
import unicodedata
from typing import Final

import nh3
import re2

# Only tags that HTML knows are markup. Anything else after `<` is what somebody said: "a < b", "<3", "if x<y".
_BLOCK_TAGS: Final = (
    "address article blockquote br dd div dl dt footer form h1 h2 h3 h4 h5 h6 header hr li main ol pre p section "
    "table tbody td tfoot th thead tr ul"
)
_INLINE_TAGS: Final = (
    "abbr audio body button cite code del details em embed font head html iframe img input ins kbd label "
    "link mark meta object script small span strike strong style sub sup summary svg textarea time title tt "
    "var video"
)
_LONG_NAMES: Final = "|".join(name for name in f"{_BLOCK_TAGS} {_INLINE_TAGS}".split() if len(name) > 1)

_BARE_INLINE: Final = re.compile(r"</?(?:b|i|u|s|em|strong|span|font)>", re.IGNORECASE)
_BLOCK: Final = re.compile(rf"(</?(?:{'|'.join(_BLOCK_TAGS.split())})(?=[\s/>]))", re.IGNORECASE)
# A tag of one letter with attributes must show a `=`: "if x <b and y> c" is arithmetic.
_TAG: Final = re.compile(
    rf"</?(?:(?:{_LONG_NAMES})(?=[\s/>])[^<>]{{0,500}}|[abipqsu]\s?/?|[abipqsu]\s[^<>=]{{0,200}}=[^<>]{{0,500}})>",
    re.IGNORECASE,
)
_NAME: Final = re.compile(r"<(/?)[A-Za-z][A-Za-z0-9]*")
_MARKUP: Final = re.compile(r"<[/!A-Za-z]")
_ENTITY: Final = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_SPACE: Final = re.compile(r"\s+")

# Invisible characters, which make what is read differ from what is stored: soft hyphen, grapheme joiner, fillers,
# zero-width and bidirectional marks, invisible operators, byte-order mark, interlinear anchors, surrogates,
# non-characters, tags and the selectors of variants; and the three private characters that stand in below.
_LESS: Final = "\ue000"
_AMPERSAND: Final = "\ue001"
_OPENING: Final = "\ue002"
_UNSEEN: Final = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    f"\ufdd0-\ufdef\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U000e0000-\U000e0fff{_LESS}{_AMPERSAND}{_OPENING}"
)
_CONTROLS: Final = r"\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f"
_HIDDEN: Final = re.compile(f"[{_UNSEEN}\ud800-\udfff]")
_CONTROL: Final = re.compile(f"[{_CONTROLS}]")
# No script puts more marks on a letter (Unicode calls such text stream-safe), and bringing n of them into their order
# takes n² steps.
_MOST_MARKS: Final = 30
_MANY_MARKS: Final = re2.compile(rf"(\pM{{{_MOST_MARKS}}})\pM+")
# What a text must have for anything to be left of it, as a pattern for schemas.
VISIBLE: Final = rf"[^\s{_CONTROLS}\x1c-\x1f\x85{_UNSEEN}]"

# Text that was escaped twice needs two passes. What still changes after four was made to; its markup
# characters are dropped, so that the cost stays linear and a second call changes nothing.
_MAX_PASSES: Final = 4


def clean_text(text: str) -> str:
    """`text` as a reader sees it: no HTML, no entities, no hidden characters, one space between words, NFC.

    The text inside tags is kept, and so are `a < b`, `<3` and `R&D`. Cleaning clean text changes nothing.
    """
    for _ in range(_MAX_PASSES):
        cleaned = _pass(text)
        if cleaned == text:
            return cleaned
        text = cleaned
    if "<" in text or "&" in text:
        text = text.replace("<", " ").replace("&", " ")
    return plain_text(text)


def _pass(text: str) -> str:
    text = shown = plain_text(text)
    if "&" in shown:
        shown = _ENTITY.sub(lambda match: html.unescape(match[0]), shown)
    if _MARKUP.search(shown):
        shown = _without_tags(shown)
    return text if shown is text else plain_text(shown)


def plain_text(text: str) -> str:
    """`text` without control characters and what cannot be seen, one space between words, NFC; markup is left as it is.

    For names, ids and questions. A lone surrogate, a NUL or a mark that turns the direction of reading does not remain.
    """
    if text.isascii() and text.isprintable():
        return " ".join(text.split()) if "  " in text or text[:1] == " " or text[-1:] == " " else text
    text = _CONTROL.sub("", _HIDDEN.sub("", text))
    if len(text) > _MOST_MARKS:
        text = _MANY_MARKS.sub(r"\1", text)
    text = unicodedata.normalize("NFC", text)
    return _SPACE.sub(" ", text).strip()


def folded(text: str) -> str:
    """What texts have in common that a reader takes for the same: cleaned, and without the difference of capitals."""
    return clean_text(text).casefold()


def _without_tags(text: str) -> str:
    text = _BARE_INLINE.sub("", _without_comments(text))
    if not _TAG.search(text):
        return text
    # bleach would take "x<y and z" for a tag and spends long on `&`, so it is shown real tags only.
    text = text.replace("&", _AMPERSAND)
    text = _TAG.sub(lambda match: _OPENING + match[0][1:], text)
    text = text.replace("<", _LESS).replace(_OPENING, "<")
    # As spans, the tags lose what HTML knows of them: it would drop the text of <svg>, and move that of <table>.
    text = _NAME.sub(r"<\1span", _BLOCK.sub(r" \1", text))
    text = nh3.clean(text, tags=set(), clean_content_tags=set())
    return html.unescape(text).replace(_LESS, "<").replace(_AMPERSAND, "&")


def _without_comments(text: str) -> str:
    kept = []
    position = 0
    while (start := text.find("<!--", position)) >= 0 and (end := text.find("-->", start + 4)) >= 0:
        kept.append(text[position:start])
        position = end + 3
    kept.append(text[position:])
    return " ".join(kept) if position else text
