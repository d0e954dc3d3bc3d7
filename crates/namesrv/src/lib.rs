//! The name server's route table.
