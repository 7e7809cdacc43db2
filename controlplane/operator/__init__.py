"""The operator: kopf tells what changed, and what is to be done about it is decided by what the store knows.

handlers.py    what kopf watches, as triggers
thread.py      kopf in a thread and a loop of its own, started again when it fails
reconciler.py  what a trigger leads to, and a look at everything now and then
"""
