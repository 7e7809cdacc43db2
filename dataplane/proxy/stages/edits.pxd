cimport cython

from dataplane.proxy.stages.face cimport Stage
from dataplane.tables.edits cimport HeaderEdit
from dataplane.tables.routes cimport RouteRow, TargetRow

cdef class Edits(Stage):
    cdef RouteRow _row

    @cython.locals(headers=list, target=TargetRow, edit=HeaderEdit)
    cpdef int on_request(self, object exchange) except -1
    @cython.locals(target=TargetRow, edit=HeaderEdit)
    cpdef object on_response(self, object exchange, list headers)
