//! What the machine is, and how it is set: processor, memory, NVIDIA's driver, and on a Jetson the
//! board, JetPack, power mode, clocks, temperatures and throttling.
//!
//! Everything is read from files that Linux offers, below a root folder; where they are not there,
//! or are not what they should be, the answer is that it is not known. The one program that may be
//! run is `nvpmodel`, for at most two seconds, where its file does not tell the mode.

mod advice;
mod clocks;
mod jetson;
mod memory;
mod nvidia;
mod packages;
mod power_mode;
mod processor;
mod program;
mod root;
mod system;
mod temperatures;
#[cfg(test)]
pub(crate) mod testing;
mod throttling;

use std::path::PathBuf;

use serde::Serialize;

pub use advice::Advice;
pub use clocks::Clock;
pub use jetson::{JetPack, Jetson};
pub use memory::{Memory, Swap, SwapKind, peak_memory_bytes};
pub use nvidia::Nvidia;
pub use power_mode::{Mode, PowerMode};
pub use processor::{Processor, max_threads, physical_cores};
pub use system::System;
pub use temperatures::Temperature;
pub use throttling::Throttling;

pub(crate) use root::Root;

/// A machine, read from the files below a root folder each time that it is asked.
#[derive(Debug, Clone)]
pub struct Machine {
    root: Root,
    runs_programs: bool,
}

impl Machine {
    /// The machine that this program runs on.
    pub fn this() -> Self {
        Machine { root: Root::new("/".into()), runs_programs: true }
    }

    /// The machine whose `/proc`, `/sys`, `/etc` and so on lie below `root`. What no file tells,
    /// the instruction set and the number of processors for example, is this machine's. None of its
    /// programs is run.
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Machine { root: Root::new(root.into()), runs_programs: false }
    }

    /// What may change from one moment to the next. Reads files only, some tens of them.
    pub fn state(&self) -> State {
        State {
            gpu_clocks: self.gpu_clocks(),
            cpu_clocks: self.cpu_clocks(),
            temperatures: self.temperatures(),
            throttling: self.throttling(),
            memory: self.memory(),
        }
    }
}

/// Clocks, temperatures, throttling and memory at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct State {
    /// Clocks of the GPU that is part of the processor; none on a machine with a card, whose
    /// clocks only its driver tells.
    pub gpu_clocks: Vec<Clock>,
    /// A clock for each group of cores that share one.
    pub cpu_clocks: Vec<Clock>,
    /// The thermal zones that can be read.
    pub temperatures: Vec<Temperature>,
    /// What slows the machine down, or has.
    pub throttling: Throttling,
    /// Main memory and swap.
    pub memory: Option<Memory>,
}
