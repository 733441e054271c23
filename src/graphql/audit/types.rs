//! How the audit log shows in the schema.

use async_graphql::{Enum, ID, Object};

use crate::{
    audit::{self, AuditPage, AuditRow},
    events::canonical,
    graphql::{
        directives::Inherit,
        paging::{PageInfo, decode, encode},
        rows::Rows,
        scalars::DateTime,
    },
};

/// How something ended that is recorded.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "audit::AuditResult")]
pub(crate) enum AuditResult {
    /// It was done.
    Success,
    /// It was not permitted.
    Refused,
    /// It was permitted, and could not be done.
    Failed,
}

pub(crate) struct AuditConnection(pub(crate) AuditPage);

/// Some rows of the audit log, newest first.
#[Object(directive = Inherit::apply())]
impl AuditConnection {
    /// The rows, each with its place.
    async fn edges(&self) -> Rows<AuditEdge> {
        self.0.rows.iter().cloned().map(AuditEdge).collect()
    }

    /// The rows.
    async fn nodes(&self) -> Rows<AuditRecord> {
        self.0.rows.iter().cloned().map(AuditRecord).collect()
    }

    /// Whether there are more, and after what.
    async fn page_info(&self) -> PageInfo {
        PageInfo { has_next_page: self.0.more, end_cursor: self.0.rows.last().map(cursor) }
    }
}

pub(crate) struct AuditEdge(AuditRow);

/// A row and its place.
#[Object(directive = Inherit::apply())]
impl AuditEdge {
    /// Pass it as `after` to go on after this row. It is not to be taken apart.
    async fn cursor(&self) -> String {
        cursor(&self.0)
    }

    /// The row.
    async fn node(&self) -> AuditRecord {
        AuditRecord(self.0.clone())
    }
}

pub(crate) struct AuditRecord(AuditRow);

/// Something that somebody did, or tried to do.
#[Object(directive = Inherit::apply())]
impl AuditRecord {
    /// Its id.
    async fn id(&self) -> ID {
        ID(format!("audit_{}", self.0.id))
    }

    /// When.
    async fn time(&self) -> DateTime {
        DateTime(self.0.time)
    }

    /// The subject who did it.
    async fn user(&self) -> &str {
        &self.0.user_id
    }

    /// What, such as `api_key.create`.
    async fn action(&self) -> &str {
        &self.0.action
    }

    /// To whom or what, such as `emotion:alice`.
    async fn resource(&self) -> &str {
        &self.0.resource
    }

    /// How it ended; null for a word of a newer version.
    async fn result(&self) -> Option<AuditResult> {
        audit::AuditResult::named(&self.0.result).map(Into::into)
    }

    /// What else there is to say: an object, as JSON text.
    async fn metadata(&self) -> String {
        canonical(&self.0.metadata)
    }

    /// The address that the request came from.
    async fn source_address(&self) -> &str {
        &self.0.source_address
    }

    /// What the client called itself.
    async fn user_agent(&self) -> Option<&str> {
        self.0.user_agent.as_deref()
    }
}

fn cursor(row: &AuditRow) -> String {
    encode("audit", row.id.cast_unsigned())
}

/// The row of a cursor; none for what is no such cursor.
pub(super) fn row_of(cursor: &str) -> Option<i64> {
    decode("audit", cursor).map(u64::cast_signed)
}
