//! One method for each request code: header and body in, answer out.

use bytes::Bytes;
use steadfast_wire::body::{Body, BodyError, DataVersion, KVTable, RegisterBrokerBody, TopicList};
use steadfast_wire::code::response;
use steadfast_wire::header::{ExtFields, Header, HeaderError};
use steadfast_wire::headers::{
    DeleteKvConfig, GetKvConfig, GetKvConfigResponse, GetKvList, GetRouteInfo, GetTopicsByCluster,
    PutKvConfig, RegisterBroker, RegisterBrokerResponse, UnregisterBroker,
};

use crate::route_table::{ConnId, DEFAULT_LIFETIME_MS, Registration, Rejected, Source};
use crate::{Namesrv, ORDER_TOPIC_CONFIG, Response};

/// A request that is not done: response code and text.
pub(crate) struct Refusal {
    code: i32,
    remark: String,
}

impl Refusal {
    pub(crate) fn new(code: i32, remark: impl Into<String>) -> Self {
        Refusal { code, remark: remark.into() }
    }

    pub(crate) fn into_response(self) -> Response {
        Response { header: Header::response(self.code, 0).with_remark(self.remark), body: Bytes::new() }
    }
}

impl From<HeaderError> for Refusal {
    fn from(error: HeaderError) -> Self {
        Refusal::new(response::SYSTEM_ERROR, error.to_string())
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        Refusal::new(response::SYSTEM_ERROR, error.to_string())
    }
}

impl From<Rejected> for Refusal {
    fn from(rejected: Rejected) -> Self {
        Refusal::new(response::SYSTEM_ERROR, rejected.to_string())
    }
}

pub(crate) type Answer = Result<Response, Refusal>;

pub(crate) fn done() -> Response {
    Response { header: Header::response(response::SUCCESS, 0), body: Bytes::new() }
}

pub(crate) fn with_body(body: &impl Body) -> Response {
    Response { body: body.encode().into(), ..done() }
}

impl Namesrv {
    /// Both JSON dialects that clients ask for are served by quoted keys, which every client reads.
    pub(crate) fn route_of_topic(&self, header: &Header<'_>) -> Answer {
        let GetRouteInfo { topic, .. } = GetRouteInfo::decode(&header.ext)?;
        let Some(mut route) = self.routes.route(&topic) else {
            return Err(Refusal::new(response::TOPIC_NOT_EXIST, self.why_no_route(&topic)));
        };
        route.order_topic_conf = self.settings.get(ORDER_TOPIC_CONFIG, &topic).cloned();
        Ok(with_body(&route))
    }

    fn why_no_route(&self, topic: &str) -> String {
        let why = if self.routes.is_empty() {
            "no broker is registered here; start one, or check its namesrvAddr"
        } else {
            "no registered broker has it; create it (mqadmin updateTopic -c CLUSTER -t TOPIC), or send to it with \
             autoCreateTopicEnable=true on the broker"
        };
        format!("No topic route info in name server for the topic: {topic}: {why}")
    }

    pub(crate) fn register_broker(
        &mut self,
        now: u64,
        conn: ConnId,
        header: &Header<'_>,
        body: &[u8],
    ) -> Answer {
        let request = RegisterBroker::decode(&header.ext)?;
        let crc32 = (crc32fast::hash(body) & 0x7FFF_FFFF) as i32;
        if request.body_crc32 != 0 && request.body_crc32 != crc32 {
            return Err(Refusal::new(
                response::SYSTEM_ERROR,
                "crc32 not match: the body was damaged on its way",
            ));
        }
        let RegisterBrokerBody { topic_config_serialize_wrapper: topics, .. } = match body {
            [] => RegisterBrokerBody::default(),
            body => RegisterBrokerBody::decode_registration(body, request.compressed)?,
        };
        let lifetime = request.heartbeat_timeout_millis.and_then(|millis| u64::try_from(millis).ok());
        let lifetime_ms = lifetime.filter(|millis| *millis > 0).unwrap_or(DEFAULT_LIFETIME_MS);
        let registration = Registration {
            cluster: request.cluster_name.into_owned(),
            broker_name: request.broker_name.clone().into_owned(),
            broker_id: request.broker_id,
            addr: request.broker_addr.into_owned(),
            ha_addr: request.ha_server_addr.into_owned(),
            enable_acting_master: request.enable_acting_master.unwrap_or(false),
            topics: topics.topic_config_table,
            version: topics.data_version,
            source: Source::Remote { conn, lifetime_ms },
        };
        self.routes.register(now, registration)?;
        Ok(self.registered(&request.broker_name, request.broker_id))
    }

    /// Tells a slave its master, and everybody the ordered topics.
    fn registered(&self, broker_name: &str, broker_id: i64) -> Response {
        let mut answer = match self.settings.namespace(ORDER_TOPIC_CONFIG) {
            Some(ordered) => with_body(&KVTable { table: ordered.clone() }),
            None => done(),
        };
        let master = self.routes.master(broker_name).filter(|_| broker_id != 0);
        let (master_addr, ha_server_addr) = master.unzip();
        RegisterBrokerResponse {
            ha_server_addr: ha_server_addr.map(|addr| addr.to_owned().into()),
            master_addr: master_addr.map(|addr| addr.to_owned().into()),
        }
        .encode(&mut answer.header.ext);
        answer
    }

    pub(crate) fn unregister_broker(&mut self, header: &Header<'_>) -> Answer {
        let request = UnregisterBroker::decode(&header.ext)?;
        self.routes.unregister(&request.broker_name, request.broker_id, &request.broker_addr);
        Ok(done())
    }

    /// Lets a broker skip a registration that would say nothing new; counts as a sign of life.
    pub(crate) fn query_data_version(&mut self, now: u64, header: &Header<'_>, body: &[u8]) -> Answer {
        let request = UnregisterBroker::decode(&header.ext)?;
        let offered = DataVersion::decode(body)?;
        let held = self.routes.heard(now, &request.broker_name, &request.broker_addr);
        let mut answer = held.map_or_else(done, |held| with_body(&held));
        let changed = held != Some(offered);
        answer.header.ext.push("changed", if changed { "true" } else { "false" });
        Ok(answer)
    }

    pub(crate) fn cluster_info(&self) -> Response {
        with_body(&self.routes.cluster_info())
    }

    pub(crate) fn all_topics(&self) -> Response {
        with_body(&TopicList { broker_addr: None, topic_list: self.routes.topics(None) })
    }

    pub(crate) fn topics_of_cluster(&self, header: &Header<'_>) -> Answer {
        let request = GetTopicsByCluster::decode(&header.ext)?;
        Ok(with_body(&TopicList {
            broker_addr: None,
            topic_list: self.routes.topics(Some(&request.cluster)),
        }))
    }

    pub(crate) fn delete_topic(&mut self, header: &Header<'_>) -> Answer {
        let GetRouteInfo { topic, .. } = GetRouteInfo::decode(&header.ext)?;
        let cluster = header.ext.get("clusterName").filter(|name| !name.is_empty());
        self.routes.delete_topic(&topic, cluster);
        Ok(done())
    }

    pub(crate) fn put_setting(&mut self, header: &Header<'_>) -> Answer {
        let PutKvConfig { namespace, key, value } = PutKvConfig::decode(&header.ext)?;
        self.settings.put(&namespace, &key, &value).map_err(not_kept)?;
        Ok(done())
    }

    pub(crate) fn get_setting(&self, header: &Header<'_>) -> Answer {
        let GetKvConfig { namespace, key } = GetKvConfig::decode(&header.ext)?;
        let Some(value) = self.settings.get(&namespace, &key) else {
            let remark = format!("No config item, Namespace: {namespace} Key: {key}");
            return Err(Refusal::new(response::QUERY_NOT_FOUND, remark));
        };
        let mut ext = ExtFields::default();
        GetKvConfigResponse { value: Some(value.clone().into()) }.encode(&mut ext);
        Ok(Response { header: Header { ext, ..done().header }, body: Bytes::new() })
    }

    pub(crate) fn delete_setting(&mut self, header: &Header<'_>) -> Answer {
        let DeleteKvConfig { namespace, key } = DeleteKvConfig::decode(&header.ext)?;
        self.settings.remove(&namespace, &key).map_err(not_kept)?;
        Ok(done())
    }

    pub(crate) fn settings_of_namespace(&self, header: &Header<'_>) -> Answer {
        let GetKvList { namespace } = GetKvList::decode(&header.ext)?;
        let Some(table) = self.settings.namespace(&namespace) else {
            let remark = format!("No config item, Namespace: {namespace}");
            return Err(Refusal::new(response::QUERY_NOT_FOUND, remark));
        };
        Ok(with_body(&KVTable { table: table.clone() }))
    }
}

fn not_kept(cause: String) -> Refusal {
    Refusal::new(response::SYSTEM_ERROR, format!("nothing was changed: {cause}"))
}
