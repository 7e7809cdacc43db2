"""One module a command: it reads its arguments, asks, and tells; what several need is in the package above."""
