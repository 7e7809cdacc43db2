# The kernel calls of system.pyx, called through the vtable: no Python object is made for an event or an error.

cdef class Kernel:
    cdef readonly int epoll
    cdef public int error
    cdef public tuple address
    cdef char* _buffer
    cdef Py_ssize_t _filled
    cdef void* _events

    cdef _control(self, int operation, int fd, unsigned int mask)
    cpdef object add(self, int fd, unsigned int mask)
    cpdef object change(self, int fd, unsigned int mask)
    cpdef object forget(self, int fd)
    cpdef int wait(self, int milliseconds) except -2
    cpdef int event_fd(self, int index) except -2
    cpdef unsigned int event_mask(self, int index) except 0xffffffff
    cpdef bytes receive(self, int fd, bint much)
    cpdef Py_ssize_t fill(self, int fd) except -2
    cpdef Py_ssize_t send(self, int fd, bytes data, Py_ssize_t offset) except -2
    cpdef Py_ssize_t send_list(self, int fd, list chunks, Py_ssize_t offset) except -2
    cpdef Py_ssize_t splice(self, int source, int target, Py_ssize_t count) except -2
    cpdef int accept(self, int fd) except -2
    cpdef int socket_error(self, int fd) except -2
    cpdef bytes option(self, int fd, int level, int name, int size)
    cpdef object nodelay(self, int fd)
    cpdef object reset_on_close(self, int fd)
    cpdef object end(self, int fd)
    cpdef object close(self, int fd)
    cpdef double now(self) except -1.0
