cdef class Receiver:
    cpdef object opened(self)
    cpdef object received(self, bytes data)
    cpdef object ended(self)
    cpdef object leaving(self)
    cpdef object drained(self)
    cpdef object lost(self, str reason)
