"""Injection: a pod that opted in gets the sidecar, at admission or offline by `tulle inject`, by the same code.

optin.py        who asked for a sidecar: pod, workload or namespace, and which namespaces are never asked
options.py      what the operator set (`InjectSettings`)
annotations.py  what the pod's owner asked for, validated; a bad value is refused with a sentence
refusal.py      why a pod is refused: an error whose message kubectl shows
conflicts.py    what does not go with a sidecar: refused, or warned of
containers.py   the init container, the sidecar and their volumes, as Kubernetes objects
probes.py       the app's probes, asked through the sidecar
patch.py        `inject`: pod in, injected pod or the reason against out (pure)
workload.py     a workload's own annotation carried into its template; who owns a pod
jsonpatch.py    the difference of two objects as RFC 6902
webhook.py      the HTTPS face the API server calls
thread.py       the thread it is served in
"""
