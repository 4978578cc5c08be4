"""Texts and numbers as the vendor's JSON and CSV hold them, into columns of records."""

from cpython.bytes cimport PyBytes_AS_STRING
from cpython.exc cimport PyErr_Clear
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy, memset

from dbnfast._core.bounds cimport Cursor, Sink, claim, covers, take
from dbnfast._core.header cimport MAX_RECORD_SIZE, load_u8

cdef extern from "Python.h":
    bint PyUnicode_CheckExact(object text)
    bint PyLong_CheckExact(object number)
    int PyUnicode_KIND(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    const uint8_t* PyUnicode_1BYTE_DATA(object text)
    const char* utf8_of "PyUnicode_AsUTF8AndSize"(PyObject* text, Py_ssize_t* n)
    long long long_of "PyLong_AsLongLongAndOverflow"(PyObject* number, int* overflow)
    unsigned long long unsigned_of "PyLong_AsUnsignedLongLong"(PyObject* number)
    PyObject* PyErr_Occurred()

KINDS = ("price", "time", "signed", "unsigned", "char", "text")
REASONS = (
    "", "is of the wrong type", "cannot be read", "is out of range", "has more than 9 decimals",
    "is no date", "is too long", "has a NUL inside",
)

cdef enum:
    N_DECIMALS = 9
    N_SAFE = 18  # digits that fit into 64 bits whatever they are
    FAR_EXPONENT = 10_000  # beyond every number that fits
    N_DATE_TIME = 19  # YYYY-MM-DDThh:mm:ss
    N_MINIMUM = 23
    LAST_SECOND = 18446744073  # of what 64 bits of ns hold
    LAST_NS = 709551615

# How the vendor prints the price -2**63, which has no positive counterpart.
cdef const char* MINIMUM = "--9223372036.-854775808"


cdef struct Number:
    uint64_t magnitude
    bint negative
    bint pointed  # of a price: with a point or an exponent


cdef inline bint grow(uint64_t* value, unsigned int times, unsigned int add) noexcept nogil:
    # value * times + add where that fits, else no change
    if value[0] > (<uint64_t>-1 - add) // times:
        return False
    value[0] = value[0] * times + add
    return True


cdef inline bint sign_of(Cursor* cursor) noexcept nogil:
    # Takes a sign, if there is one; is it a minus?
    if not covers(cursor, cursor.pos, 1):
        return False
    if load_u8(cursor.pos) == c"-":
        take(cursor, 1)
        return True
    if load_u8(cursor.pos) == c"+":
        take(cursor, 1)
    return False


cdef inline Py_ssize_t digits_of(Cursor* cursor, uint64_t* value) noexcept nogil:
    # Takes digits, N_SAFE at most, and goes on with a value; how many there are.
    cdef Py_ssize_t n = 0, most = min(cursor.end - cursor.pos, <Py_ssize_t>N_SAFE)
    cdef uint8_t digit
    while n < most:
        digit = <uint8_t>(load_u8(cursor.pos + n) - c"0")
        if digit > 9:
            break
        value[0] = value[0] * 10 + digit
        n += 1
    take(cursor, n)
    return n


cdef Reason integer_of(Cursor cursor, Number* number) noexcept nogil:
    # What: [sign] digits. Cost: one compare and multiply a digit.
    cdef const uint8_t* p
    cdef uint8_t digit
    number.magnitude = 0
    number.negative = sign_of(&cursor)
    if digits_of(&cursor, &number.magnitude) == 0:
        return UNREADABLE
    p = take(&cursor, 1)
    while p != NULL:
        digit = <uint8_t>(load_u8(p) - c"0")
        if digit > 9:
            return UNREADABLE
        if not grow(&number.magnitude, 10, digit):
            return OUT_OF_RANGE
        p = take(&cursor, 1)
    return FINE


cdef Reason exponent_of(Cursor* cursor, int* exponent) noexcept nogil:
    cdef bint negative = sign_of(cursor)
    cdef const uint8_t* p = take(cursor, 1)
    cdef uint8_t digit
    if p == NULL:
        return UNREADABLE
    exponent[0] = 0
    while p != NULL:
        digit = <uint8_t>(load_u8(p) - c"0")
        if digit > 9:
            return UNREADABLE
        if exponent[0] < FAR_EXPONENT:
            exponent[0] = exponent[0] * 10 + digit
        p = take(cursor, 1)
    if negative:
        exponent[0] = -exponent[0]
    return FINE


cdef Reason scaled(Number* number, Py_ssize_t shift) noexcept nogil:
    # magnitude * 10**shift, exactly; its last digit is not 0, so that nothing can be divided off
    if number.magnitude == 0:
        return FINE
    if shift < 0:
        return DECIMALS
    while shift > 0:
        if not grow(&number.magnitude, 10, 0):
            return OUT_OF_RANGE
        shift -= 1
    return FINE


cdef inline bint append(uint64_t* value, Py_ssize_t* zeros, uint8_t digit) noexcept nogil:
    # Writes the zeros that were counted, then the digit; does it all fit?
    while zeros[0] > 0 and value[0] != 0:
        if not grow(value, 10, 0):
            return False
        zeros[0] -= 1
    zeros[0] = 0
    return grow(value, 10, digit)


cdef inline bint usual_price(Cursor cursor, Number* number) noexcept nogil:
    # What: [sign] digits [. digits], of a length that fits anyway; is it such a price? Most are.
    cdef Py_ssize_t whole, fraction
    number.magnitude = 0
    number.negative = sign_of(&cursor)
    number.pointed = False
    whole = digits_of(&cursor, &number.magnitude)
    if whole == 0 or cursor.pos == cursor.end:
        return whole != 0
    if whole > N_SAFE - N_DECIMALS or load_u8(cursor.pos) != c".":
        return False
    take(&cursor, 1)
    fraction = digits_of(&cursor, &number.magnitude)
    if cursor.pos != cursor.end or not 0 < fraction <= N_DECIMALS:
        return False
    while fraction < N_DECIMALS:
        number.magnitude *= 10
        fraction += 1
    number.pointed = True
    return True


cdef Reason price_of(Cursor cursor, Number* number) noexcept nogil:
    # What: [sign] digits [. digits] [e exponent] in units of 1e-9, never through a float; digits
    # alone are such units already. Zeros are counted and written when a digit follows them, so
    # that any number of them may stand at the end. Precondition: there is one byte or more.
    cdef Py_ssize_t zeros = 0, whole = 0, fraction = 0
    cdef bint pointed = False
    cdef int exponent = 0
    cdef const uint8_t* p
    cdef uint8_t digit
    cdef Reason reason
    if usual_price(cursor, number):
        return FINE
    if cursor.end - cursor.pos == N_MINIMUM and memcmp(cursor.pos, MINIMUM, N_MINIMUM) == 0:
        number.magnitude = <uint64_t>1 << 63
        number.negative = number.pointed = True
        return FINE
    number.magnitude = 0
    number.negative = sign_of(&cursor)
    p = take(&cursor, 1)
    while p != NULL:
        digit = <uint8_t>(load_u8(p) - c"0")
        if digit > 9:
            if load_u8(p) != c"." or pointed:
                break
            pointed = True
        elif digit == 0:
            zeros += 1
        else:
            if not append(&number.magnitude, &zeros, digit):
                return DECIMALS if fraction >= N_DECIMALS else OUT_OF_RANGE
        if digit <= 9:
            whole += not pointed
            fraction += pointed
        p = take(&cursor, 1)
    if whole == 0 or (pointed and fraction == 0):
        return UNREADABLE
    if p != NULL:
        if load_u8(p) != c"e" and load_u8(p) != c"E":
            return UNREADABLE
        reason = exponent_of(&cursor, &exponent)
        if reason != FINE:
            return reason
        pointed = True
    number.pointed = pointed
    return scaled(number, zeros - fraction + exponent + (N_DECIMALS if pointed else 0))


cdef inline int two(const uint8_t* p) noexcept nogil:
    # Two digits as a number, -1 where they are none. Precondition: 2 bytes are there.
    cdef uint8_t tens = <uint8_t>(load_u8(p) - c"0"), ones = <uint8_t>(load_u8(p + 1) - c"0")
    return tens * 10 + ones if tens <= 9 and ones <= 9 else -1


cdef inline int month_days(int year, int month) noexcept nogil:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month == 4 or month == 6 or month == 9 or month == 11 else 31


cdef inline int64_t days_before(int year, int month, int day) noexcept nogil:
    # Days since 1970-01-01 of a date, after the year 0. A year that begins in March has its leap
    # day last, so that months follow a fixed pattern of 153 days in five.
    cdef int y = year - (month <= 2), m = (month + 9) % 12
    return <int64_t>365 * y + y // 4 - y // 100 + y // 400 + (153 * m + 2) // 5 + day - 1 - 719468


cdef Reason date_time(const uint8_t* p, int64_t* seconds) noexcept nogil:
    # What: YYYY-MM-DDThh:mm:ss as seconds; the last year before 1970 too, which may be 1970 in
    # UTC. Precondition: N_DATE_TIME bytes are there.
    cdef int high = two(p), low = two(p + 2), month = two(p + 5), day = two(p + 8)
    cdef int hour = two(p + 11), minute = two(p + 14), second = two(p + 17), year
    if high < 0 or low < 0 or month < 0 or day < 0 or hour < 0 or minute < 0 or second < 0:
        return UNREADABLE
    if load_u8(p + 4) != c"-" or load_u8(p + 7) != c"-":
        return UNREADABLE
    if load_u8(p + 13) != c":" or load_u8(p + 16) != c":":
        return UNREADABLE
    if load_u8(p + 10) != c"T" and load_u8(p + 10) != c" ":
        return UNREADABLE
    year = high * 100 + low
    if not 1 <= month <= 12 or not 1 <= day <= month_days(year, month):
        return NO_DATE
    if hour > 23 or minute > 59 or second > 59:
        return NO_DATE
    if year < 1969 or year > 2554:
        return OUT_OF_RANGE
    seconds[0] = days_before(year, month, day) * 86400 + hour * 3600 + minute * 60 + second
    return FINE


cdef Reason zone_of(Cursor* cursor, int64_t* shift) noexcept nogil:
    # What: the rest of a time, hh:mm, hhmm or hh, as seconds.
    cdef Py_ssize_t n = cursor.end - cursor.pos
    cdef const uint8_t* p = take(cursor, n)
    cdef int hours, minutes = 0
    if n != 2 and n != 4 and n != 5:
        return UNREADABLE
    hours = two(p)
    if n == 5 and load_u8(p + 2) != c":":
        return UNREADABLE
    if n > 2:
        minutes = two(p + n - 2)
    if not 0 <= hours <= 23 or not 0 <= minutes <= 59:
        return UNREADABLE
    shift[0] = hours * 3600 + minutes * 60
    return FINE


cdef Reason time_of(Cursor cursor, Number* number) noexcept nogil:
    # What: an integer of ns, or a date and time with up to 9 decimals and a zone.
    cdef Cursor whole = cursor
    cdef const uint8_t* p = take(&cursor, N_DATE_TIME)
    cdef int64_t seconds = 0, shift = 0
    cdef unsigned int ns = 0
    cdef int n = 0
    cdef uint8_t digit
    cdef Reason reason
    if p == NULL or load_u8(p + 4) != c"-":
        return integer_of(whole, number)
    reason = date_time(p, &seconds)
    if reason != FINE:
        return reason
    p = take(&cursor, 1)
    if p != NULL and load_u8(p) == c".":
        p = take(&cursor, 1)
        while p != NULL:
            digit = <uint8_t>(load_u8(p) - c"0")
            if digit > 9:
                break
            n += 1
            if n > N_DECIMALS:
                return DECIMALS
            ns = ns * 10 + digit
            p = take(&cursor, 1)
        if n == 0:
            return UNREADABLE
        while n < N_DECIMALS:
            ns *= 10
            n += 1
    if p == NULL:
        return UNREADABLE
    digit = load_u8(p)
    if digit == c"+" or digit == c"-":
        reason = zone_of(&cursor, &shift)
        if reason != FINE:
            return reason
        seconds += shift if digit == c"-" else -shift
    elif digit != c"Z" or cursor.pos != cursor.end:
        return UNREADABLE
    if seconds < 0 or seconds > LAST_SECOND or (seconds == LAST_SECOND and ns > LAST_NS):
        return OUT_OF_RANGE
    number.negative = False
    number.magnitude = <uint64_t>seconds * 1_000_000_000 + ns
    return FINE


cdef inline int nibble(uint8_t digit) noexcept nogil:
    if c"0" <= digit <= c"9":
        return digit - c"0"
    digit |= 0x20
    return digit - c"a" + 10 if c"a" <= digit <= c"f" else -1


cdef Reason char_of(Cursor cursor, uint8_t* out) noexcept nogil:
    # What: one byte as it is, as a character below U+0100 in UTF-8, or as its escape.
    # Precondition: there is one byte or more.
    cdef Py_ssize_t n = cursor.end - cursor.pos
    cdef const uint8_t* p = take(&cursor, n)
    cdef uint8_t second
    cdef int high, low
    if n == 1:
        out[0] = load_u8(p)
        return FINE
    second = load_u8(p + 1)
    if n == 2 and (load_u8(p) == 0xC2 or load_u8(p) == 0xC3) and (second & 0xC0) == 0x80:
        out[0] = <uint8_t>((load_u8(p) << 6) | (second & 0x3F))
        return FINE
    if n == 2 and load_u8(p) == c"\\":
        if second == c"t":
            second = c"\t"
        elif second == c"n":
            second = c"\n"
        elif second == c"r":
            second = c"\r"
        elif second != c"'" and second != c'"' and second != c"\\":
            return UNREADABLE
        out[0] = second
        return FINE
    if n == 4 and load_u8(p) == c"\\" and second == c"x":
        high, low = nibble(load_u8(p + 2)), nibble(load_u8(p + 3))
        if high >= 0 and low >= 0:
            out[0] = <uint8_t>(high * 16 + low)
            return FINE
    return UNREADABLE


cdef Reason put_text(Cursor cursor, uint8_t* out, Py_ssize_t width) noexcept nogil:
    # What: text, NUL-padded; the NUL behind it is a must. Precondition: out has `width` bytes.
    cdef Py_ssize_t n = cursor.end - cursor.pos
    cdef const uint8_t* p = take(&cursor, n)
    if n >= width:
        return TOO_LONG
    if n and memchr(p, 0, n) != NULL:
        return HAS_NUL
    if n:
        memcpy(out, p, n)
    memset(out + n, 0, width - n)
    return FINE


cdef Reason put_number(
    const Number* number, bint signed, uint8_t* out, Py_ssize_t width
) noexcept nogil:
    # What: an integer of `width` bytes, little-endian. Precondition: out has them; 8 at most.
    cdef uint64_t most = <uint64_t>-1 >> (64 - 8 * width), bits = number.magnitude
    if signed:
        most = (most >> 1) + number.negative
    elif number.negative:
        most = 0
    if bits > most:
        return OUT_OF_RANGE
    if number.negative:
        bits = 0 - bits
    memcpy(out, &bits, width)
    return FINE


cdef Reason number_of(object value, Number* number):
    # A Python int of 64 bits, with or without sign.
    cdef int overflow = 0
    cdef long long small = long_of(<PyObject*>value, &overflow)
    if overflow == 0:
        number.negative = small < 0
        number.magnitude = 0 - <uint64_t>small if small < 0 else <uint64_t>small
        return FINE
    number.negative = False
    if overflow > 0:
        number.magnitude = unsigned_of(<PyObject*>value)
        if PyErr_Occurred() == NULL:
            return FINE
        PyErr_Clear()
    return OUT_OF_RANGE


cdef Reason text_of(object value, bint latin, Cursor* cursor):
    # The bytes of a text, which live as long as it does.
    cdef Py_ssize_t n = 0
    if latin:
        if PyUnicode_KIND(value) != 1:
            return UNREADABLE
        cursor.pos = PyUnicode_1BYTE_DATA(value)
        cursor.end = cursor.pos + PyUnicode_GET_LENGTH(value)
        return FINE
    cursor.pos = <const uint8_t*>utf8_of(<PyObject*>value, &n)
    if cursor.pos == NULL:  # half of a surrogate pair
        PyErr_Clear()
        return UNREADABLE
    cursor.end = cursor.pos + n
    return FINE


cdef inline int form_of(const Number* price) noexcept nogil:
    return DECIMAL if price.pointed else INTEGER if price.magnitude != 0 else 0


cdef Reason put_bytes(
    Kind kind, Cursor text, uint8_t* out, Py_ssize_t width, const uint8_t* absent, int* forms
) noexcept nogil:
    # One value as text; a price's form is added to `forms`. Preconditions: out and absent have
    # `width` bytes, 8 at most for numbers.
    cdef Number number
    cdef Reason reason
    if text.pos == text.end:
        memcpy(out, absent, width)
        return FINE
    if kind == TEXT:
        return put_text(text, out, width)
    if kind == CHAR:
        return char_of(text, out)
    if kind == PRICE:
        reason = price_of(text, &number)
        if reason == FINE:
            forms[0] |= form_of(&number)
    elif kind == TIME:
        reason = time_of(text, &number)
    else:
        reason = integer_of(text, &number)
    if reason != FINE:
        return reason
    return put_number(&number, kind == PRICE or kind == SIGNED, out, width)


cdef Reason put(
    Kind kind, object value, bint latin, uint8_t* out, Py_ssize_t width, const uint8_t* absent,
    int* forms,
):
    # One value. Preconditions: as for `put_bytes`.
    cdef Cursor cursor
    cdef Number number
    cdef Reason reason
    if value is None:
        memcpy(out, absent, width)
        return FINE
    if PyUnicode_CheckExact(value):
        reason = text_of(value, latin, &cursor)
        return put_bytes(kind, cursor, out, width, absent, forms) if reason == FINE else reason
    if not PyLong_CheckExact(value) or kind > UNSIGNED:
        return WRONG_TYPE
    reason = number_of(value, &number)
    if reason != FINE:
        return reason
    if kind == PRICE:
        number.pointed = False
        forms[0] |= form_of(&number)
    return put_number(&number, kind == PRICE or kind == SIGNED, out, width)


cdef int check_field(
    int kind, Py_ssize_t width, Py_ssize_t at, Py_ssize_t stride
) except -1:
    # Whether values of a kind can be written to `width` bytes of records of `stride`.
    if kind < 0 or kind > TEXT:
        raise ValueError(f"no kind {kind} of values")
    if (
        width < 1
        or (kind == CHAR and width != 1)
        or (kind == TIME and width != 8)
        or (kind <= UNSIGNED and width not in (1, 2, 4, 8))
    ):
        raise ValueError(f"no field of kind {KINDS[kind]} has {width} bytes")
    if stride < 1 or at < 0 or at + width > stride or stride > MAX_RECORD_SIZE:
        raise ValueError(f"{width} bytes at {at} lie outside a record of {stride}")
    return 0


cdef int set_slot(Slot* slot, int kind, Py_ssize_t at, bytes absent, Py_ssize_t size) except -1:
    # Where values of a kind go in records of `size` bytes; the slot needs `absent` to stay alive.
    cdef Py_ssize_t width = len(absent)
    check_field(kind, width, at, size)
    slot.kind = <Kind>kind
    slot.signed = kind == PRICE or kind == SIGNED
    slot.at = at
    slot.width = width
    slot.absent = <const uint8_t*>PyBytes_AS_STRING(absent)
    slot.most = 0
    if kind <= UNSIGNED:
        slot.most = (<uint64_t>-1 >> (64 - 8 * width)) >> slot.signed
    return 0


def fill_column(
    int kind, values not None, bint latin, uint8_t[::1] out not None, Py_ssize_t stride,
    Py_ssize_t at, bytes absent not None,
):
    """Write values into one field of records that stand side by side; see the stub."""
    cdef Py_ssize_t width = len(absent), n = len(values), i = 0
    cdef int forms = 0
    cdef const uint8_t* undefined = absent
    cdef uint8_t* row
    cdef Sink sink
    cdef Reason reason
    check_field(kind, width, at, stride)
    if out.shape[0] != n * stride:
        raise ValueError(f"{n} values for {out.shape[0]} bytes of {stride}-byte records")
    if n == 0:
        return -1, 0, 0
    sink.pos = &out[0]
    sink.end = sink.pos + out.shape[0]
    for value in values:
        row = claim(&sink, stride)
        if row == NULL:
            raise ValueError("the values changed while they were read")
        reason = put(<Kind>kind, value, latin, row + at, width, undefined, &forms)
        if reason != FINE:
            return i, <int>reason, forms
        i += 1
    return -1, 0, forms


def scatter(
    const uint8_t[::1] rows not None, Py_ssize_t size, const int64_t[::1] starts not None,
    uint8_t[::1] out not None,
):
    """Copy records that stand side by side to places of their own; see the stub."""
    cdef Py_ssize_t n = starts.shape[0], i
    cdef const uint8_t* source
    cdef bint inside = True
    cdef Cursor cursor
    if size < 1 or rows.shape[0] != n * size:
        raise ValueError(f"{rows.shape[0]} bytes are not {n} records of {size}")
    if n == 0:
        return
    cursor.pos = &rows[0]
    cursor.end = cursor.pos + rows.shape[0]
    with nogil:
        for i in range(n):
            if starts[i] < 0 or starts[i] > out.shape[0] - size:
                inside = False
                break
            source = take(&cursor, size)
            memcpy(&out[0] + starts[i], source, size)
    if not inside:
        raise ValueError(f"record {i} at {starts[i]} lies outside the {out.shape[0]} bytes")
