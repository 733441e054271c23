//! Settings as an operator meets them: the command, its streams and its exit codes.

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

/// Runs `tidegate` in an empty directory with nothing but `environment`.
fn tidegate(directory: &Path, environment: &[(&str, &str)], args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(args)
        .env_clear()
        .envs(environment.iter().copied())
        .current_dir(directory)
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The lines on standard error of a command that refused to start; its standard output must be empty.
fn refusals(output: &Output) -> Vec<String> {
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &b""[..]));
    String::from_utf8(output.stderr.clone()).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn the_committed_reference_is_what_the_command_prints() {
    let directory = tempfile::tempdir().unwrap();
    let environment = [("TIDEGATE_HTTP_MAX_CONNECTIONS", "7")];
    let printed = stdout(&tidegate(directory.path(), &environment, &["config", "--format", "markdown", "--defaults"]));
    let committed = include_str!("../../docs/configuration.md");
    assert!(
        printed == committed,
        "docs/configuration.md is out of date: tidegate config --format markdown --defaults > docs/configuration.md"
    );
}

#[test]
fn flags_win_over_environment_over_file_over_default() {
    let directory = tempfile::tempdir().unwrap();
    let file = "[http]\nmax_connections = 1\nrequest_timeout_ms = 1001\nmax_batch_operations = 2\n";
    std::fs::write(directory.path().join("tidegate.toml"), file).unwrap();
    let environment = [("TIDEGATE_HTTP_MAX_CONNECTIONS", "2"), ("TIDEGATE_HTTP_REQUEST_TIMEOUT_MS", "1002")];
    let args = ["config", "--format", "json", "--set", "http.max_connections=3"];
    let listing: Value = serde_json::from_str(&stdout(&tidegate(directory.path(), &environment, &args))).unwrap();
    for (key, value, source) in [
        ("http.max_connections", "3", "flag"),
        ("http.request_timeout_ms", "1002", "environment"),
        ("http.max_batch_operations", "2", "file"),
        ("http.listen", "127.0.0.1:8080", "default"),
    ] {
        let setting = listing.as_array().unwrap().iter().find(|setting| setting["key"] == key).unwrap();
        assert_eq!((setting["value"].as_str(), setting["source"].as_str()), (Some(value), Some(source)), "{key}");
    }
}

#[test]
fn a_wrong_configuration_stops_the_start_with_key_value_and_what_was_expected() {
    let directory = tempfile::tempdir().unwrap();
    let environment = [("TIDEGATE_HTTP_MAX_CONNECTIONS", "many"), ("TIDEGATE_HTTP_LISTN", "x")];
    let args = ["sandbox", "--set", "auth.secret=hunter2", "--set", "auth.clock_skew_seconds=9000"];
    let said = refusals(&tidegate(directory.path(), &environment, &args));
    let mut expected = [
        "error: unknown setting TIDEGATE_HTTP_LISTN (from the environment), did you mean TIDEGATE_HTTP_LISTEN?",
        "error: http.max_connections = many (from TIDEGATE_HTTP_MAX_CONNECTIONS): expected a whole number, not negative",
        "error: auth.secret = [redacted] (on the command line): expected at least 32 bytes",
        "error: auth.clock_skew_seconds = 9000 (on the command line): expected 0 to 300 seconds",
    ];
    let mut said: Vec<&str> = said.iter().map(String::as_str).collect();
    said.sort_unstable();
    expected.sort_unstable();
    assert_eq!(said, expected);
}

#[test]
fn a_named_file_must_exist_and_a_default_one_need_not() {
    let directory = tempfile::tempdir().unwrap();
    assert!(tidegate(directory.path(), &[], &["config"]).status.success());
    let said = refusals(&tidegate(directory.path(), &[], &["config", "--config", "missing.toml"]));
    assert!(said[0].starts_with("error: cannot read missing.toml: "), "{said:?}");
}

#[test]
fn serve_refuses_the_development_secret() {
    let directory = tempfile::tempdir().unwrap();
    let said = refusals(&tidegate(directory.path(), &[], &["serve", "--listen", "127.0.0.1:0"]));
    assert_eq!(said.len(), 1);
    assert!(said[0].starts_with("error: auth.secret = [redacted] (the default): expected a secret"), "{said:?}");
}

#[test]
fn secrets_are_never_printed() {
    let directory = tempfile::tempdir().unwrap();
    let secret = "correct-horse-battery-staple-and-some";
    let environment = [("TIDEGATE_AUTH_SECRET", secret)];
    for format in ["text", "json", "markdown"] {
        let printed = stdout(&tidegate(directory.path(), &environment, &["config", "--format", format]));
        assert!(printed.contains("[redacted]") && !printed.contains(secret), "{format}");
    }
    assert!(!include_str!("../../docs/configuration.md").contains(tidegate::config::DEVELOPMENT_SECRET));
}

#[test]
fn a_token_stands_alone_on_standard_output() {
    let directory = tempfile::tempdir().unwrap();
    let args = ["token", "--role", "USER", "--subject", "alice"];
    let printed = stdout(&tidegate(directory.path(), &[], &args));
    let token = printed.strip_suffix('\n').unwrap();
    let token_bytes = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    assert!(token.bytes().all(token_bytes) && token.split('.').count() == 3, "{printed:?}");
}

#[test]
fn a_token_cannot_be_made_where_an_issuer_makes_them() {
    let directory = tempfile::tempdir().unwrap();
    let environment = [("TIDEGATE_AUTH_JWKS_URL", "https://issuer.example/keys")];
    let said = refusals(&tidegate(directory.path(), &environment, &["token", "--subject", "alice"]));
    assert_eq!(said, ["error: auth.jwks_url is set: only the issuer behind it can make tokens that count here"]);
}
