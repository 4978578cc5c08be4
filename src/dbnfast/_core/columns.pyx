"""Records to columns: every field of many records side by side."""

from libc.math cimport NAN
from libc.stdint cimport INT64_MAX, INT64_MIN, int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from dbnfast._core.bounds cimport prefetch
from dbnfast._core.header cimport load_i64, load_u8, load_u16, load_u32, load_u64

cdef enum:
    BLOCK = 131072  # bytes of records that all columns are read from while the cache holds them
    ROWS = 64  # rows come in multiples of this, so that threads never share a byte of a bitmap
    WIDE = 16  # bytes that a short text is copied by

# what a column is made by; the Python side names them
cdef enum Kind:
    MOVE = 0  # the integer as it is
    FLOAT = 1  # int64 in 1e-9 -> float64; undefined is NaN
    WIDE_INT = 2  # int64 -> 128-bit integer
    TIME = 3  # uint64 ns -> int64 ns; what int64 cannot hold is NaT
    VALID = 4  # a bit for each row: is it another value than the undefined one?
    IN_RANGE = 5  # a bit for each row: does int64 hold the uint64?
    SEEN = 6  # which of 256 bytes are there: one byte for each

cdef struct Op:
    Kind kind
    uint8_t width
    Py_ssize_t source  # offset in the record
    uint8_t* out
    uint64_t undef


cdef Py_ssize_t out_size(int kind, int width, Py_ssize_t n) noexcept nogil:
    # Bytes of the output of n rows.
    if kind == MOVE:
        return n * width
    if kind == FLOAT or kind == TIME:
        return n * 8
    if kind == WIDE_INT:
        return n * 16
    if kind == SEEN:
        return 256
    return (n + 7) // 8


cdef inline bint are_rows(Py_ssize_t n_bytes, Py_ssize_t n, Py_ssize_t size) noexcept nogil:
    # Are these n rows of `size` bytes? Divided, since a product could overflow.
    if n < 1:
        return n == 0 and n_bytes == 0
    return n_bytes // n == size and n_bytes % n == 0


cdef inline bint is_inside(Py_ssize_t size, Py_ssize_t source, Py_ssize_t width) noexcept nogil:
    # Does the field lie inside a record of `size` bytes?
    return source >= 0 and 1 <= width <= size and source <= size - width


cdef inline uint64_t load_wide(const uint8_t* p, int width) noexcept nogil:
    if width == 8:
        return load_u64(p)
    if width == 4:
        return load_u32(p)
    if width == 2:
        return load_u16(p)
    return load_u8(p)


cdef void move(
    const uint8_t* p, Py_ssize_t size, Py_ssize_t n, uint8_t* out, int width
) noexcept nogil:
    cdef Py_ssize_t i
    if width == 8:
        for i in range(n):
            memcpy(out + 8 * i, p + size * i, 8)
    elif width == 4:
        for i in range(n):
            memcpy(out + 4 * i, p + size * i, 4)
    elif width == 2:
        for i in range(n):
            memcpy(out + 2 * i, p + size * i, 2)
    else:
        for i in range(n):
            out[i] = p[size * i]


cdef void move_float(const uint8_t* p, Py_ssize_t size, Py_ssize_t n, uint8_t* out) noexcept nogil:
    # The official formula, so that equal prices are equal floats. Divided apart, two at a time.
    cdef Py_ssize_t i
    cdef int64_t value
    cdef double* prices = <double*>out  # aligned: the plan checked it
    for i in range(n):
        value = load_i64(p + size * i)
        prices[i] = NAN if value == INT64_MAX else <double>value
    for i in range(n):
        prices[i] /= 1e9


cdef void move_wide(const uint8_t* p, Py_ssize_t size, Py_ssize_t n, uint8_t* out) noexcept nogil:
    cdef Py_ssize_t i
    cdef int64_t pair[2]
    for i in range(n):
        pair[0] = load_i64(p + size * i)
        pair[1] = pair[0] >> 63  # the sign, in all bits
        memcpy(out + 16 * i, pair, 16)


cdef void move_time(const uint8_t* p, Py_ssize_t size, Py_ssize_t n, uint8_t* out) noexcept nogil:
    cdef Py_ssize_t i
    cdef int64_t value
    for i in range(n):
        value = load_i64(p + size * i)
        if value < 0:
            value = INT64_MIN
        memcpy(out + 8 * i, &value, 8)


cdef Py_ssize_t mark_valid(
    const uint8_t* p, Py_ssize_t size, Py_ssize_t n, uint8_t* out, const Op* op
) noexcept nogil:
    # Bits, least significant first, as Arrow has them; gives how many are 0. `out` begins at a
    # whole byte: rows come in multiples of 64.
    cdef Py_ssize_t i, n_null = 0
    cdef uint8_t bits = 0
    cdef bint valid
    for i in range(n):
        if op.kind == VALID:
            valid = load_wide(p + size * i, op.width) != op.undef
        else:
            valid = load_i64(p + size * i) >= 0
        bits |= <uint8_t>(valid << (i & 7))
        n_null += not valid
        if i & 7 == 7:
            out[i >> 3] = bits
            bits = 0
    if n & 7:
        out[n >> 3] = bits
    return n_null


cdef Py_ssize_t run_op(
    const Op* op, const uint8_t* base, Py_ssize_t size, Py_ssize_t row, Py_ssize_t n
) noexcept nogil:
    # One column of n rows; gives how many nulls it marked. Preconditions: n records of `size`
    # bytes are at base; the plan checked that the field lies inside them, and the output's size.
    cdef const uint8_t* p = base + op.source
    cdef Py_ssize_t i
    if op.kind == MOVE:
        move(p, size, n, op.out + row * op.width, op.width)
    elif op.kind == FLOAT:
        move_float(p, size, n, op.out + row * 8)
    elif op.kind == WIDE_INT:
        move_wide(p, size, n, op.out + row * 16)
    elif op.kind == TIME:
        move_time(p, size, n, op.out + row * 8)
    elif op.kind == SEEN:
        for i in range(n):
            op.out[p[size * i]] = 1
    else:
        return mark_valid(p, size, n, op.out + (row >> 3), op)
    return 0


cdef class ColumnPlan:
    """Which columns are made of records of one layout; see the stub."""
    cdef Op* ops
    cdef Py_ssize_t n_ops
    cdef Py_ssize_t size
    cdef readonly Py_ssize_t n_rows
    cdef list keep

    def __init__(self, Py_ssize_t size, Py_ssize_t n_rows, specs):
        cdef Op* op
        cdef uint8_t[::1] view
        cdef Py_ssize_t i
        if self.ops != NULL:
            raise TypeError("a plan is made once")
        specs = tuple(specs)
        if size < 1 or n_rows < 0 or n_rows > INT64_MAX // max(size, WIDE):
            raise ValueError(f"no {n_rows} records of {size} bytes")
        self.ops = <Op*>calloc(len(specs) + 1, sizeof(Op))
        if self.ops == NULL:
            raise MemoryError
        self.size, self.n_rows, self.keep = size, n_rows, []
        for i, (kind, source, width, out, undef) in enumerate(specs):
            op = self.ops + i
            if out is None:
                raise TypeError("an output is None, expected a buffer")
            view = out
            if not 0 <= kind <= SEEN or width not in (1, 2, 4, 8):
                raise ValueError(f"no column of kind {kind} and {width} bytes")
            if kind in (FLOAT, WIDE_INT, TIME, IN_RANGE) and width != 8:
                raise ValueError(f"a column of kind {kind} needs 8 bytes")
            if kind == SEEN and width != 1:
                raise ValueError(f"a column of kind {kind} needs 1 byte")
            if not is_inside(size, source, width):
                raise ValueError(f"{width} bytes at {source} lie outside a record of {size}")
            if view.shape[0] != out_size(kind, width, n_rows):
                raise ValueError(
                    f"an output has {view.shape[0]} bytes, {out_size(kind, width, n_rows)} "
                    "are needed"
                )
            if kind == FLOAT and n_rows and <size_t>&view[0] % sizeof(double):
                raise ValueError("the output of floats is not aligned")
            self.keep.append(view)  # holds the export, so that the memory stays where it is
            op.kind, op.width, op.source = kind, width, source
            op.out = &view[0] if view.shape[0] else NULL
            op.undef = undef
        self.n_ops = len(specs)

    def __dealloc__(self):
        free(self.ops)

    def run(self, const uint8_t[::1] data not None, Py_ssize_t first, Py_ssize_t last):
        """Make rows `first` to `last` of every column; see the stub."""
        cdef Py_ssize_t row, n, i, rows, share, line
        cdef const uint8_t* base
        cdef const uint8_t* ahead
        cdef Py_ssize_t size = self.size
        cdef Py_ssize_t* nulls
        if self.ops == NULL:
            raise ValueError("the plan was not made")
        if not are_rows(data.shape[0], self.n_rows, size):
            raise ValueError(f"{data.shape[0]} bytes are not {self.n_rows} records of {size}")
        if not 0 <= first <= last <= self.n_rows or first % ROWS:
            raise ValueError(f"no rows {first} to {last} of {self.n_rows}")
        nulls = <Py_ssize_t*>calloc(self.n_ops + 1, sizeof(Py_ssize_t))
        if nulls == NULL:
            raise MemoryError
        rows = max(BLOCK // size // ROWS, 1) * ROWS
        share = rows * size // 64 // max(self.n_ops, 1) + 1  # of the next block's cache lines
        try:
            if last > first:
                base = &data[0]
                with nogil:
                    row = first
                    while row < last:
                        n = min(rows, last - row)
                        ahead = base + (row + n) * size  # may lie behind the end: a hint
                        for i in range(self.n_ops):
                            nulls[i] += run_op(self.ops + i, base + row * size, size, row, n)
                            for line in range(share):
                                prefetch(ahead + 64 * line)
                            ahead += 64 * share
                        row += n
            return [nulls[i] for i in range(self.n_ops)]
        finally:
            free(nulls)


def text_offsets(
    const uint8_t[::1] data not None, Py_ssize_t size, Py_ssize_t source, Py_ssize_t width,
    int64_t[::1] out not None,
):
    """Write where each row's NUL-padded text begins and ends; see the stub."""
    cdef Py_ssize_t n = out.shape[0] - 1, i, length
    cdef int64_t at = 0
    cdef const uint8_t* p
    cdef uint8_t high = 0
    if size < 1 or not are_rows(data.shape[0], n, size):
        raise ValueError(f"{data.shape[0]} bytes are not {n} records of {size}")
    if not is_inside(size, source, width):
        raise ValueError(f"{width} bytes at {source} lie outside a record of {size}")
    out[0] = 0
    if n == 0:
        return False
    p = &data[0] + source
    with nogil:
        for i in range(n):
            length = width
            while length > 0 and p[length - 1] == 0:
                length -= 1
            at += length
            out[i + 1] = at
            p += size
    p = &data[0] + source
    with nogil:
        for i in range(n):
            for length in range(out[i + 1] - out[i]):
                high |= p[length]
            p += size
    return high >= 0x80


def text_bytes(
    const uint8_t[::1] data not None, Py_ssize_t size, Py_ssize_t source, Py_ssize_t width,
    const int64_t[::1] offsets not None, uint8_t[::1] out not None,
):
    """Copy each row's text to its place; see the stub."""
    cdef Py_ssize_t n = offsets.shape[0] - 1, i
    cdef int64_t length
    cdef const uint8_t* p
    cdef uint8_t* to
    if size < 1 or not are_rows(data.shape[0], n, size):
        raise ValueError(f"{data.shape[0]} bytes are not {n} records of {size}")
    if not is_inside(size, source, width):
        raise ValueError(f"{width} bytes at {source} lie outside a record of {size}")
    if offsets[0] != 0 or offsets[n] != out.shape[0]:
        raise ValueError(f"the output has {out.shape[0]} bytes, {offsets[n]} are needed")
    if out.shape[0] == 0:
        return
    p = &data[0] + source
    to = &out[0]
    with nogil:
        for i in range(n):
            length = offsets[i + 1] - offsets[i]
            if length < 0 or length > width or offsets[i] < 0 or offsets[i + 1] > out.shape[0]:
                break
            memcpy(to + offsets[i], p, <size_t>length)
            p += size
        else:
            i = n
    if i < n:
        raise ValueError(f"offset {offsets[i + 1]} of row {i} cannot be true")


def label_sizes(
    const int32_t[::1] codes not None, const int64_t[::1] starts not None,
    Py_ssize_t first, Py_ssize_t last,
):
    """Add up the labels of rows `first` to `last`; see the stub."""
    cdef Py_ssize_t n_labels = starts.shape[0] - 1, i, n_null = 0
    cdef int64_t n_bytes = 0
    cdef int32_t code
    if not 0 <= first <= last <= codes.shape[0] or n_labels < 0:
        raise ValueError(f"no rows {first} to {last} of {codes.shape[0]}")
    with nogil:
        for i in range(first, last):
            code = codes[i]
            if code < 0:
                n_null += 1
            elif code >= n_labels:
                break
            else:
                n_bytes += starts[code + 1] - starts[code]
        else:
            i = last
    if i < last:
        raise ValueError(f"code {codes[i]} of row {i} is of none of the {n_labels} labels")
    return n_bytes, n_null


def label_offsets(
    const int32_t[::1] codes not None, const int64_t[::1] starts not None,
    Py_ssize_t first, Py_ssize_t last, int64_t at, int64_t[::1] out not None,
):
    """Write where the labels of rows `first` to `last` begin and end; see the stub."""
    cdef Py_ssize_t n = codes.shape[0], n_labels = starts.shape[0] - 1, i
    cdef int32_t code
    if out.shape[0] != n + 1 or n_labels < 0 or not 0 <= first <= last <= n:
        raise ValueError(f"{out.shape[0]} offsets for rows {first} to {last} of {n}")
    out[first] = at
    with nogil:
        for i in range(first, last):
            code = codes[i]
            if code >= n_labels:
                break
            if code >= 0:
                at += starts[code + 1] - starts[code]
            out[i + 1] = at
        else:
            i = last
    if i < last:
        raise ValueError(f"code {codes[i]} of row {i} is of none of the {n_labels} labels")


def label_bytes(
    const int32_t[::1] codes not None, const int64_t[::1] starts not None,
    const uint8_t[::1] labels not None, const int64_t[::1] offsets not None,
    Py_ssize_t first, Py_ssize_t last, uint8_t[::1] out not None,
):
    """Copy the labels of rows `first` to `last` to their places; see the stub."""
    cdef Py_ssize_t n = codes.shape[0], n_labels = starts.shape[0] - 1, i = 0
    cdef int64_t length, at, stop
    cdef int64_t n_bytes = labels.shape[0] - WIDE
    cdef const uint8_t* text
    cdef uint8_t* to
    if n_labels < 0 or n_bytes < 0 or starts[0] != 0 or starts[n_labels] != n_bytes:
        raise ValueError("the labels' bytes and places do not agree")
    for i in range(n_labels):
        if starts[i] > starts[i + 1]:
            raise ValueError("the places of the labels do not ascend")
    if offsets.shape[0] != n + 1 or offsets[n] != out.shape[0] or not 0 <= first <= last <= n:
        raise ValueError(f"no rows {first} to {last} of {n}")
    stop = offsets[last]
    if stop > out.shape[0]:
        raise ValueError(f"the output has {out.shape[0]} bytes, {stop} are needed")
    if first == last or out.shape[0] == 0:
        return
    text = &labels[0]
    to = &out[0]
    with nogil:
        for i in range(first, last):
            if codes[i] < 0:
                continue
            length = offsets[i + 1] - offsets[i]
            at = offsets[i]
            if codes[i] >= n_labels or length != starts[codes[i] + 1] - starts[codes[i]]:
                break
            if at < 0 or at > stop - length:
                break
            if length <= WIDE and at <= stop - WIDE:
                # one move for all short ones: the next row writes over what is too much
                memcpy(to + at, text + starts[codes[i]], WIDE)
            else:
                memcpy(to + at, text + starts[codes[i]], <size_t>length)
        else:
            i = last
    if i < last:
        raise ValueError(f"the offsets of row {i} cannot be true")
