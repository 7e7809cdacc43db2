"""One request from its head to the last byte of its answer.

- `call`: as the connections see it. `exchange`: the answer and the end. `routing`: from the head to an endpoint. `sending`: the request's way.
- `life` has the tables of its two sides, `replay` keeps what may be sent again, `deadlines` has all of its time-outs, `retry` says when to try again.
- `notes`, `errors`, `tunnel`, `grpc_timeout`: its parts. `mirror`: copies of it. `explain`: what would be done with one, for people who ask.
"""
