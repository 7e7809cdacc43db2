cimport cython

from dataplane.net.system cimport Kernel

cdef double _TICK
cdef long long _SLOTS
cdef long long _ROUNDS

cdef class Timer:
    cdef Timer following
    cdef Timer preceding
    cdef readonly object callback
    cdef readonly long long due

    cpdef object cancel(self)
    @cython.locals(before=Timer, after=Timer)
    cdef object unlink(self)
    @cython.locals(last=Timer)
    cdef object link(self, Timer ring)

cdef class Timers:
    cdef object _loop
    cdef Kernel _kernel
    cdef list _near
    cdef list _far
    cdef double _start
    cdef long long _tick
    cdef long long _wake
    cdef object _handle
    cdef public int failures

    @cython.locals(timer=Timer, now="long long")
    cpdef Timer after(self, double seconds, object callback)
    @cython.locals(count=int, ring=Timer, timer=Timer)
    cpdef int pending(self) except -1
    cdef long long _now(self) except -2
    @cython.locals(due="long long", rounds="long long", last="long long", index="Py_ssize_t", slots=list)
    cdef object _place(self, Timer timer)
    @cython.locals(turn="long long", delay=double)
    cdef object _schedule(self, long long tick, long long now)
    @cython.locals(now="long long", tick="long long", following="long long", ring=Timer)
    cpdef object _turn(self)
    @cython.locals(ring=Timer, first=Timer, timer=Timer, after=Timer, alone=bint)
    cdef object _cascade(self, long long rounds)
    cdef object _fire(self, Timer timer)
    @cython.locals(slots=list, ahead="long long", ring=Timer)
    cdef long long _following(self, long long now) except -2
