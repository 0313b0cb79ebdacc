//! Reads a log and finds what must never have been.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::{JobRecord, JobState, PodRecord, Record, TaskRecord, What};

/// What was allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Unfinished Jobs in the whole fleet.
    pub running: Option<usize>,
    /// Unfinished Jobs in one cluster.
    pub per_cluster: Option<usize>,
    /// Clusters with unfinished Jobs among those with the same value of a label.
    pub per_label: Vec<(String, usize)>,
    /// Jobs for one resource over the whole time.
    pub attempts: Option<usize>,
}

/// Something that must not have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// When it began, in Unix microseconds.
    pub at_us: i64,
    /// Where; empty for the fleet as a whole.
    pub cluster: String,
    /// What.
    pub wrong: Wrong,
}

/// What was wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// Two unfinished Jobs for one resource.
    TwoJobs {
        /// The resource.
        resource: String,
        /// Their names.
        jobs: [String; 2],
    },
    /// Two living Pods for one resource.
    TwoPods {
        /// The resource.
        resource: String,
        /// Their names.
        pods: [String; 2],
    },
    /// More was under way than was allowed.
    Over {
        /// Which limit.
        limit: String,
        /// What was allowed.
        allowed: usize,
        /// What was seen.
        seen: usize,
    },
    /// A client wrote an UpgradeTask while a Job worked on what it names.
    TaskWritten {
        /// The UpgradeTask.
        task: String,
        /// The Job.
        job: String,
    },
}

/// What happened, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Jobs that were created, tombstones included.
    pub jobs: usize,
    /// Jobs that ended well.
    pub complete: usize,
    /// Jobs that ended badly.
    pub failed: usize,
    /// Jobs that were suspended at some time.
    pub suspended: usize,
    /// Jobs that have not ended.
    pub unfinished: usize,
    /// The most unfinished Jobs at once.
    pub peak: usize,
    /// Requests that would change something.
    pub requests: usize,
}

/// Every violation, in the order of time.
pub fn verify(records: &[Record], limits: &Limits) -> Vec<Violation> {
    let mut seen = Seen::default();
    let mut found = Vec::new();
    for record in records {
        seen.take(record);
        for wrong in seen.wrongs(record, limits) {
            let of_fleet = matches!(wrong, Wrong::Over { .. }) && limits.per_cluster.is_none();
            let cluster = if of_fleet { String::new() } else { record.cluster.clone() };
            let known = |one: &Violation| one.cluster == cluster && one.wrong == wrong;
            if !found.iter().any(known) {
                found.push(Violation { at_us: record.at_us, cluster, wrong });
            }
        }
    }
    found
}

/// What happened, in numbers.
pub fn summary(records: &[Record]) -> Summary {
    let mut seen = Seen::default();
    let mut summary = Summary::default();
    let mut suspended = BTreeSet::new();
    for record in records {
        seen.take(record);
        summary.peak = summary.peak.max(seen.unfinished);
        match &record.what {
            What::Request(_) => summary.requests += 1,
            What::Job(job) if job.state == JobState::Suspended => {
                suspended.insert(job.uid.clone());
            }
            _ => {}
        }
    }
    let jobs = || seen.clusters.values().flat_map(|cluster| cluster.jobs.values());
    let in_state = |state: JobState| jobs().filter(|job| job.ended == Some(state)).count();
    summary.jobs = jobs().count();
    summary.complete = in_state(JobState::Complete);
    summary.failed = in_state(JobState::Failed);
    summary.suspended = suspended.len();
    summary.unfinished = seen.unfinished;
    summary
}

#[derive(Default)]
struct Seen {
    clusters: BTreeMap<String, Cluster>,
    unfinished: usize,
}

#[derive(Default)]
struct Cluster {
    labels: BTreeMap<String, String>,
    /// By UID.
    jobs: BTreeMap<String, Job>,
    /// By UID.
    pods: BTreeMap<String, PodRecord>,
    unfinished: usize,
    attempts: BTreeMap<String, usize>,
}

struct Job {
    record: JobRecord,
    /// Complete or Failed; a Job that is deleted later keeps it.
    ended: Option<JobState>,
}

impl Cluster {
    /// Neither Complete nor Failed, and not suspended or deleted with all its Pods gone.
    fn is_unfinished(&self, job: &Job) -> bool {
        match job.record.state {
            JobState::Active => job.ended.is_none(),
            JobState::Complete | JobState::Failed => false,
            JobState::Suspended | JobState::Deleted => {
                job.ended.is_none() && self.pods.values().any(|pod| pod.living && pod.job_uid == job.record.uid)
            }
        }
    }

    fn unfinished(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values().filter(|job| self.is_unfinished(job))
    }
}

impl Seen {
    fn take(&mut self, record: &Record) {
        let cluster = self.clusters.entry(record.cluster.clone()).or_default();
        match &record.what {
            What::Cluster { labels } => cluster.labels.clone_from(labels),
            What::Job(job) => {
                let known = cluster.jobs.remove(&job.uid);
                // The first is what the Job is for; what follows are a parent's pools. One that was made suspended only
                // takes a name, and tries nothing.
                if let (None, Some(resource)) = (&known, job.resources.first())
                    && job.state != JobState::Suspended
                {
                    *cluster.attempts.entry(resource.clone()).or_default() += 1;
                }
                let ended = known.and_then(|known| known.ended).or(match job.state {
                    JobState::Complete | JobState::Failed => Some(job.state),
                    JobState::Active | JobState::Suspended | JobState::Deleted => None,
                });
                cluster.jobs.insert(job.uid.clone(), Job { record: job.clone(), ended });
            }
            What::Pod(pod) if pod.living => {
                cluster.pods.insert(pod.uid.clone(), pod.clone());
            }
            What::Pod(pod) => {
                cluster.pods.remove(&pod.uid);
            }
            What::Request(_) | What::UpgradeTask(_) => return,
        }
        let now = cluster.unfinished().count();
        self.unfinished = self.unfinished - cluster.unfinished + now;
        cluster.unfinished = now;
    }

    /// What is wrong now and began with `record`.
    fn wrongs(&self, record: &Record, limits: &Limits) -> Vec<Wrong> {
        let Some(cluster) = self.clusters.get(&record.cluster) else { return Vec::new() };
        match &record.what {
            What::Cluster { .. } | What::Request(_) => Vec::new(),
            What::UpgradeTask(task) => task_written(cluster, task).into_iter().collect(),
            What::Pod(pod) if pod.living => {
                let others = cluster.pods.values().filter(|other| other.uid != pod.uid);
                let clash = |other: &PodRecord| {
                    let resource = common(&pod.resources, &other.resources)?;
                    Some(Wrong::TwoPods { resource, pods: [other.name.clone(), pod.name.clone()] })
                };
                others.filter_map(clash).collect()
            }
            What::Pod(_) => Vec::new(),
            What::Job(job) => self.wrongs_of_job(cluster, job, limits),
        }
    }

    fn wrongs_of_job(&self, cluster: &Cluster, job: &JobRecord, limits: &Limits) -> Vec<Wrong> {
        let Some(own) = cluster.jobs.get(&job.uid).filter(|own| cluster.is_unfinished(own)) else { return Vec::new() };
        let others = cluster.unfinished().filter(|other| other.record.uid != own.record.uid);
        let clash = |other: &Job| {
            let resource = common(&job.resources, &other.record.resources)?;
            Some(Wrong::TwoJobs { resource, jobs: [other.record.name.clone(), job.name.clone()] })
        };
        let mut wrongs: Vec<Wrong> = others.filter_map(clash).collect();
        let mut over = |limit: String, allowed: Option<usize>, seen: usize| {
            if let Some(allowed) = allowed.filter(|&allowed| seen > allowed) {
                wrongs.push(Wrong::Over { limit, allowed, seen });
            }
        };
        over("running".to_owned(), limits.running, self.unfinished);
        over("per cluster".to_owned(), limits.per_cluster, cluster.unfinished);
        for (label, allowed) in &limits.per_label {
            if let Some(value) = cluster.labels.get(label) {
                let busy = |other: &&Cluster| other.unfinished > 0 && other.labels.get(label) == Some(value);
                over(format!("{label}={value}"), Some(*allowed), self.clusters.values().filter(busy).count());
            }
        }
        let tries = job.resources.first().and_then(|resource| cluster.attempts.get(resource)).copied().unwrap_or(0);
        over("attempts".to_owned(), limits.attempts, tries);
        wrongs
    }
}

fn task_written(cluster: &Cluster, task: &TaskRecord) -> Option<Wrong> {
    let busy = |job: &&Job| common(&task.resources, &job.record.resources).is_some();
    let job = cluster.unfinished().filter(|_| task.by_client).find(busy)?;
    Some(Wrong::TaskWritten { task: task.name.clone(), job: job.record.name.clone() })
}

fn common(some: &[String], others: &[String]) -> Option<String> {
    some.iter().find(|resource| others.contains(resource)).cloned()
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at_us, cluster, wrong } = self;
        write!(f, "{at_us} {cluster}: ")?;
        match wrong {
            Wrong::TwoJobs { resource, jobs: [one, two] } => {
                write!(f, "Jobs {one} and {two} are both unfinished for {resource}")
            }
            Wrong::TwoPods { resource, pods: [one, two] } => {
                write!(f, "Pods {one} and {two} both live for {resource}")
            }
            Wrong::Over { limit, allowed, seen } => write!(f, "{limit}: {seen}, and {allowed} were allowed"),
            Wrong::TaskWritten { task, job } => write!(f, "UpgradeTask {task} was written while Job {job} ran"),
        }
    }
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
