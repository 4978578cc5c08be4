"""Plain lines of comma-separated values, of one layout, into records."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from dbnfast._core.bounds cimport Cursor, Sink, claim, covers, take
from dbnfast._core.header cimport MAX_RECORD_SIZE, load_u8, load_u64, lowest_bit
from dbnfast._core.parse cimport CHAR, FINE, UNSIGNED, Slot, put_bytes, set_slot
from dbnfast._core.quick cimport Clock, equal, looks_like_time, quick_number, quick_time

cdef enum:
    LONGEST = 65536  # bytes of a line; more is nothing usual

cdef enum Use:
    SKIP
    EXPECT
    WRITE

cdef struct Column:
    Use use
    Slot slot
    Py_ssize_t width  # of the text that is expected
    const uint8_t* bytes  # it


cdef inline bint is_end(uint8_t c) noexcept nogil:
    return c == c"," or c == c"\n" or c == c"\r"


cdef inline bint at_line_end(Cursor* rest) noexcept nogil:
    # Is here the end of the line? Takes the CR in front of its LF; no CR may stand elsewhere.
    if rest.pos == rest.end:
        return True
    if load_u8(rest.pos) == c"\r" and covers(rest, rest.pos, 2):
        take(rest, 1)
    return load_u8(rest.pos) == c"\n"


cdef inline bint take_value(Cursor* rest, Cursor* value) noexcept nogil:
    # Takes what is there up to a comma or the end of the line; is it without quotes?
    cdef uint64_t word, ends
    value.pos = rest.pos
    while covers(rest, rest.pos, 8):
        word = load_u64(rest.pos)
        ends = equal(word, c",") | equal(word, c"\n") | equal(word, c"\r") | equal(word, c'"')
        if ends:
            take(rest, lowest_bit(ends) >> 3)
            break
        take(rest, 8)
    while rest.pos != rest.end and not is_end(load_u8(rest.pos)):
        if load_u8(rest.pos) == c'"':
            return False
        take(rest, 1)
    value.end = rest.pos
    return True


cdef inline bint write_value(
    const Slot* slot, Cursor* text, uint8_t* out, Clock* clock, int* forms
) noexcept nogil:
    # Takes one value and writes it. The usual form of a number shows where it ends; where
    # something else follows it, the value is of another form, and taken anew.
    cdef Cursor start = text[0], value
    cdef bint found = False
    if looks_like_time(slot, text):
        found = quick_time(text, out, clock)
    elif slot.kind <= UNSIGNED:
        found = quick_number(slot, text, out, forms)
    elif slot.kind == CHAR and covers(text, text.pos, 2):
        out[0] = load_u8(text.pos)
        found = out[0] != c'"' and not is_end(out[0])
        take(text, found)
    if found and text.pos != text.end and is_end(load_u8(text.pos)):
        return True
    text[0] = start
    if not take_value(text, &value):
        return False
    return put_bytes(slot.kind, value, out, slot.width, slot.absent, forms) == FINE


@cython.final
cdef class LinePlan:
    """How a line becomes a record; see the stub."""

    cdef Column* columns
    cdef Py_ssize_t n_columns
    cdef bytes blank
    cdef list keep

    def __cinit__(self, bytes blank not None, columns):
        cdef Column* column
        cdef bytes known
        columns = tuple(columns)
        if not 0 < len(blank) <= MAX_RECORD_SIZE or not columns:
            raise ValueError(f"no lines of {len(columns)} values for {len(blank)} bytes")
        self.blank = blank
        self.keep = []
        self.columns = <Column*>calloc(len(columns), sizeof(Column))
        if self.columns == NULL:
            raise MemoryError
        for what in columns:
            column = self.columns + self.n_columns
            self.n_columns += 1
            if what is None:
                column.use = SKIP
                continue
            if isinstance(what, bytes):
                column.use = EXPECT
                known = what
                column.bytes = <const uint8_t*>PyBytes_AS_STRING(known)
                column.width = PyBytes_GET_SIZE(known)
            else:
                column.use = WRITE
                kind, at, known = what
                set_slot(&column.slot, kind, at, known, len(blank))
            self.keep.append(known)

    def __dealloc__(self):
        free(self.columns)

    def fill(self, const uint8_t[::1] data not None, uint8_t[::1] out not None):
        """Make records of lines; see the stub."""
        cdef Cursor text
        cdef Sink sink
        cdef Clock clock
        cdef Py_ssize_t size = len(self.blank), n = 0, n_breaks = 0
        cdef int forms = 0
        cdef bint fine = True
        cdef const uint8_t* blank = <const uint8_t*>PyBytes_AS_STRING(self.blank)
        cdef uint8_t c
        if data.shape[0] == 0:
            return 0, 0, 0
        text.pos = &data[0]
        text.end = text.pos + data.shape[0]
        sink.pos = sink.end = NULL
        if out.shape[0]:
            sink.pos = &out[0]
            sink.end = sink.pos + out.shape[0]
        clock.text[0] = clock.text[1] = clock.second = 0
        with nogil:
            while fine and text.pos != text.end:
                c = load_u8(text.pos)
                if c != c"\n" and c != c"\r":
                    fine = self.fill_line(&text, blank, size, &sink, &clock, &forms)
                    n += 1
                fine = fine and at_line_end(&text)
                n_breaks += take(&text, 1) != NULL
        return (n, n_breaks, forms) if fine else None

    cdef bint fill_line(
        self, Cursor* rest, const uint8_t* blank, Py_ssize_t size, Sink* sink, Clock* clock,
        int* forms,
    ) noexcept nogil:
        # What: one line up to its end; is it a record?
        cdef Cursor text = rest[0]  # a copy, which stays in registers
        cdef uint8_t* record = claim(sink, size)
        cdef const Column* column
        cdef Py_ssize_t i
        cdef Cursor value
        if record == NULL:
            return False
        memcpy(record, blank, size)
        for i in range(self.n_columns):
            if i:
                if text.pos == text.end or load_u8(text.pos) != c",":
                    return False
                take(&text, 1)
            column = self.columns + i
            if column.use == WRITE:
                # at + width lie inside the record: checked when the plan was made
                if not write_value(&column.slot, &text, record + column.slot.at, clock, forms):
                    return False
                continue
            if not take_value(&text, &value):
                return False
            if column.use == EXPECT and (
                value.end - value.pos != column.width
                or (column.width and memcmp(value.pos, column.bytes, column.width) != 0)
            ):
                return False
        if text.pos - rest.pos > LONGEST:
            return False
        rest[0] = text
        return True
