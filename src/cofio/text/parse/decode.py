"""Bytes become text."""

from __future__ import annotations

import codecs
import re
from typing import Final

from cofio.text.parse.reading import unreadable

_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark is the beginning of this one
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_KNOWN_FILES: Final = (
    (b"PK\x03\x04", "a zip archive or an Office document"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "an image"),
    (b"RIFF", "an audio file"),
    (b"ID3", "an audio file"),
    (b"OggS", "an audio file"),
    (b"\xd0\xcf\x11\xe0", "an old Office document"),
)
_CONTROLS: Final = re.compile("[\x00-\x08\x0e-\x1f\x7f\ufffd]")
_MAX_CONTROLS: Final = 0.02
_NEWLINE: Final = re.compile("\r\n?|\x85|\u2028|\u2029")


def decode(raw: str | bytes) -> tuple[str, list[str]]:
    """`raw` as text with `\\n` between its lines and without a byte-order mark, and warnings.

    Bytes are UTF-8, or what their byte-order mark says; others are read leniently, with a warning. Raises
    UnreadableTranscript for bytes that are no text.
    """
    warnings: list[str] = []
    text = raw if isinstance(raw, str) else _text_of(raw, warnings)
    if len(_CONTROLS.findall(text)) > _MAX_CONTROLS * len(text):
        raise unreadable(
            "This is not text: it is full of control characters. Export the transcript as text, WebVTT, SRT or JSON."
        )
    return unified(text), warnings


def unified(text: str) -> str:
    """`text` as the readers are given it: `\\n` between its lines, no byte-order mark, no null."""
    return _NEWLINE.sub("\n", text.removeprefix("\ufeff")).replace("\x00", "")


def _text_of(raw: bytes, warnings: list[str]) -> str:
    for magic, what in _KNOWN_FILES:
        if raw.startswith(magic):
            raise unreadable(
                f"This is {what}, not a transcript. Export the transcript as text, WebVTT, SRT or JSON."
            )
    for bom, encoding in _BOMS:
        if raw.startswith(bom):
            return _lenient(raw[len(bom) :], encoding, warnings)
    half = raw[:4096]
    if half.count(0) > len(half) // 4:
        # UTF-16 of European text without its mark: every other byte is zero.
        big = half[0::2].count(0) > half[1::2].count(0)
        encoding = "utf-16-be" if big else "utf-16-le"
        warnings.append(f"no byte-order mark; read as {encoding.upper()}")
        return _lenient(raw, encoding, warnings)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        good = raw.decode("utf-8", "ignore")
        if len(raw) - len(good.encode()) <= len(raw) // 1000 + 1 and not good.isascii():
            warnings.append(f"line {line}: bytes that are not UTF-8 were replaced")
            return raw.decode("utf-8", "replace")
        warnings.append(f"line {line}: not UTF-8; read as Windows-1252")
        return raw.decode("cp1252", "replace")


def _lenient(raw: bytes, encoding: str, warnings: list[str]) -> str:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        warnings.append(f"byte {error.start}: not {encoding.upper()}; the bad bytes were replaced")
        return raw.decode(encoding, "replace")
