//! What energy is counted for which work, and for rest.

use std::time::Duration;

use cumo_results::schema::Energy;

use super::delayed::{
    ByHand, CONNECTOR, COPY, IDLE, Passing, SEEING, TALKING, VISION, WRITE_PIXELS, model, token,
    turned_by_hand,
};
use super::*;
use crate::power::{PowerError, PowerSensor};

/// A bench of a model behind its caller's back whose images and tokens take known energy.
fn energy_of(images: &[&Path], span: Duration) -> (ByHand, Result<(Energy, Rest), PowerError>) {
    let clock = ByHand::default();
    let passing = Passing::Clock(clock.clone());
    let (mut model, cancel) = (model(&passing, true), CancelToken::new());
    let (options, mut nobody) = (options(images, &[]), ());
    let mut bench = Bench::new(&mut model, &options, &cancel, &mut nobody);
    let energy = bench.energy(&mut clock.sensor(), span).unwrap();
    (clock, energy)
}

/// Within 2 % of what is known.
fn assert_joules(what: &str, got: f64, known: f64) {
    assert!((got - known).abs() <= 0.02 * known, "{what}: {got}, it is {known}");
}

#[test]
fn energy_is_that_of_the_work_that_is_counted() {
    let image = SyntheticImage::new().unwrap();
    let span = Duration::from_secs(2);
    let (_, energy) = energy_of(&[image.path()], span);
    let (energy, _) = energy.unwrap();
    let an_image = WRITE_PIXELS + VISION + CONNECTOR + COPY;
    assert_eq!((energy.images.len(), energy.tokens.len()), (3, 3));
    for images in &energy.images {
        assert!(images.duration_ns >= nanoseconds(span) && images.count > 50, "{images:?}");
        assert_joules("an image", images.joules_each().unwrap(), SEEING * an_image.as_secs_f64());
        assert_joules("its watts", images.watts().unwrap(), SEEING);
    }
    for tokens in &energy.tokens {
        // Five tokens, each behind the others; then again from an empty context.
        let known: Duration = (0..tokens.count as usize).map(|index| token(index % 5)).sum();
        assert!(tokens.count > 100, "{tokens:?}");
        assert_joules("tokens", tokens.joules, TALKING * known.as_secs_f64());
        assert_joules("their watts", tokens.watts().unwrap(), TALKING);
    }
}

#[test]
fn the_machine_rests_until_its_power_has_stopped_falling() {
    let (_, energy) = energy_of(&[], Duration::from_secs(2));
    let (energy, rest) = energy.unwrap();
    assert_eq!((energy.idle, energy.idle_after), (None, Some(rest.span)));
    assert!(rest.is_settled && rest.span.count == 0, "{rest:?}");
    // Right behind the work it was up to four times as much.
    assert_joules("idle", rest.span.watts().unwrap(), IDLE);

    // Spans in which it falls by much less than it has to fall.
    let (_, energy) = energy_of(&[], Duration::from_millis(100));
    let (_, rest) = energy.unwrap();
    assert!(!rest.is_settled && rest.span.watts().unwrap() > 1.2 * IDLE, "{rest:?}");
}

#[test]
fn a_machine_that_has_not_worked_is_idle_at_once() {
    let clock = ByHand::default();
    let (mut model, cancel) = (model(&Passing::Clock(clock.clone()), true), CancelToken::new());
    let (options, mut nobody) = (options(&[], &[]), ());
    let mut bench = Bench::new(&mut model, &options, &cancel, &mut nobody);
    let before = clock.clock().now();
    let rest = bench.rest(&mut clock.sensor(), Duration::from_secs(2)).unwrap().unwrap();
    assert_joules("idle", rest.span.watts().unwrap(), IDLE);
    assert!(clock.clock().since(before) < Duration::from_secs(7));
    // It can be cancelled.
    cancel.cancel();
    let mut bench = Bench::new(&mut model, &options, &cancel, &mut nobody);
    let error = bench.rest(&mut clock.sensor(), Duration::from_secs(2)).unwrap_err();
    assert!(matches!(error, Error::Backend(BackendError::Interrupted)), "{error}");
}

#[test]
fn energy_is_not_known_where_the_sensor_vanishes() {
    let image = SyntheticImage::new().unwrap();
    let (mut model, cancel) = (model(&turned_by_hand(), false), CancelToken::new());
    let options = options(&[image.path(), image.path()], &[]);
    let mut nobody = ();
    let mut bench = Bench::new(&mut model, &options, &cancel, &mut nobody);
    let (energy, _) =
        bench.energy(&mut PowerSensor::test(usize::MAX), Duration::ZERO).unwrap().unwrap();
    assert_eq!(energy.images.iter().map(|span| span.count).collect::<Vec<_>>(), [2, 2, 2]);
    assert_eq!(energy.tokens.iter().map(|span| span.count).collect::<Vec<_>>(), [1, 1, 1]);
    // In an image, in tokens, and at rest.
    for readings in [1, 3, 13] {
        let mut sensor = PowerSensor::test(readings);
        let error = bench.energy(&mut sensor, Duration::ZERO).unwrap().unwrap_err();
        assert_eq!(error.to_string(), "the sensor test vanished: as asked");
    }
}
