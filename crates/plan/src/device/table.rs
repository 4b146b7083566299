//! The table of devices: numbers that others have published, none measured here.
//!
//! Where they come from:
//! - bandwidth, tensor rates, watts: NVIDIA's data sheets of the modules and cards. Rates are dense,
//!   of f16 operands, of the GPU alone. GeForce cards reach half of theirs where products are added
//!   up in f32; a bound takes the whole.
//! - a Jetson's memory as Linux sees it: the total that `tegrastats` prints there, which is what the
//!   firmware leaves (7,620 MB of an Orin Nano's 8 GB).
//! - a card's memory: the total that `nvidia-smi` prints.
//! - a Jetson's modes: `nvpmodel`'s configuration of the module (`nvpmodel_p3767_0003.conf` and
//!   others of Jetson Linux): GPU clock, texture processing clusters (TPCs) that are on, memory
//!   clock. The rate of a mode is the full one by TPCs times clock, the bandwidth by memory clock.
//!   Thor's modes are published by watts alone: their rates are the full ones, which stay bounds.

/// One device.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    /// Memory of the data sheet, in GB.
    pub(super) memory_gb: u32,
    /// Memory that programs can be given, in MiB.
    pub(super) visible_mib: u32,
    /// Whether processor and GPU share the memory.
    pub(super) unified: bool,
    /// `87` for compute capability 8.7.
    pub(super) compute_capability: u32,
    /// Memory bandwidth, in GB/s.
    pub(super) bandwidth_gbs: f64,
    /// f16 products, in TFLOPS.
    pub(super) f16_tflops: f64,
    /// What `f16_tflops` and `bandwidth_gbs` are at; none where modes do not say.
    pub(super) full: Option<Clocks>,
    /// Power modes; the first is the default.
    pub(super) modes: &'static [ModeRow],
    /// Words that all are in the name by which the driver or the device tree knows the device.
    pub(super) words: &'static [&'static str],
}

/// Clocks of a GPU and its memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clocks {
    pub(super) tpcs: u32,
    pub(super) gpu_mhz: u32,
    pub(super) memory_mhz: u32,
}

/// A power mode.
#[derive(Debug, Clone, Copy)]
pub(super) struct ModeRow {
    pub(super) name: &'static str,
    /// What it allows; none where it has no limit of its own.
    pub(super) watts: Option<f64>,
    /// Its clocks; none where they are the full ones, or not published.
    pub(super) clocks: Option<Clocks>,
}

const fn clocks(tpcs: u32, gpu_mhz: u32, memory_mhz: u32) -> Option<Clocks> {
    Some(Clocks { tpcs, gpu_mhz, memory_mhz })
}

const fn mode(name: &'static str, watts: f64, clocks: Option<Clocks>) -> ModeRow {
    ModeRow { name, watts: Some(watts), clocks }
}

/// A mode without limits.
const fn unlimited(name: &'static str) -> ModeRow {
    ModeRow { name, watts: None, clocks: None }
}

/// A Jetson.
const fn jetson(
    (id, name): (&'static str, &'static str),
    (memory_gb, visible_mib): (u32, u32),
    compute_capability: u32,
    (bandwidth_gbs, f16_tflops): (f64, f64),
    full: Option<Clocks>,
    modes: &'static [ModeRow],
    words: &'static [&'static str],
) -> Row {
    Row {
        id,
        name,
        memory_gb,
        visible_mib,
        unified: true,
        compute_capability,
        bandwidth_gbs,
        f16_tflops,
        full,
        modes,
        words,
    }
}

/// A card.
const fn card(
    (id, name): (&'static str, &'static str),
    (memory_gb, visible_mib): (u32, u32),
    compute_capability: u32,
    (bandwidth_gbs, f16_tflops): (f64, f64),
    modes: &'static [ModeRow],
    words: &'static [&'static str],
) -> Row {
    Row {
        id,
        name,
        memory_gb,
        visible_mib,
        unified: false,
        compute_capability,
        bandwidth_gbs,
        f16_tflops,
        full: None,
        modes,
        words,
    }
}

/// Every device, Jetsons first, then by memory.
pub(super) const DEVICES: [Row; 15] = [
    jetson(
        ("orin-nano-8gb", "Jetson Orin Nano 8GB"),
        (8, 7620),
        87,
        (68.0, 10.0),
        clocks(4, 625, 2133),
        // The board's configuration before JetPack 6.2's "super" one.
        &[mode("15W", 15.0, None), mode("7W", 7.0, clocks(2, 408, 2133))],
        &["Orin Nano"],
    ),
    jetson(
        ("orin-nano-8gb-super", "Jetson Orin Nano 8GB Super"),
        (8, 7620),
        87,
        (102.0, 17.0),
        clocks(4, 1020, 3199),
        &[
            mode("25W", 25.0, clocks(4, 918, 3199)),
            mode("15W", 15.0, clocks(4, 612, 2133)),
            unlimited("MAXN_SUPER"),
        ],
        &["Orin Nano", "Super"],
    ),
    jetson(
        ("orin-nx-16gb", "Jetson Orin NX 16GB"),
        (16, 15656),
        87,
        (102.0, 15.0),
        clocks(4, 918, 3199),
        &[
            mode("15W", 15.0, clocks(2, 612, 3199)),
            mode("10W", 10.0, clocks(2, 612, 2133)),
            mode("25W", 25.0, clocks(4, 408, 3199)),
            unlimited("MAXN"),
        ],
        &["Orin NX"],
    ),
    jetson(
        ("orin-nx-16gb-super", "Jetson Orin NX 16GB Super"),
        (16, 15656),
        87,
        (102.0, 19.0),
        clocks(4, 1173, 3199),
        &[
            mode("40W", 40.0, None),
            mode("10W", 10.0, clocks(2, 612, 2133)),
            mode("15W", 15.0, clocks(2, 612, 3199)),
            mode("25W", 25.0, clocks(4, 408, 3199)),
            unlimited("MAXN_SUPER"),
        ],
        &["Orin NX", "Super"],
    ),
    jetson(
        ("agx-orin-64gb", "Jetson AGX Orin 64GB"),
        (64, 62841),
        87,
        (204.8, 43.0),
        clocks(8, 1300, 3200),
        // The modes of `nvpmodel_p3701_0000.conf`.
        &[
            mode("30W", 30.0, clocks(4, 612, 3200)),
            mode("15W", 15.0, clocks(3, 408, 2133)),
            mode("50W", 50.0, clocks(8, 816, 3200)),
            unlimited("MAXN"),
        ],
        &["AGX Orin"],
    ),
    jetson(
        ("thor-t4000", "Jetson T4000"),
        // The total is not published; 98 % of the data sheet's, as on the T5000 and the AGX Orin.
        (64, 62841),
        110,
        (273.0, 150.0),
        None,
        &[mode("70W", 70.0, None), mode("40W", 40.0, None)],
        &["T4000"],
    ),
    jetson(
        ("thor-t5000", "Jetson AGX Thor T5000"),
        (128, 125_772),
        110,
        (273.0, 258.0),
        None,
        &[mode("120W", 120.0, None), mode("40W", 40.0, None), mode("130W", 130.0, None)],
        &["Thor"],
    ),
    card(
        ("l4", "NVIDIA L4"),
        (24, 23_034),
        89,
        (300.0, 121.0),
        &[mode("72W", 72.0, None)],
        &["NVIDIA L4"],
    ),
    card(
        ("a10", "NVIDIA A10"),
        (24, 23_028),
        86,
        (600.0, 125.0),
        &[mode("150W", 150.0, None)],
        &["NVIDIA A10"],
    ),
    card(
        ("rtx-3090", "GeForce RTX 3090"),
        (24, 24_576),
        86,
        (936.0, 142.0),
        &[mode("350W", 350.0, None)],
        &["RTX 3090"],
    ),
    card(
        ("rtx-4090", "GeForce RTX 4090"),
        (24, 24_564),
        89,
        (1008.0, 330.0),
        &[mode("450W", 450.0, None)],
        &["RTX 4090"],
    ),
    card(
        ("rtx-5090", "GeForce RTX 5090"),
        (32, 32_607),
        120,
        (1792.0, 419.0),
        &[mode("575W", 575.0, None)],
        &["RTX 5090"],
    ),
    card(
        ("a100-80gb", "NVIDIA A100 80GB"),
        (80, 81_920),
        80,
        (2039.0, 312.0),
        &[mode("400W", 400.0, None)],
        &["A100", "80GB"],
    ),
    card(
        ("h100-sxm", "NVIDIA H100 SXM"),
        (80, 81_559),
        90,
        (3350.0, 989.0),
        &[mode("700W", 700.0, None)],
        &["H100", "HBM3"],
    ),
    card(
        ("h200", "NVIDIA H200"),
        (141, 143_771),
        90,
        (4800.0, 989.0),
        &[mode("700W", 700.0, None)],
        &["H200"],
    ),
];
