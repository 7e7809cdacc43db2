"""Kubernetes in: every object the mesh reads comes in through here, into one store.

objects.py     ObjectStore: raw objects by kind and key, and what changed since somebody last looked
shapes.py      which kinds are followed, and which of their fields are kept
reflector.py   list and watch one kind into the store
sweep.py       lists what kopf feeds once before serving, then now and then, so that nothing stays that is gone
namespaces.py  what a namespace says of its pods, from the store, else from the API server
versions.py    whether API server and kubelets know native sidecars
"""
