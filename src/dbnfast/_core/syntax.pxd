# What stands between the values of JSON: spaces, strings, numbers, and what is passed over. What
# the grammar allows is taken, but for what only few texts hold; all else is "no".

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from dbnfast._core.bounds cimport Cursor, Sink, claim, covers, take
from dbnfast._core.header cimport MAX_RECORD_SIZE, load_u8, load_u32, load_u64, lowest_bit
from dbnfast._core.quick cimport below, equal
from dbnfast._core.utf8 cimport is_utf8

cdef enum:
    DEEPEST = 60  # values inside values that are passed over
    LONGEST_NUMBER = 64


cdef inline bint next_is(const Cursor* cursor, uint8_t c) noexcept nogil:
    return cursor.pos != cursor.end and load_u8(cursor.pos) == c


cdef inline bint take_mark(Cursor* cursor, uint8_t c) noexcept nogil:
    # Takes a character; is it there?
    return next_is(cursor, c) and take(cursor, 1) != NULL


cdef inline void space(Cursor* cursor) noexcept nogil:
    # Takes spaces and tabs, if there are any. Line breaks end a line, wherever they stand.
    while next_is(cursor, c" ") or next_is(cursor, c"\t"):
        take(cursor, 1)


cdef inline bint is_digit(const Cursor* cursor) noexcept nogil:
    return cursor.pos != cursor.end and <uint8_t>(load_u8(cursor.pos) - c"0") <= 9


cdef inline bint is_plain(uint8_t c) noexcept nogil:
    # Does a byte stand for itself inside a string?
    return 0x20 <= c < 0x80 and c != c'"' and c != c"\\"


cdef inline void take_plain(Cursor* cursor) noexcept nogil:
    # Takes bytes that stand for themselves.
    cdef uint64_t word, special
    while covers(cursor, cursor.pos, 8):
        word = load_u64(cursor.pos)
        special = equal(word, c'"') | equal(word, c"\\") | below(word, 0x20)
        special |= word & 0x8080808080808080ULL
        if special:
            take(cursor, lowest_bit(special) >> 3)
            return
        take(cursor, 8)
    while cursor.pos != cursor.end and is_plain(load_u8(cursor.pos)):
        take(cursor, 1)


cdef inline bint take_word(Cursor* cursor, uint32_t word) noexcept nogil:
    # Takes four characters; are they there?
    return covers(cursor, cursor.pos, 4) and load_u32(cursor.pos) == word and (
        take(cursor, 4) != NULL
    )


cdef inline bint take_null(Cursor* cursor) noexcept nogil:
    return take_word(cursor, 0x6C6C756E)


cdef inline bint take_digits(Cursor* cursor) noexcept nogil:
    # Takes digits; are there any?
    cdef bint found = is_digit(cursor)
    while is_digit(cursor):
        take(cursor, 1)
    return found


cdef inline bint take_number(Cursor* cursor, Cursor* number) noexcept nogil:
    # What: [-] digits, without zeros in front, [. digits] [e [sign] digits]. Takes it; is it one?
    number.pos = cursor.pos
    take_mark(cursor, c"-")
    if not is_digit(cursor):
        return False
    if not take_mark(cursor, c"0"):
        take_digits(cursor)
    if take_mark(cursor, c".") and not take_digits(cursor):
        return False
    if take_mark(cursor, c"e") or take_mark(cursor, c"E"):
        if not take_mark(cursor, c"-"):
            take_mark(cursor, c"+")
        if not take_digits(cursor):
            return False
    number.end = cursor.pos
    return number.end - number.pos <= LONGEST_NUMBER


cdef inline int unit_of(Cursor* cursor, int n) noexcept nogil:
    # Takes n hexadecimal digits; the number, or -1.
    cdef const uint8_t* p = take(cursor, n)
    cdef uint8_t digit
    cdef int value = 0, i
    if p == NULL:
        return -1
    for i in range(n):
        digit = load_u8(p + i)
        if c"0" <= digit <= c"9":
            digit -= c"0"
        else:
            digit |= 0x20
            if not c"a" <= digit <= c"f":
                return -1
            digit -= c"a" - 10
        value = value * 16 + digit
    return value


cdef inline bint put_escape(Cursor* cursor, Sink* sink) noexcept nogil:
    # Takes what stands behind a backslash, and writes what it means; is it usual, and is there
    # room? The vendor writes \x and \' too, which are no JSON. Characters of two units are not
    # usual.
    cdef const uint8_t* p = take(cursor, 1)
    cdef uint8_t* out
    cdef uint8_t c
    cdef int unit, n
    if p == NULL:
        return False
    c = load_u8(p)
    if c == c"u" or c == c"x":
        unit = unit_of(cursor, 4 if c == c"u" else 2)
        if unit < 0 or 0xD800 <= unit <= 0xDFFF:
            return False
        n = 1 if unit < 0x80 else 2 if unit < 0x800 else 3
        out = claim(sink, n)
        if out == NULL:
            return False
        if n == 1:
            out[0] = <uint8_t>unit
        elif n == 2:
            out[0] = <uint8_t>(0xC0 | unit >> 6)
        else:
            out[0] = <uint8_t>(0xE0 | unit >> 12)
            out[1] = <uint8_t>(0x80 | (unit >> 6 & 0x3F))
        if n > 1:
            out[n - 1] = <uint8_t>(0x80 | (unit & 0x3F))
        return True
    if c == c"b":
        c = 8
    elif c == c"t":
        c = 9
    elif c == c"n":
        c = 10
    elif c == c"f":
        c = 12
    elif c == c"r":
        c = 13
    elif c != c'"' and c != c"'" and c != c"\\" and c != c"/":
        return False
    out = claim(sink, 1)
    if out == NULL:
        return False
    out[0] = c
    return True


cdef inline bint take_text(
    Cursor* cursor, Cursor* text, uint8_t* room, Py_ssize_t n_room
) noexcept nogil:
    # Takes a string whose first quote is taken; is it one, and usual? Its bytes are where they
    # are, or in `room`, if there are escapes. Precondition: room has n_room bytes.
    cdef const uint8_t* from_here = cursor.pos
    cdef uint8_t* out
    cdef uint8_t c
    cdef bint ascii = True
    cdef Sink sink
    text.pos = cursor.pos
    sink.pos = room
    sink.end = room + n_room
    while True:
        take_plain(cursor)
        if cursor.pos == cursor.end:
            return False
        c = load_u8(cursor.pos)
        if c >= 0x80:
            ascii = False
            take(cursor, 1)
            continue
        if c == c'"' and text.pos == from_here:
            text.end = cursor.pos
            break
        if c < 0x20:
            return False
        # what stands before the escape or the end, as it is
        out = claim(&sink, cursor.pos - from_here)
        if out == NULL:
            return False
        memcpy(out, from_here, cursor.pos - from_here)
        if c == c'"':
            text.end = sink.pos
            break
        take(cursor, 1)
        if not put_escape(cursor, &sink):
            return False
        from_here = cursor.pos
        text.pos = room
    take(cursor, 1)
    return ascii or is_utf8(text.pos, text.end - text.pos)


cdef inline bint skip_string(Cursor* cursor) noexcept nogil:
    cdef uint8_t room[MAX_RECORD_SIZE]
    cdef Cursor text
    return take_mark(cursor, c'"') and take_text(cursor, &text, room, MAX_RECORD_SIZE)


cdef inline bint skip_name(Cursor* cursor) noexcept nogil:
    if not skip_string(cursor):
        return False
    space(cursor)
    return take_mark(cursor, c":")


cdef inline bint skip_scalar(Cursor* cursor) noexcept nogil:
    cdef Cursor number
    if next_is(cursor, c'"'):
        return skip_string(cursor)
    if take_null(cursor) or take_word(cursor, 0x65757274):  # "true"
        return True
    if take_word(cursor, 0x736C6166):  # all of "false" but its last letter
        return take_mark(cursor, c"e")
    return take_number(cursor, &number)


cdef inline bint skip_value(Cursor* cursor) noexcept nogil:
    # Takes any value; is it one, and usual? Whether each of those around is an object is a bit.
    cdef uint64_t objects = 0
    cdef int depth = 0
    cdef bint is_object
    while True:
        space(cursor)
        is_object = next_is(cursor, c"{")
        if is_object or next_is(cursor, c"["):
            if depth == DEEPEST:
                return False
            take(cursor, 1)
            space(cursor)
            if not take_mark(cursor, c"}" if is_object else c"]"):
                depth += 1
                objects = objects << 1 | is_object
                if is_object and not skip_name(cursor):
                    return False
                continue
        elif not skip_scalar(cursor):
            return False
        while depth > 0:  # behind a value inside another one
            space(cursor)
            if take_mark(cursor, c","):
                space(cursor)
                if objects & 1 and not skip_name(cursor):
                    return False
                break
            if not take_mark(cursor, c"}" if objects & 1 else c"]"):
                return False
            depth -= 1
            objects >>= 1
        else:
            return True
