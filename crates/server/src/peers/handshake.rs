//! Who is at the other end of a connection: asked and proven before anything else is said.
//!
//! ```text
//! who dials                                             who accepts
//! HELLO      group, from, to, a nonce ──────────────▶   is this for me?
//! is this who I dialed?   ◀──────────────  CHALLENGE    group, from, to, a nonce
//! PROOF      HMAC of all that was said ─────────────▶   does it know the secret?
//! does it know the secret?   ◀─────────────  WELCOME    HMAC of all that was said
//! messages (`consensus::encode`) ───────────────────▶
//! ```
//!
//! At any point who accepts may answer REFUSAL instead and close, later for a message that it does not take, too. All
//! of these have one form, numbers in network byte order:
//!
//! ```text
//!  0 u64 magic | 8 u16 version | 10 u8 kind | 11 u8 detail | 12 u32 zero
//! 16 u64 group identity | 24 u64 from | 32 u64 to | 40 32 bytes: a nonce, a proof, or zeroes        72 bytes in all
//! ```
//!
//! *detail* of a refusal is its cause, of all others 1 if the sender has a secret. The form of a refusal, and of bytes 0
//! to 12 of everything, stays in later versions, so that servers of different versions can tell each other so.
//!
//! A proof is HMAC-SHA256, under the secret, of every byte that went either way before it. So it fits one connection
//! (both nonces are in it), one direction and one step (kind, from and to are). It cannot be replayed or reflected. Who
//! dials proves first: whoever can only connect gets nothing that a secret could be guessed from. Without a secret the
//! key is empty, and the proof shows that nothing was altered by accident.
//!
//! What follows on the connection is not authenticated: `docs/replication.md` says what that means.

use std::fmt;
use std::io;

use bytes::{Buf, BufMut};
use hmac::{Hmac, KeyInit, Mac};
use rustix::rand::{GetRandomFlags, getrandom};
use sha2::Sha256;
use steadfast_broker::Membership;
use steadfast_consensus::ReplicaId;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Place;
use super::refusal::Cause;

/// Bytes of each part of the handshake.
pub(super) const PART_LEN: usize = 72;
/// "SFREPLIC".
const MAGIC: u64 = 0x5346_5245_504C_4943;
const VERSION: u16 = 1;
/// What is the same in all versions.
const PRELUDE_LEN: usize = 12;
/// Where the nonce or the proof begins.
const TOKEN_AT: usize = 40;

type Token = [u8; 32];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Hello = 1,
    Challenge = 2,
    Proof = 3,
    Welcome = 4,
    Refusal = 5,
}

/// Who somebody says to be, and whom to look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    version: u16,
    group: u64,
    from: ReplicaId,
    to: ReplicaId,
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Claim { version, group, from, to } = *self;
        match version {
            VERSION => write!(
                f,
                "{} of group {group:#018x}, looking for {}",
                Membership::name(from),
                Membership::name(to)
            ),
            _ => write!(f, "of version {version}; this server knows {VERSION}"),
        }
    }
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    /// The connection ended.
    #[error("{}", lost(.0))]
    Lost(#[from] io::Error),
    /// This side takes the other one for somebody else, as far as it said who it is.
    #[error("{cause}")]
    Refuse {
        /// Why.
        cause: Cause,
        /// Who it says to be.
        claim: Option<Claim>,
    },
    /// The other side says that it will not talk to this one.
    #[error("it refuses this replica: {0}")]
    Refused(Cause),
}

fn lost(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "it closed the connection".to_owned(),
        _ => error.to_string(),
    }
}

struct Part {
    kind: u8,
    detail: u8,
    claim: Claim,
    /// All of it.
    bytes: [u8; PART_LEN],
}

/// Proves to whoever accepted `stream` who this replica is, and takes its proof to be `peer`.
pub(super) async fn dial<S>(stream: &mut S, place: &Place, peer: ReplicaId) -> Result<(), Failed>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut talk = Talk::new(stream, place);
    talk.say(Kind::Hello, peer, Some(nonce()?)).await?;
    let challenge = talk.hear(Kind::Challenge).await?;
    talk.check(&challenge, Some(peer))?;
    talk.say(Kind::Proof, peer, None).await?;
    let welcome = talk.hear(Kind::Welcome).await?;
    talk.check(&welcome, Some(peer))
}

/// Takes the proof of whoever dialed `stream`, and proves who this replica is. Returns who it is.
pub(super) async fn accept<S>(stream: &mut S, place: &Place) -> Result<ReplicaId, Failed>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut talk = Talk::new(stream, place);
    let hello = talk.hear(Kind::Hello).await?;
    talk.check(&hello, None)?;
    let peer = hello.claim.from;
    talk.say(Kind::Challenge, peer, Some(nonce()?)).await?;
    let proof = talk.hear(Kind::Proof).await?;
    talk.check(&proof, Some(peer))?;
    talk.say(Kind::Welcome, peer, None).await?;
    Ok(peer)
}

/// Tells the other side that it is refused.
pub(super) async fn refuse<S>(stream: &mut S, place: &Place, cause: Cause) -> io::Result<()>
where
    S: AsyncWrite + Unpin,
{
    stream.write_all(&encode(place, Kind::Refusal, cause as u8, 0)).await?;
    stream.shutdown().await
}

/// Waits for a refusal, which is all that whoever accepted ever says after the handshake. Returns at its end, too.
pub(super) async fn until_refused<S>(stream: &mut S) -> Failed
where
    S: AsyncRead + Unpin,
{
    match read(stream).await {
        Ok(part) => part.unexpected(),
        Err(failed) => failed,
    }
}

/// A handshake on its way: what was said so far.
struct Talk<'a, S> {
    stream: &'a mut S,
    place: &'a Place,
    said: Hmac<Sha256>,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Talk<'a, S> {
    fn new(stream: &'a mut S, place: &'a Place) -> Self {
        let key = place.secret.as_ref().map_or(&[][..], |secret| secret.bytes());
        let said = Hmac::new_from_slice(key).expect("HMAC takes keys of any length");
        Talk { stream, place, said }
    }

    /// Says the next part: with a nonce, or with the proof.
    async fn say(&mut self, kind: Kind, to: ReplicaId, nonce: Option<Token>) -> io::Result<()> {
        let mut part = encode(self.place, kind, self.place.secret.is_some().into(), to);
        self.said.update(&part[..TOKEN_AT]);
        let token = nonce.unwrap_or_else(|| self.said.clone().finalize().into_bytes().into());
        self.said.update(&token);
        part[TOKEN_AT..].copy_from_slice(&token);
        self.stream.write_all(&part).await
    }

    /// Hears the next part, and takes its proof if it has one.
    async fn hear(&mut self, kind: Kind) -> Result<Part, Failed> {
        let part = read(self.stream).await?;
        if part.kind != kind as u8 {
            return Err(part.unexpected());
        }
        let (fields, token) = part.bytes.split_at(TOKEN_AT);
        self.said.update(fields);
        let is_proof = matches!(kind, Kind::Proof | Kind::Welcome);
        if is_proof && self.said.clone().verify_slice(token).is_err() {
            return Err(part.refused_for(Cause::OtherSecret));
        }
        self.said.update(token);
        Ok(part)
    }

    /// Whether the other one is of this group, looks for this replica, and is `peer`, or any other of the group.
    fn check(&self, part: &Part, peer: Option<ReplicaId>) -> Result<(), Failed> {
        let (place, claim) = (self.place, part.claim);
        let cause = match (part.detail != 0, place.secret.is_some()) {
            (false, true) => Cause::NoSecret,
            (true, false) => Cause::NeedsNoSecret,
            _ if claim.group != place.group => Cause::Group,
            _ if claim.to != place.me => Cause::WrongReplica,
            _ if !place.others.contains_key(&claim.from) => Cause::NoMember,
            _ if peer.is_some_and(|peer| peer != claim.from) => Cause::WrongReplica,
            _ => return Ok(()),
        };
        Err(part.refused_for(cause))
    }
}

impl Part {
    /// What it means where another kind was to come.
    fn unexpected(&self) -> Failed {
        match self.kind {
            kind if kind == Kind::Refusal as u8 => Failed::Refused(Cause::of(self.detail)),
            _ => self.refused_for(Cause::Malformed),
        }
    }

    fn refused_for(&self, cause: Cause) -> Failed {
        Failed::Refuse { cause, claim: Some(self.claim) }
    }
}

fn encode(place: &Place, kind: Kind, detail: u8, to: ReplicaId) -> [u8; PART_LEN] {
    let mut part = [0; PART_LEN];
    let mut fields = &mut part[..];
    fields.put_u64(MAGIC);
    fields.put_u16(VERSION);
    fields.put_u8(kind as u8);
    fields.put_u8(detail);
    fields.put_u32(0);
    fields.put_u64(place.group);
    fields.put_u64(place.me);
    fields.put_u64(to);
    part
}

/// Reads one part. What does not begin like one is not waited for.
async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Part, Failed> {
    let mut bytes = [0; PART_LEN];
    stream.read_exact(&mut bytes[..PRELUDE_LEN]).await?;
    let mut prelude = &bytes[..PRELUDE_LEN];
    if prelude.get_u64() != MAGIC {
        return Err(Failed::Refuse { cause: Cause::NotAReplica, claim: None });
    }
    let (version, kind, detail) = (prelude.get_u16(), prelude.get_u8(), prelude.get_u8());
    if version != VERSION && kind != Kind::Refusal as u8 {
        let claim = Claim { version, group: 0, from: 0, to: 0 };
        return Err(Failed::Refuse { cause: Cause::Version, claim: Some(claim) });
    }
    stream.read_exact(&mut bytes[PRELUDE_LEN..]).await?;
    let mut fields = &bytes[16..];
    let claim = Claim { version, group: fields.get_u64(), from: fields.get_u64(), to: fields.get_u64() };
    Ok(Part { kind, detail, claim, bytes })
}

fn nonce() -> io::Result<Token> {
    let mut nonce = Token::default();
    let filled = getrandom(&mut nonce[..], GetRandomFlags::empty())?;
    if filled < nonce.len() {
        return Err(io::Error::other("the system gave fewer random bytes than were asked for"));
    }
    Ok(nonce)
}
