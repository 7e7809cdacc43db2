"""Objects to model: the only place in the control plane's inner part that sees what the API says, records of the cluster and what users wrote.

assemble.py  ingest(): all kinds, each object read once and again only when it changed
reading.py   a cursor over raw data that refuses wrong shapes with the path and a sentence
core.py      Nodes, Pods, Services, EndpointSlices, from records
protocols.py which protocol a port is declared to speak
routes.py    HTTPRoute, GRPCRoute, TLSRoute, TCPRoute
filters.py   what routes do to requests: headers, redirects, rewrites, mirrors, durations
policies.py  Mesh, PeerAuthentication
cut.py       a part of a cluster that is whole enough to decide one Service from nothing
"""
