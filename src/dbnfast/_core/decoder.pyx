"""Records out of pieces: the buffers behind the incremental Decoder."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint16_t
from libc.string cimport memcpy

from dbnfast._core.bounds cimport INVALID, Cursor, step
from dbnfast._core.header cimport HEADER_SIZE, MAX_RECORD_SIZE, load_u8
from dbnfast._core.run cimport Owner, Run, make_run, view_dtype
from dbnfast._core.scan cimport SizeTable, Summary, survey

import numpy

cdef enum:
    MIN_BLOCK = 64 << 10
    MAX_BLOCK = 256 << 10
    MIN_ROOM = 2 << 10  # less room than this counts as a full block: tiny reads cost more


cdef class Feed:
    """Bytes in, runs of whole records out; see the stub."""

    # One thread at a time may use it. Where several do, they get errors or each other's records,
    # but none reads or writes where it must not: whatever touches memory and the numbers that
    # describe it makes no object in between, since that may let another thread in.

    cdef type cls
    cdef SizeTable sizes
    cdef bint started
    # whether `feed` and `read` need not ask the subclass: a plain stream, its records begun
    cdef public bint _direct
    cdef int version
    cdef bint ts_out
    cdef object metadata
    cdef list ready
    cdef Py_ssize_t n_ready  # bytes of these runs
    # of the last run of equal records: what shows it
    cdef object dtype
    cdef int dtype_size, dtype_rtype
    # a record cut by the end of a fed bytes object, until the rest of it comes
    cdef uint8_t carry[MAX_RECORD_SIZE]
    cdef Py_ssize_t n_carry
    # the block that bytes are written to: [begin, end) is not decoded yet
    cdef object block  # writable, kept here only
    cdef Owner view  # read-only, what runs own
    cdef uint8_t* memory
    cdef Py_ssize_t size, begin, end
    cdef bint lent
    cdef object lent_view  # what was lent, where that is not in the block any more
    cdef readonly Py_ssize_t _offset  # in the stream, of the first byte not decoded
    cdef readonly Py_ssize_t _n_records
    # of the header at `_offset` that cannot be true; a length of -1: there is none
    cdef int fault_length, fault_rtype

    def __cinit__(self):
        self.ready = []
        self.memory = NULL
        self.fault_length = -1

    def _set_up(self, type cls not None, SizeTable sizes not None):
        """Tell the class of the runs and the sizes of records, once."""
        if self.cls is not None or not issubclass(cls, Run):
            raise TypeError(f"{cls.__name__} cannot be what this feed makes")
        self.cls = cls
        self.sizes = sizes

    @cython.critical_section
    def _take_back(self):
        """Take back what was lent: what was written there was taken elsewhere."""
        self.lent, self.lent_view = False, None

    @cython.critical_section
    def _forget(self):
        """Drop what is held: it was taken elsewhere."""
        if self.started:
            raise RuntimeError("the records have begun already")
        self.begin = self.end
        if not self.lent:
            self.memory = NULL
            self.size = self.begin = self.end = 0
            self.block = self.view = None

    @property
    def _held(self):
        """What came before `_start`, as a read-only view; None where nothing did."""
        with cython.critical_section(self):
            if self.end == self.begin:
                return None
            return memoryview(self.view)[self.begin:self.end]

    @property
    def _waiting(self):
        """Bytes that came in and are not part of what was handed out."""
        with cython.critical_section(self):
            return self.n_carry + self.end - self.begin + self.n_ready

    @property
    def _tail(self):
        """The bytes of the record that is not whole, as a read-only view."""
        with cython.critical_section(self):
            if self.n_carry:
                return memoryview(<bytes>self.carry[:self.n_carry])
            return memoryview(b"" if self.view is None else self.view)[self.begin:self.end]

    @property
    def _fault(self):
        """The (length, rtype) of the header that cannot be true; None where there is none."""
        with cython.critical_section(self):
            if self.fault_length < 0:
                return None
            return self.fault_length, self.fault_rtype

    @cython.critical_section
    def _start(self, int version, bint ts_out, object metadata, Py_ssize_t consumed):
        """Begin with the records; `consumed` bytes of what is held came before them."""
        if self.started or self.cls is None:
            raise RuntimeError("the records have begun already, or nothing is set up")
        if consumed < 0 or consumed > self.end - self.begin:
            raise ValueError(f"{consumed} bytes are not held")
        self.started = True
        self.version = version
        self.ts_out = ts_out
        self.metadata = metadata
        self.begin += consumed
        if self.size > MAX_BLOCK and self.end - self.begin < MIN_BLOCK and not self.lent:
            self.replace_block(MAX_BLOCK)  # a long header made the block large

    @cython.critical_section
    def _settle_version(self, int version):
        """Set the version of the runs to come, where the stream did not state it."""
        self.version = version

    @cython.critical_section
    def _advance(self, Py_ssize_t n_bytes, Py_ssize_t n_records=0):
        """Count what was taken elsewhere, as the metadata is."""
        self._offset += n_bytes
        self._n_records += n_records

    def feed(self, data):
        """
        Take the next bytes of the stream.

        Parameters
        ----------
        data : bytes-like
            ``bytes`` are not copied: the records are views of them. Other buffers are copied.

        Raises
        ------
        TypeError
            `data` is not bytes-like.
        ValueError
            `feed_eof` was called before.
        """
        if self._direct and type(data) is bytes:
            with cython.critical_section(self):
                self.borrow(data, 0)
        else:
            self._feed_other(data)

    def read(self):
        """
        Return the records that are complete.

        Returns
        -------
        list of Records
            In the order of the stream; empty if more bytes are needed. Records in older layouts
            are not upgraded.

        Raises
        ------
        DecodeError
            The stream is damaged, or ended within its metadata. Earlier calls have returned all
            good records.

        Warns
        -----
        TruncatedWarning
            The stream ended within a record or a zstd frame.
        """
        cdef list ready = None
        if self._direct:
            with cython.critical_section(self):
                ready = self.drain()
        return ready if ready else self._read_other()

    @cython.critical_section
    def _borrow(self, bytes data not None, Py_ssize_t start=0):
        """Take records from `data`, which is kept, not copied; see the stub."""
        self.borrow(data, start)

    cdef int borrow(self, bytes data, Py_ssize_t start) except -1:
        cdef Py_ssize_t n = PyBytes_GET_SIZE(data) - start
        if start < 0 or n < 0:
            raise ValueError(f"start {start} lies outside the {PyBytes_GET_SIZE(data)} bytes")
        if not self.started:
            raise RuntimeError("the records have not begun")
        if self.fault_length >= 0 or n == 0:
            return 0
        self.harvest()
        if self.fault_length >= 0:
            return 0
        if self.end > self.begin:
            # the block's tail is a cut record, and the rest of it is in `data`
            if self.end - self.begin > MAX_RECORD_SIZE or self.n_carry:
                raise RuntimeError("several threads use the decoder at once")
            self.n_carry = self.end - self.begin
            memcpy(self.carry, self.memory + self.begin, self.n_carry)
            self.begin = self.end
        self.consume(data, <const uint8_t*>PyBytes_AS_STRING(data), start, start + n, False)
        return 0

    @cython.critical_section
    def _write(self, const uint8_t[::1] data not None):
        """Take bytes by copying them into the block; see the stub."""
        self.copy(data)

    cdef int copy(self, const uint8_t[::1] data) except -1:
        cdef Py_ssize_t at = 0, n
        if self.lent and self.started:
            # the block's free space is promised to somebody: bytes of their own instead
            if data.shape[0]:
                self.borrow(bytes(data), 0)
            return 0
        if self.lent and self.lent_view is None:
            # what is held must stay in one piece: it moves on, and what was lent stays lent
            self.lent_view = self.block[self.end:]
            self.replace_block(data.shape[0])
        while at < data.shape[0] and self.fault_length < 0:
            self.make_room(data.shape[0] - at)
            n = min(data.shape[0] - at, self.size - self.end)
            memcpy(self.memory + self.end, &data[at], n)
            self.end += n
            at += n
        return 0

    @cython.critical_section
    def _lend(self, Py_ssize_t size_hint):
        """Give the free space of the block to write to; see the stub."""
        if self.lent_view is not None:
            return self.lent_view
        if not self.lent:
            self.make_room(size_hint)
            self.lent = True
        return self.block[self.end:]

    @cython.critical_section
    def _commit(self, Py_ssize_t n_bytes):
        """Take the first `n_bytes` bytes of what was lent; see the stub."""
        cdef object elsewhere = self.lent_view
        if not self.lent:
            raise ValueError("no buffer from get_buffer is outstanding")
        if elsewhere is not None:
            if not 0 <= n_bytes <= len(elsewhere):
                raise ValueError(
                    f"{n_bytes} bytes were written, the buffer has room for {len(elsewhere)}"
                )
            self.lent, self.lent_view = False, None
            self.copy(elsewhere[:n_bytes])
            return
        if n_bytes < 0 or n_bytes > self.size - self.end:
            raise ValueError(
                f"{n_bytes} bytes were written, the buffer has room for {self.size - self.end}"
            )
        self.lent = False
        if self.fault_length < 0:
            self.end += n_bytes

    @cython.critical_section
    def _drain(self):
        """Hand out the runs that are whole, in the stream's order; see the stub."""
        return self.drain()

    cdef list drain(self):
        cdef list ready, fresh
        if self.started and self.fault_length < 0:
            self.harvest()
        fresh = []
        ready = self.ready
        self.ready = fresh
        self.n_ready = 0
        return ready

    cdef int harvest(self) except -1:
        # Decode what the block holds; what is left there is a cut record, or nothing.
        if self.end > self.begin:
            self.consume(self.view, self.memory, self.begin, self.end, True)
        return 0

    cdef int make_room(self, Py_ssize_t wanted) except -1:
        # Only a full block is replaced; only its tail moves, to the next one's first byte.
        if self.memory == NULL or self.size - self.end < MIN_ROOM:
            if self.started:
                self.harvest()
            self.replace_block(wanted)
        return 0

    cdef int replace_block(self, Py_ssize_t wanted) except -1:
        cdef Py_ssize_t size, tail
        tail = self.end - self.begin
        size = min(max(wanted, <Py_ssize_t>MIN_BLOCK), <Py_ssize_t>MAX_BLOCK)
        if self.memory == NULL:
            size = MAX_BLOCK if wanted <= 0 else size
        if tail + MIN_ROOM > size // 2:
            # before the records begin a header may outgrow any block; it grows as it arrives
            size = 2 * (tail + MIN_ROOM)
        cdef object fresh = memoryview(numpy.empty(size, dtype=numpy.uint8))
        cdef Owner view = Owner(fresh)
        cdef uint8_t[::1] cells = fresh
        tail = self.end - self.begin
        if tail > cells.shape[0]:
            raise RuntimeError("several threads use the decoder at once")
        if tail:
            memcpy(&cells[0], self.memory + self.begin, tail)
        self.memory = &cells[0]
        self.size = cells.shape[0]
        self.begin = 0
        self.end = tail
        self.block = fresh
        self.view = view
        return 0

    cdef int consume(
        self, object owner, const uint8_t* base, Py_ssize_t start, Py_ssize_t end, bint in_block
    ) except -1:
        # Decode bytes `start` to `end` of `owner`. What is left at the end stays in the block,
        # where that is the owner; else it goes to the carry. Objects are made last.
        cdef Summary summary
        cdef const uint16_t* min_size = self.sizes.of(self.ts_out)
        cdef Py_ssize_t first
        cdef bytes joined = None
        if self.n_carry:
            joined = self.complete_carry(base, &start, end)
        if self.n_carry or self.fault_length >= 0:
            start = end
        first = start
        survey(base + start, end - start, min_size, &summary)
        self._n_records += summary.n_records
        self._offset += summary.stop
        start += summary.stop
        if summary.status == INVALID:
            self.fault_length = load_u8(base + start) * 4
            self.fault_rtype = load_u8(base + start + 1)
        elif not in_block and start < end:
            # a tail is shorter than the record it begins, or than a header
            self.n_carry = min(end - start, <Py_ssize_t>MAX_RECORD_SIZE)
            memcpy(self.carry, base + start, self.n_carry)
        if in_block:
            self.begin = start
        if joined is not None:
            self.add_single(joined)
        if summary.n_records:
            self.add(owner, base + first, first, &summary)
        return 0

    cdef int add_single(self, bytes record) except -1:
        cdef Summary summary
        cdef const uint8_t* base = <const uint8_t*>PyBytes_AS_STRING(record)
        survey(base, PyBytes_GET_SIZE(record), self.sizes.of(self.ts_out), &summary)
        return self.add(record, base, 0, &summary)

    cdef int add(
        self, object owner, const uint8_t* base, Py_ssize_t start, Summary* summary
    ) except -1:
        # One run more. Most are of the type that the one before was, and so of its dtype.
        cdef Run run = make_run(
            self.cls, owner, base, start, summary, self.version, self.ts_out, self.metadata
        )
        if run._size:
            if run._size != self.dtype_size or run._rtype != self.dtype_rtype:
                self.dtype = view_dtype(run)
                if self.dtype is not None:
                    self.dtype_size, self.dtype_rtype = run._size, run._rtype
            run.dtype = self.dtype
        self.ready.append(run)
        self.n_ready += run._nbytes
        return 0

    cdef bytes complete_carry(self, const uint8_t* base, Py_ssize_t* start, Py_ssize_t end):
        # Complete the cut record with the bytes that follow it, and move `start` behind them;
        # gives the record once it is whole. It is judged once its header is there.
        cdef Py_ssize_t n, size = 0
        cdef const uint8_t* record = NULL
        cdef uint8_t rtype = 0
        cdef Cursor cursor
        cdef bytes joined
        if self.n_carry < HEADER_SIZE:
            n = min(end - start[0], HEADER_SIZE - self.n_carry)
            memcpy(self.carry + self.n_carry, base + start[0], n)
            self.n_carry += n
            start[0] += n
        if self.n_carry < HEADER_SIZE:
            return None
        cursor.pos = self.carry
        cursor.end = cursor.pos + self.n_carry
        if step(&cursor, self.sizes.of(self.ts_out), &record, &size, &rtype) == INVALID:
            self.fault_length = load_u8(self.carry) * 4
            self.fault_rtype = load_u8(self.carry + 1)
            return None
        size = load_u8(self.carry) * 4
        n = min(end - start[0], size - self.n_carry)
        memcpy(self.carry + self.n_carry, base + start[0], n)
        self.n_carry += n
        start[0] += n
        if self.n_carry < size:
            return None
        joined = PyBytes_FromStringAndSize(<const char*>self.carry, size)
        self._n_records += 1
        self._offset += size
        self.n_carry = 0
        return joined
