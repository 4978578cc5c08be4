"""Plain lines of comma-separated values, of one layout, into records."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset

from dbnfast._core.bounds cimport Cursor, Sink, claim, covers, reach, take
from dbnfast._core.header cimport MAX_RECORD_SIZE, load_u8, load_u32, load_u64, lowest_bit
from dbnfast._core.parse cimport CHAR, FINE, TEXT, UNSIGNED, Slot, put_bytes, set_slot
from dbnfast._core.quick cimport AHEAD_OF_VALUE, Clock, equal, quick_value

cdef enum:
    LONGEST = 65536  # bytes of a line; more is nothing usual
    SHORT = 3

cdef enum Use:  # the kinds of values that are written come before these
    EXPECT_SHORT = <int>TEXT + 1
    EXPECT
    SKIP

cdef struct Column:
    int use
    uint8_t usual  # what `quick` keeps
    uint32_t word  # a short text that is expected, and a comma
    uint32_t mask  # of their bytes
    const uint8_t* bytes  # a text that is expected
    Py_ssize_t width  # of it
    Slot slot

cdef struct State:
    Clock clock
    int forms  # of prices


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


cdef inline const uint8_t* quick_cell(
    Column* column, const uint8_t* p, uint8_t* record, State* state
) noexcept nogil:
    # What: a value in its usual form, written; where it ends, or NULL, with nothing written that
    # an empty value would leave. Preconditions: AHEAD_OF_VALUE bytes are there; the column's field
    # lies inside the record.
    cdef uint8_t* out = record + column.slot.at
    cdef uint8_t c
    if column.use <= <int>UNSIGNED:
        return quick_value(&column.slot, p, out, &state.clock, &state.forms, &column.usual)
    if column.use == EXPECT_SHORT:
        return p + column.width if ((load_u32(p) ^ column.word) & column.mask) == 0 else NULL
    c = load_u8(p)
    if column.use != <int>CHAR or c == c'"' or is_end(c):
        return NULL
    out[0] = c
    return p + 1


@cython.final
cdef class LinePlan:
    """How a line becomes a record; see the stub."""

    cdef Column* columns
    cdef Py_ssize_t n_columns
    cdef bytes blank
    cdef list keep

    def __cinit__(self, bytes blank not None, columns):
        cdef Column* column
        cdef bytes known, word
        columns = tuple(columns)
        if not 0 < len(blank) <= MAX_RECORD_SIZE or not columns:
            raise ValueError(f"no lines of {len(columns)} values for {len(blank)} bytes")
        filled = bytearray(blank)
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
                if column.width <= SHORT:
                    column.use = EXPECT_SHORT
                    word = known + b","
                    memcpy(&column.word, PyBytes_AS_STRING(word), column.width + 1)
                    memset(&column.mask, 0xFF, column.width + 1)
            else:
                kind, at, known = what
                set_slot(&column.slot, kind, at, known, len(blank))
                column.use = kind
                filled[at : at + len(known)] = known  # an empty value then changes nothing
            self.keep.append(known)
        self.blank = bytes(filled)

    def __dealloc__(self):
        free(self.columns)

    def fill(self, const uint8_t[::1] data not None, uint8_t[::1] out not None):
        """Make records of lines; see the stub."""
        cdef Cursor text
        cdef Sink sink
        cdef State state
        cdef Py_ssize_t size = len(self.blank), n = 0, n_breaks = 0
        cdef Py_ssize_t n_bytes = self.n_columns * sizeof(Column)
        cdef bint fine = True
        cdef const uint8_t* blank = <const uint8_t*>PyBytes_AS_STRING(self.blank)
        cdef Column* columns
        cdef uint8_t c
        if data.shape[0] == 0:
            return 0, 0, 0
        text.pos = &data[0]
        text.end = text.pos + data.shape[0]
        sink.pos = sink.end = NULL
        if out.shape[0]:
            sink.pos = &out[0]
            sink.end = sink.pos + out.shape[0]
        memset(&state, 0, sizeof(State))
        # a copy, since what is usual changes, and other threads may use the plan
        columns = <Column*>malloc(n_bytes)
        if columns == NULL:
            raise MemoryError
        memcpy(columns, self.columns, n_bytes)
        with nogil:
            while fine and text.pos != text.end:
                c = load_u8(text.pos)
                if c != c"\n" and c != c"\r":
                    fine = self.fill_line(&text, columns, blank, size, &sink, &state)
                    n += 1
                fine = fine and at_line_end(&text)
                n_breaks += take(&text, 1) != NULL
        free(columns)
        return (n, n_breaks, state.forms) if fine else None

    cdef bint fill_line(
        self, Cursor* rest, Column* columns, const uint8_t* blank, Py_ssize_t size, Sink* sink,
        State* state,
    ) noexcept nogil:
        # What: one line up to its end; is it a record?
        cdef Cursor text = rest[0]  # a copy, which stays in registers
        cdef uint8_t* record = claim(sink, size)
        cdef Column* column = columns
        cdef Column* last = columns + self.n_columns - 1
        cdef const uint8_t* end
        cdef Cursor value
        if record == NULL:
            return False
        memcpy(record, blank, size)
        # at + width of each slot lie inside the record: checked when the plan was made
        while True:
            if column != last and covers(&text, text.pos, AHEAD_OF_VALUE):
                end = quick_cell(column, text.pos, record, state)
                if end == NULL:
                    # of empty values, which mostly have such neighbours, the blank record has
                    # what they become
                    end = text.pos
                    while (
                        column != last and column.use <= <int>TEXT
                        and end != text.end and load_u8(end) == c","
                    ):
                        end += 1
                        column += 1
                    if end != text.pos and reach(&text, end):
                        continue
                elif load_u8(end) == c"," and reach(&text, end + 1):
                    column += 1
                    continue
            if not take_value(&text, &value):
                return False
            if column.use <= <int>TEXT:
                if put_bytes(
                    column.slot.kind, value, record + column.slot.at, column.slot.width,
                    column.slot.absent, &state.forms,
                ) != FINE:
                    return False
            elif column.use != SKIP and (
                value.end - value.pos != column.width
                or (column.width and memcmp(value.pos, column.bytes, column.width) != 0)
            ):
                return False
            if column == last:
                break
            if text.pos == text.end or load_u8(text.pos) != c",":
                return False
            take(&text, 1)
            column += 1
        if text.pos - rest.pos > LONGEST:
            return False
        rest[0] = text
        return True
