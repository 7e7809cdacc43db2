"""Resources to gRPC: what each sidecar, Envoy or gRPC client is told, when, and what it thought of it.

subscription.py  sans-io: what one stream knows of one type, delta or state of the world; nonces, versions, ACK and NACK
messages.py      discovery messages taken apart and put together around resources encoded once
pushqueue.py     none or one pending push a stream; newer ones merge into it
source.py        resources in each form somebody holds, encoded once, with what they were made of
warm.py          what the pods of each workload use, to hint at to its next one
stream.py        one ADS stream: requests in, responses out, in push order
callers.py       who is at the other end, and may it have that node's configuration
server.py        the grpc.aio shell: port, limits, drain
asking.py        questions to one sidecar over its stream, and its answers
publisher.py     store to snapshot to streams, after each burst of changes
pace.py          heavy work in slices, and streams one after the other, so that the loop sees to others
selfcheck.py     what is served, compared now and then with what the same objects give from nothing
debounce.py      when a burst of changes is worth acting on, decided on a given clock
"""
