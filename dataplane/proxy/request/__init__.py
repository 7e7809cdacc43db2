"""One request from its head to the last byte of its answer.

- `exchange` puts it together: `asking` is the request's side, `answering` the answer's, `attempt` the server's. `life` has the tables
  of all three. `call`: how the connections see it; `taker`: whom its parts tell what comes of it.
- `choice`: which endpoint. `retry`: when to try again; `retries`: how often still. `replay` keeps what may be sent again.
- `deadlines` has its time-outs, `notes` what its head tells and what this hop adds, `errors` our own answers, `tunnel` upgrades across versions.
- `mirror`: copies of it, which are requests of their own. `explain`: what would be done with one, for people who ask.
"""
