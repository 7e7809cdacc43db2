"""A client's HTTP connection.

- `downstream`: its bytes into requests, their answers into bytes. `terms`: what is in force on it: chain, routes, rules, labels.
"""
