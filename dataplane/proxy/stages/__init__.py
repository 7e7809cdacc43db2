"""What happens to a connection before anybody speaks to it, and to a request between its head and its server: stages, a file each.

In: a connection whose peer is known; a request's exchange, as much of its body as a stage wants to see, and later the fields of its
answer. Out: `CONTINUE`, `ANSWERED` (the stage has answered in the server's place) or `WAIT` (it calls `exchange.resume()` when it
knows, unless it was told `cancelled` before); of a connection, why it is refused. Three lists: of a chain's connections
(`of_connections`), of a connection's requests before any route is looked at (`before_match`), and of the route a request takes,
compiled once a route (`stages_of`). The order is declared here, not by who was written first. An empty list costs nothing.

- `admission`: whether a peer may connect at all.
- `paths`: the form of the path that rules and routes see.
- `authorization`: whether the client may ask this, before any route is looked at.
- `upgrades`: whether a request may leave HTTP; only such requests have it.
- `answer`: redirects, and answers the route itself has.
- `rewrite`: another path or host.
- `edits`: fields added, set and taken out, of the request and of its answer.
- `face`: what every stage looks like, its own counters and words for people among it. `order`: which come when.
"""
