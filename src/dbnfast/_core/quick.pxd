# Values of text in their usual form, read eight bytes at a time; all else is for `parse`, which
# reads every form. Both give the same bytes.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from dbnfast._core.bounds cimport Cursor, covers, take
from dbnfast._core.header cimport load_u8, load_u32, load_u64, lowest_bit
from dbnfast._core.parse cimport DECIMAL, FINE, INTEGER, PRICE, TIME, Slot, date_time

cdef extern from *:
    """
    static const unsigned long long dbnfast_powers[10] = {
        1ULL, 10ULL, 100ULL, 1000ULL, 10000ULL, 100000ULL, 1000000ULL, 10000000ULL, 100000000ULL,
        1000000000ULL,
    };
    """
    const uint64_t powers "dbnfast_powers"[10]

cdef enum:
    AHEAD_OF_NUMBER = 32  # bytes that must be there: more than the readers below look at
    N_STAMP = 30  # YYYY-MM-DDThh:mm:ss.fffffffffZ
    N_FRACTION = 9
    SECONDS_SURE = 18446743000  # of these, all ns fit into 64 bits

cdef struct Clock:
    uint64_t text[2]  # "YYYY-MM-DDThh:mm", the one that was seen last
    uint64_t second  # of it, since 1970


cdef inline uint64_t below(uint64_t word, uint64_t limit) noexcept nogil:
    # The high bit of each byte below a limit of 128 at most, exact up to the first such byte.
    return (word - limit * 0x0101010101010101ULL) & ~word & 0x8080808080808080ULL


cdef inline uint64_t equal(uint64_t word, uint64_t byte) noexcept nogil:
    # The high bit of each byte that is equal, exact up to the first one.
    return below(word ^ byte * 0x0101010101010101ULL, 1)


cdef inline int digits(uint64_t text, uint64_t* value) noexcept nogil:
    # How many of eight characters are digits before one that is none, and the number of these.
    # Pairs of digits become numbers below 100, pairs of those below 10**4, and so on.
    cdef uint64_t x = text ^ 0x3030303030303030ULL
    cdef uint64_t other = ((x + 0x7676767676767676ULL) | x) & 0x8080808080808080ULL
    cdef int n = 8
    if other != 0:
        n = lowest_bit(other) >> 3
        if n == 0:
            value[0] = 0
            return 0
        x <<= 64 - 8 * n  # zeros in front of the digits
    x = (x * 10 + (x >> 8)) & 0x00FF00FF00FF00FFULL
    x = (x * 100 + (x >> 16)) & 0x0000FFFF0000FFFFULL
    value[0] = (x * 10000 + (x >> 32)) & 0xFFFFFFFFULL
    return n


cdef inline uint8_t digit_at(const uint8_t* p) noexcept nogil:
    # 9 at most if it is one.
    return <uint8_t>(load_u8(p) - c"0")


cdef inline void store(uint8_t* out, Py_ssize_t width, uint64_t bits) noexcept nogil:
    # Precondition: out has `width` bytes, which are 1, 2, 4 or 8.
    cdef uint32_t four = <uint32_t>bits
    cdef uint16_t two = <uint16_t>bits
    if width == 8:
        memcpy(out, &bits, 8)
    elif width == 4:
        memcpy(out, &four, 4)
    elif width == 2:
        memcpy(out, &two, 2)
    else:
        out[0] = <uint8_t>bits


cdef inline bint quick_number(
    const Slot* slot, Cursor* cursor, uint8_t* out, int* forms
) noexcept nogil:
    # What: [-] digits, and for prices [. digits], 19 and 9 at most. Takes and writes the value;
    # or says that this is another form, or out of range, or too near the end, and takes nothing.
    # What follows is for the caller to judge. Preconditions: as for `put_bytes`.
    cdef const uint8_t* p = cursor.pos
    cdef uint64_t value, more
    cdef uint8_t digit
    cdef bint negative, pointed = False
    cdef int n, n_whole
    if not covers(cursor, p, AHEAD_OF_NUMBER):
        return False
    negative = load_u8(p) == c"-"
    p += negative
    n_whole = digits(load_u64(p), &value)
    if n_whole == 0:
        return False
    if n_whole == 8:
        n = digits(load_u64(p + 8), &more)
        value = value * powers[n] + more
        n_whole += n
        if n == 8:
            if digit_at(p + 16) <= 9 and digit_at(p + 17) <= 9 and digit_at(p + 18) <= 9:
                # a time in ns: that it ends here is a branch, so that what follows need not wait
                more = digit_at(p + 16) * 100 + digit_at(p + 17) * 10 + digit_at(p + 18)
                value = value * powers[3] + more
                n_whole = 19
            else:
                n = digits(load_u64(p + 16), &more)
                value = value * powers[n] + more
                n_whole += n
            if digit_at(p + n_whole) <= 9:
                return False
    p += n_whole
    if slot.kind == PRICE:
        if load_u8(p) == c".":
            if n_whole > 9:
                return False
            n = digits(load_u64(p + 1), &more)
            if n == 0:
                return False
            if n == 8:
                digit = digit_at(p + 9)
                if digit <= 9:
                    more = more * 10 + digit
                    n = 9
            value = value * powers[9] + more * powers[N_FRACTION - n]
            p += 1 + n
            pointed = True
        if load_u8(p) | 0x20 == c"e":  # with an exponent it is no integer
            return False
        forms[0] |= DECIMAL if pointed else INTEGER if value != 0 else 0
    if negative:
        if not slot.signed or value > slot.most + 1:
            return False
        value = 0 - value
    elif value > slot.most:
        return False
    take(cursor, p - cursor.pos)
    store(out, slot.width, value)
    return True


cdef inline bint quick_time(Cursor* cursor, uint8_t* out, Clock* clock) noexcept nogil:
    # What: a time with nine decimals and a Z; else as `quick_number`. Neighbouring times are mostly
    # of one minute, which is then read once.
    cdef const uint8_t* p = cursor.pos
    cdef uint64_t fraction
    cdef int64_t second
    cdef uint32_t seconds
    cdef uint8_t ten, one, ninth
    if not covers(cursor, p, AHEAD_OF_NUMBER):
        return False
    seconds = load_u32(p + 16)  # ":ss."
    ten, one = <uint8_t>((seconds >> 8) - c"0"), <uint8_t>((seconds >> 16) - c"0")
    if (seconds & 0xFF0000FFU) != 0x2E00003AU or ten > 5 or one > 9:
        return False
    ninth = digit_at(p + 28)
    if digits(load_u64(p + 20), &fraction) != 8 or ninth > 9 or load_u8(p + 29) != c"Z":
        return False
    if load_u64(p) != clock.text[0] or load_u64(p + 8) != clock.text[1]:
        if date_time(p, &second) != FINE or not 60 <= second < <int64_t>SECONDS_SURE:
            return False
        memcpy(clock.text, p, 16)
        clock.second = <uint64_t>second - ten * 10 - one
    take(cursor, N_STAMP)
    store(out, 8, (clock.second + ten * 10 + one) * 1_000_000_000 + fraction * 10 + ninth)
    return True


cdef inline bint looks_like_time(const Slot* slot, const Cursor* cursor) noexcept nogil:
    return slot.kind == TIME and covers(cursor, cursor.pos, 5) and load_u8(cursor.pos + 4) == c"-"
