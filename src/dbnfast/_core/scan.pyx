"""Find out what a run of records holds: one pass over the headers."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from dbnfast._core.bounds cimport DONE, STEP, Cursor, Status, step
from dbnfast._core.header cimport HEADER_SIZE, MAX_RECORD_SIZE, load_u8, load_u16, load_u64


cdef class SizeTable:
    """The smallest legal size of every rtype's records, without and with ts_out."""

    def __init__(self, plain, stamped):
        if len(plain) != 256 or len(stamped) != 256:
            raise ValueError("a size table needs 256 sizes, without and with ts_out")
        for rtype in range(256):
            self.plain[rtype] = plain[rtype]
            self.stamped[rtype] = stamped[rtype]

    cdef const uint16_t* of(self, bint ts_out) noexcept nogil:
        if ts_out:
            return &self.stamped[0]
        return &self.plain[0]


cdef enum:
    BLOCK = 64  # records that are compared before the result is looked at
    CHAIN = 64  # records in a row that are no coincidence


cdef Py_ssize_t same_stride(
    const uint8_t* base, Py_ssize_t size, Py_ssize_t n_max, uint16_t key
) noexcept nogil:
    # How many records in a row have this length and rtype; the first one has. Precondition:
    # n_max * size bytes are there. No load depends on another, and all are made by one
    # instruction whose steps are equal: hardware foresees that, and they come as fast as memory
    # allows. A loop unrolled by hand, several places at once, or prefetches cost up to twice the
    # time where the data is not in cache, depending on the processor.
    cdef Py_ssize_t i = 0, _k
    cdef uint16_t differ
    cdef const uint8_t* p = base
    if n_max > 1 and load_u16(base + size) != key:
        return 1  # short stretches are common in mixed streams
    while n_max - i >= BLOCK:
        differ = 0
        for _k in range(BLOCK):
            differ |= load_u16(p) ^ key
            p += size
        if differ:
            p -= BLOCK * size
            break
        i += BLOCK
    while i < n_max and load_u16(p) == key:
        p += size
        i += 1
    return i


cdef void count_extra(Summary* out, Py_ssize_t index) noexcept nogil:
    # Rare: records of one rtype in several sizes. Without memory for the table the record is
    # still part of the run; `groups_of` finds the counts short and raises MemoryError.
    if out.extra == NULL:
        out.extra = <int64_t*>calloc(65536, sizeof(int64_t))
    if out.extra != NULL:
        out.extra[index] += 1


cdef void clear(Summary* out) noexcept nogil:
    # `count` counts only where `words` says so, and is left as it is: small pieces are common
    out.n_records = out.stop = 0
    out.status = DONE
    out.extra = NULL
    memset(out.words, 0, sizeof(out.words))


cdef void survey(
    const uint8_t* base, Py_ssize_t n_bytes, const uint16_t* min_size, Summary* out
) noexcept nogil:
    # What: walk the records and count them by rtype and size. Precondition: n_bytes are there.
    # Cost: memory-bound while rtype and size stay the same, else one dependent load a record.
    cdef Cursor cursor
    cdef const uint8_t* record = NULL
    cdef Py_ssize_t size = 0, n
    cdef uint8_t rtype = 0, words
    cdef Status status
    clear(out)
    cursor.pos = base
    cursor.end = base + n_bytes
    status = step(&cursor, min_size, &record, &size, &rtype)
    if status == STEP:
        n = same_stride(base, size, n_bytes // size, <uint16_t>(rtype << 8 | size >> 2))
        out.words[rtype] = <uint8_t>(size >> 2)
        out.count[rtype] = n
        out.n_records = n
        cursor.pos = base + n * size
        status = step(&cursor, min_size, &record, &size, &rtype)
    while status == STEP:
        words = <uint8_t>(size >> 2)
        out.n_records += 1
        if out.words[rtype] == words:
            out.count[rtype] += 1
        elif out.words[rtype] == 0:
            out.words[rtype] = words
            out.count[rtype] = 1
        else:
            count_extra(out, words * 256 + rtype)
        status = step(&cursor, min_size, &record, &size, &rtype)
    out.status = status
    out.stop = cursor.pos - base


cdef tuple groups_of(Summary* summary):
    # The counts as ((rtype, size in bytes, count), ...), by rtype and size; frees the table.
    cdef int index
    cdef Py_ssize_t total = 0
    cdef list groups = []
    try:
        for index in range(256):
            if summary.words[index]:
                groups.append((index, summary.words[index] * 4, summary.count[index]))
                total += summary.count[index]
        if summary.extra != NULL:
            for index in range(65536):
                if summary.extra[index]:
                    groups.append((index & 255, (index >> 8) * 4, summary.extra[index]))
                    total += summary.extra[index]
            groups.sort()
    finally:
        free(summary.extra)
        summary.extra = NULL
    if total != summary.n_records:
        raise MemoryError("no memory for the table of record counts")
    return tuple(groups)


def likely_start(
    const uint8_t[::1] data not None, Py_ssize_t start, Py_ssize_t at, SizeTable sizes not None,
    bint ts_out,
):
    """Find a place behind `at` where a record seems to begin; see the stub."""
    cdef Cursor cursor
    cdef const uint8_t* record = NULL
    cdef Py_ssize_t size = 0, seen
    cdef uint8_t rtype = 0
    cdef const uint16_t* min_size = sizes.of(ts_out)
    cdef Status status
    if not 0 <= start <= at <= data.shape[0]:
        raise ValueError(f"byte {at} lies outside {start} to {data.shape[0]}")
    at -= (at - start) % 4
    cursor.end = &data[0] + data.shape[0] if data.shape[0] else NULL
    for at in range(at, min(at + MAX_RECORD_SIZE, data.shape[0]), 4):
        cursor.pos = &data[at]
        seen = 0
        while seen < CHAIN:
            status = step(&cursor, min_size, &record, &size, &rtype)
            if status != STEP or min_size[rtype] == HEADER_SIZE:
                break
            seen += 1
        if seen == CHAIN:
            # not the beginning of the chain: even where that was none, the rest falls in step
            return cursor.pos - &data[0]
    return -1


def check_headers(
    const uint8_t[::1] data not None, Py_ssize_t size, const uint8_t[::1] allowed not None
):
    """Find the first record of `size` bytes whose header does not say so; see the stub."""
    cdef Py_ssize_t n = data.shape[0] // size if size >= HEADER_SIZE else 0
    cdef Py_ssize_t i = 0
    cdef uint8_t words
    cdef const uint8_t* p
    if size < HEADER_SIZE or size > 1020 or size % 4 or n * size != data.shape[0]:
        raise ValueError(f"{data.shape[0]} bytes are no whole number of {size}-byte records")
    if allowed.shape[0] != 256:
        raise ValueError("allowed needs one byte for each rtype")
    if n == 0:
        return -1
    words = <uint8_t>(size >> 2)
    p = &data[0]
    with nogil:
        while i < n:
            if load_u8(p) != words or not allowed[load_u8(p + 1)]:
                break
            # what has the header of a good record needs no look-up of its own
            i += same_stride(p, size, n - i, load_u16(p))
            p = &data[0] + i * size
    return i if i < n else -1


def skip(
    const uint8_t[::1] data not None, Py_ssize_t start, Py_ssize_t n_records,
    SizeTable sizes not None, bint ts_out,
):
    """Walk `n_records` records from `start`; see the stub."""
    cdef Cursor cursor
    cdef const uint8_t* record = NULL
    cdef Py_ssize_t size = 0
    cdef uint8_t rtype = 0
    cdef const uint16_t* min_size = sizes.of(ts_out)
    cdef Status status = DONE
    if start < 0 or start > data.shape[0] or n_records < 0:
        raise ValueError(f"no {n_records} records from byte {start} on")
    if data.shape[0] == start:
        return start
    cursor.pos = &data[0] + start
    cursor.end = &data[0] + data.shape[0]
    with nogil:
        while n_records > 0:
            status = step(&cursor, min_size, &record, &size, &rtype)
            if status != STEP:
                break
            n_records -= 1
    return cursor.pos - &data[0]


def index(
    const uint8_t[::1] data not None, Py_ssize_t start, Py_ssize_t every, int64_t[::1] out not None,
    SizeTable sizes not None, bint ts_out,
):
    """Write the offset of every `every`-th record; see the stub."""
    cdef Cursor cursor
    cdef const uint8_t* record = NULL
    cdef Py_ssize_t size = 0, n = 0, written = 0
    cdef uint8_t rtype = 0
    cdef const uint16_t* min_size = sizes.of(ts_out)
    if start < 0 or start > data.shape[0] or every < 1:
        raise ValueError(f"no index of every {every} records from byte {start} on")
    if data.shape[0] == start:
        return 0
    cursor.pos = &data[0] + start
    cursor.end = &data[0] + data.shape[0]
    with nogil:
        while step(&cursor, min_size, &record, &size, &rtype) == STEP:
            if n % every == 0:
                if written == out.shape[0]:
                    break
                out[written] = record - &data[0]
                written += 1
            n += 1
    return written


def span(
    const uint8_t[::1] data not None, SizeTable sizes not None, bint ts_out,
    const uint16_t[::1] ts_at not None,
):
    """Find the first and the last index timestamp; see the stub."""
    cdef Cursor cursor
    cdef const uint8_t* record = NULL
    cdef Py_ssize_t size = 0, i
    cdef uint8_t rtype = 0
    cdef uint64_t ts, first = <uint64_t>-1, last = 0
    cdef bint any_found = False
    cdef const uint16_t* min_size = sizes.of(ts_out)
    if ts_at.shape[0] != 256:
        raise ValueError("ts_at needs one entry for each rtype")
    for i in range(256):
        if ts_at[i] + 8 > min_size[i]:
            raise ValueError(f"rtype {i} has no timestamp at byte {ts_at[i]}")
    if data.shape[0] == 0:
        return None
    cursor.pos = &data[0]
    cursor.end = &data[0] + data.shape[0]
    with nogil:
        while step(&cursor, min_size, &record, &size, &rtype) == STEP:
            # ts_at lies inside the smallest legal record of the rtype
            ts = load_u64(record + ts_at[rtype])
            if ts != <uint64_t>-1:
                any_found = True
                first = min(first, ts)
                last = max(last, ts)
    return (first, last) if any_found else None
