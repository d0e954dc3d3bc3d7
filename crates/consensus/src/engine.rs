//! Between the engine's types and ours. Its protobuf types are plain structs here: nothing is ever parsed into them.

use raft::CAMPAIGN_TRANSFER;
use raft::eraftpb::{Entry as EngineEntry, EntryType, Message as EngineMessage, MessageType};
use steadfast_store::log::{Entry, Kind};
use steadfast_store::meta::Fence;
use steadfast_types::{LogIndex, LogOffset, Position, Term};

use crate::message::{Append, Body, Card, Message};

pub(crate) fn entry_from_engine(entry: EngineEntry) -> Entry {
    let kind = match entry.get_entry_type() {
        EntryType::EntryNormal if entry.data.is_empty() => Kind::Leader,
        EntryType::EntryNormal => Kind::Batch,
        EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => Kind::Membership,
    };
    Entry { index: LogIndex::new(entry.index), term: Term::new(entry.term), kind, payload: entry.data }
}

pub(crate) fn entry_to_engine(entry: Entry) -> EngineEntry {
    let mut out = EngineEntry { index: entry.index.get(), term: entry.term.get(), ..EngineEntry::default() };
    out.data = entry.payload;
    if entry.kind == Kind::Membership {
        out.set_entry_type(EntryType::EntryConfChangeV2);
    }
    out
}

/// The message for a peer, None for what we do not send. `place_of` knows where the entries it holds lie; `last` and
/// `fence` are this replica's, `card` is for that peer.
pub(crate) fn message_from_engine(
    m: EngineMessage,
    (last, fence): (Position, Option<Fence>),
    card: Card,
    place_of: impl Fn(u64) -> Option<LogOffset>,
) -> Option<Message> {
    let commit = LogIndex::new(m.commit);
    let position = |index, term| Position { index: LogIndex::new(index), term: Term::new(term) };
    let read = m.context.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
    let (from, to, term, kind) = (m.from, m.to, Term::new(m.term), m.get_msg_type());
    let body = match kind {
        MessageType::MsgAppend => {
            let at = match m.entries.first() {
                Some(first) => place_of(first.index)?,
                None => LogOffset::ZERO,
            };
            let previous = position(m.index, m.log_term);
            let entries = m.entries.into_iter().map(entry_from_engine).collect();
            Body::Append(Append { previous, commit, at, entries })
        }
        MessageType::MsgAppendResponse => Body::AppendResponse {
            index: LogIndex::new(m.index),
            commit,
            rejected: m.reject.then(|| position(m.reject_hint, m.log_term)),
        },
        MessageType::MsgRequestVote | MessageType::MsgRequestPreVote => Body::RequestVote {
            pre: kind == MessageType::MsgRequestPreVote,
            last: position(m.index, m.log_term),
            commit: position(m.commit, m.commit_term),
            transfer: *m.context == *CAMPAIGN_TRANSFER,
        },
        MessageType::MsgRequestVoteResponse | MessageType::MsgRequestPreVoteResponse => Body::VoteResponse {
            pre: kind == MessageType::MsgRequestPreVoteResponse,
            granted: !m.reject,
            commit: position(m.commit, m.commit_term),
            last,
            fence,
        },
        MessageType::MsgHeartbeat => Body::Heartbeat { commit, read },
        MessageType::MsgHeartbeatResponse => Body::HeartbeatResponse { commit, read },
        MessageType::MsgTimeoutNow => Body::TimeoutNow,
        // A proposal or a read is never passed on to the leader: it would be stamped for another log's end. Snapshots
        // are not sent yet.
        _ => return None,
    };
    Some(Message { from, to, term, card, body })
}

/// None for what the engine knows nothing of.
pub(crate) fn message_to_engine(message: Message) -> Option<EngineMessage> {
    let Message { from, to, term, body, .. } = message;
    let mut m = EngineMessage { from, to, term: term.get(), ..EngineMessage::default() };
    let context = |read: Option<u64>| read.map(|read| read.to_be_bytes().to_vec().into()).unwrap_or_default();
    match body {
        Body::Append(Append { previous, commit, entries, .. }) => {
            m.set_msg_type(MessageType::MsgAppend);
            (m.index, m.log_term, m.commit) = (previous.index.get(), previous.term.get(), commit.get());
            m.entries = entries.into_iter().map(entry_to_engine).collect();
        }
        Body::AppendResponse { index, commit, rejected } => {
            m.set_msg_type(MessageType::MsgAppendResponse);
            (m.index, m.commit) = (index.get(), commit.get());
            if let Some(hint) = rejected {
                (m.reject, m.reject_hint, m.log_term) = (true, hint.index.get(), hint.term.get());
            }
        }
        Body::RequestVote { pre, last, commit, transfer } => {
            let kinds = [MessageType::MsgRequestVote, MessageType::MsgRequestPreVote];
            m.set_msg_type(kinds[usize::from(pre)]);
            (m.index, m.log_term) = (last.index.get(), last.term.get());
            (m.commit, m.commit_term) = (commit.index.get(), commit.term.get());
            if transfer {
                m.context = CAMPAIGN_TRANSFER.into();
            }
        }
        Body::VoteResponse { pre, granted, commit, .. } => {
            let kinds = [MessageType::MsgRequestVoteResponse, MessageType::MsgRequestPreVoteResponse];
            m.set_msg_type(kinds[usize::from(pre)]);
            (m.reject, m.commit, m.commit_term) = (!granted, commit.index.get(), commit.term.get());
        }
        Body::Heartbeat { commit, read } => {
            m.set_msg_type(MessageType::MsgHeartbeat);
            (m.commit, m.context) = (commit.get(), context(read));
        }
        Body::HeartbeatResponse { commit, read } => {
            m.set_msg_type(MessageType::MsgHeartbeatResponse);
            (m.commit, m.context) = (commit.get(), context(read));
        }
        Body::TimeoutNow => m.set_msg_type(MessageType::MsgTimeoutNow),
        Body::Inquiry { .. } | Body::Standing { .. } => return None,
        Body::LogRequest { .. } | Body::LogPart { .. } => return None,
    }
    Some(m)
}
