# The one place that checks bounds. A kernel reads what `take` or `step` gave it, and writes
# what `claim` gave it; nothing else advances.

from libc.stdint cimport uint8_t, uint16_t

cdef extern from *:
    """
    #if defined(__GNUC__) || defined(__clang__)
    #define DBNFAST_PREFETCH(p) __builtin_prefetch(p)
    #else
    #define DBNFAST_PREFETCH(p) ((void)(p))
    #endif
    """
    void prefetch "DBNFAST_PREFETCH"(const void* p) noexcept nogil  # a hint: never faults

cdef enum:
    AHEAD = 2048  # bytes; hardware alone stops at pages and guesses varying strides badly

cdef enum Status:
    DONE = 0  # the input ended behind a whole record
    MORE = 1  # a record began that the input does not hold whole
    INVALID = 2  # a header that cannot be true
    STEP = 3  # one record further
    FULL = 4  # an output has no room left

cdef struct Cursor:
    const uint8_t* pos
    const uint8_t* end

cdef struct Sink:
    uint8_t* pos
    uint8_t* end


cdef inline const uint8_t* take(Cursor* cursor, Py_ssize_t n) noexcept nogil:
    # NULL, and no step, unless n bytes are left.
    cdef const uint8_t* here = cursor.pos
    if n < 0 or n > cursor.end - here:
        return NULL
    cursor.pos = here + n
    return here


cdef inline bint reach(Cursor* cursor, const uint8_t* p) noexcept nogil:
    # Steps to a place behind the cursor's; False, and no step, if it lies past the end.
    if p > cursor.end:
        return False
    cursor.pos = p
    return True


cdef inline uint8_t* claim(Sink* sink, Py_ssize_t n) noexcept nogil:
    # NULL, and no step, unless there is room for n bytes.
    cdef uint8_t* here = sink.pos
    if n < 0 or n > sink.end - here:
        return NULL
    sink.pos = here + n
    return here


cdef inline uint8_t* room(const Sink* sink, Py_ssize_t n) noexcept nogil:
    # Where `claim` would step, without the step; NULL unless there is room for n bytes.
    return sink.pos if n <= sink.end - sink.pos else NULL


cdef inline bint covers(const Cursor* cursor, const uint8_t* p, Py_ssize_t n) noexcept nogil:
    # Are n bytes there from p on, a place that `take` or `step` gave?
    return n <= cursor.end - p


cdef inline Status step(
    Cursor* cursor, const uint16_t* min_size, const uint8_t** record, Py_ssize_t* n_bytes,
    uint8_t* rtype
) noexcept nogil:
    # DBN: byte 0 of a record counts its 4-byte words, header and ts_out included. A header is
    # judged when all 16 bytes are there, so that any split of a stream is judged alike; a size
    # below 16 is refused before the step, since a step of 0 would never end. Size and rtype are
    # read once and handed on: memory that somebody else writes to cannot make them disagree.
    cdef const uint8_t* here = cursor.pos
    cdef Py_ssize_t left = cursor.end - here
    cdef Py_ssize_t n
    if left < 16:
        return DONE if left == 0 else MORE
    prefetch(here + AHEAD)
    n = here[0] * 4
    rtype[0] = here[1]
    if n < 16 or n < min_size[rtype[0]]:
        return INVALID
    if n > left:
        return MORE
    record[0] = here
    n_bytes[0] = n
    cursor.pos = here + n
    return STEP
