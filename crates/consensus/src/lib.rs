//! One Raft group whose log is the message log.
