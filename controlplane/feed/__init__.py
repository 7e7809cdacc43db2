"""Kubernetes in: every object the mesh reads comes in through here, into one store.

feed.py        all kinds at once: what is known, what is waited for, what cannot be read
kinds.py       which kinds are followed, in which versions
record.py      Record: fields that nobody can change, and that the garbage collector does not track
shapes.py      of each kind the fields that are kept
keeping.py     a decoded object made into that: what nobody reads left out, what many say held once
remembering.py small parts known again, for as long as there is room
discovery.py   in which version a custom kind is followed, by its definition
events.py      the lines of a watch, each decoded in one go
reflector.py   list and watch one kind into the store
health.py      how the feed of one kind goes
objects.py     ObjectStore: objects by kind and place, and who is told of a change
namespaces.py  what a namespace says of its pods, from the store, else from the API server
versions.py    whether API server and kubelets know native sidecars
"""
