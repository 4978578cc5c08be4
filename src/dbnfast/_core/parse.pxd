from libc.stdint cimport int64_t, uint8_t, uint64_t

from dbnfast._core.bounds cimport Cursor

cdef enum Kind:
    PRICE
    TIME
    SIGNED
    UNSIGNED
    CHAR
    TEXT

cdef enum Reason:
    FINE
    WRONG_TYPE
    UNREADABLE
    OUT_OF_RANGE
    DECIMALS
    NO_DATE
    TOO_LONG
    HAS_NUL

cdef enum:
    DECIMAL = 1  # forms of prices: with a point or an exponent
    INTEGER = 2  # digits alone, in units of 1e-9; 0 is the same in both

cdef struct Slot:
    Kind kind
    bint signed
    Py_ssize_t at  # of the record
    Py_ssize_t width
    uint64_t most  # the highest number; of signed ones the lowest is one further from 0
    const uint8_t* absent  # what no value becomes

cdef Reason date_time(const uint8_t* p, int64_t* seconds) noexcept nogil
cdef Reason put_bytes(
    Kind kind, Cursor text, uint8_t* out, Py_ssize_t width, const uint8_t* absent, int* forms
) noexcept nogil
cdef int set_slot(Slot* slot, int kind, Py_ssize_t at, bytes absent, Py_ssize_t size) except -1
