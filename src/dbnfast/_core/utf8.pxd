# Is it UTF-8? Asked of texts on the wire, which are short and nearly always ASCII.

from libc.stdint cimport uint8_t

from dbnfast._core.header cimport load_u8


cdef inline bint is_utf8(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    # Strictly, as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF.
    cdef Py_ssize_t i = 0, more
    cdef uint8_t lead, low, high
    while i < n:
        lead = load_u8(p + i)
        i += 1
        if lead < 0x80:
            continue
        low, high = 0x80, 0xBF
        if 0xC2 <= lead <= 0xDF:
            more = 1
        elif 0xE0 <= lead <= 0xEF:
            more = 2
            low = 0xA0 if lead == 0xE0 else low
            high = 0x9F if lead == 0xED else high
        elif 0xF0 <= lead <= 0xF4:
            more = 3
            low = 0x90 if lead == 0xF0 else low
            high = 0x8F if lead == 0xF4 else high
        else:
            return False
        while more > 0:
            if i == n or not low <= load_u8(p + i) <= high:
                return False
            low, high = 0x80, 0xBF
            i += 1
            more -= 1
    return True
