"""Config compiled into what the hot path reads; made once per change and swapped whole.

The map: `compile` makes `Tables` from a `SidecarConfig`, reusing what did not change; `listeners` find the chain of a
connection; `routes` find the row of a request, with `matching` for strings and `edits` for header changes; `endpoints`
pick where it goes, by `turns` where there are weights, passing over whom `health` says is failing. Nothing here knows a clock, a socket or a dice: they are passed in.
"""
