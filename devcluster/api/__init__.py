"""The API server: `registry` is what everything in the process talks to, `server` is its face to real clients.

A request walks `server` (parse, authenticate, authorise) -> `verbs`, `watching`, `streams` or `reviews` -> `registry`
(defaults, admission, validation, ownership of fields) -> `store` (versions) -> `watch` (events, told to everybody).
"""
