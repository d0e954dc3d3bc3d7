//! Connections that speak the remoting protocol, on tokio.
