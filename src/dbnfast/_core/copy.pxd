from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t

from dbnfast._core.bounds cimport Sink

cdef struct Move:
    Py_ssize_t to
    Py_ssize_t source
    Py_ssize_t n_bytes

cdef struct Rule:
    const uint8_t* head  # the text begins with this
    Py_ssize_t n_head
    const uint8_t* tail  # and ends with this
    Py_ssize_t n_tail
    bint whole  # the text is the head and no more
    uint8_t code

cdef struct Recipe:
    Py_ssize_t source_size
    Py_ssize_t size
    uint8_t* template
    Py_ssize_t n_moves
    Move* moves
    Py_ssize_t widen_to  # where a 32-bit integer becomes a 64-bit one; -1: nowhere
    Py_ssize_t widen_from
    int32_t undef_from
    int64_t undef_to
    Py_ssize_t code_at  # where the code that the text implies goes; -1: nowhere
    Py_ssize_t text_at
    Py_ssize_t n_text
    Py_ssize_t n_rules
    Rule* rules

cdef struct Route:
    uint8_t words
    int16_t next
    int16_t slot
    Py_ssize_t n_bytes
    const Recipe* recipe


cdef class Program:
    cdef Recipe recipe
    cdef list keep


cdef class Plan:
    cdef int16_t first[256]
    cdef Route* routes
    cdef Sink* sinks
    cdef Py_ssize_t n_sinks
    cdef list keep


cdef void upgrade_record(
    const Recipe* recipe, const uint8_t* source, Py_ssize_t n_source, uint8_t* out, bint ts_out
) noexcept nogil
