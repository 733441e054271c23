use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use crate::{
    mcp::{
        Catalogue, Fingerprint, McpError, Permission, Tool,
        catalogue::{CatalogueServer, CatalogueTool},
    },
    model::{Principal, Role},
};

fn tool(name: &str, held: bool) -> CatalogueTool {
    let tool: Tool = serde_json::from_value(json!({"name": name, "inputSchema": {}})).unwrap();
    CatalogueTool { fingerprint: Fingerprint::of(&tool), tool: Arc::new(tool), held, changed_at: None, previous: None }
}

fn server(name: &str, tools: &[&str], permissions: Vec<Permission>) -> CatalogueServer {
    let tools = tools.iter().map(|name| tool(name.trim_start_matches('!'), name.starts_with('!'))).collect();
    CatalogueServer { id: Uuid::nil(), name: name.into(), enabled: true, permissions: permissions.into(), tools }
}

fn rule(tools: &str, roles: &[Role], subjects: &[&str]) -> Permission {
    let subjects = subjects.iter().map(ToString::to_string).collect();
    Permission { tools: tools.to_owned(), roles: roles.to_vec(), subjects }
}

fn who(subject: &str, role: Role) -> Principal {
    Principal { subject: subject.into(), role, expires_at: None }
}

/// What a text means, as a word.
fn meaning(catalogue: &Catalogue, text: &str, principal: Option<&Principal>) -> String {
    match catalogue.resolve(text, principal) {
        Ok(entry) => entry.qualified.to_string(),
        Err(McpError::NeedsApproval(name)) => format!("waits {name}"),
        Err(McpError::Ambiguous { candidates, .. }) => format!("several {}", candidates.join(" ")),
        Err(McpError::NoTool { candidates, .. }) => format!("none {}", candidates.join(" ")).trim_end().to_owned(),
        Err(other) => format!("{other:?}"),
    }
}

#[test]
fn a_name_means_one_tool_or_none() {
    let mut off = server("off", &["now"], vec![]);
    off.enabled = false;
    let catalogue = Catalogue::build([
        off,
        server("time", &["now", "convert", "!zone"], vec![]),
        server("clock", &["now", "!alarm", "off__now", "wake up"], vec![]),
        server("vault", &["open", "convert"], vec![rule("*", &[Role::Admin], &["alice"])]),
        server("twice", &["same", "same", ""], vec![]),
        server("alarms", &["alarm"], vec![]),
    ]);
    let (alice, bob, root) = (who("alice", Role::User), who("bob", Role::User), who("root", Role::Admin));
    for (text, principal, expected) in [
        ("time__now", Some(&bob), "time__now"),
        ("now", Some(&bob), "several clock__now time__now"),
        ("wake up", Some(&bob), "clock__wake up"),
        ("clock__wake up", None, "clock__wake up"),
        ("same", Some(&bob), "twice__same"),
        ("zone", Some(&bob), "waits time__zone"),
        ("time__zone", Some(&root), "waits time__zone"),
        ("alarm", Some(&bob), "several alarms__alarm clock__alarm"),
        ("convert", Some(&bob), "time__convert"),
        ("convert", None, "time__convert"),
        ("convert", Some(&alice), "several time__convert vault__convert"),
        ("vault__open", Some(&alice), "vault__open"),
        ("vault__open", Some(&root), "vault__open"),
        ("vault__open", Some(&bob), "none"),
        ("vault__open", None, "none"),
        ("open", Some(&bob), "none"),
        ("off__now", Some(&root), "none clock__off__now clock__now time__now"),
        ("clock__off__now", Some(&bob), "clock__off__now"),
        ("Wake Up", Some(&bob), "none clock__wake up"),
        ("twice__", Some(&bob), "none twice__same"),
        ("", Some(&bob), "none"),
    ] {
        assert_eq!(meaning(&catalogue, text, principal), expected, "{text} {principal:?}");
    }
    let listed: Vec<_> = catalogue.listed(None).map(|entry| &*entry.qualified).collect();
    let expected = [
        "alarms__alarm",
        "clock__now",
        "clock__off__now",
        "clock__wake up",
        "time__convert",
        "time__now",
        "twice__same",
    ];
    assert_eq!(listed, expected);
    assert_eq!(catalogue.all_for(None).count(), listed.len() + 2);
}

#[test]
fn long_names_are_not_repeated() {
    let Err(McpError::NoTool { name, candidates }) = Catalogue::default().resolve(&"ä".repeat(9_999), None) else {
        panic!("there are no tools");
    };
    assert_eq!((name.chars().count(), candidates.len()), (256, 0));
}

fn any_rule() -> impl Strategy<Value = Permission> {
    let tools = prop_oneof![Just("*"), Just("a*"), Just("ab*"), Just("a"), Just("ab"), Just("a__b")];
    let roles = prop::sample::subsequence(vec![Role::User, Role::Admin], 0..=2);
    let subjects = prop::sample::subsequence(vec!["alice", "bob"], 0..=2);
    (tools, roles, subjects).prop_map(|(tools, roles, subjects)| rule(tools, &roles, &subjects))
}

fn any_server() -> impl Strategy<Value = CatalogueServer> {
    let name = prop_oneof![Just("a"), Just("b"), Just("a-b")];
    let tools = prop::collection::vec((prop_oneof!["[aB_]{0,4}", Just("a__b".to_owned())], any::<bool>()), 0..6);
    (name, tools, prop::collection::vec(any_rule(), 0..4), prop::bool::weighted(0.8)).prop_map(
        |(name, tools, permissions, enabled)| {
            let tools = tools.iter().map(|(name, held)| tool(name, *held)).collect();
            CatalogueServer { enabled, tools, ..server(name, &[], permissions) }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// And what is not listed is refused as if it were not there.
    #[test]
    fn what_is_listed_is_what_can_be_called(
        mut servers in prop::collection::vec(any_server(), 0..4),
        subject in prop_oneof![Just("alice"), Just("bob"), Just("carol")],
        role in prop_oneof![Just(Some(Role::User)), Just(Some(Role::Admin)), Just(None)],
    ) {
        servers.sort_by(|a, b| a.name.cmp(&b.name));
        servers.dedup_by(|a, b| a.name == b.name);
        let principal = role.map(|role| who(subject, role));
        let principal = principal.as_ref();
        let all: Vec<String> = servers
            .iter()
            .flat_map(|server| server.tools.iter().map(|tool| format!("{}__{}", server.name, tool.tool.name)))
            // A tool without a name has none that means it: it is not in the catalogue.
            .filter(|name| name.split_once("__").is_some_and(|(_, tool)| !tool.is_empty()))
            .collect();
        let catalogue = Catalogue::build(servers.clone());
        let listed: Vec<_> = catalogue.listed(principal).map(|entry| entry.qualified.to_string()).collect();
        let held: Vec<_> = catalogue.all_for(principal).filter(|entry| entry.held).map(|entry| entry.qualified.to_string()).collect();
        // The same catalogue without what this principal may not see: whatever is hidden must be as if it were not there.
        for server in &mut servers {
            let prefix = format!("{}__", server.name);
            server.tools.retain(|tool| {
                let name = format!("{prefix}{}", tool.tool.name);
                listed.contains(&name) || held.contains(&name)
            });
        }
        let without = Catalogue::build(servers);
        for name in &all {
            let found = catalogue.resolve(name, principal);
            if listed.contains(name) {
                prop_assert_eq!(&*found.unwrap().qualified, name.as_str());
            } else if held.contains(name) {
                prop_assert_eq!(found.unwrap_err(), McpError::NeedsApproval(name.as_str().into()));
            } else {
                prop_assert_eq!(found.unwrap_err(), without.resolve(name, principal).unwrap_err());
            }
            let bare = name.split_once("__").unwrap().1;
            match (catalogue.resolve(bare, principal), without.resolve(bare, principal)) {
                (Ok(one), Ok(other)) => prop_assert_eq!(&one.qualified, &other.qualified),
                (one, other) => prop_assert_eq!(one.err(), other.err()),
            }
        }
    }
}
