//! What worlds a run simulates: a server with its clients, or a group of replicas.

use std::fmt;

use crate::cluster::ClusterAim;
use crate::plan::Aim;

/// A kind of world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// One server and its clients.
    Server(Aim),
    /// Three or five replicas of one log.
    Cluster(ClusterAim),
    /// Three or five replicas of a broker, and its clients.
    Brokers(ClusterAim),
}

impl Default for Scenario {
    fn default() -> Self {
        Self::Server(Aim::Anything)
    }
}

impl From<Aim> for Scenario {
    fn from(aim: Aim) -> Self {
        Self::Server(aim)
    }
}

impl From<ClusterAim> for Scenario {
    fn from(aim: ClusterAim) -> Self {
        Self::Cluster(aim)
    }
}

/// As arguments of the command.
impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(Aim::Anything) => Ok(()),
            Self::Server(aim) => write!(f, " --aim {aim}"),
            Self::Cluster(ClusterAim::Anything) => f.write_str(" --cluster"),
            Self::Cluster(aim) => write!(f, " --cluster --aim {aim}"),
            Self::Brokers(ClusterAim::Anything) => f.write_str(" --brokers"),
            Self::Brokers(aim) => write!(f, " --brokers --aim {aim}"),
        }
    }
}

/// The aim of this name; all names if there is none.
pub(crate) fn aim_named<A: Copy>(all: &[A], name: fn(A) -> &'static str, text: &str) -> Result<A, String> {
    let found = all.iter().copied().find(|aim| name(*aim) == text);
    found.ok_or_else(|| all.iter().map(|aim| name(*aim)).collect::<Vec<_>>().join(", "))
}
