"""Byte ranges: spans, pieces, missing parts, walks and `Range` headers."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camhd_access.ranges import ByteRange, Span, plan_spans, split_range

byte_ranges = st.builds(
    lambda start, n: ByteRange(start, start + n), st.integers(0, 10_000), st.integers(0, 500)
)


@pytest.mark.parametrize(
    ("wanted", "spans"),
    [
        ([], []),
        ([(5, 5)], []),
        ([(0, 10)], [(0, 10, (0,))]),
        ([(0, 10), (10, 20)], [(0, 20, (0, 1))]),
        ([(0, 10), (14, 20)], [(0, 20, (0, 1))]),
        ([(0, 10), (15, 20)], [(0, 10, (0,)), (15, 20, (1,))]),
        ([(15, 20), (0, 10)], [(0, 10, (1,)), (15, 20, (0,))]),
        ([(0, 10), (0, 10)], [(0, 10, (0, 1))]),  # both of two equal ranges are kept
        ([(0, 60), (60, 110)], [(0, 60, (0,)), (60, 110, (1,))]),  # 110 bytes would pass the limit of 100
        ([(0, 300), (10, 20)], [(0, 300, (0, 1))]),  # a range inside one that is too large alone
    ],
)
def test_spans_by_hand(wanted, spans):
    planned = plan_spans([ByteRange(*r) for r in wanted], max_gap_bytes=4, max_span_bytes=100)
    assert planned == [Span(*s) for s in spans]


@given(st.lists(byte_ranges, max_size=40), st.integers(0, 1000), st.integers(1, 5000))
def test_every_range_lies_in_exactly_one_span(wanted, max_gap, max_span):
    spans = plan_spans(wanted, max_gap_bytes=max_gap, max_span_bytes=max_span)
    covered = [i for span in spans for i in span.members]
    assert sorted(covered) == [i for i, r in enumerate(wanted) if r.n_bytes]
    for span in spans:
        inside = [wanted[i] for i in span.members]
        assert span.start == min(r.start for r in inside)
        assert span.stop == max(r.stop for r in inside)
        assert span.n_bytes <= max(max_span, *(r.n_bytes for r in inside))
        edge = span.start
        for r in sorted(inside):
            assert r.start - edge <= max_gap
            edge = max(edge, r.stop)


@pytest.mark.parametrize("wanted", [ByteRange(-1, 5), ByteRange(5, 4)])
def test_nonsense_is_refused(wanted):
    with pytest.raises(ValueError, match="not a byte range"):
        plan_spans([wanted], max_gap_bytes=0, max_span_bytes=1)


@given(byte_ranges, st.integers(1, 300))
def test_pieces_make_up_the_range(wanted, limit):
    pieces = split_range(wanted, max_request_bytes=limit)
    assert pieces[0].start == wanted.start
    assert pieces[-1].stop == wanted.stop
    assert all(a.stop == b.start for a, b in pairwise(pieces))
    assert max(p.n_bytes for p in pieces) <= limit
    assert max(p.n_bytes for p in pieces) - min(p.n_bytes for p in pieces) <= 1
