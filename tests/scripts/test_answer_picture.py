"""The picture in the README is of what the sample meetings still answer."""

from __future__ import annotations

import html
import re

import httpx
from conftest import ROOT

QUESTION = "Did we ever get our money back from Grimvik?"


def test_the_picture_shows_the_question_and_its_best_answer(service: httpx.Client) -> None:
    svg = (ROOT / "docs" / "answer.svg").read_text(encoding="utf-8")
    drawn = html.unescape(" ".join(re.findall(r"<text[^>]*>(.*?)</text>", svg))).replace("\xa0", " ")
    shown = "".join(drawn.split())
    answer = service.post("/api/v2/query", json={"query": QUESTION}).json()
    best = answer["direct_results"]["L2"][0]["content"]
    assert "".join(QUESTION.split()) in shown
    assert "".join(best.split()) in shown
