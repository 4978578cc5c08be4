"""Which symbol an instrument has at a time: tables of intervals, and maps that streams change."""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc

from dbnfast._core.bounds cimport FULL, INVALID, STEP, Cursor, Status, prefetch, step
from dbnfast._core.header cimport HEADER_SIZE, load_u32, load_u64
from dbnfast._core.scan cimport SizeTable

import os

cdef enum:
    ID_AT = 4  # of the instrument id in every record's header
    UNMAPPED = -1
    FREE = -2  # of a place in a LiveMap that no id has taken
    MIN_BITS = 4
    MEMO_BITS = 7
    FAR = 1024  # bytes: how far ahead records of one size are fetched

cdef uint64_t NEVER = <uint64_t>-1


cdef struct Stretch:
    uint64_t begin
    uint64_t end  # half-open, so that the undefined timestamp is in none
    int32_t code


cdef struct Slot:
    uint32_t id
    uint32_t n  # stretches; 0: no id has taken the slot
    int64_t first  # of them, in order


cdef struct Memo:
    # What was found last: `id` has `code` in all of [begin, end).
    uint64_t begin
    uint64_t end
    uint32_t id
    int32_t code


cdef struct Memos:
    # One for every instrument of a small file; ids that share one take it from each other.
    Memo memo[1 << MEMO_BITS]


cdef struct Entry:
    uint32_t id
    int32_t code


cdef uint64_t odd_seed() except 0:
    # A header's author chooses the ids; without the seed he cannot make them collide.
    return int.from_bytes(os.urandom(8), "little") | 1


cdef inline uint64_t place(uint32_t id, uint64_t seed, int bits) noexcept nogil:
    return (id * seed) >> (64 - bits)


cdef int bits_for(uint64_t n) noexcept nogil:
    # The power of two that leaves at least half of a hash free.
    cdef int bits = MIN_BITS
    while (<uint64_t>1 << bits) < 2 * n:
        bits += 1
    return bits


@cython.final
cdef class SymbolTable:
    """The symbols of instruments over time; see the stub."""

    cdef Slot* slots
    cdef Stretch* stretches
    cdef uint64_t seed, mask
    cdef int bits
    cdef readonly Py_ssize_t n_ids, n_intervals

    def __cinit__(self):
        self.slots = NULL
        self.stretches = NULL

    def __init__(
        self, const uint32_t[::1] ids not None, const int64_t[::1] first not None,
        const uint64_t[::1] begins not None, const uint64_t[::1] ends not None,
        const int32_t[::1] codes not None,
    ):
        cdef Py_ssize_t i, j, n = begins.shape[0], n_ids = ids.shape[0]
        if self.slots != NULL:
            raise TypeError("a table is made once")
        if first.shape[0] != n_ids + 1 or ends.shape[0] != n or codes.shape[0] != n:
            raise ValueError("the columns of a symbol table differ in length")
        if n >= 1 << 32 or first[0] != 0 or first[n_ids] != n:
            raise ValueError(f"the offsets do not cover the {n} intervals")
        self.seed = odd_seed()
        self.bits = bits_for(n_ids)
        self.mask = (<uint64_t>1 << self.bits) - 1
        self.slots = <Slot*>calloc(self.mask + 1, sizeof(Slot))
        self.stretches = <Stretch*>malloc((n + 1) * sizeof(Stretch))
        if self.slots == NULL or self.stretches == NULL:
            raise MemoryError
        for i in range(n_ids):
            # a slot goes in only when its intervals are all there and in order
            if (i and ids[i] <= ids[i - 1]) or not 0 <= first[i] < first[i + 1] <= n:
                raise ValueError(f"instrument {ids[i]} is out of order or has no interval")
            for j in range(first[i], first[i + 1]):
                if begins[j] >= ends[j] or (j > first[i] and begins[j] < ends[j - 1]):
                    raise ValueError(f"the intervals of instrument {ids[i]} are not in order")
                if codes[j] < 0:
                    raise ValueError(f"an interval of instrument {ids[i]} has code {codes[j]}")
                self.stretches[j] = Stretch(begins[j], ends[j], codes[j])
            self.insert(ids[i], first[i], first[i + 1] - first[i])
            self.n_ids += 1
            self.n_intervals = first[i + 1]

    cdef void insert(self, uint32_t id, int64_t first, int64_t n) noexcept nogil:
        # Preconditions: the id is not in, and a slot is free.
        cdef uint64_t at = place(id, self.seed, self.bits)
        while self.slots[at].n:
            at = (at + 1) & self.mask
        self.slots[at] = Slot(id, <uint32_t>n, first)

    def __dealloc__(self):
        free(self.slots)
        free(self.stretches)

    def code(self, uint32_t id, uint64_t ts):
        """Give the code of one id at one time; see the stub."""
        cdef Memo memo
        find(self, &memo, id, ts)
        return memo.code


cdef inline void forget(Memos* memos) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(1 << MEMO_BITS):
        memos.memo[i] = Memo(1, 0, 0, UNMAPPED)  # holds no time


cdef void find(SymbolTable table, Memo* memo, uint32_t id, uint64_t ts) noexcept nogil:
    # What holds for the id around ts, gaps between its stretches among it. Cost: one look into
    # the hash, which is never full, then a binary search of the id's own stretches.
    cdef const Stretch* stretch
    cdef const Slot* slot
    cdef uint64_t at
    cdef Py_ssize_t left, half
    memo.id = id
    memo.code = UNMAPPED
    memo.begin, memo.end = 0, NEVER
    if table.n_ids == 0:
        return
    at = place(id, table.seed, table.bits)
    slot = table.slots + at
    while slot.id != id or slot.n == 0:
        if slot.n == 0:
            return
        at = (at + 1) & table.mask
        slot = table.slots + at
    # the last stretch that begins by ts, or the first; no branch depends on the times
    stretch = table.stretches + slot.first
    left = slot.n
    while left > 1:
        half = left >> 1
        stretch += half if stretch[half].begin <= ts else 0
        left -= half
    if stretch.begin <= ts < stretch.end:
        memo.begin, memo.end, memo.code = stretch.begin, stretch.end, stretch.code
    elif ts < stretch.begin:
        memo.end = stretch.begin
    else:
        memo.begin = stretch.end
        if stretch + 1 < table.stretches + slot.first + slot.n:
            memo.end = stretch[1].begin


cdef inline int32_t code_at(
    SymbolTable table, Memos* memos, uint32_t id, uint64_t ts
) noexcept nogil:
    # The records of an instrument are of one day nearly always.
    cdef Memo* memo = &memos.memo[place(id, table.seed, MEMO_BITS)]
    if id != memo.id or ts < memo.begin or ts >= memo.end:
        find(table, memo, id, ts)
    return memo.code


def lookup(
    SymbolTable table not None, const uint32_t[::1] ids not None,
    const uint64_t[::1] stamps not None, int32_t[::1] out not None,
):
    """Look up ids at times; see the stub."""
    cdef Py_ssize_t i, n = ids.shape[0]
    cdef Memos memos
    if stamps.shape[0] != n or out.shape[0] != n:
        raise ValueError(f"{n} ids, {stamps.shape[0]} times and room for {out.shape[0]} codes")
    with nogil:
        forget(&memos)
        for i in range(n):
            out[i] = code_at(table, &memos, ids[i], stamps[i])


def lookup_records(
    SymbolTable table not None, const uint8_t[::1] data not None, Py_ssize_t size,
    Py_ssize_t ts_at, int32_t[::1] out not None,
):
    """Look up records of one size; see the stub."""
    cdef Py_ssize_t i, n = data.shape[0] // size if size >= HEADER_SIZE else 0
    cdef const uint8_t* p
    cdef Memos memos
    if size < HEADER_SIZE or n * size != data.shape[0]:
        raise ValueError(f"{data.shape[0]} bytes are no whole number of {size}-byte records")
    if ts_at < 0 or ts_at + 8 > size:
        raise ValueError(f"no timestamp at byte {ts_at} of {size}")
    if out.shape[0] != n:
        raise ValueError(f"{n} records and room for {out.shape[0]} codes")
    if n == 0:
        return
    p = &data[0]
    with nogil:
        forget(&memos)
        for i in range(n):
            prefetch(p + FAR)
            prefetch(p + FAR + ts_at)
            out[i] = code_at(table, &memos, load_u32(p + ID_AT), load_u64(p + ts_at))
            p += size


cdef int check_tables(
    const uint16_t* min_size, const uint8_t[::1] wanted, const uint16_t[::1] ts_at
) except -1:
    cdef Py_ssize_t rtype
    if wanted.shape[0] != 256 or ts_at.shape[0] != 256:
        raise ValueError("wanted and ts_at need one entry for each rtype")
    for rtype in range(256):
        # `step` refuses records below their smallest size: then the timestamp is there
        if ts_at[rtype] + 8 > max(min_size[rtype], <uint16_t>HEADER_SIZE):
            raise ValueError(f"no timestamp at byte {ts_at[rtype]} of rtype {rtype}")
    return 0


def lookup_stream(
    SymbolTable table not None, const uint8_t[::1] data not None, SizeTable sizes not None,
    bint ts_out, const uint8_t[::1] wanted not None, const uint16_t[::1] ts_at not None,
    int32_t[::1] out not None,
):
    """Look up the wanted records of a mixed run; see the stub."""
    cdef const uint16_t* min_size = sizes.of(ts_out)
    cdef Cursor cursor
    cdef const uint8_t* record = NULL
    cdef Py_ssize_t size = 0, n = 0
    cdef uint8_t rtype = 0
    cdef Status status = STEP
    cdef Memos memos
    check_tables(min_size, wanted, ts_at)
    if data.shape[0]:
        cursor.pos = &data[0]
        cursor.end = &data[0] + data.shape[0]
        with nogil:
            forget(&memos)
            while True:
                status = step(&cursor, min_size, &record, &size, &rtype)
                if status != STEP:
                    break
                if not wanted[rtype]:
                    continue
                if n == out.shape[0]:
                    status = FULL
                    break
                out[n] = code_at(
                    table, &memos, load_u32(record + ID_AT), load_u64(record + ts_at[rtype])
                )
                n += 1
    if status == FULL or n != out.shape[0]:
        raise ValueError(f"room for {out.shape[0]} codes, not for those of the wanted records")


@cython.final
cdef class LiveMap:
    """The symbol that each instrument has now; see the stub."""

    cdef Entry* entries
    cdef uint64_t seed, mask
    cdef int bits
    cdef Py_ssize_t n_used  # places that an id has, whether it is mapped or not

    def __cinit__(self):
        self.entries = NULL
        self.seed = odd_seed()

    def __dealloc__(self):
        free(self.entries)

    @cython.critical_section
    def code(self, uint32_t id):
        """Give the code of one id; see the stub."""
        return self.get(id)

    cdef int reserve(self, Py_ssize_t n_more) except -1:
        # Make room for that many new ids, so that nothing need be allocated while walking.
        cdef int bits = bits_for(self.n_used + n_more)
        cdef uint64_t i, at, size = <uint64_t>1 << bits
        cdef Entry* entries
        if self.entries != NULL and bits <= self.bits:
            return 0
        entries = <Entry*>malloc(size * sizeof(Entry))
        if entries == NULL:
            raise MemoryError
        for i in range(size):
            entries[i] = Entry(0, FREE)
        for i in range(self.mask + 1 if self.entries != NULL else 0):
            if self.entries[i].code != FREE:
                at = place(self.entries[i].id, self.seed, bits)
                while entries[at].code != FREE:
                    at = (at + 1) & (size - 1)
                entries[at] = self.entries[i]
        free(self.entries)
        self.entries, self.bits, self.mask = entries, bits, size - 1
        return 0

    cdef Entry* seek(self, uint32_t id) noexcept nogil:
        # Its place, or the free one that it would take. Precondition: `reserve` was called.
        cdef uint64_t at = place(id, self.seed, self.bits)
        while self.entries[at].id != id and self.entries[at].code != FREE:
            at = (at + 1) & self.mask
        return self.entries + at

    cdef int32_t get(self, uint32_t id) noexcept nogil:
        cdef int32_t code = UNMAPPED
        if self.n_used:
            code = self.seek(id).code
        return code if code >= 0 else UNMAPPED

    cdef void put(self, uint32_t id, int32_t code) noexcept nogil:
        # Preconditions: code is -1 or more, and there is room for a new id.
        cdef Entry* entry = self.seek(id)
        if entry.code == FREE:
            self.n_used = self.n_used + 1
        entry.id, entry.code = id, code


cdef Status follow(
    LiveMap live, SymbolTable table, Cursor* cursor, const uint16_t* min_size,
    int mapping_rtype, const int32_t[::1] map_codes, const uint8_t[::1] wanted,
    const uint16_t[::1] ts_at, int32_t[::1] out, Py_ssize_t* n_maps, Py_ssize_t* n_out,
) noexcept nogil:
    # What: walk the records in order; mappings change the map, wanted records get what it says
    # by then. Precondition: the map has room for map_codes.shape[0] new ids.
    cdef const uint8_t* record = NULL
    cdef Py_ssize_t size = 0
    cdef uint8_t rtype = 0
    cdef uint32_t id = 0, last_id = 0
    cdef int32_t code = UNMAPPED
    cdef bint fresh = False  # whether `code` is what the map has for last_id
    cdef Status status
    cdef Memos memos
    forget(&memos)
    while True:
        status = step(cursor, min_size, &record, &size, &rtype)
        if status != STEP:
            return status
        id = load_u32(record + ID_AT)
        if rtype == mapping_rtype:
            if n_maps[0] == map_codes.shape[0]:
                return FULL
            code = map_codes[n_maps[0]]
            n_maps[0] += 1
            if code >= UNMAPPED:
                live.put(id, code)
            fresh = False
        if not wanted[rtype]:
            continue
        if n_out[0] == out.shape[0]:
            return FULL
        if not fresh or id != last_id:
            code = live.get(id)
            last_id, fresh = id, True
        if code >= 0 or table is None:
            out[n_out[0]] = code
        else:
            out[n_out[0]] = code_at(table, &memos, id, load_u64(record + ts_at[rtype]))
        n_out[0] += 1


def track(
    LiveMap live not None, SymbolTable table, const uint8_t[::1] data not None,
    SizeTable sizes not None, bint ts_out, int mapping_rtype,
    const int32_t[::1] map_codes not None, const uint8_t[::1] wanted not None,
    const uint16_t[::1] ts_at not None, int32_t[::1] out not None,
):
    """Follow the mappings of a stream and look up its wanted records; see the stub."""
    cdef const uint16_t* min_size = sizes.of(ts_out)
    cdef Cursor cursor
    cdef Py_ssize_t n_maps = 0, n_out = 0
    cdef Status status = INVALID
    check_tables(min_size, wanted, ts_at)
    if data.shape[0]:
        cursor.pos = &data[0]
        cursor.end = &data[0] + data.shape[0]
        # Nobody else may move the map meanwhile: one thread at a time, and none without the GIL.
        with cython.critical_section(live):
            live.reserve(map_codes.shape[0])
            status = follow(
                live, table, &cursor, min_size, mapping_rtype, map_codes, wanted, ts_at, out,
                &n_maps, &n_out,
            )
    if status == FULL or n_maps != map_codes.shape[0] or n_out != out.shape[0]:
        raise ValueError(
            f"{map_codes.shape[0]} codes of mappings and room for {out.shape[0]} codes are not "
            "what the records need"
        )


cdef int64_t decimal(str text) noexcept:
    # As unsigned 32 bits, -1 where it is none: ASCII digits, one plus before them at most.
    cdef Py_UCS4 c
    cdef Py_ssize_t i, n = len(text)
    cdef int64_t value = 0
    cdef Py_ssize_t begin = 1 if n and text[0] == u"+" else 0
    if n == begin:
        return -1
    for i in range(begin, n):
        c = text[i]
        if not u"0" <= c <= u"9":
            return -1
        value = value * 10 + (<int64_t>c - 48)
        if value > 0xFFFFFFFF:
            return -1
    return value


def decimals(list texts not None, uint32_t[::1] out not None):
    """Read texts as 32-bit numbers; see the stub."""
    cdef Py_ssize_t i
    cdef int64_t value
    cdef str text
    if out.shape[0] != len(texts):
        raise ValueError(f"{len(texts)} texts and room for {out.shape[0]} numbers")
    for i in range(len(texts)):
        text = texts[i]
        if text is None:
            return i
        value = decimal(text)
        if value < 0:
            return i
        out[i] = <uint32_t>value
    return -1
