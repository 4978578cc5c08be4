"""Copy records out of a stream: by type, filtered, upgraded."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int16_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from dbnfast._core.bounds cimport DONE, FULL, STEP, Cursor, Sink, Status, claim, covers, room, step
from dbnfast._core.header cimport (
    HEADER_SIZE,
    TS_OUT_SIZE,
    RecordHeader,
    load_header,
    load_i32,
    load_u8,
    load_u64,
    store_i64,
    store_u8,
)
from dbnfast._core.scan cimport SizeTable
from dbnfast._core.utf8 cimport is_utf8


cdef class Program:
    """How a record of one layout becomes one of a newer layout; see the stub."""

    def __cinit__(self):
        memset(&self.recipe, 0, sizeof(Recipe))

    def __init__(
        self, Py_ssize_t source_size, bytes template not None, moves, widen=None, code=None
    ):
        cdef Recipe* recipe = &self.recipe
        cdef Py_ssize_t i
        cdef bytes head, tail
        if recipe.template != NULL:
            raise TypeError("a program is made once")
        moves = tuple(moves)
        rules = tuple(code[3]) if code is not None else ()
        recipe.source_size = source_size
        recipe.size = len(template)
        self.keep = [template]
        recipe.template = <uint8_t*>PyBytes_AS_STRING(template)
        recipe.moves = <Move*>calloc(len(moves) + 1, sizeof(Move))
        recipe.rules = <Rule*>calloc(len(rules) + 1, sizeof(Rule))
        if recipe.moves == NULL or recipe.rules == NULL:
            raise MemoryError
        for to, source, n_bytes in moves:
            self._check(to, n_bytes, recipe.size)
            self._check(source, n_bytes, source_size)
            recipe.moves[recipe.n_moves] = Move(to, source, n_bytes)
            recipe.n_moves += 1
        recipe.widen_to = recipe.code_at = -1
        if widen is not None:
            to, source, undef_from, undef_to = widen
            self._check(to, 8, recipe.size)
            self._check(source, 4, source_size)
            recipe.widen_to, recipe.widen_from = to, source
            recipe.undef_from, recipe.undef_to = undef_from, undef_to
        if code is not None:
            at, text_at, n_text = code[:3]
            self._check(at, 1, recipe.size)
            self._check(text_at, n_text, source_size)
            recipe.code_at, recipe.text_at, recipe.n_text = at, text_at, n_text
            for i, (head, tail, whole, value) in enumerate(rules):
                self.keep += [head, tail]
                recipe.rules[i].head = <const uint8_t*>PyBytes_AS_STRING(head)
                recipe.rules[i].n_head = PyBytes_GET_SIZE(head)
                recipe.rules[i].tail = <const uint8_t*>PyBytes_AS_STRING(tail)
                recipe.rules[i].n_tail = PyBytes_GET_SIZE(tail)
                recipe.rules[i].whole = whole
                recipe.rules[i].code = value
            recipe.n_rules = len(rules)

    def __dealloc__(self):
        free(self.recipe.moves)
        free(self.recipe.rules)

    @staticmethod
    def _check(Py_ssize_t at, Py_ssize_t n_bytes, Py_ssize_t size):
        if at < 0 or n_bytes < 0 or at + n_bytes > size:
            raise ValueError(f"{n_bytes} bytes at {at} lie outside a record of {size}")


cdef uint8_t code_of_text(const Recipe* recipe, const uint8_t* text) noexcept nogil:
    # The first rule that the text, up to its NUL, obeys; else the template's code. What is no
    # text, for want of a NUL or as UTF-8, obeys none.
    cdef Py_ssize_t n = 0, i
    cdef const Rule* rule
    while n < recipe.n_text and load_u8(text + n) != 0:
        n += 1
    if n == recipe.n_text or not is_utf8(text, n):
        return load_u8(recipe.template + recipe.code_at)
    for i in range(recipe.n_rules):
        rule = recipe.rules + i
        # head and tail may overlap: "Finished replay" begins and ends as it should
        if n < rule.n_head or n < rule.n_tail or (rule.whole and n != rule.n_head):
            continue
        if memcmp(text, rule.head, rule.n_head) != 0:
            continue
        if memcmp(text + n - rule.n_tail, rule.tail, rule.n_tail) == 0:
            return rule.code
    return load_u8(recipe.template + recipe.code_at)


cdef void upgrade_record(
    const Recipe* recipe, const uint8_t* source, Py_ssize_t n_source, uint8_t* out, bint ts_out
) noexcept nogil:
    # Preconditions: source holds n_source bytes, recipe.source_size or more; out has room for
    # recipe.size; both plus ts_out. The moves were checked against both sizes when the program
    # was made. ts_out is the last 8 bytes of a record, whatever its length.
    cdef Py_ssize_t i
    memcpy(out, recipe.template, recipe.size)
    for i in range(recipe.n_moves):
        memcpy(out + recipe.moves[i].to, source + recipe.moves[i].source, recipe.moves[i].n_bytes)
    store_u8(out, <uint8_t>((recipe.size + (TS_OUT_SIZE if ts_out else 0)) >> 2))
    if recipe.widen_to >= 0:
        i = load_i32(source + recipe.widen_from)
        store_i64(out + recipe.widen_to, recipe.undef_to if i == recipe.undef_from else i)
    if recipe.code_at >= 0:
        store_u8(out + recipe.code_at, code_of_text(recipe, source + recipe.text_at))
    if ts_out:
        memcpy(out + recipe.size, source + n_source - TS_OUT_SIZE, TS_OUT_SIZE)


def upgrade(
    const uint8_t[::1] data not None, Py_ssize_t stride, Program program not None,
    uint8_t[::1] out not None, bint ts_out,
):
    """Upgrade records of one layout that stand `stride` bytes apart; see the stub."""
    cdef Py_ssize_t extra = TS_OUT_SIZE if ts_out else 0
    cdef Py_ssize_t size = program.recipe.size + extra
    cdef Py_ssize_t n = data.shape[0] // stride if stride > 0 else 0
    cdef Py_ssize_t i
    cdef const Recipe* recipe = &program.recipe
    cdef const uint8_t* source
    cdef uint8_t* to
    if recipe.template == NULL:
        raise TypeError("the program was never made")
    if stride < recipe.source_size + extra or n * stride != data.shape[0]:
        raise ValueError(f"{data.shape[0]} bytes are no whole number of {stride}-byte records")
    if out.shape[0] != n * size:
        raise ValueError(f"the output has {out.shape[0]} bytes, {n * size} are needed")
    if n == 0:
        return
    source = &data[0]
    to = &out[0]
    with nogil:
        for i in range(n):
            upgrade_record(recipe, source + i * stride, stride, to + i * size, ts_out)


cdef class Plan:
    """Where the records of a mixed stream go; see the stub."""

    def __cinit__(self):
        memset(self.first, 255, sizeof(self.first))  # -1 everywhere
        self.routes = NULL
        self.sinks = NULL

    def __init__(self, routes, outputs, bint ts_out):
        cdef Py_ssize_t i
        cdef uint8_t[::1] view
        cdef Route* route
        cdef Program program
        cdef Py_ssize_t extra = TS_OUT_SIZE if ts_out else 0
        if self.routes != NULL:
            raise TypeError("a plan is made once")
        routes, outputs = tuple(routes), tuple(outputs)
        if len(routes) > 32767:
            raise ValueError("too many routes")
        self.routes = <Route*>calloc(len(routes) + 1, sizeof(Route))
        self.sinks = <Sink*>calloc(len(outputs) + 1, sizeof(Sink))
        if self.routes == NULL or self.sinks == NULL:
            raise MemoryError
        self.n_sinks = len(outputs)
        self.keep = []
        for i in range(self.n_sinks):
            view = outputs[i]
            self.keep.append(view)  # holds the export, so that the memory stays where it is
            if view.shape[0]:
                self.sinks[i].pos = &view[0]
                self.sinks[i].end = &view[0] + view.shape[0]
        for i, (rtype, size, slot, n_bytes, recipe) in enumerate(routes):
            if not (0 <= rtype < 256 and 0 <= slot < self.n_sinks and 0 <= n_bytes):
                raise ValueError(f"no route for rtype {rtype} to output {slot}")
            route = self.routes + i
            route.words = size // 4
            route.slot = slot
            route.n_bytes = n_bytes
            route.recipe = NULL
            if recipe is None:
                if n_bytes > size or n_bytes < HEADER_SIZE:
                    raise ValueError(f"no {n_bytes} bytes in a record of {size}")
            else:
                program = recipe
                if program.recipe.template == NULL:
                    raise TypeError("the program was never made")
                if program.recipe.source_size + extra > size:
                    raise ValueError(f"a record of {size} bytes is short for its program")
                if program.recipe.size + extra != n_bytes:
                    raise ValueError(f"the program does not make {n_bytes} bytes")
                self.keep.append(program)
                route.recipe = &program.recipe
            route.next = self.first[rtype]
            self.first[rtype] = <int16_t>i

    def __dealloc__(self):
        free(self.routes)
        free(self.sinks)


cdef enum:
    ANY = 2  # of a filter's rtypes: passes whatever else is asked for
    FIXED = 96  # holds the records of all but books and definitions


cdef inline void copy_short(uint8_t* out, const uint8_t* source, Py_ssize_t n) noexcept nogil:
    # Records are short and of many sizes: a loop of 16-byte moves beats the library's call.
    while n >= 16:
        memcpy(out, source, 16)
        out += 16
        source += 16
        n -= 16
    if n >= 8:
        memcpy(out, source, 8)
        out += 8
        source += 8
        n -= 8
    if n:
        memcpy(out, source, 4)


cdef Status spread(
    Cursor* cursor, const uint16_t* min_size, Plan plan, bint ts_out
) noexcept nogil:
    # What: walk the records and send each where its rtype and size say; others are passed over.
    # Cost: the walk, and one copy a record.
    cdef const uint8_t* record = NULL
    cdef Py_ssize_t size = 0
    cdef uint8_t* out
    cdef int16_t i
    cdef uint8_t words, rtype = 0
    cdef const Route* route
    cdef Status status
    while True:
        status = step(cursor, min_size, &record, &size, &rtype)
        if status != STEP:
            return status
        words = <uint8_t>(size >> 2)
        i = plan.first[rtype]
        while i >= 0 and plan.routes[i].words != words:
            i = plan.routes[i].next
        if i < 0:
            continue
        route = plan.routes + i
        if route.recipe == NULL and route.n_bytes <= FIXED and route.n_bytes == size:
            out = room(plan.sinks + route.slot, FIXED)
            if out != NULL and covers(cursor, record, FIXED):
                # types come in no order: one copy for all short sizes needs no foresight
                memcpy(out, record, FIXED)
                claim(plan.sinks + route.slot, route.n_bytes)
                continue
        out = claim(plan.sinks + route.slot, route.n_bytes)
        if out == NULL:
            return FULL
        if route.recipe != NULL:
            upgrade_record(route.recipe, record, size, out, ts_out)
        else:
            copy_short(out, record, route.n_bytes)
            if ts_out and route.n_bytes < size:
                # a record longer than its struct: ts_out is still its last field
                memcpy(out + route.n_bytes - TS_OUT_SIZE, record + size - TS_OUT_SIZE, TS_OUT_SIZE)


def fill(
    const uint8_t[::1] data not None, Plan plan not None, SizeTable sizes not None, bint ts_out
):
    """Send every record of `data` where the plan says; see the stub."""
    cdef Cursor cursor
    cdef Status status
    cdef Py_ssize_t i
    cdef const uint16_t* min_size = sizes.of(ts_out)
    if data.shape[0]:
        cursor.pos = &data[0]
        cursor.end = &data[0] + data.shape[0]
        with nogil:
            status = spread(&cursor, min_size, plan, ts_out)
        if status == FULL:
            raise ValueError("an output of the plan is too small")
    for i in range(plan.n_sinks):
        if plan.sinks[i].pos != plan.sinks[i].end:
            raise ValueError("an output of the plan is too large")


cdef inline bint found(const uint32_t* values, Py_ssize_t n, uint32_t wanted) noexcept nogil:
    # Is `wanted` among n sorted values?
    cdef Py_ssize_t low = 0, high = n, middle
    while low < high:
        middle = (low + high) >> 1
        if values[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low < n and values[low] == wanted


def select(
    const uint8_t[::1] data not None, uint8_t[::1] out not None, SizeTable sizes not None,
    bint ts_out, const uint8_t[::1] rtypes not None, const uint16_t[::1] ts_at not None,
    bint by_time, uint64_t start, uint64_t end, const uint32_t[::1] instruments,
    const uint32_t[::1] publishers,
):
    """Copy the records that pass a filter; see the stub."""
    cdef Cursor cursor
    cdef Sink sink
    cdef const uint8_t* record = NULL
    cdef Py_ssize_t size = 0, n = 0, n_seen = 0, i
    cdef uint8_t* to
    cdef uint64_t ts
    cdef RecordHeader header
    cdef const uint16_t* min_size = sizes.of(ts_out)
    cdef const uint32_t* ids = NULL
    cdef const uint32_t* sources = NULL
    cdef Py_ssize_t n_ids = -1, n_sources = -1
    cdef uint8_t rtype = 0
    cdef Status status = DONE
    if rtypes.shape[0] != 256 or ts_at.shape[0] != 256:
        raise ValueError("rtypes and ts_at need one entry for each rtype")
    for i in range(256):
        if ts_at[i] + 8 > min_size[i]:
            raise ValueError(f"rtype {i} has no timestamp at byte {ts_at[i]}")
    if out.shape[0] < data.shape[0]:
        raise ValueError("the output is smaller than the input")
    if instruments is not None:
        n_ids = instruments.shape[0]
        ids = &instruments[0] if n_ids else NULL
    if publishers is not None:
        n_sources = publishers.shape[0]
        sources = &publishers[0] if n_sources else NULL
    if data.shape[0] == 0:
        return 0, 0, 0, 0, <int>DONE
    cursor.pos = &data[0]
    cursor.end = &data[0] + data.shape[0]
    sink.pos = &out[0]
    sink.end = &out[0] + out.shape[0]
    with nogil:
        while True:
            status = step(&cursor, min_size, &record, &size, &rtype)
            if status != STEP:
                break
            n_seen += 1
            header = load_header(record)
            if not rtypes[rtype]:
                continue
            if rtypes[rtype] != ANY:
                if n_ids >= 0 and not found(ids, n_ids, header.instrument_id):
                    continue
                if n_sources >= 0 and not found(sources, n_sources, header.publisher_id):
                    continue
                if by_time:
                    # ts_at lies inside the smallest legal record of the rtype
                    ts = load_u64(record + ts_at[rtype])
                    if ts < start or ts >= end:
                        continue
            to = claim(&sink, size)
            if to == NULL:
                status = FULL  # never: the output is as long as the input
                break
            copy_short(to, record, size)
            n += 1
    return n, sink.pos - &out[0], n_seen, cursor.pos - &data[0], <int>status
