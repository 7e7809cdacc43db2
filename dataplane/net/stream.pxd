cimport cython

from dataplane.net.outlet cimport Bypass, Outlet
from dataplane.net.poller cimport Pollable, Poller
from dataplane.net.receiver cimport Receiver
from dataplane.net.system cimport Kernel
from dataplane.net.timers cimport Timer

cdef unsigned int _EVERYTHING
cdef unsigned int _WRITABLE
cdef unsigned int _READABLE
cdef unsigned int _LAST
cdef unsigned int _OUT
cdef unsigned int _ERR
cdef Py_ssize_t _CHUNK
cdef Py_ssize_t _MUCH
cdef int _READS

cdef class Stream(Outlet):
    cdef public Receiver receiver
    cdef public tuple peer
    cdef public tuple target
    cdef public str alpn
    cdef public str identity
    cdef public str server_name
    cdef public str detail
    cdef public object at_gone
    cdef public Bypass pump
    cdef public double seen
    cdef readonly bint open
    cdef readonly bint at_end
    cdef str _reason
    cdef Timer _timer
    cdef bint _reading
    cdef bint _readable
    cdef bint _last
    cdef bint _blocked
    cdef bint _much
    cdef bint _connecting
    cdef bint _closing
    cdef bint _end_wanted
    cdef bint _end_sent
    cdef bint _queued
    cdef int _unsendable

    cpdef object start(self, bint connecting=*, double timeout=*)
    cpdef object stillborn(self, str reason, str detail)
    @cython.locals(size=Py_ssize_t)
    cpdef object write(self, bytes data)
    cpdef object write_eof(self)
    cpdef object pause(self)
    cpdef object resume(self)
    cpdef object close(self)
    cpdef object abort(self)
    cpdef unsigned int give_away(self, Pollable heir) except 0xffffffff
    cpdef object ready(self, unsigned int mask)
    cpdef object failed(self, object error)
    @cython.locals(chunks=list, kernel=Kernel, feed=Bypass, sent=Py_ssize_t)
    cpdef object flush(self)
    cpdef object emptied(self)
    cpdef object go_on(self)
    cpdef object refused(self, int error)
    cdef object _flushed(self, bint left)
    cdef object _send_end(self)
    cdef object _finish(self)
    @cython.locals(poller=Poller, kernel=Kernel, reads=int, data=bytes, size=Py_ssize_t)
    cdef object _read(self)
    cdef object _take(self, bytes data)
    cdef object _take_end(self)
    @cython.locals(error=int)
    cdef bint _connected(self) except -1
    cdef object _established(self)
    @cython.locals(stopped=bint)
    cdef object _cannot_send(self, int error)
    cdef object _broken(self, int error)
    cpdef object _too_late(self)
    cdef object _die(self, str reason)
    cdef object _let_go(self)
    cpdef object _gone(self)
    @cython.locals(receiver=Receiver, reason=str)
    cdef object _tell(self)
    cdef object _repeat(self)
    cdef object _stop_timer(self)
