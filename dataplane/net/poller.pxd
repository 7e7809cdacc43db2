cimport cython

from dataplane.net.system cimport Kernel
from dataplane.net.timers cimport Timers

cdef long long _CACHE
cdef int _MANY

cdef class Pollable:
    cdef readonly Poller poller
    cdef readonly int fd
    cdef public bint dirty

    cpdef object ready(self, unsigned int mask)
    cpdef object flush(self)
    cpdef object failed(self, object error)

cdef class Wish:
    cdef public bint made

cdef class Poller:
    cdef readonly Kernel kernel
    cdef readonly Timers timers
    cdef public double now
    cdef public long connections
    cdef public long long bytes_in
    cdef public long long bytes_out
    cdef public long failures
    cdef public object pipes
    cdef object _loop
    cdef object _driver
    cdef Wish _wish
    cdef list _handlers
    cdef list _dirty
    cdef list _again
    cdef list _dying
    cdef bint _turning
    cdef bint _asked
    cdef object _stirred

    cpdef object close(self)
    cpdef object add(self, Pollable pollable, unsigned int mask)
    cpdef object replace(self, Pollable old, Pollable new)
    cpdef object remove(self, Pollable pollable)
    cpdef object mark(self, Pollable pollable)
    cpdef object again(self, Pollable pollable)
    cpdef object when_stirred(self, object callback)
    cdef object _ask(self)
    @cython.locals(count=int)
    cpdef object turn(self)
    @cython.locals(kernel=Kernel, wish=Wish, until=double, wait=int)
    cpdef object drive(self, int milliseconds)
    @cython.locals(repeated=list)
    cdef object _batch(self, int count)
    @cython.locals(handlers=list, kernel=Kernel, handler=Pollable, i=int, fd=int, mask="unsigned int", full="long long")
    cdef object _dispatch(self, int count)
    @cython.locals(handler=Pollable, i=Py_ssize_t, count=Py_ssize_t)
    cdef object _repeat(self, list repeated)
    @cython.locals(dirty=list, handler=Pollable, i=Py_ssize_t)
    cdef object _flush(self)
    cpdef object defect(self, str consequence, object error)
    cdef object _supervise(self, Pollable handler, object error)
    @cython.locals(dying=list, kernel=Kernel, fd=int)
    cdef object _reap(self)
