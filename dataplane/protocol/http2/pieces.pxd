cimport cython

from dataplane.protocol.events cimport Data, Event
from dataplane.protocol.http2.reader cimport FrameReader

cdef int _DATA
cdef Py_ssize_t _MERGED

@cython.locals(size=cython.Py_ssize_t, piece=bytes, p="const unsigned char*", event=Event, before=Data)
cpdef object tell(FrameReader reader, bint last, list events)
