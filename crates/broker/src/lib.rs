//! The broker's services as one state machine without a runtime.
