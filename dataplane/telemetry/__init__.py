"""What the sidecar tells about the traffic it carries.

The map:

- `labels`: who talked to whom, in Istio's words; a pair of peers is named once and then held.
- `metrics`: the series themselves: plain integers bumped through objects bound beforehand.
- `outcomes`: whose fault it is how a request ended, in one place.
- `scrape`: what a scraper gets, in slices; `packing` makes it gzip, `negotiation` reads what is wanted, `told` adds up the workers;
  `expiry` says what all of them forget.
- `recent`: what of it was counted in the last minute.
- `accesslog`: one line a request, when asked for, written off the hot path.
- `chatter`: a bound on what is logged about traffic beside it.
"""
