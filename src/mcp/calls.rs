//! Calls of tools: checked, permitted, recorded, and only then made.

use std::{convert::Infallible, sync::Arc, time::Duration};

use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio_util::task::task_tracker::TaskTrackerToken;
use uuid::Uuid;

use super::{
    Mcp, McpError, ToolResult,
    catalogue::Entry,
    events::{self, RunProgress},
    host::{Host, HostCall},
    runs::{OpenRun, Opened, Opening, Run, RunEnd, RunOutcome},
    sdk::{self, Progress},
    session::Refusal,
};
use crate::{
    bus::Topic,
    events::Command,
    model::{FieldError, Origin, Principal},
    resilience::CallError,
};

/// The longest message of a failure that is recorded, in characters.
const LONGEST_MESSAGE: usize = 300;

/// A wish to call a tool.
#[derive(Debug, Clone)]
pub struct CallRequest {
    /// The tool, by its qualified name or, where only one server has it, by its own.
    pub tool: String,
    /// An object, or nothing.
    pub arguments: Option<Value>,
    /// How the caller will call the run; something random otherwise.
    pub run_id: Option<Uuid>,
    /// Longest time that it may take; not more than the server's own.
    pub timeout: Option<Duration>,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct CallAnswer {
    /// The record of it; nothing where the result was kept from an earlier call.
    pub run_id: Option<Uuid>,
    /// What the tool has answered; nothing where the call was made before, under the same key.
    pub result: Option<Arc<ToolResult>>,
    /// The call that was made before.
    pub repeated: Option<Run>,
    /// In what way the structured content is not what the tool has promised.
    pub output_problem: Option<String>,
}

impl Mcp {
    /// Calls a tool for somebody. Ends within the deadline, whatever the server does.
    pub async fn call(
        &self,
        command: Command,
        origin: &Origin,
        principal: &Principal,
        request: CallRequest,
    ) -> Result<CallAnswer, McpError> {
        let catalogue = self.catalogue();
        let entry = catalogue.resolve(&request.tool, Some(principal))?;
        let (host, _place) = self.host(entry)?;
        let arguments = self.checked(entry, request.arguments)?;
        let kept = self.kept_result(entry, principal, arguments.as_ref());
        if let Some(result) = kept.as_ref().and_then(|kept| self.results().find(kept)) {
            return Ok(CallAnswer { run_id: None, result: Some(result), repeated: None, output_problem: None });
        }
        let opening = Opening {
            id: request.run_id,
            user_id: Arc::clone(&command.user_id),
            correlation_id: Arc::clone(&command.correlation_id),
            origin: origin.clone(),
            server_id: entry.server_id,
            server: Arc::clone(&entry.server),
            tool: Arc::clone(&entry.tool.name),
            arguments_bytes: size(arguments.as_ref()),
            key: command.key,
        };
        let run = match self.runs().open(opening).await? {
            Opened::Fresh(run) => run,
            Opened::IdTaken => {
                let problem = FieldError::new(&["input", "runId"], "another call has this id");
                return Err(McpError::Invalid(vec![problem]));
            }
            Opened::Repeated(run) => {
                return Ok(CallAnswer {
                    run_id: Some(run.id),
                    result: None,
                    repeated: Some(run),
                    output_problem: None,
                });
            }
        };
        let id = run.id();
        let call = Call { mcp: self, entry, subject: &principal.subject };
        let result = call.make(&host, run, arguments, request.timeout).await?;
        let output_problem = self.output_problem(entry, &result);
        let result = Arc::new(result);
        if let Some(kept) = kept.filter(|_| !result.is_error) {
            self.results().keep(&kept, &result);
        }
        Ok(CallAnswer { run_id: Some(id), result: Some(result), repeated: None, output_problem })
    }

    /// How long a call may take, from its beginning to its answer.
    #[must_use]
    pub fn longest(&self, request: &CallRequest, principal: &Principal) -> Duration {
        let catalogue = self.catalogue();
        let entry = catalogue.resolve(&request.tool, Some(principal));
        let host = entry.ok().and_then(|entry| self.hosts().find(entry.server_id));
        host.map_or(Duration::ZERO, |host| host.deadline().min(request.timeout.unwrap_or(Duration::MAX)))
    }

    /// The server's host, and a place in it.
    fn host(&self, entry: &Entry) -> Result<(Host, TaskTrackerToken), McpError> {
        // One that is going has a successor already, or the server is gone.
        while let Some(host) = self.hosts().find(entry.server_id) {
            if let Some(place) = host.enter() {
                return Ok((host, place));
            }
        }
        Err(McpError::Disabled(Arc::clone(&entry.server)))
    }

    /// Arguments that the tool can take, by its own schema.
    fn checked(&self, entry: &Entry, arguments: Option<Value>) -> Result<Option<Map<String, Value>>, McpError> {
        let arguments = arguments.filter(|arguments| !arguments.is_null());
        let bad = |problem| McpError::BadSchema { tool: Arc::clone(&entry.qualified), problem };
        let schema = self.schemas().input(&entry.fingerprint, &entry.tool).map_err(bad)?;
        let mut problems = schema.validate(arguments.as_ref());
        match arguments {
            None if problems.is_empty() => return Ok(None),
            Some(Value::Object(arguments)) if problems.is_empty() => return Ok(Some(arguments)),
            _ if problems.is_empty() => problems.push(FieldError::new(&["input", "arguments"], "must be an object")),
            _ => {}
        }
        Err(McpError::Invalid(problems))
    }

    /// In what way the structured content is not what the tool has promised.
    fn output_problem(&self, entry: &Entry, result: &ToolResult) -> Option<String> {
        let content = result.structured.as_ref().filter(|_| !result.is_error)?;
        match self.schemas().output(&entry.fingerprint, &entry.tool) {
            Ok(schema) => schema?.check_output(content),
            Err(problem) => Some(problem.to_string()),
        }
    }
}

/// A call that is recorded and not made yet.
struct Call<'a> {
    mcp: &'a Mcp,
    entry: &'a Entry,
    subject: &'a Arc<str>,
}

impl Call<'_> {
    async fn make(
        &self,
        host: &Host,
        run: OpenRun,
        arguments: Option<Map<String, Value>>,
        timeout: Option<Duration>,
    ) -> Result<ToolResult, McpError> {
        let (progress, mut said) = sdk::progress();
        let call = HostCall {
            subject: Arc::clone(self.subject),
            tool: Arc::clone(&self.entry.tool.name),
            arguments,
            timeout,
            may_repeat: self.entry.tool.annotations.may_repeat(),
            progress,
        };
        // Told also where whoever called goes away.
        let _last = LastWord { mcp: self.mcp, topic: events::run(self.subject, run.id()) };
        let began = self.mcp.clock().instant();
        let answer = tokio::select! {
            answer = host.call(call) => answer,
            never = self.pass_on(run.id(), &mut said) => match never {},
        };
        // What was said last may have come with the answer.
        while let Ok(progress) = said.try_recv() {
            self.mcp.bus().publish(&events::run(self.subject, run.id()), progress.into()).await;
        }
        let (end, result) = self.end(self.mcp.clock().instant() - began, answer);
        run.close(end);
        result
    }

    /// Passes on how far the call has come, for as long as it goes on.
    async fn pass_on(&self, run: Uuid, said: &mut mpsc::Receiver<Progress>) -> Infallible {
        let topic = events::run(self.subject, run);
        while let Some(progress) = said.recv().await {
            self.mcp.bus().publish(&topic, progress.into()).await;
        }
        std::future::pending().await
    }

    /// What is recorded of an answer, and what the caller is told.
    fn end(
        &self,
        duration: Duration,
        answer: Result<Result<ToolResult, Refusal>, CallError>,
    ) -> (RunEnd, Result<ToolResult, McpError>) {
        let server = Arc::clone(&self.entry.server);
        let failed = |code: &str, error: McpError| {
            let message = Some(error.to_string().chars().take(LONGEST_MESSAGE).collect());
            let plain = RunEnd::plain(RunOutcome::Failed, duration);
            (RunEnd { error_code: Some(code.to_owned()), message, ..plain }, Err(error))
        };
        match answer {
            Ok(Ok(result)) => {
                let outcome = if result.is_error { RunOutcome::ToolError } else { RunOutcome::Succeeded };
                (RunEnd { result_bytes: Some(result.bytes() as u64), ..RunEnd::plain(outcome, duration) }, Ok(result))
            }
            Ok(Err(Refusal { code, message })) => failed("REFUSED", McpError::Refused { server, code, message }),
            Err(error) => failed(code(&error), McpError::Call { server, error }),
        }
    }
}

/// Tells whoever follows a call that it is over.
struct LastWord<'a> {
    mcp: &'a Mcp,
    topic: Topic<RunProgress>,
}

impl Drop for LastWord<'_> {
    fn drop(&mut self) {
        let (bus, topic) = (self.mcp.bus().clone(), self.topic.clone());
        if bus.readers(&topic) > 0 {
            let last = RunProgress { progress: 0.0, total: None, message: None, finished: true };
            self.mcp.tasks().spawn(async move { bus.publish(&topic, last).await });
        }
    }
}

fn size(arguments: Option<&Map<String, Value>>) -> u64 {
    arguments.map_or(0, |arguments| serde_json::to_string(arguments).map_or(0, |text| text.len() as u64))
}

fn code(error: &CallError) -> &'static str {
    match error {
        CallError::Timeout => "TIMEOUT",
        CallError::BreakerOpen { .. } => "BREAKER_OPEN",
        CallError::RateLimited { .. } => "RATE_LIMITED",
        CallError::Saturated => "SATURATED",
        CallError::Decode { .. } => "UNDECODABLE",
        CallError::Upstream { .. } => "UNAVAILABLE",
    }
}
