from libc.stdint cimport uint8_t

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

cdef Reason put_bytes(
    Kind kind, Cursor text, uint8_t* out, Py_ssize_t width, const uint8_t* absent, int* forms
) noexcept nogil
cdef int check_field(int kind, Py_ssize_t width, Py_ssize_t at, Py_ssize_t stride) except -1
