//! The loss oracle: a ledger of what was sent, acknowledged and delivered, and the invariants checked against it.
