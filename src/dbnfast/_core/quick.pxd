# Values of text in their usual form, read eight bytes at a time; all else is for `parse`, which
# reads every form. Both give the same bytes.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

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
    AHEAD_OF_VALUE = 32  # bytes that must be there: more than the readers below look at
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


cdef inline uint64_t eight(uint64_t x) noexcept nogil:
    # The number of eight digits, which are bytes of 0 to 9. Pairs of digits become numbers below
    # 100, pairs of those below 10**4, and so on: each step adds the right one of a pair to the
    # left one times 10, 100 or 10000.
    x = (x * 2561) >> 8 & 0x00FF00FF00FF00FFULL
    x = (x * 6553601) >> 16 & 0x0000FFFF0000FFFFULL
    return (x * 42949672960001ULL) >> 32


cdef inline Py_ssize_t digits(uint64_t text, uint64_t* value) noexcept nogil:
    # How many of eight characters are digits before one that is none, and the number of these.
    cdef uint64_t x = text ^ 0x3030303030303030ULL
    cdef uint64_t other = ((x + 0x7676767676767676ULL) | x) & 0x8080808080808080ULL
    cdef Py_ssize_t n = 8
    if other != 0:
        n = lowest_bit(other) >> 3
        if n == 0:
            value[0] = 0
            return 0
        x <<= 64 - 8 * n  # zeros in front of the digits
    value[0] = eight(x)
    return n


cdef inline Py_ssize_t usual_digits(uint64_t text, uint64_t* value, uint8_t* usual) noexcept nogil:
    # What: as `digits`. Mostly they are as many as in the same field of the line before, which is
    # kept in `usual` as what is to be shifted out: that is a branch, so that what follows need not
    # wait for the count.
    cdef uint64_t x = text ^ 0x3030303030303030ULL
    cdef uint64_t other = ((x + 0x7676767676767676ULL) | x) & 0x8080808080808080ULL
    cdef Py_ssize_t shift = usual[0], n
    if other << shift == <uint64_t>1 << 63:
        value[0] = eight(x << 8 << shift)
        return 7 - (shift >> 3)
    n = digits(text, value)
    if 0 < n < 8:
        usual[0] = <uint8_t>(56 - 8 * n)
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


cdef inline Py_ssize_t whole(const uint8_t* p, uint64_t* value, uint8_t* usual) noexcept nogil:
    # How many digits there are, and their number; 0 if it has more than 64 bits, or too many
    # zeros in front. Precondition: 24 bytes are there.
    cdef uint64_t more
    cdef uint32_t last
    cdef Py_ssize_t n = usual_digits(load_u64(p), value, usual)
    if n < 8:
        return n
    n = usual_digits(load_u64(p + 8), &more, usual)
    value[0] = value[0] * powers[n] + more
    if n < 8:
        return 8 + n
    last = load_u32(p + 16) ^ 0x00303030
    if (((last + 0x00767676) | last) & 0x00808080) == 0 and digit_at(p + 19) > 9:
        # a time in ns: that it ends here is a branch, so that what follows need not wait
        value[0] = value[0] * powers[3] + eight(<uint64_t>last << 40)
        return 19
    n = usual_digits(load_u64(p + 16), &more, usual)
    if n > 4 or (n == 4 and value[0] > (<uint64_t>-1 - more) // powers[4]):
        return 0
    value[0] = value[0] * powers[n] + more
    return 16 + n


cdef inline const uint8_t* quick_number(
    const Slot* slot, const uint8_t* p, uint8_t* out, int* forms, uint8_t* usual
) noexcept nogil:
    # What: [-] digits, and for prices [. digits], 20 and 9 at most. Writes the value; where it
    # ends, or NULL if this is another form, or out of range. A byte behind the end is there, and
    # is for the caller to judge. Preconditions: AHEAD_OF_VALUE bytes are there; the slot's width
    # is there at out.
    cdef uint64_t value, more
    cdef uint8_t digit
    cdef bint negative = False, pointed = False
    cdef Py_ssize_t n = whole(p, &value, usual)
    if n == 0:
        if load_u8(p) != c"-" or not slot.signed:
            return NULL
        negative = True
        p += 1
        n = whole(p, &value, usual)
        if n == 0:
            return NULL
    if slot.kind == PRICE:
        if load_u8(p + n) == c".":
            if n > 9:
                return NULL
            p += n + 1
            n = digits(load_u64(p), &more)
            if n == 0:
                return NULL
            if n == 8:
                digit = digit_at(p + 8)
                if digit <= 9:
                    more = more * 10 + digit
                    n = 9
            value = value * powers[9] + more * powers[N_FRACTION - n]
            pointed = True
        if load_u8(p + n) | 0x20 == c"e":  # with an exponent it is no integer
            return NULL
        forms[0] |= DECIMAL if pointed else INTEGER if value != 0 else 0
    if negative:
        if value > slot.most + 1:
            return NULL
        value = 0 - value
    elif value > slot.most:
        return NULL
    store(out, slot.width, value)
    return p + n


cdef inline const uint8_t* quick_time(
    const uint8_t* p, uint8_t* out, Clock* clock
) noexcept nogil:
    # What: a time with nine decimals and a Z; else as `quick_number`. Neighbouring times are mostly
    # of one minute, which is then read once.
    cdef uint64_t fraction
    cdef int64_t second
    cdef uint32_t seconds = load_u32(p + 16)  # ":ss."
    cdef uint8_t ten = <uint8_t>((seconds >> 8) - c"0"), one = <uint8_t>((seconds >> 16) - c"0")
    cdef uint8_t ninth = digit_at(p + 28)
    if (seconds & 0xFF0000FFU) != 0x2E00003AU or ten > 5 or one > 9:
        return NULL
    if digits(load_u64(p + 20), &fraction) != 8 or ninth > 9 or load_u8(p + 29) != c"Z":
        return NULL
    if load_u64(p) != clock.text[0] or load_u64(p + 8) != clock.text[1]:
        if date_time(p, &second) != FINE or not 60 <= second < <int64_t>SECONDS_SURE:
            return NULL
        memcpy(clock.text, p, 16)
        clock.second = <uint64_t>second - ten * 10 - one
    store(out, 8, (clock.second + ten * 10 + one) * 1_000_000_000 + fraction * 10 + ninth)
    return p + N_STAMP


cdef inline const uint8_t* quick_value(
    const Slot* slot, const uint8_t* p, uint8_t* out, Clock* clock, int* forms, uint8_t* usual
) noexcept nogil:
    # What: a number or a time, as above. Precondition: the slot is of one of these.
    if slot.kind == TIME and load_u8(p + 4) == c"-":
        return quick_time(p, out, clock)
    return quick_number(slot, p, out, forms, usual)
