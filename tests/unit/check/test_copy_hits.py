"""Copy hits: of a pair the likeliest ways stay, of a picture the likeliest partners, however many come in."""

from __future__ import annotations

import numpy as np
import pytest

from lesion.check import copy_hits
from lesion.check.copy_hits import NUM_PARTNERS, NUM_TRIED, Hits, Way


def added(hits: Hits, pairs: list[tuple[int, int, float]], *, way: int) -> None:
    a_H, b_H, likeness_H = (np.array(each) for each in zip(*pairs, strict=True))
    hits.add(a_H, b_H, likeness_H.astype(np.float32), way=way)


def test_the_likeliest_ways_of_a_pair_come_first_whichever_picture_is_the_part():
    hits = Hits(9)
    for way, likeness in enumerate((0.90, 0.99, 0.87, 0.95)):
        added(hits, [(7, 2, likeness)] if way % 2 else [(2, 7, likeness)], way=8 * way + 3)
    assert list(hits.pairs()) == [[Way(7, 2, 1, 3), Way(7, 2, 3, 3), Way(2, 7, 0, 3)]]
    assert NUM_TRIED == 3


def test_a_picture_that_looks_like_all_others_keeps_its_likeliest_partners():
    """0 is like everyone, the more the higher their number; 1 is like nobody but 0, which none of the others is."""
    num = 3 * NUM_PARTNERS
    hits = Hits(num)
    added(hits, [(0, other, other / num) for other in range(1, num)], way=0)
    added(hits, [(first, first + 1, 1.0) for first in range(1, num - 1)], way=0)
    partners = {way.b for (way,) in hits.pairs() if way.a == 0}
    assert set(range(num - NUM_PARTNERS, num)) <= partners
    hits = Hits(num)
    added(hits, [(0, other, other / num) for other in range(1, num)], way=0)
    assert len(list(hits.pairs())) == num - 1  # each is among the partners of the other picture


@pytest.mark.parametrize("most", [10, 100])
def test_thinning_out_now_and_then_changes_no_pair_and_not_its_likeliest_way(most, monkeypatch):
    rng = np.random.default_rng(0)
    every, some = Hits(60), Hits(60)
    passes = []
    for way in range(40):
        a_H, b_H = rng.integers(0, 60, (2, 50))
        passes.append((a_H[a_H != b_H], b_H[a_H != b_H], rng.random((a_H != b_H).sum(), np.float32), way))
    for a_H, b_H, likeness_H, way in passes:
        every.add(a_H, b_H, likeness_H, way=way)
    whole = [ways[0] for ways in every.pairs()]
    monkeypatch.setattr(copy_hits, "MAX_HITS", most)
    for a_H, b_H, likeness_H, way in passes:
        some.add(a_H, b_H, likeness_H, way=way)
    assert [ways[0] for ways in some.pairs()] == whole and len(whole) > 500


def test_pictures_without_any_likeness_have_no_pairs():
    assert list(Hits(3).pairs()) == []
