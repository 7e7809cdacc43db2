cimport cython

from dataplane.protocol.events cimport RequestHead
from dataplane.tables.matching cimport Matcher
from dataplane.tables.paths cimport normal_path

cdef int _HOLDS
cdef int _FAILS
cdef int _ALL
cdef int _ANY
cdef int _NOT
cdef int _HEADER
cdef int _METHOD
cdef int _AUTHORITY
cdef int _RAW_PATH
cdef int _SCHEME
cdef int _PATH
cdef int _CLIENT
cdef int _DIRECT
cdef int _DESTINATION
cdef int _PORTS
cdef int _IDENTITY
cdef int _SERVER_NAME

cdef class Address:
    cdef public object value
    cdef public int version

cdef class Facts:
    cdef public Address source
    cdef public Address destination
    cdef public int port
    cdef public bytes identity
    cdef public bytes server_name
    cdef public int hops

cdef class Node:
    cdef public int op
    cdef list _parts
    cdef Matcher _matcher
    cdef bytes _name
    cdef bint _present
    cdef bint _invert
    cdef object _low
    cdef object _high
    cdef int _version
    cdef bint _wide
    cdef bint _literal

    @cython.locals(op=int, part=Node)
    cpdef Node fold(self, Facts facts)
    @cython.locals(end=int, part=Node, left=Node, kept=list)
    cdef Node _fold_parts(self, Facts facts)
    @cython.locals(op=int)
    cdef bint _known(self, Facts facts) except -1
    cdef bint _contains(self, Address address) except -1
    @cython.locals(op=int, part=Node)
    cpdef bint holds(self, RequestHead head, bytes path, Address client) except -1
    @cython.locals(field=tuple, found=bint)
    cdef bint _has_field(self, list headers) except -1
    @cython.locals(op=int)
    cdef bytes _read(self, RequestHead head)
    cdef bint _names(self, RequestHead head, bytes path) except -1
