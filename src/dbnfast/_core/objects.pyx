"""Plain lines of JSON objects, of any layouts, into records."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int16_t, uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from dbnfast._core.bounds cimport Cursor, Sink, claim, covers, reach, room, take
from dbnfast._core.header cimport MAX_RECORD_SIZE, load_u8, load_u16, load_u32
from dbnfast._core.keys cimport (
    CODE,
    HEAD,
    LEVEL,
    LITERAL,
    LONGEST_NAME,
    MOST_KEYS,
    N_BUCKETS,
    NOWHERE,
    OPEN_HEAD,
    OPEN_LEVELS,
    SKIP,
    TOP,
    WRITE,
    Key,
    Place,
    Program,
    Use,
    bucket_of,
    ends_of,
    find,
    take_key,
)
from dbnfast._core.parse cimport CHAR, FINE, TIME, UNSIGNED, Slot, put_bytes, set_slot
from dbnfast._core.quick cimport AHEAD_OF_VALUE, Clock, quick_number, quick_time
from dbnfast._core.syntax cimport (
    is_digit,
    is_plain,
    next_is,
    skip_value,
    space,
    take_mark,
    take_null,
    take_number,
    take_plain,
    take_text,
)

PLACES = ("top", "head", "level")
cdef enum:
    AHEAD_OF_FIELD = <int>AHEAD_OF_VALUE + 2  # with its quotes
    NULL_WORD = 0x6C6C756E  # "null"
    COMMA_AND_QUOTE = 0x222C

USES = ("write", "skip", "refuse", "code", "head", "levels")

cdef enum Outcome:
    READ
    OTHER  # the line is of another code
    UNUSUAL

cdef enum Written:
    NOTHING
    EMPTY
    VALUE

cdef struct State:
    Clock clock
    int code  # of the line, where it says it
    bint coded  # whether it does
    bint full  # whether there was no room
    int forms  # of prices, which may be of any here
    uint8_t usual[MOST_KEYS]  # what `quick` keeps of each key, of whatever program


cdef int take_code(Cursor* text) noexcept nogil:
    # Takes the code of a record, in quotes or not; -1 if it is none.
    cdef bint quoted = take_mark(text, c'"')
    cdef int code = 0, n = 0
    while is_digit(text):
        if n == 3 or (n == 1 and code == 0):
            return -1
        code = code * 10 + load_u8(text.pos) - c"0"
        take(text, 1)
        n += 1
    if n == 0 or code > 255 or (quoted and not take_mark(text, c'"')):
        return -1
    return code


cdef Written write_other(const Key* key, Cursor* text, uint8_t* out, int* forms) noexcept nogil:
    # Takes a value of any form, its quotes included, and writes it.
    cdef uint8_t unescaped[MAX_RECORD_SIZE]
    cdef Cursor value
    if take_mark(text, c'"'):
        if not take_text(text, &value, unescaped, MAX_RECORD_SIZE):
            return NOTHING
    elif take_null(text):
        value.pos = value.end = text.pos
    elif key.slot.kind > UNSIGNED or not take_number(text, &value):
        return NOTHING
    if put_bytes(key.slot.kind, value, out, key.slot.width, key.slot.absent, forms) != FINE:
        return NOTHING
    return EMPTY if value.pos == value.end else VALUE


cdef inline void put_absent(const Slot* slot, uint8_t* out) noexcept nogil:
    # Precondition: out has the slot's width.
    if slot.width == 8:
        memcpy(out, slot.absent, 8)
    elif slot.width == 1:
        out[0] = load_u8(slot.absent)
    else:
        memcpy(out, slot.absent, slot.width)


cdef inline const uint8_t* quick_field(
    const Key* key, const uint8_t* p, uint8_t* out, State* state, Written* written
) noexcept nogil:
    # What: a value in its usual form, its quotes included, with no space around it; writes it.
    # Where it ends, or NULL if this is another form. Preconditions: AHEAD_OF_FIELD bytes are there;
    # the slot's width is there at out.
    cdef const Slot* slot = &key.slot
    cdef const uint8_t* end = NULL
    cdef bint quoted = load_u8(p) == c'"'
    written[0] = EMPTY
    if load_u32(p) == NULL_WORD:
        put_absent(slot, out)
        return p + 4
    p += quoted
    if slot.kind <= UNSIGNED:
        if quoted and slot.kind == TIME and load_u8(p + 4) == c"-":
            end = quick_time(p, out, &state.clock)
        else:
            end = quick_number(slot, p, out, &state.forms, state.usual + key.index)
    elif quoted and slot.kind == CHAR and is_plain(load_u8(p)):
        out[0] = load_u8(p)
        end = p + 1
    if end == NULL:
        if not quoted or load_u8(p) != c'"':
            return NULL
        put_absent(slot, out)
        return p + 1
    written[0] = VALUE
    if quoted:
        return end + 1 if load_u8(end) == c'"' else NULL
    if load_u8(end) != c"," and load_u8(end) != c"}":
        return NULL
    # no 0 may stand in front of other digits
    if end - p > 1 and (
        load_u8(p) == c"0" or (load_u8(p) == c"-" and end - p > 2 and load_u8(p + 1) == c"0")
    ):
        return NULL
    if key.number != NULL and memcmp(out, key.number, slot.width) == 0:
        memcpy(out, key.instead, slot.width)
    return end


cdef inline Written write_value(
    const Key* key, Cursor* text, uint8_t* out, State* state
) noexcept nogil:
    # Takes a value and spaces in front of it, and writes it.
    cdef Written written = VALUE
    cdef Cursor rest  # a copy, so that text stays in registers
    cdef const uint8_t* end
    cdef bint quoted
    if covers(text, text.pos, AHEAD_OF_FIELD):
        end = quick_field(key, text.pos, out, state, &written)
        if end != NULL and reach(text, end):
            return written
    rest = text[0]
    space(&rest)
    quoted = next_is(&rest, c'"')
    written = write_other(key, &rest, out, &state.forms)
    text[0] = rest
    if quoted or key.number == NULL or written != VALUE:
        return written
    if memcmp(out, key.number, key.slot.width) == 0:
        memcpy(out, key.instead, key.slot.width)
    return written


cdef inline bint pass_over(Cursor* text) noexcept nogil:
    # Takes a value that is not written: mostly a symbol.
    cdef Cursor rest = text[0]
    cdef bint found = True
    if take_mark(text, c'"'):
        take_plain(text)
        if take_mark(text, c'"'):
            return True
    found = skip_value(&rest)
    text[0] = rest
    return found


cdef Outcome read_line(
    Cursor* rest, const Program* program, uint8_t* record, State* state
) noexcept nogil:
    # What: one object, and what is in it. Takes it; is it a record of the program's code?
    # Precondition: record has the program's size.
    cdef Cursor text = rest[0]  # a copy, which stays in registers
    cdef const Key* key
    cdef Place place = TOP
    cdef const Key* guess = program.keys
    cdef const Key* first = guess
    cdef Py_ssize_t level = 0, behind
    cdef Written written
    cdef int bits = 0
    state.coded = False
    memcpy(record, program.blank, program.size)
    if not take_mark(&text, c"{"):
        return UNUSUAL
    space(&text)
    if take_mark(&text, c"}"):
        rest[0] = text
        return READ if program.needs == 0 else UNUSUAL
    while True:
        key = take_key(&text, program, place, &guess)
        if key == NULL or bits & key.against:
            return UNUSUAL
        if key.use == WRITE:
            # at + width lie inside the record for all levels: checked when the program was made
            behind = level * program.stride if place == LEVEL else 0
            written = write_value(key, &text, record + key.slot.at + behind, state)
            if written == NOTHING:
                return UNUSUAL
            if written == VALUE or not key.solid:
                bits |= key.bits
            if covers(&text, text.pos, 2) and load_u16(text.pos) == COMMA_AND_QUOTE:
                take(&text, 1)
                continue
        elif key.use == SKIP:
            space(&text)
            if not pass_over(&text):
                return UNUSUAL
        elif key.use == CODE:
            space(&text)
            state.code = take_code(&text)
            if state.code < 0:
                return UNUSUAL
            state.coded = True
            bits |= key.bits
            if state.code != program.code:
                return OTHER
        elif key.use == OPEN_HEAD:
            bits |= key.bits
            space(&text)
            if not take_mark(&text, c"{"):
                return UNUSUAL
            place = HEAD
            space(&text)
            if not next_is(&text, c"}"):
                continue
        elif key.use == OPEN_LEVELS:
            bits |= key.bits
            space(&text)
            if not take_mark(&text, c"["):
                return UNUSUAL
            space(&text)
            if not take_mark(&text, c"]"):
                if not take_mark(&text, c"{"):
                    return UNUSUAL
                place = LEVEL
                level, first = 0, guess
                space(&text)
                if not next_is(&text, c"}"):
                    continue
        else:
            return UNUSUAL
        while True:  # behind a value, and behind what it closes
            space(&text)
            if take_mark(&text, c","):
                break
            if not take_mark(&text, c"}"):
                return UNUSUAL
            if place == TOP:
                rest[0] = text
                return READ if (bits & program.needs) == program.needs else UNUSUAL
            if place == LEVEL:
                space(&text)
                if take_mark(&text, c","):
                    level += 1
                    guess = first
                    space(&text)
                    if level == program.n_levels or not take_mark(&text, c"{"):
                        return UNUSUAL
                    space(&text)
                    if next_is(&text, c"}"):
                        continue
                    break
                if not take_mark(&text, c"]"):
                    return UNUSUAL
            place = TOP
        space(&text)


@cython.final
cdef class ObjectProgram:
    """How an object becomes a record; see the stub."""

    cdef Program program
    cdef list keep

    def __cinit__(
        self, int code, bytes blank not None, keys, Py_ssize_t n_levels=0, Py_ssize_t stride=0,
        int needs=0,
    ):
        cdef Program* program = &self.program
        cdef Py_ssize_t i
        keys = tuple(keys)
        if not -1 <= code <= 255 or len(blank) > MAX_RECORD_SIZE or len(keys) > MOST_KEYS:
            raise ValueError(f"no record of code {code}, {len(blank)} bytes and {len(keys)} keys")
        if n_levels < 0 or stride < 0 or n_levels * stride > len(blank):
            raise ValueError(f"{n_levels} levels of {stride} bytes are not in {len(blank)}")
        self.keep = [blank]
        program.code, program.needs = code, needs
        program.n_levels, program.stride = n_levels, stride
        program.blank = <const uint8_t*>PyBytes_AS_STRING(blank)
        program.size = len(blank)
        for i in range(N_BUCKETS):
            program.buckets[i] = -1
        program.keys = <Key*>calloc(len(keys) + 1, sizeof(Key))
        if program.keys == NULL:
            raise MemoryError
        for what in keys:
            name, place, use, slot, bits, against, solid, swap = what
            self.add(name, place, use, slot, bits, against, solid, swap)
        program.keys[program.n_keys].use = SKIP
        program.keys[program.n_keys].place = NOWHERE

    cdef int add(
        self, bytes name, int place, int use, slot, int bits, int against, bint solid, swap
    ) except -1:
        cdef Program* program = &self.program
        cdef Key* key = program.keys + program.n_keys
        cdef bytes literal = b'"' + name + b'":', absent, number, instead
        cdef Py_ssize_t behind = 0, bucket, n = min(<Py_ssize_t>LITERAL, len(literal))
        cdef Cursor text
        if not 0 < len(name) <= LONGEST_NAME or not 0 <= place < <int>NOWHERE:
            raise ValueError(f"no key {name!r} in place {place}")
        if not 0 <= use <= <int>OPEN_LEVELS or (place == LEVEL and program.n_levels == 0):
            raise ValueError(f"no use {use} of key {name!r}")
        self.keep.append(literal)
        key.use, key.place, key.n = <Use>use, <Place>place, len(name)
        key.bits, key.against, key.solid = bits, against, solid
        key.index = <uint8_t>program.n_keys
        key.name = <const uint8_t*>PyBytes_AS_STRING(literal) + 1
        memcpy(key.literal, key.name - 1, n)
        memset(key.mask, 0xFF, n)
        if use == WRITE:
            kind, at, absent = slot
            if place == LEVEL:
                behind = (program.n_levels - 1) * program.stride
            set_slot(&key.slot, kind, at, absent, program.size - behind)
            self.keep.append(absent)
            if swap is not None:
                number, instead = swap
                if not len(number) == len(instead) == len(absent):
                    raise ValueError(f"{swap} are not of {len(absent)} bytes")
                self.keep.append(swap)
                key.number = <const uint8_t*>PyBytes_AS_STRING(number)
                key.instead = <const uint8_t*>PyBytes_AS_STRING(instead)
        text.pos = key.name
        text.end = text.pos + key.n
        if find(program, &text, &text, key.place) != key:
            raise ValueError(f"key {name!r} is there twice")
        ends_of(&text, &text, key.ends)
        bucket = bucket_of(key.ends, key.place)
        while program.buckets[bucket] >= 0:
            bucket = (bucket + 1) % N_BUCKETS
        program.buckets[bucket] = <int16_t>program.n_keys
        program.n_keys += 1
        return 0

    def __dealloc__(self):
        free(self.program.keys)


@cython.final
cdef class ObjectPlan:
    """What objects become records; see the stub."""

    cdef const Program* programs[256]
    cdef const Program* bare
    cdef int default
    cdef list keep

    def __cinit__(self, programs, ObjectProgram bare not None, int default=-1):
        cdef ObjectProgram one
        if bare.program.code != -1 or not -1 <= default <= 255:
            raise ValueError(f"code {bare.program.code} is not -1, or default {default} none")
        self.bare, self.default = &bare.program, default
        self.keep = [bare]
        for one in programs:
            if one.program.code < 0 or self.programs[one.program.code] != NULL:
                raise ValueError(f"no program of code {one.program.code}, or two")
            self.programs[one.program.code] = &one.program
            self.keep.append(one)

    def fill(self, const uint8_t[::1] data not None, uint8_t[::1] out not None):
        """Make records of lines; see the stub."""
        cdef Cursor text
        cdef Sink sink
        cdef State state
        cdef Py_ssize_t n = 0, n_breaks = 0
        cdef const Program* program = self.bare
        cdef bint fine = True
        cdef uint8_t c
        if data.shape[0] == 0:
            return 0, 0, 0
        if out.shape[0] == 0:
            return -1, 0, 0
        text.pos = &data[0]
        text.end = text.pos + data.shape[0]
        sink.pos = &out[0]
        sink.end = sink.pos + out.shape[0]
        memset(&state, 0, sizeof(State))
        with nogil:
            while fine and text.pos != text.end:
                c = load_u8(text.pos)
                if c == c"{":
                    program = self.fill_line(&text, program, &sink, &state)
                    fine = program != NULL
                    n += 1
                    # nothing else may follow in the line
                    while next_is(&text, c" ") or next_is(&text, c"\t") or next_is(&text, c"\r"):
                        take(&text, 1)
                    fine = fine and (text.pos == text.end or load_u8(text.pos) == c"\n")
                else:
                    fine = c == c"\n" or c == c" " or c == c"\t" or c == c"\r"
                    n_breaks += c == c"\n"
                    take(&text, 1)
        if state.full:
            return -1, 0, 0
        return (n, n_breaks, sink.pos - &out[0]) if fine else None

    cdef const Program* fill_line(
        self, Cursor* text, const Program* program, Sink* sink, State* state
    ) noexcept nogil:
        # What: one line becomes a record by the program of its code; which is likely to be the
        # one of the line before, given here. NULL if it is nothing usual, or there is no room.
        cdef Cursor start = text[0]
        cdef Outcome outcome = self.try_line(text, program, sink, state)
        if outcome == UNUSUAL and not (state.coded or state.full) and program != self.bare:
            text[0] = start
            outcome = self.try_line(text, self.bare, sink, state)
        if outcome == OTHER:
            text[0] = start
            program = self.programs[state.code]
            if program == NULL:
                return NULL
            outcome = self.try_line(text, program, sink, state)
        if outcome != READ or program == self.bare:
            return NULL
        claim(sink, program.size)
        return program

    cdef Outcome try_line(
        self, Cursor* text, const Program* program, Sink* sink, State* state
    ) noexcept nogil:
        cdef uint8_t* record = room(sink, program.size)
        cdef Outcome outcome
        state.coded = False
        if record == NULL:
            state.full = True
            return UNUSUAL
        outcome = read_line(text, program, record, state)
        if outcome == READ and not state.coded:  # a line that does not say its code has another's
            state.code = self.default
            if self.default < 0:
                return UNUSUAL
            state.coded = True
            return READ if program.code == self.default else OTHER
        return outcome
