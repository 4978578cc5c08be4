"""A run of whole records in one buffer: the compiled base of Records."""

cimport cython
from cpython.buffer cimport (
    PyBUF_SIMPLE,
    PyBuffer_FillInfo,
    PyBuffer_Release,
    PyObject_CheckBuffer,
    PyObject_GetBuffer,
)
from cpython.object cimport PyObject, PyTypeObject
from libc.stdint cimport uint8_t, uint16_t
from libc.stdlib cimport calloc, free

from dbnfast._core.bounds cimport DONE, MORE, Status
from dbnfast._core.header cimport load_u8, load_u16
from dbnfast._core.scan cimport SizeTable, Summary, clear, groups_of, same_stride, survey

import numpy

cdef extern from "Python.h":
    ctypedef struct BufferProcs "PyBufferProcs":
        int (*bf_getbuffer)(PyObject*, Py_buffer*, int) noexcept
    ctypedef struct TypeWithBuffer "PyTypeObject":
        BufferProcs* tp_as_buffer
    int fill_info "PyBuffer_FillInfo"(
        Py_buffer* view, PyObject* exporter, void* buf, Py_ssize_t len, int readonly, int flags
    ) noexcept

cdef object frombuffer = numpy.frombuffer
cdef object ndarray = numpy.ndarray
cdef tuple EMPTY = ()
# (rtype, size, ts_out) as one int -> dtype; filled from the table as runs are seen
cdef dict views = {}


cdef inline object view_key(int rtype, int size, bint ts_out):
    return (rtype << 12 | size) << 1 | ts_out


cdef object view_dtype(Run run):
    # The dtype of a run of equal records that fill their struct exactly, where it is known.
    return views.get(view_key(run._rtype, run._size, run._ts_out))


def add_view(int rtype, int size, bint ts_out, dtype not None):
    """Tell the dtype of records that fill their struct exactly; see the stub."""
    if dtype.itemsize != size:
        raise ValueError(f"a dtype of {dtype.itemsize} bytes for records of {size}")
    views[view_key(rtype, size, ts_out)] = dtype


@cython.final
@cython.no_gc
cdef class Owner:
    """Bytes that any number of threads may look at; see the stub."""

    # A memoryview counts its views, and free-threaded CPythons up to 3.15 count without a lock:
    # threads that slice one, or let slices of it go, may free what others still see. This one
    # takes the bytes once and counts nothing, so that each view of it is nobody else's.
    #
    # The garbage collector leaves it alone: in a cycle it would take the exporter away before the
    # export is given back.

    def __cinit__(self, source):
        PyObject_GetBuffer(source, &self.held, PyBUF_SIMPLE)
        self.source = source

    def __dealloc__(self):
        PyBuffer_Release(&self.held)

    def __len__(self):
        return self.held.len

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        # for calls by name; `fill_view` does the same for the interpreter
        PyBuffer_FillInfo(buffer, self, self.held.buf, self.held.len, True, flags)

    @property
    def constant(self):
        """Whether nobody may write to the bytes, not even who made them."""
        # a read-only view or array may show what is written to through another
        cdef object exporter = self.source
        while True:
            if type(exporter) is memoryview:
                exporter = exporter.obj
            elif type(exporter) is Owner:
                exporter = (<Owner>exporter).source
            elif isinstance(exporter, ndarray) and exporter.base is not None:
                exporter = exporter.base
            else:
                break
        return PyObject_CheckBuffer(exporter) and memoryview(exporter).readonly


cdef int fill_view(PyObject* owner, Py_buffer* view, int flags) noexcept:
    cdef Owner this = <Owner>owner
    return fill_info(view, owner, this.held.buf, this.held.len, True, flags)


# numpy first asks for a buffer to write to, for each array: a refusal from here has no traceback
# to make, as one from a method of Cython's has
(<TypeWithBuffer*>Owner).tp_as_buffer.bf_getbuffer = fill_view


cpdef object owned(object source):
    """Give what runs may keep of a buffer; see the stub."""
    return source if type(source) is bytes or type(source) is Owner else Owner(source)


cdef class Run:
    """A run of whole records; see the stub."""

    def array(self, schema=None):
        """
        Return the records of one type as a structured array.

        Parameters
        ----------
        schema : Schema, RType or str, optional
            The type to return; None if there is only one.

        Returns
        -------
        ndarray, shape (n,)
            Read-only. A view if all records have that type and one length (a strided view if
            they are longer than their struct), else a copy. Times are uint64 ns since
            1970-01-01 UTC, prices int64 in units of 1e-9, char fields ``S1``. If an rtype occurs
            in several layouts, the array has the newest of them. If there is no record of the
            type, the shape is (0,), without a warning: a block of a stream may have none of it.

        Raises
        ------
        MixedRecordsError
            No schema is given, and there are several types, or one that has no layout.
        ValueError
            There is no such schema, or tbbo is requested of mbp-1 data or the reverse.

        Notes
        -----
        Compare ``S1`` fields with ``bytes``, not str: ``array["action"] == b"T"`` or
        ``array["action"] == Action.TRADE.code``.
        """
        if schema is None and self._size:
            with cython.critical_section(self):
                if self.dtype is None:
                    self.dtype = view_dtype(self)
                dtype = self.dtype
            if dtype is not None:
                return frombuffer(self._owner, dtype, self._n, self._start)
        return self._array_other(schema)

    @property
    def _groups(self):
        """The records as ((rtype, size in bytes, count), ...), by rtype and size."""
        if self.groups is not None:
            return self.groups
        return ((self._rtype, self._size, self._n),) if self._n else ()

    @property
    def _seams(self):
        """Stretches as ((start, end, groups), ...), in bytes of the run; None where not known."""
        return self.seams

    @property
    def _offsets(self):
        """The index of a mixed run; None until it is set, once."""
        with cython.critical_section(self):
            return self.offsets

    @_offsets.setter
    def _offsets(self, offsets):
        with cython.critical_section(self):
            if self.offsets is None:
                self.offsets = offsets


cdef Run blank_run(
    type cls, object owner, const uint8_t* base, Py_ssize_t start, Py_ssize_t n_bytes, Py_ssize_t n,
    int version, bint ts_out, object metadata
):
    # A run of records that nothing is known of yet. Precondition: `base` is byte `start` of
    # `owner`, and stays there while `owner` lives.
    cdef Run run = <Run>(<PyTypeObject*>cls).tp_new(cls, <PyObject*>EMPTY, NULL)
    run._owner = owner
    run.base = base
    run._start = start
    run._nbytes = n_bytes
    run._n = n
    run._version = version
    run._ts_out = ts_out
    run._metadata = metadata
    run._rtype = -1
    return run


cdef Run make_run(
    type cls, object owner, const uint8_t* base, Py_ssize_t start, Summary* summary, int version,
    bint ts_out, object metadata
):
    cdef Run run = blank_run(
        cls, owner, base, start, summary.stop, summary.n_records, version, ts_out, metadata
    )
    cdef uint8_t rtype
    if summary.n_records:
        rtype = load_u8(base + 1)
        # an rtype without a size was written meanwhile, by somebody else
        if summary.words[rtype] != 0 and summary.count[rtype] == summary.n_records:
            run._rtype = rtype
            run._size = summary.words[rtype] * 4
        else:
            run.groups = groups_of(summary)
    return run


def survey_run(
    type cls not None, object owner, Py_ssize_t start, Py_ssize_t end, SizeTable sizes not None,
    int version, bint ts_out, object metadata,
):
    """Survey bytes `start` to `end` of `owner` and make the run of them; see the stub."""
    owner = owned(owner)
    cdef const uint8_t[::1] data = owner
    cdef const uint8_t* base = NULL
    cdef const uint16_t* min_size = sizes.of(ts_out)
    cdef Summary summary
    if not issubclass(cls, Run):
        raise TypeError(f"{cls.__name__} is not a run of records")
    if not 0 <= start <= end <= data.shape[0]:
        raise ValueError(f"bytes {start} to {end} lie outside the {data.shape[0]} bytes")
    if end > start:
        base = &data[start]
        with nogil:
            survey(base, end - start, min_size, &summary)
    else:
        clear(&summary)
    run = make_run(cls, owner, base, start, &summary, version, ts_out, metadata)
    return run, <int>summary.status


@cython.final
cdef class Survey:
    """A survey in parts, which may be made at the same time; see the stub."""

    cdef object owner
    cdef const uint8_t[::1] data  # of the owner: holds the export
    cdef SizeTable sizes
    cdef bint ts_out
    cdef Py_ssize_t n  # parts
    cdef Py_ssize_t* places  # where each begins, and where the last one ends
    cdef Summary* parts

    def __cinit__(self, owner, starts, Py_ssize_t end, SizeTable sizes not None, bint ts_out):
        cdef Py_ssize_t i
        self.owner = owned(owner)
        self.data = self.owner
        self.sizes = sizes
        self.ts_out = ts_out
        places = [*starts, end]
        if len(places) < 2 or places != sorted(places) or not (
            0 <= places[0] <= end <= self.data.shape[0]
        ):
            raise ValueError(f"no parts of {self.data.shape[0]} bytes: {places}")
        self.parts = <Summary*>calloc(len(places) - 1, sizeof(Summary))
        self.places = <Py_ssize_t*>calloc(len(places), sizeof(Py_ssize_t))
        if self.parts == NULL or self.places == NULL:
            raise MemoryError
        self.n = len(places) - 1
        for i in range(self.n + 1):
            self.places[i] = places[i]

    def __dealloc__(self):
        cdef Py_ssize_t i
        for i in range(self.n):
            free(self.parts[i].extra)
        free(self.parts)
        free(self.places)

    def run(self, Py_ssize_t index):
        """Survey a part, once; see the stub."""
        if not 0 <= index < self.n:
            raise IndexError(f"part {index} of {self.n}")
        self.look(self.places[index], self.places[index + 1], &self.parts[index])

    cdef int look(self, Py_ssize_t start, Py_ssize_t end, Summary* out) except -1:
        cdef const uint16_t* min_size = self.sizes.of(self.ts_out)
        cdef const uint8_t* base
        if end > start:
            base = &self.data[start]
            with nogil:
                survey(base, end - start, min_size, out)
        else:
            clear(out)
        return 0

    def finish(self, type cls not None, int version, object metadata):
        """Make the run of all parts; see the stub."""
        cdef Py_ssize_t i, start = self.places[0], end = self.places[self.n], stop = start
        cdef Py_ssize_t n_records = 0
        cdef const uint8_t* base = &self.data[start] if end > start else NULL
        cdef Status status = DONE
        cdef Summary rest
        cdef dict counts = {}
        cdef list seams = []
        cdef Run run
        if not issubclass(cls, Run):
            raise TypeError(f"{cls.__name__} is not a run of records")
        for i in range(self.n):
            status = self.parts[i].status
            n_records += self.parts[i].n_records
            seams.append(seam_of(&self.parts[i], stop - start, counts))
            stop += self.parts[i].stop
            if status != DONE:
                break
        if status == MORE and i < self.n - 1:
            # where the next part begins no record does: what is left was not seen yet
            self.look(stop, end, &rest)
            status = rest.status
            n_records += rest.n_records
            seams.append(seam_of(&rest, stop - start, counts))
            stop += rest.stop
        run = blank_run(
            cls, self.owner, base, start, stop - start, n_records, version, self.ts_out, metadata
        )
        run.groups = tuple([(rtype, size, counts[rtype, size]) for rtype, size in sorted(counts)])
        if len(counts) == 1:
            run._rtype, run._size = run.groups[0][:2]
        run.seams = tuple(seams)
        return run, <int>status


cdef tuple seam_of(Summary* part, Py_ssize_t at, dict counts):
    # A part that begins at byte `at` of the run; what it holds is added to the counts.
    cdef tuple groups = groups_of(part)
    for rtype, size, n in groups:
        counts[rtype, size] = counts.get((rtype, size), 0) + n
    return at, at + part.stop, groups


def part_of_run(Run run not None, Py_ssize_t first, Py_ssize_t n):
    """Make the run of `n` records from record `first` on, all records being alike; see the stub."""
    cdef Summary summary
    cdef const uint8_t* base = NULL
    if run._size == 0 or first < 0 or n < 0 or first + n > run._n:
        raise ValueError(f"no {n} equal records from {first} on")
    clear(&summary)
    if n:
        base = run.base + first * run._size
        summary.count[run._rtype] = n
        summary.words[run._rtype] = <uint8_t>(run._size >> 2)
    summary.n_records = n
    summary.stop = n * run._size
    return make_run(
        type(run), run._owner, base, run._start + first * run._size, &summary, run._version,
        run._ts_out, run._metadata,
    )


def stretch_of_run(Run run not None, Py_ssize_t offset):
    """Make the run of the equal records from byte `offset` of the run on; see the stub."""
    cdef Summary summary
    cdef Py_ssize_t left = run._nbytes - offset, size
    cdef const uint8_t* base = run.base + offset
    if offset < 0 or left < 16:
        raise ValueError(f"no record {offset} bytes behind the first")
    size = load_u8(base) * 4
    if size < 16 or size > left:
        raise ValueError(f"no record begins {offset} bytes behind the first")
    clear(&summary)
    summary.n_records = same_stride(base, size, left // size, load_u16(base))
    summary.stop = summary.n_records * size
    summary.count[load_u8(base + 1)] = summary.n_records
    summary.words[load_u8(base + 1)] = <uint8_t>(size >> 2)
    return make_run(
        type(run), run._owner, base, run._start + offset, &summary, run._version, run._ts_out,
        run._metadata,
    )
