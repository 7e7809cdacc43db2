cimport cython

from dataplane.net.poller cimport Poller
from dataplane.net.timers cimport Timers
from dataplane.proxy.request.notes cimport HeadNotes

cdef class Runtime:
    cdef public object tables
    cdef public Poller poller
    cdef public Timers timers
    cdef public object dialer
    cdef public object metrics
    cdef public object tls
    cdef public object discovery
    cdef public object bounds
    cdef public object own
    cdef public object dice
    cdef public object access_log
    cdef public HeadNotes notes
    cdef public bint draining
    cdef public double latecomer
    cdef public bint strict
    cdef public bint captures
    cdef public bint saving
    cdef public bint shedding
    cdef public object overload
    cdef public object hold
    cdef object _pace
    cdef public long active
    cdef public long most_active
    cdef public Py_ssize_t pending_bytes
    cdef public Py_ssize_t replay_bytes
    cdef public tuple set_aside
    cdef public bytes introduction
    cdef public set downstreams
    cdef public set relaying
    cdef public dict resting
    cdef list _reviewed
    cdef public set upstreams
    cdef object _sweeper

    cpdef double clock(self) except? -1.0
