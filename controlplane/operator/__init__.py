"""kopf: the operator's handlers, and the thread they live in.

handlers.py  what kopf watches: routes, policies, workloads, webhook configurations, two lines a handler
thread.py    kopf in a thread and a loop of its own, started again when it fails
desk.py      who in the control plane's loop takes what a handler saw
"""
