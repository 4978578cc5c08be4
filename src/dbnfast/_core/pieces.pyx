"""Records that come one by one: held until they are asked for, then made to objects."""

cimport cython
from cpython.bytes cimport (
    PyBytes_AS_STRING,
    PyBytes_CheckExact,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
)
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memmove

from dbnfast._core.bounds cimport INVALID, STEP, Cursor, Status, step
from dbnfast._core.record cimport RecordTable, make_record
from dbnfast._core.scan cimport SizeTable

cdef enum:
    MIN_SIZE = 4 << 10
    MAX_KEPT = 1 << 20  # of memory that holds nothing


cdef class Pieces:
    """Small pieces of a plain stream, until somebody wants what is in them; see the stub."""

    # One thread at a time may use it. Where several do, they get errors or each other's records,
    # but none reads or writes where it must not: who makes objects takes the memory along.

    cdef RecordTable table
    cdef SizeTable sizes
    cdef bint ts_out, upgrade
    cdef Py_ssize_t limit
    # whether `write` and `decode` need not ask the subclass
    cdef public bint _direct
    # [begin, end) is held; up to `seen` there are whole records, where there is a limit
    cdef uint8_t* memory
    cdef Py_ssize_t size, begin, seen, end
    cdef readonly Py_ssize_t _n_bytes, _n_records  # that became objects
    cdef readonly bint _fault  # whether a header that cannot be true was seen

    def __dealloc__(self):
        free(self.memory)

    @cython.critical_section
    def _collect(
        self, RecordTable table not None, SizeTable sizes not None, bint ts_out, bint upgrade,
        Py_ssize_t limit=0,
    ):
        """Begin to hold pieces, the first of which begins with a record; see the stub."""
        if table.entries == NULL or limit < 0:
            raise ValueError("the table was never made, or the limit is below 0")
        self.table, self.sizes = table, sizes
        self.ts_out, self.upgrade, self.limit = ts_out, upgrade, limit
        self._n_bytes = self._n_records = 0
        self._direct = True

    def write(self, bytes):
        """
        Take the next bytes of the stream.

        Parameters
        ----------
        bytes : bytes-like
            Cut anywhere.

        Raises
        ------
        TypeError
            `bytes` is not bytes-like.
        """
        cdef bint enough
        if self._direct and PyBytes_CheckExact(bytes):
            with cython.critical_section(self):
                enough = self.hold(bytes)
            if not enough:
                return
            bytes = b""
        self._write_other(bytes)

    @property
    def _rest(self):
        """The bytes that are held and not known to be whole records; see the stub."""
        with cython.critical_section(self):
            return PyBytes_FromStringAndSize(
                <const char*>self.memory + self.seen, self.end - self.seen
            ) if self.end > self.seen else b""

    @cython.critical_section
    def _take(self, bint whole):
        """Take what is held out; see the stub."""
        cdef Py_ssize_t stop = self.seen if whole else self.end
        cdef object taken = b""
        if stop > self.begin:
            taken = PyBytes_FromStringAndSize(
                <const char*>self.memory + self.begin, stop - self.begin
            )
            self.begin = self.seen = stop
            if self.begin == self.end:
                self.begin = self.seen = self.end = 0
        return taken

    cdef bint hold(self, object data) except -1:
        # Whether there is enough now, or a header that cannot be true.
        cdef Py_ssize_t n = PyBytes_GET_SIZE(data), size
        cdef uint8_t* memory
        if n == 0:
            return False
        if n > self.size - self.end:
            if self.begin:
                self.end -= self.begin
                self.seen -= self.begin
                memmove(self.memory, self.memory + self.begin, self.end)
                self.begin = 0
            if n > self.size - self.end:
                size = max(max(<Py_ssize_t>MIN_SIZE, 2 * self.size), self.end + n)
                memory = <uint8_t*>realloc(self.memory, size)
                if memory == NULL:
                    raise MemoryError
                self.memory, self.size = memory, size
        memcpy(self.memory + self.end, PyBytes_AS_STRING(data), n)
        self.end += n
        if self.limit == 0:
            return False
        self._fault = self.see() == INVALID
        return self._fault or self.end - self.begin >= self.limit

    cdef Status see(self) noexcept:
        # Move `seen` behind the last whole record.
        cdef Cursor cursor
        cdef const uint8_t* record = NULL
        cdef Py_ssize_t n = 0
        cdef uint8_t rtype = 0
        cdef Status status
        cursor.pos = self.memory + self.seen
        cursor.end = self.memory + self.end
        status = step(&cursor, self.sizes.of(self.ts_out), &record, &n, &rtype)
        while status == STEP:
            status = step(&cursor, self.sizes.of(self.ts_out), &record, &n, &rtype)
        self.seen = cursor.pos - self.memory
        return status


cdef class Objects(Pieces):
    """Pieces that become objects; see the stub."""

    def decode(self):
        """
        Return what is complete.

        Returns
        -------
        list
            The header first, once, then the records.

        Raises
        ------
        DbnError
            The data is damaged, or newer than the version that it should be upgraded to.
        """
        cdef list found = None
        if self._direct:
            with cython.critical_section(self):
                found = self.objects()
            if self._direct or found:
                return found
        return self._decode_other()

    cdef list objects(self):
        # The whole records. A header that cannot be true, once it is the first: not direct.
        cdef Cursor cursor
        cdef const uint8_t* record = NULL
        cdef Py_ssize_t n = 0, size = self.size, begin = self.begin, end = self.end
        cdef uint8_t rtype = 0
        cdef uint8_t* memory = self.memory
        cdef bint ts_out = self.ts_out, upgrade = self.upgrade
        cdef RecordTable table = self.table
        cdef SizeTable sizes = self.sizes
        cdef Status status
        cdef list found
        if end == begin:
            return []
        self.memory = NULL
        self.size = self.begin = self.seen = self.end = 0
        try:
            found = []
            cursor.pos = memory + begin
            cursor.end = memory + end
            status = step(&cursor, sizes.of(ts_out), &record, &n, &rtype)
            while status == STEP:
                found.append(make_record(table, record, n, ts_out, upgrade))
                status = step(&cursor, sizes.of(ts_out), &record, &n, &rtype)
            self._n_records += len(found)
            self._n_bytes += cursor.pos - memory - begin
            begin = cursor.pos - memory
            self._fault = status == INVALID
            if self._fault:
                self._direct = False
        finally:
            if self.memory == NULL and (begin < end or size <= MAX_KEPT):
                self.memory, self.size = memory, size
                if begin < end:
                    self.begin = self.seen = begin
                    self.end = end
            else:
                free(memory)  # much, or several threads: another one wrote meanwhile
        return found
