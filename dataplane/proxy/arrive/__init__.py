"""A connection from its first moment until it is known what it speaks, who may open it, and who takes it.

- `accept`: waits for bytes where the answer depends on them. What it asks first are stages (`proxy/stages`).
- `standing`: what becomes of one that is open when other tables are put in force.
"""
