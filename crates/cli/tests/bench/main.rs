//! `steadfast bench` against a broker in memory: honest ones get a figure, all others get a verdict.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod broker;

use clap::Parser;
use steadfast_cli::bench::{self, BenchArgs};

use broker::Fault;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    bench: BenchArgs,
}

/// Runs the bench with the given options; the error's whole text, if it fails.
fn bench(options: &str) -> Result<(), String> {
    let words = std::iter::once("bench").chain(options.split_ascii_whitespace());
    let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
    bench::run(cli.bench).map_err(|error| format!("{error:#}"))
}

/// Sends 2000 messages to a broker that treats one of them badly.
fn send(fault: Fault, more: &str) -> Result<(), String> {
    let addr = broker::start(fault);
    bench(&format!("--broker {addr} --queues {} -c 3 -f 4 --warmup 0 --messages 2000 {more}", broker::QUEUES))
}

fn assert_fails(result: Result<(), String>, with: &str) {
    let error = result.expect_err("the bench gave a figure");
    assert!(error.contains(with), "{error}");
}

#[test]
fn an_honest_broker_gets_a_figure() {
    send(Fault::None, "").unwrap();
    send(Fault::None, "--encoding rocketmq --json --keys 7 --size 0").unwrap();
    send(Fault::None, "--batch 8 --keys 7 --threads 2").unwrap();
}

#[test]
fn an_open_loop_keeps_its_rate() {
    let start = std::time::Instant::now();
    send(Fault::None, "--rate 10000 --consumers 2").unwrap();
    assert!(start.elapsed().as_millis() >= 190, "2000 messages went out faster than 10000 a second");
}

#[test]
fn time_bounds_a_run_too() {
    let addr = broker::start(Fault::None);
    bench(&format!(
        "--broker {addr} --queues 4 -c 1 -f 1 --warmup 0.1 --seconds 0.2 --pid {}",
        std::process::id()
    ))
    .unwrap();
}

#[test]
fn the_name_server_leads_to_the_broker() {
    let addr = broker::start(Fault::None);
    bench(&format!("--namesrv {addr} --queues 4 --warmup 0 --messages 500")).unwrap();
    bench(&format!("consume --namesrv {addr} --passes 2 --expect 500")).unwrap();
    assert_fails(bench(&format!("consume --namesrv {addr} --expect 100000")), "100000 were expected");
}

#[test]
fn a_second_run_does_not_mind_the_first() {
    let addr = broker::start(Fault::None);
    for _ in 0..2 {
        bench(&format!("--broker {addr} --queues 4 --warmup 0 --messages 500")).unwrap();
    }
}

#[test]
fn a_lost_message_is_noticed() {
    assert_fails(send(Fault::Lose, ""), "is missing");
}

#[test]
fn what_retention_removed_is_not_called_lost_and_what_else_is_missing_is() {
    let removed = send(Fault::Expire, "").expect_err("the bench gave a figure");
    assert!(
        removed.contains("because retention removed") && removed.contains("Nothing else is missing"),
        "{removed}"
    );
    assert!(removed.contains("steadfast admin retention") && !removed.contains("broken:"), "{removed}");
    assert_fails(send(Fault::ExpireAndLose, ""), "is missing (broken:");
}

#[test]
fn a_doubled_message_is_noticed() {
    assert_fails(send(Fault::Double, ""), "no acknowledged or open attempt explains it");
}

#[test]
fn an_altered_message_is_noticed() {
    assert_fails(send(Fault::Alter, ""), "but was sent with");
    assert_fails(send(Fault::Alter, "--batch 4"), "but was sent with");
}

#[test]
fn a_damaged_message_is_noticed() {
    assert_fails(send(Fault::Flip, ""), "CRC");
}

#[test]
fn an_offset_given_twice_is_noticed() {
    assert_fails(send(Fault::SameOffset, ""), "was given to message");
}

#[test]
fn a_stored_refusal_is_noticed() {
    assert_fails(send(Fault::RefuseAndStore, ""), "no acknowledged or open attempt explains it");
}

#[test]
fn failures_that_the_client_was_told_of_are_no_violation() {
    send(Fault::Refuse, "").unwrap();
    send(Fault::Hang, "").unwrap();
}

#[test]
fn a_broker_that_refuses_everything_ends_the_run() {
    send(Fault::RefuseAll, "").unwrap();
}

#[test]
fn a_damaged_backlog_gets_no_figure() {
    for (fault, with) in
        [(Fault::Alter, "not what was sent"), (Fault::Lose, "was due"), (Fault::Double, "more than once")]
    {
        let addr = broker::start(fault);
        assert!(bench(&format!("--broker {addr} --queues 4 --warmup 0 --messages 500")).is_err());
        assert_fails(bench(&format!("consume --broker {addr} --queues 4 -c 2")), with);
    }
}

/// A run of messages that are to come later, delayed or sent back, of which one meets the fault.
fn later(mode: &str, fault: Fault) -> Result<(), String> {
    let addr = if mode == "retry" { broker::start_for_retries(fault) } else { broker::start(fault) };
    bench(&format!(
        "{mode} --broker {addr} --queues {} -c 2 -f 4 --messages 500 --timeout 0.5",
        broker::QUEUES
    ))
}

#[test]
fn messages_that_come_later_get_a_figure_if_all_come_once_and_whole_and_in_time() {
    for mode in ["delay", "retry"] {
        later(mode, Fault::None).unwrap();
        for (fault, with) in [
            (Fault::Lose, "1 did not turn up, 0 did more than once"),
            (Fault::Double, "0 did not turn up, 1 did more than once"),
            (Fault::Early, "1 before they were due, and 0 were damaged"),
            (Fault::Alter, "0 before they were due, and 1 were damaged"),
        ] {
            let result = later(mode, fault);
            assert_fails(result.map_err(|error| format!("{mode}, {fault:?}: {error}")), with);
        }
    }
    assert_fails(later("delay", Fault::Refuse), "busy, says the test");
}

#[test]
fn a_probe_waits_for_the_server() {
    let addr = broker::start(Fault::None);
    bench(&format!("probe --broker {addr}")).unwrap();
    assert_fails(bench("probe --broker 127.0.0.1:1 --seconds 0.1"), "cannot connect");
}

#[test]
fn senseless_options_are_refused() {
    assert_fails(bench("--size 99999999"), "over the limit");
    assert_fails(bench("--batch 1024 --size 100000"), "makes requests of over");
    assert_fails(bench("--topic a/b"), "'/'");
    assert_fails(bench("--seconds x"), "number of seconds");
}

#[test]
fn a_sender_finds_its_way_after_a_failure() {
    let failover = |fault, more: &str| {
        let addr = broker::start(fault);
        bench(&format!("failover --namesrv 127.0.0.1:1;{addr} --queues 4 --messages 500 {more}"))
    };
    failover(Fault::None, "").unwrap();
    // The connection is closed, and nobody knows what became of the message.
    failover(Fault::Hang, "--outage 0 --json").unwrap();
    failover(Fault::RefuseAll, "--seconds 0.5").unwrap();
    assert_fails(failover(Fault::Lose, ""), "NO RESULT");
    assert_fails(failover(Fault::Double, ""), "NO RESULT");
    assert_fails(bench("failover --broker 127.0.0.1:1"), "needs --namesrv");
    assert_fails(bench("failover --namesrv 127.0.0.1:1"), "is the server running?");
}
