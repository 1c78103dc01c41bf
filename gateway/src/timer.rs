//! The timer of one connection: hyper wants one for every request's head, and nearly all are given back unused.
//!
//! A timer of tokio's costs an allocation and two turns of a lock that all connections share. Here a connection has one such
//! timer; a new deadline is only noted, and looked at when the old one has passed.

use hyper::rt::{Sleep, Timer};
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Makes the sleeps of one connection. Right for deadlines that only grow, as those of one timeout do.
#[derive(Clone, Debug, Default)]
pub struct ConnectionTimer(Arc<Mutex<Option<Pin<Box<tokio::time::Sleep>>>>>);

/// One of them.
struct Until {
    deadline: Instant,
    timer: ConnectionTimer,
}

impl Timer for ConnectionTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until((tokio::time::Instant::now() + duration).into_std())
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Until { deadline, timer: self.clone() })
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, deadline: Instant) {
        *sleep = self.sleep_until(deadline);
    }
}

impl Sleep for Until {}

impl Future for Until {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut place = self.timer.0.lock();
        let sleep = place.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(self.deadline.into())));
        loop {
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if sleep.deadline().into_std() >= self.deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(self.deadline.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_later_deadline_is_kept() {
        let timer = ConnectionTimer::default();
        let begun = tokio::time::Instant::now();
        let mut first = timer.sleep(Duration::from_secs(30));
        let polled = tokio::time::timeout(Duration::from_secs(20), &mut first).await;
        assert!(polled.is_err(), "the first deadline has not passed");
        drop(first);
        let second = timer.sleep_until((tokio::time::Instant::now() + Duration::from_secs(30)).into_std());
        second.await;
        assert_eq!(begun.elapsed().as_secs(), 50);
    }
}
