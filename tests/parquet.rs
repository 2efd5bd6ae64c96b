//! The tables of `--parquet`, as DuckDB reads them: the same figures as `--json` and `--events` tell, and whole or not there.
//!
//! DuckDB is its command line program, or Python's module (`pip install duckdb`); without either, the tests say so and pass.

mod common;

#[cfg(not(feature = "parquet"))]
#[test]
fn a_build_without_parquet_says_so_before_it_reads() {
    let folder = tempfile::tempdir().expect("a folder");
    let tables = folder.path().join("tables");
    let output = common::hbsniff(&["--parquet", &tables.to_string_lossy(), "fixtures/keystrokes/capture.pcap"], b"");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--features parquet"), "{output:?}");
    assert!(output.stdout.is_empty() && !tables.exists());
}

#[cfg(feature = "parquet")]
mod with_parquet {
    use std::collections::BTreeMap;
    use std::fs;
    use std::io::{self, Write};
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use serde_json::{Value, json};

    use super::common::markdown::read;
    use super::common::{self, endpoint, epoch};

    const TABLES: [&str; 3] = ["flows", "events", "deaths"];

    /// Runs a statement in a folder; its rows as JSON objects. `None`, and a word about it, where there is no DuckDB.
    fn query(folder: &Path, sql: &str) -> Option<Vec<Value>> {
        // What JSON cannot hold becomes text, so that both ways give the same.
        let python = "import duckdb, json, sys\n\
                      r = duckdb.sql(sys.argv[1])\n\
                      rows = [dict(zip(r.columns, row)) for row in r.fetchall()] if r else []\n\
                      print(json.dumps(rows, default=str))";
        for (program, args) in [("duckdb", ["-json", "-c"]), ("python3", ["-c", python])] {
            let Ok(output) = Command::new(program).args(args).arg(sql).current_dir(folder).output() else { continue };
            let said = String::from_utf8_lossy(&output.stderr);
            if said.contains("No module named 'duckdb'") {
                continue;
            }
            assert!(output.status.success(), "{sql}: {said}");
            let rows = String::from_utf8(output.stdout).expect("UTF-8");
            return Some(if rows.trim().is_empty() { Vec::new() } else { serde_json::from_str(&rows).expect("JSON") });
        }
        // Not eprintln!, which the test harness keeps to itself.
        let _ = writeln!(io::stderr(), "SKIPPED: there is no DuckDB, neither duckdb nor Python's module");
        None
    }

    fn root() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR"))
    }

    /// Writes a fixture's tables into a folder of its name.
    fn write(folder: &Path, fixture: &str) {
        let output = common::command()
            .arg("--parquet")
            .arg(folder.join(fixture))
            .arg(format!("fixtures/{fixture}/capture.pcap"))
            .current_dir(root())
            .output()
            .expect("the program");
        assert!(output.status.success(), "{fixture}: {output:?}");
    }

    fn fixtures() -> Vec<String> {
        let folders = fs::read_dir(root().join("fixtures")).expect("fixtures/").map(|e| e.expect("an entry"));
        let with_capture = folders.filter(|folder| folder.path().join("capture.pcap").exists());
        with_capture.map(|folder| folder.file_name().to_string_lossy().into_owned()).collect()
    }

    /// The rows of a statement by the fixture that their column `capture` names.
    fn by_fixture(rows: Vec<Value>) -> BTreeMap<String, Vec<Value>> {
        let mut all: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for row in rows {
            let fixture = row["capture"].as_str().and_then(|c| c.split('/').nth(1)).expect("a capture").to_owned();
            all.entry(fixture).or_default().push(row);
        }
        all
    }

    /// Seconds in a table and in the document are the same to the nanosecond.
    fn same(a: &Value, b: &Value) -> bool {
        match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() < 1e-9 * b.abs().max(1.0),
            _ => a == b,
        }
    }

    /// Microseconds in a table and a time in the document are the same to the microsecond.
    fn same_moment(micros: &Value, time: &Value) -> bool {
        let (micros, told) = (micros.as_i64().map(|us| us as f64 / 1e6), epoch(time));
        micros.zip(told).map_or(micros == told, |(a, b)| (a - b).abs() < 2e-6)
    }

    #[test]
    fn the_tables_say_what_the_documents_say() {
        let folder = tempfile::tempdir().expect("a folder");
        if query(folder.path(), "SELECT 1 AS one").is_none() {
            return;
        }
        let fixtures = fixtures();
        fixtures.iter().for_each(|fixture| write(folder.path(), fixture));
        let ask = |sql: &str| by_fixture(query(folder.path(), sql).expect("DuckDB was there"));
        // Times as numbers, which both of DuckDB's ways give alike.
        let flows =
            ask("SELECT * REPLACE (epoch_us(first_packet) AS first_packet, epoch_us(last_packet) AS last_packet)
                         FROM '*/flows.parquet' ORDER BY capture, flow");
        let deaths =
            ask("SELECT * REPLACE (epoch_us(first_packet) AS first_packet, epoch_us(last_heard) AS last_heard,
                                            epoch_us(detected_at) AS detected_at)
                          FROM '*/deaths.parquet' ORDER BY capture, flow");
        let events = ask("SELECT capture, event, count(*) AS n FROM '*/events.parquet' GROUP BY ALL");
        assert_eq!(flows.len(), fixtures.len());
        for fixture in &fixtures {
            let file = root().join("fixtures").join(fixture).join("capture.pcap");
            let report = common::report(&file);
            let told = report["flows"].as_array().expect("flows");
            assert_eq!(flows[fixture].len(), told.len(), "{fixture}");
            for (row, flow) in flows[fixture].iter().zip(told) {
                flow_is_told(fixture, row, flow);
            }
            let none = Vec::new();
            let rows = deaths.get(fixture).unwrap_or(&none);
            let told: Vec<_> = told.iter().flat_map(|f| f["deaths"].as_array().expect("deaths")).collect();
            assert_eq!(rows.len(), told.len(), "{fixture}");
            for (row, death) in rows.iter().zip(told) {
                for key in
                    ["dead", "detected_by", "mechanism", "detection_s", "basis", "uncertainty_s", "clock", "outage_s"]
                {
                    assert!(same(&row[key], &death[key]), "{fixture}: {key}: {row} {death}");
                }
                for key in ["last_heard", "detected_at"] {
                    assert!(same_moment(&row[key], &death[key]), "{fixture}: {key}: {row} {death}");
                }
            }
            let mut told: BTreeMap<String, u64> = BTreeMap::new();
            for event in common::events(&common::stdout(&["--events", &file.to_string_lossy()], b"")) {
                *told.entry(event["event"].as_str().expect("a word").to_owned()).or_default() += 1;
            }
            let rows = events[fixture].iter();
            let rows: BTreeMap<_, _> =
                rows.map(|r| (r["event"].as_str().expect("a word").to_owned(), r["n"].as_u64().expect("n"))).collect();
            assert_eq!(rows, told, "{fixture}");
        }
    }

    fn flow_is_told(fixture: &str, row: &Value, flow: &Value) {
        for side in ["client", "server"] {
            let end = json!({ "address": row[format!("{side}_address")], "port": row[format!("{side}_port")] });
            assert_eq!(endpoint(&end), endpoint(&flow[side]), "{fixture}");
            let pairs = [
                ("packets", &flow["traffic"][side]["packets"]),
                ("payload_bytes", &flow["traffic"][side]["payload_bytes"]),
                ("retransmissions", &flow["traffic"][side]["retransmissions"]),
                ("keepalive_probes", &flow["keepalive"][side]["probes"]),
                ("keepalive_answered", &flow["keepalive"][side]["answered"]),
                ("keepalive_idle_s", &flow["keepalive"][side]["idle_s"]),
                ("keepalive_interval_s", &flow["keepalive"][side]["interval_s"]),
                ("keepalive_count", &flow["keepalive"][side]["count"]),
                ("zero_window_probes", &flow["zero_window_probes"][side]),
                ("dies_noticed_by", &flow["exposure"][format!("{side}_dies")]["noticed_by"]),
                ("dies_worst_case_s", &flow["exposure"][format!("{side}_dies")]["worst_case_s"]),
                ("dies_basis", &flow["exposure"][format!("{side}_dies")]["basis"]),
            ];
            for (column, told) in pairs {
                let column = format!("{side}_{column}");
                assert!(same(&row[&column], told), "{fixture}: {column}: {} {told}", row[&column]);
            }
        }
        let plain = ["handshake", "duration_s", "rtt_s", "longest_silence_s", "longest_payload_silence_s"]
            .map(|key| (key, key));
        for (column, key) in [("flow", "id"), ("ended", "end")].into_iter().chain(plain) {
            assert!(same(&row[column], &flow[key]), "{fixture}: {column}: {} {}", row[column], flow[key]);
        }
        for key in ["first_packet", "last_packet"] {
            assert!(same_moment(&row[key], &flow[key]), "{fixture}: {key}: {row}");
        }
        let codes: Vec<_> = flow["findings"].as_array().expect("findings").iter().map(|f| f["code"].clone()).collect();
        assert_eq!(row["findings"], Value::from(codes), "{fixture}");
        let beats = flow["heartbeats"].as_array().expect("heartbeats").iter().filter(|h| h["kind"] == "heartbeat");
        let (mut protocols, mut count) = (Vec::new(), 0);
        for beat in beats {
            let protocol = &beat["protocol"];
            protocols.push(if protocol.is_null() { json!("unknown") } else { protocol.clone() });
            count += beat["count"].as_u64().expect("a count");
        }
        assert_eq!(row["heartbeat_protocols"], Value::from(protocols), "{fixture}");
        assert_eq!(row["heartbeats"], count, "{fixture}");
    }

    #[test]
    fn columns_have_types() {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), "keepalive_cut_server_detects");
        let mut types = BTreeMap::new();
        for table in TABLES {
            let file = folder.path().join(format!("keepalive_cut_server_detects/{table}.parquet"));
            let Some(rows) = query(folder.path(), &format!("DESCRIBE SELECT * FROM '{}'", file.display())) else {
                return;
            };
            for row in rows {
                let (name, kind) = (row["column_name"].as_str().expect("a name"), &row["column_type"]);
                types.insert(format!("{table}.{name}"), kind.as_str().expect("a type").to_owned());
            }
        }
        for (column, kind) in &types {
            let expected = match column.as_str() {
                "flows.findings" | "flows.heartbeat_protocols" => "VARCHAR[]",
                "deaths.evidence" => "BIGINT[]",
                "flows.unprotected" => "BOOLEAN",
                name if name.ends_with("_s") => "DOUBLE",
                name if name.ends_with("_packet") || name.ends_with("_at") => "TIMESTAMP WITH TIME ZONE",
                "events.time" | "deaths.last_heard" => "TIMESTAMP WITH TIME ZONE",
                _ => continue,
            };
            assert_eq!(kind, expected, "{column}");
        }
        for column in ["flows.capture", "flows.host", "deaths.mechanism", "events.event"] {
            assert_eq!(types[column], "VARCHAR", "{column}");
        }
        for column in ["flows.flow", "flows.client_port", "deaths.flow", "events.frame"] {
            assert_eq!(types[column], "BIGINT", "{column}");
        }
    }

    /// More rows than are turned into columns at a time.
    #[test]
    fn many_batches_make_one_table() {
        use common::pcap::{ACK, Pcap, SYN, reply, segment};
        const FLOWS: u32 = 3000;
        let folder = tempfile::tempdir().expect("a folder");
        let mut pcap = Pcap::new();
        for client in 0..FLOWS {
            let at = i64::from(client) * 1_000_000;
            pcap.packet(at, &segment(client, SYN, 100, 0));
            pcap.packet(at + 1000, &reply(client, SYN | ACK, 200, 101));
            pcap.packet(at + 2000, &segment(client, ACK, 101, 201));
        }
        let output = common::hbsniff(&["--parquet", &folder.path().to_string_lossy(), "-"], pcap.bytes());
        assert!(output.status.success(), "{output:?}");
        let sql = "SELECT count(*) AS n, min(flow) AS first, max(flow) AS last, count(DISTINCT client_address) AS ends,
                   min(capture) AS capture, epoch_us(min(first_packet)) AS begun, epoch_us(max(last_packet)) AS over
                   FROM 'flows.parquet'";
        let Some(rows) = query(folder.path(), sql) else { return };
        let begun = 1_700_000_000_000_000_u64;
        let over = begun + u64::from(FLOWS - 1) * 1000 + 2;
        let told = json!({ "n": FLOWS, "first": 1, "last": FLOWS, "ends": FLOWS, "capture": "-", "begun": begun, "over": over });
        assert_eq!(rows, [told]);
        let sql = "SELECT count(*) AS n FROM 'events.parquet' WHERE event = 'flow_start'";
        assert_eq!(query(folder.path(), sql), Some(vec![json!({ "n": FLOWS })]));
        assert_eq!(query(folder.path(), "SELECT count(*) AS n FROM 'deaths.parquet'"), Some(vec![json!({ "n": 0 })]));
    }

    #[test]
    fn what_cannot_be_whole_is_not_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let left = || fs::read_dir(folder.path()).expect("it").count();
        let run = |before: &str| {
            let script = format!("{before} exec \"$@\"");
            let mut command = Command::new("sh");
            command.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_hbsniff"), "--parquet"]).arg(folder.path());
            command.arg(root().join("fixtures/keystrokes/capture.pcap")).output().expect("a shell")
        };
        // A limit on the size of files, which without its signal is an error like a full disk.
        let output = run("trap '' XFSZ; ulimit -f 1;");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("cannot write") && said.contains(".parquet: File too large"), "{said}");
        assert_eq!(left(), 0);
        assert!(run("").status.success());
        assert_eq!(left(), TABLES.len());
    }

    #[test]
    fn a_folder_that_cannot_be_is_told() {
        let file = root().join("Cargo.toml").join("tables");
        let output = common::hbsniff(&["--parquet", &file.to_string_lossy(), "x.pcap"], b"");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }

    /// Each statement of the document, on the captures that it names, gives the rows that it shows.
    /// `UPDATE_DOCS=1 cargo test --features parquet --test parquet` writes them as they are now.
    #[test]
    fn the_document_shows_what_duckdb_says() {
        let folder = tempfile::tempdir().expect("a folder");
        let (name, page) = ("docs/fleet.md", read("docs/fleet.md"));
        let names = page.split("\nfor name in ").nth(1).and_then(|rest| rest.split(';').next()).expect("a loop");
        names.split(' ').for_each(|fixture| write(&folder.path().join("tables"), fixture));
        let mut updated = page.clone();
        let statements = page.split("```sql\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
        let mut shown = 0;
        for sql in statements {
            let Some(printed) = csv(folder.path(), sql) else { return };
            let before = format!("```sql\n{sql}```\n\n```text\n");
            let rest = page.split(&before).nth(1).unwrap_or_else(|| panic!("the rows are not shown: {sql}"));
            let told = rest.split("```").next().unwrap_or_default();
            shown += 1;
            if std::env::var_os("UPDATE_DOCS").is_some() {
                updated = updated.replacen(&format!("{before}{told}"), &format!("{before}{printed}"), 1);
            } else {
                assert_eq!(told, printed, "{name}: {sql}");
            }
        }
        assert!(shown >= 3, "{shown}");
        if updated != page {
            fs::write(root().join(name), updated).expect("the document");
        }
    }

    /// The rows of a statement as DuckDB writes them into a CSV file.
    fn csv(folder: &Path, sql: &str) -> Option<String> {
        let statement = sql.trim_end().trim_end_matches(';');
        query(folder, &format!("COPY ({statement}) TO 'rows.csv'"))?;
        Some(fs::read_to_string(folder.join("rows.csv")).expect("the rows"))
    }
}
