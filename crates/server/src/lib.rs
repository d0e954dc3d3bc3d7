//! The server process: roles, configuration, real disk, clock and network.
