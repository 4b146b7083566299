//! The options of `cumo plan`.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, Args, Command};
use cumo_plan::{CustomDevice, Device, Request};

use super::whole;

/// Show what a model needs of a device, and how fast the device can be at best.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cumo plan --model bundle --device orin-nano-8gb-super --mode 25W
  cumo plan --model bundle --device agx-orin-64gb --context 8192 --images 2 --json
  cumo plan --model engines --result r.json             # measured over bound, on this machine
  cumo plan --model bundle --device agx-orin-64gb,thor-t4000,rtx-4090
  cumo plan --model bundle --memory-gb 32 --bandwidth-gbs 60 --f16-tflops 2
  cumo plan --device list

Every precision that can be exported has a row. Bounds are what the hardware allows: the time to \
read each byte that is needed once, or to compute each operation, whichever is longer. Activations \
are an estimate; weights of the bundle's own precision are those of its files, to the byte.")]
pub(crate) struct PlanArgs {
    /// The bundle or the engines
    #[arg(short, long, value_name = "DIR", required_unless_present_any = ["device"])]
    pub(crate) model: Option<PathBuf>,
    /// A device of the table, or several, which then stand side by side; `list` shows the table
    /// [default: this machine, where the table has it]
    #[arg(
        long,
        value_name = "NAME,NAME",
        conflicts_with = "memory_gb",
        value_delimiter = ',',
        value_parser = DeviceName,
        hide_possible_values = true
    )]
    pub(crate) device: Vec<String>,
    /// The power mode, which every device must have [default: the device's default]
    #[arg(long, value_name = "MODE")]
    pub(crate) mode: Option<String>,
    #[command(flatten)]
    pub(crate) custom: CustomArgs,
    #[command(flatten)]
    pub(crate) question: QuestionArgs,
    /// A result of `cumo bench`, to be put beside the bounds and the memory of one device
    #[arg(long, value_name = "FILE")]
    pub(crate) result: Option<PathBuf>,
    /// Print one JSON object; of several devices a list of them
    #[arg(long)]
    pub(crate) json: bool,
}

/// A device that is not in the table.
#[derive(Debug, Args)]
#[command(next_help_heading = "Another device")]
pub(crate) struct CustomArgs {
    /// Memory that programs can be given, in GiB
    #[arg(
        long,
        value_name = "GB",
        allow_negative_numbers = true,
        requires_all = ["bandwidth_gbs", "f16_tflops"]
    )]
    memory_gb: Option<f64>,
    /// Memory bandwidth, in GB/s
    #[arg(long, value_name = "GB/S", allow_negative_numbers = true, requires = "memory_gb")]
    bandwidth_gbs: Option<f64>,
    /// Dense f16 products, in TFLOPS
    #[arg(long, value_name = "TFLOPS", allow_negative_numbers = true, requires = "memory_gb")]
    f16_tflops: Option<f64>,
    /// Watts, for bounds of energy
    #[arg(long, value_name = "W", allow_negative_numbers = true, requires = "memory_gb")]
    watts: Option<f64>,
}

impl CustomArgs {
    /// The device, where one was described.
    pub(crate) fn device(&self) -> Option<CustomDevice> {
        Some(CustomDevice {
            memory_gb: self.memory_gb?,
            bandwidth_gbs: self.bandwidth_gbs?,
            f16_tflops: self.f16_tflops?,
            watts: self.watts,
        })
    }
}

/// What is asked of the model.
#[derive(Debug, Args)]
#[command(next_help_heading = "What is asked of it")]
pub(crate) struct QuestionArgs {
    /// Positions that the cache has room for [default: 4096, or the model's or the engines' if less]
    #[arg(long, value_name = "N", value_parser = whole::<u64>, allow_negative_numbers = true)]
    context: Option<u64>,
    /// Images of a question; 0 is text alone
    #[arg(
        long,
        value_name = "N",
        value_parser = whole::<u64>,
        allow_negative_numbers = true,
        default_value_t = 1
    )]
    images: u64,
    /// Text tokens of a question [default: 64]
    #[arg(long, value_name = "N", value_parser = whole::<u64>, allow_negative_numbers = true)]
    prompt_tokens: Option<u64>,
    /// Memory that system and driver need, in GiB [default: 1 on a Jetson, 0.5 of a card]
    #[arg(long, value_name = "GB", allow_negative_numbers = true, value_parser = gibibytes)]
    reserve_gb: Option<u64>,
}

impl QuestionArgs {
    /// The question, in a power mode.
    pub(crate) fn request(&self, mode: Option<String>) -> Request {
        Request {
            context: self.context,
            images: self.images,
            prompt_tokens: self.prompt_tokens,
            mode,
            system_bytes: self.reserve_gb,
        }
    }
}

/// A device's name as it is typed; those of the table are offered to shells that complete words.
#[derive(Debug, Clone, Copy)]
struct DeviceName;

impl TypedValueParser for DeviceName {
    type Value = String;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        // What is no device is told later, with names like it.
        StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(Device::ids().chain(["list"]).map(PossibleValue::new)))
    }
}

/// GiB as bytes.
fn gibibytes(text: &str) -> Result<u64, String> {
    match text.trim().parse::<f64>() {
        Ok(gib) if (0.0..=1e6).contains(&gib) => Ok((gib * (1_u64 << 30) as f64) as u64),
        _ => Err("write a number from 0 to 1000000, for example 1.5".to_owned()),
    }
}
