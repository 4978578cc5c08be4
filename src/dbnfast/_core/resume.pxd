from libc.stdint cimport uint8_t, uint16_t, uint64_t

from dbnfast._core.bounds cimport Cursor
from dbnfast._core.header cimport load_u8, load_u64
from dbnfast._core.run cimport Run
from dbnfast._core.scan cimport SizeTable


cdef class Clock:
    cdef SizeTable sizes
    cdef uint16_t ts_at[256]
    cdef uint16_t pass_at[256]
    cdef uint8_t pass_bits[256]


cdef int check_clock(Clock clock) except -1
cdef int check_out(Run run, const uint8_t[::1] out) except -1


cdef inline uint64_t time_of(Clock clock, const uint8_t* record, uint8_t rtype) noexcept nogil:
    return load_u64(record + clock.ts_at[rtype])


cdef inline bint passed(Clock clock, const uint8_t* record, uint8_t rtype) noexcept nogil:
    # Does the record not count?
    return load_u8(record + clock.pass_at[rtype]) & clock.pass_bits[rtype] != 0


cdef inline bint counts_from(
    Clock clock, const uint8_t* record, uint8_t rtype, const uint64_t* least
) noexcept nogil:
    # Is the record's time, which may be undefined, at least what its rtype asks for?
    if least[rtype] == <uint64_t>-1 or passed(clock, record, rtype):
        return False
    return time_of(clock, record, rtype) >= least[rtype]


cdef inline Cursor cursor_of(Run run) noexcept nogil:
    # The run keeps its bytes alive and in place. Precondition: it has some.
    cdef Cursor cursor
    cursor.pos = run.base
    cursor.end = run.base + run._nbytes
    return cursor


cdef inline int bits_for(uint64_t n) noexcept nogil:
    # The power of two that leaves at least a quarter of a hash free.
    cdef int bits = 4
    while (<uint64_t>3 << bits) < 4 * n:
        bits += 1
    return bits
