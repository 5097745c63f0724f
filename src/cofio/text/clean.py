"""Text without markup, hidden characters and stray white space."""

from __future__ import annotations

import html
import re
import unicodedata
from typing import Final

import bleach

# Only tags that HTML knows are markup. Anything else after `<` is what somebody said: "a < b", "<3", "if x<y".
_BLOCK_TAGS: Final = (
    "address article blockquote br dd div dl dt footer h1 h2 h3 h4 h5 h6 header hr li main ol pre p section "
    "table tbody td tfoot th thead tr ul"
)
_INLINE_TAGS: Final = (
    "abbr audio body button cite code del details em embed font form head html iframe img input ins kbd label "
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
_MARKUP: Final = re.compile(r"<[/!A-Za-z]")
_ENTITY: Final = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_SPACE: Final = re.compile(r"\s+")

# Invisible characters: soft hyphen, zero-width and bidirectional marks, invisible operators, byte-order mark,
# interlinear anchors, surrogates, non-characters; and the three private characters that stand in below.
_LESS: Final = "\ue000"
_AMPERSAND: Final = "\ue001"
_OPENING: Final = "\ue002"
_HIDDEN: Final = re.compile(
    "[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\ufffe\uffff"
    f"{_LESS}{_AMPERSAND}{_OPENING}]"
)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")

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
    return _plain(text)


def _pass(text: str) -> str:
    text = _plain(text)
    if "&" in text:
        text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
    if _MARKUP.search(text):
        text = _without_tags(text)
    return _plain(text)


def _plain(text: str) -> str:
    if text.isascii() and text.isprintable():
        return " ".join(text.split()) if "  " in text or text[:1] == " " or text[-1:] == " " else text
    text = unicodedata.normalize("NFC", _CONTROL.sub("", _HIDDEN.sub("", text)))
    return _SPACE.sub(" ", text).strip()


def _without_tags(text: str) -> str:
    text = _BARE_INLINE.sub("", _without_comments(text))
    if not _TAG.search(text):
        return text
    # bleach would take "x<y and z" for a tag and spends long on `&`, so it is shown real tags only.
    text = text.replace("&", _AMPERSAND)
    text = _TAG.sub(lambda match: _OPENING + match[0][1:], text)
    text = text.replace("<", _LESS).replace(_OPENING, "<")
    text = bleach.clean(_BLOCK.sub(r" \1", text), tags=frozenset(), attributes={}, strip=True)
    return html.unescape(text).replace(_LESS, "<").replace(_AMPERSAND, "&")


def _without_comments(text: str) -> str:
    kept = []
    position = 0
    while (start := text.find("<!--", position)) >= 0 and (end := text.find("-->", start + 4)) >= 0:
        kept.append(text[position:start])
        position = end + 3
    kept.append(text[position:])
    return " ".join(kept) if position else text
