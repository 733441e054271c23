//! What is kept of who may do what, each body on both databases: API keys, revoked tokens, second factors.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use chrono::TimeDelta;
use data_encoding::{BASE32_NOPAD, HEXLOWER};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tidegate::{
    audit::Audit,
    auth::{
        ApiKeyDraft, ApiKeyError, AuthError, AuthParts, AuthState, Authenticator, CodeError, CreatedApiKey,
        FactorError, RevocationError, StepUpError, TokenName,
    },
    bus::Bus,
    config::{AuditConfig, AuthConfig, LimitsConfig, ResilienceConfig, SecondFactor},
    events::{Command, CommandKey, Events, Upcasters},
    limits::Limiter,
    model::{Chance, Clock, FieldError, Origin, Principal, Role, Timestamp},
    resilience::{Outbound, Upstreams},
    secrets::MasterKey,
    store::Stores,
};
use tokio::time::{Instant, sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::harness::{FreshDatabase, TotpApp, on_both, until};

on_both! {
    a_key_is_shown_once_and_believed_until_it_is_revoked
    keys_are_listed_newest_first
    a_key_made_twice_under_one_idempotency_key_is_one
    what_is_wrong_with_a_key_is_said_at_once
    bad_keys_are_refused_each_for_its_reason
    a_key_that_one_node_revokes_ends_on_the_others
    bad_keys_of_one_address_come_to_an_end
    a_revoked_token_is_refused_on_every_node
    a_token_is_revoked_by_its_jti
    a_subject_is_revoked_up_to_a_moment
    a_node_that_starts_later_knows_what_was_revoked
    a_full_list_takes_what_is_on_it_already
    a_second_factor_is_enrolled_shown_and_taken_away
    a_new_factor_takes_the_place_of_the_old_one_when_it_is_confirmed
    a_code_counts_once
    of_two_that_show_the_same_code_one_wins
    a_recovery_code_counts_once_also_at_the_same_time
    guesses_of_a_subject_come_to_an_end
    guesses_from_an_address_come_to_an_end
    who_must_show_a_second_factor_is_as_configured
    a_step_up_ends_with_its_factor_and_can_be_revoked
    nothing_that_is_kept_is_a_secret
}

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const AWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

/// One of the nodes that share a database.
struct Node {
    stores: Stores,
    state: AuthState,
    authenticator: Authenticator,
    config: AuthConfig,
}

impl Node {
    async fn start(database: &FreshDatabase) -> Self {
        Self::with(database, AuthConfig::defaults()).await
    }

    async fn with(database: &FreshDatabase, config: AuthConfig) -> Self {
        let (clock, chance) = (Clock::system(), Chance::seeded(1));
        let stores = database.stores().await;
        let bus = Bus::new(clock.clone(), chance.clone());
        let (upcasters, retention) = (Upcasters::default(), TimeDelta::hours(1));
        let events = Events::new(stores.log.clone(), upcasters, bus, clock.clone(), retention);
        let master_key: MasterKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=".parse().unwrap();
        let limiter = Limiter::new(clock.clone(), &LimitsConfig::defaults());
        let log = stores.log.clone();
        let audit = Audit::new(events.clone(), log.clone(), &master_key, &AuditConfig::defaults());
        let parts = AuthParts { events, audit, log, master_key: &master_key, limiter, clock: clock.clone() };
        let state = AuthState::new(&config, parts);
        state.start(&TaskTracker::new(), &CancellationToken::new()).await;
        let resilience = ResilienceConfig::defaults();
        let upstreams = Upstreams::new(clock.clone(), chance, &resilience);
        let outbound = Outbound::new(&resilience.outbound, clock.clone()).unwrap();
        let authenticator = Authenticator::with_state(&config, clock, &upstreams, outbound, &state);
        Self { stores, state, authenticator, config }
    }

    async fn show(&self, token: &str) -> Result<Principal, AuthError> {
        self.show_from(token, HOME).await
    }

    async fn show_from(&self, token: &str, address: IpAddr) -> Result<Principal, AuthError> {
        let header = format!("Bearer {token}");
        let principal = self.authenticator.authenticate_from(Some(&header), address).await?;
        Ok(principal.expect("whoever shows a token is somebody"))
    }

    /// A key of robot, an ADMIN.
    async fn create_key(&self) -> (String, String) {
        let CreatedApiKey { record, text } =
            self.state.api_keys.create(by("admin"), &home(), &draft("backup")).await.unwrap();
        (record.id, text.unwrap().into_text())
    }

    /// A token of alice like no other, issued some seconds ago, with whatever else it says.
    fn token(&self, seconds_ago: i64, more: &Value) -> String {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let (issued_at, number) = (now().timestamp() - seconds_ago, NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut claims = json!({ "sub": "alice", "iat": issued_at, "exp": issued_at + 3_600, "number": number });
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let key = jsonwebtoken::EncodingKey::from_secret(self.config.secret.expose().as_bytes());
        jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
    }

    /// Enrols alice; returns her secret and her recovery codes.
    async fn enrol(&self) -> (TotpApp, Vec<String>) {
        let factors = &self.state.second_factors;
        let app = TotpApp(factors.begin_enrolment(by("alice"), &home(), None).await.unwrap().secret.into_text());
        let codes = factors.confirm(by("alice"), &home(), &app.code()).await.unwrap();
        (app, codes.into_iter().map(tidegate::secrets::ShownOnce::into_text).collect())
    }

    async fn step_up(&self, code: &str) -> Result<String, FactorError> {
        let stepped_up = self.state.second_factors.step_up(by("alice"), &home(), code).await?;
        Ok(stepped_up.token.text.into_text())
    }
}

fn now() -> Timestamp {
    Clock::system().now()
}

fn by(subject: &str) -> Command {
    Command { user_id: subject.into(), correlation_id: "request".into(), causation_id: None, key: None }
}

fn home() -> Origin {
    Origin::new(HOME, Some("tests"))
}

fn draft(name: &str) -> ApiKeyDraft {
    ApiKeyDraft { name: name.into(), subject: "robot".into(), role: Role::Admin, expires_at: None }
}

/// Lets codes of the app count again that were shown.
async fn forget_steps(database: &FreshDatabase, node: &Node) {
    database.execute(&node.stores, "UPDATE second_factors SET last_used_step = 1 WHERE secret IS NOT NULL").await;
}

fn alice() -> Principal {
    Principal { subject: "alice".into(), role: Role::Admin, expires_at: None }
}

async fn a_key_is_shown_once_and_believed_until_it_is_revoked(database: FreshDatabase) {
    let node = Node::start(&database).await;
    let (keys, end) = (&node.state.api_keys, now() + TimeDelta::hours(1));
    let wish = ApiKeyDraft { expires_at: Some(end), ..draft("backup") };
    let CreatedApiKey { record, text } = keys.create(by("admin"), &home(), &wish).await.unwrap();
    assert_eq!((&*record.name, &*record.subject, record.role), ("backup", "robot", Role::Admin));
    assert_eq!((&*record.created_by, record.revoked_at), ("admin", None));
    assert_eq!(keys.get(&record.id).await.unwrap(), record, "what is told is what is kept");

    let text = text.unwrap().into_text();
    let expected = Principal { subject: "robot".into(), role: Role::Admin, expires_at: record.expires_at };
    for _ in 0..2 {
        assert_eq!(node.show(&text).await.unwrap(), expected);
    }
    let revoked = keys.revoke(by("bob"), &home(), &record.id).await.unwrap();
    assert_eq!(revoked.revoked_by.as_deref(), Some("bob"));
    assert_eq!(node.show(&text).await, Err(AuthError::RevokedApiKey), "at once, though it was remembered");
    assert_eq!(keys.revoke(by("eve"), &home(), &record.id).await.unwrap(), revoked, "once is for good");
    for id in ["0123456789abcdef", "", "x", "0123456789abcde\0"] {
        assert_eq!(keys.revoke(by("admin"), &home(), id).await, Err(ApiKeyError::NotFound), "{id:?}");
        assert_eq!(keys.get(id).await, Err(ApiKeyError::NotFound), "{id:?}");
    }
}

async fn keys_are_listed_newest_first(database: FreshDatabase) {
    let node = Node::start(&database).await;
    let keys = &node.state.api_keys;
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        keys.create(by("admin"), &home(), &draft(name)).await.unwrap();
    }
    let (mut place, mut found) = (None, Vec::new());
    loop {
        let page = keys.page(place, 2).await.unwrap();
        place = page.keys.last().map(|(place, _)| *place);
        found.extend(page.keys.into_iter().map(|(_, record)| record.name));
        if !page.more {
            break;
        }
    }
    assert_eq!(found, ["e", "d", "c", "b", "a"]);
    assert_eq!(keys.page(place, 2).await.unwrap().keys, []);
    assert_eq!(keys.page(None, 1_000_000).await.unwrap().keys.len(), names.len());
}

async fn a_key_made_twice_under_one_idempotency_key_is_one(database: FreshDatabase) {
    let node = Node::start(&database).await;
    let keys = &node.state.api_keys;
    let command = || Command { key: Some(CommandKey::new("key", "apiKeyCreate", &json!({}))), ..by("admin") };
    let first = keys.create(command(), &home(), &draft("backup")).await.unwrap();
    let again = keys.create(command(), &home(), &draft("backup")).await.unwrap();
    assert_eq!(first.record, again.record);
    assert!(first.text.is_some() && again.text.is_none(), "it is shown once");
    assert_eq!(keys.page(None, 10).await.unwrap().keys.len(), 1);
    let command = || Command { key: Some(CommandKey::new("other", "apiKeyRevoke", &json!({}))), ..by("admin") };
    let revoked = keys.revoke(command(), &home(), &first.record.id).await.unwrap();
    assert_eq!(keys.revoke(command(), &home(), &first.record.id).await.unwrap(), revoked);
}

async fn what_is_wrong_with_a_key_is_said_at_once(database: FreshDatabase) {
    let node = Node::start(&database).await;
    let bad = ApiKeyDraft { name: "\0".into(), subject: "\0".into(), role: Role::User, expires_at: Some(now()) };
    let refused = node.state.api_keys.create(by("admin"), &home(), &bad).await.err().unwrap();
    let ApiKeyError::Invalid(problems) = refused else { panic!("{refused}") };
    let fields: Vec<&str> = problems.iter().map(|FieldError { path, .. }| path[1].as_str()).collect();
    assert_eq!(fields, ["name", "subject", "expiresAt"]);
    assert_eq!(node.state.api_keys.page(None, 10).await.unwrap().keys, []);
}

async fn bad_keys_are_refused_each_for_its_reason(database: FreshDatabase) {
    let node = Node::start(&database).await;
    let (id, text) = node.create_key().await;
    let (_, other) = node.create_key().await;
    let secret = |text: &str| text[21..].to_owned();
    assert!(node.show(&text).await.is_ok() && secret(&text).len() == 43);
    for (name, shown, expected) in [
        ("another's secret", format!("tgk_{id}_{}", secret(&other)), AuthError::UnknownApiKey),
        ("unknown id", format!("tgk_0123456789abcdef_{}", secret(&text)), AuthError::UnknownApiKey),
        ("too short", text[..63].to_owned(), AuthError::MalformedApiKey),
        ("beginning only", "tgk_".to_owned(), AuthError::MalformedApiKey),
    ] {
        let refused = node.show(&shown).await.unwrap_err();
        assert_eq!(refused, expected, "{name}");
        assert!(!refused.to_string().contains(&id) && !refused.is_temporary(), "{name}");
    }
    assert!(node.show(&text).await.is_ok());
    database.execute(&node.stores, "UPDATE api_keys SET expires_at = created_at").await;
    let fresh = Node::start(&database).await;
    assert_eq!(fresh.show(&text).await, Err(AuthError::ExpiredApiKey));
}

async fn a_key_that_one_node_revokes_ends_on_the_others(database: FreshDatabase) {
    let (node, other) = (Node::start(&database).await, Node::start(&database).await);
    let (id, text) = node.create_key().await;
    assert!(other.show(&text).await.is_ok());
    let began = Instant::now();
    node.state.api_keys.revoke(by("admin"), &home(), &id).await.unwrap();
    assert!(other.show(&text).await.is_ok(), "it is remembered");
    until("the key ends", async || other.show(&text).await == Err(AuthError::RevokedApiKey)).await;
    assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());
}

async fn bad_keys_of_one_address_come_to_an_end(database: FreshDatabase) {
    let node = Node::start(&database).await;
    let (id, text) = node.create_key().await;
    let bad = format!("tgk_{id}_{}", "A".repeat(43));
    for _ in 0..20 {
        assert_eq!(node.show(&bad).await, Err(AuthError::UnknownApiKey));
    }
    let refused = node.show(&bad).await.unwrap_err();
    assert!(matches!(refused, AuthError::TooManyApiKeys { .. }) && refused.is_limited(), "{refused}");
    let wait = refused.retry_after().unwrap();
    assert!(wait > Duration::from_secs(30) && wait <= Duration::from_secs(45), "{wait:?}");
    assert_eq!(node.show_from(&bad, AWAY).await, Err(AuthError::UnknownApiKey));
    assert!(node.show_from(&text, AWAY).await.is_ok());
    assert!(node.show(&text).await.is_ok(), "a good key that is known is no guess");
}

async fn a_revoked_token_is_refused_on_every_node(database: FreshDatabase) {
    let (node, other) = (Node::start(&database).await, Node::start(&database).await);
    let (token, kept) = (node.token(10, &json!({})), node.token(11, &json!({})));
    for node in [&node, &other] {
        assert!(node.show(&token).await.is_ok() && node.show(&kept).await.is_ok());
    }
    let name = TokenName::Text(token.clone());
    node.state.revocations.revoke_token(by("admin"), &home(), &name, None).await.unwrap();
    let began = Instant::now();
    assert_eq!(node.show(&token).await, Err(AuthError::Revoked), "at once");
    until("the other node refuses it", async || other.show(&token).await == Err(AuthError::Revoked)).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    // Once more changes nothing, wherever it is said.
    other.state.revocations.revoke_token(by("admin"), &home(), &name, None).await.unwrap();
    assert_eq!(database.rows(&node.stores, "SELECT count(*) FROM revoked_tokens").await, [1]);
    for node in [&node, &other] {
        assert!(node.show(&kept).await.is_ok());
    }
}

async fn a_token_is_revoked_by_its_jti(database: FreshDatabase) {
    let (node, other) = (Node::start(&database).await, Node::start(&database).await);
    let [one, two] = ["one", "two"].map(|jti| node.token(10, &json!({ "jti": jti })));
    assert!(node.show(&one).await.is_ok() && other.show(&one).await.is_ok());
    let (revocations, name) = (&node.state.revocations, TokenName::Jti("one".into()));
    let refused = revocations.revoke_token(by("admin"), &home(), &name, None).await.unwrap_err();
    assert!(matches!(&refused, RevocationError::Invalid(problems) if problems.len() == 1), "{refused}");
    let end = Some(now() + TimeDelta::hours(1));
    revocations.revoke_token(by("admin"), &home(), &name, end).await.unwrap();
    assert_eq!(node.show(&one).await, Err(AuthError::Revoked));
    until("the other node refuses it", async || other.show(&one).await == Err(AuthError::Revoked)).await;
    assert!(node.show(&two).await.is_ok() && other.show(&two).await.is_ok());
}

async fn a_subject_is_revoked_up_to_a_moment(database: FreshDatabase) {
    let (node, other) = (Node::start(&database).await, Node::start(&database).await);
    let (old, new) = (node.token(100, &json!({})), node.token(10, &json!({})));
    let bob = node.token(100, &json!({ "sub": "bob" }));
    assert!(node.show(&old).await.is_ok() && other.show(&old).await.is_ok());
    let (revocations, minute_ago) = (&node.state.revocations, now() - TimeDelta::minutes(1));
    revocations.revoke_subject(by("admin"), &home(), "alice", Some(minute_ago)).await.unwrap();
    assert_eq!(node.show(&old).await, Err(AuthError::Revoked));
    until("the other node refuses it", async || other.show(&old).await == Err(AuthError::Revoked)).await;
    for node in [&node, &other] {
        assert!(node.show(&new).await.is_ok() && node.show(&bob).await.is_ok());
    }
    // An earlier moment takes nothing back; a later one takes more.
    let hour_ago = now() - TimeDelta::hours(1);
    revocations.revoke_subject(by("admin"), &home(), "alice", Some(hour_ago)).await.unwrap();
    assert_eq!(node.show(&old).await, Err(AuthError::Revoked));
    revocations.revoke_subject(by("admin"), &home(), "alice", None).await.unwrap();
    assert_eq!(node.show(&new).await, Err(AuthError::Revoked));
    until("the other node refuses it", async || other.show(&new).await == Err(AuthError::Revoked)).await;
    let ahead = Some(now() + TimeDelta::minutes(2));
    let refused = revocations.revoke_subject(by("admin"), &home(), "", ahead).await.unwrap_err();
    assert!(matches!(&refused, RevocationError::Invalid(problems) if problems.len() == 2), "{refused}");
}

async fn a_node_that_starts_later_knows_what_was_revoked(database: FreshDatabase) {
    let node = Node::start(&database).await;
    let (token, old) = (node.token(10, &json!({})), node.token(100, &json!({ "sub": "bob" })));
    let revocations = &node.state.revocations;
    revocations.revoke_token(by("admin"), &home(), &TokenName::Text(token.clone()), None).await.unwrap();
    revocations.revoke_subject(by("admin"), &home(), "bob", None).await.unwrap();
    let later = Node::start(&database).await;
    assert_eq!(later.show(&token).await, Err(AuthError::Revoked));
    assert_eq!(later.show(&old).await, Err(AuthError::Revoked));
    assert!(later.show(&later.token(10, &json!({}))).await.is_ok());
}

async fn a_full_list_takes_what_is_on_it_already(database: FreshDatabase) {
    const FILL: &str = "INSERT INTO revoked_subjects (subject, issued_before, revoked_at) \
        WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 100000) \
        SELECT 'subject ' || n, CURRENT_TIMESTAMP, CURRENT_TIMESTAMP FROM numbers";
    let node = Node::start(&database).await;
    database.execute(&node.stores, FILL).await;
    let revoke = async |subject: &str| {
        node.state.revocations.revoke_subject(by("admin"), &home(), subject, None).await.map(drop)
    };
    assert_eq!(revoke("subject 5").await, Ok(()));
    assert_eq!(revoke("somebody else").await, Err(RevocationError::Full));
    assert_eq!(database.rows(&node.stores, "SELECT count(*) FROM revoked_subjects").await, [100_000]);
}

async fn a_second_factor_is_enrolled_shown_and_taken_away(database: FreshDatabase) {
    let node = Node::start(&database).await;
    let factors = &node.state.second_factors;
    let refused = factors.confirm(by("alice"), &home(), "123456").await.err();
    assert_eq!(refused, Some(FactorError::NothingPending));
    assert_eq!(node.step_up("123456").await, Err(FactorError::NotEnrolled));

    let begun = factors.begin_enrolment(by("alice"), &home(), None).await.unwrap();
    assert!(begun.uri.into_text().starts_with("otpauth://totp/Tidegate:alice?secret="));
    let stale = TotpApp(begun.secret.into_text());
    let app = TotpApp(factors.begin_enrolment(by("alice"), &home(), None).await.unwrap().secret.into_text());
    let refused = factors.confirm(by("alice"), &home(), &stale.code()).await.err();
    assert_eq!(refused, Some(CodeError::Wrong.into()), "a newer secret has taken its place");
    assert!(!factors.is_enrolled("alice").await.unwrap());
    let codes = factors.confirm(by("alice"), &home(), &app.code()).await.unwrap();
    assert_eq!((codes.len(), factors.is_enrolled("alice").await.unwrap()), (10, true));
    let again = factors.confirm(by("alice"), &home(), &app.code()).await.err();
    assert_eq!(again, Some(FactorError::NothingPending), "whoever has lost the answer enrols anew");
    assert!(!factors.is_enrolled("bob").await.unwrap());

    forget_steps(&database, &node).await;
    // Another node, as this one counts five codes of alice's.
    let node = Node::start(&database).await;
    let factors = &node.state.second_factors;
    let token = node.step_up(&app.code()).await.unwrap();
    let disable =
        async |subject: &str, token: Option<&str>| factors.disable(by("alice"), &home(), subject, token).await;
    assert_eq!(disable("alice", None).await, Err(FactorError::StepUpNeeded));
    assert_eq!(disable("alice", Some("guess")).await, Err(StepUpError::Malformed.into()));
    assert_eq!(disable("bob", Some(&token)).await, Err(FactorError::NotEnrolled));
    assert_eq!(disable("alice", Some(&token)).await, Ok(()));
    assert!(!factors.is_enrolled("alice").await.unwrap());
    assert_eq!(disable("alice", Some(&token)).await, Err(FactorError::EnrolmentNeeded));
    assert_eq!(database.rows(&node.stores, "SELECT count(*) FROM recovery_codes").await, [0]);
}

async fn a_new_factor_takes_the_place_of_the_old_one_when_it_is_confirmed(database: FreshDatabase) {
    let node = Node::start(&database).await;
    let (old, old_codes) = node.enrol().await;
    let factors = &node.state.second_factors;
    let begin = async |token: Option<&str>| factors.begin_enrolment(by("alice"), &home(), token).await;
    assert_eq!(begin(None).await.err(), Some(FactorError::StepUpNeeded));
    assert_eq!(begin(Some("guess")).await.err(), Some(StepUpError::Malformed.into()));
    let token = node.step_up(&old_codes[0]).await.unwrap();
    let new = TotpApp(begin(Some(&token)).await.unwrap().secret.into_text());
    assert!(factors.is_enrolled("alice").await.unwrap(), "the old one counts until then");
    forget_steps(&database, &node).await;
    assert!(node.step_up(&old.code()).await.is_ok());
    let codes = factors.confirm(by("alice"), &home(), &new.code()).await.unwrap();
    let node = Node::start(&database).await;
    forget_steps(&database, &node).await;
    assert_eq!(node.step_up(&old.code()).await, Err(CodeError::Wrong.into()));
    assert_eq!(node.step_up(&old_codes[1]).await, Err(CodeError::Wrong.into()));
    assert!(node.step_up(&new.code()).await.is_ok());
    assert!(node.step_up(&codes.into_iter().next().unwrap().into_text()).await.is_ok());
}

async fn a_code_counts_once(database: FreshDatabase) {
    let node = Node::start(&database).await;
    let (app, _) = node.enrol().await;
    assert_eq!(node.step_up(&app.code()).await, Err(CodeError::Used.into()), "it has confirmed the factor");
    forget_steps(&database, &node).await;
    let code = app.code();
    assert!(node.step_up(&code).await.is_ok());
    let other = Node::start(&database).await;
    for node in [&node, &other] {
        assert_eq!(node.step_up(&code).await, Err(CodeError::Used.into()));
    }
    assert_eq!(other.step_up(&app.wrong_code()).await, Err(CodeError::Wrong.into()));
    assert_eq!(other.step_up("").await, Err(CodeError::Wrong.into()));
}

/// How many of those who show `code` at the same time, at two nodes, get something.
async fn winners(nodes: &[Node; 2], code: &str) -> usize {
    // Whoever must first connect comes late.
    join_all((0..8).map(|number| nodes[number % 2].state.second_factors.is_enrolled("alice"))).await;
    let shown = (0..8).map(|number| nodes[number % 2].step_up(code));
    let outcomes = join_all(shown).await;
    let refused = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    for refused in refused {
        assert!(matches!(refused, FactorError::Code(_)), "{refused}");
    }
    outcomes.iter().filter(|outcome| outcome.is_ok()).count()
}

async fn of_two_that_show_the_same_code_one_wins(database: FreshDatabase) {
    let (app, _) = Node::start(&database).await.enrol().await;
    for _ in 0..3 {
        let nodes = [Node::start(&database).await, Node::start(&database).await];
        forget_steps(&database, &nodes[0]).await;
        assert_eq!(winners(&nodes, &app.code()).await, 1, "{}", database.name);
    }
}

async fn a_recovery_code_counts_once_also_at_the_same_time(database: FreshDatabase) {
    let node = Node::start(&database).await;
    let (_, codes) = node.enrol().await;
    let shown = codes[3].to_uppercase().replace('-', " ");
    let left = node.state.second_factors.step_up(by("alice"), &home(), &shown).await.unwrap().recovery_codes_left;
    assert_eq!((left, node.step_up(&codes[3]).await), (9, Err(CodeError::Wrong.into())));
    for code in &codes[..3] {
        let nodes = [Node::start(&database).await, Node::start(&database).await];
        assert_eq!(winners(&nodes, code).await, 1, "{}", database.name);
    }
    let left = "SELECT count(*) FROM recovery_codes WHERE used_at IS NULL";
    assert_eq!(database.rows(&node.stores, left).await, [6]);
    // A code of somebody else's is none of alice's.
    let node = Node::start(&database).await;
    let factors = &node.state.second_factors;
    let app = TotpApp(factors.begin_enrolment(by("bob"), &home(), None).await.unwrap().secret.into_text());
    let bobs = factors.confirm(by("bob"), &home(), &app.code()).await.unwrap();
    let code = bobs.into_iter().next().unwrap().into_text();
    assert_eq!(node.step_up(&code).await, Err(CodeError::Wrong.into()));
}

async fn guesses_of_a_subject_come_to_an_end(database: FreshDatabase) {
    let (app, codes) = Node::start(&database).await.enrol().await;
    let node = Node::start(&database).await;
    forget_steps(&database, &node).await;
    for _ in 0..5 {
        assert_eq!(node.step_up(&app.wrong_code()).await, Err(CodeError::Wrong.into()));
    }
    for code in [app.code(), codes[0].clone()] {
        let refused = node.step_up(&code).await.unwrap_err();
        let FactorError::TooManyAttempts { retry_after } = refused else { panic!("{refused}") };
        let expected = Duration::from_secs(150)..=Duration::from_mins(3);
        assert!(expected.contains(&retry_after), "{retry_after:?}");
    }
    let used = "SELECT count(*) FROM recovery_codes WHERE used_at IS NOT NULL";
    assert_eq!(database.rows(&node.stores, used).await, [0], "what comes too often is not looked at");
    let refused = node.state.second_factors.confirm(by("alice"), &home(), &app.code()).await.err().unwrap();
    assert!(matches!(refused, FactorError::TooManyAttempts { .. }), "{refused}");
}

async fn guesses_from_an_address_come_to_an_end(database: FreshDatabase) {
    let (app, _) = Node::start(&database).await.enrol().await;
    let node = Node::start(&database).await;
    forget_steps(&database, &node).await;
    for number in 0..20 {
        let command = by(&format!("mallory {number}"));
        let refused = node.state.second_factors.step_up(command, &home(), "123456").await.err();
        assert_eq!(refused, Some(FactorError::NotEnrolled));
    }
    let refused = node.step_up(&app.code()).await.unwrap_err();
    let FactorError::TooManyAttempts { retry_after } = refused else { panic!("{refused}") };
    assert!(retry_after <= Duration::from_secs(45), "{retry_after:?}");
    let away = Origin::new(AWAY, None);
    assert!(node.state.second_factors.step_up(by("alice"), &away, &app.code()).await.is_ok());
}

async fn a_step_up_ends_with_its_factor_and_can_be_revoked(database: FreshDatabase) {
    let (node, other) = (Node::start(&database).await, Node::start(&database).await);
    let (factors, revocations) = (&node.state.second_factors, &node.state.revocations);
    let demand = async |node: &Node, token: &str| node.state.second_factors.demand(&alice(), Some(token), now()).await;
    let (_, codes) = node.enrol().await;
    let token = node.step_up(&codes[0]).await.unwrap();
    let new = TotpApp(factors.begin_enrolment(by("alice"), &home(), Some(&token)).await.unwrap().secret.into_text());
    assert_eq!(demand(&other, &token).await, Ok(()), "the old factor counts until the new one is confirmed");
    let codes = factors.confirm(by("alice"), &home(), &new.code()).await.unwrap();
    let codes: Vec<_> = codes.into_iter().map(tidegate::secrets::ShownOnce::into_text).collect();
    assert_eq!(demand(&other, &token).await, Err(StepUpError::FactorGone.into()));

    let [one, two] = [node.step_up(&codes[0]).await.unwrap(), node.step_up(&codes[1]).await.unwrap()];
    for token in [&one, &two] {
        assert_eq!(demand(&other, token).await, Ok(()));
    }
    let by_itself = TokenName::Text(one.clone());
    revocations.revoke_token(by("admin"), &home(), &by_itself, None).await.unwrap();
    let revoked = Err(StepUpError::Revoked.into());
    assert_eq!(demand(&node, &one).await, revoked);
    until("the other node knows", async || demand(&other, &one).await == revoked).await;
    until("it was issued before this second", async || now().timestamp() > issued_at(&two)).await;
    assert_eq!(demand(&node, &two).await, Ok(()));
    revocations.revoke_subject(by("admin"), &home(), "alice", None).await.unwrap();
    assert_eq!(demand(&node, &two).await, revoked);
    until("the other node knows", async || demand(&other, &two).await == revoked).await;
}

/// What a token says of when it was issued.
fn issued_at(token: &str) -> i64 {
    let claims = data_encoding::BASE64URL_NOPAD.decode(token.split('.').nth(1).unwrap().as_bytes()).unwrap();
    serde_json::from_slice::<Value>(&claims).unwrap()["iat"].as_i64().unwrap()
}

async fn who_must_show_a_second_factor_is_as_configured(database: FreshDatabase) {
    let with = async |mode| {
        let mut config = AuthConfig::defaults();
        config.second_factor = mode;
        Node::with(&database, config).await
    };
    let (off, enrolled) = (with(SecondFactor::Off).await, with(SecondFactor::Enrolled).await);
    let required = with(SecondFactor::Required).await;
    let demand =
        async |node: &Node, token: Option<&str>| node.state.second_factors.demand(&alice(), token, now()).await;
    assert_eq!(demand(&off, None).await, Ok(()));
    assert_eq!(demand(&enrolled, None).await, Ok(()));
    assert_eq!(demand(&required, None).await, Err(FactorError::EnrolmentNeeded));
    let (_, codes) = enrolled.enrol().await;
    let token = required.step_up(&codes[0]).await.unwrap();
    assert_eq!(demand(&off, None).await, Ok(()));
    for node in [&enrolled, &required] {
        assert_eq!(demand(node, None).await, Err(FactorError::StepUpNeeded));
        assert_eq!(demand(node, Some("guess")).await, Err(StepUpError::Malformed.into()));
        assert_eq!(demand(node, Some(&token)).await, Ok(()), "all nodes believe each other's");
        let late = now() + TimeDelta::minutes(5);
        let expired = node.state.second_factors.demand(&alice(), Some(&token), late).await;
        assert_eq!(expired, Err(StepUpError::Expired.into()));
    }
    let bob = Principal { subject: "bob".into(), ..alice() };
    let posing = required.state.second_factors.demand(&bob, Some(&token), now()).await;
    assert_eq!(posing, Err(FactorError::EnrolmentNeeded));
    enrolled.state.second_factors.disable(by("alice"), &home(), "alice", Some(&token)).await.unwrap();
    assert_eq!(demand(&required, Some(&token)).await, Err(FactorError::EnrolmentNeeded));
}

/// Everything that the database holds, as bytes and as text with bytes in hex.
async fn everything(database: &FreshDatabase, node: &Node) -> Vec<u8> {
    let Some(pool) = node.stores.log.postgres() else {
        let files = ["tidegate.db", "tidegate.db-wal"].map(|name| database.config.folder.join(name));
        return files.into_iter().flat_map(|file| fs::read(file).unwrap_or_default()).collect();
    };
    let tables = "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public'";
    let tables: Vec<(String,)> = sqlx::query_as(tables).fetch_all(pool).await.unwrap();
    let mut all = Vec::new();
    for (table,) in tables {
        let rows = sqlx::AssertSqlSafe(format!("SELECT t::text FROM {table} AS t"));
        let rows: Vec<(String,)> = sqlx::query_as(rows).fetch_all(pool).await.unwrap();
        all.extend(rows.into_iter().flat_map(|(row,)| row.into_bytes()));
    }
    all
}

async fn nothing_that_is_kept_is_a_secret(database: FreshDatabase) {
    let node = Node::start(&database).await;
    let (id, key) = node.create_key().await;
    let command = Command { key: Some(CommandKey::new("key", "apiKeyCreate", &json!({}))), ..by("admin") };
    let second = node.state.api_keys.create(command, &home(), &draft("backup")).await.unwrap().text.unwrap();
    let token = node.token(10, &json!({}));
    let name = TokenName::Text(token.clone());
    node.state.revocations.revoke_token(by("admin"), &home(), &name, None).await.unwrap();
    let (app, codes) = node.enrol().await;
    let step_up = node.step_up(&codes[0]).await.unwrap();
    let pending = node.state.second_factors.begin_enrolment(by("alice"), &home(), Some(&step_up)).await.unwrap();
    let pending = pending.secret.into_text();

    let mut secrets = vec![key.clone(), key[21..].to_owned(), second.into_text()[21..].to_owned()];
    secrets.extend([&token, &step_up].map(|token| token.rsplit_once('.').unwrap().1.to_owned()));
    secrets.extend([&app.0, &pending].map(String::clone));
    secrets.extend(codes.iter().flat_map(|code| [code.clone(), code.replace('-', "")]));
    let mut needles: Vec<Vec<u8>> = secrets.into_iter().map(String::into_bytes).collect();
    for secret in [&app.0, &pending] {
        let raw = BASE32_NOPAD.decode(secret.as_bytes()).unwrap();
        needles.extend([HEXLOWER.encode(&raw).into_bytes(), raw]);
    }
    let kept = everything(&database, &node).await;
    let holds = |needle: &[u8]| kept.windows(needle.len()).any(|window| window == needle);
    assert!(holds(id.as_bytes()) && holds(b"alice"), "the search finds what is there");
    for needle in &needles {
        assert!(!holds(needle), "{} on {}", String::from_utf8_lossy(needle), database.name);
    }
}

/// What holds while the database is away; `take_away` takes it.
async fn away(database: FreshDatabase, take_away: impl FnOnce(&FreshDatabase)) {
    let node = Node::start(&database).await;
    let (_, key) = node.create_key().await;
    let (_, unseen) = node.create_key().await;
    let (token, revoked) = (node.token(10, &json!({})), node.token(11, &json!({})));
    let name = TokenName::Text(revoked.clone());
    node.state.revocations.revoke_token(by("admin"), &home(), &name, None).await.unwrap();
    let (app, codes) = node.enrol().await;
    let step_up = node.step_up(&codes[0]).await.unwrap();
    assert!(node.show(&key).await.is_ok());
    take_away(&database);

    assert!(node.show(&key).await.is_ok(), "it was seen of late");
    assert_eq!(node.show(&unseen).await, Err(AuthError::ApiKeysUnavailable));
    assert!(AuthError::ApiKeysUnavailable.is_temporary());
    let factors = &node.state.second_factors;
    for token in [None, Some(&*step_up)] {
        let refused = factors.demand(&alice(), token, now()).await.unwrap_err();
        assert!(matches!(refused, FactorError::Unavailable(_)), "{refused}");
    }
    let refused = node.step_up(&app.code()).await.unwrap_err();
    assert!(matches!(refused, FactorError::Unavailable(_)), "{refused}");
    // Longer than a look at what was revoked takes to fail, and than a key is remembered.
    sleep(Duration::from_millis(5_100)).await;
    assert_eq!(node.show(&revoked).await, Err(AuthError::Revoked));
    assert!(node.show(&token).await.is_ok());
    assert_eq!(node.show(&key).await, Err(AuthError::ApiKeysUnavailable));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_holds_while_the_file_is_away() {
    let take_away = |database: &FreshDatabase| {
        let file = database.config.folder.join("tidegate.db");
        fs::rename(&file, file.with_extension("away")).unwrap();
    };
    away(FreshDatabase::sqlite(), take_away).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_holds_while_the_server_is_away() {
    away(FreshDatabase::own_postgres().await, |database| database.server().kill()).await;
}

/// A node that starts without its database believes no token until it has come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_never_knew_believes_nobody() {
    let database = FreshDatabase::own_postgres().await;
    let node = Node::start(&database).await;
    let (token, revoked) = (node.token(10, &json!({})), node.token(11, &json!({})));
    let name = TokenName::Text(revoked.clone());
    node.state.revocations.revoke_token(by("admin"), &home(), &name, None).await.unwrap();
    database.server().kill();
    let later = Node::start(&database).await;
    assert_eq!(later.show(&token).await, Err(AuthError::RevocationsUnavailable));
    assert!(AuthError::RevocationsUnavailable.is_temporary());
    database.server().start_again().await;
    until("the list is read", async || later.show(&token).await.is_ok()).await;
    assert_eq!(later.show(&revoked).await, Err(AuthError::Revoked));
}
