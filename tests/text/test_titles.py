"""Titles, and the names in running text that may be one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cofio.text.titles import bare_title, names, title_key


@pytest.mark.parametrize(
    ("title", "bare"),
    [("Mercury (planet)", "Mercury"), ("Mercury", "Mercury"), ("(untitled)", "(untitled)"), ("", "")],
)
def test_a_qualification_in_brackets_is_no_part_of_the_name(title: str, bare: str) -> None:
    assert bare_title(title) == bare


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("It was directed by Mara Lindqvist in 1974.", "Mara Lindqvist"),
        ("The river joins Mara Lindqvist's garden.", "Mara Lindqvist"),
        ("He wrote The Lord of the Rings there.", "The Lord of the Rings"),
        ("They met in Rauma, a town.", "Rauma (town)"),
        ("The 1974 film.", "1974"),
        ("He liked Dr. Strangelove best.", "Dr. Strangelove"),
        ("It was written by J. R. R. Tolkien in Oxford.", "J. R. R. Tolkien"),
        ("Then came Star Wars: A New Hope in 1977.", "Star Wars: A New Hope"),
        ("She showed us her iPhone again.", "iPhone"),
    ],
)
def test_a_text_names_a_title_as_it_is_written(text: str, title: str) -> None:
    assert title_key("p", title) in names("p", text)
    assert title_key("another project", title) not in names("p", text)


@pytest.mark.parametrize("word", ["The", "Who", "It", "In the"])
def test_stop_words_name_nothing(word: str) -> None:
    assert not names("p", f"{word} 's")


@pytest.mark.parametrize("text", ["a red kiln stood there", "Red. Kiln", "Red (Kiln)"])
def test_what_is_not_written_as_one_name_is_none(text: str) -> None:
    assert title_key("p", "Red Kiln") not in names("p", text)


@given(st.text(max_size=200))
def test_every_name_is_found_again_by_its_key(text: str) -> None:
    for key, name in names("p", text).items():
        assert title_key("p", name) == key
        assert 0 <= key < 2**63
