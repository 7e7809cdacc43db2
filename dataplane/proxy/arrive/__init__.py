"""A connection from its first moment until it is known what it speaks, who may open it, and who takes it.

- `accept`: waits for bytes where the answer depends on them. What it asks first are stages (`proxy/stages`).
- `handshake`: TLS, and what was agreed on. `carried`: opaque connections one after another on one of the mesh.
- `standing`: what becomes of one that is open when other tables are put in force.
"""
