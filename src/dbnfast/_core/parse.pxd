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

cdef Reason put_bytes(
    Kind kind, Cursor text, uint8_t* out, Py_ssize_t width, const uint8_t* absent
) noexcept nogil
cdef int check_field(int kind, Py_ssize_t width, Py_ssize_t at, Py_ssize_t stride) except -1
