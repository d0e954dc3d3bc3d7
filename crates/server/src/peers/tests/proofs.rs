//! The handshake between two ends of a pipe, with somebody in the middle.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::{Just, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::group::place;
use crate::peers::Place;
use crate::peers::handshake::{self, Failed, PART_LEN};
use crate::peers::refusal::Cause;

fn of(me: u64, secret: Option<&str>) -> Place {
    let addrs: BTreeMap<_, _> = (1..=3).map(|id| (id, String::new())).collect();
    place(me, &addrs, secret)
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Passes four parts on, from the dialer first and then in turns, each through `alter`.
async fn in_the_middle(
    (mut dialer, mut accepter): (DuplexStream, DuplexStream),
    alter: impl Fn(usize, &mut [u8; PART_LEN]),
) {
    for number in 0..4 {
        let (from, to) =
            if number % 2 == 0 { (&mut dialer, &mut accepter) } else { (&mut accepter, &mut dialer) };
        let mut part = [0; PART_LEN];
        if from.read_exact(&mut part).await.is_err() {
            return;
        }
        alter(number, &mut part);
        if to.write_all(&part).await.is_err() {
            return;
        }
    }
}

/// The handshake of 2 with 1; what either of them thinks of the other.
fn shake(
    (dialer, accepter): (&Place, &Place),
    alter: impl Fn(usize, &mut [u8; PART_LEN]),
) -> (Result<(), Failed>, Result<u64, Failed>) {
    let ((mut near, left), (mut far, right)) = (duplex(4 * PART_LEN), duplex(4 * PART_LEN));
    run(async {
        let dial = async {
            let dialed = handshake::dial(&mut near, dialer, accepter.me).await;
            drop(near);
            dialed
        };
        let accept = async {
            let accepted = handshake::accept(&mut far, accepter).await;
            drop(far);
            accepted
        };
        let (dialed, accepted, ()) = tokio::join!(dial, accept, in_the_middle((left, right), alter));
        (dialed, accepted)
    })
}

#[test]
fn who_knows_the_secret_is_let_in() {
    for secret in [None, Some("sixteen bytes or more")] {
        let (dialed, accepted) = shake((&of(2, secret), &of(1, secret)), |_, _| {});
        assert!(matches!((dialed, accepted), (Ok(()), Ok(2))));
    }
}

#[test]
fn nothing_proves_the_same_twice() {
    let seen = RefCell::new(BTreeSet::new());
    for _ in 0..20 {
        let (dialed, _) = shake((&of(2, None), &of(1, None)), |_, part| {
            assert!(seen.borrow_mut().insert(part[40..].to_vec()), "a nonce or a proof has come twice");
        });
        dialed.unwrap();
    }
}

proptest! {
    /// One altered byte anywhere, and whoever gets to see it does not let the other one in.
    #[test]
    fn nothing_can_be_altered(
        secret in prop_oneof![Just(None), Just(Some("sixteen bytes or more"))],
        number in 0..4_usize,
        at in 0..PART_LEN,
        bits in 1..=u8::MAX,
    ) {
        let (dialed, accepted) = shake((&of(2, secret), &of(1, secret)), |part, bytes| {
            if part == number {
                bytes[at] ^= bits;
            }
        });
        prop_assert!(dialed.is_err());
        // The last part is the dialer's to judge.
        prop_assert!(accepted.is_err() || number == 3);
    }

    /// Any bytes at all instead of the end of a part.
    #[test]
    fn nothing_can_be_made_up(
        number in 0..4_usize,
        at in 12..PART_LEN,
        made_up in proptest::collection::vec(any::<u8>(), PART_LEN),
    ) {
        let (secret, is_altered) = (Some("sixteen bytes or more"), Cell::new(false));
        let (dialed, accepted) = shake((&of(2, secret), &of(1, secret)), |part, bytes| {
            if part == number {
                is_altered.set(bytes[at..] != made_up[at..]);
                bytes[at..].copy_from_slice(&made_up[at..]);
            }
        });
        prop_assert_eq!(dialed.is_err(), is_altered.get());
        prop_assert_eq!(accepted.is_err(), is_altered.get() && number < 3);
    }
}

/// Somebody without the secret who is dialed, because it took the address of a replica: it says what it heard.
fn impostor(alter: impl Fn(&mut [u8; PART_LEN])) -> Failed {
    let (mut near, mut far) = duplex(4 * PART_LEN);
    let place = of(2, Some("sixteen bytes or more"));
    run(async {
        let dial = async {
            let dialed = handshake::dial(&mut near, &place, 1).await;
            drop(near);
            dialed
        };
        let echo = async {
            let mut part = [0; PART_LEN];
            while far.read_exact(&mut part).await.is_ok() {
                alter(&mut part);
                far.write_all(&part).await.unwrap();
            }
        };
        tokio::join!(dial, echo).0.unwrap_err()
    })
}

#[test]
fn what_a_replica_says_cannot_be_used_against_it() {
    // As it came.
    let failed = impostor(|_| {});
    assert!(matches!(failed, Failed::Refuse { cause: Cause::Malformed, .. }), "{failed:?}");
    // As the kind that comes next.
    let failed = impostor(|part| part[10] += 1);
    assert!(matches!(failed, Failed::Refuse { cause: Cause::WrongReplica, .. }), "{failed:?}");
    // As the answer of another replica of the group.
    let failed = impostor(|part| {
        part[10] += 1;
        part[24..40].rotate_left(8);
        part[31] = 3;
    });
    assert!(matches!(failed, Failed::Refuse { cause: Cause::WrongReplica, .. }), "{failed:?}");
    // And with from and to the other way round.
    let failed = impostor(|part| {
        part[10] += 1;
        part[24..40].rotate_left(8);
    });
    assert!(matches!(failed, Failed::Refuse { cause: Cause::OtherSecret, .. }), "{failed:?}");
}

#[test]
fn a_refusal_is_understood_in_any_version() {
    let (dialed, _) = shake((&of(2, None), &of(1, None)), |number, part| {
        if number == 1 {
            part[8..12].copy_from_slice(&[0, 9, 5, Cause::Version as u8]);
        }
    });
    assert!(matches!(dialed, Err(Failed::Refused(Cause::Version))), "{dialed:?}");
}
