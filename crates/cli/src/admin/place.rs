//! The options `-b` and `-c`: one broker, or a whole cluster.

use clap::Args;

use super::cluster::{self, Broker, Cluster};

/// One broker or a cluster; one of them must be given.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Place {
    /// One broker, by its address
    #[arg(short = 'b', long = "brokerAddr", value_name = "HOST:PORT")]
    pub(super) broker: Option<String>,
    /// Every broker of a cluster (clusterList shows its name)
    #[arg(short = 'c', long = "clusterName", value_name = "CLUSTER")]
    pub(super) cluster: Option<String>,
}

impl Place {
    /// The broker, or the cluster's masters.
    pub(super) async fn masters(&self, cluster: &Cluster) -> anyhow::Result<Vec<Broker>> {
        Ok(match self.one() {
            Some(broker) => vec![broker],
            None => cluster::masters(&cluster.info().await?, self.cluster())?,
        })
    }

    /// The broker, or every replica of the cluster.
    pub(super) async fn replicas(&self, cluster: &Cluster) -> anyhow::Result<Vec<Broker>> {
        Ok(match self.one() {
            Some(broker) => vec![broker],
            None => {
                let replicas = cluster::replicas(&cluster.info().await?, self.cluster())?;
                replicas.into_iter().map(|(_, broker)| broker).collect()
            }
        })
    }

    fn one(&self) -> Option<Broker> {
        self.broker.as_ref().map(|addr| Broker { name: String::new(), addr: addr.trim().to_owned() })
    }

    fn cluster(&self) -> &str {
        self.cluster.as_deref().unwrap_or_default().trim()
    }
}
