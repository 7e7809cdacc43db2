"""`tulle-init`: the rules that lead a pod's TCP connections through its sidecar (D6). Runs once, as root, and ends.

settings.py   what is captured and what is not, from the command line
rules.py      settings to one nft transaction, pure
iptables.py   settings to iptables-restore input, for kernels or images without nft, pure
apply.py      runs nft or iptables, and looks whether the rules are there
"""
