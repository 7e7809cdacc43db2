cdef class Stage:
    cdef public bint answers

    cpdef int on_request(self, object exchange) except -1
    cpdef object on_response(self, object exchange, list headers)
    cpdef object cancelled(self, object exchange)
