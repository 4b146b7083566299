//! A result in which every field is there, for tests.

use crate::schema::*;

/// Numbers that differ from repetition to repetition without chance.
fn around(mean: u64, index: u64) -> u64 {
    mean + mean / 100 * (index * 7 % 5)
}

/// A result of three repetitions in which every field has a value.
pub(crate) fn result() -> BenchResult {
    BenchResult {
        environment: environment(),
        model: model(),
        configuration: configuration(),
        cold_starts: vec![ColdStart {
            ready_ns: 900_000_000,
            first_token_ns: Some(400_000_000),
            first_answer_ns: Some(700_000_000),
            page_cache_dropped: Some(true),
            kernels_found: Some(false),
        }],
        answers: (0..3).map(answer).collect(),
        prefill: vec![Prefill {
            tokens: 64,
            depth_tokens: 0,
            repetitions_ns: (0..3).map(|index| around(40_000_000, index)).collect(),
        }],
        generation: [0, 1024].map(generation).into(),
        memory: Memory {
            weights_bytes: Some(15_000_000_000),
            cache_bytes: Some(134_217_728),
            peak_process_bytes: Some(700_000_000),
            peak_device_bytes: Some(15_200_000_000),
            device_process_bytes: Some(15_700_000_000),
        },
        expert_load: vec![ExpertLoad {
            part: "vision".to_owned(),
            layer: 0,
            tokens_per_expert: vec![300, 280, 310, 264],
        }],
        energy: Some(Energy {
            sensor: "INA3221 VDD_IN".to_owned(),
            scope: "module".to_owned(),
            idle: Some(EnergySpan { joules: 25.0, duration_ns: 5_000_000_000, count: 0 }),
            idle_after: Some(EnergySpan { joules: 26.0, duration_ns: 5_000_000_000, count: 0 }),
            images: vec![EnergySpan { joules: 12.5, duration_ns: 900_000_000, count: 1 }; 3],
            tokens: vec![EnergySpan { joules: 40.0, duration_ns: 3_000_000_000, count: 64 }; 3],
        }),
        notes: vec!["the swap was in use".to_owned()],
        ..BenchResult::default()
    }
}

fn environment() -> Environment {
    let conditions = |celsius| Conditions {
        temperatures: vec![Temperature { sensor: "gpu-thermal".to_owned(), celsius }],
        clocks: vec![Clock {
            name: "gpu".to_owned(),
            hz: 1_020_000_000,
            max_hz: Some(1_020_000_000),
        }],
        throttling: Some(Vec::new()),
        load_average: Some(0.25),
    };
    Environment {
        time: "2026-11-24T21:03:07Z".to_owned(),
        build: Build {
            version: "0.1.0".to_owned(),
            commit: Some("0123456789abcdef".to_owned()),
            profile: "release".to_owned(),
        },
        os: OperatingSystem {
            name: Some("Ubuntu 22.04.5 LTS".to_owned()),
            kernel: Some("5.15.148-tegra".to_owned()),
        },
        processor: Processor {
            name: Some("Cortex-A78AE".to_owned()),
            architecture: "aarch64".to_owned(),
            physical_cores: Some(6),
            logical_cores: Some(6),
            features: vec!["asimd".to_owned(), "asimddp".to_owned()],
        },
        main_memory_bytes: Some(8_000_000_000),
        board: Some(Board {
            name: "NVIDIA Jetson Orin Nano Developer Kit".to_owned(),
            jetpack: Some("6.2".to_owned()),
            jetson_linux: Some("36.4.3".to_owned()),
        }),
        library: Library { name: "TensorRT".to_owned(), version: "10.3.0".to_owned() },
        threads: Some(6),
        device: Some(Device {
            name: "Orin".to_owned(),
            compute_capability: Some(87),
            memory_bytes: Some(8_000_000_000),
            driver: Some("540.4.0".to_owned()),
            cuda: Some("12.6".to_owned()),
        }),
        power_mode: Some("25W".to_owned()),
        before: conditions(48.5),
        during: conditions(64.0),
        after: conditions(61.0),
    }
}

fn model() -> Model {
    let part = ModelPart {
        weights: "f16".to_owned(),
        activations: "f16".to_owned(),
        num_layers: Some(23),
        hidden_size: Some(1024),
        num_experts: Some(4),
        num_experts_per_tok: Some(2),
        weights_bytes: Some(1_800_000_000),
    };
    Model {
        name: "cumo-mistral-7b".to_owned(),
        target: "tensorrt-10.3".to_owned(),
        bundle_sha256: "ab".repeat(32),
        engines_sha256: Some("cd".repeat(32)),
        parts: [("vision".to_owned(), part)].into(),
        files_bytes: Some(16_000_000_000),
        context_length: Some(4096),
        image_tokens: Some(576),
        image_crops: Some(10),
    }
}

fn configuration() -> Configuration {
    Configuration {
        prompt_tokens: 64,
        prompt_sha256: Some("ef".repeat(32)),
        images: vec![Image {
            name: "000.png".to_owned(),
            sha256: "12".repeat(32),
            file_bytes: 20_000,
            width: 640,
            height: 480,
        }],
        generate_tokens: 4,
        repetitions: 3,
        warmup: 1,
        depths: vec![0, 1024],
    }
}

fn answer(index: u64) -> Answer {
    let first_token = FirstToken {
        total_ns: around(400_000_000, index),
        decode_image_ns: Some(5_000_000),
        preprocess_ns: Some(4_000_000),
        copy_ns: Some(1_000_000),
        vision_ns: Some(around(200_000_000, index)),
        connector_ns: Some(around(20_000_000, index)),
        splice_ns: Some(500_000),
        prefill_ns: Some(around(165_000_000, index)),
        first_sample_ns: Some(60_000),
    };
    let inter_token_ns = (0..3).map(|token| around(30_000_000, index + token)).collect();
    Answer { first_token, inter_token_ns }
}

fn generation(depth_tokens: u64) -> Generation {
    let time = |index| around(30_000_000 + depth_tokens * 1000, index);
    Generation {
        tokens: 4,
        depth_tokens,
        repetitions_inter_token_ns: (0..3)
            .map(|repetition| (0..4).map(|token| time(repetition + token)).collect())
            .collect(),
    }
}
