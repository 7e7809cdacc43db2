cimport cython

from dataplane.protocol.events cimport RequestHead
from dataplane.tables.edits cimport HeaderEdit
from dataplane.tables.endpoints cimport ClusterTable
from dataplane.tables.matching cimport Matcher, joined
from dataplane.tables.paths cimport normal_path

cdef int _ANY
cdef int _EXACT
cdef int _SEPARATED
cdef int _PREFIX
cdef int _REGEX
cdef Py_ssize_t _FEW

cdef class TargetRow:
    cdef public str cluster
    cdef public unsigned int weight
    cdef public HeaderEdit request_edit
    cdef public HeaderEdit response_edit
    cdef public object found_in
    cdef public ClusterTable found

cdef class RouteRow:
    cdef public object noun
    cdef public str name
    cdef public long order
    cdef public list targets
    cdef public TargetRow only
    cdef public long total
    cdef public object redirect
    cdef public object direct
    cdef public object retry
    cdef public double timeout
    cdef public double idle
    cdef public double duration
    cdef public double try_timeout
    cdef public double try_idle
    cdef public object grpc_duration
    cdef public dict upgrades
    cdef public int retry_from
    cdef public bint rewrites
    cdef public tuple stages
    cdef public tuple answering
    cdef public tuple gathering
    cdef public bytes host_rewrite
    cdef public list mirrors
    cdef public int not_found_status
    cdef public tuple request_edits
    cdef public tuple response_edits
    cdef int _path_op
    cdef bytes _path
    cdef object _regex
    cdef Matcher _method
    cdef list _headers
    cdef list _query
    cdef object _prefix_rewrite
    cdef object _regex_rewrite
    cdef bint _all

    cpdef bint matches(self, bytes path, RequestHead head) except -1
    cdef bint _path_matches(self, bytes path) except -1
    @cython.locals(pair=tuple, matcher=Matcher, name=bytes)
    cdef bint _rest_matches(self, RequestHead head) except -1
    @cython.locals(target=TargetRow)
    cpdef TargetRow choose(self, double dice)
    cpdef bytes rewrite(self, bytes path)

cdef class RowIndex:
    cdef dict _exact
    cdef dict _segments
    cdef dict _prefixes
    cdef list _others
    cdef list _segment_lengths
    cdef list _lengths

    @cython.locals(best=RouteRow, size=Py_ssize_t, length=Py_ssize_t)
    cdef RouteRow match(self, bytes path, RequestHead head)

@cython.locals(row=RouteRow)
cdef RouteRow _before(RouteRow best, list rows, bytes path, RequestHead head)

cdef class HostTable:
    cdef public tuple domains
    cdef public list rows
    cdef RouteRow _first
    cdef RowIndex _index

    @cython.locals(row=RouteRow, path=bytes)
    cpdef RouteRow match(self, RequestHead head)

cdef class RouteIndex:
    cdef public object noun
    cdef public str name
    cdef public HostTable only
    cdef public double patience
    cdef dict _exact
    cdef list _suffixes
    cdef list _prefixes
    cdef HostTable _any

    cpdef RouteRow match(self, RequestHead head)
    @cython.locals(pair=tuple)
    cpdef HostTable host(self, bytes authority)
