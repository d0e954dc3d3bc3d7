//! The name server: who serves which topic. A state machine without clock, socket or file; brokers register every
//! 30 s, and what is not registered again is forgotten ([`RouteTable`]). Only [`Settings`] outlive the process.
//!
//! [`Namesrv::handle`] answers one decoded request. Name servers do not talk to each other: a broker registers
//! with each of them, and a client asks any one.

mod handler;
mod operator;
mod route_table;
mod settings;

use bytes::Bytes;
use steadfast_wire::code::{request, response};
use steadfast_wire::header::Header;

pub use route_table::{
    ConnId, DEFAULT_LIFETIME_MS, Displaced, Gone, Registration, Rejected, RouteTable, Source,
};
pub use settings::{Keeper, Settings};

/// Namespace of the settings that give a topic a fixed order of queues (RocketMQ's `NamesrvUtil`).
pub const ORDER_TOPIC_CONFIG: &str = "ORDER_TOPIC_CONFIG";

/// An answer, to be framed in the serialize type of its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The header, with the request's id.
    pub header: Header<'static>,
    /// The body; empty for none.
    pub body: Bytes,
}

/// The state of a name server.
#[derive(Debug, Default)]
pub struct Namesrv {
    /// Brokers and their topics.
    pub routes: RouteTable,
    settings: Settings,
    /// What GET_NAMESRV_CONFIG shows, by key.
    shown_config: Vec<(String, String)>,
}

impl Namesrv {
    /// A name server that knows nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// A name server with settings that were kept, which shows this configuration.
    pub fn with(settings: Settings, shown_config: Vec<(String, String)>) -> Self {
        Self { settings, shown_config, ..Self::default() }
    }

    /// Answers a request that came over the connection `conn` at `now` (milliseconds that never go back).
    /// The caller drops the answer to a oneway request.
    pub fn handle(&mut self, now: u64, conn: ConnId, header: &Header<'_>, body: &[u8]) -> Response {
        let answered = match header.code {
            request::GET_ROUTEINFO_BY_TOPIC => self.route_of_topic(header),
            request::REGISTER_BROKER => self.register_broker(now, conn, header, body),
            request::UNREGISTER_BROKER => self.unregister_broker(header),
            request::QUERY_DATA_VERSION => self.query_data_version(now, header, body),
            request::GET_BROKER_CLUSTER_INFO => Ok(self.cluster_info()),
            request::GET_ALL_TOPIC_LIST_FROM_NAMESERVER => Ok(self.all_topics()),
            request::GET_TOPICS_BY_CLUSTER => self.topics_of_cluster(header),
            request::GET_SYSTEM_TOPIC_LIST_FROM_NS => Ok(self.system_topics()),
            request::GET_UNIT_TOPIC_LIST => Ok(self.topics_with_flags(|flags| flags.unit)),
            request::GET_HAS_UNIT_SUB_TOPIC_LIST => Ok(self.topics_with_flags(|flags| flags.unit_sub)),
            request::GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST => {
                Ok(self.topics_with_flags(|flags| flags.unit_sub && !flags.unit))
            }
            request::WIPE_WRITE_PERM_OF_BROKER => self.wipe_write_perm(header),
            request::ADD_WRITE_PERM_OF_BROKER => self.add_write_perm(header),
            request::GET_NAMESRV_CONFIG => Ok(self.config()),
            request::UPDATE_NAMESRV_CONFIG => self.update_config(body),
            request::DELETE_TOPIC_IN_NAMESRV => self.delete_topic(header),
            request::PUT_KV_CONFIG => self.put_setting(header),
            request::GET_KV_CONFIG => self.get_setting(header),
            request::DELETE_KV_CONFIG => self.delete_setting(header),
            request::GET_KVLIST_BY_NAMESPACE => self.settings_of_namespace(header),
            code => Err(handler::Refusal::new(
                response::REQUEST_CODE_NOT_SUPPORTED,
                format!("request type {code} ({}) not supported by the name server", request::name(code)),
            )),
        };
        let mut answer = answered.unwrap_or_else(handler::Refusal::into_response);
        answer.header.opaque = header.opaque;
        answer
    }

    /// A broker in this process registers: like REGISTER_BROKER, but complete, so that topics it does not name
    /// are gone.
    pub fn register(&mut self, now: u64, registration: Registration) -> Result<(), Rejected> {
        self.routes.register(now, registration)
    }

    /// Forgets the brokers that registered over this connection.
    pub fn disconnected(&mut self, conn: ConnId) -> Vec<Gone> {
        self.routes.disconnected(conn)
    }

    /// Forgets the brokers that have been silent for too long; to be called every few seconds.
    pub fn expire(&mut self, now: u64) -> Vec<Gone> {
        self.routes.expire(now)
    }
}
