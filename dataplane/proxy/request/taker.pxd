from dataplane.protocol.events cimport ResponseHead

cdef class Taker:
    cdef public int flag
    cdef public str detail

    cpdef bint astray(self, str what) except -1
    cpdef object whole(self)
    cpdef object passed(self)
    cpdef object interim(self, ResponseHead head)
    cpdef object answered(self, ResponseHead head)
    cpdef object data(self, bytes data, bint end)
    cpdef object trailers(self, list headers)
    cpdef object broke(self, long code)
    cpdef object refuse(self, object refusal)
