"""Multisets of records, so that those of a replay that were delivered before can be told."""

cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from dbnfast._core.bounds cimport FULL, STEP, Cursor, Sink, Status, claim, step
from dbnfast._core.header cimport TS_OUT_SIZE, load_u8, load_u32, load_u64
from dbnfast._core.resume cimport (
    Clock,
    bits_for,
    check_clock,
    check_out,
    counts_from,
    cursor_of,
    passed,
    time_of,
)
from dbnfast._core.run cimport Run

import os

cdef enum:
    RTYPE_AT = 1

cdef uint64_t NEVER = <uint64_t>-1


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
            if self.left_of[rtype] and not passed(self.clock, record, rtype):
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
        self.runs.append(run)  # before anything points into it
        self.reserve(run._n)
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
                rtype == wanted and not passed(self.clock, record, rtype)
                and time_of(self.clock, record, rtype) >= least
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
