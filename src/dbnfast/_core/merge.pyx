"""Put records in order of time: merge streams, deal one out to groups, give its columns."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from dbnfast._core.bounds cimport DONE, FULL, STEP, Cursor, Sink, Status, claim, step
from dbnfast._core.header cimport RecordHeader, load_header, load_u64
from dbnfast._core.scan cimport SizeTable

cdef struct Head:
    Cursor cursor  # behind the record at the head
    const uint8_t* record
    Py_ssize_t size

cdef struct Node:
    uint64_t ts
    Py_ssize_t stream


cdef inline bint before(const Node* a, const Node* b) noexcept nogil:
    # Streams are numbered, so that no two nodes are ever equal.
    return a.ts < b.ts or (a.ts == b.ts and a.stream < b.stream)


cdef void sift_down(Node* heap, Py_ssize_t n) noexcept nogil:
    # Bring the root to its place.
    cdef Py_ssize_t at = 0, child = 1
    cdef Node moved = heap[0]
    while child < n:
        if child + 1 < n and before(heap + child + 1, heap + child):
            child += 1
        if not before(heap + child, &moved):
            break
        heap[at] = heap[child]
        at = child
        child = 2 * at + 1
    heap[at] = moved


cdef void sift_up(Node* heap, Py_ssize_t at) noexcept nogil:
    # Bring the last node to its place.
    cdef Py_ssize_t parent
    cdef Node moved = heap[at]
    while at > 0:
        parent = (at - 1) >> 1
        if not before(&moved, heap + parent):
            break
        heap[at] = heap[parent]
        at = parent
    heap[at] = moved


cdef class Merger:
    """Several streams on their way into one; see the stub."""

    cdef Head* heads
    cdef Node* heap
    cdef Py_ssize_t n_streams
    cdef Py_ssize_t n_heap
    cdef uint16_t min_size[256]
    cdef uint16_t ts_at[256]
    cdef list keep

    def __cinit__(self):
        self.heads = NULL
        self.heap = NULL

    def __init__(
        self, Py_ssize_t n_streams, SizeTable sizes not None, bint ts_out,
        const uint16_t[::1] ts_at not None,
    ):
        cdef int rtype
        if self.heads != NULL:
            raise TypeError("a merger is made once")
        if n_streams < 0 or ts_at.shape[0] != 256:
            raise ValueError("ts_at needs one entry for each rtype")
        memcpy(self.min_size, sizes.of(ts_out), sizeof(self.min_size))
        for rtype in range(256):
            if ts_at[rtype] + 8 > self.min_size[rtype]:
                raise ValueError(f"rtype {rtype} has no timestamp at byte {ts_at[rtype]}")
            self.ts_at[rtype] = ts_at[rtype]
        self.heads = <Head*>calloc(n_streams + 1, sizeof(Head))
        self.heap = <Node*>calloc(n_streams + 1, sizeof(Node))
        if self.heads == NULL or self.heap == NULL:
            raise MemoryError
        self.n_streams = n_streams
        self.keep = [None] * n_streams

    def __dealloc__(self):
        free(self.heads)
        free(self.heap)

    def give(self, Py_ssize_t stream, const uint8_t[::1] data not None):
        """Give the next records of a stream that has none left; see the stub."""
        cdef Head* head
        cdef uint8_t rtype = 0
        if not 0 <= stream < self.n_streams:
            raise IndexError(f"stream {stream} of {self.n_streams}")
        if self.keep[stream] is not None:
            raise ValueError(f"stream {stream} still has records")
        if data.shape[0] == 0:
            raise ValueError(f"stream {stream} is given no records")
        head = self.heads + stream
        head.cursor.pos = &data[0]
        head.cursor.end = &data[0] + data.shape[0]
        if step(&head.cursor, self.min_size, &head.record, &head.size, &rtype) != STEP:
            raise ValueError(f"stream {stream} does not begin with a whole record")
        self.keep[stream] = data  # holds the export, so that the memory stays where it is
        self.heap[self.n_heap] = Node(load_u64(head.record + self.ts_at[rtype]), stream)
        sift_up(self.heap, self.n_heap)
        self.n_heap += 1

    def merge(self, uint8_t[::1] out not None, Py_ssize_t start):
        """Write records to `out` in the order of time; see the stub."""
        cdef Sink sink
        cdef Status status
        cdef Py_ssize_t used = -1
        if not 0 <= start <= out.shape[0] or out.shape[0] == 0:
            raise ValueError(f"start {start} lies outside the {out.shape[0]} bytes")
        sink.pos = &out[0] + start
        sink.end = &out[0] + out.shape[0]
        with nogil:
            status = merge_runs(self, &sink, &used)
        if used >= 0:
            self.keep[used] = None
            if status != DONE:
                raise ValueError(f"the records of stream {used} are not whole")
        return status == FULL, used, sink.pos - &out[0]


cdef Status merge_runs(Merger merger, Sink* sink, Py_ssize_t* used) noexcept nogil:
    # What: copy runs of records, each for as long as its stream's head comes before all others.
    # Ends when the output is full, or a stream is used up: then that one is no longer among the
    # others until it is given more. Cost: the walk, and a heap step for each run.
    cdef Head* head
    cdef Node* rival
    cdef Node mine
    cdef const uint8_t* start
    cdef uint8_t* to
    cdef Py_ssize_t n, left
    cdef uint8_t rtype = 0
    cdef Status status
    while merger.n_heap > 0:
        mine = merger.heap[0]
        head = merger.heads + mine.stream
        rival = merger.heap + 1 if merger.n_heap > 1 else NULL
        if merger.n_heap > 2 and before(merger.heap + 2, rival):
            rival = merger.heap + 2
        start = head.record
        left = sink.end - sink.pos
        n = 0
        while True:
            if head.size > left - n:
                status = FULL
                break
            n += head.size
            status = step(&head.cursor, merger.min_size, &head.record, &head.size, &rtype)
            if status != STEP:
                break
            mine.ts = load_u64(head.record + merger.ts_at[rtype])
            if rival != NULL and before(rival, &mine):
                break
        to = claim(sink, n)
        if to != NULL:
            memcpy(to, start, n)
        merger.heap[0].ts = mine.ts
        if status == FULL:
            return FULL  # the head still comes first, so the heap is in order
        if status != STEP:
            used[0] = mine.stream
            merger.n_heap = merger.n_heap - 1  # in place, builds that check for None refuse it
            merger.heap[0] = merger.heap[merger.n_heap]
            sift_down(merger.heap, merger.n_heap)
            return status
        sift_down(merger.heap, merger.n_heap)
    return DONE


def deal(
    const uint8_t[::1] data not None, const int32_t[::1] groups not None,
    const int64_t[::1] places not None, uint8_t[::1] out not None, SizeTable sizes not None,
    bint ts_out,
):
    """Copy every record to its group's part of `out`; see the stub."""
    cdef Cursor cursor
    cdef Sink* sinks
    cdef const uint8_t* record = NULL
    cdef Py_ssize_t n_groups = places.shape[0] - 1, size = 0, i = 0, left = 0
    cdef uint8_t* to
    cdef uint8_t rtype = 0
    cdef int32_t group
    cdef Status status = DONE
    cdef const uint16_t* min_size = sizes.of(ts_out)
    if n_groups < 0 or places[0] != 0 or places[n_groups] != out.shape[0]:
        raise ValueError("the places of the groups do not cover the output")
    for i in range(n_groups):
        if places[i] > places[i + 1]:
            raise ValueError("the places of the groups do not ascend")
    if out.shape[0] != data.shape[0]:
        raise ValueError("the output is not as long as the input")
    if data.shape[0] == 0:
        return
    sinks = <Sink*>calloc(n_groups, sizeof(Sink))
    if sinks == NULL:
        raise MemoryError
    try:
        for i in range(n_groups):
            sinks[i].pos = &out[0] + places[i]
            sinks[i].end = &out[0] + places[i + 1]
        cursor.pos = &data[0]
        cursor.end = &data[0] + data.shape[0]
        with nogil:
            for i in range(groups.shape[0]):
                status = step(&cursor, min_size, &record, &size, &rtype)
                group = groups[i]
                if status != STEP or group < 0 or group >= n_groups:
                    break
                to = claim(sinks + group, size)
                if to == NULL:
                    break
                memcpy(to, record, size)
            for i in range(n_groups):
                left += sinks[i].end - sinks[i].pos
    finally:
        free(sinks)
    if left or cursor.pos != cursor.end:
        raise ValueError("the groups are not those of the records")


def columns(
    const uint8_t[::1] data not None, Py_ssize_t n, SizeTable sizes not None, bint ts_out,
    const uint16_t[::1] ts_at not None, uint64_t[::1] ts, uint32_t[::1] instruments,
    uint16_t[::1] publishers, uint8_t[::1] rtypes, int64_t[::1] n_bytes,
):
    """Write some of what each record says of itself; see the stub."""
    cdef Cursor cursor
    cdef const uint8_t* record = NULL
    cdef Py_ssize_t size = 0, i = 0
    cdef RecordHeader header
    cdef uint8_t rtype = 0
    cdef const uint16_t* min_size = sizes.of(ts_out)
    cdef bint with_ts = ts is not None, with_ids = instruments is not None
    cdef bint with_publishers = publishers is not None
    cdef bint with_rtypes = rtypes is not None, with_sizes = n_bytes is not None
    if (
        (with_ts and ts.shape[0] != n) or (with_ids and instruments.shape[0] != n)
        or (with_publishers and publishers.shape[0] != n)
        or (with_rtypes and rtypes.shape[0] != n) or (with_sizes and n_bytes.shape[0] != n)
    ):
        raise ValueError(f"a column is not of {n} values")
    if ts_at.shape[0] != 256:
        raise ValueError("ts_at needs one entry for each rtype")
    for i in range(256):
        if ts_at[i] + 8 > min_size[i]:
            raise ValueError(f"rtype {i} has no timestamp at byte {ts_at[i]}")
    i = 0
    if data.shape[0] == 0 or n < 1:
        return 0
    cursor.pos = &data[0]
    cursor.end = &data[0] + data.shape[0]
    with nogil:
        while i < n and step(&cursor, min_size, &record, &size, &rtype) == STEP:
            if with_ts:
                ts[i] = load_u64(record + ts_at[rtype])
            if with_ids or with_publishers:
                header = load_header(record)
                if with_ids:
                    instruments[i] = header.instrument_id
                if with_publishers:
                    publishers[i] = header.publisher_id
            if with_rtypes:
                rtypes[i] = rtype
            if with_sizes:
                n_bytes[i] = size
            i += 1
    return i
