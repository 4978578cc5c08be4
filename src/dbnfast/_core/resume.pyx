"""How far the records of a stream came: the highest times, by rtype and by instrument."""

cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from dbnfast._core.bounds cimport STEP, Cursor, Sink, claim, prefetch, step
from dbnfast._core.header cimport load_u8, load_u32, load_u64
from dbnfast._core.run cimport Run
from dbnfast._core.scan cimport SizeTable

import os

cdef enum:
    ID_AT = 4  # of the instrument id in every record's header
    FAR = 1024  # bytes: how far ahead records of one size are fetched
    TIMED = 1  # of what `peaks` says of an rtype: some records have a time
    UNTIMED = 2  # some have none
    PASSED = 4  # some do not count

cdef uint64_t NEVER = <uint64_t>-1


@cython.final
cdef class Clock:
    """Where the records of each rtype have their time, and which do not count; see the stub."""

    def __init__(
        self, SizeTable sizes not None, const uint16_t[::1] ts_at not None,
        const uint16_t[::1] pass_at not None, const uint8_t[::1] pass_bits not None,
    ):
        cdef int rtype
        cdef const uint16_t* min_size = sizes.of(False)
        if self.sizes is not None:
            raise TypeError("a clock is made once")
        if ts_at.shape[0] != 256 or pass_at.shape[0] != 256 or pass_bits.shape[0] != 256:
            raise ValueError("ts_at, pass_at and pass_bits need one entry for each rtype")
        for rtype in range(256):
            # `step` refuses records below their smallest size: then both are there
            if ts_at[rtype] + 8 > max(min_size[rtype], <uint16_t>16):
                raise ValueError(f"no timestamp at byte {ts_at[rtype]} of rtype {rtype}")
            if pass_at[rtype] + 1 > max(min_size[rtype], <uint16_t>16):
                raise ValueError(f"no byte {pass_at[rtype]} in rtype {rtype}")
            self.ts_at[rtype] = ts_at[rtype]
            self.pass_at[rtype] = pass_at[rtype]
            self.pass_bits[rtype] = pass_bits[rtype]
        self.sizes = sizes


cdef int check_clock(Clock clock) except -1:
    if clock is None or clock.sizes is None:
        raise TypeError("it, or its clock, was never made")
    return 0


cdef int check_out(Run run, const uint8_t[::1] out) except -1:
    if out.shape[0] < run._nbytes:
        raise ValueError(f"room for {out.shape[0]} bytes, {run._nbytes} may be needed")
    return 0


# --- highest times ---------------------------------------------------------------------------


cdef void peak(Clock clock, Run run, uint64_t* top, uint8_t* state) noexcept nogil:
    # What: the highest time of a run of equal records. Precondition: run._n records of run._size
    # bytes are there, which the survey saw to. No load depends on another.
    cdef Py_ssize_t _i, size = run._size
    cdef uint8_t rtype = <uint8_t>run._rtype, found = 0
    cdef uint16_t ts_at = clock.ts_at[rtype], pass_at = clock.pass_at[rtype]
    cdef uint8_t bits = clock.pass_bits[rtype]
    cdef uint64_t ts, highest = 0
    cdef const uint8_t* p = run.base
    for _i in range(run._n):
        prefetch(p + FAR)
        ts = load_u64(p + ts_at)
        if load_u8(p + pass_at) & bits:
            found |= PASSED
        elif ts == NEVER:
            found |= UNTIMED
        else:
            found |= TIMED
            highest = max(highest, ts)
        p += size
    top[0], state[0] = highest, found


cdef void peaks_of(
    Clock clock, Run run, uint64_t* tops, uint8_t* states, uint8_t* order, int* n
) noexcept nogil:
    # What: the highest time of each rtype, and the rtypes in the order in which they came.
    # Precondition: states are zero.
    cdef Cursor cursor = cursor_of(run)
    cdef const uint8_t* record = NULL
    cdef const uint16_t* min_size = clock.sizes.of(run._ts_out)
    cdef Py_ssize_t size = 0
    cdef uint64_t ts
    cdef uint8_t rtype = 0
    while step(&cursor, min_size, &record, &size, &rtype) == STEP:
        if states[rtype] == 0:
            order[n[0]] = rtype
            n[0] += 1
            tops[rtype] = 0
        ts = time_of(clock, record, rtype)
        if passed(clock, record, rtype):
            states[rtype] |= PASSED
        elif ts == NEVER:
            states[rtype] |= UNTIMED
        else:
            states[rtype] |= TIMED
            tops[rtype] = max(tops[rtype], ts)


def peaks(Run run not None, Clock clock not None):
    """Find the highest time of each rtype; see the stub."""
    cdef uint64_t tops[256]
    cdef uint8_t states[256]
    cdef uint8_t order[256]
    cdef uint64_t top = 0
    cdef uint8_t state = 0
    cdef int i, n = 0
    check_clock(clock)
    if run._n == 0:
        return ()
    if run._size:
        with nogil:
            peak(clock, run, &top, &state)
        return ((run._rtype, top, state),)
    memset(states, 0, sizeof(states))
    with nogil:
        peaks_of(clock, run, tops, states, order, &n)
    return tuple([(order[i], tops[order[i]], states[order[i]]) for i in range(n)])


def since(
    Run run not None, Clock clock not None, const uint64_t[::1] least not None,
    uint8_t[::1] out not None,
):
    """Copy the records from some times on; see the stub."""
    cdef Cursor cursor
    cdef Sink sink
    cdef const uint8_t* record = NULL
    cdef const uint64_t* lowest
    cdef uint8_t* to
    cdef Py_ssize_t size = 0
    cdef uint8_t rtype = 0
    check_clock(clock)
    check_out(run, out)
    if least.shape[0] != 256:
        raise ValueError("least needs one entry for each rtype")
    if run._n == 0:
        return 0
    lowest = &least[0]
    cursor = cursor_of(run)
    sink.pos = &out[0]
    sink.end = &out[0] + out.shape[0]
    with nogil:
        while step(&cursor, clock.sizes.of(run._ts_out), &record, &size, &rtype) == STEP:
            if not counts_from(clock, record, rtype, lowest):
                continue
            to = claim(&sink, size)
            if to == NULL:
                break  # never: the output is as long as the run
            memcpy(to, record, size)
    return sink.pos - &out[0]


# --- highest times by instrument -------------------------------------------------------------


cdef struct Peak:
    uint64_t top  # NEVER: free
    uint32_t id


@cython.final
cdef class IdPeaks:
    """The highest time of each instrument; see the stub."""

    cdef Peak* peaks
    cdef Clock clock
    cdef uint64_t seed, mask
    cdef readonly Py_ssize_t n

    def __cinit__(self):
        self.peaks = NULL

    def __init__(self, Clock clock not None):
        if self.clock is not None:
            raise TypeError("peaks are made once")
        check_clock(clock)
        self.seed = int.from_bytes(os.urandom(8), "little") | 1
        self.clock = clock

    def __dealloc__(self):
        free(self.peaks)

    cdef inline uint64_t place(self, uint32_t id, uint64_t mask) noexcept nogil:
        return ((id * self.seed) >> 32) & mask

    cdef int reserve(self, Py_ssize_t n_more) except -1:
        cdef uint64_t mask = (<uint64_t>1 << bits_for(self.n + n_more)) - 1
        cdef uint64_t i, at
        cdef Peak* found
        if self.peaks != NULL and mask <= self.mask:
            return 0
        found = <Peak*>calloc(mask + 1, sizeof(Peak))
        if found == NULL:
            raise MemoryError
        for i in range(mask + 1):
            found[i].top = NEVER
        for i in range(self.mask + 1 if self.peaks != NULL else 0):
            if self.peaks[i].top != NEVER:
                at = self.place(self.peaks[i].id, mask)
                while found[at].top != NEVER:
                    at = (at + 1) & mask
                found[at] = self.peaks[i]
        free(self.peaks)
        self.peaks, self.mask = found, mask
        return 0

    cdef void walk(self, Run run, uint8_t wanted) noexcept nogil:
        # Precondition: there is room for run._n new instruments.
        cdef Cursor cursor = cursor_of(run)
        cdef const uint16_t* min_size = self.clock.sizes.of(run._ts_out)
        cdef const uint8_t* record = NULL
        cdef Py_ssize_t size = 0
        cdef uint64_t at, ts
        cdef uint32_t id
        cdef uint8_t rtype = 0
        while step(&cursor, min_size, &record, &size, &rtype) == STEP:
            if rtype != wanted or passed(self.clock, record, rtype):
                continue
            ts = time_of(self.clock, record, rtype)
            if ts == NEVER:
                continue
            id = load_u32(record + ID_AT)
            at = self.place(id, self.mask)
            while self.peaks[at].top != NEVER and self.peaks[at].id != id:
                at = (at + 1) & self.mask
            if self.peaks[at].top == NEVER:
                self.n = self.n + 1
                self.peaks[at].id, self.peaks[at].top = id, ts
            else:
                self.peaks[at].top = max(self.peaks[at].top, ts)

    @cython.critical_section
    def update(self, Run run not None, uint8_t rtype):
        """Look at the records of an rtype; see the stub."""
        check_clock(self.clock)
        if run._n:
            self.reserve(run._n)
            self.walk(run, rtype)

    @cython.critical_section
    def fill(self, uint32_t[::1] ids not None, uint64_t[::1] tops not None):
        """Write instruments and their highest times; see the stub."""
        cdef uint64_t i
        cdef Py_ssize_t at = 0
        if ids.shape[0] != self.n or tops.shape[0] != self.n:
            raise ValueError(f"room for {ids.shape[0]} ids and {tops.shape[0]} times of {self.n}")
        for i in range(self.mask + 1 if self.peaks != NULL else 0):
            if self.peaks[i].top != NEVER:
                ids[at], tops[at] = self.peaks[i].id, self.peaks[i].top
                at += 1
