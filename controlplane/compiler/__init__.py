"""Model to mesh snapshot: decided once for all sidecars, and again only where something changed.

passes.py      compile_mesh(): the passes, in order
memo.py        a pass's results with what they were made of
snapshot.py    MeshSnapshot, whole and checked
services.py    who serves what, where
policies.py    the mTLS mode of each pod and port
attach.py      which routes apply to which port, for whom
precedence.py  routes merged into rows, in final order
conditions.py  what the users of routes and policies are told
reads.py       what a builder reads of a snapshot, noted; in what two snapshots differ
"""
