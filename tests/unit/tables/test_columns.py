"""The kernels that make columns, and what they refuse."""

from __future__ import annotations

import itertools
import random
import struct
from typing import Any

import numpy as np
import pytest

from dbnfast._core import columns as core
from dbnfast._core.columns import (
    ColumnPlan,
    label_bytes,
    label_offsets,
    label_sizes,
    text_bytes,
    text_offsets,
)
from dbnfast._core.copy import select
from dbnfast._core.scan import span
from dbnfast._util import threads
from dbnfast.layouts.programs import INDEX_TS_AT, SIZES
from dbnfast.tables import columns
from dbnfast.tables.columns import (
    FLOAT,
    IN_RANGE,
    MOVE,
    SEEN,
    TIME,
    VALID,
    WIDE_INT,
    char_codes,
    char_texts,
    label_texts,
    spread,
)

SIZE = 24
HUGE = 2**61
INTS = (0, 1, -1, 10**9, 2**53 + 1, 2**63 - 2, 2**63 - 1, -(2**63), -(2**63) + 1)


def rows(n: int, seed: int = 1) -> bytes:
    """Records of 24 bytes: an int64 at 3, then bytes of any kind."""
    rng = random.Random(seed)
    out = b""
    for i in range(n):
        value = INTS[i % len(INTS)] if i < 40 else rng.randrange(-(2**63), 2**63)
        out += rng.randbytes(3) + struct.pack("<q", value) + rng.randbytes(SIZE - 11)
    return out


def run(
    kind: int, data: bytes, n: int, n_bytes: int, source: int = 3, width: int = 8, undef: int = 0
) -> tuple[bytes, int]:
    """Make one column in one call."""
    out = bytearray(n_bytes)
    plan = ColumnPlan(SIZE, n, [(kind, source, width, out, undef)])
    nulls = plan.run(data, 0, n)
    return bytes(out), nulls[0]


def values(data: bytes, source: int = 3, format_: str = "<q") -> list[int]:
    return [struct.unpack_from(format_, data, at + source)[0] for at in range(0, len(data), SIZE)]


def bits(out: bytes, n: int) -> list[bool]:
    return [bool(out[i // 8] >> (i % 8) & 1) for i in range(n)]


COUNTS = (0, 1, 7, 8, 9, 63, 64, 65, 200, 3000)


@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_move(width: int, n: int) -> None:
    data = rows(n)
    out, nulls = run(MOVE, data, n, n * width, source=5, width=width)
    assert out == b"".join(data[i * SIZE + 5 : i * SIZE + 5 + width] for i in range(n))
    assert nulls == 0


@pytest.mark.parametrize("n", COUNTS)
def test_float(n: int) -> None:
    data = rows(n)
    out, _ = run(FLOAT, data, n, n * 8)
    wanted = [float("nan") if v == 2**63 - 1 else float(v) / 1e9 for v in values(data)]
    np.testing.assert_array_equal(np.frombuffer(out, "<f8"), wanted)


@pytest.mark.parametrize("n", COUNTS)
def test_wide_int(n: int) -> None:
    data = rows(n)
    out, _ = run(WIDE_INT, data, n, n * 16)
    made = [int.from_bytes(out[i : i + 16], "little", signed=True) for i in range(0, n * 16, 16)]
    assert made == values(data)


@pytest.mark.parametrize("n", COUNTS)
def test_time_and_what_is_in_range(n: int) -> None:
    data = rows(n)
    out, _ = run(TIME, data, n, n * 8)
    stamps = values(data, format_="<Q")
    assert np.frombuffer(out, "<i8").tolist() == [t if t < 2**63 else -(2**63) for t in stamps]
    out, n_null = run(IN_RANGE, data, n, (n + 7) // 8)
    assert bits(out, n) == [t < 2**63 for t in stamps]
    assert n_null == sum(t >= 2**63 for t in stamps)


@pytest.mark.parametrize("width", [1, 2, 4, 8])
@pytest.mark.parametrize("n", COUNTS)
def test_valid(n: int, width: int) -> None:
    data = rows(n)
    found = values(data, 11, {1: "<B", 2: "<H", 4: "<I", 8: "<Q"}[width])
    undef = found[len(found) // 2] if found else 0
    out, n_null = run(VALID, data, n, (n + 7) // 8, source=11, width=width, undef=undef)
    assert bits(out, n) == [value != undef for value in found]
    assert n_null == found.count(undef)
    if n % 8:
        assert out[-1] >> (n % 8) == 0  # the rest of the last byte


@pytest.mark.parametrize("n", COUNTS)
def test_seen(n: int) -> None:
    data = rows(n)
    out, _ = run(SEEN, data, n, 256, source=20, width=1)
    assert {i for i, there in enumerate(out) if there} == set(data[20::SIZE])


def test_rows_may_be_made_in_parts_and_in_any_order() -> None:
    n = 1000
    data = rows(n)
    outs = [bytearray(n * 8), bytearray(125), bytearray(n * 2)]
    specs = [
        (TIME, 3, 8, outs[0], 0), (IN_RANGE, 3, 8, outs[1], 0), (MOVE, 0, 2, outs[2], 0),
    ]  # fmt: skip
    plan = ColumnPlan(SIZE, n, specs)
    assert plan.n_rows == n
    counts = [plan.run(data, first, last) for first, last in ((640, n), (0, 64), (64, 640))]
    wholes = [bytearray(len(out)) for out in outs]
    whole = ColumnPlan(SIZE, n, [(*spec[:3], w, 0) for spec, w in zip(specs, wholes, strict=True)])
    assert whole.run(data, 0, n) == [sum(count) for count in zip(*counts, strict=True)]
    assert outs == wholes
    assert plan.run(data, 128, 128) == [0, 0, 0]


def test_outputs_stay_where_they_are_while_a_plan_lives() -> None:
    out = bytearray(8)
    plan = ColumnPlan(SIZE, 1, [(MOVE, 0, 8, out, 0)])
    with pytest.raises(BufferError):
        out.extend(b"more")
    del plan
    out.extend(b"more")
    assert len(out) == 12


@pytest.mark.parametrize(
    ("kind", "source", "width", "n_bytes"),
    [
        (7, 0, 1, 10),
        (-1, 0, 1, 10),
        (MOVE, 0, 3, 30),
        (MOVE, 0, 0, 0),
        (MOVE, 0, 16, 160),
        (MOVE, -1, 8, 80),
        (MOVE, SIZE - 7, 8, 80),
        (MOVE, SIZE, 1, 10),
        (MOVE, 2**63 - 1, 8, 80),
        (MOVE, 0, 8, 79),
        (MOVE, 0, 8, 81),
        (MOVE, 0, 8, 0),
        (FLOAT, 0, 4, 80),
        (WIDE_INT, 0, 8, 80),
        (WIDE_INT, 0, 4, 160),
        (TIME, 0, 2, 80),
        (IN_RANGE, 0, 1, 2),
        (IN_RANGE, 0, 8, 1),
        (VALID, 0, 8, 3),
        (SEEN, 0, 1, 255),
        (SEEN, 0, 2, 256),
    ],
)
def test_plan_refuses_columns_that_cannot_be(
    kind: int, source: int, width: int, n_bytes: int
) -> None:
    with pytest.raises((ValueError, OverflowError)):
        ColumnPlan(SIZE, 10, [(kind, source, width, bytearray(n_bytes), 0)])


@pytest.mark.parametrize(
    "spec",
    [
        (MOVE, 0, 8, bytes(80), 0),  # not writable
        (MOVE, 0, 8, bytearray(80), -1),
        (MOVE, 0, 8, bytearray(80), 2**64),
        (MOVE, 0, 8, None, 0),
        (MOVE, 0, 8, np.zeros(160, np.uint8)[::2], 0),
        (MOVE, "0", 8, bytearray(80), 0),
        (MOVE, 0, 8, bytearray(80)),
        5,
    ],
)
def test_plan_refuses_specs_of_other_kinds(spec: Any) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError, BufferError)):
        ColumnPlan(SIZE, 10, [spec])


def test_plan_refuses_no_output_even_for_no_rows() -> None:
    with pytest.raises(TypeError, match="an output is None"):
        ColumnPlan(SIZE, 0, [(MOVE, 0, 8, None, 0)])


@pytest.mark.parametrize("size", [0, -1, -(2**63)])
def test_plan_refuses_records_of_no_size(size: int) -> None:
    with pytest.raises(ValueError, match="records of"):
        ColumnPlan(size, 0, [])


@pytest.mark.parametrize(("size", "n"), [(8, HUGE), (HUGE, 8), (1, 2**62), (8, -1)])
def test_plan_refuses_sizes_whose_product_overflows(size: int, n: int) -> None:
    with pytest.raises(ValueError, match="records of"):
        ColumnPlan(size, n, [(MOVE, 0, 8, bytearray(0), 0)])


@pytest.mark.parametrize(
    ("n_bytes", "first", "last"),
    [
        (SIZE * 100 - 1, 0, 100),
        (SIZE * 100 + 1, 0, 100),
        (0, 0, 0),
        (SIZE * 100, 1, 100),
        (SIZE * 100, 32, 64),
        (SIZE * 100, -64, 64),
        (SIZE * 100, 0, 101),
        (SIZE * 100, 64, 63),
        (SIZE * 100, 128, 128),
        (SIZE * 100, 0, 2**62),
    ],
)
def test_run_refuses_rows_that_are_not_there(n_bytes: int, first: int, last: int) -> None:
    plan = ColumnPlan(SIZE, 100, [(MOVE, 0, 8, bytearray(800), 0)])
    with pytest.raises(ValueError, match=r"rows|records"):
        plan.run(bytes(n_bytes), first, last)


def test_a_plan_is_made_once() -> None:
    plan = ColumnPlan(SIZE, 0, [])
    with pytest.raises(TypeError, match="once"):
        plan.__init__(SIZE, 0, [])  # type: ignore[misc]
    with pytest.raises(ValueError, match="not made"):
        ColumnPlan.__new__(ColumnPlan).run(b"", 0, 0)
    with pytest.raises(TypeError):
        plan.run(None, 0, 0)  # type: ignore[arg-type]


# --- text -------------------------------------------------------------------------------------

TEXTS = [b"", b"a", b"abcd", b"a\0b", b"\0\0\0x", b"ab\xc3\xa9", b"\xff"]


def text_rows() -> bytes:
    return b"".join(b"#" + text.ljust(4, b"\0") + b"##" for text in TEXTS)


def test_texts_end_at_their_padding() -> None:
    offsets = np.empty(len(TEXTS) + 1, np.int64)
    assert text_offsets(text_rows(), 7, 1, 4, offsets) is True
    out = bytearray(int(offsets[-1]))
    text_bytes(text_rows(), 7, 1, 4, offsets, out)
    found = [bytes(out[a:b]) for a, b in itertools.pairwise(offsets)]
    assert found == TEXTS
    assert text_offsets(text_rows()[: 7 * 5], 7, 1, 4, np.empty(6, np.int64)) is False
    assert text_offsets(b"", 7, 1, 4, np.empty(1, np.int64)) is False


@pytest.mark.parametrize(
    ("size", "source", "width", "n_offsets"),
    [
        (0, 0, 1, 8), (7, -1, 4, 8), (7, 4, 4, 8), (7, 0, 8, 8), (7, 0, 0, 8), (7, 0, -1, 8),
        (7, 2**63 - 1, 4, 8), (7, 0, 2**63 - 1, 8), (8, 0, 4, 8), (7, 0, 4, 7), (7, 0, 4, 9),
        (7, 0, 4, 0), (7, 0, 4, 1), (2**62, 0, 4, 5), (-7, 0, 4, 8),
    ],
)  # fmt: skip
def test_text_kernels_refuse_wrong_sizes(
    size: int, source: int, width: int, n_offsets: int
) -> None:
    data = b"" if size == 2**62 else text_rows()
    offsets = np.zeros(n_offsets, np.int64)
    with pytest.raises(ValueError):
        text_offsets(data, size, source, width, offsets)
    with pytest.raises(ValueError):
        text_bytes(data, size, source, width, offsets, bytearray(0))


@pytest.mark.parametrize(
    ("offsets", "n_bytes"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7], 6),
        ([1, 1, 2, 3, 4, 5, 6, 7], 7),
        ([0, 5, 5, 5, 5, 5, 5, 7], 7),
        ([0, 4, 3, 3, 4, 5, 6, 7], 7),
        ([0, -1, 2, 3, 4, 5, 6, 7], 7),
        ([0, 4, 8, 8, 8, 8, 8, 7], 7),
        ([0, 2**63 - 1, -(2**63), 3, 4, 5, 6, 7], 7),
    ],
)
def test_text_bytes_refuses_offsets_that_cannot_be(offsets: list[int], n_bytes: int) -> None:
    with pytest.raises(ValueError, match=r"offset|needed"):
        text_bytes(text_rows(), 7, 1, 4, np.array(offsets, np.int64), bytearray(n_bytes))


# --- labels -----------------------------------------------------------------------------------

LABELS = ["", "a", "x" * 15, "y" * 16, "z" * 17, "café", "w" * 100]


def test_label_texts() -> None:
    rng = random.Random(5)
    codes = np.array([rng.randrange(-1, len(LABELS)) for _ in range(500)], np.int32)
    texts = label_texts(codes, LABELS)
    found = [texts.data[a:b].tobytes().decode() for a, b in itertools.pairwise(texts.offsets)]
    assert found == ["" if code < 0 else LABELS[code] for code in codes]
    assert texts.n_null == int((codes < 0).sum()) > 0
    assert texts.valid is not None
    assert bits(texts.valid.tobytes(), 500) == (codes >= 0).tolist()
    assert label_texts(np.zeros(3, np.int32), ["q"]).valid is None
    assert label_texts(np.empty(0, np.int32), []).data.shape == (0,)
    assert label_texts(np.full(2, -1, np.int32), []).n_null == 2


def packed() -> tuple[Any, bytes]:
    encoded = [label.encode() for label in LABELS]
    starts = np.cumsum([0, *map(len, encoded)]).astype(np.int64)
    return starts, b"".join(encoded) + bytes(16)


def test_rows_of_labels_may_be_made_in_parts() -> None:
    starts, text = packed()
    codes = (np.arange(301) % (len(LABELS) + 1) - 1).astype(np.int32)
    size, n_null = label_sizes(codes, starts, 0, 301)
    assert n_null == int((codes < 0).sum())
    offsets = np.empty(302, np.int64)
    label_offsets(codes, starts, 0, 301, 0, offsets)
    assert offsets[-1] == size
    again = np.empty(302, np.int64)
    for first, last in ((200, 301), (0, 100), (100, 200), (50, 50)):
        before, _ = label_sizes(codes, starts, 0, first)
        label_offsets(codes, starts, first, last, before, again)
    assert again.tolist() == offsets.tolist()
    whole = bytearray(size)
    label_bytes(codes, starts, text, offsets, 0, 301, whole)
    parts = bytearray(len(whole))
    for first, last in ((200, 301), (0, 100), (100, 200), (50, 50)):
        label_bytes(codes, starts, text, offsets, first, last, parts)
    assert parts == whole  # no part writes behind its own rows


def test_label_offsets_refuses_what_does_not_fit() -> None:
    starts, _ = packed()
    codes = np.zeros(4, np.int32)
    for n in (0, 4, 6):
        with pytest.raises(ValueError, match="offsets for"):
            label_offsets(codes, starts, 0, 4, 0, np.empty(n, np.int64))
    with pytest.raises(ValueError, match="offsets for"):
        label_offsets(codes, np.empty(0, np.int64), 0, 4, 0, np.empty(5, np.int64))
    with pytest.raises(ValueError, match="no rows"):
        label_sizes(codes, np.empty(0, np.int64), 0, 4)
    for first, last in ((-1, 4), (0, 5), (3, 2)):
        with pytest.raises(ValueError, match="offsets for rows"):
            label_offsets(codes, starts, first, last, 0, np.empty(5, np.int64))
        with pytest.raises(ValueError, match="no rows"):
            label_sizes(codes, starts, first, last)
    for code in (len(LABELS), 2**31 - 1):
        codes[2] = code
        with pytest.raises(ValueError, match="row 2"):
            label_offsets(codes, starts, 0, 4, 0, np.empty(5, np.int64))
        with pytest.raises(ValueError, match="row 2"):
            label_sizes(codes, starts, 1, 4)


def wrong_labels() -> dict[str, tuple[Any, ...]]:
    starts, text = packed()
    codes = np.array([1, 2, 3], np.int32)
    offsets = np.array([0, 1, 16, 32], np.int64)
    out = bytearray(32)

    def changed(array: Any, at: int, value: int) -> Any:
        copy = array.copy()
        copy[at] = value
        return copy

    return {
        "no room behind the labels": (codes, starts, text[:-1], offsets, 0, 3, out),
        "labels too short for the room": (codes, starts, b"", offsets, 0, 3, out),
        "no starts": (codes, np.empty(0, np.int64), text, offsets, 0, 3, out),
        "starts above 0": (codes, changed(starts, 0, 1), text, offsets, 0, 3, out),
        "starts end elsewhere": (codes, changed(starts, -1, 1), text, offsets, 0, 3, out),
        "starts descend": (codes, changed(starts, 2, 10**6), text, offsets, 0, 3, out),
        "negative start": (codes, changed(starts, 1, -5), text, offsets, 0, 3, out),
        "label behind the text": (
            np.zeros(1, np.int32), np.array([0, 10**9, 5]), bytes(21), np.array([0, 10**9]),
            0, 1, out,
        ),
        "code unknown": (changed(codes, 1, 99), starts, text, offsets, 0, 3, out),
        "too few offsets": (codes, starts, text, offsets[:-1], 0, 3, out),
        "no offsets": (codes, starts, text, offsets[:0], 0, 3, out),
        "output too small": (codes, starts, text, offsets, 0, 3, bytearray(31)),
        "output too large": (codes, starts, text, offsets, 0, 3, bytearray(33)),
        "rows before the first": (codes, starts, text, offsets, -1, 3, out),
        "rows behind the last": (codes, starts, text, offsets, 0, 4, out),
        "rows backwards": (codes, starts, text, offsets, 2, 1, out),
        "length of another label": (codes, starts, text, changed(offsets, 1, 2), 0, 3, out),
        "offset below 0": (codes, starts, text, changed(offsets, 0, -1), 0, 3, out),
        "offset behind the output": (
            codes[:2], starts, text, np.array([2**40, 2**40 + 1, 16]), 0, 1, bytearray(16),
        ),
        "part ends behind the output": (
            np.array([3, -1], np.int32), starts, text, np.array([16, 32, 16]), 0, 1, bytearray(16),
        ),
        "highest offset": (
            codes[:1], starts, text, np.array([2**63 - 1, 16]), 0, 1, bytearray(16),
        ),
    }  # fmt: skip


@pytest.mark.parametrize("what", list(wrong_labels()))
def test_label_bytes_refuses(what: str) -> None:
    codes, starts, text, offsets, first, last, out = wrong_labels()[what]
    with pytest.raises(ValueError):
        label_bytes(codes, starts, text, offsets, first, last, out)


@pytest.mark.parametrize(
    "kernel", [text_offsets, text_bytes, label_sizes, label_offsets, label_bytes]
)
def test_kernels_refuse_none(kernel: Any) -> None:
    sizes = {text_offsets: 5, text_bytes: 6, label_sizes: 4, label_offsets: 6, label_bytes: 7}
    n = sizes[kernel]
    with pytest.raises(TypeError):
        kernel(*[None] * n)
    assert kernel is getattr(core, kernel.__name__)


# --- chars ------------------------------------------------------------------------------------


def test_char_texts() -> None:
    column = np.array([0, 65, 0x7F, 0x80, 0xFF], np.uint8)
    texts = char_texts(column, np.bincount(column, minlength=256).astype(np.uint8))
    found = [texts.data[a:b].tobytes().decode() for a, b in itertools.pairwise(texts.offsets)]
    assert found == ["", "A", "\x7f", "\x80", "ÿ"]
    plain = char_texts(column[1:3], np.zeros(256, np.uint8))
    assert plain.offsets.tolist() == [0, 1, 2]
    assert plain.data.tobytes() == b"A\x7f"


def test_char_codes_number_the_known_ones_first() -> None:
    column = np.array([84, 0, 200, 66], np.uint8)
    seen = np.bincount(column, minlength=256).astype(np.uint8)
    codes, labels = char_codes(column, seen, [b"A", b"B"])
    assert labels == ["A", "B", "", "T", "È"]
    assert [labels[code] for code in codes] == ["T", "", "È", "B"]
    assert codes.dtype == np.int16


# --- threads ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 127, 128, 129, 1000, 4096])
@pytest.mark.parametrize("cores", [1, 2, 3, 7])
def test_spread_covers_every_row_once(monkeypatch: pytest.MonkeyPatch, n: int, cores: int) -> None:
    monkeypatch.setattr(columns, "ROWS_PER_THREAD", 64)
    monkeypatch.setattr(threads, "cores", lambda: cores)
    parts = spread(n, lambda first, last: (first, last))
    assert len(parts) <= cores
    assert [row for first, last in parts for row in range(first, last)] == list(range(n))
    assert all(first % 64 == 0 for first, _ in parts)


def test_spread_raises_what_a_thread_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "ROWS_PER_THREAD", 64)
    monkeypatch.setattr(threads, "cores", lambda: 2)

    def work(first: int, last: int) -> None:
        raise KeyError(first)

    with pytest.raises(KeyError):
        spread(1000, work)


# --- the kernels that read timestamps ---------------------------------------------------------


def test_timestamps_lie_inside_the_smallest_record() -> None:
    wrong = np.array(INDEX_TS_AT, copy=True)
    wrong[0] = 41  # of 48 bytes
    record = bytes([12]) + bytes(47)
    with pytest.raises(ValueError, match="rtype 0 has no timestamp"):
        span(record, SIZES, False, wrong)
    with pytest.raises(ValueError, match="rtype 0 has no timestamp"):
        select(
            record, bytearray(48), SIZES, False, np.ones(256, np.uint8), wrong, True, 0, 1, None,
            None,
        )  # fmt: skip
    assert span(record, SIZES, False, INDEX_TS_AT) == (0, 0)
    with pytest.raises(ValueError, match="one entry"):
        span(record, SIZES, False, wrong[:255])


def test_span_leaves_undefined_times_out() -> None:
    def trade(ts: int) -> bytes:
        return bytes([12]) + bytes(31) + struct.pack("<Q", ts) + bytes(8)

    undefined = trade(2**64 - 1)
    assert span(trade(7) + undefined + trade(3), SIZES, False, INDEX_TS_AT) == (3, 7)
    assert span(undefined, SIZES, False, INDEX_TS_AT) is None
    assert span(b"", SIZES, False, INDEX_TS_AT) is None
    assert span(trade(2**64 - 2), SIZES, False, INDEX_TS_AT) == (2**64 - 2, 2**64 - 2)
