"""ClusterIPs: every Service that wants one gets one of its own, and keeps it.

In: a Service, changed in place, and the Services there are. Out: nothing else. Refuses an address that is taken or out of the range.
"""

from __future__ import annotations

import ipaddress

from devcluster.api.errors import Object, invalid

RANGE = ipaddress.IPv4Network("10.96.0.0/16")
DNS = "10.96.0.10"
API = "10.96.0.1"
_KEPT_FREE = frozenset({DNS, API})


class Addresses:
    """Hands out the addresses of the service range in turn, so one that was given back rests a while."""

    def __init__(self) -> None:
        self._last = 256

    def assign(self, service: Object, old: Object | None, others: list[Object]) -> None:
        """Give a Service its address; raises StatusError(422)."""
        spec = service["spec"]
        if spec.get("type") == "ExternalName":
            spec.pop("clusterIP", None)
            spec.pop("clusterIPs", None)
            return
        before = (old or {}).get("spec", {}).get("clusterIP")
        wanted = spec.get("clusterIP") or before
        if before and wanted != before:
            raise self._refuse(service, f'Invalid value: "{wanted}": field is immutable')
        if not wanted:
            wanted = self._next({other["spec"].get("clusterIP", "") for other in others})
        elif wanted != "None" and not before:
            self._check(service, wanted, others)
        spec["clusterIP"] = wanted
        spec["clusterIPs"] = [wanted]

    def _check(self, service: Object, wanted: str, others: list[Object]) -> None:
        try:
            inside = ipaddress.ip_address(wanted) in RANGE
        except ValueError:
            raise self._refuse(service, f'Invalid value: "{wanted}": must be empty, "None" or an IP address') from None
        if not inside:
            raise self._refuse(service, f'Invalid value: "{wanted}": the provided IP is not in the range {RANGE}')
        if any(other["spec"].get("clusterIP") == wanted for other in others):
            said = f'Invalid value: "{wanted}": failed to allocate IP {wanted}: provided IP is already allocated'
            raise self._refuse(service, said)

    def _next(self, taken: set[str]) -> str:
        for _ in range(RANGE.num_addresses):
            self._last = (self._last + 1) % (RANGE.num_addresses - 1) or 1
            address = str(RANGE[self._last])
            if address not in taken and address not in _KEPT_FREE:
                return address
        raise MemoryError(f"every address of {RANGE} is taken")

    @staticmethod
    def _refuse(service: Object, message: str) -> Exception:
        cause = {"reason": "FieldValueInvalid", "message": message, "field": "spec.clusterIPs"}
        return invalid("", "Service", service["metadata"].get("name", ""), [cause])
