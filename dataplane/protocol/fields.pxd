cimport cython

@cython.locals(field=tuple)
cpdef bytes get(list headers, bytes name)

@cython.locals(field=tuple, at=cython.Py_ssize_t, count=cython.Py_ssize_t, index=cython.Py_ssize_t)
cpdef object set_value(list headers, bytes name, bytes value)

cpdef list split_tokens(bytes value)

@cython.locals(field=tuple, name=bytes, kept=list, those=set)
cpdef object strip_named(list headers, list named)

@cython.locals(size=cython.Py_ssize_t)
cpdef bint strip_continue(list headers) except -1

@cython.locals(p="const unsigned char*", n=cython.Py_ssize_t, i=cython.Py_ssize_t, total="long long", digit=int)
cpdef long long content_length(bytes value)
