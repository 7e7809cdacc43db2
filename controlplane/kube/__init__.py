"""The API server as the control plane speaks to it: where it is, and the thin client of all that read and write.

connect.py   finds the server and its credentials
client.py    get, list in chunks, watch, create, update, patch; and paths of resources
"""
