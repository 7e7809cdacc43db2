"""Kubernetes out: all that the mesh writes to the cluster leaves through here, by the leader alone.

leader.py    the Lease that says which replica writes
writer.py    does what is to be written, while leading, for as long as it is wanted
status.py  rolls.py  webhooks.py   decide what is to be written: conditions, opt-ins, CA bundles
notices.py   what becomes of a workload's pods at admission, told on the workload;  events.py  what kubectl describe should show
"""
