"""The retries a policy gives one request, counted against the policy and against what the cluster may have at once.

In: a policy and a circuit, when a try has failed. Out: `flags.NONE`, or why not, as the flag of the request's record. Made when a try
fails for the first time.
"""

from __future__ import annotations

from dataplane.config import RetryPolicy
from dataplane.tables.endpoints import Circuit
from dataplane.telemetry import flags


class Retries:
    """How many there were, and whether the request is one of the cluster's now."""

    __slots__ = ("_circuit", "made", "unseen")

    def __init__(self) -> None:
        self.made = 0
        """By policy."""
        self.unseen = 0
        """Without, because no app had seen the request."""
        self._circuit: Circuit | None = None
        """Where it counts as one of the cluster's."""

    def ask(self, policy: RetryPolicy | None, circuit: Circuit) -> int:
        """Ask for another try, by a policy or without: `flags.NONE`, or why not."""
        if policy is not None and self.made >= policy.attempts:
            return flags.RETRIES_EXCEEDED
        if self._circuit is None:
            if not circuit.may_retry():
                return flags.OVERFLOW
            circuit.retries += 1
            self._circuit = circuit
        self.made += policy is not None
        self.unseen += policy is None
        return flags.NONE

    def give_back(self) -> None:
        """Be none of the cluster's any more."""
        if self._circuit is not None:
            self._circuit.retries -= 1
            self._circuit = None
