cimport cython

cdef class Runtime:
    cdef public object tables
    cdef public object dialer
    cdef public object timers
    cdef public object metrics
    cdef public object tls
    cdef public object discovery
    cdef public object limits
    cdef public object own
    cdef public object clock
    cdef public object access_log
    cdef public bint draining
    cdef public double now
    cdef public long active
    cdef public long most_active
    cdef public list dirty
    cdef public set downstreams
    cdef public set upstreams
    cdef bint _settling
    cdef bytes _ids
    cdef Py_ssize_t _next_id

    @cython.locals(index=cython.Py_ssize_t, dirty=list)
    cpdef object settle(self)
    @cython.locals(at=cython.Py_ssize_t, ids=bytes)
    cpdef bytes make_id(self)
    cpdef double tick(self) except? -1.0
