cimport cython

from dataplane.protocol.events cimport RequestHead
from dataplane.tables.conditions cimport Address, Facts, Node
from dataplane.tables.matching cimport joined
from dataplane.tables.paths cimport normal_path, other_readings

cdef class Pending:
    cdef public str verdict
    cdef bint _deny
    cdef list _nodes
    cdef list _words

    @cython.locals(index=cython.Py_ssize_t, node=Node)
    cpdef bint admits(self, RequestHead head, bytes path, Address client) except -1

cdef class Guard:
    cdef public Guard shadow
    cdef public str verdict
    cdef public int state
    cdef list _pending
    cdef Address _source
    cdef int _hops
    cdef bint _reads_path
    cdef bint _reads_client

    @cython.locals(path=bytes, client=Address)
    cpdef bint admits(self, RequestHead head)
    @cython.locals(one=Pending)
    cdef bint _judge(self, RequestHead head, bytes path, Address client) except -1

cdef class Ruling:
    cdef bint _deny
    cdef list _named

    @cython.locals(folded=Node, node=Node)
    cpdef object fold(self, Facts facts)

cdef class Rulebook:
    cdef list _enforced
    cdef list _shadow
    cdef public bint names_servers
