# How values are written as text. Room is the caller's: a row's bound covers the longest text of
# every op, and SLACK covers what copies of fixed sizes write behind it.

from libc.stdint cimport (
    INT64_MAX,
    UINT64_MAX,
    int8_t,
    int16_t,
    int32_t,
    int64_t,
    uint8_t,
    uint16_t,
    uint32_t,
    uint64_t,
)
from libc.string cimport memcpy

from dbnfast._core.header cimport (
    load_i32,
    load_i64,
    load_u8,
    load_u16,
    load_u32,
    load_u64,
    lowest_bit,
)

cdef enum:
    OP_LITERAL = 56  # bytes of an op's literal; with the rest of it a cache line
    SHORT = 16  # copied whole, however short the text is
    ENTRY = 8
    SLACK = 64  # what copies of fixed sizes write behind the end of a row
    N_STAMPS = 8
    CODES_END = 5  # a status besides those of `bounds`: no symbol for this record

cdef enum Kind:
    NOTHING  # the literal alone
    U1
    U2
    U4
    U8
    I1
    I2
    I4
    I8
    PRICE
    TIME
    CHAR
    RAW
    TEXT
    SYMBOL

cdef struct Entry:
    uint8_t text[ENTRY]
    uint8_t n

cdef struct Style:
    uint8_t null[ENTRY]
    Py_ssize_t n_null
    Py_ssize_t n_quote  # 1 where prices and times stand in quotes, else 0
    bint wrap  # every text stands in quotes; else only one with a special byte
    Py_ssize_t longest  # bytes that one byte of text can become
    Entry chars[256]
    Entry raws[256]
    Entry escapes[256]
    uint8_t special[256]
    uint32_t counted[1000]  # up to three digits, and above them how many there are
    uint32_t padded[1000]  # three digits

cdef struct Op:
    uint8_t kind
    uint8_t slot  # of the times of a row, which share no prefix
    uint16_t offset
    uint16_t n_bytes
    uint16_t n_literal
    uint8_t literal[OP_LITERAL]

cdef struct Stamp:
    uint64_t second
    uint8_t text[24]  # "YYYY-MM-DDThh:mm:ss."

cdef struct TextRoute:
    uint8_t words
    int16_t next
    Py_ssize_t n_ops
    const Op* ops
    const Style* style


cdef void set_second(Stamp* stamp, uint64_t second) noexcept nogil
cdef uint8_t* put_large(uint8_t* out, uint64_t value) noexcept nogil
cdef uint8_t* put_text(
    uint8_t* out, const uint8_t* p, Py_ssize_t width, const Style* style
) noexcept nogil


cdef inline uint64_t eight_digits(uint32_t value) noexcept nogil:
    # The digits of a value below 10**8 as bytes 0 to 9, the first one lowest: halves, then
    # quarters, then digits, all in one register. Division is multiplication with the
    # reciprocal, exact for these ranges.
    cdef uint64_t high = value // 10000
    cdef uint64_t x = high | (value - high * 10000) << 32
    cdef uint64_t y = ((x * 10486) >> 20) & 0x0000007F0000007FULL
    x = y | (x - y * 100) << 16
    y = ((x * 103) >> 10) & 0x000F000F000F000FULL
    return y | (x - y * 10) << 8


cdef inline uint8_t* put_eight(uint8_t* out, uint32_t value) noexcept nogil:
    # All eight digits of a value below 10**8.
    cdef uint64_t text = eight_digits(value) | 0x3030303030303030ULL
    memcpy(out, &text, 8)
    return out + 8


cdef inline uint8_t* put_short(uint8_t* out, uint32_t value) noexcept nogil:
    # A value below 10**8 without leading zeros, and without a branch on how many there are.
    cdef uint64_t digits = eight_digits(value)
    cdef int skip = lowest_bit(digits | 0x0100000000000000ULL) & 0x38
    digits = (digits | 0x3030303030303030ULL) >> skip
    memcpy(out, &digits, 8)
    return out + 8 - (skip >> 3)


cdef inline uint8_t* put_small(uint8_t* out, uint64_t value, const Style* style) noexcept nogil:
    # A value below 1000 without leading zeros.
    cdef uint32_t text = style.counted[value]
    memcpy(out, &text, 4)
    return out + (text >> 24)


cdef inline uint8_t* put_three(uint8_t* out, uint64_t value, const Style* style) noexcept nogil:
    # All three digits of a value below 1000.
    memcpy(out, style.padded + value, 4)
    return out + 3


cdef inline uint8_t* put_nine(uint8_t* out, uint32_t value, const Style* style) noexcept nogil:
    # All nine digits of a value below 10**9.
    cdef uint32_t thousands = value // 1000
    cdef uint32_t millions = value // 1000000
    out = put_three(out, millions, style)
    out = put_three(out, thousands - millions * 1000, style)
    return put_three(out, value - thousands * 1000, style)


cdef inline uint8_t* put_unsigned(uint8_t* out, uint64_t value, const Style* style) noexcept nogil:
    cdef uint32_t thousands
    if value < 1000:
        return put_small(out, value, style)
    if value < 1000000:
        thousands = <uint32_t>value // 1000
        return put_three(put_small(out, thousands, style), value - thousands * 1000, style)
    return put_large(out, value)


cdef inline uint8_t* put_sign(uint8_t* out, int64_t value) noexcept nogil:
    out[0] = c"-"
    return out + (value < 0)


cdef inline uint64_t magnitude(int64_t value) noexcept nogil:
    # unsigned, so that the lowest value has one too
    return 0 - <uint64_t>value if value < 0 else <uint64_t>value


cdef inline uint8_t* put_null(uint8_t* out, const Style* style) noexcept nogil:
    memcpy(out, style.null, ENTRY)
    return out + style.n_null


cdef inline uint8_t* put_quote(uint8_t* out, const Style* style) noexcept nogil:
    out[0] = c'"'
    return out + style.n_quote


cdef inline uint8_t* put_price(uint8_t* out, int64_t value, const Style* style) noexcept nogil:
    cdef uint64_t size = magnitude(value)
    cdef uint64_t whole = size // 1000000000
    if value == INT64_MAX:
        return put_null(out, style)
    out = put_sign(put_quote(out, style), value)
    out = put_unsigned(out, whole, style)
    out[0] = c"."
    out = put_nine(out + 1, <uint32_t>(size - whole * 1000000000), style)
    return put_quote(out, style)


cdef inline uint8_t* put_time(
    uint8_t* out, uint64_t value, const Style* style, Stamp* stamp
) noexcept nogil:
    # Times of neighbours mostly lie in one second: all but the nanoseconds is kept.
    cdef uint64_t second = value // 1000000000
    if value == 0 or value == UINT64_MAX:
        return put_null(out, style)
    if stamp.second != second:
        set_second(stamp, second)
    out = put_quote(out, style)
    memcpy(out, stamp.text, 24)
    out = put_nine(out + 20, <uint32_t>(value - second * 1000000000), style)
    out[0] = c"Z"
    return put_quote(out + 1, style)


cdef inline uint8_t* put_entry(uint8_t* out, const Entry* entry) noexcept nogil:
    memcpy(out, entry.text, ENTRY)
    return out + entry.n


cdef inline uint8_t* put_symbol(uint8_t* out, const uint8_t* text, Py_ssize_t n) noexcept nogil:
    memcpy(out, text, SHORT)
    if n > SHORT:
        memcpy(out + SHORT, text + SHORT, n - SHORT)
    return out + n


cdef inline uint8_t* put_value(
    uint8_t* out, const Op* op, const uint8_t* p, const Style* style, Stamp* stamps
) noexcept nogil:
    cdef int64_t value
    if op.kind == U1:
        return put_small(out, load_u8(p), style)
    elif op.kind == U2:
        return put_unsigned(out, load_u16(p), style)
    elif op.kind == U4:
        return put_unsigned(out, load_u32(p), style)
    elif op.kind == U8:
        return put_unsigned(out, load_u64(p), style)
    elif op.kind == PRICE:
        return put_price(out, load_i64(p), style)
    elif op.kind == TIME:
        return put_time(out, load_u64(p), style, stamps + op.slot)
    elif op.kind == CHAR:
        return put_entry(out, style.chars + load_u8(p))
    elif op.kind == RAW:
        return put_entry(out, style.raws + load_u8(p))
    elif op.kind == TEXT:
        return put_text(out, p, op.n_bytes, style)
    elif op.kind == I1:
        value = <int8_t>load_u8(p)
    elif op.kind == I2:
        value = <int16_t>load_u16(p)
    elif op.kind == I4:
        value = load_i32(p)
    elif op.kind == I8:
        value = load_i64(p)
    else:
        return out
    return put_unsigned(put_sign(out, value), magnitude(value), style)
