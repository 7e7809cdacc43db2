# cython: language_level=3
"""The kernel calls of the traffic path, straight to libc; `system.py` beside this is its plain twin, word for word.

In: file descriptors and bytes. Out: bytes, counts, -1 with `error` set (0 for "would block"). Refuses nothing, raises
only for what cannot happen while a descriptor is ours. The GIL is kept: no call here waits.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.object cimport PyObject
from libc.errno cimport EAGAIN, EINPROGRESS, EINTR, errno
from libc.stdint cimport uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

cdef extern from "Python.h":
    int _PyBytes_Resize(PyObject** string, Py_ssize_t size) except -1
    PyObject* PyBytes_New "PyBytes_FromStringAndSize"(const char* data, Py_ssize_t size) except NULL
    void _drop "Py_DECREF"(PyObject* value)

cdef extern from *:
    """
    #include <stdlib.h>
    #ifdef __GLIBC__
    #include <malloc.h>
    static void tulle_trim(void) { malloc_trim(0); }
    static void tulle_one_heap(void) { mallopt(M_ARENA_MAX, 1); }
    #else
    static void tulle_trim(void) {}
    static void tulle_one_heap(void) {}
    #endif
    """
    void _trim "tulle_trim"()
    void _one_heap "tulle_one_heap"()

cdef extern from "sys/epoll.h" nogil:
    ctypedef union epoll_data_t:
        int fd
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL
    int epoll_create1(int flags)
    int epoll_ctl(int epfd, int op, int fd, epoll_event* event)
    int epoll_wait(int epfd, epoll_event* events, int maxevents, int timeout)

cdef extern from "sys/uio.h" nogil:
    struct iovec:
        void* iov_base
        size_t iov_len

cdef extern from "sys/socket.h" nogil:
    ctypedef unsigned int socklen_t
    struct sockaddr:
        unsigned short sa_family
    struct sockaddr_storage:
        unsigned short ss_family
    struct msghdr:
        iovec* msg_iov
        size_t msg_iovlen
    struct linger:
        int l_onoff
        int l_linger
    int MSG_NOSIGNAL, MSG_DONTWAIT, SOL_SOCKET, SO_ERROR, SO_LINGER, SHUT_WR, AF_INET, AF_INET6, SOCK_NONBLOCK, SOCK_CLOEXEC
    ssize_t c_recv "recv"(int fd, void* buf, size_t size, int flags)
    ssize_t c_send "send"(int fd, const void* buf, size_t size, int flags)
    ssize_t sendmsg(int fd, const msghdr* message, int flags)
    int accept4(int fd, sockaddr* address, socklen_t* size, int flags)
    int getsockopt(int fd, int level, int name, void* value, socklen_t* size)
    int setsockopt(int fd, int level, int name, const void* value, socklen_t size)
    int shutdown(int fd, int how)

cdef extern from "netinet/in.h" nogil:
    struct in_addr:
        pass
    struct in6_addr:
        pass
    struct sockaddr_in:
        unsigned short sin_port
        in_addr sin_addr
    struct sockaddr_in6:
        unsigned short sin6_port
        in6_addr sin6_addr
    int IPPROTO_TCP
    unsigned short ntohs(unsigned short value)

cdef extern from "netinet/tcp.h" nogil:
    int TCP_NODELAY

cdef extern from "arpa/inet.h" nogil:
    const char* inet_ntop(int family, const void* source, char* target, socklen_t size)

cdef extern from "unistd.h" nogil:
    int c_close "close"(int fd)

cdef extern from "time.h" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int CLOCK_MONOTONIC
    int clock_gettime(int clock, timespec* value)

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <fcntl.h>
    static ssize_t tulle_splice(int source, int target, size_t count) {
        return splice(source, NULL, target, NULL, count, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    }
    """
    ssize_t tulle_splice(int source, int target, size_t count) nogil

RECEIVE_SIZE = 65536
EVENTS = 256
cdef enum:
    SIZE = 65536
    MAX_EVENTS = 256
    MAX_CHUNKS = 64


cdef class Kernel:
    """One epoll set, one receive buffer, and the calls on sockets that go with them."""

    def __cinit__(self):
        self._buffer = <char*>malloc(SIZE)
        self._events = malloc(MAX_EVENTS * sizeof(epoll_event))
        if self._buffer == NULL or self._events == NULL:
            raise MemoryError
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        self.error = 0
        self.address = ("", 0)
        if self.epoll < 0:
            raise OSError(errno, "epoll_create1")

    def __dealloc__(self):
        free(self._buffer)
        free(self._events)
        if self.epoll >= 0:
            c_close(self.epoll)

    def shut(self):
        """Close the epoll set itself."""
        if self.epoll >= 0:
            c_close(self.epoll)
            self.epoll = -1

    cdef _control(self, int operation, int fd, unsigned int mask):
        cdef epoll_event event
        event.events = mask
        event.data.fd = fd
        if epoll_ctl(self.epoll, operation, fd, &event) < 0:
            raise OSError(errno, "epoll_ctl")

    cpdef object add(self, int fd, unsigned int mask):
        """Watch a descriptor."""
        self._control(EPOLL_CTL_ADD, fd, mask)

    cpdef object change(self, int fd, unsigned int mask):
        """Watch a descriptor for something else."""
        self._control(EPOLL_CTL_MOD, fd, mask)

    cpdef object forget(self, int fd):
        """Watch a descriptor no more; closing does that too."""
        self._control(EPOLL_CTL_DEL, fd, 0)

    cpdef int wait(self, int milliseconds) except -2:
        """Collect what is ready, waiting for something up to so long (-1: for ever), and tell how many.

        Read them by `event_fd` and `event_mask`. A signal ends the wait after its Python handler has run.
        """
        cdef int count
        if milliseconds == 0:
            count = epoll_wait(self.epoll, <epoll_event*>self._events, MAX_EVENTS, 0)
        else:
            with nogil:
                count = epoll_wait(self.epoll, <epoll_event*>self._events, MAX_EVENTS, milliseconds)
            if count < 0:
                PyErr_CheckSignals()
        return count if count > 0 else 0

    cpdef int event_fd(self, int index) except -2:
        """The descriptor of an event."""
        return (<epoll_event*>self._events)[index].data.fd

    cpdef unsigned int event_mask(self, int index) except 0xffffffff:
        """What is ready there."""
        return (<epoll_event*>self._events)[index].events

    cpdef bytes receive(self, int fd, bint much):
        """Take what has arrived, up to RECEIVE_SIZE; empty at the end, None when nothing is there or on an `error`.

        Where `much` is expected it goes straight into the bytes returned.
        """
        cdef ssize_t count
        cdef PyObject* whole
        cdef bytes data
        if much:
            whole = PyBytes_New(NULL, SIZE)
            count = c_recv(fd, PyBytes_AS_STRING(<bytes>whole), SIZE, MSG_DONTWAIT)
            if count > 0:
                if count < SIZE:
                    _PyBytes_Resize(&whole, count)
                data = <bytes>whole
                _drop(whole)
                return data
            _drop(whole)
            if count == 0:
                return b""
            if errno != EINTR:
                self.error = 0 if errno == EAGAIN else errno
                return None
        while True:
            count = c_recv(fd, self._buffer, SIZE, MSG_DONTWAIT)
            if count >= 0:
                return PyBytes_FromStringAndSize(self._buffer, count)
            if errno != EINTR:
                break
        self.error = 0 if errno == EAGAIN else errno
        return None

    cpdef Py_ssize_t fill(self, int fd) except -2:
        """As `receive`, into `filled`; returns how many bytes, or -1."""
        cdef ssize_t count
        while True:
            count = c_recv(fd, self._buffer, SIZE, MSG_DONTWAIT)
            if count >= 0:
                self._filled = count
                return count
            if errno != EINTR:
                break
        self.error = 0 if errno == EAGAIN else errno
        return -1

    @property
    def filled(self):
        """What the last `fill` received."""
        return PyBytes_FromStringAndSize(self._buffer, self._filled)

    cpdef Py_ssize_t send(self, int fd, bytes data, Py_ssize_t offset) except -2:
        """Give the kernel the bytes from `offset` on; returns how many it took, or -1."""
        cdef ssize_t count
        while True:
            count = c_send(fd, PyBytes_AS_STRING(data) + offset, PyBytes_GET_SIZE(data) - offset, MSG_NOSIGNAL | MSG_DONTWAIT)
            if count >= 0:
                return count
            if errno != EINTR:
                break
        self.error = 0 if errno == EAGAIN else errno
        return -1

    cpdef Py_ssize_t send_list(self, int fd, list chunks, Py_ssize_t offset) except -2:
        """Give the kernel the chunks (of the first one from `offset` on) in one call; as `send`."""
        cdef iovec vector[MAX_CHUNKS]
        cdef msghdr message
        cdef Py_ssize_t n = PyList_GET_SIZE(chunks), i
        cdef bytes chunk
        cdef ssize_t count
        if n > MAX_CHUNKS:
            n = MAX_CHUNKS
        for i in range(n):
            chunk = <bytes>chunks[i]
            vector[i].iov_base = PyBytes_AS_STRING(chunk)
            vector[i].iov_len = PyBytes_GET_SIZE(chunk)
        vector[0].iov_base = <char*>vector[0].iov_base + offset
        vector[0].iov_len -= offset
        memset(&message, 0, sizeof(message))
        message.msg_iov = vector
        message.msg_iovlen = n
        while True:
            count = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT)
            if count >= 0:
                return count
            if errno != EINTR:
                break
        self.error = 0 if errno == EAGAIN else errno
        return -1

    cpdef Py_ssize_t splice(self, int source, int target, Py_ssize_t count) except -2:
        """Move bytes between a socket and a pipe inside the kernel; as `send`, and 0 at the end of `source`."""
        cdef ssize_t moved
        while True:
            moved = tulle_splice(source, target, count)
            if moved >= 0:
                return moved
            if errno != EINTR:
                break
        self.error = 0 if errno == EAGAIN else errno
        return -1

    cpdef int accept(self, int fd) except -2:
        """Take a waiting connection, non-blocking; `address` is its peer. As `send` when there is none."""
        cdef sockaddr_storage address
        cdef socklen_t size = sizeof(address)
        cdef char text[64]
        cdef int got
        while True:
            got = accept4(fd, <sockaddr*>&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)
            if got >= 0:
                break
            if errno != EINTR:
                self.error = 0 if errno == EAGAIN else errno
                return -1
        if address.ss_family == AF_INET:
            inet_ntop(AF_INET, &(<sockaddr_in*>&address).sin_addr, text, sizeof(text))
            self.address = ((<bytes>text).decode("ascii"), ntohs((<sockaddr_in*>&address).sin_port))
        elif address.ss_family == AF_INET6:
            inet_ntop(AF_INET6, &(<sockaddr_in6*>&address).sin6_addr, text, sizeof(text))
            self.address = ((<bytes>text).decode("ascii"), ntohs((<sockaddr_in6*>&address).sin6_port))
        else:
            self.address = ("", 0)
        return got

    cpdef int socket_error(self, int fd) except -2:
        """Read and clear SO_ERROR."""
        cdef int value = 0
        cdef socklen_t size = sizeof(value)
        if getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &size) < 0:
            return errno
        return value

    cpdef bytes option(self, int fd, int level, int name, int size):
        """Read a socket option as bytes, or None with `error` set."""
        cdef char value[256]
        cdef socklen_t length = size if size < 256 else 256
        if getsockopt(fd, level, name, value, &length) < 0:
            self.error = errno
            return None
        return PyBytes_FromStringAndSize(value, length)

    cpdef object nodelay(self, int fd):
        """Send small segments at once (TCP_NODELAY)."""
        cdef int one = 1
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))

    cpdef object reset_on_close(self, int fd):
        """Have `close` send a reset and drop what is queued (SO_LINGER of zero)."""
        cdef linger value
        value.l_onoff = 1
        value.l_linger = 0
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof(value))

    cpdef object end(self, int fd):
        """Shut the sending side down."""
        shutdown(fd, SHUT_WR)

    cpdef object close(self, int fd):
        """Close a descriptor."""
        c_close(fd)

    cpdef double now(self) except -1.0:
        """Seconds of the monotonic clock."""
        cdef timespec value
        clock_gettime(CLOCK_MONOTONIC, &value)
        return value.tv_sec + value.tv_nsec * 1e-9


def one_heap() -> None:
    """Have all threads allocate where the first one does (glibc): the few that look up names would each keep a heap of their own."""
    _one_heap()


def trim() -> None:
    """Give memory the C library holds free back to the kernel, where it can (glibc)."""
    _trim()
