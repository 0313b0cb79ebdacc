//! Follow a rollout until it is over: a live view on a terminal, lines elsewhere.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::Ended;
use super::patience::Patience;
use super::render::{Output, Tone, plain};
use super::rollout::{status, verdict};
use crate::api::client::segment;
use crate::api::{Client, ClientError};
use crate::app::{RolloutView, TargetCounts, TargetView};
use crate::domain::{Clock as _, Seconds};
use crate::system::SystemClock;

/// How often the hub is asked on a terminal, and for lines.
const LOOK_EVERY: Duration = Duration::from_millis(400);

/// How soon a hub is asked again that gave no answer.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Running clusters that the live view names.
const NAMED: usize = 6;

/// Follows the rollout, then prints where it ended; the exit code is its verdict's.
pub async fn follow(output: Output, client: &Client, rollout: &str) -> anyhow::Result<Ended> {
    let view = look_on(output, client, rollout).await?;
    output.one(&view, |output| status(output, &view))?;
    Ok(verdict(&view))
}

/// Follows the rollout and answers how it ended.
pub async fn look_on(output: Output, client: &Client, rollout: &str) -> anyhow::Result<RolloutView> {
    let path = format!("rollouts/{}", segment(rollout));
    let mut screen = Screen::new(output);
    let mut patience = Patience::new(output, false);
    loop {
        let seen = patience.with(look(client, &path).await, SystemClock.now());
        let Some((view, running)) = seen.inspect_err(|_| screen.close())? else {
            tokio::time::sleep(ASK_AGAIN).await;
            continue;
        };
        screen.show(&view, &running)?;
        if view.state == "finished" {
            screen.close();
            return Ok(view);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Where the rollout stands, and what runs.
async fn look(client: &Client, path: &str) -> Result<(RolloutView, Vec<TargetView>), ClientError> {
    let view = client.get(path, &[]).await?;
    let running = client.list(&format!("{path}/targets"), &[("state", "running".to_owned())]).await?;
    Ok((view, running))
}

struct Screen {
    output: Output,
    bars: Option<MultiProgress>,
    waves: Vec<ProgressBar>,
    below: Vec<ProgressBar>,
    /// What was said of the rollout last, and of each wave.
    stands: String,
    said: BTreeMap<String, String>,
}

impl Screen {
    fn new(output: Output) -> Self {
        let live = output.live() && output.for_people();
        Self {
            output,
            bars: live.then(MultiProgress::new),
            waves: Vec::new(),
            below: Vec::new(),
            stands: String::new(),
            said: BTreeMap::new(),
        }
    }

    fn show(&mut self, view: &RolloutView, running: &[TargetView]) -> anyhow::Result<()> {
        match &self.bars {
            Some(bars) => {
                let bars = bars.clone();
                self.draw(&bars, view, running);
                Ok(())
            }
            None => self.say(view),
        }
    }

    /// One bar a wave, and the clusters under way below them.
    fn draw(&mut self, bars: &MultiProgress, view: &RolloutView, running: &[TargetView]) {
        if self.waves.is_empty() {
            let style = ProgressStyle::with_template("{prefix:>12} {bar:30.green/dim} {pos:>3}/{len:3} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("━╸─");
            for wave in &view.waves {
                let bar = bars.add(ProgressBar::new(0).with_style(style.clone()));
                bar.set_prefix(plain(&wave.name));
                self.waves.push(bar);
            }
            let text = ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
            self.below = (0..=NAMED).map(|_| bars.add(ProgressBar::new(0).with_style(text.clone()))).collect();
        }
        for (bar, wave) in self.waves.iter().zip(&view.waves) {
            let (settled, all) = progress(&wave.targets);
            bar.set_length(u64::from(all));
            bar.set_position(u64::from(settled));
            let failed = wave.targets.failed;
            let failed =
                if failed > 0 { self.output.tone(Tone::Bad, &format!("{failed} failed  ")) } else { String::new() };
            bar.set_message(format!("{failed}{}", plain(&wave.reason)));
        }
        let eta = view.eta.map(|eta| Seconds(eta.0.since(SystemClock.now()).as_secs()));
        let eta = eta.map_or_else(String::new, |left| format!(", about {left} left"));
        let cause = view.cause.as_deref().map_or_else(String::new, |cause| format!(": {cause}"));
        let head = format!("{}{cause}, {} running{eta}", view.state, view.running);
        let named = running.iter().map(|target| format!("  {:<16} {}", target.cluster, target.reason));
        let lines: Vec<String> = std::iter::once(head).chain(named).take(NAMED + 1).collect();
        for (position, bar) in self.below.iter().enumerate() {
            let line: String = lines.get(position).map_or_else(String::new, |line| plain(line).replace('\n', " "));
            bar.set_message(line.chars().take(110).collect::<String>());
        }
    }

    /// A line whenever the rollout's state or its cause changes, or a wave's sentence does.
    fn say(&mut self, view: &RolloutView) -> anyhow::Result<()> {
        if !self.output.for_people() {
            return Ok(());
        }
        let at = crate::app::When(SystemClock.now());
        let cause = view.cause.as_deref().map_or_else(String::new, |cause| format!(": {cause}"));
        let line = format!("rollout {}{cause}", view.state);
        if self.stands != line {
            self.output.say(&format!("{at}  {}", plain(&line)))?;
            self.stands = line;
        }
        for wave in &view.waves {
            let (settled, all) = progress(&wave.targets);
            let line = format!("wave {}: {settled}/{all} done, {}", wave.name, wave.reason);
            if self.said.get(&wave.name) != Some(&line) && (settled > 0 || wave.status != "behind") {
                self.output.say(&format!("{at}  {}", plain(&line)))?;
                self.said.insert(wave.name.clone(), line);
            }
        }
        Ok(())
    }

    fn close(&self) {
        for bar in self.waves.iter().chain(&self.below) {
            bar.finish_and_clear();
        }
    }
}

/// Settled targets, of how many.
fn progress(targets: &TargetCounts) -> (u32, u32) {
    let TargetCounts { pending, running, succeeded, failed, deferred, skipped } = *targets;
    let settled = succeeded + failed + skipped;
    (settled, settled + pending + running + deferred)
}
