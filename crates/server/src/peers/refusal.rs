//! Why one replica does not talk to another, as a code that it is told and a text for both logs.

use std::fmt;

/// The cause; its number goes over the wire and never gets another meaning, in any version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Cause {
    /// What came is not the replication protocol.
    NotAReplica = 1,
    /// The other version's number is in the message.
    Version = 2,
    /// Another group.
    Group = 3,
    /// The replica that is dialed is another one.
    WrongReplica = 4,
    /// The group has no such replica.
    NoMember = 5,
    /// Who dials has no secret, who is dialed has one.
    NoSecret = 6,
    /// Who dials has a secret, who is dialed has none.
    NeedsNoSecret = 7,
    /// Both have one, not the same.
    OtherSecret = 8,
    /// The handshake took too long.
    Late = 9,
    /// A message was damaged on its way.
    Damaged = 10,
    /// A message that no replica sends.
    Malformed = 11,
    /// A newer connection of the same replica is there.
    Replaced = 12,
    /// One that this version does not know.
    Unknown = 0,
}

impl Cause {
    const ALL: [Cause; 12] = [
        Cause::NotAReplica,
        Cause::Version,
        Cause::Group,
        Cause::WrongReplica,
        Cause::NoMember,
        Cause::NoSecret,
        Cause::NeedsNoSecret,
        Cause::OtherSecret,
        Cause::Late,
        Cause::Damaged,
        Cause::Malformed,
        Cause::Replaced,
    ];

    pub(super) fn of(code: u8) -> Self {
        Self::ALL.into_iter().find(|cause| *cause as u8 == code).unwrap_or(Cause::Unknown)
    }
}

/// For the logs of both sides, so it takes neither's view.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::NotAReplica => {
                "what was said there is not the replication protocol; dLegerPeers must name the replication ports of \
                 this group's replicas, and nothing else belongs on these ports"
            }
            Cause::Version => "the versions of the replication protocol differ; update the older server",
            Cause::Group => {
                "the groups differ; brokerClusterName, dLegerGroup (or brokerName) and dLegerPeers must be the same on all \
                 replicas"
            }
            Cause::WrongReplica => {
                "another replica has this address; compare dLegerPeers of the one that dials with dLegerSelfId of the one \
                 that is dialed"
            }
            Cause::NoMember => {
                "the group has no such replica; dLegerPeers must be the same on all replicas, and dLegerSelfId one of it"
            }
            Cause::NoSecret => {
                "the replica that dials has no secret, the one that is dialed has one; set replicationSecretFile on both"
            }
            Cause::NeedsNoSecret => {
                "the replica that dials has a secret, the one that is dialed has none; set replicationSecretFile on both"
            }
            Cause::OtherSecret => {
                "the secrets differ; the files that replicationSecretFile names must be the same on all replicas"
            }
            Cause::Late => "the handshake was not finished in time; look for a network or a machine that is overloaded",
            Cause::Damaged => {
                "a message did not match its checksum; if that happens again, look for a machine or a network device \
                 that alters data"
            }
            Cause::Malformed => {
                "a message was one that no replica sends; both servers should be of the same version"
            }
            Cause::Replaced => {
                "a newer connection of the same replica took its place; if that goes on, two processes have the same \
                 dLegerSelfId"
            }
            Cause::Unknown => "the cause has a number that this version does not know; see the other server's log",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_means_the_same_on_both_sides() {
        for code in 0..=u8::MAX {
            let cause = Cause::of(code);
            assert!(cause as u8 == code || cause == Cause::Unknown, "{code}");
        }
        assert_eq!(Cause::ALL.len(), usize::from(Cause::Replaced as u8));
    }
}
