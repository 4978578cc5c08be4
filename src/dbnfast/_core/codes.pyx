"""Members of enumerations, found as fast as attributes of other classes; methods in C."""

cimport cython
from cpython.dict cimport PyDict_GetItemWithError
from cpython.object cimport PyObject, PyTypeObject
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE

cdef extern from *:
    """
    static void dbnfast_make_methods(PyTypeObject* cls, Py_ssize_t offset) {
        cls->tp_vectorcall_offset = offset;
        cls->tp_call = PyVectorcall_Call;
        cls->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR;
        PyType_Modified(cls);
    }
    static void dbnfast_quicken(PyTypeObject* cls, void* call) {
        cls->tp_getattro = PyType_Type.tp_getattro;
        cls->tp_call = (ternaryfunc)call;
        PyType_Modified(cls);
    }
    static void dbnfast_set_numbers(PyTypeObject* cls, void* code) {
        cls->tp_as_number->nb_int = (unaryfunc)code;
        cls->tp_as_number->nb_index = (unaryfunc)code;
        PyType_Modified(cls);
    }
    #ifdef Py_GIL_DISABLED
    #define DBNFAST_KEEPS 0
    #else
    #define DBNFAST_KEEPS 1
    #endif
    #define DBNFAST_MADE_IN_PYTHON(cls) PyType_HasFeature(cls, Py_TPFLAGS_HEAPTYPE)
    #define DBNFAST_TYPE_DICT(cls) (((PyTypeObject*)(cls))->tp_dict)
    #define DBNFAST_BASE_CALL(cls, args, named) \
        Py_TYPE(cls)->tp_base->tp_call(cls, args, named)
    """
    void set_methods "dbnfast_make_methods"(PyTypeObject* cls, Py_ssize_t offset)
    void set_slots "dbnfast_quicken"(PyTypeObject* cls, void* call)
    bint KEEPS "DBNFAST_KEEPS"
    bint is_made_in_python "DBNFAST_MADE_IN_PYTHON"(PyTypeObject* cls)
    void set_numbers "dbnfast_set_numbers"(PyTypeObject* cls, void* code)
    PyObject* type_dict "DBNFAST_TYPE_DICT"(PyObject* cls)
    object base_call "DBNFAST_BASE_CALL"(object cls, PyObject* args, PyObject* named)
    Py_ssize_t PyVectorcall_NARGS(size_t n)
    object PyVectorcall_Call(object method, object given, object named)
    object PyMethod_New(object function, object instance)
    object PyObject_GetAttr(object owner, object name)
    int PyObject_SetAttr(object owner, object name, object value) except -1

cdef str MEMBERS = "_value2member_map_"
cdef str CODE = "_code"


cdef class Method:
    """What a class calls with an instance: a method whose body is in C; see the stub."""

    def __get__(self, instance, owner):
        return self if instance is None else PyMethod_New(self, instance)

    def __call__(self, *given, **named):
        return PyVectorcall_Call(self, given, named)


cdef void make_methods(type cls):
    # Have a subclass of Method be called as functions are: without a bound object and a tuple.
    cdef Method one = cls.__new__(cls)
    set_methods(<PyTypeObject*>cls, <char*>&one.call - <char*><PyObject*>one)


@cython.final
cdef class Shown(Method):
    """A method that gives what the instance holds under a name; see the stub."""

    cdef str held
    cdef object make  # what it is at first; None: it is there
    cdef readonly str __doc__

    def __init__(self, str held not None, str name not None, str doc=None, make=None):
        if self.call != NULL:
            raise TypeError("a method is made once")
        self.held, self.__name__, self.__doc__, self.make = held, name, doc, make
        self.call = <void*>give


cdef object give(object method, PyObject** given, size_t flags, PyObject* names):
    # As __format__ it is given how to write a text too.
    cdef Py_ssize_t n = PyVectorcall_NARGS(flags)
    if not 1 <= n <= 2 or names != NULL or n == 2 and (<Shown>method).__name__ != "__format__":
        raise TypeError(f"{method.__name__}() takes the instance alone")
    try:
        held = PyObject_GetAttr(<object>given[0], (<Shown>method).held)
    except AttributeError:
        if (<Shown>method).make is None:
            raise
        held = (<Shown>method).make(<object>given[0])
        PyObject_SetAttr(<object>given[0], (<Shown>method).held, held)
    return held if n == 1 or not <object>given[1] else format(held, <object>given[1])


@cython.final
cdef class Found(Method):
    """A method of a class that looks its argument up in a table; see the stub."""

    cdef str table
    cdef readonly object __wrapped__
    cdef readonly str __doc__

    def __init__(self, str table not None, function):
        if self.call != NULL:
            raise TypeError("a method is made once")
        self.table, self.__wrapped__ = table, function
        self.__name__, self.__doc__ = function.__name__, function.__doc__
        self.call = <void*>find


cdef object find(object method, PyObject** given, size_t flags, PyObject* names):
    cdef Found self = <Found>method
    cdef Py_ssize_t n = PyVectorcall_NARGS(flags), i
    cdef PyObject* found = NULL
    if n == 2 and names == NULL:
        found = known(<object>given[0], self.table, <object>given[1])
        if found != NULL:
            return <object>found
    named = {}
    if names != NULL:
        for i, name in enumerate(<tuple>names):
            named[name] = <object>given[n + i]
    return self.__wrapped__(*[<object>given[i] for i in range(n)], **named)


def kept_in(cls, str table not None, value, member):
    """Have `found_in` find a member from now on; see the stub."""
    if type(value) is not int and type(value) is not str:
        return
    if table not in cls.__dict__:
        type.__setattr__(cls, table, {})
    cls.__dict__[table][value] = member


def found_in(str table not None):
    """Have a method of a class look its argument up in a table first; see the stub."""
    return lambda function: Found(table, function)


@cython.final
cdef class Held:
    """An attribute that is what the instance holds under another name; see the stub."""

    cdef str held, name
    cdef readonly str __doc__

    def __init__(self, str held not None, str name not None, str doc=None):
        self.held, self.name, self.__doc__ = held, name, doc

    def __get__(self, instance, owner):
        if instance is None:
            raise AttributeError(f"{owner.__name__!r} has no member {self.name!r}")
        value = PyObject_GetAttr(instance, self.held)
        PyObject_SetAttr(instance, self.name, value)  # where the next one finds it by itself
        return value


cdef PyObject* known(object cls, str table, object value) except? NULL:
    # What a table of a class has for a value, borrowed; NULL: nothing.
    cdef PyObject* members
    if not isinstance(cls, type):
        return NULL
    members = PyDict_GetItemWithError(<object>type_dict(<PyObject*>cls), table)
    if members == NULL or not isinstance(<object>members, dict):
        return NULL
    try:
        return PyDict_GetItemWithError(<object>members, value)
    except TypeError:  # it has no hash
        return NULL


cdef object call_enum(object cls, PyObject* args, PyObject* named):
    # A value that is known gives its member at once; anything else is left to the enum module.
    cdef PyObject* found = NULL
    if named == NULL and PyTuple_GET_SIZE(<object>args) == 1:
        found = known(cls, MEMBERS, <object>PyTuple_GET_ITEM(<object>args, 0))
    return base_call(cls, args, named) if found == NULL else <object>found


cdef enum:
    N_PLACES = 2048  # at least twice as many as members are numbered

cdef PyObject* members[N_PLACES]  # and their numbers, by the member's address
cdef PyObject* numbers[N_PLACES]
cdef list forever = []  # what they refer to


cdef inline size_t place_of(PyObject* member) noexcept:
    # where a member stands, or is to stand
    cdef size_t i = (<size_t>member >> 4) % N_PLACES
    while members[i] != NULL and members[i] != member:
        i = (i + 1) % N_PLACES
    return i


cdef object number_of(object member):
    cdef size_t i = place_of(<PyObject*>member)
    if members[i] != NULL:
        return <object>numbers[i]
    code = PyObject_GetAttr(member, CODE)
    if KEEPS and type(code) is int and len(forever) < N_PLACES // 2:
        forever.append((member, code))
        i = place_of(<PyObject*>member)  # the list may have let others run
        numbers[i] = <PyObject*>code
        members[i] = <PyObject*>member
    return code


def numbered(cls):
    """Have int() of a class's members be what they hold as _code; see the stub."""
    if not isinstance(cls, type) or not is_made_in_python(<PyTypeObject*>cls):
        raise TypeError(f"{cls!r} is no class that Python made")
    set_numbers(<PyTypeObject*>cls, <void*>number_of)


def quicken(type metaclass not None):
    """Have classes of a metaclass find their members without Python code; see the stub."""
    if metaclass.__base__.__name__ not in ("EnumType", "EnumMeta"):
        raise TypeError(f"{metaclass.__name__} is no metaclass of enumerations")
    set_slots(<PyTypeObject*>metaclass, <void*>call_enum)
    return metaclass


make_methods(Shown)
make_methods(Found)
