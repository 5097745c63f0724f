"""What may enter the index: everything else is refused before an engine sees it."""

import uuid
from datetime import date
from enum import StrEnum

import numpy as np
import pytest

from cofio.errors import InvalidInput
from cofio.records import Filters, Level, MemoryType
from cofio.store.vectors import (
    COLLECTIONS,
    FEATURE_SCALE,
    Conditions,
    Keywords,
    Payload,
    Point,
    check_ids,
    checked_limits,
    checked_points,
    checked_query,
    chunks,
    conditions,
)

ID = "0b6bb27c-6b3b-5f0e-8e0c-1f2a3b4c5d6e"


def vector(first: float = 1.0, feature: float = 0.5) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    made = np.zeros(400, dtype=np.float32)
    made[0], made[384:] = first, feature
    return made


def point(
    value: np.ndarray[tuple[int, ...], np.dtype[np.float32]] | None = None,
    memory_id: str = ID,
    payload: Payload | None = None,
) -> Point:
    return Point(
        memory_id=memory_id,
        vector=vector() if value is None else value,
        payload=payload or Payload(project="p"),
    )


def test_every_level_has_its_own_collection() -> None:
    assert list(COLLECTIONS) == list(Level)
    assert list(COLLECTIONS.values()) == ["cofio_l0_concepts", "cofio_l1_contexts", "cofio_l2_episodes"]


def test_points_become_columns() -> None:
    other = str(uuid.uuid4())
    batch = checked_points([point(), point(vector(feature=0.25), other, Payload(date_ordinal=5))])
    assert batch.ids == (ID, other)
    assert batch.vectors.shape == (2, 400)
    assert batch.vectors.dtype == np.float32
    assert batch.vectors[1, 399] == 0.25 * FEATURE_SCALE
    assert batch.payloads == ({"project": "p"}, {"date_ordinal": 5})


def test_the_last_point_of_an_id_counts() -> None:
    batch = checked_points([point(vector(feature=0.1)), point(vector(feature=0.2))])
    assert batch.ids == (ID,)
    assert batch.vectors[0, 390] == np.float32(0.2) * np.float32(FEATURE_SCALE)


def test_no_points_are_an_empty_batch() -> None:
    assert checked_points([]).vectors.shape == (0, 400)


def test_chunks_keep_every_row_in_order() -> None:
    batch = checked_points([point(memory_id=str(uuid.uuid4())) for _ in range(7)])
    parts = list(chunks(batch, 3))
    assert [len(part.ids) for part in parts] == [3, 3, 1]
    assert sum((part.ids for part in parts), ()) == batch.ids
    assert np.array_equal(np.concatenate([part.vectors for part in parts]), batch.vectors)


@pytest.mark.parametrize(
    "wrong",
    [
        vector()[:399],
        vector().reshape(1, 400),
        vector().astype(np.float64),
        vector(first=np.nan),
        vector(first=np.inf),
        vector(feature=np.nan),
        vector(first=0.0),
        vector(first=1.002),
        vector(first=0.998),
        vector(feature=1.01),
        vector(feature=-0.01),
    ],
)
def test_a_vector_that_breaks_a_rule_refuses_the_whole_batch(
    wrong: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
) -> None:
    with pytest.raises(InvalidInput, match=ID):
        checked_points([point(memory_id=str(uuid.uuid4())), point(wrong)])


def test_a_list_is_no_vector() -> None:
    with pytest.raises(InvalidInput):
        checked_points([point([1.0] * 400)])  # type: ignore[arg-type]


def test_a_norm_within_rounding_is_fine() -> None:
    assert checked_points([point(vector(first=1.0005))]).ids == (ID,)


@pytest.mark.parametrize("wrong", ["mem-1", "", ID.upper(), ID.replace("-", ""), "{" + ID + "}", None, 7])
def test_an_id_that_is_no_canonical_uuid_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidInput):
        check_ids([ID, wrong])
    with pytest.raises(InvalidInput):
        checked_points([point(memory_id=wrong)])


class Colour(StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (None, None),
        ("", None),
        ([], None),
        ("a", "a"),
        (["a", "b"], ["a", "b"]),
        (("a",), ["a"]),
        (Colour.RED, "red"),
    ],
)
def test_keywords_are_one_or_many_plain_strings(given: Keywords | None, stored: object) -> None:
    (fields,) = checked_points([point(payload=Payload(speaker=given))]).payloads
    assert fields.get("speaker") == stored
    assert type(fields.get("speaker")) in (str, list, type(None))


@pytest.mark.parametrize(
    "payload",
    [
        Payload(speaker="\ud800"),
        Payload(speaker=["fine", "\ud800"]),
        Payload(series=[1]),  # type: ignore[list-item]
        Payload(date_ordinal=1.5),  # type: ignore[arg-type]
        Payload(date_ordinal=[738000, True]),
        Payload(date_ordinal=np.int64(3)),  # type: ignore[arg-type]
    ],
)
def test_a_payload_that_an_engine_could_not_take_is_refused(payload: Payload) -> None:
    with pytest.raises(InvalidInput):
        checked_points([point(payload=payload)])


def test_a_query_is_unit_and_may_carry_any_finite_weights() -> None:
    steered = vector(feature=-3.0)
    checked = checked_query(steered)
    assert np.array_equal(checked[:384], steered[:384])
    assert np.array_equal(checked[384:], steered[384:] / np.float32(FEATURE_SCALE))


def test_scaling_leaves_products_as_they_are_to_the_bit() -> None:
    rng = np.random.default_rng(3)
    stored, asked = vector(), vector()
    stored[384:] = rng.random(16, dtype=np.float32)
    asked[384:] = rng.normal(size=16).astype(np.float32)
    batch = checked_points([point(stored)])
    assert np.array_equal(batch.vectors[0] * checked_query(asked), stored * asked)
    assert stored[384:].max() > FEATURE_SCALE, "the caller's own vector is left alone"


@pytest.mark.parametrize(
    "wrong",
    [
        vector()[:384],
        vector().astype(np.float64),
        vector(first=np.nan),
        vector(feature=np.inf),
        vector(feature=1e38),
        vector(first=0.0),
    ],
)
def test_a_query_vector_that_breaks_a_rule_is_refused(
    wrong: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
) -> None:
    with pytest.raises(InvalidInput):
        checked_query(wrong)


def test_limits_come_in_the_order_of_the_levels() -> None:
    assert list(checked_limits({Level.EPISODE: 3, Level.CONCEPT: 1})) == [Level.CONCEPT, Level.EPISODE]
    with pytest.raises(InvalidInput, match="L1"):
        checked_limits({Level.CONTEXT: 0})


def test_filters_become_conditions_and_levels_are_left_out() -> None:
    filters = Filters(
        speaker=("Ana", "Ben"),
        memory_type=(MemoryType.ACTION,),
        level=(Level.EPISODE,),
        date_from=date(2024, 3, 1),
    )
    assert conditions(filters) == Conditions(
        keywords=(("speaker", ("Ana", "Ben")), ("memory_type", ("action",))),
        first=date(2024, 3, 1).toordinal(),
        last=None,
    )
    with pytest.raises(InvalidInput):
        conditions(Filters(project=("\ud800",)))
