//! Killed processes.

use crate::client::Client;
use crate::process::Server;

#[test]
fn what_was_acknowledged_is_there_after_sigkill() {
    let dir = tempfile::tempdir().unwrap();
    let mut acked = 0;
    for round in 0..5 {
        let server = Server::start(dir.path(), &[]);
        let mut client = Client::connect(server.broker());
        if round > 0 {
            let stored = client.max_offset("t");
            assert!(stored >= acked, "round {round}: {stored} stored, {acked} acknowledged");
            acked = stored;
        }
        // 500 in flight; killed while about half of them are answered.
        (0..500).for_each(|_| _ = client.post_send("t", &[round; 3000]));
        for _ in 0..250 {
            let answer = client.answer().expect("an answer");
            assert_eq!(answer.code(), 0, "{answer:?}");
            acked += 1;
        }
        server.kill();
        while let Some(answer) = client.answer() {
            acked += i64::from(answer.code() == 0);
        }
    }
    let server = Server::start(dir.path(), &[]);
    let mut client = Client::connect(server.broker());
    assert!(client.max_offset("t") >= acked);
    assert_eq!(client.pull("t", 0).code(), 0);
}
