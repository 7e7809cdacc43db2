"""Model to mesh snapshot: decided once for all sidecars, and again only where something changed.

passes.py      compile_mesh(): the passes, in order
keyed.py       one pass over the keys that a change concerns
indexes.py     what a change concerns
snapshot.py    MeshSnapshot, whole and checked
nearness.py    which of them a caller gets, by where it is
services.py    who serves what, where
owners.py      whose each address is
policies.py    the mTLS mode of each pod and port
attach.py      which routes apply to which port, for whom
precedence.py  routes merged into rows, in final order
conditions.py  what the users of routes and policies are told
reads.py       what a builder reads of a snapshot, noted; in what two snapshots differ
"""
