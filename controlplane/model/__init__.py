"""The mesh in frozen nouns: what the cluster's objects say, freed of YAML.

meta.py       keys, problems
workloads.py  nodes and pods
ports.py      ports listed by number or range
owners.py     whose pod it is, as users name it
services.py   services, their ports and protocols, endpoint slices
traffic.py    routes: parents, matches, filters, backends
security.py   mTLS modes and who they are for
steps.py      work cut into steps
mesh.py       mesh-wide settings, and Model: all of the above by key
"""
