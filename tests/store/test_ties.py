"""Equal scores are cut by id, whatever order the engine gives them in."""

from cofio.store.ties import DECIMALS, MOST, cut, settled


def test_best_come_first_and_ties_are_ordered_by_id() -> None:
    assert cut([("c", 0.5), ("b", 0.5), ("a", 0.1), ("d", 0.9)], 3) == [("d", 0.9), ("b", 0.5), ("c", 0.5)]


def test_noise_beyond_the_sixth_decimal_does_not_order_hits() -> None:
    noise = 10.0 ** -(DECIMALS + 2)
    assert [memory_id for memory_id, _ in cut([("b", 0.5 + noise), ("a", 0.5)], 2)] == ["a", "b"]


def test_a_cut_inside_a_run_of_ties_is_not_settled_until_the_run_ends() -> None:
    assert not settled([0.9, 0.5, 0.5, 0.5], limit=2, asked=4)
    assert settled([0.9, 0.5, 0.5, 0.4], limit=2, asked=4)
    assert settled([0.9, 0.8, 0.5, 0.5], limit=2, asked=4)


def test_the_cut_is_settled_when_nothing_more_can_come() -> None:
    assert settled([0.5, 0.5, 0.5], limit=2, asked=4)
    assert settled([], limit=2, asked=4)
    assert settled([0.5] * MOST, limit=2, asked=MOST)
