# OpenSSL as `_ssl` itself is linked to it: types, functions found at run time, and the two ends of a connection.

ctypedef int (*Transfer)(void* connection, void* data, int size) noexcept nogil
ctypedef int (*Ask)(const void* connection, int result) noexcept nogil
ctypedef int (*Act)(void* connection) noexcept nogil
ctypedef void (*Set)(void* connection, void* bio) noexcept nogil
ctypedef void (*Clear)() noexcept nogil
ctypedef unsigned long (*Code)() noexcept nogil
ctypedef const char* (*Reason)(unsigned long code) noexcept nogil
ctypedef int (*Suites)(void* connection, const char* names) noexcept nogil
ctypedef void* (*Method)(int kind, const char* name) noexcept nogil
ctypedef void* (*New)(void* method) noexcept nogil
ctypedef void* (*Get)(void* bio) noexcept nogil
ctypedef void (*Number)(void* bio, int value) noexcept nogil
ctypedef int (*Install)(void* method, void* function) noexcept nogil

cdef enum:
    RECORD = 16384
    BATCH = 65536
    # A batch, in records as short as a peer may ask for (512 bytes: RFC 6066, section 4), each with header, padding and tag.
    SEALED = 65536 + 128 * 96
    WANT_READ = 2
    ZERO_RETURN = 6

cdef struct Ciphertext:
    # To be read by OpenSSL, not ours.
    const char* data
    Py_ssize_t left
    # Written by it, from `begin` up to `used`, in memory of `room` bytes; while `batching` into `sealed` instead.
    char* out
    Py_ssize_t begin
    Py_ssize_t used
    Py_ssize_t room
    bint batching

cdef struct Ends:
    void* connection
    void* reading
    void* writing

cdef Transfer SSL_read, SSL_write
cdef Ask SSL_get_error
cdef Act SSL_shutdown
cdef Clear ERR_clear_error
cdef Code ERR_peek_last_error
cdef Reason ERR_reason_error_string
cdef Suites SSL_CTX_set_ciphersuites
cdef char* sealed
cdef bint linked

cdef int attach(object inner, Ciphertext* ciphertext, Ends* ends) except -1
cdef void detach(Ends* ends) noexcept
cdef bint append(Ciphertext* ciphertext, const char* data, Py_ssize_t size) except -1
cdef void* of_context(object context) noexcept
