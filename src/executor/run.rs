//! One run of the executor: every resource that was asked for, one after the other, until the first that fails.

use std::sync::Arc;

use super::arguments::Request;
use super::engines;
use super::kinds;
use super::object::{Object, UPGRADE_TASKS};
use super::order::{Order, resource_named};
use super::problem::{Cause, Problem};
use super::records;
use super::task::Run;
use crate::openebs::UpgradeTask;
use crate::openebs::termination::Termination;

/// Why a run ended without success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The step under way; empty if it never came to one.
    pub step: String,
    /// What stopped it.
    pub problem: Problem,
}

/// Carries out the request. When `stop` comes first (it answers the signal's name), whatever is under way is recorded
/// as interrupted: nothing is lost by dropping it, for the next run looks at the objects and not at what we did.
pub async fn run(run: Run, request: Request, stop: impl Future<Output = &'static str>) -> Result<(), Failure> {
    let run = Arc::new(run);
    let result = tokio::select! {
        biased;
        signal = stop => Err(interrupt(&run, signal).await),
        result = carry_out(&run, request) => result,
    };
    match result {
        Ok(()) => Ok(()),
        Err(problem) => Err(Failure { step: step_under_way(&run).await, problem }),
    }
}

/// How the run ended, for the container's termination message.
pub fn termination(result: &Result<(), Failure>) -> Termination {
    match result {
        Ok(()) => Termination { phase: "Success".to_owned(), ..Termination::default() },
        Err(Failure { step, problem }) => Termination {
            phase: "Error".to_owned(),
            step: step.clone(),
            object: problem.object.clone(),
            seen: problem.seen.clone(),
            expected: problem.expected.clone(),
            remedy: problem.remedy.clone(),
        },
    }
}

async fn carry_out(run: &Arc<Run>, request: Request) -> Result<(), Problem> {
    run.find_end().await;
    match request {
        Request::Named(order, named) => {
            for named in named {
                let resource = engines::tell_apart(run, named).await?;
                let task = records::begin_named(run, order.clone(), resource).await?;
                records::close(&task, kinds::upgrade(&task).await).await?;
            }
            Ok(())
        }
        Request::Selected(selector) => {
            let mut found = run.api.list(&UPGRADE_TASKS, &run.namespace, &selector).await?;
            found.sort_by(|one, other| one.name().cmp(other.name()));
            if found.is_empty() {
                return Err(Problem::refused(
                    "UpgradeTask",
                    format!("none with the labels {selector} in namespace {}", run.namespace),
                    "at least one",
                )
                .remedy("create the UpgradeTask before its Job, with the label that UPGRADE_TASK_LABEL selects"));
            }
            for task in &found {
                carry_out_task(run, task).await?;
            }
            Ok(())
        }
        Request::Task(name) => {
            carry_out_task(run, &run.api.get(&UPGRADE_TASKS.named(&run.namespace, &name)).await?).await
        }
    }
}

async fn carry_out_task(run: &Arc<Run>, found: &Object) -> Result<(), Problem> {
    let read: Result<UpgradeTask, _> = serde_json::from_value(found.body.clone());
    let task =
        read.map_err(|error| Problem::refused(&found.place, format!("it cannot be read: {error}"), "an UpgradeTask"))?;
    let understood = async {
        let order = Order::read(&task.spec)?;
        let resource = engines::tell_apart(run, resource_named(&task)?).await?;
        Ok((order, resource))
    };
    match understood.await {
        Ok((order, resource)) => {
            let task = records::begin(run, found, order, resource).await?;
            records::close(&task, kinds::upgrade(&task).await).await
        }
        Err(problem) => {
            records::refuse(run, found, &problem).await;
            Err(problem)
        }
    }
}

async fn interrupt(run: &Run, signal: &str) -> Problem {
    let mut innermost = None;
    for journal in run.records().iter().rev() {
        let problem = journal.interruption(signal).await;
        if let Err(unwritten) = journal.failed(&problem).await {
            tracing::error!("the interruption could not be recorded: {unwritten}");
        }
        innermost.get_or_insert(problem);
    }
    innermost.unwrap_or_else(|| {
        Problem::on("executor", format!("the Pod got {signal} before anything began"), "to go on")
            .because(Cause::Interrupted)
    })
}

async fn step_under_way(run: &Run) -> String {
    for journal in run.records().iter().rev() {
        let step = journal.step().await;
        if !step.is_empty() {
            return step;
        }
    }
    String::new()
}
