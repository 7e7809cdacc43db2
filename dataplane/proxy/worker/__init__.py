"""What one worker has for all of its connections.

- `runtime`: tables, dialler, timers, counters. `bounds`: what traffic may cost. `overload`: what to give up while we are behind.
"""
