cimport cython

from dataplane.telemetry.metrics cimport Timing

cdef tuple _BOUNDS
cdef tuple _FLOAT_BOUNDS
cdef bytes _END

cdef class Lines:
    cdef list _out
    cdef readonly Py_ssize_t size

    cpdef bytes take(self)
    cpdef object text(self, bytes data)
    cpdef object line(self, bytes head, bytes block, bytes mark, bytes rest)
    cpdef object again(self, bytes rest)

@cython.locals(block=bytes, timing=Timing, bucket=bytes, total=bytes, count=bytes, below="long long", index=Py_ssize_t, more="long long", said=bytes, buckets=list)
cdef object _histogram(Lines lines, tuple heads, tuple what, tuple bounds, dict exemplars)
