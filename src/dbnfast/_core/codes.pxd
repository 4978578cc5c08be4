cdef class Method:
    cdef void* call  # what a call of it runs: a vectorcallfunc, by which Python finds it
    cdef readonly str __name__


cdef void make_methods(type cls)
