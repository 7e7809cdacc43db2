cimport cython

cdef class Turn:
    cdef public double due

cdef class Turns:
    cdef list _queue

    cdef Turn first(self)
    @cython.locals(queue=list, count=Py_ssize_t, at=Py_ssize_t, below=Py_ssize_t, moved=Turn, sooner=Turn, other=Turn)
    cdef object put_off(self, double until)
