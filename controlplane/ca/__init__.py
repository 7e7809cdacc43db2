"""The certificate authority of the mesh: who is asking, may they have that name, a chain for a day.

authority.py   pure: an issuer, a CSR and an identity in, a chain out
issuer.py      the issuer as it lies in a Secret: made by the leader, or brought by the user; roots that overlap
trial.py       an issuer is taken only after a leaf of it verified up to its own root
trust.py       follows that Secret and its trust bundle, and tells who depends on them
rootchange.py  another root, in stages: trusted everywhere, signed with, the old one dropped (pure)
changing.py    carries those stages on, by what the replicas say
tokens.py      who is asking: TokenReview, remembered briefly
access.py      who may call a method of ours, or the refusal with its gRPC status
service.py     the gRPC method Issue
serving.py     the control plane's own certificate, renewed at half its life without a restart
"""
