"""The contract between the planes: the only package both of them import.

names.py     labels, annotations, ports, paths and environment names both sides agree on
identity.py  SPIFFE ids
addresses.py IP addresses as text, without a library for most
xds.py       xDS types in push order, and the grammar of resource names
protos.py    the private descriptor pool: Envoy's v3 messages and Tulle's own ca.proto
records.py   classes that are their fields, without code made for each
table.py     mappings that never change, whose next version costs what differs
ca.proto     certificate request and answer (built into descriptors.binpb by tools/gen_xds.py)
"""
