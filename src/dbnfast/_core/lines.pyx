"""Plain lines of comma-separated values, of one layout, into records."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memchr, memcmp, memcpy

from dbnfast._core.bounds cimport Cursor, Sink, claim, take
from dbnfast._core.header cimport MAX_RECORD_SIZE, load_u8
from dbnfast._core.parse cimport FINE, Kind, check_field, put_bytes

cdef enum:
    LONGEST = 65536  # bytes of a line; more is nothing usual

cdef enum Use:
    SKIP
    EXPECT
    WRITE

cdef struct Column:
    Use use
    Kind kind
    Py_ssize_t at
    Py_ssize_t width  # of the field; of the text that is expected
    const uint8_t* bytes  # what an empty value becomes; the text that is expected


cdef inline bint next_part(Cursor* rest, uint8_t mark, Cursor* part) noexcept nogil:
    # Takes what is there up to a mark, and the mark; is there one? Else it takes all of it.
    cdef Py_ssize_t n = rest.end - rest.pos
    cdef const uint8_t* found = <const uint8_t*>memchr(rest.pos, mark, n) if n else NULL
    part.pos = rest.pos
    if found == NULL:
        part.end = rest.end
        take(rest, n)
        return False
    part.end = found
    take(rest, found - rest.pos + 1)
    return True


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
            else:
                column.use = WRITE
                kind, at, known = what
                check_field(kind, len(known), at, len(blank))
                column.kind, column.at = kind, at
            self.keep.append(known)
            column.bytes = <const uint8_t*>PyBytes_AS_STRING(known)
            column.width = PyBytes_GET_SIZE(known)

    def __dealloc__(self):
        free(self.columns)

    def fill(self, const uint8_t[::1] data not None, uint8_t[::1] out not None):
        """Make records of lines; see the stub."""
        cdef Cursor text, line
        cdef Sink sink
        cdef Py_ssize_t size = len(self.blank), n = 0, n_breaks = 0
        cdef int forms = 0
        cdef bint fine = True
        cdef const uint8_t* blank = <const uint8_t*>PyBytes_AS_STRING(self.blank)
        if data.shape[0] == 0:
            return 0, 0, 0
        text.pos = &data[0]
        text.end = text.pos + data.shape[0]
        sink.pos = sink.end = NULL
        if out.shape[0]:
            sink.pos = &out[0]
            sink.end = sink.pos + out.shape[0]
        with nogil:
            while fine and text.pos != text.end:
                n_breaks += next_part(&text, c"\n", &line)
                if line.pos != line.end and load_u8(line.end - 1) == c"\r":
                    line.end -= 1
                if line.pos != line.end:
                    fine = self.fill_line(line, blank, size, &sink, &forms)
                    n += 1
        return (n, n_breaks, forms) if fine else None

    cdef bint fill_line(
        self, Cursor line, const uint8_t* blank, Py_ssize_t size, Sink* sink, int* forms
    ) noexcept nogil:
        # What: one line; is it a record? Cost: one search for each comma, and the values.
        cdef Cursor value
        cdef Py_ssize_t i
        cdef uint8_t* record = claim(sink, size)
        cdef const Column* column
        cdef bint more = True
        if record == NULL or line.end - line.pos > LONGEST:
            return False
        memcpy(record, blank, size)
        for i in range(self.n_columns):
            if not more:
                return False
            more = next_part(&line, c",", &value)
            column = self.columns + i
            if column.use == WRITE:
                # at + width lie inside the record: checked when the plan was made
                if put_bytes(
                    column.kind, value, record + column.at, column.width, column.bytes, forms
                ) != FINE:
                    return False
            elif column.use == EXPECT:
                if value.end - value.pos != column.width or (
                    column.width and memcmp(value.pos, column.bytes, column.width) != 0
                ):
                    return False
        return not more
