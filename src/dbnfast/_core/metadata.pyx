"""The metadata header: parsed in place, its lists opened when asked for; written in one go."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from dbnfast._core.bounds cimport Cursor, take
from dbnfast._core.header cimport load_u8, load_u16, load_u32, load_u64
from dbnfast._core.run cimport owned

import datetime
from array import array

from dbnfast.errors import EncodeError, MetadataError, TruncatedError, UnsupportedVersionError

cdef enum:
    PRELUDE = 8  # magic, version, length
    FIXED_END = 112  # of prelude and fixed part, in every version
    MIN_LENGTH = 120  # behind the prelude: the fixed part and the counts of four empty lists
    N_LISTS = 3  # symbols, partial, not_found; the mappings follow

LIST_NAMES = ("symbols", "partial", "not_found", "mappings")


cdef class Header:
    """The header's fixed fields, and where its lists stand; see the stub."""

    cdef readonly object body  # bytes, or where it is long a view of a buffer
    cdef readonly int version
    cdef readonly Py_ssize_t size
    cdef readonly int schema, stype_in, stype_out, symbol_cstr_len
    cdef readonly bint ts_out
    cdef readonly object start, end, limit
    cdef Py_ssize_t list_at[4]  # where each list's count stands
    cdef uint32_t list_n[4]

    @property
    def dataset(self):
        """The dataset code."""
        cdef const uint8_t[::1] body = self.body
        if body is None or body.shape[0] < FIXED_END:
            raise TypeError("there is no header")
        return text(&body[0], 8, 16, "dataset")

    def hold(self):
        """Take the body's buffer once, before the header is shared; see the stub."""
        self.body = owned(self.body)
        return type(self.body) is bytes or self.body.constant

    def count(self, int which):
        """Give the length of a list: 0 symbols, 1 partial, 2 not_found, 3 mappings."""
        if not 0 <= which <= N_LISTS:
            raise ValueError(f"no list {which}")
        return self.list_n[which]

    def texts(self, int which):
        """Read a list of texts: 0 symbols, 1 partial, 2 not_found; see the stub."""
        cdef const uint8_t[::1] body = self.body
        cdef Cursor cursor
        cdef Py_ssize_t n_text = self.symbol_cstr_len
        cdef uint32_t _i
        cdef list found = []
        if not 0 <= which < N_LISTS:
            raise ValueError(f"no list {which} of texts")
        self.enter(&cursor, body, which)
        for _i in range(self.list_n[which]):
            found.append(next_text(&cursor, body, n_text, LIST_NAMES[which]))
        return found

    def mappings(self):
        """Read the mappings: [(raw_symbol, [(start_date, end_date, symbol)])]; see the stub."""
        cdef const uint8_t[::1] body = self.body
        cdef Cursor cursor
        cdef Py_ssize_t n_text = self.symbol_cstr_len
        cdef uint32_t _i, _j, n
        cdef list found = [], intervals
        cdef dict dates = {}  # a header names few dates many times
        self.enter(&cursor, body, N_LISTS)
        for _i in range(self.list_n[N_LISTS]):
            raw_symbol = next_text(&cursor, body, n_text, "raw_symbol")
            n = load_u32(next_bytes(&cursor, body, 4))
            intervals = []
            for _j in range(n):
                start = next_date(&cursor, body, dates)
                end = next_date(&cursor, body, dates)
                intervals.append((start, end, next_text(&cursor, body, n_text, "symbol")))
            found.append((raw_symbol, intervals))
        return found

    def intervals(self):
        """Read the mappings as columns, with no object for a date; see the stub."""
        cdef const uint8_t[::1] body = self.body
        cdef Cursor cursor
        cdef Py_ssize_t n_text = self.symbol_cstr_len, at = 0
        cdef Py_ssize_t total = self.count_intervals()
        cdef uint32_t i, _j, n
        cdef list raw_symbols = [], symbols = []
        rows = array("q", bytes(8 * total))
        starts, ends = array("I", bytes(4 * total)), array("I", bytes(4 * total))
        cdef int64_t[::1] row_of = rows
        cdef uint32_t[::1] start_of = starts, end_of = ends
        self.enter(&cursor, body, N_LISTS)
        for i in range(self.list_n[N_LISTS]):
            raw_symbols.append(next_text(&cursor, body, n_text, "raw_symbol"))
            n = load_u32(next_bytes(&cursor, body, 4))
            if n > total - at:  # memory that somebody else writes to
                raise MetadataError(f"the mappings changed while {total} intervals were read")
            for _j in range(n):
                row_of[at] = i
                start_of[at] = next_day(&cursor, body)
                end_of[at] = next_day(&cursor, body)
                symbols.append(next_text(&cursor, body, n_text, "symbol"))
                at += 1
        if at != total:
            raise MetadataError(f"the mappings changed while {total} intervals were read")
        return raw_symbols, rows, starts, ends, symbols

    cdef Py_ssize_t count_intervals(self) except -1:
        cdef const uint8_t[::1] body = self.body
        cdef Cursor cursor
        cdef Py_ssize_t n_text = self.symbol_cstr_len, total = 0
        cdef uint32_t _i, n
        self.enter(&cursor, body, N_LISTS)
        for _i in range(self.list_n[N_LISTS]):
            next_bytes(&cursor, body, n_text)
            n = load_u32(next_bytes(&cursor, body, 4))
            next_bytes(&cursor, body, n * (8 + n_text))
            total += n
        return total

    cdef int enter(self, Cursor* cursor, const uint8_t[::1] body, int which) except -1:
        # The buffer may not be what it was when the counts were checked: walk it as checked.
        if body is None or body.shape[0] < self.size or self.list_at[which] + 4 > self.size:
            raise TypeError("there is no header")
        cursor.pos = &body[0] + self.list_at[which] + 4
        cursor.end = &body[0] + self.size
        return 0


cdef const uint8_t* next_bytes(
    Cursor* cursor, const uint8_t[::1] body, Py_ssize_t n
) except NULL:
    cdef const uint8_t* p = take(cursor, n)
    if p == NULL:
        at = cursor.pos - &body[0]
        raise MetadataError(f"{n} bytes at byte {at} do not fit the header", offset=at)
    return p


cdef str next_text(Cursor* cursor, const uint8_t[::1] body, Py_ssize_t n_text, str name):
    cdef const uint8_t* p = next_bytes(cursor, body, n_text)
    return text(&body[0], p - &body[0], n_text, name)


cdef object next_date(Cursor* cursor, const uint8_t[::1] body, dict dates):
    cdef const uint8_t* p = next_bytes(cursor, body, 4)
    return date(&body[0], p - &body[0], dates)


cdef str text(const uint8_t* base, Py_ssize_t at, Py_ssize_t n_max, str name):
    # NUL padding goes, an embedded NUL stays; a field without any NUL is whole.
    cdef Py_ssize_t n = n_max
    while n > 0 and load_u8(base + at + n - 1) == 0:
        n -= 1
    try:
        return PyUnicode_DecodeUTF8(<const char*>base + at, n, NULL)
    except UnicodeDecodeError as error:
        raise MetadataError(
            f"{name} at byte {at} is not UTF-8: byte {error.object[error.start]:#04x} "
            f"at {at + error.start}", offset=at,
        ) from None


cdef object date(const uint8_t* base, Py_ssize_t at, dict dates):
    cdef uint32_t number = load_u32(base + at)
    found = dates.get(number)
    if found is None:
        try:
            found = datetime.date(number // 10000, number // 100 % 100, number % 100)
        except ValueError:
            raise MetadataError(
                f"date at byte {at} is {number}, expected a calendar date as YYYYMMDD", offset=at
            ) from None
        dates[number] = found
    return found


cdef inline bint is_day(uint32_t number) noexcept nogil:
    # Is YYYYMMDD in the calendar, as datetime.date has it?
    cdef uint32_t year = number // 10000, month = number // 100 % 100, day = number % 100
    cdef bint leap
    if not (1 <= year <= 9999 and 1 <= month <= 12 and 1 <= day <= 31):
        return False
    if month == 2:
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        return day <= <uint32_t>(29 if leap else 28)
    return day <= 30 or month in (1, 3, 5, 7, 8, 10, 12)


cdef uint32_t next_day(Cursor* cursor, const uint8_t[::1] body) except? 0:
    cdef const uint8_t* p = next_bytes(cursor, body, 4)
    if not is_day(load_u32(p)):
        date(&body[0], p - &body[0], {})  # raises
    return load_u32(p)


cdef int check_lists(
    Cursor* cursor, const uint8_t* base, Py_ssize_t n_text, Header header, Py_ssize_t* at
) noexcept nogil:
    # Walk the lists by their counts, touching no text: a million mappings are a million steps.
    # Gives the list that does not fit, -1 where all do; `at` is the count at fault.
    cdef const uint8_t* p
    cdef uint32_t n, _i
    cdef int which
    for which in range(N_LISTS + 1):
        at[0] = cursor.pos - base
        header.list_at[which] = at[0]
        p = take(cursor, 4)
        if p == NULL:
            return which
        n = load_u32(p)
        header.list_n[which] = n
        if which < N_LISTS:
            if take(cursor, <Py_ssize_t>n * n_text) == NULL:
                return which
            continue
        if <Py_ssize_t>n * (n_text + 4) > cursor.end - cursor.pos:
            return which
        for _i in range(n):
            if take(cursor, n_text) == NULL:
                at[0] = header.list_at[which]
                return which
            at[0] = cursor.pos - base
            p = take(cursor, 4)
            if p == NULL or take(cursor, load_u32(p) * (8 + n_text)) == NULL:
                return which
    return -1


def header_size(const uint8_t[::1] data not None):
    """Check the prelude and tell how long the whole header is; see the stub."""
    cdef Py_ssize_t n = data.shape[0]
    cdef uint8_t version
    cdef uint32_t length
    cdef bytes magic = bytes(data[:min(n, 3)])
    if magic != b"DBN"[:len(magic)]:
        raise MetadataError(
            f"expected b'DBN' at byte 0, found {magic!r}", offset=0
        )
    if n < 4:
        return None
    version = data[3]
    if not 1 <= version <= 3:
        raise UnsupportedVersionError(
            f"DBN version at byte 3 is {version}, expected 1 to 3"
            + (": a newer release of dbnfast may read it" if version > 3 else ""),
            version=version, offset=3,
        )
    if n < PRELUDE:
        return None
    length = load_u32(&data[0] + 4)
    if length < MIN_LENGTH:
        raise MetadataError(
            f"metadata length at byte 4 is {length} bytes, expected {MIN_LENGTH} or more", offset=4
        )
    return PRELUDE + <Py_ssize_t>length


cdef Header read_fixed(const uint8_t* base, object body, Py_ssize_t size):
    # Precondition: FIXED_END bytes are there.
    cdef Header header = Header.__new__(Header)
    cdef Py_ssize_t at
    cdef uint64_t value
    header.body = body
    header.size = size
    header.version = load_u8(base + 3)
    header.schema = load_u16(base + 24)
    header.start = load_u64(base + 26)
    value = load_u64(base + 34)
    header.end = None if value == 0 or value == <uint64_t>-1 else value
    value = load_u64(base + 42)
    header.limit = value if value else None
    at = 58 if header.version == 1 else 50
    header.stype_in = load_u8(base + at)
    header.stype_out = load_u8(base + at + 1)
    header.ts_out = load_u8(base + at + 2) != 0
    header.symbol_cstr_len = 22 if header.version == 1 else load_u16(base + at + 3)
    return header


def parse_header(object source not None):
    """Parse the header that `source` begins with; see the stub."""
    cdef const uint8_t[::1] data = source
    cdef Header header
    cdef Cursor cursor
    cdef const uint8_t* base
    cdef Py_ssize_t at = 0, n_text
    cdef int wrong
    cdef uint32_t found
    if data.shape[0] == 0:
        raise TruncatedError(
            "the stream is empty: expected a metadata header at byte 0",
            offset=0, needed=PRELUDE, available=0,
        )
    size = header_size(data)
    if size is None or data.shape[0] < size:
        needed = PRELUDE if size is None else size
        raise TruncatedError(
            f"metadata at byte 0 needs {needed} bytes, {data.shape[0]} are there",
            offset=0, needed=needed, available=data.shape[0],
        )
    base = &data[0]
    header = read_fixed(base, source, size)
    found = load_u32(base + FIXED_END - 4)
    if found != 0:
        raise MetadataError(
            f"schema definition length at byte {FIXED_END - 4} is {found}, expected 0",
            offset=FIXED_END - 4,
        )
    if header.symbol_cstr_len == 0:
        raise MetadataError("symbol length at byte 53 is 0, expected 1 or more", offset=53)
    check_tables(header)
    cursor.pos = base + FIXED_END
    cursor.end = base + header.size
    n_text = header.symbol_cstr_len
    with nogil:
        wrong = check_lists(&cursor, base, n_text, header, &at)
    if wrong >= 0:
        found = load_u32(base + at) if at + 4 <= header.size else 0
        raise MetadataError(
            f"{LIST_NAMES[wrong]} at byte {at}: {found} entries do not fit the header, "
            f"which ends at byte {header.size}", offset=at,
        )
    return header


def parse_lists(const uint8_t[::1] data not None, object source, Py_ssize_t symbol_cstr_len):
    """Parse lists that stand alone, as DBZ has them; see the stub."""
    cdef Header header = Header.__new__(Header)
    cdef Cursor cursor
    cdef Py_ssize_t at = 0
    cdef int wrong = 0
    header.body = source
    header.version = 1
    header.size = data.shape[0]
    header.symbol_cstr_len = <int>symbol_cstr_len
    if data.shape[0] >= 4:
        cursor.pos = &data[0] + 4  # behind the schema definition length
        cursor.end = &data[0] + data.shape[0]
        wrong = check_lists(&cursor, &data[0], symbol_cstr_len, header, &at)
    if wrong >= 0:
        raise MetadataError(
            f"{LIST_NAMES[wrong]} at byte {at} of the metadata frame do not fit its "
            f"{header.size} bytes", offset=at,
        )
    return header


cdef object known = None  # schema codes, stype codes; set once at import by `set_codes`


def set_codes(frozenset schemas not None, frozenset stypes not None):
    """Tell which codes are known, once, at import."""
    global known
    if known is None:
        known = (schemas, stypes)


cdef int check_tables(Header header) except -1:
    cdef Py_ssize_t at = 58 if header.version == 1 else 50
    if header.schema != 0xFFFF and header.schema not in known[0]:
        raise MetadataError(f"schema at byte 24 is {header.schema}, an unknown code", offset=24)
    if header.stype_in != 0xFF and header.stype_in not in known[1]:
        raise MetadataError(
            f"stype_in at byte {at} is {header.stype_in}, an unknown code", offset=at
        )
    if header.stype_out not in known[1]:
        raise MetadataError(
            f"stype_out at byte {at + 1} is {header.stype_out}, an unknown code", offset=at + 1
        )
    return 0


cdef Py_ssize_t put_text(uint8_t* base, Py_ssize_t at, str value, Py_ssize_t n, str name) except -1:
    # Precondition: n zero bytes are there at `at`.
    cdef bytes encoded
    try:
        encoded = value.encode("ascii")
    except UnicodeEncodeError:
        raise EncodeError(f"{name} {value!r} is not ASCII") from None
    if len(encoded) >= n:
        raise EncodeError(f"{name} {value!r} has {len(encoded)} characters, at most {n - 1} fit")
    memcpy(base + at, PyBytes_AS_STRING(encoded), len(encoded))
    return at + n


cdef Py_ssize_t put_u32(uint8_t* base, Py_ssize_t at, uint32_t value) noexcept:
    memcpy(base + at, &value, 4)
    return at + 4


cdef void put_u64(uint8_t* base, Py_ssize_t at, uint64_t value) noexcept:
    memcpy(base + at, &value, 8)


cdef uint32_t number_of(object day) except? 0:
    return day.year * 10000 + day.month * 100 + day.day


def encode_header(
    int version, str dataset not None, int schema, uint64_t start, uint64_t end, uint64_t limit,
    int stype_in, int stype_out, bint ts_out, int symbol_cstr_len, tuple lists not None,
    list mappings not None,
):
    """Write a whole header; see the stub."""
    cdef Py_ssize_t n_text = symbol_cstr_len
    cdef Py_ssize_t size = FIXED_END + 16
    cdef Py_ssize_t at
    cdef uint8_t* base
    cdef uint16_t short_value
    cdef bytes out
    for values in lists:
        size += n_text * len(values)
    for _, intervals in mappings:
        size += n_text + 4 + (8 + n_text) * len(intervals)
    if version == 3:
        size = (size + 7) & ~<Py_ssize_t>7  # records begin at an 8-byte boundary
    if size - PRELUDE > 0xFFFFFFFF:
        raise EncodeError(f"a header of {size} bytes is longer than its length field can say")
    out = PyBytes_FromStringAndSize(NULL, size)
    base = <uint8_t*>PyBytes_AS_STRING(out)
    memset(base, 0, size)
    memcpy(base, b"DBN", 3)
    base[3] = <uint8_t>version
    put_u32(base, 4, <uint32_t>(size - PRELUDE))
    put_text(base, 8, dataset, 16, "dataset")
    short_value = <uint16_t>schema
    memcpy(base + 24, &short_value, 2)
    put_u64(base, 26, start)
    put_u64(base, 34, end)
    put_u64(base, 42, limit)
    at = 50
    if version == 1:
        put_u64(base, 50, <uint64_t>-1)  # record_count, which nobody may use
        at = 58
    base[at] = <uint8_t>stype_in
    base[at + 1] = <uint8_t>stype_out
    base[at + 2] = ts_out
    if version > 1:
        short_value = <uint16_t>symbol_cstr_len
        memcpy(base + 53, &short_value, 2)
    at = FIXED_END
    for name, values in zip(LIST_NAMES, lists, strict=False):
        at = put_u32(base, at, <uint32_t>len(values))
        for value in values:
            at = put_text(base, at, value, n_text, name)
    at = put_u32(base, at, <uint32_t>len(mappings))
    for raw_symbol, intervals in mappings:
        at = put_text(base, at, raw_symbol, n_text, "raw_symbol")
        at = put_u32(base, at, <uint32_t>len(intervals))
        for first, last, symbol in intervals:
            at = put_u32(base, at, number_of(first))
            at = put_u32(base, at, number_of(last))
            at = put_text(base, at, symbol, n_text, "symbol")
    return out
