//! An answer's body, held to its limits: bytes, silence, and time in all.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::dial::unreachable;
use super::link::Lease;
use super::{EdgeError, Limits, Phase, WaitingFor};

/// A body that ends, one way or the other. Gives its connection back when it has ended or is dropped.
pub(super) struct Guarded {
    body: Incoming,
    lease: Option<Lease>,
    bytes: ByteBudget,
    /// `None` for a watch, which is silent while nothing happens.
    idle: Option<(Duration, Pin<Box<Sleep>>)>,
    end: (Duration, Pin<Box<Sleep>>),
}

/// How many bytes may still come.
enum ByteBudget {
    Answer { left: usize, max: usize },
    Watch { left: usize, line: usize, line_max: usize },
}

impl Guarded {
    /// The body of an answer to a call that began at `began` and may take `total`.
    pub fn answer(body: Incoming, lease: Lease, limits: &Limits, began: Instant, total: Duration) -> Self {
        Self {
            body,
            lease: Some(lease),
            bytes: ByteBudget::Answer { left: limits.body_bytes, max: limits.body_bytes },
            idle: Some((limits.idle, Box::pin(sleep(limits.idle)))),
            end: (total, Box::pin(sleep_until(began + total))),
        }
    }

    /// The lines of a watch.
    pub fn watch(body: Incoming, lease: Lease, limits: &Limits) -> Self {
        Self {
            body,
            lease: Some(lease),
            bytes: ByteBudget::Watch { left: limits.watch_bytes, line: 0, line_max: limits.watch_line_bytes },
            idle: None,
            end: (limits.watch, Box::pin(sleep(limits.watch))),
        }
    }

    fn limit_reached(&mut self, cx: &mut Context<'_>) -> Option<EdgeError> {
        let (after, end) = &mut self.end;
        if end.as_mut().poll(cx).is_ready() {
            return Some(EdgeError::TimedOut { waiting_for: WaitingFor::End, after: *after });
        }
        let (after, idle) = self.idle.as_mut()?;
        idle.as_mut()
            .poll(cx)
            .is_ready()
            .then_some(EdgeError::TimedOut { waiting_for: WaitingFor::MoreBody, after: *after })
    }
}

impl ByteBudget {
    fn take(&mut self, bytes: &Bytes) -> Result<(), EdgeError> {
        match self {
            Self::Answer { left, max } => {
                *left = left.checked_sub(bytes.len()).ok_or(EdgeError::TooLarge { bytes_max: *max })?;
            }
            Self::Watch { left, line, line_max } => {
                *left = left.checked_sub(bytes.len()).ok_or(EdgeError::TooLarge { bytes_max: *line_max })?;
                *line = match bytes.iter().rposition(|byte| *byte == b'\n') {
                    Some(end) => bytes.len() - end - 1,
                    None => *line + bytes.len(),
                };
                if *line > *line_max {
                    return Err(EdgeError::TooLarge { bytes_max: *line_max });
                }
            }
        }
        Ok(())
    }
}

impl Body for Guarded {
    type Data = Bytes;
    type Error = EdgeError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, EdgeError>>> {
        let this = &mut *self;
        if this.lease.is_none() {
            return Poll::Ready(None);
        }
        // The limits are asked first: a server that always has one more byte ready must not outrun them.
        if let Some(error) = this.limit_reached(cx) {
            this.lease = None;
            return Poll::Ready(Some(Err(error)));
        }
        let frame = match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => None,
            Poll::Ready(Some(Err(error))) => Some(Err(unreachable(Phase::Answering, error))),
            Poll::Ready(Some(Ok(frame))) => {
                Some(frame.data_ref().map_or(Ok(()), |data| this.bytes.take(data)).map(|()| frame))
            }
        };
        match &frame {
            Some(Ok(_)) => {
                if let Some((after, idle)) = &mut this.idle {
                    idle.as_mut().reset(Instant::now() + *after);
                }
            }
            None | Some(Err(_)) => this.lease = None,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.lease.is_none() || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
