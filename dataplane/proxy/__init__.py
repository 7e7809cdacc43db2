"""Traffic: what happens to a connection and a request between the client's socket and the server's, by who is met on the way.

- `arrive`: a connection until it is known what it speaks and who takes it. `relay`: bytes nobody looks into.
- `client`: HTTP connections of clients. `server`: to servers. `connection`: what both have in common.
- `request`: one request between them. `stages`: what is done to it on the way, a file each.
- `worker`: what all of them are handed.
"""
