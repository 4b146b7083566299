//! Energy that work takes, where the machine has a sensor.
//!
//! A card counts its own energy, which NVML tells. A Jetson's board has power monitors, whose
//! readings are summed up over time here. Where no sensor is, or one stops answering, the energy is
//! not known, and the reason is.

mod hwmon;
mod integral;
pub mod nvml;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::backend::DeviceFacts;
use crate::clock::Clock;
use crate::machine::Root;

/// How often a power monitor is read. Those of Jetson boards convert for some milliseconds.
const INTERVAL: Duration = Duration::from_millis(10);

/// Energy is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PowerError {
    /// There is nothing that could tell.
    #[error("this machine has no power sensor that this program knows{0}")]
    NoSensor(String),
    /// A sensor stopped answering while it was listened to.
    #[error("the sensor {sensor} vanished: {reason}")]
    Vanished {
        /// Its name.
        sensor: String,
        /// What it did not do.
        reason: String,
    },
    /// A sensor answers, and not with what can be.
    #[error("the sensor {sensor} told {told}")]
    Absurd {
        /// Its name.
        sensor: String,
        /// What it told.
        told: String,
    },
}

/// One number from a sensor, or why there is none.
type Read = Box<dyn FnMut() -> Result<f64, String> + Send>;

/// What a sensor tells.
enum Reading {
    /// Joules since some moment.
    Energy(Read),
    /// Watts now.
    Power(Read),
}

/// A sensor of energy.
pub struct PowerSensor {
    name: String,
    scope: String,
    reading: Reading,
    /// What times the span of a counter.
    clock: Clock,
}

/// Energy that some work took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EnergyOf {
    /// In joules.
    pub joules: f64,
    /// How long the sensor was listened to.
    pub duration: Duration,
}

impl PowerSensor {
    /// The sensor for work on this device, or where there is none on this machine's processor: the
    /// board's power monitors where it has some, as a Jetson does, whose GPU is part of what they
    /// measure; else NVML's counter for a card.
    ///
    /// # Errors
    /// [`PowerError::NoSensor`].
    pub fn find(device: Option<&DeviceFacts>) -> Result<Self, PowerError> {
        Self::find_below(Root::new("/".into()), device)
    }

    fn find_below(root: Root, device: Option<&DeviceFacts>) -> Result<Self, PowerError> {
        let board = hwmon::find(root);
        let why = match (board, device) {
            (Ok(sensor), _) => return Ok(sensor),
            (Err(why), None) => why,
            (Err(why), Some(device)) => match counter(device) {
                Ok(read) => {
                    return Ok(PowerSensor {
                        name: "NVML total energy consumption".to_owned(),
                        scope: format!("the whole card {}", device.name),
                        reading: Reading::Energy(read),
                        clock: Clock::default(),
                    });
                }
                Err(card) => Some(match why {
                    None => card,
                    Some(why) => format!("{why}; {card}"),
                }),
            },
        };
        Err(PowerError::NoSensor(why.map(|why| format!(" ({why})")).unwrap_or_default()))
    }

    /// Its name, for example `INA3221 VDD_IN`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its numbers are of, for example `the whole module`.
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// Does some work, and says what energy passed meanwhile, that of an idle machine included.
    pub fn measure<T>(&mut self, work: impl FnOnce() -> T) -> (T, Result<EnergyOf, PowerError>) {
        let name = self.name.clone();
        let vanished = |reason| PowerError::Vanished { sensor: name.clone(), reason };
        let (made, energy) = match &mut self.reading {
            Reading::Energy(read) => {
                let (before, start) = (read(), self.clock.now());
                let made = work();
                let duration = self.clock.since(start);
                let joules = before.and_then(|before| Ok(read()? - before));
                (made, joules.map(|joules| EnergyOf { joules, duration }))
            }
            Reading::Power(read) => integrated(read, work),
        };
        let energy = energy.map_err(vanished).and_then(|energy| {
            match energy.joules.is_finite() && energy.joules >= 0.0 {
                true => Ok(energy),
                false => {
                    let told = format!("{} J for {:?}", energy.joules, energy.duration);
                    Err(PowerError::Absurd { sensor: name.clone(), told })
                }
            }
        });
        (made, energy)
    }
}

#[cfg(test)]
impl PowerSensor {
    /// A counter that gives so many readings and then vanishes.
    pub(crate) fn test(readings: usize) -> Self {
        let mut given = 0;
        let read: Read = Box::new(move || {
            given += 1;
            if given > readings { Err("as asked".to_owned()) } else { Ok(given as f64) }
        });
        Self::counter(read, Clock::default())
    }

    /// A counter of joules by a clock of a test's.
    pub(crate) fn counter(read: Read, clock: Clock) -> Self {
        let (name, scope) = ("test".to_owned(), "all".to_owned());
        PowerSensor { name, scope, reading: Reading::Energy(read), clock }
    }
}

/// The energy counter of the card that a device is.
fn counter(device: &DeviceFacts) -> Result<Read, String> {
    nvml::energy_counter(&device.name, device.pci_bus_id.as_deref())
}

/// Sets a flag when it goes, so that a thread ends also where work panics.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Does work while another thread reads the power.
fn integrated<T>(read: &mut Read, work: impl FnOnce() -> T) -> (T, Result<EnergyOf, String>) {
    let ended = AtomicBool::new(false);
    let start = Instant::now();
    // One reading at either end at least, so that nothing of the work lies outside.
    let mut sample = move || -> Result<(Duration, f64), String> {
        let watts = read()?;
        Ok((start.elapsed(), watts))
    };
    let first = sample();
    thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut samples = vec![first?];
            loop {
                let is_last = ended.load(Ordering::SeqCst);
                if !is_last {
                    thread::park_timeout(INTERVAL);
                }
                samples.push(sample()?);
                if is_last {
                    break;
                }
            }
            Ok(EnergyOf { joules: integral::of(&samples), duration: integral::span(&samples) })
        });
        let thread = sampler.thread().clone();
        let ends = Ends(&ended);
        let made = work();
        drop(ends);
        thread.unpark();
        let energy = sampler.join().unwrap_or_else(|_| Err("reading it panicked".to_owned()));
        (made, energy)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::testing::Board;

    fn sensor(reading: Reading) -> PowerSensor {
        let (name, scope) = ("test".to_owned(), "all".to_owned());
        PowerSensor { name, scope, reading, clock: Clock::default() }
    }

    fn constant(watts: f64) -> Reading {
        Reading::Power(Box::new(move || Ok(watts)))
    }

    #[test]
    fn constant_power_times_time_is_energy() {
        let (made, energy) =
            sensor(constant(10.0)).measure(|| thread::sleep(Duration::from_millis(30)));
        let energy = energy.unwrap();
        assert_eq!(made, ());
        assert!(energy.duration >= Duration::from_millis(30), "{energy:?}");
        let expected = 10.0 * energy.duration.as_secs_f64();
        assert!((energy.joules - expected).abs() < 1e-9, "{energy:?}");
    }

    #[test]
    fn work_that_ends_at_once_has_a_reading_at_either_end() {
        let (_, energy) = sensor(constant(1.0)).measure(|| ());
        let energy = energy.unwrap();
        assert!(energy.joules > 0.0 && energy.duration > Duration::ZERO, "{energy:?}");
    }

    #[test]
    fn a_counters_difference_is_energy() {
        let mut joules = 100.0;
        let reading = Reading::Energy(Box::new(move || {
            joules += 2.5;
            Ok(joules)
        }));
        let (_, energy) = sensor(reading).measure(|| ());
        assert_eq!(energy.unwrap().joules, 2.5);
    }

    #[test]
    fn a_counter_that_runs_backwards_is_told_and_no_number() {
        let mut joules = 100.0;
        let reading = Reading::Energy(Box::new(move || {
            joules -= 1.0;
            Ok(joules)
        }));
        let (_, energy) = sensor(reading).measure(|| ());
        assert!(energy.unwrap_err().to_string().starts_with("the sensor test told -1 J for"));
        let (_, energy) = sensor(constant(f64::NAN)).measure(|| ());
        assert!(matches!(energy, Err(PowerError::Absurd { .. })));
    }

    #[test]
    fn a_sensor_that_vanishes_is_no_number_and_the_work_is_done_all_the_same() {
        let mut left = 3;
        let reading = Reading::Power(Box::new(move || {
            left -= 1;
            if left < 0 { Err("no such file".to_owned()) } else { Ok(5.0) }
        }));
        let (made, energy) = sensor(reading).measure(|| {
            thread::sleep(Duration::from_millis(60));
            7
        });
        assert_eq!(made, 7);
        assert_eq!(energy.unwrap_err().to_string(), "the sensor test vanished: no such file");
    }

    #[test]
    fn a_board_whose_files_go_away_in_the_middle_says_so() {
        let board = hwmon::tests::orin_nano();
        let mut sensor = PowerSensor::find_below(board.root(), None).unwrap();
        let file = board.root().path("/sys/bus/i2c/devices/1-0040/hwmon/hwmon3/curr1_input");
        let (_, energy) = sensor.measure(|| std::fs::remove_file(&file).unwrap());
        let error = energy.unwrap_err().to_string();
        assert!(error.starts_with("the sensor INA3221 VDD_IN vanished: "), "{error}");
        assert!(error.contains("curr1_input"), "{error}");
    }

    #[test]
    fn a_machine_without_sensors_says_what_was_looked_for() {
        let board = Board::new();
        let nothing = "this machine has no power sensor that this program knows";
        let error = PowerSensor::find_below(board.root(), None).err().unwrap();
        assert_eq!(error.to_string(), nothing);
        let card = DeviceFacts {
            name: "A card".to_owned(),
            compute_capability: 89,
            total_bytes: 0,
            peak_bytes: 0,
            pci_bus_id: None,
            kernels: None,
        };
        let error = PowerSensor::find_below(board.root(), Some(&card)).err().unwrap();
        // No card is called so; what NVML says of it depends on this machine.
        let why = counter(&card).err().unwrap();
        assert_eq!(error.to_string(), format!("{nothing} ({why})"));
    }
}
