//! What operators ask of a name server: write permissions of a broker, system topics, its configuration.

use bytes::Bytes;
use steadfast_wire::body::TopicList;
use steadfast_wire::code::response;
use steadfast_wire::header::Header;
use steadfast_wire::headers::{AddWritePermResponse, WipeWritePermResponse, WritePermOfBroker};

use crate::handler::{Answer, Refusal, done, with_body};
use crate::route_table::TopicFlags;
use crate::{Namesrv, Response};

/// Settings that RocketMQ's name servers refuse to change (its `configBlackList`).
const NEVER_CHANGED: [&str; 3] = ["configBlackList", "configStorePath", "kvConfigPath"];

impl Namesrv {
    /// WIPE_WRITE_PERM_OF_BROKER: producers leave the broker as their routes are renewed. It lasts until the broker's
    /// topics change, and concerns this name server alone.
    pub(crate) fn wipe_write_perm(&mut self, header: &Header<'_>) -> Answer {
        let WritePermOfBroker { broker_name } = WritePermOfBroker::decode(&header.ext)?;
        let mut answer = done();
        WipeWritePermResponse { topics: self.routes.set_writable(&broker_name, false) as i32 }
            .encode(&mut answer.header.ext);
        Ok(answer)
    }

    /// ADD_WRITE_PERM_OF_BROKER: the contrary.
    pub(crate) fn add_write_perm(&mut self, header: &Header<'_>) -> Answer {
        let WritePermOfBroker { broker_name } = WritePermOfBroker::decode(&header.ext)?;
        let mut answer = done();
        AddWritePermResponse { topics: self.routes.set_writable(&broker_name, true) as i32 }
            .encode(&mut answer.header.ext);
        Ok(answer)
    }

    /// GET_SYSTEM_TOPIC_LIST_FROM_NS: clusters and brokers are topics too; a broker knows the others.
    pub(crate) fn system_topics(&self) -> Response {
        let info = self.routes.cluster_info();
        let broker = info.broker_addr_table.values().find_map(|broker| broker.broker_addrs.values().next());
        let broker_addr = broker.cloned();
        let clusters = info.cluster_addr_table.into_iter();
        let topic_list = clusters.flat_map(|(cluster, brokers)| [vec![cluster], brokers].concat()).collect();
        with_body(&TopicList { broker_addr, topic_list })
    }

    pub(crate) fn topics_with_flags(&self, wanted: impl Fn(TopicFlags) -> bool) -> Response {
        with_body(&TopicList { broker_addr: None, topic_list: self.routes.topics_with_flags(wanted) })
    }

    /// GET_NAMESRV_CONFIG: RocketMQ's properties text.
    pub(crate) fn config(&self) -> Response {
        let lines: Vec<_> = self.shown_config.iter().map(|(key, value)| format!("{key}={value}")).collect();
        Response { body: Bytes::from(lines.join("\n")), ..done() }
    }

    /// UPDATE_NAMESRV_CONFIG: nothing can change while it runs, so only what is the case already is taken.
    pub(crate) fn update_config(&self, body: &[u8]) -> Answer {
        let text = String::from_utf8_lossy(body);
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            let (key, value) = (key.trim(), value.trim());
            if NEVER_CHANGED.contains(&key) {
                let remark = "Can not update config in black list.";
                return Err(Refusal::new(response::NO_PERMISSION, remark));
            }
            if !self.shown_config.iter().any(|(k, v)| k == key && v == value) {
                let remark = format!(
                    "{key} cannot be changed while the name server runs; set it in the configuration file and restart"
                );
                return Err(Refusal::new(response::SYSTEM_ERROR, remark));
            }
        }
        Ok(done())
    }
}
