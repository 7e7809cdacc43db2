"""The messages a sidecar reads, in a pool of their own: the contract's (`meshapi.protos`) are two and a half times as many.

In: `messages.binpb`, made by `make messages` out of the contract and of what the decoders have words for. Out: `message`, `unpack`. Nothing that is
set is missed for it: a message that is read has all of its fields; one that no decoder reads has lost them, and whoever sets it is refused by
the name of the field it stands in, as ever (`watched`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from meshapi.protos import Messages

READ: Final = Messages(Path(__file__).with_name("messages.binpb"))
message = READ.message
unpack = READ.unpack
from_dict = READ.from_dict
