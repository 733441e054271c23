//! Which MCP servers there are, each body on both databases: registering, changing, names, files, tools, several nodes.

use std::net::{IpAddr, Ipv4Addr};

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tidegate::{
    audit::{Audit, AuditFilter},
    bus::Bus,
    config::AuditConfig,
    events::{Command, CommandKey, Events, EventsError, Projector, Upcasters},
    mcp::{self, Checked, Fingerprint, McpError, Registry, RegistryParts, ServerDraft, ServerRecord, ServerSpec, Tool},
    model::{Chance, Clock, Origin},
    secrets::MasterKey,
    store::Stores,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::harness::{FreshDatabase, PostgresServer, on_both, until};

on_both! {
    a_server_is_registered_changed_and_removed
    a_name_is_for_one_server_whoever_asks_where
    a_key_made_twice_is_done_once
    servers_of_a_file_are_registered_by_themselves
    a_file_that_no_longer_has_a_server_frees_its_name
    a_changed_tool_waits_until_it_is_approved
    what_cannot_be_kept_is_refused
    checks_are_recorded_when_they_are_news
    the_table_says_what_the_log_says
    a_node_that_starts_later_knows_all_servers
}

/// One of the nodes that share a database.
struct Node {
    stores: Stores,
    events: Events,
    audit: Audit,
    projector: Projector,
    registry: Registry,
}

impl Node {
    /// Knows nothing yet.
    fn on(stores: Stores, file: &[(&str, Value)]) -> Self {
        let clock = Clock::system();
        let bus = Bus::new(clock.clone(), Chance::seeded(1));
        let upcasters = Upcasters::new(mcp::UPCASTERS.iter().copied());
        let events = Events::new(stores.log.clone(), upcasters, bus, clock, TimeDelta::hours(1));
        let master_key: MasterKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=".parse().unwrap();
        let audit = Audit::new(events.clone(), stores.log.clone(), &master_key, &AuditConfig::defaults());
        let projector = Projector::new(events.clone(), stores.index.clone(), mcp::projections());
        let file = file.iter().map(|(name, config)| (name.to_string(), ServerSpec::read(config, &[]).unwrap()));
        let registry = Registry::new(RegistryParts { events: events.clone(), audit: audit.clone() }, file);
        Self { stores, events, audit, projector, registry }
    }

    async fn run(&self) {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        self.events.start(&tasks, &stop);
        self.projector.start(&tasks, &stop);
        self.registry.start(&tasks, &stop).await;
    }

    async fn start(database: &FreshDatabase, file: &[(&str, Value)]) -> Self {
        let node = Self::on(database.stores().await, file);
        node.run().await;
        node
    }

    async fn register(&self, name: &str) -> Result<std::sync::Arc<ServerRecord>, McpError> {
        self.registry.register(by(None), &home(), draft(name)).await
    }

    fn names(&self) -> String {
        self.registry.servers().iter().map(|record| record.name.to_string()).collect::<Vec<_>>().join(" ")
    }

    /// The actions of the audit log, oldest first.
    async fn actions(&self) -> Vec<String> {
        let page = self.audit.page(&AuditFilter::default(), None, 100).await.unwrap();
        page.rows.iter().rev().map(|row| row.action.trim_start_matches("mcp.").to_owned()).collect()
    }
}

fn by(key: Option<CommandKey>) -> Command {
    Command { user_id: "admin".into(), correlation_id: "request".into(), causation_id: None, key }
}

fn home() -> Origin {
    Origin::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), None)
}

fn config() -> Value {
    json!({ "command": "npx", "args": ["-y", "server"], "env": { "DEBUG": "1" } })
}

fn draft(name: &str) -> ServerDraft {
    ServerDraft { name: name.to_owned(), config: config(), enabled: true }
}

fn tool(name: &str, description: &str, annotations: &Value) -> Tool {
    let tool = json!({
        "name": name, "description": description, "annotations": annotations,
        "inputSchema": { "type": "object", "properties": { "x": { "type": "number", "maximum": 1e16 } } },
    });
    serde_json::from_value(tool).unwrap()
}

/// Names with what is the matter with them.
fn tools(record: &ServerRecord) -> String {
    let each = |(name, known): (&std::sync::Arc<str>, &mcp::KnownTool)| {
        format!("{name}{}{}", if known.held { "!" } else { "" }, if known.changed_at.is_some() { "~" } else { "" })
    };
    record.tools.iter().map(each).collect::<Vec<_>>().join(" ")
}

async fn a_server_is_registered_changed_and_removed(database: FreshDatabase) {
    let (one, other) = (Node::start(&database, &[]).await, Node::start(&database, &[]).await);
    let registered = one.register("time").await.unwrap();
    let id = registered.id;
    assert_eq!((one.names().as_str(), one.registry.find(id)), ("time", Some(registered.clone())));
    assert_eq!(registered.spec.env["DEBUG"], "1");
    assert_eq!((registered.version, registered.enabled, registered.checked.clone()), (1, true, None));
    until("the other node knows it", async || other.registry.find(id).as_ref() == Some(&registered)).await;

    let mut changes = one.registry.changes();
    changes.borrow_and_update();
    let next = json!({ "url": "https://mcp.example/mcp" });
    let updated = other.registry.update(by(None), &home(), id, &next).await.unwrap();
    assert_eq!((updated.version, updated.spec.url.as_ref().unwrap().as_str()), (2, "https://mcp.example/mcp"));
    assert_eq!((updated.created_at, updated.updated_at > registered.updated_at), (registered.created_at, true));
    changes.wait_for(|servers| servers[0].version == 2).await.unwrap();
    // What is so already happens no more, and is recorded as said.
    for (enabled, version) in [(false, 3), (false, 3), (true, 4)] {
        let record = one.registry.set_enabled(by(None), &home(), id, enabled).await.unwrap();
        assert_eq!((record.enabled, record.version), (enabled, version));
    }
    one.registry.remove(by(None), &home(), id).await.unwrap();
    assert_eq!((one.names().as_str(), one.registry.by_name("time")), ("", None));
    let gone = McpError::NoServer(id.to_string());
    assert_eq!(other.registry.remove(by(None), &home(), id).await, Err(gone.clone()));
    assert_eq!(one.registry.update(by(None), &home(), id, &next).await.unwrap_err(), gone);
    assert_eq!(one.registry.record_check(id, true, None, None).await, Err(gone));
    until("the other node knows that", async || other.names().is_empty()).await;
    let done = ["register", "update", "disable", "disable", "enable", "remove"].map(|what| format!("server.{what}"));
    assert_eq!(one.actions().await, done);
    let page = one.audit.page(&AuditFilter::default(), None, 100).await.unwrap();
    let said = json!({ "command": "npx", "url": null, "name": "time", "enabled": true });
    assert_eq!((&page.rows[5].metadata, page.rows[5].resource.as_str()), (&said, format!("mcp_server:{id}").as_str()));
}

async fn a_name_is_for_one_server_whoever_asks_where(database: FreshDatabase) {
    let nodes = [Node::start(&database, &[]).await, Node::start(&database, &[]).await];
    let tries = (0..8).map(|number| nodes[number % 2].register("time"));
    let (won, lost): (Vec<_>, Vec<_>) = join_all(tries).await.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 7));
    assert!(lost.into_iter().all(|lost| lost == Err(McpError::NameTaken("time".to_owned()))));
    let first = won[0].as_ref().unwrap().id;
    until("both know it", async || nodes.iter().all(|node| node.registry.find(first).is_some())).await;
    nodes[0].registry.remove(by(None), &home(), first).await.unwrap();
    let second = nodes[1].register("time").await.unwrap();
    assert_ne!(second.id, first);
    until("both know the new one", async || {
        nodes.iter().all(|node| node.registry.by_name("time").is_some_and(|record| record.id == second.id))
    })
    .await;
}

async fn a_key_made_twice_is_done_once(database: FreshDatabase) {
    let (one, other) = (Node::start(&database, &[]).await, Node::start(&database, &[]).await);
    let key = |name: &str| by(Some(CommandKey::new("key", "register", &json!({ "name": name }))));
    let first = one.registry.register(key("time"), &home(), draft("time")).await.unwrap();
    one.registry.set_enabled(by(None), &home(), first.id, false).await.unwrap();
    let again = other.registry.register(key("time"), &home(), draft("time")).await.unwrap();
    assert_eq!((again.id, again.version, again.enabled), (first.id, 2, false), "it is told as it is now");
    let reused = one.registry.register(key("other"), &home(), draft("other")).await;
    assert_eq!(reused.unwrap_err(), McpError::Events(EventsError::KeyReused));
    let removing = || by(Some(CommandKey::new("another", "remove", &json!({}))));
    for node in [&one, &other] {
        node.registry.remove(removing(), &home(), first.id).await.unwrap();
    }
    let gone = one.registry.register(key("time"), &home(), draft("time")).await;
    assert_eq!(gone.unwrap_err(), McpError::NoServer(first.id.to_string()));
    assert_eq!(one.actions().await, ["server.register", "server.disable", "server.remove"]);
}

async fn servers_of_a_file_are_registered_by_themselves(database: FreshDatabase) {
    let before = Node::start(&database, &[]).await;
    before.register("taken").await.unwrap();
    let file = [("time", config()), ("taken", config()), ("Bad", config())];
    let one = Node::start(&database, &file).await;
    assert_eq!(one.names(), "taken time");
    let time = one.registry.by_name("time").unwrap();
    assert_eq!((time.version, &time.id.to_string()[..8]), (1, "82f19b0f"), "its id is made of its name");
    // A node whose file lacks it does not show it.
    let mine = before.registry.set_enabled(by(None), &home(), time.id, false).await;
    assert_eq!(mine.unwrap_err(), McpError::NoServer(time.id.to_string()));
    assert_eq!(before.names(), "taken");

    let from_file = Err(McpError::FromFile("time".to_owned()));
    assert_eq!(one.registry.update(by(None), &home(), time.id, &config()).await, from_file.clone());
    assert_eq!(one.registry.remove(by(None), &home(), time.id).await, from_file.map(drop));
    let taken = one.register("time").await;
    assert_eq!(taken.unwrap_err(), McpError::NameTaken("time".to_owned()));
    one.registry.set_enabled(by(None), &home(), time.id, false).await.unwrap();
    one.registry.record_tools(time.id, &[tool("now", "", &json!({}))]).await.unwrap();

    // The same file again, and another one.
    let again = Node::start(&database, &file).await;
    assert_eq!(again.registry.by_name("time"), one.registry.by_name("time"));
    let other = json!({ "command": "uvx" });
    let another = Node::start(&database, &[("time", other)]).await;
    let time = another.registry.by_name("time").unwrap();
    assert_eq!((time.version, time.enabled, time.spec.command.as_deref()), (4, false, Some("uvx")));
    assert_eq!(tools(&time), "now");
    // What another node may run is not for this one.
    until("the change is known", async || one.registry.by_name("time").unwrap().version == 4).await;
    assert_eq!(one.registry.by_name("time").unwrap().spec.command.as_deref(), Some("npx"));
    let done = ["register", "register", "disable", "update"].map(|what| format!("server.{what}"));
    assert_eq!(one.actions().await, done);
    let page = one.audit.page(&AuditFilter::default(), None, 100).await.unwrap();
    assert_eq!((page.rows[0].user_id.as_str(), &page.rows[0].metadata["source"]), ("tidegate", &json!("FILE")));
}

async fn a_file_that_no_longer_has_a_server_frees_its_name(database: FreshDatabase) {
    let old = Node::start(&database, &[("time", config())]).await;
    let new = Node::start(&database, &[]).await;
    let registered = new.register("time").await.unwrap();
    until("the old node has the new server", async || {
        old.registry.servers().iter().map(|record| record.id).eq([registered.id])
    })
    .await;
    // The file comes back too late.
    let late = Node::start(&database, &[("time", config())]).await;
    assert_eq!(late.registry.by_name("time").map(|record| record.id), Some(registered.id));
    late.registry.remove(by(None), &home(), registered.id).await.unwrap();
    let again = Node::start(&database, &[("time", config())]).await;
    assert_eq!(again.registry.by_name("time").map(|record| record.version), Some(3));
}

async fn a_changed_tool_waits_until_it_is_approved(database: FreshDatabase) {
    let (one, other) = (Node::start(&database, &[]).await, Node::start(&database, &[]).await);
    let id = one.register("time").await.unwrap().id;
    let (reads, writes) = (json!({ "readOnlyHint": true }), json!({ "readOnlyHint": false }));
    let first = [tool("now", "", &reads), tool("zones", "", &reads)];
    let news = one.registry.record_tools(id, &first).await.unwrap();
    assert_eq!((news.added.len(), news.changed.len(), news.removed.len()), (2, 0, 0));
    let known = one.registry.find(id).unwrap();
    assert_eq!((tools(&known).as_str(), known.version), ("now zones", 2));
    assert_eq!(known.tools["now"].fingerprint, Fingerprint::of(&first[0]));
    // The same from the other node, before and after it has heard of it: nothing is appended.
    for node in [&other, &one, &other] {
        assert!(node.registry.record_tools(id, &first).await.unwrap().is_empty());
        assert_eq!(node.registry.find(id).unwrap().version, 2);
    }

    let second = [tool("now", "Send mail", &writes), tool("zones", "All of them", &reads)];
    let news = other.registry.record_tools(id, &second).await.unwrap();
    assert_eq!((news.changed.len(), news.held), (2, vec!["now".into()]));
    until("this node knows it", async || one.registry.find(id).unwrap().version == 3).await;
    let known = one.registry.find(id).unwrap();
    assert_eq!(tools(&known), "now!~ zones~");
    let previous = known.tools["now"].previous.as_ref().unwrap();
    assert_eq!((previous.description.as_deref(), &previous.annotations), (Some(""), &first[0].annotations));

    let approve = async |tool: &str, fingerprint: &Fingerprint| {
        one.registry.approve_tool(by(None), &home(), id, tool, fingerprint.as_str()).await
    };
    let stale = approve("now", &Fingerprint::of(&first[0])).await.unwrap_err();
    assert!(matches!(&stale, McpError::Invalid(problems) if problems[0].path == ["fingerprint"]), "{stale}");
    let (name, candidates) = ("later".to_owned(), vec!["now".to_owned()]);
    assert_eq!(approve("later", &Fingerprint::of(&first[0])).await.unwrap_err(), McpError::NoTool { name, candidates });
    let approved = approve("now", &Fingerprint::of(&second[0])).await.unwrap();
    assert_eq!((tools(&approved).as_str(), approved.version), ("now~ zones~", 4));
    until("the other node knows it", async || tools(&other.registry.find(id).unwrap()) == "now~ zones~").await;
    assert!(other.registry.record_tools(id, &second).await.unwrap().is_empty());
    assert_eq!(one.actions().await, ["server.register", "tool.approve"]);
    let news = one.registry.record_tools(id, &second[..1]).await.unwrap();
    assert_eq!((news.removed.len(), &*news.removed[0]), (1, "zones"));
}

async fn what_cannot_be_kept_is_refused(database: FreshDatabase) {
    let node = Node::start(&database, &[]).await;
    let id = node.register("time").await.unwrap().id;
    let many: Vec<Tool> = (0..1_001).map(|number| tool(&number.to_string(), "", &json!({}))).collect();
    assert!(matches!(node.registry.record_tools(id, &many).await, Err(McpError::Invalid(_))));
    let news = node.registry.record_tools(id, &many[..1_000]).await.unwrap();
    assert_eq!(news.added.len(), 1_000);
    // What one of the databases does not keep.
    let odd = [tool("odd", "a\0b", &json!({ "readOnlyHint": true }))];
    assert_eq!(node.registry.record_tools(id, &odd).await.unwrap().removed.len(), 1_000);
    assert!(node.registry.record_tools(id, &odd).await.unwrap().is_empty());
    let later = Node::start(&database, &[]).await;
    let kept = later.registry.find(id).unwrap();
    assert_eq!(kept.tools["odd"].tool.description.as_deref(), Some("a\u{fffd}b"));
    assert!(
        later.registry.record_tools(id, &odd).await.unwrap().is_empty(),
        "it is the same for a node that has read it"
    );
    // A server that never says the same twice.
    let mut refused = 0;
    for number in 0..70 {
        let tools = [tool("odd", &number.to_string(), &json!({ "readOnlyHint": true }))];
        refused += usize::from(node.registry.record_tools(id, &tools).await.is_err());
    }
    assert_eq!(refused, 70 - 58);
    let nobody = Uuid::nil();
    let unknown = node.registry.record_tools(nobody, &odd).await;
    assert_eq!(unknown, Err(McpError::NoServer(nobody.to_string())));
}

async fn checks_are_recorded_when_they_are_news(database: FreshDatabase) {
    let nodes = [Node::start(&database, &[]).await, Node::start(&database, &[]).await];
    let id = nodes[0].register("time").await.unwrap().id;
    for (up, version, error, expected) in [
        (false, None, Some("no such program"), 2),
        (false, None, Some("something else"), 2),
        (true, Some("1.0\0"), None, 3),
        (true, Some("1.0\0"), None, 3),
        (true, None, None, 3),
        (true, Some("1.1"), None, 4),
        (false, None, Some("it is silent"), 5),
    ] {
        for node in &nodes {
            node.registry.record_check(id, up, version, error).await.unwrap();
            assert_eq!(node.registry.find(id).unwrap().version, expected, "{up} {version:?} {error:?}");
        }
    }
    let record = nodes[1].registry.find(id).unwrap();
    let Some(Checked { up, error, .. }) = &record.checked else { panic!("it was checked") };
    assert_eq!((record.server_version.as_deref(), *up, error.as_deref()), (Some("1.1"), false, Some("it is silent")));
    assert_eq!(nodes[0].actions().await, ["server.register"], "nobody asked for the rest");
}

async fn the_table_says_what_the_log_says(database: FreshDatabase) {
    let node = Node::start(&database, &[("file", config())]).await;
    let id = node.register("time").await.unwrap().id;
    let gone = node.register("gone").await.unwrap().id;
    node.registry.remove(by(None), &home(), gone).await.unwrap();
    node.register("gone").await.unwrap();
    node.registry.set_enabled(by(None), &home(), id, false).await.unwrap();
    node.registry.update(by(None), &home(), id, &json!({ "url": "https://mcp.example" })).await.unwrap();
    node.registry.record_check(id, true, Some("1.0"), None).await.unwrap();
    node.registry.record_check(id, false, None, Some("away")).await.unwrap();
    node.registry.record_tools(id, &[tool("now", "", &json!({}))]).await.unwrap();
    let counts = [
        ("SELECT count(*) FROM mcp_servers", 3),
        ("SELECT count(*) FROM mcp_servers WHERE source = 'FILE' AND status = 'UNKNOWN' AND enabled", 1),
        ("SELECT count(*) FROM mcp_servers WHERE name = 'gone' AND stream_version = 1", 1),
        (
            "SELECT count(*) FROM mcp_servers WHERE name = 'time' AND NOT enabled AND status = 'DOWN' \
             AND version = '1.0' AND error = 'away' AND last_health_check IS NOT NULL AND stream_version = 6 \
             AND updated_at > created_at AND config ->> 'url' = 'https://mcp.example/'",
            1,
        ),
    ];
    let shown = async |sql: &'static str| database.rows_of_index(&node.stores, sql).await[0];
    for (sql, count) in counts {
        until(sql, async || shown(sql).await == count).await;
    }
    let rebuilt = node.projector.rebuild("mcp_servers").await.unwrap();
    assert_eq!(rebuilt.generation, 2);
    for (sql, count) in counts {
        assert_eq!(shown(sql).await, count, "{sql}");
    }
}

async fn a_node_that_starts_later_knows_all_servers(database: FreshDatabase) {
    let one = Node::start(&database, &[]).await;
    let id = one.register("time").await.unwrap().id;
    one.register("other").await.unwrap();
    // Enough for a snapshot.
    for number in 0..120 {
        one.registry.set_enabled(by(None), &home(), id, number % 2 == 1).await.unwrap();
    }
    one.registry.record_tools(id, &[tool("now", "", &json!({}))]).await.unwrap();
    let later = Node::start(&database, &[]).await;
    let known = |node: &Node| node.registry.servers().iter().map(|record| (**record).clone()).collect::<Vec<_>>();
    assert_eq!(known(&later), known(&one));
    assert_eq!(known(&later)[1].version, 122);
}

/// There is no database at the start, and then there is one; and then it goes and comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_a_database_knows_what_it_knew() {
    let database = FreshDatabase::own_postgres().await;
    let server: &PostgresServer = database.server();
    let before = Node::start(&database, &[]).await;
    let id = before.register("time").await.unwrap().id;
    server.kill();
    let node = Node::start(&database, &[("file", config())]).await;
    assert_eq!(node.names(), "");
    server.start_again().await;
    until("both are there", async || node.names() == "file time").await;

    server.kill();
    let refused = node.registry.set_enabled(by(None), &home(), id, false).await;
    assert!(matches!(refused, Err(McpError::Events(EventsError::Database(_)))), "{refused:?}");
    assert_eq!((node.names().as_str(), node.registry.find(id).unwrap().enabled), ("file time", true));
    server.start_again().await;
    until("it can be changed", async || before.registry.set_enabled(by(None), &home(), id, false).await.is_ok()).await;
    until("the other node hears of it", async || !node.registry.find(id).unwrap().enabled).await;
}

/// A backup takes the place of the file while the node runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_log_was_replaced_reads_the_new_one() {
    let database = FreshDatabase::sqlite();
    let node = Node::start(&database, &[]).await;
    let id = node.register("time").await.unwrap().id;
    let backup = database.dump().await;
    node.register("later").await.unwrap();
    node.registry.set_enabled(by(None), &home(), id, false).await.unwrap();
    let (path, restored) = (database.config.folder.join("tidegate.db"), database.config.folder.join("restored"));
    std::fs::write(&restored, backup).unwrap();
    for rest in ["tidegate.db-wal", "tidegate.db-shm"] {
        let _ = std::fs::remove_file(database.config.folder.join(rest));
    }
    std::fs::rename(restored, path).unwrap();
    until("it is as it was", async || node.names() == "time" && node.registry.find(id).unwrap().enabled).await;
    until("it goes on from there", async || node.register("later").await.is_ok()).await;
    assert_eq!(node.names(), "later time");
}
