# Field layout of events.py, so compiled codecs and drivers read events as C structs.

cdef class Event:
    cdef public int kind
    cdef public long stream

cdef class RequestHead(Event):
    cdef public bytes method
    cdef public bytes scheme
    cdef public bytes authority
    cdef public bytes path
    cdef public list headers
    cdef public bint end
    cdef public int version
    cdef public bytes protocol
    cdef public bint absolute

cdef class ResponseHead(Event):
    cdef public int status
    cdef public bytes reason
    cdef public list headers
    cdef public bint end
    cdef public int version

cdef class Data(Event):
    cdef public bytes data
    cdef public bint end

cdef class Trailers(Event):
    cdef public list headers

cdef class Reset(Event):
    cdef public long code
    cdef public str reason

cdef class Goaway(Event):
    cdef public long last_stream
    cdef public long code

cdef class Writable(Event):
    pass

cdef class SettingsChanged(Event):
    cdef public long max_streams

cdef class Failure(Event):
    cdef public long code
    cdef public int status
    cdef public str reason
    cdef public str counter

cdef class Upgraded(Event):
    cdef public bytes protocol

cdef class Pong(Event):
    cdef public bytes data
