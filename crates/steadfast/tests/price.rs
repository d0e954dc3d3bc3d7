//! `steadfast bench price` starts its own servers, measures each protection and leaves nothing behind.

use std::process::Command;

#[test]
fn every_protection_has_its_price_and_nothing_is_left_behind() {
    let dir = tempfile::tempdir().expect("a directory");
    let picture = dir.path().join("price.svg");
    let data = dir.path().join("data");
    std::fs::create_dir(&data).expect("a directory");
    let short = ["bench", "price", "--seconds", "0.2", "--warmup", "0.1", "--messages", "2000"];
    let run = Command::new(env!("CARGO_BIN_EXE_steadfast"))
        .args(short)
        .arg("--dir")
        .arg(&data)
        .arg("--picture")
        .arg(&picture)
        .output()
        .expect("the binary runs");
    let (table, log) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{log}");
    let rows: Vec<Vec<&str>> = table.lines().skip(2).map(|row| row.split(" | ").collect()).collect();
    assert_eq!(rows.len(), 8, "{table}");
    for row in rows {
        let is_reading = row[0].contains("reading") || row[0].contains("committed");
        let is_figure = |cell: &str| cell.parse::<f64>().is_ok_and(|figure| figure > 0.0);
        assert!(is_figure(row[1]) && row[3..5].iter().all(|cell| is_figure(cell) != is_reading), "{table}");
    }
    let picture = std::fs::read_to_string(picture).expect("a picture");
    // A background, a bar for each throughput, and one for each latency.
    assert_eq!(picture.matches("<rect").count(), 1 + 8 + 5);
    assert_eq!(std::fs::read_dir(data).expect("it is there").count(), 0, "its data is gone");
}
