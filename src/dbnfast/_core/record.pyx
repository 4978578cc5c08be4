"""Records as Python objects: own bytes, fields read at C level."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject, PyTypeObject
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int8_t, int16_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from dbnfast._core.bounds cimport STEP, Cursor, Status, step
from dbnfast._core.copy cimport Program, upgrade_record
from dbnfast._core.header cimport (
    HEADER_SIZE,
    MAX_RECORD_SIZE,
    TS_OUT_SIZE,
    load_i32,
    load_i64,
    load_u8,
    load_u16,
    load_u32,
    load_u64,
)
from dbnfast._core.run cimport Run
from dbnfast._core.scan cimport SizeTable

cdef extern from "Python.h":
    bint is_gc "PyObject_IS_GC"(PyObject* op) noexcept
    void untrack "PyObject_GC_UnTrack"(PyObject* op) noexcept

cdef uint64_t UNDEF_TIMESTAMP = <uint64_t>-1
cdef int64_t UNDEF_PRICE = 0x7FFFFFFFFFFFFFFF
cdef tuple EMPTY = ()


cdef class Struct:
    """Bytes of its own, whose fields are attributes; see the stub."""

    def __bytes__(self):
        return self.raw

    def __eq__(self, other):
        if type(self) is not type(other):
            return NotImplemented
        return (self.raw == (<Struct>other).raw
                and self.stamped == (<Struct>other).stamped)

    def __hash__(self):
        return hash(self.raw)

    @staticmethod
    def _from_bytes(type cls not None, bytes raw not None, Py_ssize_t min_size, bint ts_out=False):
        """Make a struct of `cls` from its bytes; see the stub."""
        if not issubclass(cls, Struct):
            raise TypeError(f"{cls.__name__} is not a struct")
        if len(raw) < min_size:
            raise ValueError(f"{cls.__name__} needs {min_size} bytes, {len(raw)} are there")
        return new_struct(<PyTypeObject*>cls, raw, ts_out)

    @property
    def _stamped(self):
        """Whether the last 8 bytes are a ts_out."""
        return self.stamped


cdef Struct new_struct(PyTypeObject* cls, bytes raw, bint ts_out):
    # Precondition: raw is long enough for every field of cls.
    cdef Struct struct = <Struct>(<PyTypeObject*>Struct).tp_new(<type>cls, <PyObject*>EMPTY, NULL)
    struct.raw = raw
    struct.pos = <const uint8_t*>PyBytes_AS_STRING(raw)
    struct.n = PyBytes_GET_SIZE(raw)
    struct.stamped = ts_out
    return struct


cdef inline Struct plain_struct(PyTypeObject* cls, bytes raw, bint ts_out):
    # Of a class of the table, whose instances have no dict: the collector, which looks at all
    # instances of Python classes, need not look at one that holds bytes alone. Where many are
    # kept, it would look at them again and again.
    cdef Struct struct = new_struct(cls, raw, ts_out)
    if is_gc(<PyObject*>struct):
        untrack(<PyObject*>struct)
    return struct


cdef enum Code:
    U8 = 0
    U16 = 1
    U32 = 2
    U64 = 3
    I8 = 4
    I16 = 5
    I32 = 6
    I64 = 7
    CHARACTER = 8  # a str of one character
    TEXT = 9  # NUL-padded UTF-8
    PRETTY_PRICE = 10  # float, 1e-9 units; nan where undefined
    PRETTY_TIME = 11  # what make_time gives; None where undefined
    STAMP = 12  # ts_out: the last 8 bytes where the stream has them
    PRETTY_STAMP = 13


cdef int[14] WIDTHS = [1, 2, 4, 8, 1, 2, 4, 8, 1, 0, 8, 8, 8, 8]  # by code; text has any


cdef object text_at(const uint8_t* p, Py_ssize_t n_max):
    cdef Py_ssize_t n = 0
    while n < n_max and load_u8(p + n) != 0:
        n += 1
    return PyUnicode_DecodeUTF8(<const char*>p, n, "backslashreplace")


@cython.final
cdef class Attribute:
    """One field of a struct, as a data descriptor; see the stub."""

    cdef Code code
    cdef Py_ssize_t offset, width
    cdef object members  # raw value -> what the attribute gives; None: the value itself
    cdef object make_time
    cdef readonly str name
    cdef readonly str __doc__

    def __init__(
        self, str name, int code, Py_ssize_t offset, Py_ssize_t width, members=None,
        make_time=None, doc=None,
    ):
        if self.name is not None:
            raise TypeError("an attribute is made once")
        if not 0 <= code <= <int>PRETTY_STAMP or not 0 <= offset <= MAX_RECORD_SIZE:
            raise ValueError(f"no attribute of kind {code} at {offset}")
        if not 0 < width <= MAX_RECORD_SIZE or (code != TEXT and width != WIDTHS[code]):
            raise ValueError(f"no attribute of kind {code} has {width} bytes")
        if code in (PRETTY_TIME, PRETTY_STAMP) and make_time is None:
            raise TypeError("a time needs make_time")
        self.name = name
        self.code = <Code>code
        self.offset = offset
        self.width = width
        self.members = members
        self.make_time = make_time
        self.__doc__ = doc

    def __get__(self, instance, owner):
        if instance is None:
            return self
        if not isinstance(instance, Struct):
            raise TypeError(f"{self.name!r} is no attribute of {type(instance).__name__!r}")
        cdef Struct struct = <Struct>instance
        cdef const uint8_t* p = struct.pos + self.offset
        cdef object value
        cdef int64_t price
        if self.code == STAMP or self.code == PRETTY_STAMP:
            return self.stamp(struct)
        if self.offset + self.width > struct.n:
            raise TypeError(f"{self.name!r} lies outside this {type(instance).__name__!r}")
        if self.code == I64:
            return load_i64(p)
        elif self.code == U32:
            return load_u32(p)
        elif self.code == U64:
            return load_u64(p)
        elif self.code == U8:
            value = load_u8(p)
        elif self.code == U16:
            value = load_u16(p)
        elif self.code == I8:
            return <int8_t>load_u8(p)
        elif self.code == I16:
            return <int16_t>load_u16(p)
        elif self.code == I32:
            return load_i32(p)
        elif self.code == CHARACTER:
            value = chr(load_u8(p))
        elif self.code == TEXT:
            return text_at(p, self.width)
        elif self.code == PRETTY_PRICE:
            price = load_i64(p)
            return float("nan") if price == UNDEF_PRICE else price / 1e9
        else:
            return self.time(load_u64(p))
        if self.members is None:
            return value
        return self.members.get(value, value)

    def __set__(self, instance, value):
        raise AttributeError(f"records are immutable: {self.name!r} cannot be set")

    def __delete__(self, instance):
        raise AttributeError(f"records are immutable: {self.name!r} cannot be deleted")

    cdef object time(self, uint64_t ts):
        return None if ts == UNDEF_TIMESTAMP else self.make_time(ts)

    cdef object stamp(self, Struct struct):
        cdef uint64_t ts = UNDEF_TIMESTAMP
        if struct.stamped and struct.n >= HEADER_SIZE + TS_OUT_SIZE:
            ts = load_u64(struct.pos + struct.n - TS_OUT_SIZE)
        return ts if self.code == STAMP else self.time(ts)


cdef class RecordTable:
    """Which class a record becomes; see the stub."""

    def __cinit__(self):
        memset(self.first, 255, sizeof(self.first))  # -1 everywhere
        self.entries = NULL

    def __init__(self, type fallback not None, entries):
        cdef Py_ssize_t i
        cdef Entry* entry
        cdef Program program
        if self.entries != NULL:
            raise TypeError("a table is made once")
        entries = sorted(entries, key=lambda entry: entry[1])
        self.keep = [fallback, entries]
        for _, size, cls, _, newest in entries:
            if not (issubclass(cls, Struct) and issubclass(newest, Struct) and size >= HEADER_SIZE):
                raise TypeError(f"{cls} is no record class")
        if not issubclass(fallback, Struct) or len(entries) > 1024:
            raise TypeError(f"{fallback} is no record class")
        self.entries = <Entry*>calloc(len(entries) + 1, sizeof(Entry))
        if self.entries == NULL:
            raise MemoryError
        self.fallback = <PyTypeObject*>fallback
        for i, (rtype, size, cls, recipe, newest) in enumerate(entries):
            entry = self.entries + i
            entry.size = size
            entry.cls = <PyTypeObject*>cls
            entry.newest = <PyTypeObject*>newest
            if recipe is not None:
                program = recipe
                if program.recipe.template == NULL:
                    raise TypeError("the program was never made")
                if program.recipe.source_size != size:
                    raise ValueError(f"the program is not for records of {size} bytes")
                entry.recipe = &program.recipe
            if not 0 <= rtype < 256:
                raise ValueError(f"no rtype {rtype}")
            entry.next = self.first[rtype]
            self.first[rtype] = <int16_t>i

    def __dealloc__(self):
        free(self.entries)


cdef Struct make_record(
    RecordTable table, const uint8_t* p, Py_ssize_t n, bint ts_out, bint upgrade
):
    # Precondition: n bytes, the header among them, are there. The largest layout that fits
    # tells the class, as the stream's version may lie; entries are chained largest first.
    cdef Py_ssize_t extra = TS_OUT_SIZE if ts_out else 0
    cdef int16_t i = table.first[load_u8(p + 1)]
    cdef Entry* entry
    cdef bytes raw
    while i >= 0 and table.entries[i].size + extra > n:
        i = table.entries[i].next
    if i < 0:
        raw = PyBytes_FromStringAndSize(<const char*>p, n)
        return plain_struct(table.fallback, raw, ts_out)
    entry = table.entries + i
    if not upgrade or entry.recipe == NULL:
        raw = PyBytes_FromStringAndSize(<const char*>p, n)
        return plain_struct(entry.cls, raw, ts_out)
    raw = PyBytes_FromStringAndSize(NULL, entry.recipe.size + extra)
    upgrade_record(entry.recipe, p, n, <uint8_t*>PyBytes_AS_STRING(raw), ts_out)
    return plain_struct(entry.newest, raw, ts_out)


@cython.final
cdef class RecordIterator:
    """The records of a run as objects; see the stub."""

    cdef Run run
    cdef RecordTable table
    cdef SizeTable sizes
    cdef Cursor cursor
    cdef bint upgrade

    def __init__(
        self, Run run not None, RecordTable table not None, SizeTable sizes not None, bint upgrade
    ):
        if table.entries == NULL:
            raise TypeError("the table was never made")
        self.run = run
        self.table = table
        self.sizes = sizes
        self.cursor.pos = run.base
        self.cursor.end = run.base + run._nbytes
        self.upgrade = upgrade

    def __iter__(self):
        return self

    def __next__(self):
        cdef const uint8_t* record = NULL
        cdef Py_ssize_t n = 0
        cdef uint8_t rtype = 0
        cdef Status status
        if self.run is None:
            raise StopIteration
        with cython.critical_section(self):
            status = step(&self.cursor, self.sizes.of(self.run._ts_out), &record, &n, &rtype)
        if status != STEP:
            raise StopIteration
        return make_record(self.table, record, n, self.run._ts_out, self.upgrade)


def record_from(RecordTable table not None, const uint8_t[::1] data not None, bint ts_out,
                bint upgrade):
    """Make the record that `data` holds from end to end; see the stub."""
    cdef Py_ssize_t n = data.shape[0]
    if table.entries == NULL:
        raise TypeError("the table was never made")
    if n < HEADER_SIZE or load_u8(&data[0]) * 4 != n:
        raise ValueError(
            f"the {n} bytes are not one record: "
            f"{'the header is cut' if n < HEADER_SIZE else f'its length is {data[0] * 4}'}"
        )
    return make_record(table, &data[0], n, ts_out, upgrade)
