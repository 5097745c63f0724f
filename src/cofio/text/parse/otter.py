"""Otter's text export, and Teams' copied transcript: a line `Name  0:12`, its text below."""

from __future__ import annotations

import re
from typing import Final

from cofio.text.parse.markdown import without_emphasis
from cofio.text.parse.named import read_plain
from cofio.text.parse.reading import Reading
from cofio.text.parse.times import CLOCK

# A name, two spaces or a tab or bold marks or one space, and nothing after the time.
NAME_AND_TIME: Final = re.compile(
    rf"(?:\*\*)?(?P<name>[^\W_][^:*\n]{{0,63}}?)(?:\*\*)?\s{{1,8}}[\[(]?{CLOCK}[\])]?\s{{0,4}}"
)


def read_otter(text: str) -> Reading:
    """The turns of an Otter export. Its keywords and its footer are left out, its list of speakers is kept."""
    lines = []
    for line in text.split("\n"):
        stripped = line.strip()
        heading = NAME_AND_TIME.fullmatch(stripped[:200])
        lines.append(stripped.replace("**", "") if heading else without_emphasis(stripped))
    return read_plain("\n".join(lines))
