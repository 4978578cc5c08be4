# The names in JSON objects: what each stands for, found without a table of Python's.

from libc.stdint cimport int16_t, uint8_t, uint64_t
from libc.string cimport memcmp

from dbnfast._core.bounds cimport Cursor, covers, reach
from dbnfast._core.header cimport load_u8, load_u64
from dbnfast._core.parse cimport Slot
from dbnfast._core.syntax cimport space, take_mark, take_plain

cdef enum Place:
    TOP
    HEAD
    LEVEL

    NOWHERE  # of the key for all names that are unknown

cdef enum Use:
    WRITE
    SKIP
    REFUSE  # lines that have it are nothing usual
    CODE
    OPEN_HEAD
    OPEN_LEVELS

cdef enum:
    N_BUCKETS = 256
    MOST_KEYS = 128
    LONGEST_NAME = 60
    LITERAL = 32

cdef struct Key:
    uint64_t literal[4]  # the first bytes of the name in quotes and a colon
    uint64_t mask[4]
    uint64_t ends[2]  # the first and the last bytes of the name
    const uint8_t* name
    Py_ssize_t n
    Use use
    Place place
    int bits  # that the key sets
    int against  # that may not be set before
    bint solid  # a value that is null or empty sets no bits
    uint8_t index  # of the program's keys
    Slot slot
    const uint8_t* number  # what a number must be to be written as something else
    const uint8_t* instead

cdef struct Program:
    int code  # -1: of no records, to find out the code
    Key* keys
    Py_ssize_t n_keys
    int16_t buckets[N_BUCKETS]  # of a key, or -1
    const uint8_t* blank
    Py_ssize_t size
    Py_ssize_t n_levels
    Py_ssize_t stride  # from one level to the next
    int needs  # bits that must be set at the end


cdef inline void ends_of(const Cursor* name, const Cursor* text, uint64_t* ends) noexcept nogil:
    # The first and the last eight bytes of a name, or all of a shorter one; `text` goes on at
    # least as far.
    cdef Py_ssize_t n = name.end - name.pos, i
    ends[0] = ends[1] = 0
    if n >= 8:
        ends[0], ends[1] = load_u64(name.pos), load_u64(name.end - 8)
    elif n and covers(text, name.pos, 8):
        ends[0] = load_u64(name.pos) & (<uint64_t>-1 >> (64 - 8 * n))
    else:
        for i in range(n):
            ends[0] |= <uint64_t>load_u8(name.pos + i) << 8 * i


cdef inline Py_ssize_t bucket_of(const uint64_t* ends, Place place) noexcept nogil:
    cdef uint64_t x = (ends[0] ^ place) * 0x9E3779B97F4A7C15ULL
    return ((x ^ x >> 32 ^ ends[1]) * 0xD6E8FEB86659FD93ULL) >> 56


cdef inline const Key* find(
    const Program* program, const Cursor* name, const Cursor* text, Place place
) noexcept nogil:
    # The key of a name in a place; the one behind all keys, which is passed over, if there is none.
    cdef Py_ssize_t n = name.end - name.pos, bucket
    cdef uint64_t ends[2]
    cdef const Key* key
    cdef int16_t i
    ends_of(name, text, ends)
    bucket = bucket_of(ends, place)
    while True:
        i = program.buckets[bucket]
        if i < 0:
            return program.keys + program.n_keys
        key = program.keys + i
        if (
            key.ends[0] == ends[0] and key.ends[1] == ends[1] and key.n == n
            and key.place == place
            and (n <= 16 or memcmp(key.name, name.pos, n) == 0)
        ):
            return key
        bucket = (bucket + 1) % N_BUCKETS


cdef inline bint is_literal(const uint8_t* p, const Key* key, int i) noexcept nogil:
    # Are here the bytes of the i-th half of a literal?
    return (
        (load_u64(p + 16 * i) ^ key.literal[2 * i]) & key.mask[2 * i]
        | (load_u64(p + 16 * i + 8) ^ key.literal[2 * i + 1]) & key.mask[2 * i + 1]
    ) == 0


cdef inline const Key* take_key(
    Cursor* text, const Program* program, Place place, const Key** guess
) noexcept nogil:
    # Takes a name and the colon; the key, or NULL if this is nothing usual. Most are the one that
    # follows the key before, written without a space.
    cdef const Key* key = guess[0]
    cdef const uint8_t* p = text.pos
    cdef Cursor name
    if (
        key.place == place and covers(text, p, LITERAL) and is_literal(p, key, 0)
        and (key.n <= 13 or is_literal(p, key, 1))
        and (
            key.n <= LITERAL - 3
            or (covers(text, p, key.n + 3) and memcmp(p + 1, key.name, key.n + 2) == 0)
        )
        and reach(text, p + key.n + 3)
    ):
        guess[0] += 1
    else:
        if not take_mark(text, c'"'):
            return NULL
        name.pos = text.pos
        take_plain(text)
        name.end = text.pos
        if not take_mark(text, c'"'):
            return NULL
        space(text)
        if not take_mark(text, c":"):
            return NULL
        key = find(program, &name, text, place)
        if key != program.keys + program.n_keys:
            guess[0] = key + 1
    return key
