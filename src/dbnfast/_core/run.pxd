from libc.stdint cimport uint8_t

from dbnfast._core.scan cimport Summary


cdef class Owner:
    cdef readonly object source
    cdef Py_buffer held


cpdef object owned(object source)


cdef class Run:
    cdef readonly object _owner  # keeps the bytes alive: bytes, or an Owner
    cdef const uint8_t* base  # the first record's first byte, inside _owner
    cdef readonly Py_ssize_t _start  # its offset in _owner
    cdef readonly Py_ssize_t _nbytes
    cdef readonly Py_ssize_t _n
    cdef readonly int _rtype  # of all records; -1 where they differ in rtype or size, or are none
    cdef readonly int _size  # of all records; 0 where they differ in rtype or size, or are none
    cdef object seams  # parts that were surveyed each for itself; None where there was one
    cdef object groups  # as `groups_of` gives them; None until asked for where all are alike
    cdef readonly int _version
    cdef readonly bint _ts_out
    cdef readonly object _metadata
    cdef object dtype  # of the array that shows all records; None where not known
    cdef object offsets  # the index of a mixed run; None until it is needed


cdef object view_dtype(Run run)
cdef Run make_run(
    type cls, object owner, const uint8_t* base, Py_ssize_t start, Summary* summary, int version,
    bint ts_out, object metadata
)
