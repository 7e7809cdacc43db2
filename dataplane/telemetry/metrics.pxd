cimport cython

cdef class Histogram:
    cdef public tuple bounds
    cdef public list buckets
    cdef public double total

    @cython.locals(bound=double, index=cython.Py_ssize_t, bounds=tuple, buckets=list)
    cpdef object note(self, double value)

cdef class RequestSeries:
    cdef public str labels
    cdef public long long count
    cdef public bint touched
    cdef public Histogram duration
    cdef public Histogram request_size
    cdef public Histogram response_size

    cpdef object note(self, double milliseconds, long long received, long long sent)

cdef class RequestGroup:
    cdef public object peers
    cdef public str prefix
    cdef public dict series
    cdef public bint listed
    cdef object __weakref__
    cdef object _owner
    cdef long _last_key
    cdef RequestSeries _last

    @cython.locals(key=long, found=RequestSeries)
    cpdef RequestSeries of(self, int code, int grpc_status, bint grpc, int flag)
    cdef RequestSeries _make(self, long key, int code, int grpc_status, bint grpc, int flag)

cdef class TcpSeries:
    cdef public str labels
    cdef public long long opened
    cdef public long long closed
    cdef public long long sent
    cdef public long long received
    cdef public bint touched

cdef class Counter:
    cdef public long long value
