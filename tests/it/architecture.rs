//! The walls of the house, checked on the text of the source: who imports whom, which words belong to which room,
//! and how large a file may grow. What fails names the sentence of ARCHITECTURE.md that was broken.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Each room and the rooms it may import. `app`, `commands` and `sandbox` may import everything.
const IMPORTS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("config", &["model"]),
    ("secrets", &[]),
    ("telemetry", &["model", "config"]),
    ("resilience", &["model", "config"]),
    ("store", &["model", "config", "resilience"]),
    ("cache", &["model", "config", "resilience", "store"]),
    ("bus", &["model", "config", "resilience", "store"]),
    ("limits", &["model", "config", "resilience", "store"]),
    ("events", &["model", "config", "resilience", "store", "bus"]),
    ("vault", &["model", "secrets", "store"]),
    ("audit", &["model", "config", "secrets", "store", "events"]),
    ("auth", &["model", "config", "secrets", "resilience", "store", "cache", "limits", "events", "audit"]),
    ("chains", &["model", "config", "resilience", "store", "cache", "bus", "events", "audit"]),
    ("market", &["model", "config", "resilience", "store", "cache", "bus", "limits", "chains"]),
    ("mcp", &["model", "config", "secrets", "resilience", "store", "cache", "bus", "events", "audit"]),
    ("agent", &["model", "config", "secrets", "store", "events", "vault", "audit"]),
    (
        "graphql",
        &[
            "model",
            "config",
            "secrets",
            "resilience",
            "store",
            "cache",
            "bus",
            "limits",
            "events",
            "vault",
            "audit",
            "auth",
            "chains",
            "market",
            "mcp",
            "agent",
            "vault",
        ],
    ),
    ("http", &["model", "config", "auth", "limits", "graphql", "telemetry"]),
];

const ABOVE_ALL: &[&str] = &["app", "commands", "sandbox"];

/// A word of the code, and where it may stand.
const VOCABULARY: &[(&str, &[&str], &str)] = &[
    ("async_graphql", &["graphql/"], "Only `graphql/` knows the GraphQL library."),
    ("axum", &["http/", "sandbox/"], "Only `http/` knows the web framework; the sandbox's stand-ins are servers too."),
    ("reqwest", &["resilience/outbound"], "Every outbound HTTP call goes through `resilience::Outbound`."),
    ("alloy_", &["chains/evm"], "Only `chains/evm` knows Ethereum's library, and only `chains/solana` Solana's."),
    ("bs58", &["chains/solana"], "Only `chains/evm` knows Ethereum's library, and only `chains/solana` Solana's."),
    (
        "rmcp",
        &["mcp/sdk", "http/mcp", "telemetry/logs.rs"],
        "Only `mcp/sdk` and `http/mcp` know the MCP SDK; `telemetry/logs.rs` keeps it discreet.",
    ),
    ("failsafe", &["resilience/"], "Only `resilience/` knows the breaker's library."),
    ("jsonwebtoken", &["auth/"], "Only `auth/` knows how tokens are signed."),
    ("aws_lc_rs", &["secrets/"], "Only `secrets/` computes with keys."),
    ("redis::", &["store/", "*/redis.rs"], "Only `store/`, and a room's file `redis.rs`, speak to Redis."),
    (
        "sqlx",
        &["store/", "*/store.rs", "*/sqlite.rs", "*/postgres.rs"],
        "Only `store/`, and a room's files `store.rs`, `sqlite.rs` and `postgres.rs`, speak to databases.",
    ),
    ("std::env", &["config/"], "Only `config/` reads the environment."),
    ("Utc::now", &["model/clock.rs"], "The wall clock is read in `model/clock.rs`."),
    ("SystemTime::now", &["model/clock.rs"], "The wall clock is read in `model/clock.rs`."),
    ("println!", &["commands/"], "Only `commands/` prints."),
    ("eprintln!", &["commands/"], "Only `commands/` prints."),
    ("Result<Option<", &["!graphql/"], "A nullable field that can fail returns `Option<Result<T, E>>`."),
    ("#[allow(", &[], "Lints are expected, with a reason, and never allowed."),
    ("todo!(", &[], "Nothing is left to do in what has landed."),
    ("unimplemented!(", &[], "Nothing is left to do in what has landed."),
];

/// Files that are longer than the house allows. The list may only shrink.
const LONG_FILES: &[&str] = &[];
const MAX_LINES: usize = 600;

/// Names that say nothing about what is inside.
const DRAWERS: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc", "manager"];

struct SourceFile {
    /// From `src/`, with forward slashes.
    path: String,
    /// Without comments and without the file's own tests.
    code: String,
}

impl SourceFile {
    fn room(&self) -> &str {
        self.path.split(['/', '.']).next().unwrap_or_default()
    }
}

fn sources() -> Vec<SourceFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 30, "the source is where this test looks for it");
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let relative = path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
        SourceFile { path: relative, code: production(&text) }
    };
    files.into_iter().map(read).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The code without line comments, up to the tests at the end of the file.
fn production(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let mut next_is_module = || lines.peek().is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'));
        if line == "#[cfg(test)]" && next_is_module() {
            break;
        }
        let end = line.find("//").filter(|at| !line[..*at].contains('"')).unwrap_or(line.len());
        code.push_str(&line[..end]);
        code.push('\n');
    }
    code
}

fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs")
        || path.contains("/tests/")
        || path.ends_with("/nulls.rs")
        || path.ends_with("/golden.rs")
}

/// The rooms that a file names after `crate::`, one by one or in braces.
fn imported_rooms(code: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            rooms.extend(top_level_names(group));
        } else {
            rooms.push(first_word(rest));
        }
    }
    rooms
}

fn top_level_names(group: &str) -> Vec<String> {
    let (mut depth, mut names, mut start) = (0, Vec::new(), 0);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(first_word(group[start..at].trim()));
                // After a trailing comma there is nothing.
                names.retain(|name| !name.is_empty());
                return names;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(first_word(group[start..at].trim()));
                start = at + 1;
            }
            _ => {}
        }
    }
    names
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect()
}

#[test]
fn rooms_import_only_what_stands_below_them() {
    let rooms: Vec<&str> = IMPORTS.iter().map(|(room, _)| *room).chain(ABOVE_ALL.iter().copied()).collect();
    let mut broken = Vec::new();
    for file in sources() {
        if ["lib", "main"].contains(&file.room()) || ABOVE_ALL.contains(&file.room()) {
            continue;
        }
        let Some((room, allowed)) = IMPORTS.iter().find(|(room, _)| *room == file.room()) else {
            broken.push(format!("src/{}: a room that the table of imports does not know", file.path));
            continue;
        };
        for imported in imported_rooms(&file.code) {
            let is_room = rooms.contains(&imported.as_str());
            if is_room && imported != *room && !allowed.contains(&imported.as_str()) {
                broken.push(format!("src/{}: `{room}` may not import `{imported}`", file.path));
            }
        }
    }
    assert!(broken.is_empty(), "\"A room imports only rooms below it.\"\n{}", broken.join("\n"));
}

#[test]
fn words_stay_in_their_rooms() {
    let mut broken = Vec::new();
    for file in sources().iter().filter(|file| !is_test_file(&file.path)) {
        for (word, places, sentence) in VOCABULARY {
            let allowed = places.iter().any(|place| match place.split_at(1) {
                ("!", barred) => !file.path.starts_with(barred),
                ("*", ending) => file.path.ends_with(ending),
                _ => file.path.starts_with(place),
            });
            if !allowed && contains_word(&file.code, word) {
                broken.push(format!("src/{}: `{word}`. \"{sentence}\"", file.path));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Whether the word stands in the code, and is neither the end of a longer one nor a module of the room.
fn contains_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = &code[..at];
        let longer = before.ends_with(|before: char| before.is_alphanumeric() || before == '_');
        !longer && !before.ends_with("self::") && !before.ends_with("super::")
    })
}

#[test]
fn files_stay_small_and_are_named_for_what_they_hold() {
    let (mut broken, mut lengths) = (Vec::new(), Vec::new());
    for file in sources().iter().filter(|file| !is_test_file(&file.path)) {
        let lines = file.code.lines().filter(|line| !line.trim().is_empty()).count();
        lengths.push(lines);
        if lines > MAX_LINES && !LONG_FILES.contains(&file.path.as_str()) {
            broken.push(format!("src/{}: {lines} lines. \"No file has more than {MAX_LINES} lines.\"", file.path));
        }
        if file.path.split(['/', '.']).any(|part| DRAWERS.contains(&part)) {
            broken.push(format!("src/{}: \"Files are named for what they hold.\"", file.path));
        }
    }
    lengths.sort_unstable();
    let (median, p90) = (lengths[lengths.len() / 2], lengths[lengths.len() * 9 / 10]);
    assert!(
        median <= 120 && p90 <= 350,
        "\"Half of the files have at most 120 lines, nine of ten at most 350.\" \
             The median is {median}, nine of ten have at most {p90}."
    );
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_metric_is_described() {
    let sources = sources();
    let table = &sources.iter().find(|file| file.path == "telemetry/metrics.rs").unwrap().code;
    let mut missing = Vec::new();
    for file in sources.iter().filter(|file| file.path != "telemetry/metrics.rs" && !is_test_file(&file.path)) {
        for (at, _) in file.code.match_indices("\"tidegate_") {
            let name = first_word(&file.code[at + 1..]);
            if !table.contains(&format!("\"{name}\"")) {
                missing.push(format!("src/{}: {name}", file.path));
            }
        }
    }
    assert!(missing.is_empty(), "\"Every metric's name stands in `telemetry/metrics.rs`.\"\n{}", missing.join("\n"));
}

#[test]
fn the_reader_of_imports_reads_groups() {
    let code = "use crate::{\n    model::{A, b::C},\n    config::D,\n};\nlet x = crate::market::Y;";
    assert_eq!(imported_rooms(code), ["model", "config", "market"]);
}
