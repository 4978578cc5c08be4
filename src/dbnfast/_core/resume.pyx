"""What was delivered, so that a replay of it can be told: highest times, multisets of records."""

cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from dbnfast._core.bounds cimport FULL, STEP, Cursor, Sink, Status, claim, prefetch, step
from dbnfast._core.header cimport TS_OUT_SIZE, load_u8, load_u32, load_u64
from dbnfast._core.run cimport Run
from dbnfast._core.scan cimport SizeTable

import os

cdef enum:
    ID_AT = 4  # of the instrument id in every record's header
    RTYPE_AT = 1
    MIN_BITS = 4
    FAR = 1024  # bytes: how far ahead records of one size are fetched
    TIMED = 1  # of what `peaks` says of an rtype: some records have a time
    UNTIMED = 2  # some have none
    PASSED = 4  # some do not count

cdef uint64_t NEVER = <uint64_t>-1


@cython.final
cdef class Clock:
    """Where the records of each rtype have their time, and which do not count; see the stub."""

    cdef SizeTable sizes
    cdef uint16_t ts_at[256]
    cdef uint16_t pass_at[256]
    cdef uint8_t pass_bits[256]

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

    cdef inline uint64_t time_of(self, const uint8_t* record, uint8_t rtype) noexcept nogil:
        return load_u64(record + self.ts_at[rtype])

    cdef inline bint passed(self, const uint8_t* record, uint8_t rtype) noexcept nogil:
        return load_u8(record + self.pass_at[rtype]) & self.pass_bits[rtype] != 0


cdef int check_clock(Clock clock) except -1:
    if clock.sizes is None:
        raise TypeError("the clock was never made")
    return 0


cdef inline Cursor cursor_of(Run run) noexcept nogil:
    # The run keeps its bytes alive and in place. Precondition: it has some.
    cdef Cursor cursor
    cursor.pos = run.base
    cursor.end = run.base + run._nbytes
    return cursor


cdef int check_out(Run run, const uint8_t[::1] out) except -1:
    if out.shape[0] < run._nbytes:
        raise ValueError(f"room for {out.shape[0]} bytes, {run._nbytes} may be needed")
    return 0


# --- highest times ---------------------------------------------------------------------------


cdef void peak(Clock clock, Run run, uint64_t* top, uint8_t* state) noexcept nogil:
    # What: the highest time of a run of equal records. Precondition: run._n records of run._size
    # bytes are there, which the survey saw to. No load depends on another.
    cdef Py_ssize_t i, size = run._size
    cdef uint8_t rtype = <uint8_t>run._rtype, found = 0
    cdef uint16_t ts_at = clock.ts_at[rtype], pass_at = clock.pass_at[rtype]
    cdef uint8_t bits = clock.pass_bits[rtype]
    cdef uint64_t ts, highest = 0
    cdef const uint8_t* p = run.base
    for i in range(run._n):
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
        ts = clock.time_of(record, rtype)
        if clock.passed(record, rtype):
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
    cdef uint8_t* to
    cdef Py_ssize_t size = 0
    cdef uint8_t rtype = 0
    check_clock(clock)
    check_out(run, out)
    if least.shape[0] != 256:
        raise ValueError("least needs one entry for each rtype")
    if run._n == 0:
        return 0
    cursor = cursor_of(run)
    sink.pos = &out[0]
    sink.end = &out[0] + out.shape[0]
    with nogil:
        while step(&cursor, clock.sizes.of(run._ts_out), &record, &size, &rtype) == STEP:
            if not counts_from(clock, record, rtype, &least[0]):
                continue
            to = claim(&sink, size)
            if to == NULL:
                break  # never: the output is as long as the run
            memcpy(to, record, size)
    return sink.pos - &out[0]


cdef inline bint counts_from(
    Clock clock, const uint8_t* record, uint8_t rtype, const uint64_t* least
) noexcept nogil:
    # Is the record's time, which may be undefined, at least what its rtype asks for?
    if least[rtype] == NEVER or clock.passed(record, rtype):
        return False
    return clock.time_of(record, rtype) >= least[rtype]


# --- hashes ----------------------------------------------------------------------------------


cdef struct Keys:
    uint64_t first
    uint64_t second
    uint64_t odd_first
    uint64_t odd_second


cdef struct Digest:
    uint64_t a
    uint64_t b


cdef Keys new_keys() except *:
    # Whoever chooses the records cannot make their hashes collide.
    cdef Keys keys
    cdef bytes raw = os.urandom(32)
    keys.first = int.from_bytes(raw[:8], "little")
    keys.second = int.from_bytes(raw[8:16], "little")
    keys.odd_first = int.from_bytes(raw[16:24], "little") | 1
    keys.odd_second = int.from_bytes(raw[24:], "little") | 1
    return keys


cdef inline uint64_t turned(uint64_t value, int by) noexcept nogil:
    return (value << by) | (value >> (64 - by))


cdef inline uint64_t mixed(uint64_t value) noexcept nogil:
    value = (value ^ (value >> 33)) * <uint64_t>0xFF51AFD7ED558CCD
    value = (value ^ (value >> 33)) * <uint64_t>0xC4CEB9FE1A85EC53
    return value ^ (value >> 33)


cdef inline Digest digest(const Keys* keys, const uint8_t* p, Py_ssize_t n) noexcept nogil:
    # 128 bits of n bytes, in the way of MurmurHash3, the multipliers being keys too.
    # Precondition: n is a multiple of 4, as records are long.
    cdef Digest out
    cdef uint64_t a = keys.first, b = keys.second, one, two
    cdef Py_ssize_t left = n
    while left > 0:
        if left >= 16:
            one, two = load_u64(p), load_u64(p + 8)
        else:
            one = load_u64(p) if left >= 8 else load_u32(p)
            two = load_u32(p + 8) if left == 12 else 0
        a ^= turned(one * keys.odd_first, 31) * keys.odd_second
        a = (turned(a, 27) + b) * 5 + 0x52DCE729
        b ^= turned(two * keys.odd_second, 33) * keys.odd_first
        b = (turned(b, 31) + a) * 5 + 0x38495AB5
        p += 16
        left -= 16
    a ^= <uint64_t>n
    b ^= <uint64_t>n
    a += b
    b += a
    a, b = mixed(a), mixed(b)
    out.a = a + b
    out.b = b + out.a
    return out


cdef int bits_for(uint64_t n) noexcept nogil:
    # The power of two that leaves at least a quarter of a hash free.
    cdef int bits = MIN_BITS
    while (<uint64_t>3 << bits) < 4 * n:
        bits += 1
    return bits


cdef inline Py_ssize_t compared(Run run, Py_ssize_t size) noexcept nogil:
    # Bytes of a record but for its ts_out. The smallest legal size holds both.
    return size - TS_OUT_SIZE if run._ts_out else size


cdef int check_bits(int hash_bits) except -1:
    if not 0 <= hash_bits <= 64:
        raise ValueError(f"hash_bits is {hash_bits}, expected 0 to 64")
    return 0


# --- records that pass -----------------------------------------------------------------------


cdef struct Sieve:
    # The records that pass go to `sink`, from the first one that does not on.
    Sink sink
    const uint8_t* begin
    bint copying


cdef inline Sieve sieve_of(Run run, uint8_t[::1] out) noexcept:
    cdef Sieve sieve
    sieve.sink.pos = &out[0]
    sieve.sink.end = &out[0] + out.shape[0]
    sieve.begin = run.base
    sieve.copying = False
    return sieve


cdef inline bint drop(Sieve* sieve, const uint8_t* record) noexcept nogil:
    # Leave a record out: from now on those that pass are copied, those before it at once.
    cdef uint8_t* to
    cdef Py_ssize_t n = record - sieve.begin
    if sieve.copying:
        return True
    sieve.copying = True
    to = claim(&sieve.sink, n)
    if to != NULL:
        memcpy(to, sieve.begin, n)
    return to != NULL


cdef inline bint keep(Sieve* sieve, const uint8_t* record, Py_ssize_t size) noexcept nogil:
    cdef uint8_t* to
    if not sieve.copying:
        return True
    to = claim(&sieve.sink, size)
    if to != NULL:
        memcpy(to, record, size)
    return to != NULL


# --- a multiset of bytes ---------------------------------------------------------------------


cdef struct Item:
    uint64_t hash
    const uint8_t* record  # NULL: free
    uint32_t size
    uint32_t n


@cython.final
cdef class Bag:
    """A multiset of records; see the stub."""

    cdef Item* items
    cdef Clock clock
    cdef Keys keys
    cdef uint64_t hash_mask, mask
    cdef Py_ssize_t n_used
    cdef readonly Py_ssize_t left
    cdef Py_ssize_t left_of[256]
    cdef list runs  # keep alive what the items point to

    def __cinit__(self):
        self.items = NULL
        memset(self.left_of, 0, sizeof(self.left_of))

    def __init__(self, Clock clock not None, int hash_bits=64):
        if self.clock is not None:
            raise TypeError("a bag is made once")
        check_clock(clock)
        check_bits(hash_bits)
        self.hash_mask = (<uint64_t>1 << hash_bits) - 1 if hash_bits < 64 else NEVER
        self.keys = new_keys()
        self.runs = []
        self.clock = clock

    def __dealloc__(self):
        free(self.items)

    @property
    def nbytes(self):
        """Bytes of the table."""
        return (self.mask + 1) * sizeof(Item) if self.items != NULL else 0

    cdef int reserve(self, Py_ssize_t n_more) except -1:
        # Make room for that many new records, so that nothing need be allocated while walking.
        cdef uint64_t mask = (<uint64_t>1 << bits_for(self.n_used + n_more)) - 1
        cdef uint64_t i, at
        cdef Item* items
        if self.items != NULL and mask <= self.mask:
            return 0
        items = <Item*>calloc(mask + 1, sizeof(Item))
        if items == NULL:
            raise MemoryError
        for i in range(self.mask + 1 if self.items != NULL else 0):
            if self.items[i].record != NULL:
                at = self.items[i].hash & mask
                while items[at].record != NULL:
                    at = (at + 1) & mask
                items[at] = self.items[i]
        free(self.items)
        self.items, self.mask = items, mask
        return 0

    cdef Item* seek(self, uint64_t hash, const uint8_t* record, uint32_t size) noexcept nogil:
        # Its place, or the free one that it would take. Precondition: a place is free.
        cdef uint64_t at = hash & self.mask
        cdef Item* item
        while True:
            item = self.items + at
            if item.record == NULL:
                return item
            if item.hash == hash and item.size == size:
                if memcmp(item.record, record, size) == 0:
                    return item
            at = (at + 1) & self.mask

    cdef Py_ssize_t put_all(self, Run run, const uint64_t* least) noexcept nogil:
        # Precondition: there is room for run._n new records. How many were put.
        cdef Cursor cursor = cursor_of(run)
        cdef const uint16_t* min_size = self.clock.sizes.of(run._ts_out)
        cdef const uint8_t* record = NULL
        cdef Py_ssize_t size = 0, n = 0
        cdef uint64_t hash
        cdef uint8_t rtype = 0
        cdef Item* item
        while step(&cursor, min_size, &record, &size, &rtype) == STEP:
            if not counts_from(self.clock, record, rtype, least):
                continue
            size = compared(run, size)
            hash = digest(&self.keys, record, size).a & self.hash_mask
            item = self.seek(hash, record, <uint32_t>size)
            if item.record == NULL:
                self.n_used = self.n_used + 1
                item.hash, item.record, item.size, item.n = hash, record, <uint32_t>size, 0
            item.n += 1
            self.left_of[rtype] = self.left_of[rtype] + 1
            n += 1
        return n

    cdef Status sift_all(self, Run run, Sieve* sieve) noexcept nogil:
        # What: leave out each record that the bag has, and take it out of the bag.
        cdef Cursor cursor = cursor_of(run)
        cdef const uint16_t* min_size = self.clock.sizes.of(run._ts_out)
        cdef const uint8_t* record = NULL
        cdef Py_ssize_t size = 0, n
        cdef uint8_t rtype = 0
        cdef Item* item
        cdef Status status
        while True:
            status = step(&cursor, min_size, &record, &size, &rtype)
            if status != STEP:
                return status
            if self.left_of[rtype] and not self.clock.passed(record, rtype):
                n = compared(run, size)
                item = self.seek(
                    digest(&self.keys, record, n).a & self.hash_mask, record, <uint32_t>n
                )
                if item.record != NULL and item.n:
                    item.n -= 1
                    self.left_of[rtype] = self.left_of[rtype] - 1
                    self.left = self.left - 1
                    if not drop(sieve, record):
                        return FULL
                    continue
            if not keep(sieve, record, size):
                return FULL

    @cython.critical_section
    def add(self, Run run not None, const uint64_t[::1] least not None):
        """Put records in; see the stub."""
        cdef Py_ssize_t n
        check_clock(self.clock)
        if least.shape[0] != 256:
            raise ValueError("least needs one entry for each rtype")
        if run._n == 0:
            return 0
        self.reserve(run._n)
        self.runs.append(run)  # before anything points into it
        n = self.put_all(run, &least[0])
        self.left += n
        if n == 0:
            self.runs.pop()
        return n

    @cython.critical_section
    def sift(self, Run run not None, uint8_t[::1] out not None):
        """Leave out and take out what is in the bag; see the stub."""
        cdef Sieve sieve
        check_clock(self.clock)
        check_out(run, out)
        if run._n == 0 or self.left == 0:
            return -1
        sieve = sieve_of(run, out)
        self.sift_all(run, &sieve)  # never full: the output is as long as the run
        return sieve.sink.pos - &out[0] if sieve.copying else -1

    @cython.critical_section
    def forget(self, uint8_t rtype):
        """Take out all records of an rtype; see the stub."""
        cdef uint64_t i
        check_clock(self.clock)
        for i in range(self.mask + 1 if self.items != NULL else 0):
            if self.items[i].record != NULL and load_u8(self.items[i].record + RTYPE_AT) == rtype:
                self.items[i].n = 0
        self.left -= self.left_of[rtype]
        self.left_of[rtype] = 0


# --- a multiset of hashes --------------------------------------------------------------------


cdef struct Count:
    uint64_t a
    uint64_t b
    uint32_t n  # 0: free
    uint32_t left


@cython.final
cdef class Counts:
    """How often each record was seen, by a hash of 128 bits; see the stub."""

    cdef Count* counts
    cdef Clock clock
    cdef Keys keys
    cdef uint64_t hash_mask, mask
    cdef Py_ssize_t n_used
    cdef readonly Py_ssize_t n, left

    def __cinit__(self):
        self.counts = NULL

    def __init__(self, Clock clock not None, int hash_bits=64):
        if self.clock is not None:
            raise TypeError("counts are made once")
        check_clock(clock)
        check_bits(hash_bits)
        self.hash_mask = (<uint64_t>1 << hash_bits) - 1 if hash_bits < 64 else NEVER
        self.keys = new_keys()
        self.clock = clock

    def __dealloc__(self):
        free(self.counts)

    @property
    def nbytes(self):
        """Bytes of the table."""
        return (self.mask + 1) * sizeof(Count) if self.counts != NULL else 0

    cdef int reserve(self, Py_ssize_t n_more) except -1:
        cdef uint64_t mask = (<uint64_t>1 << bits_for(self.n_used + n_more)) - 1
        cdef uint64_t i, at
        cdef Count* counts
        if self.counts != NULL and mask <= self.mask:
            return 0
        counts = <Count*>calloc(mask + 1, sizeof(Count))
        if counts == NULL:
            raise MemoryError
        for i in range(self.mask + 1 if self.counts != NULL else 0):
            if self.counts[i].n:
                at = self.counts[i].a & self.hash_mask & mask
                while counts[at].n:
                    at = (at + 1) & mask
                counts[at] = self.counts[i]
        free(self.counts)
        self.counts, self.mask = counts, mask
        return 0

    cdef Count* seek(self, Digest found) noexcept nogil:
        # Its place, or the free one that it would take. Precondition: a place is free.
        cdef uint64_t at = found.a & self.hash_mask & self.mask
        cdef Count* count
        while True:
            count = self.counts + at
            if count.n == 0 or (count.a == found.a and count.b == found.b):
                return count
            at = (at + 1) & self.mask

    cdef inline void learn(self, Count* count, Digest found) noexcept nogil:
        if count.n == 0:
            self.n_used = self.n_used + 1
            count.a, count.b = found.a, found.b
            count.left = 0
        if count.n < <uint32_t>-1:
            count.n += 1
        self.n = self.n + 1

    cdef Status walk(
        self, Run run, uint8_t wanted, uint64_t least, bint learning, Sieve* sieve
    ) noexcept nogil:
        # What: count the wanted records, or leave out those that are left of them.
        # Preconditions: there is room for run._n new records, or nothing is learnt; `sieve` is
        # NULL where nothing is to be left out.
        cdef Cursor cursor = cursor_of(run)
        cdef const uint16_t* min_size = self.clock.sizes.of(run._ts_out)
        cdef const uint8_t* record = NULL
        cdef Py_ssize_t size = 0
        cdef uint8_t rtype = 0
        cdef Digest found
        cdef Count* count
        cdef Status status
        while True:
            status = step(&cursor, min_size, &record, &size, &rtype)
            if status != STEP:
                return status
            if (
                rtype == wanted and not self.clock.passed(record, rtype)
                and self.clock.time_of(record, rtype) >= least
            ):
                found = digest(&self.keys, record, compared(run, size))
                count = self.seek(found)
                if sieve != NULL and count.n and count.left:
                    count.left -= 1
                    self.left = self.left - 1
                    if not drop(sieve, record):
                        return FULL
                    continue
                if learning:
                    self.learn(count, found)
            if sieve != NULL and not keep(sieve, record, size):
                return FULL

    @cython.critical_section
    def add(self, Run run not None, uint8_t rtype, uint64_t least):
        """Count records; see the stub."""
        check_clock(self.clock)
        if run._n:
            self.reserve(run._n)
            self.walk(run, rtype, least, True, NULL)

    @cython.critical_section
    def sift(self, Run run not None, uint8_t rtype, bint learning, uint8_t[::1] out not None):
        """Leave out the records that are left of those counted; see the stub."""
        cdef Sieve sieve
        check_clock(self.clock)
        check_out(run, out)
        if run._n == 0:
            return -1
        self.reserve(run._n if learning else 0)
        sieve = sieve_of(run, out)
        self.walk(run, rtype, 0, learning, &sieve)
        return sieve.sink.pos - &out[0] if sieve.copying else -1

    @cython.critical_section
    def rewind(self):
        """Expect all that was counted once more; see the stub."""
        cdef uint64_t i
        self.left = 0
        for i in range(self.mask + 1 if self.counts != NULL else 0):
            self.counts[i].left = self.counts[i].n
            self.left += self.counts[i].n

    @cython.critical_section
    def forget(self):
        """Expect nothing any more; see the stub."""
        cdef uint64_t i
        self.left = 0
        for i in range(self.mask + 1 if self.counts != NULL else 0):
            self.counts[i].left = 0


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
            if rtype != wanted or self.clock.passed(record, rtype):
                continue
            ts = self.clock.time_of(record, rtype)
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
