"""The demo: a cluster, the mesh and a shop on this machine, shown working and then measured.

stage.py    what is set up, step by step, by the tools a user has: kubectl, Helm, `tulle`
figures.py  what was seen, as figures, and the claims they must meet (pure)
forward.py a pod asked as a person would, by port-forward
show.py     how it is told: progress, the table, what to try next
"""
