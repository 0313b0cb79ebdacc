//! A process that is measured from outside; killed by its id when dropped.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Ticks in which Linux tells CPU time to programs: 100 a second on every architecture that we build for.
const TICKS_PER_SECOND: u64 = 100;

/// A running process, spoken to by lines.
pub struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    input: ChildStdin,
}

/// What a process has used so far.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// User and system time.
    pub cpu: Duration,
    /// Resident bytes now.
    pub resident: u64,
    /// The most resident bytes since the peak was last forgotten.
    pub peak: u64,
}

impl Process {
    /// Starts it; what it complains about goes to ours.
    pub fn start(command: &mut Command) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("can't start {command:?}"))?;
        let output = child.stdout.take().context("no standard output")?;
        let input = child.stdin.take().context("no standard input")?;
        Ok(Self { child, lines: BufReader::new(output).lines(), input })
    }

    /// The next line that it prints.
    pub async fn line(&mut self) -> anyhow::Result<String> {
        self.lines.next_line().await?.context("the process ended before it said what was waited for")
    }

    /// Says a line to it.
    pub async fn say(&mut self, line: &str) -> anyhow::Result<()> {
        self.input.write_all(format!("{line}\n").as_bytes()).await?;
        Ok(self.input.flush().await?)
    }

    /// What it has used so far.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        let stat = self.proc("stat")?;
        // The second field is the program's name, which may hold blanks: counted from behind it, user and system time
        // are the 12th and 13th.
        let fields = stat.rsplit_once(')').context("no name in stat")?.1;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
        let ticks: u64 = ticks.sum::<Result<_, _>>()?;
        let status = self.proc("status")?;
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            kib.map(|kib| kib * 1024).with_context(|| format!("no {name} in status"))
        };
        Ok(Usage {
            cpu: Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND),
            resident: bytes("VmRSS:")?,
            peak: bytes("VmHWM:")?,
        })
    }

    /// The same, and from now on the peak is counted anew.
    pub fn usage_and_forget_peak(&self) -> anyhow::Result<Usage> {
        std::fs::write(format!("/proc/{}/clear_refs", self.id()?), "5").context("can't forget the peak")?;
        self.usage()
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks it to end, and waits; whether it ended well.
    pub async fn end(mut self) -> anyhow::Result<bool> {
        let pid = i32::try_from(self.id()?).ok().and_then(Pid::from_raw).context("no process id")?;
        kill_process(pid, Signal::TERM)?;
        while self.lines.next_line().await?.is_some() {}
        Ok(self.child.wait().await?.success())
    }

    fn id(&self) -> anyhow::Result<u32> {
        self.child.id().context("the process has ended")
    }

    fn proc(&self, file: &str) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(format!("/proc/{}/{file}", self.id()?))?)
    }
}
