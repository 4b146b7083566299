//! The machine's state while it works: a card that rests does not tell what held it down.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use cumo_results::schema::Conditions;

use super::environment::{card_of, look};
use crate::backend::BackendFacts;
use crate::machine::Machine;

/// From the start of work to the first look: a card needs a moment to leave its rest.
const FIRST: Duration = Duration::from_millis(200);

/// From one look to the next: a look takes milliseconds of another thread.
const INTERVAL: Duration = Duration::from_millis(500);

/// Does work while another thread looks at the machine now and then: gives the highest
/// temperatures, the lowest clocks, and all that held clocks down.
pub fn watched<T>(
    machine: &Machine,
    backend: &BackendFacts,
    work: impl FnOnce() -> T,
) -> (T, Conditions) {
    let card = card_of(backend);
    watching(FIRST, INTERVAL, || look(machine, card.as_ref(), true), work)
}

fn watching<T>(
    first: Duration,
    interval: Duration,
    mut look: impl FnMut() -> Conditions + Send,
    work: impl FnOnce() -> T,
) -> (T, Conditions) {
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut seen = Conditions::default();
            let mut pause = first;
            loop {
                thread::park_timeout(pause);
                if ended.load(Ordering::SeqCst) {
                    return seen;
                }
                add(&mut seen, look());
                pause = interval;
            }
        });
        let thread = watcher.thread().clone();
        let ends = Ends(&ended);
        let made = work();
        drop(ends);
        thread.unpark();
        // A look that panicked has seen nothing.
        (made, watcher.join().unwrap_or_default())
    })
}

/// Sets a flag when it goes, so that a thread ends also where work panics.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Puts what was seen now to what was seen before.
fn add(seen: &mut Conditions, now: Conditions) {
    for new in now.temperatures {
        match seen.temperatures.iter_mut().find(|old| old.sensor == new.sensor) {
            Some(old) => old.celsius = old.celsius.max(new.celsius),
            None => seen.temperatures.push(new),
        }
    }
    for new in now.clocks {
        match seen.clocks.iter_mut().find(|old| old.name == new.name) {
            Some(old) if old.hz <= new.hz => {}
            Some(old) => *old = new,
            None => seen.clocks.push(new),
        }
    }
    if let Some(reasons) = now.throttling {
        let all = seen.throttling.get_or_insert_default();
        all.extend(reasons);
        all.sort();
        all.dedup();
    }
}

#[cfg(test)]
mod tests {
    use cumo_results::schema::{Clock, Temperature};

    use super::*;

    #[test]
    fn the_hottest_the_slowest_and_every_reason_are_kept() {
        let looks = [(50.0, 1_700, None), (71.5, 900, Some("power cap")), (60.0, 1_200, None)];
        let (sender, seen) = std::sync::mpsc::channel();
        let mut looks = looks.into_iter();
        let look = move || {
            let (celsius, hz, reason) = looks.next().unwrap_or((0.0, 9_000, None));
            sender.send(()).unwrap();
            Conditions {
                temperatures: vec![Temperature { sensor: "card".to_owned(), celsius }],
                clocks: vec![Clock { name: "card gpu".to_owned(), hz, max_hz: None }],
                throttling: Some(reason.into_iter().map(str::to_owned).collect()),
                load_average: None,
            }
        };
        let work = || (0..3).for_each(|_| seen.recv().unwrap());
        let (_, during) = watching(Duration::ZERO, Duration::from_millis(1), look, work);
        assert_eq!(during.temperatures[0].celsius, 71.5);
        assert_eq!((during.clocks.len(), during.clocks[0].hz), (1, 900));
        assert_eq!(during.throttling, Some(vec!["power cap".to_owned()]));
    }

    #[test]
    fn work_that_is_over_before_a_look_has_no_state_and_no_empty_list() {
        let look = || panic!("not looked");
        let (made, during) = watching(FIRST, INTERVAL, look, || 7);
        assert_eq!((made, during), (7, Conditions::default()));
    }
}
