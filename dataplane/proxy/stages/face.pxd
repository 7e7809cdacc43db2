cdef class Stage:
    cdef public bint answers
    cdef public Py_ssize_t body_bytes

    cpdef int on_request(self, object exchange) except -1
    cpdef int on_body(self, object exchange, bytes data, bint whole) except -1
    cpdef object on_response(self, object exchange, list headers)
    cpdef object cancelled(self, object exchange)
