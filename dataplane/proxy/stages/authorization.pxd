from dataplane.proxy.stages.face cimport Stage
from dataplane.tables.authz cimport Guard
from dataplane.telemetry.metrics cimport Counter

cdef int _ALWAYS_ALLOW

cdef class Authorizer(Stage):
    cdef Guard _guard
    cdef Counter _admitted

    cpdef int on_request(self, object exchange) except -1
