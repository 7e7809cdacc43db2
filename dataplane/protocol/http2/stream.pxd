cdef int _OPEN

cdef class Http2Stream:
    cdef public long id
    cdef public int state
    cdef public bint headed
    cdef public bint final
    cdef public bint bodyless
    cdef public bint tunnel
    cdef public long long receive_left
    cdef public long long send_left
    cdef public Py_ssize_t window
    cdef public long long receive_window
    cdef public long long send_window
    cdef public Py_ssize_t unconsumed
    cdef public bint caught_up
    cdef public Py_ssize_t returned
    cdef public Py_ssize_t pending
    cdef public bint blocked
    cdef public object queue
    cdef public Py_ssize_t offset
    cdef public double opened
    cdef public bint end_queued
    cdef public list trailers
