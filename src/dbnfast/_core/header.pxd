# Loads of little-endian values at any alignment. Bounds are the caller's: a pointer from
# `bounds.take` or `bounds.step` covers what is read here.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from *:
    """
    #if defined(_MSC_VER) && !defined(__clang__)
    #include <intrin.h>
    static __inline int dbnfast_lowest_bit(unsigned __int64 x) {
        unsigned long i;
        _BitScanForward64(&i, x);
        return (int)i;
    }
    #else
    #define dbnfast_lowest_bit(x) __builtin_ctzll(x)
    #endif
    """
    int lowest_bit "dbnfast_lowest_bit"(uint64_t x) noexcept nogil  # x is not 0

cdef enum:
    HEADER_SIZE = 16
    TS_OUT_SIZE = 8
    MAX_RECORD_SIZE = 1020  # 255 words


cdef packed struct RecordHeader:
    uint8_t length  # 4-byte words
    uint8_t rtype
    uint16_t publisher_id
    uint32_t instrument_id
    uint64_t ts_event


cdef inline uint8_t load_u8(const uint8_t* p) noexcept nogil:
    return p[0]


cdef inline uint16_t load_u16(const uint8_t* p) noexcept nogil:
    cdef uint16_t value
    memcpy(&value, p, 2)
    return value


cdef inline uint32_t load_u32(const uint8_t* p) noexcept nogil:
    cdef uint32_t value
    memcpy(&value, p, 4)
    return value


cdef inline uint64_t load_u64(const uint8_t* p) noexcept nogil:
    cdef uint64_t value
    memcpy(&value, p, 8)
    return value


cdef inline int32_t load_i32(const uint8_t* p) noexcept nogil:
    cdef int32_t value
    memcpy(&value, p, 4)
    return value


cdef inline int64_t load_i64(const uint8_t* p) noexcept nogil:
    cdef int64_t value
    memcpy(&value, p, 8)
    return value


cdef inline RecordHeader load_header(const uint8_t* p) noexcept nogil:
    cdef RecordHeader header
    memcpy(&header, p, 16)
    return header


cdef inline void store_u8(uint8_t* p, uint8_t value) noexcept nogil:
    p[0] = value


cdef inline void store_i64(uint8_t* p, int64_t value) noexcept nogil:
    memcpy(p, &value, 8)
