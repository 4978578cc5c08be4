from libc.stdint cimport int16_t, uint8_t

from cpython.object cimport PyObject, PyTypeObject

from dbnfast._core.copy cimport Recipe

cdef struct Entry:
    Py_ssize_t size  # of the layout, without ts_out
    PyTypeObject* cls
    const Recipe* recipe  # to the newest layout; NULL for that layout itself
    PyTypeObject* newest
    int16_t next


cdef class RecordTable:
    cdef int16_t first[256]
    cdef Entry* entries
    cdef PyTypeObject* fallback
    cdef list keep


cdef object make_record(
    RecordTable table, const uint8_t* p, Py_ssize_t n, bint ts_out, bint upgrade
)
