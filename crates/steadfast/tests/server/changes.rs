//! Settings that are changed while the server runs (UPDATE_BROKER_CONFIG), and the address it tells clients.

use std::fs;
use std::time::Instant;

use steadfast_wire::code::{request, response};
use steadfast_wire::header::ExtFields;

use crate::client::{Answer, Client};
use crate::process::{PATIENCE, Server, command, refusal, until};

fn update(client: &mut Client, properties: &str) -> Answer {
    client.ask(request::UPDATE_BROKER_CONFIG, ExtFields::default(), properties.as_bytes())
}

#[test]
fn a_change_applies_at_once_and_outlives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let mut client = Client::connect(server.broker());
    assert_eq!(client.send("t", &[0; 2000]).code(), 0);
    assert_eq!(client.setting("brokerPermission"), "6");
    assert_eq!(client.setting("listenPort"), server.broker().port().to_string());
    assert_eq!(client.setting("maxMessageSize"), "4194304");

    let answer = update(&mut client, "brokerPermission=4\nmaxMessageSize=1KiB\n");
    assert_eq!(answer.code(), 0, "{answer:?}");
    let refused = client.send("t", b"x");
    assert_eq!(refused.code(), response::NO_PERMISSION, "{refused:?}");
    assert_eq!(client.pull("t", 0).code(), 0, "what is there can be read");
    assert_eq!(client.setting("brokerPermission"), "4");
    let mut namesrv = Client::connect(server.namesrv());
    let perms = |namesrv: &mut Client| namesrv.route("t").unwrap().queue_datas[0].perm;
    assert_eq!(perms(&mut namesrv), 4, "producers learn of it");
    assert!(server.log().contains("setting changed: brokerPermission=4 (was 6)"), "{}", server.log());
    server.kill();

    let server = Server::start(dir.path(), &[]);
    assert!(
        server.banner.contains("brokerPermission=4, maxMessageSize=1024 (at run time"),
        "{}",
        server.banner
    );
    let mut client = Client::connect(server.broker());
    assert_eq!(client.send("t", b"x").code(), response::NO_PERMISSION);
    assert_eq!(update(&mut client, "brokerPermission=6").code(), 0);
    assert_eq!(client.send("t", b"x").code(), 0);
    let too_large = client.send("t", &[0; 2000]);
    assert!(too_large.remark().contains("the limit is 1024 (maxMessageSize)"), "{too_large:?}");
    until("the route says so", || perms(&mut Client::connect(server.namesrv())) == 6);
}

#[test]
fn all_or_none_is_changed_and_every_refusal_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &["autoCreateTopicEnable=true"]);
    let mut client = Client::connect(server.broker());
    for (line, code, part) in [
        ("listenPort=1", response::INVALID_PARAMETER, "listenPort cannot be changed at run time"),
        ("defaultTopicQueueNums=0", response::INVALID_PARAMETER, "defaultTopicQueueNums must be 1 to 1024"),
        ("defaultTopicQueueNums=many", response::INVALID_PARAMETER, "defaultTopicQueueNums takes a number"),
        ("brokerPermision=4", response::INVALID_PARAMETER, "did you mean brokerPermission?"),
        ("haListenPort=1", response::INVALID_PARAMETER, "haListenPort has no effect"),
        ("autoCreateTopicEnable=false", response::INVALID_PARAMETER, "command line, which would undo"),
        ("brokerConfigPath=/etc/passwd", response::NO_PERMISSION, "cannot be changed"),
    ] {
        let answer = update(&mut client, &format!("brokerPermission=2\n{line}\n"));
        assert_eq!(answer.code(), code, "{line}: {answer:?}");
        assert!(answer.remark().contains(part), "{part} not in {answer:?}");
    }
    assert_eq!(
        client.ask(request::UPDATE_BROKER_CONFIG, ExtFields::default(), b"\xff=1").code(),
        response::INVALID_PARAMETER
    );
    assert_eq!(client.setting("brokerPermission"), "6");
    assert!(!dir.path().join("settings.overrides").exists(), "nothing was kept");
    // A tool may send what it has read.
    let unchanged = "listenPort=0\nbrokerName=broker-a\nbrokerPermission=6\n";
    assert_eq!(update(&mut client, unchanged).code(), 0);
}

#[test]
fn a_change_that_cannot_be_kept_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    // A directory is in the way of the file.
    fs::create_dir(dir.path().join("settings.overrides.new")).unwrap();
    let mut client = Client::connect(server.broker());
    let answer = update(&mut client, "brokerPermission=4");
    assert_eq!(answer.code(), response::SYSTEM_ERROR);
    assert!(answer.remark().contains("settings.overrides cannot be written"), "{answer:?}");
    assert_eq!(client.send("t", b"x").code(), 0);
}

#[test]
fn a_damaged_file_of_changes_is_named() {
    let dir = tempfile::tempdir().unwrap();
    Server::start(dir.path(), &[]).kill();
    for (text, part) in [
        ("\nlistenPort=1\n", "settings.overrides, line 2: listenPort is not changed at run time"),
        ("brokerPermission=9\n", "settings.overrides does not fit"),
    ] {
        fs::write(dir.path().join("settings.overrides"), text).unwrap();
        let message = refusal(&mut command(dir.path()));
        assert!(message.contains(part), "{part} not in:\n{message}");
    }
}

#[test]
fn an_address_that_leads_nowhere_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    // Nobody listens there: the broker is at 127.0.0.1.
    let server = Server::start(dir.path(), &["brokerIP1=127.0.0.2"]);
    until("the warning", || server.log().contains("this machine itself does not reach it"));
    assert!(server.log().contains("Set brokerIP1"), "{}", server.log());
    drop(server);

    let server = Server::start(dir.path(), &[]);
    let begun = Instant::now();
    let asked = "request_code=\"get_broker_config\",response_code=\"success\"";
    until("it has asked itself", || server.page("/metrics").1.contains(asked));
    assert!(begun.elapsed() < PATIENCE && !server.log().contains("does not reach it"), "{}", server.log());
}
