//! Options that many commands have: `-b` and `-c` for one broker or a whole cluster, and those that are true or false.

use clap::Args;

use super::cluster::{self, Broker, Cluster};

/// One broker or a cluster; one of them must be given. Of both, the broker counts, as in RocketMQ's tool.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(super) struct Place {
    /// One broker, by its address
    #[arg(short = 'b', long = "brokerAddr", value_name = "HOST:PORT")]
    broker: Option<String>,
    /// Every broker of a cluster (clusterList shows its name)
    #[arg(short = 'c', long = "clusterName", value_name = "CLUSTER")]
    cluster: Option<String>,
}

impl Place {
    /// The broker, or the cluster's masters.
    pub(super) async fn masters(&self, cluster: &Cluster) -> anyhow::Result<Vec<Broker>> {
        Ok(match self.one() {
            Some(broker) => vec![broker],
            None => cluster::masters(&cluster.info().await?, self.whole_cluster().unwrap_or_default())?,
        })
    }

    /// The broker, or every replica of the cluster.
    pub(super) async fn replicas(&self, cluster: &Cluster) -> anyhow::Result<Vec<Broker>> {
        Ok(match self.one() {
            Some(broker) => vec![broker],
            None => {
                let name = self.whole_cluster().unwrap_or_default();
                let replicas = cluster::replicas(&cluster.info().await?, name)?;
                replicas.into_iter().map(|(_, broker)| broker).collect()
            }
        })
    }

    fn one(&self) -> Option<Broker> {
        self.broker.as_ref().map(|addr| Broker { name: String::new(), addr: addr.trim().to_owned() })
    }

    /// The cluster, if not one broker is meant.
    pub(super) fn whole_cluster(&self) -> Option<&str> {
        self.cluster.as_deref().filter(|_| self.broker.is_none()).map(str::trim)
    }
}

/// Reads true or false, in any case as Java does; anything else is none of them.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text.trim() {
        text if text.eq_ignore_ascii_case("true") => Ok(true),
        text if text.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err("it must be true or false".to_owned()),
    }
}
