"""Records as Python objects: own bytes, fields read at C level."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItemWithError, PyDict_SetItem
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE, PyList_New
from cpython.long cimport PyLong_AsLongLong, PyLong_Check
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport Py_EQ, Py_NE, PyObject, PyTypeObject
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_TYPE
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport (
    INT64_MAX,
    UINT64_MAX,
    int8_t,
    int16_t,
    int64_t,
    uint8_t,
    uint32_t,
    uint64_t,
)
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from dbnfast._core.bounds cimport STEP, Cursor, Status, step
from dbnfast._core.codes cimport Method, make_methods
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
    store_u8,
)
from dbnfast._core.run cimport Run
from dbnfast._core.scan cimport SizeTable
from dbnfast._core.text cimport Stamp, magnitude, put_eight, put_short, put_sign, set_second


@cython.final
@cython.internal
cdef class Struct:
    """
    What a struct is in C: no class that Python sees, and nothing is an instance of it.

    Those are made by `struct_base`, with nothing above them but object: `isinstance` with another
    class goes through all bases of a record, so that each of them costs time.
    """

    cdef const uint8_t* pos
    cdef Py_ssize_t n
    cdef bint stamped
    cdef PyObject* apart  # its bytes, where they are not in the object itself


cdef extern from *:
    """
    #include <structmember.h>
    #define DBNFAST_CALLED_WITH(cls, f) \
        (((PyTypeObject*)(cls))->tp_vectorcall = (vectorcallfunc)(f))
    #define DBNFAST_HAS_GC(cls) PyType_HasFeature(cls, Py_TPFLAGS_HAVE_GC)
    #define DBNFAST_CALL_TYPE(cls, args, named) PyType_Type.tp_call(cls, args, named)
    static void dbnfast_plain(PyTypeObject* cls, void* dealloc) {
        cls->tp_flags &= ~Py_TPFLAGS_HAVE_GC;
        cls->tp_traverse = NULL;
        cls->tp_clear = NULL;
        cls->tp_free = PyObject_Free;
        cls->tp_dealloc = (destructor)dealloc;
        PyType_Modified(cls);
    }
    /* `isinstance` with another class ends by asking the instance for `__class__`, and object's
       descriptor of that name looks for `object` among all bases first. This one is the class's
       own, so that it asks for no base; as object's, it becomes one load in loops. */
    static PyMemberDef dbnfast_class_member = {
        "__class__", T_OBJECT_EX, offsetof(PyObject, ob_type), READONLY, NULL
    };
    static int dbnfast_own_class(PyTypeObject* cls) {
        PyObject* found = PyDescr_NewMember(cls, &dbnfast_class_member);
        int done = found ? PyDict_SetItemString(cls->tp_dict, "__class__", found) : -1;
        Py_XDECREF(found);
        PyType_Modified(cls);
        return done;
    }
    static PyObject* dbnfast_new_base(
        const char* name, Py_ssize_t size, void* dealloc, void* repr, void* hash, void* compare
    ) {
        PyType_Slot slots[] = {
            {Py_tp_dealloc, dealloc}, {Py_tp_repr, repr}, {Py_tp_hash, hash},
            {Py_tp_richcompare, compare}, {0, NULL},
        };
        PyType_Spec spec = {
            name, (int)size, 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots,
        };
        return PyType_FromSpec(&spec);
    }
    #define DBNFAST_STEAL(struct) ((void*)(struct))
    #define DBNFAST_FREES(cls) ((void*)(cls)->tp_dealloc)
    #define DBNFAST_ALLOCATE(cls) ((cls)->tp_alloc(cls, 0))
    #ifdef Py_GIL_DISABLED
    #define DBNFAST_KEEPS 0
    #else
    #define DBNFAST_KEEPS 1
    #endif
    """
    bint KEEPS "DBNFAST_KEEPS"
    void* frees "DBNFAST_FREES"(PyTypeObject* cls)
    object new_base "dbnfast_new_base"(
        const char* name, Py_ssize_t size, void* dealloc, void* repr, void* hash, void* compare
    )
    void make_plain "dbnfast_plain"(PyTypeObject* cls, void* dealloc)
    int own_class "dbnfast_own_class"(PyTypeObject* cls) except -1
    Struct steal "DBNFAST_STEAL"(PyObject* struct)  # the caller's reference becomes Cython's
    Struct allocate "DBNFAST_ALLOCATE"(PyTypeObject* cls)
    PyTypeObject* class_of "Py_TYPE"(PyObject* struct)
    Py_ssize_t refcount "Py_REFCNT"(PyObject* some)
    PyObject* list_get "PyList_GET_ITEM"(object made, Py_ssize_t i)  # borrowed
    void list_set "PyList_SET_ITEM"(object made, Py_ssize_t i, PyObject* item)  # it takes it
    void called_with "DBNFAST_CALLED_WITH"(object cls, void* f)
    bint has_gc "DBNFAST_HAS_GC"(PyTypeObject* cls)  # true of all that users derive
    object call_type "DBNFAST_CALL_TYPE"(object cls, object args, object named)
    void* PyObject_Malloc(size_t n)
    PyObject* PyObject_Init(PyObject* made, PyTypeObject* cls)
    Py_ssize_t PyVectorcall_NARGS(size_t n)
    bint PyUnicode_CheckExact(object text)
    bint PyUnicode_IS_ASCII(object text)
    const uint8_t* PyUnicode_1BYTE_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    Py_UCS4 PyUnicode_READ_CHAR(object text, Py_ssize_t at)
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* n) except NULL
    char* PyOS_double_to_string(double x, char format, int n, int flags, int* kind) except NULL
    int Py_DTSF_ADD_DOT_0
    Py_ssize_t PY_SSIZE_T_MAX

cdef uint64_t UNDEF_TIMESTAMP = UINT64_MAX
cdef int64_t UNDEF_PRICE = INT64_MAX
cdef double NAN = float("nan")
cdef str SHAPE = "_shape"


cdef bint makes_structs(PyTypeObject* cls) noexcept:
    # whether instances of a class are structs
    while cls != NULL:
        if frees(cls) == <void*>free_struct:
            return True
        cls = cls.tp_base
    return False


cdef inline bint is_struct(PyObject* some) noexcept:
    return frees(class_of(some)) == <void*>free_struct or makes_structs(class_of(some))


cdef bint is_class(object cls):
    return isinstance(cls, type) and makes_structs(<PyTypeObject*>cls)


class _Methods:
    """What every struct can."""

    def __bytes__(self):
        cdef Struct struct = checked(self)
        return PyBytes_FromStringAndSize(<const char*>struct.pos, struct.n)

    def __sizeof__(self):
        return (<PyTypeObject*>Py_TYPE(self)).tp_basicsize + checked(self).n

    def to_dict(self):
        """
        Give the fields by name, as a row of a table.

        Returns
        -------
        dict
            In the order of text output, book levels as ``bid_px_00`` and so on, ``ts_out`` last
            where there is one. The values are those of the attributes.
        """
        cdef Struct struct = checked(self)
        row = shape_of(type(self)).row(self)
        if struct.stamped:
            row["ts_out"] = self.ts_out
        return row

    def __copy__(self):
        return twin(self, None) if has_gc(Py_TYPE(self)) else self  # it is immutable

    def __deepcopy__(self, memo):
        return twin(self, memo) if has_gc(Py_TYPE(self)) else self

    @property
    def _stamped(self):
        """Whether the last 8 bytes are a ts_out."""
        return checked(self).stamped


cdef object twin(object some, object memo):
    # of a class of users, which may hold more than bytes
    cdef Struct struct = checked(some)
    made = steal(
        new_struct(<PyTypeObject*>Py_TYPE(some), struct.pos, struct.n, struct.stamped)
    )
    state = some.__getstate__()
    if memo is not None:
        from copy import deepcopy

        memo[id(some)] = made  # it may hold itself
        state = deepcopy(state, memo)
    return with_state(made, state)


def with_state(made, state):
    """Give an object what another one of its class holds; see the stub."""
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    for values in (attributes, slots):
        for name, value in (values or {}).items():
            object.__setattr__(made, name, value)
    return made


cdef inline Struct checked(object some):
    if not is_struct(<PyObject*>some):
        raise TypeError(f"a {type(some).__name__} is not a struct")
    return <Struct>some


cdef object compare(object one, object other, int how):
    cdef Struct ours = <Struct>one
    cdef Struct theirs = <Struct>other
    if type(one) is not type(other) or (how != Py_EQ and how != Py_NE):
        return NotImplemented
    return (how == Py_EQ) == (
        ours.n == theirs.n
        and ours.stamped == theirs.stamped
        and (ours.n == 0 or memcmp(ours.pos, theirs.pos, ours.n) == 0)  # nothing lies nowhere
    )


cdef Py_hash_t hash_of(object some) except -1:
    return hash(PyBytes_FromStringAndSize(<const char*>(<Struct>some).pos, (<Struct>some).n))


cdef object show(object some):
    return shape_of(type(some)).text(some)


def struct_base(type cls not None):
    """Make a class of structs that has what `cls` has; see the stub."""
    made = new_base(
        f"{cls.__module__}.{cls.__name__}".encode(), (<PyTypeObject*>Struct).tp_basicsize,
        <void*>free_struct, <void*>show, <void*>hash_of, <void*>compare,
    )
    for name, value in [*vars(_Methods).items(), *vars(cls).items()]:
        # of instances of that class alone, and what says by names of another module what types are
        if name not in ("__dict__", "__weakref__") and not name.startswith("__annot"):
            setattr(made, name, value)
    return made


def struct_from(cls, bytes raw not None, Py_ssize_t min_size, bint ts_out=False):
    """Make a struct of `cls` from its bytes; see the stub."""
    if not is_class(cls):
        raise TypeError(f"{cls!r} is no class of structs")
    if len(raw) < min_size:
        raise ValueError(f"{cls.__name__} needs {min_size} bytes, {len(raw)} are there")
    cdef const uint8_t* p = <const uint8_t*>PyBytes_AS_STRING(raw)
    return steal(new_struct(<PyTypeObject*>cls, p, PyBytes_GET_SIZE(raw), ts_out))


# Structs come and go by the million, mostly a few at a time: the memory of those that went
# is kept for the next ones, by size. On a free-threaded build the allocator alone does that.

cdef enum:
    N_SIZES = 67  # of up to 528 bytes, in steps of 8: all records
    KEPT = 64  # of each size

cdef PyObject* kept[N_SIZES][KEPT]
cdef int n_kept[N_SIZES]


cdef PyObject* empty_struct(PyTypeObject* cls, Py_ssize_t n, bint ts_out) except NULL:
    # A new reference to a struct with n bytes, which the caller fills before anybody else sees
    # it. They lie in the object itself, behind its C fields; but a class of users that the
    # garbage collector tracks, as those with a __dict__, has an allocator of its own, and the
    # bytes lie apart.
    cdef PyObject* made = NULL
    cdef Py_ssize_t size = (n + 7) >> 3
    if has_gc(cls):
        return struct_apart(cls, n, ts_out)
    if size < N_SIZES and n_kept[size] > 0:
        n_kept[size] -= 1
        made = kept[size][n_kept[size]]
    else:
        made = <PyObject*>PyObject_Malloc(cls.tp_basicsize + size * 8)
        if made == NULL:
            raise MemoryError
    PyObject_Init(made, cls)
    (<Struct>made).apart = NULL
    (<Struct>made).pos = <const uint8_t*>made + cls.tp_basicsize
    (<Struct>made).n = n
    (<Struct>made).stamped = ts_out
    return made


cdef PyObject* struct_apart(PyTypeObject* cls, Py_ssize_t n, bint ts_out) except NULL:
    cdef bytes apart = PyBytes_FromStringAndSize(NULL, n)
    cdef Struct struct = allocate(cls)
    struct.apart = <PyObject*>apart
    struct.pos = <const uint8_t*>PyBytes_AS_STRING(apart)
    struct.n = n
    struct.stamped = ts_out
    Py_INCREF(apart)
    Py_INCREF(struct)
    return <PyObject*>struct


cdef void free_struct(PyObject* struct) noexcept:
    # tp_dealloc of the classes that are bound to a shape: at each call the one of a class made
    # in Python asks for much that they do not have.
    cdef PyTypeObject* cls = class_of(struct)
    cdef PyObject* apart = (<Struct>struct).apart
    cdef Py_ssize_t size = ((<Struct>struct).n + 7) >> 3
    if apart == NULL and 0 < size < N_SIZES and n_kept[size] < KEPT and KEEPS:
        kept[size][n_kept[size]] = struct
        n_kept[size] += 1
    else:
        cls.tp_free(struct)
        if apart != NULL:
            Py_DECREF(<object>apart)
    Py_DECREF(<object>cls)


cdef PyObject* new_struct(
    PyTypeObject* cls, const uint8_t* p, Py_ssize_t n, bint ts_out
) except NULL:
    # Precondition: n bytes are there, enough for every field of cls.
    cdef PyObject* struct = empty_struct(cls, n, ts_out)
    memcpy(<uint8_t*>(<Struct>struct).pos, p, n)
    return struct


cdef enum:
    PAIR = 32  # bytes of a level: where the compiler knows them, copying takes two moves
    SPARE = 2  # lists of parts: the one that a loop holds, and the one that it gets


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
    PRETTY_TIME = 11  # what `make` gives; None where undefined
    STAMP = 12  # ts_out: the last 8 bytes where the stream has them
    PRETTY_STAMP = 13
    PARTS = 14  # `count` structs of the class `make`, each of `width` bytes


cdef int[15] WIDTHS = [1, 2, 4, 8, 1, 2, 4, 8, 1, 0, 8, 8, 8, 8, 0]  # 0: any


cdef object text_at(const uint8_t* p, Py_ssize_t n_max):
    cdef Py_ssize_t n = 0
    while n < n_max and load_u8(p + n) != 0:
        n += 1
    return PyUnicode_DecodeUTF8(<const char*>p, n, "backslashreplace")


cdef list CHARACTERS = [chr(i) for i in range(256)]
cdef list NUMBERS = list(range(256))


@cython.final
cdef class Members:
    """What the raw values of a field become; see the stub."""

    cdef PyObject* below[256]  # of `keep`: all that one byte can be
    cdef list keep, texts
    cdef dict known, codes
    cdef object enum
    cdef Py_ssize_t longest  # bytes of a text

    def __init__(self, known, bint characters, codes=None, enum=None):
        cdef Py_ssize_t i
        cdef list keep
        if self.keep is not None:
            raise TypeError("a table is made once")
        self.known = dict(known)
        self.codes = dict(codes or {})
        for member, code in self.codes.items():
            if not 0 <= code < 65536 or characters and member != chr(code):
                raise ValueError(f"no code {code} of {member!r}")
        self.enum = enum
        keep = list(CHARACTERS) if characters else list(NUMBERS)
        self.texts = [None] * 256
        self.longest = NUMBER  # of those that have no member
        for raw, value in self.known.items():
            text = repr(value).encode()
            self.longest = max(self.longest, len(text))
            i = ord(raw) if characters else raw
            if 0 <= i < 256:
                keep[i] = value
                self.texts[i] = text
        for i in range(256):
            self.below[i] = <PyObject*>PyList_GET_ITEM(keep, i)
        self.keep = keep

    cdef inline object of(self, unsigned int code):
        cdef PyObject* found
        if code < 256:
            return <object>self.below[code]
        value = code
        found = PyDict_GetItemWithError(self.known, value)
        return value if found == NULL else <object>found


@cython.final
cdef class Attribute:
    """One field of a struct, as a data descriptor; see the stub."""

    cdef Code code
    cdef Py_ssize_t offset, width, count
    cdef Py_ssize_t end  # behind all that is read
    cdef object owner  # where it stands: instances of this very class need no other check
    cdef Members members  # None: the raw value itself
    cdef object make
    cdef bytes allowed  # by value, whether it may be given; None: all that fits
    cdef Py_ssize_t place  # among what the constructor takes
    cdef PyObject* spare[SPARE]  # lists of parts
    cdef int next_spare  # where the next one goes
    cdef readonly str name
    cdef readonly str __doc__

    def __cinit__(self):
        self.end = PY_SSIZE_T_MAX  # what was never made lies outside of everything

    def __dealloc__(self):
        cdef int i
        for i in range(SPARE):
            if self.spare[i] != NULL:
                Py_DECREF(<object>self.spare[i])

    def __init__(
        self, str name, int code, Py_ssize_t offset, Py_ssize_t width, Members members=None,
        make=None, doc=None, Py_ssize_t count=1, allowed=None,
    ):
        if self.name is not None:
            raise TypeError("an attribute is made once")
        if not 0 <= code <= <int>PARTS or not 0 <= offset <= MAX_RECORD_SIZE:
            raise ValueError(f"no attribute of kind {code} at {offset}")
        if not 0 < width <= MAX_RECORD_SIZE or (WIDTHS[code] and width != WIDTHS[code]):
            raise ValueError(f"no attribute of kind {code} has {width} bytes")
        if not 0 < count <= MAX_RECORD_SIZE or (count > 1 and code != PARTS):
            raise ValueError(f"no attribute of kind {code} has {count} parts")
        if code in (PRETTY_TIME, PRETTY_STAMP) and make is None:
            raise TypeError("a time needs what makes it")
        if code == PARTS and not is_class(make):
            raise TypeError("parts need a class")
        if members is not None and members.keep is None:
            raise TypeError("the members were never made")
        if members is not None and code not in (U8, U16, CHARACTER):
            raise ValueError(f"no attribute of kind {code} has members")
        self.name = name
        self.code = <Code>code
        self.offset = offset
        self.width = width
        self.count = count
        self.end = offset + width * count
        self.members = members
        self.make = make
        if allowed is not None:
            self.allowed = bytes([value in allowed for value in range(256)])
        self.place = -1
        self.__doc__ = doc

    def __set_name__(self, owner, name):
        if self.owner is None and is_class(owner):
            self.owner = owner

    def __get__(self, instance, owner):
        if instance is None:
            return self
        if type(instance) is not self.owner and not is_struct(<PyObject*>instance):
            raise TypeError(f"{self.name!r} is no attribute of {type(instance).__name__!r}")
        return self.value(<Struct>instance)

    def __set__(self, instance, value):
        raise AttributeError(f"records are immutable: {self.name!r} cannot be set")

    def __delete__(self, instance):
        raise AttributeError(f"records are immutable: {self.name!r} cannot be deleted")

    cdef object value(self, Struct struct):
        cdef const uint8_t* p = struct.pos + self.offset
        cdef Code code = self.code
        cdef int64_t price
        if self.end > struct.n:  # the bounds of every read of a field
            raise TypeError(f"{self.name!r} lies outside this {type(struct).__name__!r}")
        if code == I64:
            return load_i64(p)
        elif code == U32:
            return load_u32(p)
        elif code == U64:
            return load_u64(p)
        elif code == U8:
            if self.members is not None:
                return <object>self.members.below[load_u8(p)]
            return load_u8(p)
        elif code == CHARACTER:
            if self.members is not None:
                return <object>self.members.below[load_u8(p)]
            return chr(load_u8(p))
        elif code == PARTS:
            return self.parts(p)
        elif code == U16:
            return load_u16(p) if self.members is None else self.members.of(load_u16(p))
        elif code == I8:
            return <int8_t>load_u8(p)
        elif code == I16:
            return <int16_t>load_u16(p)
        elif code == I32:
            return load_i32(p)
        elif code == TEXT:
            return text_at(p, self.width)
        elif code == PRETTY_PRICE:
            price = load_i64(p)
            return NAN if price == UNDEF_PRICE else price / 1e9
        elif code == PRETTY_TIME:
            return self.time(load_u64(p))
        else:
            return self.stamp(struct)

    cdef object parts(self, const uint8_t* p):
        # The last lists are kept, and filled anew once nobody else has them: code that reads
        # `levels` of one record after the other, or again and again, makes no objects.
        cdef PyTypeObject* cls = <PyTypeObject*>self.make
        cdef list made
        cdef PyObject* part
        cdef Py_ssize_t i
        for i in range(SPARE):
            if self.spare[i] != NULL and refcount(self.spare[i]) == 1 and KEEPS:
                made = <list>self.spare[i]
                if self.fill(made, p):
                    return made
                self.spare[i] = NULL
                self.next_spare = i
                Py_DECREF(made)
                made = None  # runs code of whoever put something into it
        made = PyList_New(self.count)
        for i in range(self.count):
            list_set(made, i, new_struct(cls, p + i * self.width, self.width, False))
        if KEEPS and self.width == PAIR:
            part = self.spare[self.next_spare]
            Py_INCREF(made)
            self.spare[self.next_spare] = <PyObject*>made
            self.next_spare = (self.next_spare + 1) % SPARE
            if part != NULL:
                Py_DECREF(<object>part)
        return made

    cdef bint fill(self, list made, const uint8_t* p) except -1:
        # Whether it could be: not where somebody put something else into the list. Pairs that
        # somebody has are replaced. No code of others runs, so that nobody sees half of it.
        cdef PyTypeObject* cls = <PyTypeObject*>self.make
        cdef PyObject* part
        cdef Py_ssize_t i
        if PyList_GET_SIZE(made) != self.count:
            return False
        for i in range(self.count):
            part = list_get(made, i)
            if class_of(part) != cls:
                return False
            if refcount(part) == 1 and (<Struct>part).n == PAIR:
                memcpy(<uint8_t*>(<Struct>part).pos, p + i * PAIR, PAIR)
            else:
                made[i] = steal(new_struct(cls, p + i * PAIR, PAIR, False))
        return True

    cdef object time(self, uint64_t ts):
        return None if ts == UNDEF_TIMESTAMP else self.make(ts)

    cdef object stamp(self, Struct struct):
        cdef uint64_t ts = UNDEF_TIMESTAMP
        if struct.stamped and struct.n >= HEADER_SIZE + TS_OUT_SIZE:
            ts = load_u64(struct.pos + struct.n - TS_OUT_SIZE)
        return ts if self.code == STAMP else self.time(ts)

    cdef bint store(self, object value, uint8_t* p, Py_ssize_t n) except -1:
        # Write a value that is as plain as can be; whether it was. Of all others, and of what
        # does not fit, the caller asks somebody else, who knows more.
        cdef Py_ssize_t length
        if self.end > n:
            return False
        p += self.offset
        if self.code <= I64:
            if not PyLong_Check(value):
                return self.code == U8 and self.store_code(value, p)
            return self.store_number(value, p)
        if self.code == CHARACTER:
            if not PyUnicode_CheckExact(value):
                return self.store_code(value, p)
            if PyUnicode_GET_LENGTH(value) != 1 or PyUnicode_READ_CHAR(value, 0) > 255:
                return False
            store_u8(p, <uint8_t>PyUnicode_READ_CHAR(value, 0))
            return True
        if self.code == TEXT:
            if not PyUnicode_CheckExact(value) or not PyUnicode_IS_ASCII(value):
                return False
            length = PyUnicode_GET_LENGTH(value)
            if length >= self.width:  # text keeps its NUL
                return False
            memset(p, 0, self.width)
            memcpy(p, PyUnicode_1BYTE_DATA(value), length)
            return True
        return self.code == PARTS and self.store_parts(value, p)

    cdef bint store_code(self, object value, uint8_t* p) except -1:
        # of a member
        cdef PyObject* found
        cdef long long code
        if self.members is None or type(value) is not self.members.enum:
            return False
        if self.code == CHARACTER:  # whose members are the characters
            store_u8(p, <uint8_t>PyUnicode_READ_CHAR(value, 0))
            return True
        found = PyDict_GetItemWithError(self.members.codes, value)
        if found == NULL:
            return False
        code = PyLong_AsLongLong(<object>found)
        if not 0 <= code < 256:
            return False
        store_u8(p, <uint8_t>code)
        return True

    cdef bint store_number(self, object value, uint8_t* p) except -1:
        # An OverflowError is for whoever stores many: to catch it costs something each time.
        cdef uint64_t unsigned
        cdef int64_t signed
        cdef const uint8_t* allowed
        if self.code < I8:
            unsigned = value
        else:
            signed = value
            unsigned = <uint64_t>signed
        if self.allowed is not None:
            allowed = <const uint8_t*>PyBytes_AS_STRING(self.allowed)
            if unsigned > 255 or not load_u8(allowed + unsigned):
                return False
        return put_number(p, self.code, unsigned)

    cdef bint store_parts(self, object value, uint8_t* p) except -1:
        cdef Py_ssize_t i
        if type(value) is self.make:
            return self.store_part(<Struct>value, p)
        if type(value) is not list or PyList_GET_SIZE(value) > self.count:
            return False
        for i in range(PyList_GET_SIZE(value)):
            part = <object>PyList_GET_ITEM(value, i)
            if type(part) is not self.make or not self.store_part(<Struct>part, p + i * self.width):
                return False
        return True

    cdef bint store_part(self, Struct part, uint8_t* p) except -1:
        # The fields that a part shows: what its reserved bytes are is not handed on.
        cdef Shape shape = shape_of(self.make)
        cdef Attribute attribute
        cdef Py_ssize_t i
        if part.n != self.width:
            return False
        if shape.whole:
            memcpy(p, part.pos, self.width)
            return True
        for i in range(PyList_GET_SIZE(shape.shown)):
            attribute = <Attribute>PyList_GET_ITEM(shape.shown, i)
            memcpy(p + attribute.offset, part.pos + attribute.offset, attribute.width)
        return True


cdef bint put_number(uint8_t* p, Code code, uint64_t value) noexcept:
    # Whether it fits; of signed codes the value is the two's complement.
    cdef int width = WIDTHS[<int>code]
    cdef int64_t signed = <int64_t>value
    cdef int64_t limit
    if width < 8:
        if code < I8:
            if value >> (8 * width):
                return False
        else:
            limit = <int64_t>1 << (8 * width - 1)
            if not -limit <= signed < limit:
                return False
    memcpy(p, &value, width)  # little-endian
    return True


@cython.final
cdef class Size(Method):
    """The size of a struct, an attribute and a method in one; see the stub."""

    cdef list sizes
    cdef readonly str __doc__

    def __init__(self, kind, str name not None, str doc=None):
        if self.call != NULL:
            raise TypeError("a method is made once")
        self.sizes = [kind(n) for n in range(MAX_RECORD_SIZE + 1)]
        self.__name__, self.__doc__ = name, doc
        self.call = <void*>size_of

    def __get__(self, instance, owner):
        if instance is None:
            return self
        if (self.sizes is None or not is_struct(<PyObject*>instance)
                or (<Struct>instance).n > MAX_RECORD_SIZE):
            raise TypeError(f"{self.__name__!r} is no attribute of {type(instance).__name__!r}")
        return <object>PyList_GET_ITEM(self.sizes, (<Struct>instance).n)


cdef object size_of(object method, PyObject** given, size_t flags, PyObject* names):
    if PyVectorcall_NARGS(flags) != 1 or names != NULL or not is_struct(given[0]):
        raise TypeError(f"{method.__name__}() takes the record alone")
    return (<Struct>given[0]).n


@cython.final
cdef class Equals(Method):
    """A method that tells whether an attribute has a value; see the stub."""

    cdef Attribute attribute
    cdef object wanted
    cdef bytes text  # where it is one
    cdef int code  # of a member that one byte tells; -1 of anything else
    cdef readonly str __doc__

    def __init__(self, Attribute attribute not None, wanted, str name not None, str doc=None):
        if self.call != NULL:
            raise TypeError("a method is made once")
        self.attribute, self.wanted = attribute, wanted
        if attribute.code == STAMP or attribute.code == PRETTY_STAMP:
            raise TypeError(f"{attribute.name!r} is no field")
        if attribute.code == TEXT:
            self.text = wanted.encode() + b"\0"
            if len(self.text) > attribute.width:
                raise ValueError(f"{attribute.name!r} has no room for {wanted!r}")
        self.code = -1
        if attribute.code == U8 and attribute.members is not None:
            self.code = attribute.members.codes.get(wanted, -1)
        self.__name__, self.__doc__ = name, doc
        self.call = <void*>equals


cdef object equals(object method, PyObject** given, size_t flags, PyObject* names):
    cdef Equals self = <Equals>method
    cdef const uint8_t* p
    if PyVectorcall_NARGS(flags) != 1 or names != NULL or not is_struct(given[0]):
        raise TypeError(f"{method.__name__}() takes the record alone")
    p = (<Struct>given[0]).pos + self.attribute.offset
    if self.attribute.end > (<Struct>given[0]).n:
        raise TypeError(f"{self.attribute.name!r} lies outside of this record")
    if self.code >= 0:
        return load_u8(p) == self.code
    if self.text is not None:
        return memcmp(p, PyBytes_AS_STRING(self.text), PyBytes_GET_SIZE(self.text)) == 0
    found = self.attribute.value(<Struct>given[0])
    return found is self.wanted or found == self.wanted


make_methods(Size)
make_methods(Equals)


# --- texts of values ------------------------------------------------------------------------


cdef enum:
    NUMBER = 24  # bytes of any integer; those that copies of a fixed size write behind it too
    FLOAT = 48  # bytes of a price as a float
    MOMENT = 48  # bytes of a time
    QUOTES = 2
    ESCAPED = 5  # bytes that the repr of a text has at most for a byte of it


cdef uint8_t* put_digits(uint8_t* out, uint64_t value) noexcept:
    if value < 100000000:
        return put_short(out, <uint32_t>value)
    out = put_digits(out, value // 100000000)
    return put_eight(out, <uint32_t>(value % 100000000))


cdef uint8_t* put_float(uint8_t* out, int64_t price) except NULL:
    # As repr() writes price / 1e9. The quotient is the double that is nearest to the decimal, and
    # up to 15 digits the decimal is the shortest text of it. From 1e-4 on there is no exponent.
    cdef uint64_t size = magnitude(price)
    cdef uint64_t whole = size // 1000000000
    cdef uint64_t part = size % 1000000000
    cdef char* text
    cdef size_t n
    if price == UNDEF_PRICE:
        memcpy(out, b"nan", 3)
        return out + 3
    if size > 999999999999999 or (0 < size < 100000):
        text = PyOS_double_to_string(price / 1e9, c"r", 0, Py_DTSF_ADD_DOT_0, NULL)
        n = len(text)
        memcpy(out, text, n if n < FLOAT else FLOAT)
        PyMem_Free(text)
        return out + (n if n < FLOAT else FLOAT)
    out = put_digits(put_sign(out, price), whole)
    out[0] = c"."
    put_eight(out + 1, <uint32_t>(part // 10))
    out[9] = <uint8_t>(c"0" + part % 10)
    out += 10
    while (out - 1)[0] == c"0" and (out - 2)[0] != c".":
        out -= 1
    return out


cdef uint8_t* put_moment(uint8_t* out, uint64_t ts) noexcept:
    # As str() writes a datetime64[ns].
    cdef Stamp stamp
    cdef uint64_t part = ts % 1000000000
    if ts > <uint64_t>INT64_MAX:
        memcpy(out, b"NaT", 3)
        return out + 3
    set_second(&stamp, ts // 1000000000)
    memcpy(out, stamp.text, 20)
    put_eight(out + 20, <uint32_t>(part // 10))
    out[28] = <uint8_t>(c"0" + part % 10)
    return out + 29


cdef set PRETTY = {(<int>PRETTY_PRICE, <int>I64), (<int>PRETTY_TIME, <int>U64)}


@cython.final
cdef class Shape:
    """What a class of structs is made of; see the stub."""

    cdef bytes template
    cdef list given  # Attributes, in the order of the constructor
    cdef dict by_name
    cdef list shown, starts, pretty
    cdef Py_ssize_t longest
    cdef Attribute levels
    cdef bint stamps  # whether a ts_out may follow
    cdef bint whole  # whether the fields that are shown are all of its bytes

    def __init__(self, bytes template not None, list given not None, list shown not None,
                 bint stamps):
        cdef Attribute attribute
        cdef int pretty_code
        cdef Py_ssize_t n_shown = 0
        if self.template is not None:
            raise TypeError("a shape is made once")
        if not 0 < len(template) <= MAX_RECORD_SIZE - TS_OUT_SIZE:
            raise ValueError(f"no struct has {len(template)} bytes")
        self.longest = 0
        self.given, self.by_name = [], {}
        for attribute in [*given, *[one for one, _ in shown]]:
            if attribute.end > len(template) and attribute.code != STAMP:
                raise ValueError(f"{attribute.name!r} lies outside of {len(template)} bytes")
        for attribute in given:
            attribute.place = len(self.given)
            self.given.append(attribute)
            self.by_name[attribute.name] = attribute
            if attribute.code == PARTS:
                self.levels = attribute
        self.shown, self.starts, self.pretty = [], [], []
        for attribute, kind in shown:
            pretty_code = <int>kind
            if pretty_code and (pretty_code, <int>attribute.code) not in PRETTY:
                raise ValueError(f"no pretty form {kind} of {attribute.name!r}")
            if attribute.code > TEXT:
                raise ValueError(f"{attribute.name!r} is no field")
            start = (", " if self.shown else "") + attribute.name + "="
            pretty = f", pretty_{attribute.name}='" if pretty_code else ""
            self.shown.append(attribute)
            self.longest += len(start)
            self.starts.append(start.encode())
            self.pretty.append(
                (pretty.encode(), pretty_code == PRETTY_PRICE) if pretty_code else None
            )
            self.longest += len(pretty) + FLOAT + QUOTES
            n_shown += attribute.width
            if attribute.members is not None:
                self.longest += attribute.members.longest
            elif attribute.code == TEXT:
                self.longest += ESCAPED * attribute.width + QUOTES
            self.longest += NUMBER
        self.stamps = stamps
        self.whole = n_shown == len(template)
        self.template = template

    def text(self, some, /):
        """Write the fields that are shown; see the stub."""
        cdef Struct struct = self.checked(some)
        cdef str title = type(struct).__name__
        cdef Py_ssize_t i, n
        cdef uint8_t* out
        cdef Attribute attribute
        cdef bytes start
        cdef const char* named
        named = PyUnicode_AsUTF8AndSize(title, &n)
        cdef uint8_t* begin = <uint8_t*>PyMem_Malloc(n + self.longest + 2 + NUMBER)
        if begin == NULL:
            raise MemoryError
        try:
            memcpy(begin, named, n)
            out = begin + n
            out[0] = c"("
            out += 1
            for i in range(PyList_GET_SIZE(self.shown)):
                attribute = <Attribute>PyList_GET_ITEM(self.shown, i)
                start = <bytes>PyList_GET_ITEM(self.starts, i)
                memcpy(out, PyBytes_AS_STRING(start), PyBytes_GET_SIZE(start))
                out = put_value(out + PyBytes_GET_SIZE(start), attribute, struct)
                pretty = <object>PyList_GET_ITEM(self.pretty, i)
                if pretty is not None:
                    out = put_pretty(out, pretty, struct.pos + attribute.offset)
            out[0] = c")"
            return PyUnicode_DecodeUTF8(<const char*>begin, out + 1 - begin, NULL)
        finally:
            PyMem_Free(begin)

    cdef Struct checked(self, object some):
        # the same, where all of the fields are there
        cdef Struct struct = checked(some)
        if self.template is None or struct.n < PyBytes_GET_SIZE(self.template):
            raise TypeError(f"a {type(some).__name__} of {struct.n} bytes has another shape")
        return struct

    def row(self, some, /):
        """Give the fields that are shown by name; see the stub."""
        cdef Struct struct = self.checked(some)
        cdef Attribute attribute
        cdef dict found = {}
        for i in range(PyList_GET_SIZE(self.shown)):
            attribute = <Attribute>PyList_GET_ITEM(self.shown, i)
            PyDict_SetItem(found, attribute.name, attribute.value(struct))
        return found

    def changed(self, some, /, dict fields not None):
        """Copy a struct with other values, where they are plain; see the stub."""
        cdef Struct struct = self.checked(some)
        cdef Struct made
        cdef PyObject* found
        if has_gc(Py_TYPE(some)):  # which may hold more than its fields
            return None
        made = steal(
            new_struct(<PyTypeObject*>Py_TYPE(struct), struct.pos, struct.n, struct.stamped)
        )
        try:
            for name, value in fields.items():
                found = PyDict_GetItemWithError(self.by_name, name)
                if found == NULL or (<Attribute>found).code == PARTS:
                    return None
                if not (<Attribute>found).store(value, <uint8_t*>made.pos, made.n):
                    return None
        except OverflowError:
            return None
        return made

    cdef Struct make(self, PyTypeObject* cls, PyObject** values, Py_ssize_t n_values,
                     PyObject* names):
        # A struct of plain values; None where one of them is not.
        cdef Py_ssize_t n = PyBytes_GET_SIZE(self.template)
        cdef Py_ssize_t n_names = 0 if names == NULL else PyTuple_GET_SIZE(<object>names)
        cdef Py_ssize_t i
        cdef Attribute attribute
        cdef PyObject* found
        cdef object stamp = None, parts = None
        cdef bint level = False
        cdef Struct made
        if n_values > PyList_GET_SIZE(self.given):
            return None
        made = steal(empty_struct(cls, n, False))
        memcpy(<uint8_t*>made.pos, PyBytes_AS_STRING(self.template), n)
        for i in range(n_values + n_names):
            if i < n_values:
                attribute = <Attribute>PyList_GET_ITEM(self.given, i)
            else:
                found = self.named(<object>PyTuple_GET_ITEM(<object>names, i - n_values), i)
                if found == NULL or (<Attribute>found).place < n_values:
                    return None
                attribute = <Attribute>found
            value = <object>values[i]
            if value is None:
                continue
            if attribute.code == STAMP:
                stamp = value
            elif attribute.code == PARTS:
                parts = value
            elif attribute.store(value, <uint8_t*>made.pos, n):
                level = level or (
                    self.levels is not None and attribute.offset >= self.levels.offset
                )
            else:
                return None
        if parts is not None:
            if level or not self.levels.store(parts, <uint8_t*>made.pos, n):
                return None
        return made if stamp is None else self.stamped(cls, made, stamp)

    cdef PyObject* named(self, object name, Py_ssize_t i) except? NULL:
        # What is to be given under a name, borrowed; NULL: nothing. Mostly it is the i-th.
        cdef PyObject* found
        if i < PyList_GET_SIZE(self.given):
            found = <PyObject*>PyList_GET_ITEM(self.given, i)
            if (<Attribute>found).name is name:
                return found
        return PyDict_GetItemWithError(self.by_name, name)

    cdef Struct stamped(self, PyTypeObject* cls, Struct plain, object stamp):
        # the same with a ts_out behind it
        cdef Struct made
        cdef uint8_t* p
        cdef uint64_t ts
        if not self.stamps or not PyLong_Check(stamp):
            return None
        made = steal(empty_struct(cls, plain.n + TS_OUT_SIZE, True))
        p = <uint8_t*>made.pos
        memcpy(p, plain.pos, plain.n)
        store_u8(p, <uint8_t>(made.n // 4))
        ts = stamp
        put_number(p + plain.n, U64, ts)
        return made

    def bind(self, type cls not None, bint called):
        """Make a class one of structs of this shape; see the stub."""
        cdef PyTypeObject* own = <PyTypeObject*>cls
        cdef size_t i
        if not is_class(cls) or self.template is None:
            raise TypeError(f"{cls.__name__} is no class of structs")
        if own.tp_basicsize != (<PyTypeObject*>Struct).tp_basicsize or own.tp_dictoffset:
            raise TypeError(f"{cls.__name__} has more than its bytes")
        if len(forever) >= N_PLACES // 2:
            raise ValueError("no more classes can be bound")
        setattr(cls, SHAPE, self)
        forever.append((cls, self))
        i = place_of(<PyObject*>cls)
        shapes[i] = <PyObject*>self
        bound[i] = <PyObject*>cls
        # Python has the garbage collector track instances of every class that it makes. There is
        # nothing to find in these, so that they need no such thing, and the collector no time.
        make_plain(own, <void*>free_struct)
        own_class(own)
        if called:
            called_with(cls, <void*>call_struct)


cdef uint8_t* put_value(uint8_t* out, Attribute attribute, Struct struct) except NULL:
    # The repr of a field's value; Shape.longest has the room of it.
    cdef const uint8_t* p = struct.pos + attribute.offset
    cdef Code code = attribute.code
    cdef int64_t value
    if code == TEXT:
        return put_quoted(out, p, attribute.width)
    if code == CHARACTER and attribute.members is None:
        return put_quoted(out, p, 1) if load_u8(p) else put_bytes(out, repr("\0").encode())
    if attribute.members is not None:
        value = load_u16(p) if code == U16 else load_u8(p)
        if value < 256:
            text = <object>PyList_GET_ITEM(attribute.members.texts, value)
            if text is not None:
                return put_bytes(out, <bytes>text)
        return put_bytes(out, repr(attribute.members.of(<unsigned int>value)).encode())
    if code == U64:
        return put_digits(out, load_u64(p))
    elif code == U32:
        return put_digits(out, load_u32(p))
    elif code == U16:
        return put_digits(out, load_u16(p))
    elif code == U8:
        return put_digits(out, load_u8(p))
    elif code == I64:
        value = load_i64(p)
    elif code == I32:
        value = load_i32(p)
    elif code == I16:
        value = <int16_t>load_u16(p)
    else:
        value = <int8_t>load_u8(p)
    return put_digits(put_sign(out, value), magnitude(value))


cdef uint8_t* put_bytes(uint8_t* out, bytes text) except NULL:
    memcpy(out, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
    return out + PyBytes_GET_SIZE(text)


cdef uint8_t* put_quoted(uint8_t* out, const uint8_t* p, Py_ssize_t width) except NULL:
    # The repr of a text: plain ASCII as it is, anything else as Python writes it.
    cdef Py_ssize_t n = 0
    cdef uint8_t byte
    while n < width:
        byte = load_u8(p + n)
        if byte == 0:
            break
        if byte < 0x20 or byte > 0x7E or byte == c"'" or byte == c"\\":
            if width == 1:
                return put_bytes(out, repr(chr(byte)).encode())
            return put_bytes(out, repr(text_at(p, width)).encode())
        n += 1
    out[0] = c"'"
    memcpy(out + 1, p, n)
    out[n + 1] = c"'"
    return out + n + 2


cdef uint8_t* put_pretty(uint8_t* out, tuple pretty, const uint8_t* p) except NULL:
    # The pretty form of a price, or of a time that is there.
    cdef bytes start = <bytes>PyTuple_GET_ITEM(pretty, 0)
    if <object>PyTuple_GET_ITEM(pretty, 1) is True:
        out = put_float(put_bytes(out, start), load_i64(p))
    elif load_u64(p) == UNDEF_TIMESTAMP:
        return out
    else:
        out = put_moment(put_bytes(out, start), load_u64(p))
    out[0] = c"'"
    return out + 1


cdef enum:
    N_PLACES = 128  # at least twice as many as classes are bound

cdef PyObject* bound[N_PLACES]  # classes and their shapes, by the class's address
cdef PyObject* shapes[N_PLACES]
cdef list forever = []  # what they refer to


cdef inline size_t place_of(PyObject* cls) noexcept:
    # where a class stands, or is to stand
    cdef size_t i = (<size_t>cls >> 4) % N_PLACES
    while bound[i] != NULL and bound[i] != cls:
        i = (i + 1) % N_PLACES
    return i


cdef Shape shape_of(object cls):
    cdef size_t i = place_of(<PyObject*>cls)
    return <Shape>shapes[i] if bound[i] != NULL else <Shape?>getattr(cls, SHAPE)


cdef object call_struct(object cls, PyObject** values, size_t flags, PyObject* names):
    # The call of a class whose shape is bound. What is not plain goes the long way, by __new__.
    cdef Py_ssize_t n = PyVectorcall_NARGS(flags), i
    cdef size_t place = place_of(<PyObject*>cls)
    cdef Struct made = None
    if bound[place] != NULL:
        try:
            made = (<Shape>shapes[place]).make(<PyTypeObject*>cls, values, n, names)
        except OverflowError:
            pass
    if made is not None:
        return made
    given = tuple([<object>values[i] for i in range(n)])
    named = {}
    if names != NULL:
        for i, name in enumerate(<tuple>names):
            named[name] = <object>values[n + i]
    return call_type(cls, given, named)


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
            if not (is_class(cls) and is_class(newest) and size >= HEADER_SIZE):
                raise TypeError(f"{cls} is no record class")
        if not is_class(fallback) or len(entries) > 1024:
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


cdef object make_record(
    RecordTable table, const uint8_t* p, Py_ssize_t n, bint ts_out, bint upgrade
):
    # Precondition: n bytes, the header among them, are there. The largest layout that fits
    # tells the class, as the stream's version may lie; entries are chained largest first.
    cdef Py_ssize_t extra = TS_OUT_SIZE if ts_out else 0
    cdef int16_t i = table.first[load_u8(p + 1)]
    cdef Entry* entry
    cdef PyObject* made
    while i >= 0 and table.entries[i].size + extra > n:
        i = table.entries[i].next
    if i < 0:
        return steal(new_struct(table.fallback, p, n, ts_out))
    entry = table.entries + i
    if not upgrade or entry.recipe == NULL:
        return steal(new_struct(entry.cls, p, n, ts_out))
    made = empty_struct(entry.newest, entry.recipe.size + extra, ts_out)
    upgrade_record(entry.recipe, p, n, <uint8_t*>(<Struct>made).pos, ts_out)
    return steal(made)


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
