//! Requests from the broker to its clients, over the connections that they opened, and the answers to them.

use std::collections::BTreeMap;

use bytes::Bytes;
use steadfast_wire::code::response;
use steadfast_wire::header::ExtFields;

use super::relay::Asked;
use crate::broker::{Broker, Out};
use crate::io::{Call, CallAnswer, ConnId, Now};
use crate::reply::Reply;

/// Names an open call: the connection and the call's id on it.
type CallId = (ConnId, i32);

/// A call that waits for its answer.
#[derive(Debug)]
struct Open {
    asked: Asked,
    /// Ticks at which it has waited long enough.
    deadline: u64,
}

/// Calls under way.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    last: i32,
    open: BTreeMap<CallId, Open>,
}

impl Calls {
    /// Ticks at which the first of them has waited long enough.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.open.values().map(|open| open.deadline).min()
    }

    /// A call that wants no answer.
    pub(super) fn oneway(&mut self, code: i32, ext: ExtFields<'static>, body: Bytes) -> Call {
        Call { opaque: self.number(), code, oneway: true, ext, body }
    }

    /// A call whose answer, or the lack of one at `deadline`, goes to whoever asked.
    pub(super) fn ask(
        &mut self,
        conn: ConnId,
        (code, ext, body): (i32, ExtFields<'static>, Bytes),
        asked: Asked,
        deadline: u64,
    ) -> Call {
        let opaque = self.number();
        self.open.insert((conn, opaque), Open { asked, deadline });
        Call { opaque, code, oneway: false, ext, body }
    }

    fn number(&mut self) -> i32 {
        self.last = self.last.wrapping_add(1);
        self.last
    }

    fn take(&mut self, gone: impl Fn(&CallId, &Open) -> bool) -> Vec<Asked> {
        let gone: Vec<CallId> =
            self.open.iter().filter(|(id, open)| gone(id, open)).map(|(id, _)| *id).collect();
        gone.iter().filter_map(|id| self.open.remove(id)).map(|open| open.asked).collect()
    }
}

impl Broker {
    /// A client answered a call. An answer that nobody waits for, any more or ever, is dropped.
    pub(crate) fn call_answered(&mut self, conn: ConnId, answer: CallAnswer, out: &mut Out<'_>) {
        if let Some(open) = self.calls.open.remove(&(conn, answer.opaque)) {
            let CallAnswer { code, remark, body, .. } = answer;
            let reply = Reply { code, remark: remark.map(Into::into), body: vec![body], ..Reply::ok() };
            self.answered(open.asked, reply, out);
        }
    }

    /// Calls over a connection that is gone have failed.
    pub(crate) fn drop_calls(&mut self, conn: ConnId, out: &mut Out<'_>) {
        for asked in self.calls.take(|(of, _), _| *of == conn) {
            let remark = format!("{asked} disconnected before it answered");
            self.answered(asked, Reply::error(response::SYSTEM_ERROR, remark), out);
        }
    }

    /// Calls that have waited long enough have failed.
    pub(crate) fn expire_calls(&mut self, now: Now, out: &mut Out<'_>) {
        for asked in self.calls.take(|_, open| open.deadline <= now.ticks) {
            let remark = format!("{asked} Timeout: it did not answer");
            self.answered(asked, Reply::error(response::CONSUME_MSG_TIMEOUT, remark), out);
        }
    }
}
