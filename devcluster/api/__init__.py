"""The API server: `registry` is what everything in the process talks to, `server` is its face to real clients.

A request walks `server` (parse, authenticate, authorise) -> `verbs`, `watching`, `connect`, `special` or `information` -> `registry`
(defaults, admission, validation, ownership of fields) -> `store` (versions) -> `watch` (events, told to everybody).

- `kinds`, `definitions`       what is served; a CustomResourceDefinition adds a row
- `store`, `watch`             objects, versions and the event log, sans-io
- `registry`, `calls`, `gate`  the path of every write, who makes it, and who judges it
- `lifecycle`, `defaults`, `addresses`, `scale`  what the server itself decides about objects
- `patches`, `strategic`, `ownership`, `shapes`  the four patches, `managedFields`, and how lists merge
- `garbage`, `namespaces`, `first`  what goes after its owner, with its namespace, and what is there from the start
- `targets`, `requests`, `bodies`, `protobuf`, `messages`  URLs and bytes to nouns and back
- `rendering`, `columns`, `cells`, `podcells`, `jsonpath`  what `kubectl get` prints
- `discovery`, `information`   groups, kinds, versions, OpenAPI, health
- `connect`, `execution`, `forwarding`, `spdy`, `proxying`  ways into pods
- `app`, `certificates`        putting it together
"""
