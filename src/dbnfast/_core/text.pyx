"""Write records as rows of text, by programs that are made from the table of layouts."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memchr, memcpy, memset

from dbnfast._core.bounds cimport DONE, FULL, STEP, Cursor, Sink, Status, claim, room, step
from dbnfast._core.header cimport HEADER_SIZE, MAX_RECORD_SIZE, load_u8
from dbnfast._core.scan cimport SizeTable
from dbnfast._core.utf8 cimport is_utf8

cdef dict KINDS = {
    # name: (kind, bytes in the record, most characters; -1 where the op or the style says)
    "": (NOTHING, 0, 0),
    "u1": (U1, 1, 3),
    "u2": (U2, 2, 5),
    "u4": (U4, 4, 10),
    "u8": (U8, 8, 20),
    "i1": (I1, 1, 4),
    "i2": (I2, 2, 6),
    "i4": (I4, 4, 11),
    "i8": (I8, 8, 20),
    "price": (PRICE, 8, 23),
    "time": (TIME, 8, 32),
    "char": (CHAR, 1, ENTRY),
    "raw": (RAW, 1, ENTRY),
    "text": (TEXT, -1, -1),
    "symbol": (SYMBOL, 0, ENTRY),
}

cdef void fill_entries(Entry* entries, object texts) except *:
    cdef Py_ssize_t i
    cdef bytes text
    texts = tuple(texts)
    if len(texts) != 256:
        raise ValueError(f"{len(texts)} texts for 256 bytes")
    for i, text in enumerate(texts):
        if len(text) > ENTRY:
            raise ValueError(f"{text!r} is longer than {ENTRY} bytes")
        entries[i].n = <uint8_t>len(text)
        memcpy(entries[i].text, PyBytes_AS_STRING(text), len(text))


cdef void fill_digits(Style* style) noexcept:
    cdef uint32_t i, padded
    for i in range(1000):
        padded = 0x303030 | i // 100 | (i // 10 % 10) << 8 | (i % 10) << 16
        style.padded[i] = padded
        if i < 10:
            style.counted[i] = 1 << 24 | padded >> 16
        elif i < 100:
            style.counted[i] = 2 << 24 | padded >> 8
        else:
            style.counted[i] = 3 << 24 | padded


cdef class TextStyle:
    """How values are written in one format; see the stub."""

    cdef Style style

    def __cinit__(self):
        memset(&self.style, 0, sizeof(Style))

    def __init__(
        self, bytes null not None, bint quote, bint wrap, chars, raws, escapes,
        const uint8_t[::1] special not None,
    ):
        cdef Style* style = &self.style
        if style.longest != 0:
            raise TypeError("a style is made once")
        if len(null) > ENTRY or special.shape[0] != 256:
            raise ValueError("null has up to 8 bytes, special one for each byte")
        memcpy(style.null, PyBytes_AS_STRING(null), len(null))
        style.n_null = len(null)
        style.n_quote = quote
        style.wrap = wrap
        fill_entries(style.chars, chars)
        fill_entries(style.raws, raws)
        fill_entries(style.escapes, escapes)
        memcpy(style.special, &special[0], 256)
        fill_digits(style)
        style.longest = 1 + max(style.escapes[i].n for i in range(256))


cdef class TextProgram:
    """How a record of one layout and size becomes a row; see the stub."""

    cdef Op* ops
    cdef Py_ssize_t n_ops
    cdef readonly Py_ssize_t size
    cdef readonly Py_ssize_t longest
    cdef TextStyle style

    def __cinit__(self):
        self.ops = NULL

    def __init__(self, Py_ssize_t size, ops, TextStyle style not None):
        cdef Py_ssize_t n_stamps = 0, n_symbols = 0, longest = 0
        cdef bytes literal
        cdef Op* op
        if self.ops != NULL:
            raise TypeError("a program is made once")
        if style.style.longest == 0:
            raise TypeError("the style was never made")
        if size < HEADER_SIZE or size > MAX_RECORD_SIZE or size % 4:
            raise ValueError(f"no record has {size} bytes")
        ops = tuple(ops)
        self.ops = <Op*>calloc(len(ops) + 1, sizeof(Op))
        if self.ops == NULL:
            raise MemoryError
        for literal, name, offset, n_bytes in ops:
            op = self.ops + self.n_ops
            if name not in KINDS:
                raise ValueError(f"{name!r} is no kind of value")
            kind, width, most = KINDS[name]
            width = n_bytes if width < 0 else width
            if n_bytes != width or offset < 0 or n_bytes < 0 or offset + n_bytes > size:
                raise ValueError(f"{name} of {n_bytes} bytes at {offset} in a record of {size}")
            if len(literal) > OP_LITERAL:
                raise ValueError(f"a literal of {len(literal)} bytes, {OP_LITERAL} is most")
            op.kind, op.offset, op.n_bytes, op.n_literal = kind, offset, n_bytes, len(literal)
            op.slot = n_stamps % N_STAMPS
            n_stamps += kind == TIME
            n_symbols += kind == SYMBOL
            memcpy(op.literal, PyBytes_AS_STRING(literal), len(literal))
            longest += len(literal) + (most if most >= 0 else 2 + n_bytes * style.style.longest)
            self.n_ops += 1
        if n_symbols > 1:
            raise ValueError(f"{n_symbols} symbols in a row")
        self.size = size
        self.longest = longest + SLACK
        self.style = style

    def __dealloc__(self):
        free(self.ops)


cdef class TextPlan:
    """Which program writes the records of which rtype and size; see the stub."""

    cdef int16_t first[256]
    cdef TextRoute* routes
    cdef readonly Py_ssize_t longest
    cdef list keep

    def __cinit__(self):
        memset(self.first, 255, sizeof(self.first))  # -1 everywhere
        self.routes = NULL

    def __init__(self, routes):
        cdef Py_ssize_t i
        cdef TextProgram program
        cdef TextRoute* route
        if self.routes != NULL:
            raise TypeError("a plan is made once")
        routes = tuple(routes)
        if len(routes) > 32767:
            raise ValueError("too many routes")
        self.routes = <TextRoute*>calloc(len(routes) + 1, sizeof(TextRoute))
        if self.routes == NULL:
            raise MemoryError
        self.keep = []
        for i, (rtype, program) in enumerate(routes):
            if not 0 <= rtype < 256:
                raise ValueError(f"no route for rtype {rtype}")
            if program is None or program.ops == NULL or program.style is None:
                raise TypeError("the program was never made")
            route = self.routes + i
            route.words = <uint8_t>(program.size >> 2)
            route.n_ops = program.n_ops
            route.ops = program.ops
            route.style = &program.style.style
            route.next = self.first[rtype]
            self.first[rtype] = <int16_t>i
            self.keep.append(program)
            self.longest = max(self.longest, program.longest)

    def __dealloc__(self):
        free(self.routes)


cdef class Symbols:
    """The texts of symbol codes, ready to be copied; see the stub."""

    cdef uint8_t* text
    cdef int64_t* starts
    cdef readonly Py_ssize_t n
    cdef readonly Py_ssize_t longest

    def __cinit__(self):
        self.text = NULL
        self.starts = NULL

    def __init__(self, texts):
        # entry 0 is for code -1
        cdef Py_ssize_t total = 0, i
        cdef bytes text
        if self.text != NULL:
            raise TypeError("symbols are made once")
        texts = tuple(texts)
        if not texts:
            raise ValueError("there is no text for unmapped records")
        total = sum(map(len, texts))
        self.text = <uint8_t*>calloc(total + SHORT, 1)
        self.starts = <int64_t*>malloc((len(texts) + 1) * sizeof(int64_t))
        if self.text == NULL or self.starts == NULL:
            raise MemoryError
        total = 0
        for i, text in enumerate(texts):
            self.starts[i] = total
            memcpy(self.text + total, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
            total += PyBytes_GET_SIZE(text)
            self.longest = max(self.longest, PyBytes_GET_SIZE(text))
        self.starts[len(texts)] = total
        self.n = len(texts)

    def __dealloc__(self):
        free(self.text)
        free(self.starts)


cdef uint8_t* put_large(uint8_t* out, uint64_t value) noexcept nogil:
    cdef uint64_t high
    if value < 100000000:
        return put_short(out, <uint32_t>value)
    high = value // 100000000
    if high < 100000000:
        out = put_short(out, <uint32_t>high)
    else:
        out = put_short(out, <uint32_t>(high // 100000000))
        out = put_eight(out, <uint32_t>(high % 100000000))
    return put_eight(out, <uint32_t>(value % 100000000))


cdef inline uint8_t* put_two(uint8_t* out, uint32_t value, uint8_t behind) noexcept nogil:
    out[0] = <uint8_t>(c"0" + value // 10)
    out[1] = <uint8_t>(c"0" + value % 10)
    out[2] = behind
    return out + 3


cdef void set_second(Stamp* stamp, uint64_t second) noexcept nogil:
    # Years are counted from March, so that the leap day is a year's last: 146097 days make 400
    # years, 153 days make five months. 719468 days lie between 0000-03-01 and 1970-01-01.
    cdef uint32_t days = <uint32_t>(second // 86400) + 719468
    cdef uint32_t time = <uint32_t>(second % 86400)
    cdef uint32_t era = days // 146097
    cdef uint32_t day = days - era * 146097
    cdef uint32_t year = (day - day // 1460 + day // 36524 - day // 146096) // 365
    cdef uint32_t month
    cdef uint8_t* out = stamp.text
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5
    month += 3
    year += era * 400
    if month > 12:
        month -= 12
        year += 1
    stamp.second = second
    out = put_two(out, year // 100, 0) - 1
    out = put_two(out, year % 100, c"-")
    out = put_two(out, month, c"-")
    out = put_two(out, day + 1, c"T")
    out = put_two(out, time // 3600, c":")
    out = put_two(out, time // 60 % 60, c":")
    put_two(out, time % 60, c".")


cdef uint8_t* put_text(
    uint8_t* out, const uint8_t* p, Py_ssize_t width, const Style* style
) noexcept nogil:
    # The text up to its NUL; what has none, or is no UTF-8, is empty.
    cdef const uint8_t* end = <const uint8_t*>memchr(p, 0, width)
    cdef Py_ssize_t n = end - p if end != NULL else 0
    cdef Py_ssize_t i
    cdef uint8_t special = 0, any_byte = 0
    cdef const Entry* entry
    for i in range(n):
        special |= style.special[load_u8(p + i)]
        any_byte |= load_u8(p + i)
    if any_byte >= 0x80 and not is_utf8(p, n):
        n = special = 0
    if style.wrap or special:
        out[0] = c'"'
        out += 1
    if not special:
        memcpy(out, p, n)
        out += n
    else:
        for i in range(n):
            entry = style.escapes + load_u8(p + i)
            memcpy(out, entry.text, ENTRY)
            out += entry.n
    if style.wrap or special:
        out[0] = c'"'
        out += 1
    return out


cdef inline uint8_t* put_row(
    uint8_t* out, const TextRoute* route, const uint8_t* record, const uint8_t* symbol,
    Py_ssize_t n_symbol, Stamp* stamps
) noexcept nogil:
    # Preconditions: the record has the size that the ops were checked against, and `out` has
    # room for the longest row and symbol, SLACK included.
    cdef const Op* op = route.ops
    cdef const Op* end = op + route.n_ops
    while op != end:
        memcpy(out, op.literal, SHORT)
        if op.n_literal > SHORT:
            memcpy(out + SHORT, op.literal + SHORT, OP_LITERAL - SHORT)
        out += op.n_literal
        if op.kind == SYMBOL:
            out = put_symbol(out, symbol, n_symbol)
        else:
            out = put_value(out, op, record + op.offset, route.style, stamps)
        op += 1
    return out


cdef inline const TextRoute* route_of(TextPlan plan, uint8_t rtype, uint8_t words) noexcept nogil:
    cdef int16_t i = plan.first[rtype]
    while i >= 0 and plan.routes[i].words != words:
        i = plan.routes[i].next
    return plan.routes + i if i >= 0 else NULL


cdef struct Done:
    int status
    Py_ssize_t n_records
    Py_ssize_t n_rows


cdef void put_rows(
    Cursor* cursor, const uint16_t* min_size, TextPlan plan, const int32_t* codes,
    Py_ssize_t n_codes, Symbols symbols, Sink* sink, Done* done
) noexcept nogil:
    # What: walk the records and write each that has a route, until the input ends or the output
    # may not hold one more row. Cost: an op for every field.
    cdef Py_ssize_t longest = plan.longest + symbols.longest
    cdef const uint8_t* record = NULL
    cdef const TextRoute* route = NULL
    cdef Py_ssize_t size = 0
    cdef uint8_t rtype = 0
    cdef int key = -1
    cdef int64_t entry = 0, n
    cdef uint8_t* out
    cdef Stamp stamps[N_STAMPS]
    cdef Status status
    memset(stamps, 255, sizeof(stamps))  # a second that no time has
    while True:
        out = room(sink, longest)
        if out == NULL:
            done.status = FULL
            return
        status = step(cursor, min_size, &record, &size, &rtype)
        if status != STEP:
            done.status = status
            return
        if codes != NULL:
            entry = -2 if done.n_records >= n_codes else codes[done.n_records]
            if entry < -1 or entry + 1 >= symbols.n:
                done.status = CODES_END
                return
            entry += 1
        done.n_records += 1
        if key != (rtype << 8 | size >> 2):
            key = <int>(rtype << 8 | size >> 2)
            route = route_of(plan, rtype, <uint8_t>(size >> 2))
        if route == NULL:
            continue
        n = symbols.starts[entry + 1] - symbols.starts[entry]
        n = put_row(out, route, record, symbols.text + symbols.starts[entry], n, stamps) - out
        claim(sink, n)
        done.n_rows += 1


def write_rows(
    const uint8_t[::1] data not None, Py_ssize_t start, Py_ssize_t end, TextPlan plan not None,
    SizeTable sizes not None, bint ts_out, const int32_t[::1] codes, Py_ssize_t first,
    Symbols symbols not None, uint8_t[::1] out not None,
):
    """Write the records of bytes `start` to `end` as rows; see the stub."""
    cdef Cursor cursor
    cdef Sink sink
    cdef Done done
    cdef const int32_t* code = NULL
    cdef Py_ssize_t n_codes = 0, n_bytes = 0
    cdef const uint16_t* min_size = sizes.of(ts_out)
    if plan.routes == NULL or symbols.n == 0:
        raise TypeError("the plan or the symbols were never made")
    if not 0 <= start <= end <= data.shape[0]:
        raise ValueError(f"bytes {start} to {end} lie outside the {data.shape[0]} bytes")
    if codes is not None:
        n_codes = codes.shape[0] - first
        if first < 0 or n_codes < 0:
            raise ValueError(f"record {first} has no code among {codes.shape[0]}")
        if n_codes:
            code = &codes[first]
    if start == end:
        return <int>DONE, start, 0, 0, 0
    if codes is not None and code == NULL:
        return <int>CODES_END, start, 0, 0, 0
    done.status = FULL
    done.n_records = done.n_rows = 0
    cursor.pos = &data[0] + start
    cursor.end = &data[0] + end
    if out.shape[0]:
        sink.pos = &out[0]
        sink.end = sink.pos + out.shape[0]
        with nogil:
            put_rows(&cursor, min_size, plan, code, n_codes, symbols, &sink, &done)
        n_bytes = sink.pos - &out[0]
    if done.status == FULL and cursor.pos == cursor.end:
        done.status = DONE
    return done.status, cursor.pos - &data[0], n_bytes, done.n_records, done.n_rows
