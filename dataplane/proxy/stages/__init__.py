"""What happens to a request between its head and its server: stages, one after another, each a file with one face.

In: a request's exchange, and later the fields of its answer. Out: `CONTINUE`, `ANSWERED` (the stage has answered in the
server's place) or `WAIT` (it calls `exchange.resume()` when it knows, unless it was told `cancelled` before). Two lists:
`before_match` of a client's connection, and that of the route the request takes, compiled once a route (`stages_of`). The
order is declared here, not by who was written first. An empty list costs nothing.

- `paths`: the form of the path that rules and routes see.
- `authorization`: whether the client may ask this, before any route is looked at.
- `answer`: redirects, and answers the route itself has.
- `rewrite`: another path or host.
- `edits`: fields added, set and taken out, of the request and of its answer.
- `face`: what every stage looks like. `order`: which come when.
"""
