from libc.stdint cimport int64_t, uint8_t, uint16_t

from dbnfast._core.bounds cimport Status

cdef struct Summary:
    Py_ssize_t n_records
    Py_ssize_t stop  # bytes that whole records cover
    Status status
    uint8_t words[256]  # by rtype: the first size seen, 0 where none was
    int64_t count[256]  # by rtype, of that size; says nothing where none was seen
    int64_t* extra  # by words * 256 + rtype, made when an rtype comes in a second size


cdef class SizeTable:
    cdef uint16_t plain[256]
    cdef uint16_t stamped[256]
    cdef const uint16_t* of(self, bint ts_out) noexcept nogil


cdef void clear(Summary* out) noexcept nogil
cdef void survey(
    const uint8_t* base, Py_ssize_t n_bytes, const uint16_t* min_size, Summary* out
) noexcept nogil
cdef tuple groups_of(Summary* summary)
cdef Py_ssize_t same_stride(
    const uint8_t* base, Py_ssize_t size, Py_ssize_t n_max, uint16_t key
) noexcept nogil
