//! Throughput over HTTP: a 10-coin query that the server has at hand, beside a bare axum handler that answers the
//! same bytes. Both run in their own process; `wrk` loads one after the other, several rounds in turn.
//!
//! What counts is CPU time per request of the server's process: on a machine of two cores the load generator takes
//! part of the wall clock. Run with `make bench`, which installs wrk where it can.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark prints, and measures real time")]

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    net::Ipv4Addr,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, http::header::CONTENT_TYPE, routing::post};

const ROUNDS: usize = 5;
const SECONDS: &str = "3";
const CONNECTIONS: &str = "32";
/// What the kernel counts CPU time in.
const TICKS_PER_SECOND: f64 = 100.0;

/// What is asked of each coin.
const FIELDS: &str = "coin amount change24h asOf stale";
const UNLIMITED: &str = "limits.overrides=Query.cryptoPrices=2000000000/1";
const COINS: [&str; 10] =
    ["bitcoin", "ethereum", "solana", "cardano", "dogecoin", "litecoin", "polkadot", "chainlink", "ripple", "tron"];

fn main() {
    let mut arguments = env::args().skip(1);
    if arguments.next().as_deref() == Some("--bare") {
        let file = arguments.next().expect("--bare FILE");
        return bare(fs::read(file).expect("the answer to give"));
    }
    if Command::new("wrk").arg("-v").stdout(Stdio::null()).status().is_err() {
        println!("http: skipped, because wrk is not installed (Debian: apt-get install wrk)");
        return;
    }
    compare();
}

/// The reference: takes the body in and answers constant bytes.
fn bare(answer: Vec<u8>) {
    let answer = Bytes::from(answer);
    let handler = move |_body: Bytes| {
        let answer = answer.clone();
        async move { ([(CONTENT_TYPE, "application/json; charset=utf-8")], answer) }
    };
    let serve = async move {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        println!("listening on http://{}", listener.local_addr().expect("an address"));
        axum::serve(listener, Router::new().route("/graphql", post(handler))).await.expect("serving");
    };
    tokio::runtime::Runtime::new().expect("a runtime").block_on(serve);
}

struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the server starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let url = lines
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("listening on ").map(|address| format!("{address}/graphql")))
            .expect("the server says where it listens");
        Self { child, url }
    }

    /// CPU seconds that the process has used.
    fn cpu(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("Linux's /proc");
        let fields: Vec<&str> = stat.rsplit_once(") ").expect("a command in brackets").1.split(' ').collect();
        let ticks = |at: usize| fields[at].parse::<f64>().expect("a number");
        (ticks(11) + ticks(12)) / TICKS_PER_SECOND
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Clone, Copy)]
struct Measured {
    requests_per_second: f64,
    cpu_micros: f64,
}

fn compare() {
    let scratch = env::temp_dir().join(format!("tidegate-bench-{}", std::process::id()));
    fs::create_dir_all(&scratch).expect("a scratch folder");
    let mut sandbox = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    let kept = Server::start(sandbox.args(["sandbox", "--listen", "127.0.0.1:0", "--set", UNLIMITED]));
    let (script, uncached) = (scratch.join("post.lua"), scratch.join("uncached.lua"));
    write_script(&script, FIELDS);
    // `ageMs` is never kept: every request executes, and is as many bytes longer.
    write_script(&uncached, &format!("{FIELDS} ageMs"));
    let answer = scratch.join("answer.json");
    fs::write(&answer, ask(&kept.url)).expect("writing the answer");
    let bare = Server::start(Command::new(env::current_exe().expect("this program")).arg("--bare").arg(&answer));

    let servers =
        [("bare axum", &bare, &script), ("response cache", &kept, &script), ("executed from L1", &kept, &uncached)];
    let mut best: Vec<Option<Measured>> = vec![None; servers.len()];
    for _ in 0..ROUNDS {
        for (at, (_, server, script)) in servers.iter().enumerate() {
            let round = load(server, &script.to_string_lossy());
            if best[at].is_none_or(|best| round.cpu_micros < best.cpu_micros) {
                best[at] = Some(round);
            }
        }
    }
    let best: Vec<Measured> = best.into_iter().flatten().collect();
    println!("\n10 coins over HTTP, wrk -t1 -c{CONNECTIONS} -d{SECONDS}s, best of {ROUNDS} rounds in turn");
    println!("{:<18} {:>12} {:>16} {:>14}", "", "requests/s", "CPU µs/request", "× bare (CPU)");
    for ((name, _, _), measured) in servers.iter().zip(&best) {
        let ratio = measured.cpu_micros / best[0].cpu_micros;
        let Measured { requests_per_second, cpu_micros } = measured;
        println!("{name:<18} {requests_per_second:>12.0} {cpu_micros:>16.1} {ratio:>14.2}");
    }
    let _ = fs::remove_dir_all(&scratch);
}

fn request(fields: &str) -> String {
    let coins = COINS.map(|coin| format!("\\\"{coin}\\\"")).join(", ");
    format!("{{\"query\":\"{{ cryptoPrices(coins: [{coins}]) {{ {fields} }} }}\"}}")
}

fn write_script(path: &std::path::Path, fields: &str) {
    let mut file = fs::File::create(path).expect("a script");
    let body = request(fields);
    writeln!(file, "wrk.method = 'POST'\nwrk.headers['Content-Type'] = 'application/json'\nwrk.body = [==[{body}]==]")
        .expect("writing the script");
}

/// One answer, which also warms the caches.
fn ask(url: &str) -> Vec<u8> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let client = reqwest::Client::builder().build().expect("a client");
        let post = || client.post(url).header(CONTENT_TYPE, "application/json").body(request(FIELDS)).send();
        let answer = post().await.expect("an answer").bytes().await.expect("a body");
        assert!(answer.starts_with(b"{\"data\":{\"cryptoPrices\":[{"), "{}", String::from_utf8_lossy(&answer));
        answer.to_vec()
    })
}

fn load(server: &Server, script: &str) -> Measured {
    let (cpu, start) = (server.cpu(), Instant::now());
    let output = Command::new("wrk")
        .args(["-t1", &format!("-c{CONNECTIONS}"), &format!("-d{SECONDS}s"), "-s", script, &server.url])
        .output()
        .expect("wrk runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!text.contains("Non-2xx"), "{text}");
    let find = |marker: &str| {
        let line = text.lines().find(|line| line.contains(marker)).unwrap_or_else(|| panic!("{marker} in {text}"));
        let number = line.split_whitespace().find_map(|word| word.parse::<f64>().ok());
        number.unwrap_or_else(|| panic!("a number in {line}"))
    };
    let requests = find("requests in");
    assert!(start.elapsed() > Duration::from_secs(1), "wrk ended early: {text}");
    Measured { requests_per_second: find("Requests/sec:"), cpu_micros: (server.cpu() - cpu) * 1e6 / requests }
}
