cimport cython

cdef tuple _BOUNDS
cdef int _ALL

cdef class Timing:
    cdef public int outcome
    cdef public list buckets
    cdef public double milliseconds
    cdef public long long received
    cdef public long long sent
    cdef public bint touched
    cdef public dict exemplars
    cdef public int wanted
    cdef int _tries
    cdef int _last

    cpdef object want(self)
    @cython.locals(bit=int)
    cpdef object exemplify(self, list headers, double milliseconds)
    @cython.locals(bound=double, index=cython.Py_ssize_t, buckets=list)
    cpdef object note(self, double milliseconds, long long received, long long sent)

cdef class RequestSeries:
    cdef public bytes labels
    cdef public Timing timing
    cdef public long long count
    cdef public bint touched

    cpdef object note(self, double milliseconds, long long received, long long sent)

cdef class RequestGroup:
    cdef public object peers
    cdef public bytes prefix
    cdef public dict series
    cdef public dict timings
    cdef public bint listed
    cdef object __weakref__
    cdef object _owner
    cdef long _last_key
    cdef RequestSeries _last

    @cython.locals(key=long, found=RequestSeries)
    cpdef RequestSeries of(self, int code, int grpc_status, bint grpc, int flag)
    cdef RequestSeries _make(self, long key, int code, int grpc_status, bint grpc, int flag)

cdef class TcpSeries:
    cdef public bytes labels
    cdef public long long opened
    cdef public long long closed
    cdef public long long sent
    cdef public long long received
    cdef public bint touched

cdef class Counter:
    cdef public long long value
